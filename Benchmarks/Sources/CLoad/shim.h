#pragma once
// Linux functions that Swift's Glibc module does not import.
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

extern void *memmem(const void *, size_t, const void *, size_t);

// Sleeps end on time, not up to 50 microseconds later.
static inline int load_exact_sleeps(void) { return prctl(PR_SET_TIMERSLACK, 1UL); }

static inline int load_wait(int fd, struct epoll_event *events, int count, int64_t nanoseconds) {
    struct timespec limit = { nanoseconds / 1000000000, nanoseconds % 1000000000 };
    return epoll_pwait2(fd, events, count, &limit, 0);
}
