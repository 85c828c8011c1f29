#include "server/thread.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/plugin.h"
#include "engine/tx.h"
#include "io/evhtp.h"

#define DRAIN_LOOK (10 * MSEC)
#define FIGURES_EVERY (500 * MSEC)

struct order {
    struct letter letter;
    struct thread *thread;
    char *text;
    int fd;
    struct snapshot *snapshot;
    struct facts *facts;
    struct digests *digests;
    uint64_t usec;
};

/* The limit is the process's: who is over it is told nothing, as by a full backlog, but the log says so. */
static bool admit(void *arg)
{
    struct worker *w = arg;
    uint64_t most = w->snapshot->conf->process.max_connections;
    if (atomic_fetch_add(&w->shared->n_clients, 1) < most)
        return true;
    atomic_fetch_sub(&w->shared->n_clients, 1);
    metrics_add(w->metrics, M_CLIENT_REFUSED, 1);
    log_limited(LOG_LEVEL_WARN, w->loop.now, "too_many_connections", "limit=%llu key=limits.connections", (unsigned long long)most);
    return false;
}

static void count_clients(int by, void *arg)
{
    struct worker *w = arg;
    if (by < 0)
        atomic_fetch_sub(&w->shared->n_clients, 1);
    metrics_gauge_add(w->metrics, G_CLIENT_CONNECTIONS, by);
    if (by > 0)
        metrics_add(w->metrics, M_CLIENT_ACCEPTED, 1);
}

static void accepted(int fd, const struct sockaddr *address, socklen_t n, void *arg)
{
    struct worker *w = arg;
    front_accept(&w->front, fd, address, n);
}

static void close_listeners(struct thread *t)
{
    for (unsigned i = 0; i < t->n_listeners; i++) {
        acceptor_close(&t->listener[i].acceptor);
        free(t->listener[i].text);
    }
    t->n_listeners = 0;
}

static void look_drained(void *arg)
{
    struct thread *t = arg;
    struct worker *w = &t->worker;
    bool late = clock_usec() >= t->drain_until;
    if (late && w->running.n) {
        log_warn("drain_late", "thread=%s requests=%zu", t->name, w->running.n);
        tx_abort_all(w);
    }
    if (late || (!w->running.n && !w->front.clients.n))
        loop_stop(&w->loop);
    else
        timer_set(&t->drain, clock_usec() + DRAIN_LOOK);
}

/* Redis and coherence keep plain figures of their own; the difference to the last look goes to /metrics. One row each. */
static const struct {
    enum metrics_counter to;
    bool redis;
    size_t from;
} figures[] = {
    {M_REDIS_COMMANDS, true, offsetof(struct redis_stats, ops)},
    {M_REDIS_ERRORS, true, offsetof(struct redis_stats, failures)},
    {M_REDIS_TIMEOUTS, true, offsetof(struct redis_stats, timeouts)},
    {M_REDIS_SKIPPED, true, offsetof(struct redis_stats, refused)},
    {M_REDIS_CONNECTS, true, offsetof(struct redis_stats, connects)},
    {M_REDIS_DISCONNECTS, true, offsetof(struct redis_stats, losses)},
    {M_COHERENCE_OPENS, false, offsetof(struct coherence_stats, opens)},
    {M_COHERENCE_CLOSES, false, offsetof(struct coherence_stats, closes)},
    {M_COHERENCE_HOLDS, false, offsetof(struct coherence_stats, unproven)},
    {M_COHERENCE_FAILURES, false, offsetof(struct coherence_stats, given_up)},
    {M_COHERENCE_RELEASED, false, offsetof(struct coherence_stats, released)},
    {M_COHERENCE_JOINS, false, offsetof(struct coherence_stats, joins)},
    {M_COHERENCE_DETACHES, false, offsetof(struct coherence_stats, detaches)},
    {M_COHERENCE_FORGOTTEN, false, offsetof(struct coherence_stats, forgotten)},
    {M_COHERENCE_EPOCHS, false, offsetof(struct coherence_stats, epochs)},
};
_Static_assert(sizeof figures / sizeof *figures == THREAD_FIGURES, "thread.h counts the rows");

