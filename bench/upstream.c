/* upstream.c - a server for measuring proxies: reads whole requests, answers each with the same 200 in Qdrant's shape.
 *   bench_upstream PORT [BYTES [DELAY_USEC]]
 * One thread, epoll, 127.0.0.1. It knows Content-Length and nothing else of HTTP; it is for requests that we make ourselves. */
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_BYTES = 1 << 18, EVENTS = 128 };

struct conn {
    int fd;
    size_t n_in;         /* of the request's head and body that lie in `in` */
    uint64_t skip;       /* bytes of a body still to come that need no room */
    uint64_t due;        /* usec; 0: no answer is waiting */
    struct conn *next;   /* in the queue of answers that wait: the delay is the same for all, so it is in order */
    char in[IN_BYTES];
};

static char *answer;
static size_t n_answer;
static uint64_t delay_usec;
static struct conn *first, **last = &first;

static uint64_t now_usec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void make_answer(size_t n_body)
{
    static const char begin[] = "{\"result\":[", end[] = "],\"status\":\"ok\",\"time\":0.000123456}";
    static const char item[] = "{\"id\":1234567,\"version\":12,\"score\":0.87654321}";
    char *body = calloc(1, n_body + 256), head[160];
    size_t n = (size_t)sprintf(body, "%s", begin);
    do
        n += (size_t)sprintf(body + n, "%s%s", n == sizeof begin - 1 ? "" : ",", item);
    while (n + sizeof item + sizeof end <= n_body);
    n += (size_t)sprintf(body + n, "%s", end);
    int n_head = snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n", n);
    n_answer = (size_t)n_head + n;
    answer = malloc(n_answer);
    memcpy(answer, head, (size_t)n_head);
    memcpy(answer + n_head, body, n);
    free(body);
}

static bool send_answer(struct conn *c)
{
    return send(c->fd, answer, n_answer, MSG_NOSIGNAL) == (ssize_t)n_answer; /* small: fits the socket's buffer */
}

static bool answer_later(struct conn *c)
{
    if (!delay_usec)
        return send_answer(c);
    c->due = now_usec() + delay_usec;
    c->next = NULL;
    *last = c;
    last = &c->next;
    return true;
}

static uint64_t body_length(const char *head, size_t n)
{
    for (const char *line = head; (line = memchr(line, '\n', n - (size_t)(line - head)));) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0)
            return strtoull(line + 15, NULL, 10);
    }
    return 0;
}

/* Steps over all whole requests in the buffer and answers them. */
static bool conn_take(struct conn *c)
{
    while (c->n_in) {
        char *end = memmem(c->in, c->n_in, "\r\n\r\n", 4);
        if (!end)
            return c->n_in < IN_BYTES;
        size_t n_head = (size_t)(end + 4 - c->in);
        uint64_t n_whole = n_head + body_length(c->in, n_head);
        if (n_whole > c->n_in) {
            if (n_whole - n_head > IN_BYTES) { /* a large body: only its length matters */
                c->skip = n_whole - c->n_in;
                c->n_in = 0;
            }
            return true;
        }
        c->n_in -= n_whole;
        memmove(c->in, c->in + n_whole, c->n_in);
        if (!answer_later(c))
            return false;
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
        if (c->skip == 0 && !answer_later(c))
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
    close(c->fd);
    free(c);
}

static void conn_accept(int poll_fd, int listen_fd)
{
    int on = 1, fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct conn *c = calloc(1, sizeof *c);
    c->fd = fd;
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

static int wait_msec(void)
{
    if (!first)
        return -1;
    uint64_t now = now_usec();
    return first->due <= now ? 0 : (int)((first->due - now + 999) / 1000);
}

static int listen_on(unsigned port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024)) {
        fprintf(stderr, "bench_upstream: 127.0.0.1:%u: %s\n", port, strerror(errno));
        exit(1);
    }
    return fd;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_upstream PORT [BYTES of the answer's body [DELAY in microseconds]]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    make_answer(argc > 2 ? strtoul(argv[2], NULL, 10) : 600);
    delay_usec = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    int listen_fd = listen_on((unsigned)atoi(argv[1])), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listen_fd, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(poll_fd, events, EVENTS, wait_msec());
        for (int i = 0; i < n; i++) {
            struct conn *c = events[i].data.ptr;
            if (!c)
                conn_accept(poll_fd, listen_fd);
            else if (!conn_read(c))
                conn_close(c);
        }
        answer_due();
    }
}
