/* upstream.c - a server for measuring proxies: reads whole requests and gives each the answer that belongs to it.
 *   bench_upstream [-a BYTES] [-s USEC [-n SERVERS]] [-e EVERY] PORT[=BODIES]...
 * A port with a file of bodies (exchange.h) knows what must arrive there: every request's length is checked and one in
 * EVERY (1000) byte for byte; one that does not fit is answered with 500 and counted. A port without gives all searches
 * the same answer. -s: an answer takes so long, and -n: at most so many are worked on at once; the others queue.
 * GET /bench tells what the port has seen, GET /bench/reset forgets it; the few questions that quiver asks by itself
 * are answered as Qdrant does.
 * One thread, epoll, 127.0.0.1. It knows Content-Length and nothing else of HTTP; it is for requests that we make
 * ourselves. */
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "exchange.h"

enum { IN_BYTES = 1 << 18, EVENTS = 128, PORTS = 16, SERVERS = 1024 };

struct text {
    char *p;
    size_t n;
};

struct port {
    int fd;
    struct bodies bodies; /* n == 0: any request will do */
    struct text *answer;  /* one for each body, head and all */
    uint64_t n_requests, n_checked, n_wrong, n_unknown;
    unsigned n_open, n_open_most; /* connections that have carried a search */
};

struct conn {
    struct port *port;
    int fd;
    bool searches;       /* has carried one: quiver's own questions have connections of their own, which do not count */
    size_t n_in;         /* of the request's head and body that lie in `in` */
    uint64_t skip;       /* bytes of a body still to come that need no room */
    uint64_t due;        /* usec; 0: no answer is waiting */
    struct text answer;  /* the one that waits */
    struct conn *next;   /* in the queue of answers that wait: in order of `due` */
    char in[IN_BYTES];
};

static struct port ports[PORTS];
static unsigned n_ports;
static struct text any_answer, wrong_answer;
static size_t n_answer_least = 600;
static uint64_t service_usec, check_every = 1000;
static uint64_t server_free[SERVERS]; /* usec */
static unsigned n_servers = SERVERS;
static struct conn *first, **last = &first;

/* What quiver asks by itself, and the answers of a small Qdrant. */
static const struct {
    const char *path, *body;
} own_questions[] = {
    {"/aliases ", "{\"result\":{\"aliases\":[]},\"status\":\"ok\",\"time\":0.0}"},
    {"/telemetry", "{\"result\":{\"id\":\"bench\",\"app\":{\"name\":\"qdrant\",\"version\":\"1.18.3\",\"startup\":"
                   "\"2026-01-01T00:00:00Z\"},\"collections\":{\"number_of_collections\":0,\"collections\":[]}},"
                   "\"status\":\"ok\",\"time\":0.0}"},
    {"/collections/", "{\"result\":{\"status\":\"green\",\"optimizer_status\":\"ok\",\"points_count\":1,\"segments_count\":1,"
                      "\"indexed_vectors_count\":0,\"config\":{\"params\":{\"vectors\":{\"size\":4,\"distance\":\"Dot\"},"
                      "\"shard_number\":1,\"replication_factor\":1}},\"payload_schema\":{}},\"status\":\"ok\",\"time\":0.0}"},
    {"/ ", "{\"title\":\"qdrant - vector search engine\",\"version\":\"1.18.3\"}"},
    {"/readyz", "all shards are ready"},
};

static uint64_t now_usec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static struct text whole_answer(const char *status, const char *body, size_t n)
{
    char *all = malloc(n + 160);
    int n_head = sprintf(all, "HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", status, n);
    memcpy(all + n_head, body, n);
    return (struct text){all, (size_t)n_head + n};
}

static struct text search_answer(const struct body *of)
{
    size_t n;
    char *body = answer_make(of, n_answer_least, &n);
    struct text all = whole_answer("200 OK", body, n);
    free(body);
    return all;
}

static bool send_answer(struct conn *c)
{
    return send(c->fd, c->answer.p, c->answer.n, MSG_NOSIGNAL) == (ssize_t)c->answer.n; /* small: fits the buffer */
}

