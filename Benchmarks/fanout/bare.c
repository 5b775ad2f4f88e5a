// The lower bound: one epoll loop in C that writes what Redis publishes to every socket of the room, and nothing else
// (no users, no order, no slow clients, no handshake check). The difference to ws-relay is the cost of its promises.
//
//   bare PORT REDIS_SOCKET ROOMS [joined]    ROOMS: a file with one channel per line; a client asks for /NUMBER of its
// line
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define MAXROOMS 4096
struct room { char name[64]; int *members; int count, size; } rooms[MAXROOMS];
static int nrooms, joined;
struct pending { uint8_t *bytes; int count, size; } *pending;  // by descriptor, joined mode
static int *dirty, ndirty;
static uint8_t in[8 << 20]; static size_t have;

static void push(int fd, const uint8_t *frame, int n) {
    if (!joined) { if (send(fd, frame, n, MSG_DONTWAIT | MSG_NOSIGNAL) != n) { fprintf(stderr, "short\n"); } return; }
    struct pending *p = &pending[fd];
    if (p->count + n > p->size) p->bytes = realloc(p->bytes, p->size = (p->count + n) * 2);
    if (!p->count) dirty[ndirty++] = fd;
    memcpy(p->bytes + p->count, frame, n); p->count += n;
}
static void flush_all(void) {
    for (int i = 0; i < ndirty; i++) {
        struct pending *p = &pending[dirty[i]];
        if (send(dirty[i], p->bytes, p->count, MSG_DONTWAIT | MSG_NOSIGNAL) != p->count) fprintf(stderr, "short\n");
        p->count = 0;
    }
    ndirty = 0;
}
static struct room *find(const char *name, int n) {
    static int last;
    for (int k = 0; k < nrooms; k++) { int i = (last + k) % nrooms; if (!strncmp(rooms[i].name, name, n) && !rooms[i].name[n]) { last = i; return &rooms[i]; } }
    return 0;
}
// *3 $7 message $n channel $n payload
static size_t one(uint8_t *b, size_t n) {
    uint8_t *at = b, *end = b + n; char *part[3]; int length[3];
    if (n < 4 || *at != '*') return 0;
    uint8_t *nl = memchr(at, '\n', end - at); if (!nl) return 0;
    at = nl + 1;
    for (int i = 0; i < 3; i++) {
        if (at >= end) return 0;
        nl = memchr(at, '\n', end - at); if (!nl) return 0;
        if (*at == ':') { at = nl + 1; length[i] = 0; part[i] = ""; continue; }
        length[i] = atoi((char *)at + 1); part[i] = (char *)nl + 1;
        at = nl + 1 + length[i] + 2; if (at > end) return 0;
    }
    if (length[0] == 7) {
        // The payload is a FrameChunk: it is sent unchanged after a header, so it has the size of a client's frame.
        uint8_t frame[65536]; int h = 2, p = length[2];
        frame[0] = 0x82; if (p < 126) frame[1] = p; else { frame[1] = 126; frame[2] = p >> 8; frame[3] = p; h = 4; }
        memcpy(frame + h, part[2], p);
        struct room *r = find(part[1], length[1]);
        if (r) for (int i = 0; i < r->count; i++) push(r->members[i], frame, h + p);
    }
    return at - b;
}
int main(int argc, char **argv) {
    struct rlimit limit; getrlimit(RLIMIT_NOFILE, &limit); limit.rlim_cur = limit.rlim_max; setrlimit(RLIMIT_NOFILE, &limit);
    joined = argc > 4; pending = calloc(limit.rlim_max, sizeof *pending); dirty = calloc(limit.rlim_max, sizeof *dirty);
    int redis = socket(AF_UNIX, SOCK_STREAM, 0); struct sockaddr_un u = { .sun_family = AF_UNIX }; strcpy(u.sun_path, argv[2]);
    if (connect(redis, (void *)&u, sizeof u)) { perror("redis"); return 1; }
    FILE *f = fopen(argv[3], "r"); char line[100];
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = 0; strcpy(rooms[nrooms++].name, line);
        char c[200]; int n = snprintf(c, sizeof c, "*2\r\n$9\r\nSUBSCRIBE\r\n$%zu\r\n%s\r\n", strlen(line), line); send(redis, c, n, 0);
    }
    int l = socket(AF_INET, SOCK_STREAM, 0), on = 1; setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, 4);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[1])) };
    if (bind(l, (void *)&a, sizeof a) || listen(l, 1024)) { perror("bind"); return 1; }
    int ep = epoll_create1(0); struct epoll_event e = { .events = EPOLLIN, .data.fd = l }, events[1024];
    epoll_ctl(ep, EPOLL_CTL_ADD, l, &e); e.data.fd = redis; epoll_ctl(ep, EPOLL_CTL_ADD, redis, &e);
    while (1) {
        int n = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == l) {
                int s = accept4(l, 0, 0, SOCK_NONBLOCK); setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, 4);
                e.data.fd = s; epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
            } else if (fd == redis) {
                ssize_t got = recv(redis, in + have, joined ? 262144 : 16384, MSG_DONTWAIT); if (got <= 0) return 1;
                have += got; size_t at = 0, used; while (at < have && (used = one(in + at, have - at))) at += used;
                memmove(in, in + at, have - at); have -= at;
            } else {
                char b[8192]; ssize_t got = recv(fd, b, sizeof b - 1, MSG_DONTWAIT);
                if (got <= 0) { close(fd); continue; }
                b[got] = 0;
                if (!memcmp(b, "GET /", 5)) {
                    struct room *r = &rooms[atoi(b + 5)];
                    if (r->count == r->size) r->members = realloc(r->members, (r->size = r->size ? r->size * 2 : 64) * sizeof(int));
                    r->members[r->count++] = fd;
                    const char *answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x82\x01\x80";
                    send(fd, answer, strlen(answer), MSG_NOSIGNAL);
                }
            }
        }
        if (joined) flush_all();
    }
}
