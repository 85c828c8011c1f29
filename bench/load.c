/* load.c - sends searches and checks every answer byte for byte (exchange.h).
 *   bench_load [options] [ADDR:]PORT PATH=BODIES...        POST PATH to 127.0.0.1 or that IPv4 address; bodies, and paths,
 *                                                          take turns
 *     -c CONNECTIONS (32)   -d SECONDS (4)   -n REQUESTS and no more
 *     -r RATE a second: open loop. Each request has its time; it waits if no connection is free, and its latency counts
 *        from that time (nothing is omitted because the server was slow). Without: closed loop, each connection asks
 *        again when it is answered, and the latency counts from the sending.
 *     -l FILE  latencies in nanoseconds, 32 bits each    -m TEXT  counts answers that have it in their head
 *     -x  any answer with status 200 will do
 * Latencies are logged in nanoseconds of 32 bits: one above 4.29 s counts as 4.29 s.
 * One thread. Prints one line of JSON; ends with 0 if it could run, whatever the answers were. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"

enum { IN_BYTES = 1 << 18, EVENTS = 256, PATHS = 16 };
#define SEC 1000000000ull      /* nanoseconds */
#define PATIENCE (60 * SEC)   /* for answers after the end */

struct text {
    char *p;
    size_t n;
};

struct question {
    struct text request, answer; /* answer: the body that must come back */
};

struct path {
    size_t n;
    struct question *at;
};

struct conn {
    int fd;
    const struct question *asked; /* NULL: free */
    uint64_t since;               /* nanoseconds */
    size_t n_sent, n_in;
    struct conn *next;            /* free ones */
    char *in;                     /* what has come of an answer that did not come in one piece */
};

static struct {
    struct sockaddr_in to;
    unsigned n_conns;
    double seconds, rate;
    uint64_t n_most;
    const char *log, *marker;
    bool any;
} run = {.n_conns = 32, .seconds = 4, .n_most = UINT64_MAX};

static struct {
    uint64_t n_sent, n_good, n_wrong, n_not_200, n_broken, n_marked, n_reconnects, n_late;
} count;

static struct path paths[PATHS];
static unsigned n_paths;
static struct conn *conns, *idle, **idle_last = &idle;
static int poll_fd;
static uint64_t begin, end; /* nanoseconds */
static struct {
    uint32_t *at;
    size_t n, room;
} latencies;
static char scratch[IN_BYTES];

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_load: %s: %s\n", what, strerror(errno));
    exit(2);
}

static const struct question *next_question(void)
{
    uint64_t k = count.n_sent++;
    const struct path *p = &paths[k % n_paths];
    return &p->at[k / n_paths % p->n];
}

static void conn_connect(struct conn *c)
{
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&run.to, sizeof run.to))
        fail("connect");
    setsockopt(c->fd, SOL_TCP, TCP_NODELAY, &on, sizeof on);
    c->n_sent = c->n_in = 0;
    /* Both at once and edges only: nothing is registered again while it runs. */
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, c->fd, &(struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c});
}

static void conn_free(struct conn *c)
{
    c->asked = NULL;
    c->n_sent = c->n_in = 0;
    c->next = NULL;
    *idle_last = c;
    idle_last = &c->next;
}

/* The connection is gone. An answer is owed: that request is lost. */
static void conn_lost(struct conn *c)
{
    bool owed = c->asked;
    close(c->fd);
    count.n_broken += owed;
    count.n_reconnects += !owed;
    conn_connect(c);
    if (owed)
        conn_free(c);
}

