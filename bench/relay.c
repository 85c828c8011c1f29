/* relay.c - the least that a proxy costs: whatever arrives is passed on unread, each client over a connection of its own.
 *   bench_relay PORT ADDRESS:PORT [THREADS]
 * What stands between quiver and a direct connection is compared with it: what it costs too, no proxy can leave out.
 * 127.0.0.1 to an IPv4 address; for loads that we make ourselves. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ROOM = 1 << 17, EVENTS = 64, THREADS_MAX = 64 };

struct pair;

struct side {
    int fd;
    bool waits;        /* for room to send what the other side has brought */
    size_t from, n;    /* of `bytes`: not sent yet */
    char *bytes;       /* ROOM, what came from the other side */
    struct pair *pair;
};

struct pair {
    struct side side[2]; /* client, server */
    bool over;
    struct pair *next;   /* among those that are over */
};

static struct sockaddr_in listens, server;

static void *fatal(const char *what)
{
    fprintf(stderr, "bench_relay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int tcp(int flags)
{
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (fd < 0)
        fatal("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void watch(int poll_fd, int how, struct side *s)
{
    uint32_t events = s->waits ? EPOLLOUT : EPOLLIN;
    epoll_ctl(poll_fd, how, s->fd, &(struct epoll_event){.events = events, .data.ptr = s});
}

static void pair_open(int poll_fd, int client)
{
    struct pair *p = calloc(1, sizeof *p);
    int fds[2] = {client, tcp(0)};
    if (!p || connect(fds[1], (struct sockaddr *)&server, sizeof server) != 0)
        fatal("connect");
    for (int i = 0; i < 2; i++) {
        int on = 1;
        setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        p->side[i] = (struct side){.fd = fds[i], .pair = p, .bytes = malloc(ROOM)};
        if (!p->side[i].bytes)
            fatal("memory");
        watch(poll_fd, EPOLL_CTL_ADD, &p->side[i]);
    }
}

/* Its memory stays until the events that are at hand are through. */
static void pair_over(struct pair *p, struct pair **over)
{
    if (p->over)
        return;
    p->over = true;
    p->next = *over;
    *over = p;
    close(p->side[0].fd);
    close(p->side[1].fd);
}

static void free_over(struct pair **over)
{
    for (struct pair *p; (p = *over);) {
        *over = p->next;
        free(p->side[0].bytes);
        free(p->side[1].bytes);
        free(p);
    }
}

/* Sends what lies there for `to`; false if it cannot. While something is left, `to` waits for room and the other side is not read. */
static bool pass_on(int poll_fd, struct side *to, struct side *from)
{
    ssize_t n = to->n ? send(to->fd, to->bytes + to->from, to->n, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
    if (n < 0 && errno != EAGAIN)
        return false;
    if (n > 0) {
        to->from += (size_t)n;
        to->n -= (size_t)n;
    }
    if (to->waits == (to->n > 0))
        return true;
    to->waits = to->n > 0;
    watch(poll_fd, EPOLL_CTL_MOD, to);
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, from->fd,
              &(struct epoll_event){.events = to->waits ? 0 : EPOLLIN, .data.ptr = from});
    return true;
}

static bool move(int poll_fd, struct side *s)
{
    struct side *other = &s->pair->side[s == &s->pair->side[0]];
    if (s->waits)
        return pass_on(poll_fd, s, other);
    if (other->n) /* not read now: it has hung up */
        return false;
    ssize_t n = recv(s->fd, other->bytes, ROOM, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    if (n <= 0)
        return false;
    other->from = 0;
    other->n = (size_t)n;
    return pass_on(poll_fd, other, s);
}

static void *serve(void *arg)
{
    int on = 1, fd = tcp(SOCK_NONBLOCK), poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct pair *over = NULL;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&listens, sizeof listens) != 0 || listen(fd, 512) != 0)
        fatal("listen");
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = NULL});
    for (;;) {
        struct epoll_event event[EVENTS];
        int n = epoll_wait(poll_fd, event, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct side *s = event[i].data.ptr;
            int client = s ? -1 : accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (client >= 0)
                pair_open(poll_fd, client);
            else if (s && !s->pair->over && !move(poll_fd, s))
                pair_over(s->pair, &over);
        }
        free_over(&over);
    }
    return arg;
}

static bool read_address(const char *text, struct sockaddr_in *out)
{
    char host[64];
    unsigned port;
    *out = (struct sockaddr_in){.sin_family = AF_INET};
    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 || port > 65535)
        return false;
    out->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, host, &out->sin_addr) == 1;
}

int main(int argc, char **argv)
{
    char own[32];
    int threads = argc > 3 ? atoi(argv[3]) : 1;
    snprintf(own, sizeof own, "127.0.0.1:%.5s", argc > 1 ? argv[1] : "");
    if (argc < 3 || threads < 1 || threads > THREADS_MAX || !read_address(own, &listens) || !read_address(argv[2], &server)) {
        fprintf(stderr, "usage: bench_relay PORT ADDRESS:PORT [THREADS, 1 to %d]\n", THREADS_MAX);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, NULL) != 0)
            fatal("thread");
    }
    serve(NULL);
}
