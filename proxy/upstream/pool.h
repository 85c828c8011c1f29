/* pool.h - one worker's connections of one model to one server (no locks; slots.h holds the limit over all workers).
 * pool_ask lends a connection now, or queues the waiter in FIFO order and wakes its owner when one was delivered into it.
 * Who got a connection must give it back, also after an error: the fate decides whether it is reused. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/metrics.h"
#include "http/head.h"
#include "io/loop.h"
#include "io/outq.h"
#include "io/rbuf.h"
#include "upstream/slots.h"

struct pool_host { /* what all pools of a worker share */
    struct loop *loop;
    unsigned worker;
    struct rbuf_pool buffers;
    struct metrics *metrics;
    uint64_t idle_timeout; /* retire before Qdrant's 5 s; microseconds */
    struct pool *pools;
    struct http_head scratch; /* where answers' heads are parsed */
};

struct uconn {
    struct link link;          /* in pool->idle */
    struct pool *pool;
    int fd;
    struct event read_event, write_event;
    bool reading, writing;
    bool connecting, eof, dead;
    struct rbuf in;
    struct task *owner;        /* woken on each event; NULL: idle */
    unsigned n_served;         /* exchanges that began on it before the current one */
    uint64_t since;            /* connect began, or idle since */
};

struct pool_wait { /* embedded in who waits */
    struct link link;
    struct task *owner;
    struct uconn *conn;        /* delivered */
    bool failed;               /* delivered instead: no address, or no socket could be made */
    uint64_t since;
};

struct pool {
    struct pool *next;
    struct pool_host *host;
    struct slots *slots;
    struct list idle;          /* oldest first; taken from the end */
    struct list waiters;
    struct timer retire;
    uint64_t usual;            /* from a request sent to its answer's first byte, usec, the last few of them */
};

/* This worker's pool for these slots, made when it is first needed; lives as long as the worker. */
struct pool *pool_of(struct pool_host *, struct slots *);
void pools_close(struct pool_host *); /* the end of the worker: all idle connections and pools */

enum pool_result { POOL_LENT, POOL_WAIT, POOL_FULL, POOL_FAILED };

/* `fresh`: not an idle one (a reused one just died under this request). */
enum pool_result pool_ask(struct pool *, struct pool_wait *, unsigned queue_max, bool fresh, struct task *owner);
void pool_leave(struct pool *, struct pool_wait *); /* stop waiting; gives back what was delivered and not taken */

enum conn_fate { CONN_REUSE, CONN_CLOSE };
void pool_release(struct uconn **, enum conn_fate);

/* The events of a lent connection. */
void uconn_want_write(struct uconn *, bool);
void uconn_resume_read(struct uconn *); /* after the buffer was full */
void uconn_died(struct uconn *);        /* sending failed: takes what the server still had said, as far as there is room */

/* Connected? Call when the owner was woken while ->connecting: true once connected; ->dead on failure. */
bool uconn_connected(struct uconn *);

/* For slots.c: a slot came by mail; another worker waits and this one has idle connections. */
void pool_granted(struct pool *, struct slot_conn);
void pool_give_idle(struct pool *);
