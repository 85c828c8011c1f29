#include "tune/ask.h"

#include <stdlib.h>

#include "base/mem.h"
#include "conf/conf.h"

enum { ASK_BODY_MAX = 32 << 20 }; /* telemetry of as many collections as there are facts of */
#define ASK_TIMEOUT (2 * SEC)

static void finish(struct ask *a)
{
    a->running = false;
    timer_set(&a->timer, NEVER);
    a->done(a);
    if (!a->running)
        fetch_finish(&a->fetch);
}

static enum fetch_body read_body(struct ask *a)
{
    struct str slice;
    enum fetch_body result;
    while ((result = fetch_body(&a->fetch, &slice)) == FETCH_SLICE) {
        if (slice.n > ASK_BODY_MAX - a->n_own)
            return FETCH_BROKEN;
        a->own = mem_realloc(a->own, a->n_own + slice.n);
        memcpy(a->own + a->n_own, slice.p, slice.n);
        a->n_own += slice.n;
        fetch_body_used(&a->fetch, slice.n);
    }
    return result;
}

static void run(struct task *task)
{
    struct ask *a = LIST_OF(ask, task, task);
    uint64_t now = a->worker->loop.now;
    if (!a->running)
        return;
    enum fetch_state state = fetch_run(&a->fetch, now);
    if (state == FETCH_ANSWERING || state == FETCH_OVER) {
        enum fetch_body result = read_body(a);
        if (result == FETCH_WAIT) {
            timer_set(&a->timer, fetch_deadline(&a->fetch));
            return;
        }
        a->status = result == FETCH_END ? a->fetch.head.status : 0; /* cut or too long: as good as none */
        a->body = (struct str){a->own, a->n_own};
        finish(a);
        return;
    }
    if (state == FETCH_FAILED) {
        a->status = 0;
        finish(a);
        return;
    }
    timer_set(&a->timer, fetch_deadline(&a->fetch));
}

static void on_time(void *arg)
{
    struct ask *a = arg;
    loop_wake(&a->worker->loop, &a->task);
}

void ask_init(struct ask *a, struct worker *w, void (*done)(struct ask *))
{
    *a = (struct ask){.task = {.run = run}, .worker = w, .done = done};
    timer_init(&a->timer, &w->loop, on_time, a);
    arena_init(&a->arena, NULL, 0);
}

void ask_fini(struct ask *a)
{
    if (a->running)
        fetch_finish(&a->fetch);
    a->running = false;
    loop_unwake(&a->worker->loop, &a->task);
    timer_fini(&a->timer);
    arena_fini(&a->arena);
    free(a->own);
    a->own = NULL;
}

const char *ask_why(const struct ask *a)
{
    return a->fetch.failure ? fetch_failure_text(a->fetch.failure) : "the upstream's answer was too long";
}

static struct peer *peer_for(struct worker *w, const struct conf_group *g)
{
    struct peer *first = peer_get(g->server[0].url, g->server[0].host, g->server[0].port), *peer = first;
    for (unsigned i = 1; i < g->n_servers && peer_is_down(peer, w->loop.now); i++)
        peer = peer_get(g->server[i].url, g->server[i].host, g->server[i].port);
    return peer_is_down(peer, w->loop.now) ? first : peer;
}

struct slots *ask_slots(struct worker *w, const struct conf_group *g)
{
    return slots_get("(tune)", peer_for(w, g), 4, metrics_model("(control)"));
}

struct slots *ask_slots_of_control(struct worker *w, const struct conf_group *g)
{
    return slots_get("(control)", peer_for(w, g), 1, metrics_model("(control)"));
}

void ask_start(struct ask *a, struct slots *slots, const char *path)
{
    ask_send(a, slots, "GET", path, STR_NONE, ASK_TIMEOUT);
}

struct str ask_head(struct arena *a, const struct conf *conf, const char *method, const char *path, const char *host, size_t n_body, const char *more)
{
    const char *key = conf->process.api_key;
    struct str about = n_body || strcmp(method, "GET") != 0
                           ? arena_printf(a, "Content-Type: application/json\r\nContent-Length: %zu\r\n", n_body)
                           : STR("");
    return arena_printf(a,
                        "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: quiver/%s\r\nAccept-Encoding: identity\r\n"
                        "%.*s%s%s%s%s\r\n",
                        method, path, host, QUIVER_VERSION, STR_ARG(about), more, key ? "api-key: " : "", key ? key : "", key ? "\r\n" : "");
}

void ask_send(struct ask *a, struct slots *slots, const char *method, const char *path, struct str body,
              uint64_t usec)
{
    struct slots **kept;
    arena_fini(&a->arena);
    arena_init(&a->arena, NULL, 0);
    kept = arena_alloc(&a->arena, sizeof *kept);
    kept[0] = slots;
    a->part[0] = ask_head(&a->arena, a->worker->snapshot->conf, method, path, slots->peer->url + strlen("http://"), body.n, "");
    a->part[1] = arena_copy(&a->arena, body);
    fetch_init(&a->fetch, &a->worker->upstream, &a->arena, &a->task);
    a->fetch.limits = (struct fetch_limits){ASK_TIMEOUT, ASK_TIMEOUT / 2, usec, usec};
    a->fetch.may_retry = strcmp(method, "GET") == 0;
    a->running = true;
    a->status = 0;
    a->n_own = 0;
    fetch_start(&a->fetch, kept, 1, 16, a->part, body.n ? 2 : 1, false, false);
    loop_wake(&a->worker->loop, &a->task);
}