static bool conn_send(struct conn *c)
{
    const struct text *t = &c->asked->request;
    while (c->n_sent < t->n) {
        ssize_t n = send(c->fd, t->p + c->n_sent, t->n - c->n_sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN;
        c->n_sent += (size_t)n;
    }
    return true;
}

static void conn_ask(struct conn *c, uint64_t since)
{
    c->asked = next_question();
    c->since = since;
    if (!conn_send(c))
        conn_lost(c);
}

static void note_latency(uint64_t nsec)
{
    if (!run.log)
        return;
    if (latencies.n == latencies.room) {
        latencies.room = latencies.room ? 2 * latencies.room : 1 << 16;
        latencies.at = realloc(latencies.at, latencies.room * sizeof *latencies.at);
    }
    latencies.at[latencies.n++] = nsec < UINT32_MAX ? (uint32_t)nsec : UINT32_MAX;
}

static void judge(const struct question *q, const char *head, size_t n_head, const char *body, size_t n)
{
    if (memcmp(head, "HTTP/1.1 200", 12) != 0) {
        if (count.n_not_200++ == 0)
            fprintf(stderr, "bench_load: %.*s\n", (int)(n_head + n), head);
        return;
    }
    if (!run.any && !answer_same(body, n, q->answer.p, q->answer.n)) {
        if (count.n_wrong++ == 0)
            fprintf(stderr, "bench_load: expected %.*s, got %.*s\n", (int)q->answer.n, q->answer.p, (int)n, body);
        return;
    }
    count.n_good++;
    count.n_marked += run.marker && memmem(head, n_head, run.marker, strlen(run.marker));
}

/* Looks whether n bytes are a whole answer: 1; not yet: 0; never: -1. */
static int take_answer(struct conn *c, const char *in, size_t n)
{
    const char *body = memmem(in, n, "\r\n\r\n", 4);
    uint64_t length;
    if (!body)
        return n < IN_BYTES ? 0 : -1;
    body += 4;
    size_t n_head = (size_t)(body - in);
    if (!head_length(in, n_head, &length))
        return -1; /* chunked, or until close: nobody is asked for that */
    if (n - n_head < length)
        return n_head + length <= IN_BYTES ? 0 : -1;
    if (n - n_head > length)
        return -1;
    judge(c->asked, in, n_head, body, length);
    return 1;
}

/* False: the connection is of no more use. */
static bool conn_read(struct conn *c)
{
    for (;;) {
        char *in = c->n_in ? c->in : scratch;
        ssize_t got = recv(c->fd, in + c->n_in, IN_BYTES - c->n_in, MSG_DONTWAIT);
        if (got <= 0)
            return got < 0 && errno == EAGAIN;
        if (!c->asked)
            return false; /* an answer to nothing */
        size_t n = c->n_in + (size_t)got;
        int whole = take_answer(c, in, n);
        if (whole < 0)
            return false;
        if (whole) {
            note_latency(now() - c->since);
            conn_free(c);
            return true; /* nothing can follow: one request at a time */
        }
        if (!c->in && !(c->in = malloc(IN_BYTES)))
            fail("memory");
        if (in == scratch)
            memcpy(c->in, in, n);
        c->n_in = n;
    }
}

/* When the next request is due; closed loop: at once. */
static uint64_t next_due(void)
{
    return run.rate > 0 ? begin + (uint64_t)((double)count.n_sent / run.rate * SEC) : 0;
}

/* Open loop: what was due before the end is sent, however late it is; leaving it out would flatter a slow server. */
static bool more_to_send(uint64_t at)
{
    return count.n_sent < run.n_most && (run.rate > 0 ? next_due() < end && at < end + PATIENCE : at < end);
}

static void ask_what_is_due(void)
{
    uint64_t at = now(), due;
    while (idle && more_to_send(at) && (due = next_due()) <= at) {
        struct conn *c = idle;
        if (!(idle = c->next))
            idle_last = &idle;
        count.n_late += due && at - due > SEC / 1000;
        conn_ask(c, due ? due : at);
        at = now();
    }
}

static uint64_t n_owed(void)
{
    return count.n_sent - count.n_good - count.n_wrong - count.n_not_200 - count.n_broken;
}

/* Open loop: due before the end, and never sent. */
static uint64_t n_unsent(void)
{
    uint64_t n = run.rate > 0 ? (uint64_t)(run.seconds * run.rate) : 0;
    return n > count.n_sent && count.n_sent < run.n_most ? n - count.n_sent : 0;
}

static void wait_and_read(void)
{
    struct epoll_event events[EVENTS];
    uint64_t at = now(), until = more_to_send(at) && idle ? next_due() : at + SEC / 10;
    uint64_t nsec = until > at ? until - at : 0;
    struct timespec wait = {(time_t)(nsec / SEC), (long)(nsec % SEC)};
    int n = epoll_pwait2(poll_fd, events, EVENTS, &wait, NULL);
    for (int i = 0; i < n; i++) {
        struct conn *c = events[i].data.ptr;
        bool good = !(events[i].events & EPOLLOUT) || !c->asked || conn_send(c);
        if (good && (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
            good = conn_read(c);
        if (!good)
            conn_lost(c);
    }
}

static void run_load(void)
{
    begin = now();
    end = begin + (uint64_t)(run.seconds * SEC);
    for (;;) {
        ask_what_is_due();
        uint64_t at = now();
        if (!more_to_send(at) && (n_owed() == 0 || at > end + PATIENCE))
            return;
        wait_and_read();
    }
}

static void add_path(const char *arg)
{
    struct path *p = &paths[n_paths++];
    struct bodies b;
    const char *file = strchr(arg, '=');
    if (!file) {
        fprintf(stderr, "bench_load: '%s': expected PATH=BODIES\n", arg);
        exit(2);
    }
    bodies_read(&b, file + 1);
    p->n = b.n;
    p->at = calloc(b.n, sizeof *p->at);
    for (size_t i = 0; i < b.n; i++) {
        struct question *q = &p->at[i];
        q->answer.p = run.any ? NULL : answer_make(&b.at[i], 600, &q->answer.n);
        q->request.p = malloc(b.at[i].n + (size_t)(file - arg) + 256);
        int n_head = sprintf(q->request.p,
                             "POST %.*s HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
                             "Content-Length: %zu\r\n\r\n",
                             (int)(file - arg), arg, b.at[i].n);
        memcpy(q->request.p + n_head, b.at[i].text, b.at[i].n);
        q->request.n = (size_t)n_head + b.at[i].n;
    }
}

static void read_address(const char *arg)
{
    char address[32] = "127.0.0.1";
    const char *colon = strrchr(arg, ':');
    if (colon)
        snprintf(address, sizeof address, "%.*s", (int)(colon - arg), arg);
    run.to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon ? colon + 1 : arg))};
    if (inet_pton(AF_INET, address, &run.to.sin_addr) != 1 || !run.to.sin_port) {
        fprintf(stderr, "bench_load: '%s': expected a port, or an IPv4 address and a port as in 127.0.0.1:6333\n", arg);
        exit(2);
    }
}

