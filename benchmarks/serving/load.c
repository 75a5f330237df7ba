/* Loads a server: each of some connections sends a message, waits for the reply, and sends the next one.

   load HOST PORT WHAT CONNECTIONS MESSAGE_BYTES REPLY_BYTES SECONDS RATE FLOODERS HELLO

   WHAT is the path of a WebSocket, to which messages of float32 are sent; or @FILE, which holds a request of HTTP as it
   goes over the wire, whose response always has the same size. RATE is messages a second of each connection, 0 for as
   many as come back. So many FLOODERS more send as fast as the server reads, and read all answers; they are not in the
   figures. HELLO says whether the server speaks first. Prints one line of JSON: messages a second, percentiles of the
   time to a reply in microseconds, and the share of a core that this program took: below 1, it was not what limited the
   rate. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
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

enum { MAX_MESSAGE = 65536, MAX_EVENTS = 512, FLOOD = 64, WARM_UP_SHARE = 5 };

struct connection {
    int socket, floods;
    size_t n_received; /* bytes of the frame that is coming */
    double sent_at, next_at;
    int waits;
    unsigned char head[4];
};

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int is_http;
static unsigned char frame[MAX_MESSAGE + 14];
static size_t frame_bytes;
static unsigned char *flood;
static unsigned char buffer[1 << 18];
static size_t reply_frame_bytes;

static size_t header(unsigned char *at, size_t n, int masked) {
    size_t used = 2;
    at[0] = 0x82;
    if (n < 126) at[1] = n;
    else { at[1] = 126; at[2] = n >> 8; at[3] = n & 255; used = 4; }
    if (masked) { at[1] |= 128; memset(at + used, 0, 4); used += 4; }
    return used;
}

/* A payload of small float32 numbers; the mask is zero, which RFC 6455 allows and spares time here alone. */
static void make_frame(size_t n) {
    size_t start = header(frame, n, 1);
    for (size_t i = 0; i + 4 <= n; i += 4) {
        float number = (float)((i * 7919) % 1000) / 1000 - 0.5f;
        memcpy(frame + start + i, &number, 4);
    }
    frame_bytes = start + n;
}

static void copy_for_floods(void) {
    flood = malloc(FLOOD * frame_bytes);
    for (int i = 0; i < FLOOD; i++) memcpy(flood + i * frame_bytes, frame, frame_bytes);
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    frame_bytes = fread(frame, 1, sizeof frame, file);
    fclose(file);
}