static bool send_text(struct conn *c, const char *status, const char *body)
{
    struct text all = whole_answer(status, body, strlen(body));
    bool sent = send(c->fd, all.p, all.n, MSG_NOSIGNAL) == (ssize_t)all.n;
    free(all.p);
    return sent;
}

/* The server that is free first takes it. All take equally long, so that answers leave in the order they came. */
static bool answer_search(struct conn *c, struct text answer)
{
    c->answer = answer;
    if (!service_usec)
        return send_answer(c);
    unsigned s = 0;
    for (unsigned i = 1; i < n_servers; i++)
        if (server_free[i] < server_free[s])
            s = i;
    uint64_t now = now_usec();
    c->due = server_free[s] = (server_free[s] > now ? server_free[s] : now) + service_usec;
    c->next = NULL;
    *last = c;
    last = &c->next;
    return true;
}

/* What must arrive here is known: is this it? */
static struct text checked_answer(struct port *p, const char *body, size_t n)
{
    int at = bodies_find(&p->bodies, body, n);
    if (at < 0) {
        p->n_unknown++;
        return wrong_answer;
    }
    const struct body *want = &p->bodies.at[at];
    bool look = p->n_requests % check_every == 1 || check_every == 1;
    p->n_checked += look;
    if (n == want->n && (!look || memcmp(body, want->text, n) == 0))
        return p->answer[at];
    if (p->n_wrong++ == 0)
        fprintf(stderr, "bench_upstream: expected %zu bytes, got %zu: %.*s...\n", want->n, n,
                (int)(n < 200 ? n : 200), body);
    return wrong_answer;
}

static bool tell_counts(struct conn *c, bool reset)
{
    struct port *p = c->port;
    char body[256];
    snprintf(body, sizeof body,
             "{\"requests\":%llu,\"checked\":%llu,\"wrong\":%llu,\"unknown\":%llu,\"open_now\":%u,\"open_most\":%u}",
             (unsigned long long)p->n_requests, (unsigned long long)p->n_checked, (unsigned long long)p->n_wrong,
             (unsigned long long)p->n_unknown, p->n_open, p->n_open_most);
    if (reset) {
        p->n_requests = p->n_checked = p->n_wrong = p->n_unknown = 0;
        p->n_open_most = p->n_open;
    }
    return send_text(c, "200 OK", body);
}

static bool answer_get(struct conn *c, const char *path)
{
    if (strncmp(path, "/bench", 6) == 0)
        return tell_counts(c, strncmp(path, "/bench/reset", 12) == 0);
    for (size_t i = 0; i < sizeof own_questions / sizeof *own_questions; i++)
        if (strncmp(path, own_questions[i].path, strlen(own_questions[i].path)) == 0)
            return send_text(c, "200 OK", own_questions[i].body);
    return send_text(c, "404 Not Found", "");
}

static bool answer(struct conn *c, const char *head, const char *body, size_t n)
{
    struct port *p = c->port;
    if (strncmp(head, "GET ", 4) == 0)
        return answer_get(c, head + 4);
    p->n_open += !c->searches;
    c->searches = true;
    if (p->n_open > p->n_open_most)
        p->n_open_most = p->n_open;
    p->n_requests++;
    return answer_search(c, p->bodies.n ? checked_answer(p, body, n) : any_answer);
}

/* Steps over all whole requests in the buffer and answers them. */
static bool conn_take(struct conn *c)
{
    while (c->n_in) {
        char *end = memmem(c->in, c->n_in, "\r\n\r\n", 4);
        if (!end)
            return c->n_in < IN_BYTES;
        size_t n_head = (size_t)(end + 4 - c->in);
        uint64_t length = 0; /* none said: no body */
        head_length(c->in, n_head, &length);
        uint64_t n_whole = n_head + length;
        if (n_whole > c->n_in) {
            if (n_whole > IN_BYTES) { /* a large body: only its length matters */
                c->skip = n_whole - c->n_in;
                c->n_in = 0;
            }
            return true;
        }
        if (!answer(c, c->in, c->in + n_head, n_whole - n_head))
            return false;
        c->n_in -= n_whole;
        memmove(c->in, c->in + n_whole, c->n_in);
    }
    return true;
}