static uint64_t figure(const struct worker *w, unsigned row)
{
    uint64_t sum = 0, one;
    for (unsigned which = 0; which < (figures[row].redis ? 2 : 1); which++) {
        const void *from = figures[row].redis ? (const void *)coherence_redis_stats(w->coherence, which)
                                              : (const void *)coherence_worker_stats(w->coherence);
        if (!from)
            continue;
        memcpy(&one, (const char *)from + figures[row].from, sizeof one);
        sum += one;
    }
    return sum;
}

/* What is done now and then: figures are told, memory that a burst has left behind is given back, and that of the slow if it is short. */
static void tell_figures(void *arg)
{
    struct thread *t = arg;
    struct worker *w = &t->worker;
    for (unsigned i = 0; i < THREAD_FIGURES; i++) {
        uint64_t now = figure(w, i);
        metrics_add(w->metrics, figures[i].to, now >= t->told[i] ? now - t->told[i] : now); /* less: it began anew */
        t->told[i] = now;
    }
    metrics_gauge_set(w->metrics, G_REDIS_UP, coherence_redis_ready(w->coherence));
    for (unsigned s = 0; s < TX_COUNT; s++)
        atomic_store_explicit(&t->in_state[s], w->in_state[s], memory_order_relaxed);
    if (w->number == w->n_workers) {
        struct coherence_gauges gauges;
        coherence_gauges(w->coherence_shared, w->loop.now, &gauges);
        metrics_gauge_set(w->metrics, G_COHERENCE_ATTACHED, gauges.attached);
        metrics_gauge_set(w->metrics, G_COHERENCE_MEMBERS, gauges.members);
    }
    if (w->number == w->n_workers) /* what belongs to the process is told once, by the control thread */
        chain_figures(w);
    rbuf_pool_rest(&w->front.buffers);
    rbuf_pool_rest(&w->upstream.buffers);
    tx_rest(w);
    tx_shed_slow(w);
    timer_set(&t->figures, w->loop.now + FIGURES_EVERY);
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct worker *w = &t->worker;
    pthread_setname_np(pthread_self(), t->name);
    w->metrics = metrics_open(t->name);
    w->upstream.metrics = w->metrics;
    timer_set(&t->figures, clock_usec() + FIGURES_EVERY);
    loop_run(&w->loop);
    close_listeners(t);
    tx_abort_all(w);
    front_fini(&w->front);
    pools_close(&w->upstream);
    chain_close(w);
    coherence_worker_close(&w->coherence);
    return NULL;
}

void thread_init(struct thread *t, unsigned number, unsigned n_workers, struct engine_shared *shared, struct coherence *coherence,
                 struct snapshot *snapshot)
{
    struct worker *w = &t->worker;
    struct front_hooks hooks = {.request = tx_begin, .refused = tx_refused, .admit = admit, .count = count_clients, .arg = w};
    *t = (struct thread){0};
    snprintf(t->name, sizeof t->name, "worker%u", number);
    w->number = number;
    w->n_workers = n_workers;
    w->name = t->name;
    w->shared = shared;
    loop_init(&w->loop);
    list_init(&w->running);
    w->shapes = shapes_new();
    front_init(&w->front, &w->loop, &hooks);
    w->upstream.loop = &w->loop;
    w->upstream.worker = number;
    slots_set_loop(number, &w->loop);
    w->coherence_shared = coherence;
    w->coherence = coherence_worker_open(coherence, &w->loop, snapshot->conf);
    chain_open(w);
    worker_use_snapshot(w, snapshot);
    timer_init(&t->drain, &w->loop, look_drained, t);
    timer_init(&t->figures, &w->loop, tell_figures, t);
}

bool thread_start(struct thread *t)
{
    return pthread_create(&t->id, NULL, thread_main, t) == 0;
}

