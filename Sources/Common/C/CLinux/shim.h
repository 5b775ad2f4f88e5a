#pragma once
// What Linux has and Swift's Glibc module does not import: variadic functions, macros, and headers outside of it.
// Not with _GNU_SOURCE: it renames a field of fd_set, and Swift's Glibc module has it under the other name.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
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

// The process that called listen() on the other end of a connected unix socket; 0 when unknown. (struct ucred needs
// _GNU_SOURCE.)
static inline pid_t chat_peer_pid(int fd) {
    struct { pid_t pid; uid_t uid; gid_t gid; } peer = { 0, 0, 0 };
    socklen_t size = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
}

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

// Receives up to `length` bytes and up to 250 descriptors (close-on-exec); `*count` says how many came.
static inline ssize_t chat_receive_fds(int socket, void *bytes, size_t length, int *fds, int *count) {
    union { char space[CMSG_SPACE(250 * sizeof(int))]; struct cmsghdr align; } control;
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