static bool conn_read(struct conn *c)
{
    size_t room = c->skip ? IN_BYTES : IN_BYTES - c->n_in;
    if (room == 0)
        return false;
    ssize_t n = recv(c->fd, c->in + (c->skip ? 0 : c->n_in), room, MSG_DONTWAIT);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    if (c->skip) {
        uint64_t used = (uint64_t)n < c->skip ? (uint64_t)n : c->skip;
        c->skip -= used;
        c->n_in = (size_t)n - used;
        memmove(c->in, c->in + used, c->n_in);
        if (c->skip == 0 && !answer(c, "", NULL, 0))
            return false;
    } else {
        c->n_in += (size_t)n;
    }
    return c->skip || conn_take(c);
}

static void conn_close(struct conn *c)
{
    for (struct conn **at = &first; *at;) {
        if (*at == c)
            *at = c->next;
        else
            at = &(*at)->next;
    }
    for (last = &first; *last; last = &(*last)->next)
        ;
    c->port->n_open -= c->searches;
    close(c->fd);
    free(c);
}

static void conn_accept(int poll_fd, struct port *p)
{
    int on = 1, fd = accept4(p->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *c = calloc(1, sizeof *c);
    c->fd = fd;
    c->port = p;
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = c});
}

static void answer_due(void)
{
    for (struct conn *c; (c = first) && c->due <= now_usec();) {
        first = c->next;
        if (!first)
            last = &first;
        send_answer(c); /* if it fails, the read that follows sees it */
    }
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
        fprintf(stderr, "bench_upstream: 127.0.0.1:%u: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

static void open_port(const char *arg, int poll_fd)
{
    const char *file = strchr(arg, '=');
    struct port *p = &ports[n_ports++];
    if (file) {
        bodies_read(&p->bodies, file + 1);
        p->answer = calloc(p->bodies.n, sizeof *p->answer);
        for (size_t i = 0; i < p->bodies.n; i++)
            p->answer[i] = search_answer(&p->bodies.at[i]);
    }
    p->fd = listen_on((unsigned)atoi(arg));
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, p->fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = p});
}

static void usage(void)
{
    fprintf(stderr, "usage: bench_upstream [-a BYTES of an answer] [-s USEC of work for each [-n SERVERS at once]]\n"
                    "                      [-e EVERY so many requests one is compared] PORT[=BODIES]...\n");
    exit(2);
}

static void read_arguments(int argc, char **argv)
{
    for (int o; (o = getopt(argc, argv, "a:s:n:e:")) != -1;) {
        switch (o) {
        case 'a': n_answer_least = strtoul(optarg, NULL, 10); break;
        case 's': service_usec = strtoull(optarg, NULL, 10); break;
        case 'n': n_servers = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'e': check_every = strtoull(optarg, NULL, 10); break;
        default: usage();
        }
    }
    if (optind == argc || argc - optind > PORTS || n_servers < 1 || n_servers > SERVERS || check_every < 1)
        usage();
}

static bool is_port(const void *p)
{
    return p >= (const void *)ports && p < (const void *)(ports + PORTS);
}

static int wait_for_events(int poll_fd, struct epoll_event *events)
{
    struct timespec wait = {0};
    uint64_t now = first ? now_usec() : 0;
    if (first && first->due > now)
        wait = (struct timespec){(time_t)((first->due - now) / 1000000), (long)((first->due - now) % 1000000) * 1000};
    return epoll_pwait2(poll_fd, events, EVENTS, first ? &wait : NULL, NULL);
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_TIMERSLACK, 1);
    any_answer = search_answer(&(struct body){"[0.123456789012345678901234567890123456789012", 46});
    wrong_answer = whole_answer("500 Wrong Request", "{}", 2);
    int poll_fd = epoll_create1(EPOLL_CLOEXEC);
    for (int i = optind; i < argc; i++)
        open_port(argv[i], poll_fd);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = wait_for_events(poll_fd, events);
        for (int i = 0; i < n; i++) {
            if (is_port(events[i].data.ptr))
                conn_accept(poll_fd, events[i].data.ptr);
            else if (!conn_read(events[i].data.ptr))
                conn_close(events[i].data.ptr);
        }
        answer_due();
    }
}
