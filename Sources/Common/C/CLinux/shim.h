#pragma once
// Functions of Linux that Swift's Glibc module does not import: variadic functions, macros and other headers. Without
// _GNU_SOURCE: it renames a field of fd_set, and the Glibc module uses the other name.
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

extern int accept4(int, struct sockaddr *, socklen_t *, int);
extern int pipe2(int[2], int);
extern int memfd_create(const char *, unsigned int);
extern int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);

static inline int chat_accept4(int fd, int flags) { return accept4(fd, 0, 0, flags); }
static inline int chat_pipe2(int fds[2], int flags) { return pipe2(fds, flags); }
static inline int chat_memfd_create(const char *name, unsigned flags) { return memfd_create(name, flags); }
static inline int chat_prctl_pdeathsig(int sig) { return prctl(PR_SET_PDEATHSIG, sig); }
static inline int chat_prctl_name(const char *name) { return prctl(PR_SET_NAME, name); }
static inline int chat_wifexited(int s) { return WIFEXITED(s); }
static inline int chat_wexitstatus(int s) { return WEXITSTATUS(s); }
static inline int chat_wifsignaled(int s) { return WIFSIGNALED(s); }
static inline int chat_wtermsig(int s) { return WTERMSIG(s); }
static inline int chat_fcntl_set(int fd, int command, int value) { return fcntl(fd, command, value); }
static inline int chat_fcntl_get(int fd, int command) { return fcntl(fd, command); }
// Swift 6 takes no global variable of C that may change.
static inline int chat_flush_output(void) { return fflush(stdout) == 0 && !ferror(stdout); }

// The process that called listen() on the other end of a connected unix socket; 0 when unknown. (struct ucred needs
// _GNU_SOURCE.)
static inline pid_t chat_peer_pid(int fd) {
    struct { pid_t pid; uid_t uid; gid_t gid; } peer = { 0, 0, 0 };
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

static inline int chat_pidfd_open(pid_t pid) { return (int)syscall(SYS_pidfd_open, pid, 0); }
static inline int chat_pidfd_signal(int pidfd, int sig) { return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, 0, 0); }

// Sends `length` bytes and `count` descriptors (at most 250) over a unix socket in one message.
static inline ssize_t chat_send_fds(int socket, const void *bytes, size_t length, const int *fds, int count) {
    union { char space[CMSG_SPACE(250 * sizeof(int))]; struct cmsghdr align; } control;
    struct iovec part = { (void *)bytes, length };
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 250) { errno = EINVAL; return -1; }
    if (count > 0) {
        message.msg_control = control.space;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    }
    return sendmsg(socket, &message, MSG_NOSIGNAL);
}

// Receives up to `length` bytes and up to 250 descriptors (close-on-exec); `*count` is the number received.
// Of one message; the kernel's own limit is 253.
enum { CHAT_MAX_FDS = 250 };

static inline ssize_t chat_receive_fds(int socket, void *bytes, size_t length, int *fds, int *count) {
    union { char space[CMSG_SPACE(CHAT_MAX_FDS * sizeof(int))]; struct cmsghdr align; } control;
    struct iovec part = { bytes, length };
    struct msghdr message;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.space;
    message.msg_controllen = sizeof control.space;
    *count = 0;
    ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < 0) return got;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h; h = CMSG_NXTHDR(&message, h))
        if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
            *count = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
            memcpy(fds, CMSG_DATA(h), *count * sizeof(int));
        }
    return got;
}

// The file keeper: a process that shares only this process's table of open files, so that they stay open, under
// their numbers, when this process is killed. It runs no Swift: it waits for a connection on `channel` and answers
// there. Asked for numbers (int32, at most 250), it sends those descriptors; -1 is `table`, -2 is `line`. It ends when
// it is released (R). When `channel` closes without that, its master is dead, and another master may connect to `door`.
static inline void chat_keep_for(int channel, int table, int line) {
    for (;;) {
        char word;
        int asker = -1, count = 0, fds[250];
        ssize_t got = chat_receive_fds(channel, &word, 1, fds, &count);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return;
        if (word == 'R') _exit(0);
        if (count > 0) asker = fds[0];
        while (asker >= 0 && (got = recv(asker, fds, sizeof fds, 0)) > 0) {
            count = (int)(got / sizeof(int));
            for (int i = 0; i < count; i++) if (fds[i] < 0) fds[i] = fds[i] == -1 ? table : line;
            // A descriptor that was closed meanwhile (EBADF) gives a message without descriptors.
            if (chat_send_fds(asker, "F", 1, fds, count) < 0) (void)chat_send_fds(asker, "-", 1, 0, 0);
        }
        if (asker >= 0) close(asker);
    }
}

static inline void chat_keep(int channel, int door, int table, int line) {
    const struct timeval patience = { 60, 0 };
    setsockopt(door, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    do {
        chat_keep_for(channel, table, line);
        close(channel);
        channel = accept4(door, 0, 0, SOCK_CLOEXEC);
    } while (channel >= 0);
    _exit(0);
}

// The child belongs to this process's parent, which reaps it. A raw system call, because the child never uses libc again.
static inline pid_t chat_start_keeper(int channel, int door, int table, int line) {
    const unsigned long share_files = 0x400, same_parent = 0x8000;
    // Set before the clone, so that the child is never seen under another name; the caller renames itself afterwards.
    prctl(PR_SET_NAME, "keeper");
    pid_t pid = (pid_t)syscall(SYS_clone, share_files | same_parent | SIGCHLD, 0L, 0L, 0L, 0L);
    if (pid != 0) return pid;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, 0);
    chat_keep(channel, door, table, line);
    _exit(0);
}
