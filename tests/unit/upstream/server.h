/* server.h - for tests of upstream/: a loop that the test turns by hand and a listener on 127.0.0.1 whose server side the test plays itself,
 * with blocking calls, on the same thread. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "upstream/fetch.h"

struct world {
    struct loop loop;
    struct pool_host host;
    struct slots *slots;
    struct arena arena;
    int listener;
    char url[64];
};

static inline int listen_local(char url[64])
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 128), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    snprintf(url, 64, "http://127.0.0.1:%u", ntohs(at.sin_port));
    return fd;
}

static inline struct slots *slots_to(const char *url, unsigned limit)
{
    static unsigned n; /* each its own: slots live until the process ends */
    char model[32];
    snprintf(model, sizeof model, "model%u", n++);
    return slots_get(model, peer_get(url, "127.0.0.1", (uint16_t)atoi(strrchr(url, ':') + 1)), limit, 0);
}

static inline struct world *world_open(unsigned limit)
{
    struct world *w = mem_zalloc(sizeof *w);
    loop_init(&w->loop);
    w->host.loop = &w->loop;
    w->host.idle_timeout = 4 * SEC;
    w->listener = listen_local(w->url);
    w->slots = slots_to(w->url, limit);
    arena_init(&w->arena, NULL, 0);
    slots_set_loop(0, &w->loop);
    return w;
}

static inline void world_turn(struct world *w)
{
    loop_turn(&w->loop, 0);
}

/* Turns the loop until it is so; fails after 3 s. */
#define turn_until(w, condition)                                   \
    do {                                                           \
        for (uint64_t end_ = clock_usec() + 3 * SEC; !(condition);) { \
            assert_true(clock_usec() < end_);                      \
            world_turn(w);                                         \
            usleep(200);                                           \
        }                                                          \
    } while (0)

static inline void turn_for(struct world *w, uint64_t usec)
{
    for (uint64_t end = clock_usec() + usec; clock_usec() < end; usleep(200))
        world_turn(w);
    world_turn(w); /* with a clock past the end, however late this thread is */
}

static inline void world_close(struct world **slot)
{
    struct world *w = *slot;
    *slot = NULL;
    turn_for(w, 2 * MSEC);
    pools_close(&w->host);
    arena_fini(&w->arena);
    loop_fini(&w->loop);
    close(w->listener);
    free(w);
}

/* The server's side. */
static inline int serve(struct world *w)
{
    struct timeval limit = {.tv_sec = 2};
    int fd = accept(w->listener, NULL, NULL);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
}

static inline bool nobody_connects(struct world *w)
{
    fcntl(w->listener, F_SETFL, O_NONBLOCK);
    int fd = accept(w->listener, NULL, NULL);
    fcntl(w->listener, F_SETFL, 0);
    if (fd >= 0)
        close(fd);
    return fd < 0;
}

static inline void says(int fd, const char *bytes)
{
    assert_int_equal(send(fd, bytes, strlen(bytes), MSG_NOSIGNAL), strlen(bytes));
}

/* What has come, as text; "" when the other side closed. Turns the loop until something is there. */
static inline const char *hears(struct world *w, int fd)
{
    static char text[70000];
    ssize_t n = -1;
    turn_until(w, (n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT)) >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK));
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* A client of fetch: collects the answer. */
struct getter {
    struct task task;
    struct world *world;
    struct fetch fetch;
    struct str part[2];
    char body[70000];
    size_t n;
    enum fetch_body body_end; /* FETCH_END or FETCH_BROKEN once over */
    bool over;
};

static inline void getter_look(struct getter *g)
{
    struct str slice;
    if (g->over)
        return;
    enum fetch_state state = fetch_run(&g->fetch, g->world->loop.now);
    if (state == FETCH_FAILED) {
        g->over = true;
        g->body_end = FETCH_BROKEN;
    }
    if (state != FETCH_ANSWERING && state != FETCH_OVER)
        return;
    for (;;) {
        enum fetch_body result = fetch_body(&g->fetch, &slice);
        if (result != FETCH_SLICE) {
            g->over = result != FETCH_WAIT;
            g->body_end = result;
            return;
        }
        assert_true(g->n + slice.n < sizeof g->body);
        memcpy(g->body + g->n, slice.p, slice.n);
        g->n += slice.n;
        g->body[g->n] = 0;
        fetch_body_used(&g->fetch, slice.n);
    }
}

static inline void getter_run(struct task *task)
{
    getter_look(LIST_OF(getter, task, task));
}

static inline struct getter *getter_new(struct world *w)
{
    struct getter *g = mem_zalloc(sizeof *g);
    g->task.run = getter_run;
    g->world = w;
    w->loop.now = clock_usec();
    fetch_init(&g->fetch, &w->host, &w->arena, &g->task);
    g->fetch.limits = (struct fetch_limits){SEC, SEC, SEC, SEC};
    g->fetch.may_retry = true;
    return g;
}

static inline struct getter *get(struct world *w, const char *request)
{
    struct getter *g = getter_new(w);
    g->part[0] = str_of(request);
    fetch_start(&g->fetch, &w->slots, 1, 16, g->part, 1, false, strncmp(request, "HEAD", 4) == 0);
    getter_look(g);
    return g;
}

static inline void let_go(struct getter **slot)
{
    struct getter *g = *slot;
    *slot = NULL;
    fetch_finish(&g->fetch);
    loop_unwake(&g->world->loop, &g->task);
    free(g);
}
