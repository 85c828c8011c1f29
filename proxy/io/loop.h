/* loop.h - the event loop of one thread: libevent's base, lazy timers, a mailbox for other threads, the list of things to run.
 * A callback of the loop records what happened and wakes; the work is done by those on the ready list, after the callbacks of a turn.
 * Owner: the thread that runs it. Only loop_post may be called from other threads. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/list.h"

/* Something that can be woken: embedded in its owner; runs once a turn however often it was woken. */
struct task {
    struct link link;
    void (*run)(struct task *);
};

/* A letter to another loop: embedded in what it carries; belongs to the receiver once posted. */
struct letter {
    struct letter *next;
    void (*open)(struct letter *); /* runs on the receiver's thread */
    void (*drop)(struct letter *); /* instead, if the loop ended before: frees what it carries; NULL: nothing to free */
};

struct loop {
    struct event_base *base;
    uint64_t now;           /* monotonic microseconds, read before the ready list runs; see loop_touch */
    struct list ready;
    bool stopping;
    int mail_fd;            /* eventfd */
    struct event mail_event;
    _Atomic(struct letter *) mail; /* newest first */
};

/* Callbacks of libevent run before the turn's clock is read: one that uses the time reads it first. */
static inline void loop_touch(struct loop *loop)
{
    loop->now = clock_usec();
}

void loop_init(struct loop *);
void loop_fini(struct loop *); /* nobody posts any more; letters that were not opened are dropped */

/* Runs turns until loop_stop: wait for events, open letters, run what is ready (and what that wakes). */
void loop_run(struct loop *);
void loop_stop(struct loop *); /* own thread; the current turn is finished */

void loop_wake(struct loop *, struct task *);   /* own thread */
void loop_unwake(struct loop *, struct task *); /* before its owner dies; no-op if not woken */

void loop_post(struct loop *, struct letter *); /* any thread; never blocks, no ceiling: the sender's memory is the letter */

/* A timer that is cheap to move: setting it later than it is armed costs nothing, it looks again when it fires.
 * Resolution is that of the clock read once a turn. fire runs as an event callback: record and wake. */
struct timer {
    struct event event;
    struct loop *loop;
    uint64_t due;   /* NEVER: off */
    uint64_t armed; /* when the event will fire; NEVER: not armed */
    void (*fire)(void *arg);
    void *arg;
};

void timer_init(struct timer *, struct loop *, void (*fire)(void *arg), void *arg);
void timer_fini(struct timer *);
void timer_set(struct timer *, uint64_t due); /* absolute, monotonic microseconds; NEVER turns it off */
