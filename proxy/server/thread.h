/* thread.h - a worker and the thread that runs it, and the orders it takes by mail. Orders are posted by the main thread (facts and digests
 * by the control thread) and carried out in the order they were posted. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "engine/worker.h"

enum { THREAD_LISTENERS_MAX = 64, THREAD_FIGURES = 15 };

struct acceptor;

struct thread {
    struct worker worker;
    pthread_t id;
    char name[16];
    struct thread_listener {
        char *text;             /* the address: what an order to close names */
        struct acceptor *acceptor;
    } listener[THREAD_LISTENERS_MAX];
    unsigned n_listeners;
    struct timer drain, figures;
    uint64_t told[THREAD_FIGURES]; /* what /metrics already has */
    uint64_t drain_until;
    _Atomic uint64_t in_state[32]; /* for /metrics: copied now and then */
};

/* Everything but the thread itself; snapshot: a reference for the worker. Main thread. */
void thread_init(struct thread *, unsigned number, unsigned n_workers, struct engine_shared *, struct coherence *, struct snapshot *);
bool thread_start(struct thread *);
void thread_join(struct thread *); /* after a drain; frees what thread_init made, but for the loop: others may still post to it */
void thread_fini(struct thread *); /* when all threads were joined: the rest */

void thread_order_listen(struct thread *, const char *text, int fd);   /* takes fd */
void thread_order_unlisten(struct thread *, const char *text);
void thread_order_snapshot(struct thread *, struct snapshot *);        /* takes the reference */
void thread_order_facts(struct thread *, struct facts *);              /* takes the reference */
void thread_order_digests(struct thread *, struct digests *);          /* takes the reference */
void thread_order_drain(struct thread *, uint64_t usec);               /* stop accepting, finish what runs, end */
