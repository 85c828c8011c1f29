#include "tune/ask.h"

#include "conf/conf.h"

enum { ASK_BODY_MAX = 4 << 20 };
#define ASK_TIMEOUT (2 * SEC)

static void finish(struct ask *a)
{
    a->running = false;
    timer_set(&a->timer, NEVER);
    a->done(a);
    if (!a->running)
        fetch_finish(&a->fetch);
}

static void run(struct task *task)
{
    struct ask *a = LIST_OF(ask, task, task);
    uint64_t now = a->worker->loop.now;
    if (!a->running)
        return;
    enum fetch_state state = fetch_run(&a->fetch, now);
    if (state == FETCH_ANSWERING || state == FETCH_OVER) {
        bool fits = a->fetch.head.framing == HTTP_BODY_LENGTH ? a->fetch.head.length <= ASK_BODY_MAX
                                                              : a->fetch.head.framing == HTTP_BODY_NONE;
        a->status = a->fetch.head.status;
        a->body = STR("");
        if (fits && state == FETCH_ANSWERING) {
            enum fetch_body result = fetch_body_whole(&a->fetch, &a->body);
            if (result == FETCH_WAIT) {
                timer_set(&a->timer, fetch_deadline(&a->fetch));
                return;
            }
            if (result == FETCH_END) {
                size_t n = a->body.n;
                a->body = arena_copy(&a->arena, a->body);
                fetch_body_used(&a->fetch, n);
            } else {
                a->status = 0;
            }
        }
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
}

void ask_start(struct ask *a, struct slots *slots, const char *path)
{
    const char *key = a->worker->snapshot->conf->process.api_key;
    struct slots *const to[1] = {slots};
    arena_fini(&a->arena);
    arena_init(&a->arena, NULL, 0);
    struct slots **kept = arena_alloc(&a->arena, sizeof to);
    kept[0] = slots;
    a->part[0] = arena_printf(&a->arena, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: quiver/%s\r\nAccept-Encoding: identity\r\n%s%s%s\r\n",
                              path, slots->peer->url + strlen("http://"), QUIVER_VERSION, key ? "api-key: " : "", key ? key : "",
                              key ? "\r\n" : "");
    fetch_init(&a->fetch, &a->worker->upstream, &a->arena, &a->task);
    a->fetch.limits = (struct fetch_limits){ASK_TIMEOUT, ASK_TIMEOUT / 2, ASK_TIMEOUT, ASK_TIMEOUT};
    a->fetch.may_retry = true;
    a->running = true;
    a->status = 0;
    fetch_start(&a->fetch, kept, 1, 16, a->part, 1, false, false);
    loop_wake(&a->worker->loop, &a->task);
}
