#pragma once
// Functions of Linux for the load client that Swift's Glibc module does not import. They are not in CLinux, so that a
// change here does not rebuild the three programs.
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <time.h>

extern void *memmem(const void *, size_t, const void *, size_t);

// Sleeps end on time, not up to 50 microseconds later.
static inline int load_exact_sleeps(void) { return prctl(PR_SET_TIMERSLACK, 1UL); }

static inline int load_wait(int fd, struct epoll_event *events, int count, int64_t nanoseconds) {
    struct timespec limit = { nanoseconds / 1000000000, nanoseconds % 1000000000 };
    return epoll_pwait2(fd, events, count, &limit, 0);
}

// Columns of the terminal; 0 when it is not a terminal.
static inline int load_columns(int fd) {
    struct winsize size;
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

// 1: a regular file; 0: a pipe, a device, a folder. It is in C, because in an optimized build Swift's `stat` belongs to another
// module.
static inline int load_is_regular(int fd) {
    struct stat facts;
    return fstat(fd, &facts) != 0 || S_ISREG(facts.st_mode);
}
