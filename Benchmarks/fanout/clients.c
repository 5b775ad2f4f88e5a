// Opens N WebSockets and counts the arriving frames: the client side of a fan-out measurement.
//
//   clients HOST PORT TARGETS [SUBPROTOCOL [SKIP]]
//
// TARGETS: a file with one request target per line, one socket each; after a blank, in hex, the socket's first binary
// frame after the upgrade. SKIP: frames of the server before its first message (1: a welcome).
//
// Prints "open N" when every socket is that far, then once a second while frames arrive "frames TOTAL bytes TOTAL lost
// TOTAL", with the lost ones by close code (1006: without a close frame). It answers pings, as every client must.
// SIGINT ends it.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct client { int fd; int upgraded; int skipped; int code; uint8_t *greeting; int greeting_size; uint8_t head[127]; int have; uint64_t skip; };
static struct client *clients;
static uint64_t frames, bytes, opened, lost, codes[65536];
static int skip = 1;

static double now(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + t.tv_nsec / 1e9; }

// A client that is silent for WS_IDLE_SECONDS is closed. A pong that cannot be sent now belongs to a closed socket.
static void pong(struct client *c, int size) {
    uint8_t frame[6 + 125] = { 0x8A, 0x80 | size };
    memcpy(frame + 6, c->head + 2, size);
    send(c->fd, frame, 6 + size, MSG_DONTWAIT | MSG_NOSIGNAL);
}

// Counts frames in a stream cut anywhere: skips payloads, collects headers, and reads pings and closes whole.
static void frame_bytes(struct client *c, const uint8_t *at, size_t n) {
    bytes += n;
    while (n) {
        if (c->skip) {
            uint64_t take = c->skip < n ? c->skip : n;
            c->skip -= take; at += take; n -= take;
            continue;
        }
        c->head[c->have++] = *at++; n--;
        int need = c->have < 2 ? 2 : c->head[1] == 126 ? 4 : c->head[1] == 127 ? 10 : 2;
        int control = c->have > 1 && (c->head[0] & 8);
        if (control) need = 2 + c->head[1];
        if (c->have < need) continue;
        c->have = 0;
        if (control) {
            if ((c->head[0] & 15) == 9) pong(c, need - 2);
            if ((c->head[0] & 15) == 8) c->code = need > 3 ? c->head[2] << 8 | c->head[3] : 1005;
            continue;
        }
        uint64_t length = c->head[1];
        if (length == 126) length = c->head[2] << 8 | c->head[3];
        else if (length == 127) { length = 0; for (int i = 2; i < 10; i++) length = length << 8 | c->head[i]; }
        if (c->skipped < skip) { if (++c->skipped == skip) opened++; } else frames++;
        c->skip = length;
    }
}

// Masked with zeros: the payload stays as it is.
static void greet(struct client *c) {
    if (skip == 0) opened++;
    if (!c->greeting_size) return;
    uint8_t frame[1024] = { 0x82, 0x80 | 126, c->greeting_size >> 8, c->greeting_size, 0, 0, 0, 0 };
    int head = 8;
    if (c->greeting_size < 126) { frame[1] = 0x80 | c->greeting_size; memset(frame + 2, 0, 4); head = 6; }
    memcpy(frame + head, c->greeting, c->greeting_size);
    if (send(c->fd, frame, head + c->greeting_size, 0) != head + c->greeting_size) exit(1);
}

static void readable(struct client *c) {
    static uint8_t buffer[262144];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || errno != EAGAIN) { lost++; codes[c->code ? c->code : 1006]++; close(c->fd); c->fd = -1; }
        return;
    }
    uint8_t *at = buffer;
    if (!c->upgraded) {
        uint8_t *end = memmem(buffer, n, "\r\n\r\n", 4);
        if (!end || memcmp(buffer, "HTTP/1.1 101", 12)) { fprintf(stderr, "refused: %.*s\n", (int)n, buffer); exit(1); }
        c->upgraded = 1;
        greet(c);
        n -= end + 4 - at; at = end + 4;
    }
    frame_bytes(c, at, n);
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    struct rlimit limit; getrlimit(RLIMIT_NOFILE, &limit); limit.rlim_cur = limit.rlim_max; setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[2])) };
    inet_pton(AF_INET, argv[1], &address.sin_addr);
    FILE *file = fopen(argv[3], "r");
    int ep = epoll_create1(0), count = 0, size = 0;
    char line[4096], protocol[100] = "";
    if (argc > 4 && *argv[4]) snprintf(protocol, sizeof protocol, "Sec-WebSocket-Protocol: %s\r\n", argv[4]);
    if (argc > 5) skip = atoi(argv[5]);
    struct epoll_event events[1024];
    double start = now(), last = start;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (count == size) clients = realloc(clients, (size = size ? size * 2 : 1024) * sizeof *clients);
        struct client *c = &clients[count];
        memset(c, 0, sizeof *c);
        char *hex = strchr(line, ' ');
        if (hex) {
            *hex++ = 0;
            c->greeting = malloc(strlen(hex) / 2);
            for (; hex[0] && hex[1]; hex += 2) sscanf(hex, "%2hhx", &c->greeting[c->greeting_size++]);
        }
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(c->fd, (void *)&address, sizeof address)) { perror("connect"); return 1; }
        char request[5000];
        int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s\r\n", line, protocol);
        if (send(c->fd, request, n, 0) != n) return 1;
        count++;
    }
    for (int i = 0; i < count; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.u32 = i };
        epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].fd, &e);
    }
    int told = 0; uint64_t before = 0;
    while (1) {
        int n = epoll_wait(ep, events, 1024, 1000);
        for (int i = 0; i < n; i++) readable(&clients[events[i].data.u32]);
        if (!told && opened == (uint64_t)count) { told = 1; printf("open %d in %.2f s\n", count, now() - start); fflush(stdout); }
        if (now() - last >= 1) {
            last = now();
            if (frames + lost != before) {
                printf("frames %lu bytes %lu lost %lu", frames, bytes, lost);
                for (int code = 0; code < 65536; code++) if (codes[code]) printf(" %d:%lu", code, codes[code]);
                puts("");
                fflush(stdout);
            }
            before = frames + lost;
        }
    }
}