static void read_arguments(int argc, char **argv)
{
    for (int o; (o = getopt(argc, argv, "c:d:n:r:l:m:x")) != -1;) {
        switch (o) {
        case 'c': run.n_conns = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'd': run.seconds = strtod(optarg, NULL); break;
        case 'n': run.n_most = strtoull(optarg, NULL, 10); break;
        case 'r': run.rate = strtod(optarg, NULL); break;
        case 'l': run.log = optarg; break;
        case 'm': run.marker = optarg; break;
        case 'x': run.any = true; break;
        default: optind = argc;
        }
    }
    if (argc - optind < 2 || argc - optind > PATHS || !run.n_conns) {
        fprintf(stderr, "usage: bench_load [-c CONNECTIONS] [-d SECONDS] [-n REQUESTS] [-r RATE] [-l FILE] [-m TEXT] [-x] "
                        "[ADDR:]PORT PATH=BODIES...\n");
        exit(2);
    }
    read_address(argv[optind]);
    for (int i = optind + 1; i < argc; i++)
        add_path(argv[i]);
}

static void write_log(void)
{
    FILE *f = fopen(run.log, "w");
    if (!f || fwrite(latencies.at, sizeof *latencies.at, latencies.n, f) != latencies.n || fclose(f))
        fail(run.log);
}

static void raise_file_limit(void)
{
    struct rlimit l;
    getrlimit(RLIMIT_NOFILE, &l);
    l.rlim_cur = l.rlim_max;
    setrlimit(RLIMIT_NOFILE, &l);
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    raise_file_limit();
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    conns = calloc(run.n_conns, sizeof *conns);
    for (unsigned i = 0; i < run.n_conns; i++) {
        conn_connect(&conns[i]);
        conn_free(&conns[i]);
    }
    run_load();
    double seconds = (double)(now() - begin) / SEC;
    if (run.log)
        write_log();
    printf("{\"requests\":%llu,\"seconds\":%.6f,\"wrong\":%llu,\"not_200\":%llu,\"broken\":%llu,\"unanswered\":%llu,"
           "\"unsent\":%llu,\"marked\":%llu,\"reconnects\":%llu,\"late\":%llu}\n",
           (unsigned long long)count.n_good, seconds, (unsigned long long)count.n_wrong,
           (unsigned long long)count.n_not_200, (unsigned long long)count.n_broken, (unsigned long long)n_owed(),
           (unsigned long long)n_unsent(), (unsigned long long)count.n_marked, (unsigned long long)count.n_reconnects, (unsigned long long)count.n_late);
    return 0;
}