void thread_join(struct thread *t)
{
    struct worker *w = &t->worker;
    pthread_join(t->id, NULL);
    tx_free_spares(w);
    timer_fini(&t->drain);
    timer_fini(&t->figures);
    facts_put(&w->facts);
    digests_put(&w->digests);
    shapes_free(&w->shapes);
    snapshot_put(&w->snapshot);
}

void thread_fini(struct thread *t)
{
    loop_fini(&t->worker.loop);
}

/* ---- orders ---- */

static void drop_order(struct letter *letter);

static struct order *order_new(struct thread *t, void (*open)(struct letter *))
{
    struct order *o = mem_zalloc(sizeof *o);
    o->letter.open = open;
    o->letter.drop = drop_order;
    o->fd = -1;
    o->thread = t;
    return o;
}

static void order_free(struct order *o)
{
    free(o->text);
    free(o);
}

/* The thread ended before it came to this order. */
static void drop_order(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    if (o->fd >= 0)
        close(o->fd);
    snapshot_put(&o->snapshot);
    facts_put(&o->facts);
    digests_put(&o->digests);
    order_free(o);
}

static void open_listen(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    struct thread *t = o->thread;
    struct err err;
    struct acceptor *a = NULL;
    if (t->n_listeners < THREAD_LISTENERS_MAX)
        a = acceptor_open(t->worker.loop.base, o->fd, t->worker.metrics, accepted, &t->worker, &err);
    else
        close(o->fd);
    if (a) {
        t->listener[t->n_listeners++] = (struct thread_listener){o->text, a};
        o->text = NULL;
    } else {
        log_error("listen_failed", "address=%s", o->text);
    }
    order_free(o);
}

static void open_unlisten(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    struct thread *t = o->thread;
    for (unsigned i = 0; i < t->n_listeners; i++)
        if (strcmp(t->listener[i].text, o->text) == 0) {
            acceptor_close(&t->listener[i].acceptor);
            free(t->listener[i].text);
            t->listener[i] = t->listener[--t->n_listeners];
            break;
        }
    order_free(o);
}

static void open_snapshot(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    worker_use_snapshot(&o->thread->worker, o->snapshot);
    order_free(o);
}

static void open_facts(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    worker_use_facts(&o->thread->worker, o->facts);
    order_free(o);
}

static void open_digests(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    worker_use_digests(&o->thread->worker, o->digests);
    order_free(o);
}

static void open_drain(struct letter *letter)
{
    struct order *o = (struct order *)letter;
    struct thread *t = o->thread;
    close_listeners(t);
    t->worker.draining = true;
    t->drain_until = clock_usec() + o->usec;
    front_drain(&t->worker.front);
    timer_set(&t->drain, clock_usec());
    order_free(o);
}

void thread_order_listen(struct thread *t, const char *text, int fd)
{
    struct order *o = order_new(t, open_listen);
    o->text = mem_strdup(text);
    o->fd = fd;
    loop_post(&t->worker.loop, &o->letter);
}

void thread_order_unlisten(struct thread *t, const char *text)
{
    struct order *o = order_new(t, open_unlisten);
    o->text = mem_strdup(text);
    loop_post(&t->worker.loop, &o->letter);
}

void thread_order_snapshot(struct thread *t, struct snapshot *snapshot)
{
    struct order *o = order_new(t, open_snapshot);
    o->snapshot = snapshot;
    loop_post(&t->worker.loop, &o->letter);
}

void thread_order_facts(struct thread *t, struct facts *facts)
{
    struct order *o = order_new(t, open_facts);
    o->facts = facts;
    loop_post(&t->worker.loop, &o->letter);
}

void thread_order_digests(struct thread *t, struct digests *digests)
{
    struct order *o = order_new(t, open_digests);
    o->digests = digests;
    loop_post(&t->worker.loop, &o->letter);
}

void thread_order_drain(struct thread *t, uint64_t usec)
{
    struct order *o = order_new(t, open_drain);
    o->usec = usec;
    loop_post(&t->worker.loop, &o->letter);
}
