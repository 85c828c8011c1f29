/* slots.h - how many connections one model may have open to one server, over all workers, idle ones included: one atomic.
 * A worker without a slot publishes since when its first request waits; who gives a slot back hands it to the longest waiter by mail,
 * and with it the connection, if that is still good.
 * Process-wide, one per (model, server), lives until the end, so that limits hold over reloads. Any thread unless said otherwise. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"
#include "io/loop.h"
#include "upstream/peer.h"

enum { SLOTS_WORKERS_MAX = CONF_WORKERS_MAX + 1 }; /* loops that may hold pools: the workers and the control thread */

struct pool;

struct slots_worker { /* one writer each; a cache line of its own */
    _Alignas(64) _Atomic uint64_t waiting_since; /* 0: nobody waits */
    _Atomic unsigned n_idle;
    struct pool *_Atomic pool;
};

struct slots {
    struct slots *next;
    char *model;
    unsigned metrics_id;
    struct peer *peer;
    _Atomic unsigned limit;
    _Atomic unsigned n_open;
    _Atomic unsigned n_waiting; /* workers whose head waits: mostly 0, so that most need not look at each */
    _Atomic uint64_t moved_at; /* when a slot last left a worker that had use for it */
    struct slots_worker worker[SLOTS_WORKERS_MAX];
};

/* The loops by worker number, so that slots know where to post: before the worker's first pool. */
void slots_set_loop(unsigned worker, struct loop *);

/* The worker ends, on its own thread: nothing is posted to it any more, and slots that are on their way go to others. */
void slots_leave(unsigned worker, struct loop *);

/* Takes a lock: for configuration, not for requests. The limit counts from now on; connections above a lowered one close as they come back. */
struct slots *slots_get(const char *model, struct peer *, unsigned limit, unsigned metrics_id);

bool slots_take(struct slots *); /* one more connection may be opened */

/* A slot's connection on its way: at rest, watched by nobody. */
struct slot_conn {
    int fd;         /* -1: the slot has none any more, or never had */
    uint64_t since; /* when it was last in use */
};
#define SLOT_EMPTY ((struct slot_conn){.fd = -1})

/* A slot goes to the longest waiter, its connection with it, or is free and its connection closed. */
void slots_give(struct slots *, struct slot_conn);

/* A worker's queue changed: since when its head waits; 0 if nobody does. Own worker only. */
void slots_wait_since(struct slots *, unsigned worker, uint64_t since);

/* Another worker whose head has waited more than `lead` microseconds longer than since `mine` (0: nobody waits here). */
bool slots_other_waits(const struct slots *, unsigned worker, uint64_t mine, uint64_t lead);

/* A slot that moves costs a letter and a wake: from a worker that has use for it at most one may go every SLOTS_MOVE_EVERY microseconds.
 * True: now is such a time, and it is taken. */
enum { SLOTS_MOVE_EVERY = 4000 };
bool slots_may_move(struct slots *, uint64_t now);

unsigned slots_idle_elsewhere(const struct slots *, unsigned worker); /* connections that idle at other workers */

/* Asks one other worker that has idle connections to give one. */
void slots_ask_idle(struct slots *, unsigned worker);