static void open_connection(struct connection *c, struct sockaddr_in *address, const char *host, const char *path) {
    char text[1024];
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (c->socket < 0 || connect(c->socket, (struct sockaddr *)address, sizeof *address)) fail("connect");
    int one = 1;
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (is_http) return;
    int n = snprintf(text, sizeof text,
                     "GET %s HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path, host);
    if (write(c->socket, text, n) != n) fail("write");
}

/* Sends one request, and learns how long the responses are. */
static void learn_response(struct connection *c) {
    if (write(c->socket, frame, frame_bytes) != (ssize_t)frame_bytes) fail("write of a request");
    size_t used = 0;
    for (;;) {
        ssize_t n = read(c->socket, buffer + used, sizeof buffer - 1 - used);
        if (n <= 0) fail("first response");
        used += n;
        buffer[used] = 0;
        char *end = strstr((char *)buffer, "\r\n\r\n"), *length = strcasestr((char *)buffer, "\ncontent-length:");
        if (!end || !length) continue;
        if (strncmp((char *)buffer, "HTTP/1.1 200", 12)) { fprintf(stderr, "%.500s\n", buffer); exit(1); }
        reply_frame_bytes = end + 4 - (char *)buffer + atol(length + 16);
        if (used == reply_frame_bytes) break;
    }
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
}

/* Reads the response, and the hello if there is one to come. */
static void finish_handshake(struct connection *c, int has_hello) {
    size_t used = 0;
    if (is_http) { learn_response(c); return; }
    for (;;) {
        ssize_t n = read(c->socket, buffer + used, sizeof buffer - 1 - used);
        if (n <= 0) fail("handshake");
        used += n;
        buffer[used] = 0;
        unsigned char *end = (unsigned char *)strstr((char *)buffer, "\r\n\r\n");
        if (!end) continue;
        if (strncmp((char *)buffer, "HTTP/1.1 101", 12)) { fprintf(stderr, "%.200s\n", buffer); exit(1); }
        unsigned char *rest = end + 4;
        size_t there = buffer + used - rest;
        if (!has_hello) break;
        if (there < 4) continue;
        size_t size = rest[1] < 126 ? 2 + rest[1] : 4 + (rest[2] << 8 | rest[3]);
        if (there >= size) break;
    }
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
}

static void send_all(struct connection *c, const unsigned char *data, size_t n) {
    ssize_t sent = write(c->socket, data, n);
    if (sent != (ssize_t)n) fail("write of a message");
}

/* A flooder sends what fits; a message that was cut is finished first. */
static size_t *flood_at;

static void send_flood(struct connection *c, size_t index) {
    size_t all = FLOOD * frame_bytes;
    for (int rounds = 0; rounds < 4; rounds++) {
        ssize_t sent = write(c->socket, flood + flood_at[index], all - flood_at[index]);
        if (sent <= 0) return;
        flood_at[index] = (flood_at[index] + sent) % all;
    }
}

static int by_size(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 11) {
        fprintf(stderr, "load HOST PORT WHAT CONNECTIONS MESSAGE REPLY SECONDS RATE FLOODERS HELLO\n");
        return 2;
    }
    int n_paced = atoi(argv[4]), n_flooders = atoi(argv[9]), has_hello = atoi(argv[10]);
    int n_connections = n_paced + n_flooders;
    double seconds = atof(argv[7]), rate = atof(argv[8]);
    size_t reply_bytes = atoi(argv[6]);
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    is_http = argv[3][0] == '@';
    if (is_http) read_request(argv[3] + 1);
    else make_frame(atoi(argv[5]));
    copy_for_floods();
    reply_frame_bytes = reply_bytes + (reply_bytes < 126 ? 2 : 4);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) { fprintf(stderr, "HOST is an IPv4 address\n"); return 2; }
    char host[64];
    snprintf(host, sizeof host, "%s:%s", argv[1], argv[2]);

    struct connection *all = calloc(n_connections, sizeof *all);
    flood_at = calloc(n_connections, sizeof *flood_at);
    int poll = epoll_create1(0);
    for (int i = 0; i < n_connections; i++) {
        open_connection(&all[i], &address, host, argv[3]);
        finish_handshake(&all[i], has_hello);
        all[i].floods = i >= n_paced;
        struct epoll_event event = {.events = all[i].floods ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.u32 = i};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &event);
    }

    size_t room = 1 << 24, n_times = 0, n_flooded = 0;
    float *times = malloc(room * sizeof *times);
    double begin = now(), warm = begin + seconds / WARM_UP_SHARE, end = begin + seconds;
    for (int i = 0; i < n_paced; i++) all[i].next_at = begin + (rate > 0 ? i / (rate * n_paced) : 0);
    size_t n_measured = 0;
    struct rusage usage_before;
    int is_warm = 0;
    struct epoll_event events[MAX_EVENTS];
    for (double time = begin; time < end; time = now()) {
        if (!is_warm && time >= warm) { is_warm = 1; n_measured = 0; n_times = 0; n_flooded = 0; getrusage(RUSAGE_SELF, &usage_before); }
        if (rate > 0 || time - begin < 0.05)
            for (int i = 0; i < n_paced; i++)
                if (!all[i].waits && all[i].next_at <= time) {
                    all[i].waits = 1;
                    all[i].sent_at = now();
                    send_all(&all[i], frame, frame_bytes);
                }
        double pause = 0.01;
        if (rate > 0)
            for (int i = 0; i < n_paced; i++)
                if (!all[i].waits) pause = fmin(pause, fmax(0, all[i].next_at - time));
        struct timespec timeout = {.tv_nsec = (long)(1e9 * pause)};
        int n_events = epoll_pwait2(poll, events, MAX_EVENTS, &timeout, NULL);
        for (int e = 0; e < n_events; e++) {
            struct connection *c = &all[events[e].data.u32];
            if (c->floods && events[e].events & EPOLLOUT) send_flood(c, events[e].data.u32);
            if (!(events[e].events & EPOLLIN)) continue;
            ssize_t n = read(c->socket, buffer, c->floods ? sizeof buffer : reply_frame_bytes - c->n_received);
            if (n <= 0) { if (errno == EAGAIN && n < 0) continue; fail("read of a reply"); }
            if (c->floods) { n_flooded += n; continue; }
            if (!c->n_received && buffer[0] != (is_http ? 'H' : 0x82)) { fprintf(stderr, "expected an answer, got %.200s\n", buffer + 2); return 1; }
            c->n_received += n;
            if (c->n_received < reply_frame_bytes) continue;
            c->n_received = 0;
            double arrived = now();
            n_measured++;
            if (n_times < room) times[n_times++] = 1e6 * (arrived - c->sent_at);
            if (rate > 0) { c->waits = 0; c->next_at += 1 / rate; }
            else { c->sent_at = arrived; send_all(c, frame, frame_bytes); }
        }
    }
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec - usage_before.ru_utime.tv_sec + usage.ru_stime.tv_sec - usage_before.ru_stime.tv_sec
               + 1e-6 * (usage.ru_utime.tv_usec - usage_before.ru_utime.tv_usec + usage.ru_stime.tv_usec - usage_before.ru_stime.tv_usec);
    double measured = now() - warm;
    qsort(times, n_times, sizeof *times, by_size);
    if (!n_times) { fprintf(stderr, "no replies\n"); return 1; }
    printf("{\"messages\": %zu, \"seconds\": %.4f, \"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f, \"load_cores\": %.3f, "
           "\"flooded_bytes\": %zu}\n",
           n_measured, measured, times[n_times / 2], times[n_times * 99 / 100], times[n_times - 1], cpu / measured, n_flooded);
    return 0;
}
