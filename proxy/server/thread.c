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

struct order {
    struct letter letter;
    struct thread *thread;
    char *text;
    int fd;
    struct snapshot *snapshot;
    struct facts *facts;
    uint64_t usec;
};

static void count_clients(int by, void *arg)
{
    struct worker *w = arg;
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

static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct worker *w = &t->worker;
    pthread_setname_np(pthread_self(), t->name);
    w->metrics = metrics_open(t->name);
    w->upstream.metrics = w->metrics;
    loop_run(&w->loop);
    close_listeners(t);
    tx_abort_all(w);
    front_fini(&w->front);
    pools_close(&w->upstream);
    chain_close(w);
    coherence_worker_close(&w->coherence);
    atomic_store(&t->ended, true);
    return NULL;
}

void thread_init(struct thread *t, unsigned number, unsigned n_workers, struct engine_shared *shared, struct coherence *coherence,
                 struct snapshot *snapshot)
{
    struct worker *w = &t->worker;
    struct front_hooks hooks = {.request = tx_begin, .refused = tx_refused, .count = count_clients, .arg = w};
    *t = (struct thread){0};
    snprintf(t->name, sizeof t->name, "worker%u", number);
    w->number = number;
    w->n_workers = n_workers;
    w->name = t->name;
    w->shared = shared;
    loop_init(&w->loop);
    list_init(&w->running);
    front_init(&w->front, &w->loop, &hooks);
    w->upstream.loop = &w->loop;
    w->upstream.worker = number;
    slots_set_loop(number, &w->loop);
    w->coherence_shared = coherence;
    w->coherence = coherence_worker_open(coherence, &w->loop, snapshot->conf);
    chain_open(w);
    worker_use_snapshot(w, snapshot);
    timer_init(&t->drain, &w->loop, look_drained, t);
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
    facts_put(&w->facts);
    snapshot_put(&w->snapshot);
    loop_fini(&w->loop);
}

/* ---- orders ---- */

static struct order *order_new(struct thread *t, void (*open)(struct letter *))
{
    struct order *o = mem_zalloc(sizeof *o);
    o->letter.open = open;
    o->thread = t;
    return o;
}

static void order_free(struct order *o)
{
    free(o->text);
    free(o);
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

void thread_order_drain(struct thread *t, uint64_t usec)
{
    struct order *o = order_new(t, open_drain);
    o->usec = usec;
    loop_post(&t->worker.loop, &o->letter);
}
