/* loop.h - the event loop of one thread: libevent's base, lazy timers (timer.c), a mailbox for other threads, the list of things to run.
 * A callback of the loop records what happened and wakes; the work is done by those on the ready list, after the callbacks of a turn.
 * Owner: the thread that runs it. Only loop_post may be called from other threads. */
#pragma once

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
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

/* The timers of one loop: timer.c. */
struct timers {
    struct timer **heap;    /* the next one first */
    size_t n, cap;
    int fd;                 /* timerfd; ends the wait for events */
    uint64_t alarm;         /* what fd is set to; NEVER: nothing */
    uint64_t firing;        /* the turn's time while timers fire; what they set has its turn later */
    struct event event;
};

struct loop {
    struct event_base *base;
    uint64_t now;           /* monotonic microseconds, read before the ready list runs; see loop_touch */
    struct list ready;
    bool stopping;
    uint64_t busy_poll;     /* usec: after work, look for more without sleeping for so long; 0: sleep at once */
    uint64_t worked_at;     /* when something last ran */
    uint64_t expects_until; /* an answer is likely to come until then: loop_expect */
    uint64_t behind_since;  /* timers wait for what came while the process stood still; 0: all is in time */
    unsigned n_touched;     /* callbacks of this turn that used the time */
    struct timers timers;
    int mail_fd;            /* eventfd */
    struct event mail_event;
    _Atomic(struct letter *) mail; /* newest first */
};

/* Callbacks of libevent run before the turn's clock is read: one that uses the time reads it first. */
static inline void loop_touch(struct loop *loop)
{
    loop->now = clock_usec();
    loop->n_touched++;
}

void loop_init(struct loop *);
void loop_fini(struct loop *); /* nobody posts any more; letters that were not opened are dropped */

/* One turn: wait for events, until that time at most (0: do not wait; monotonic usec), open letters, fire timers, run what is ready and
 * what that wakes. */
void loop_turn(struct loop *, uint64_t until);
void loop_run(struct loop *);  /* turns until loop_stop */
void loop_stop(struct loop *); /* own thread; the current turn is finished */

void loop_wake(struct loop *, struct task *);   /* own thread */
void loop_unwake(struct loop *, struct task *); /* before its owner dies; no-op if not woken */

/* Something was sent whose answer usually comes within usec: where that is at most LOOP_EXPECTS times busy_poll, the loop stays
 * awake for it, twice as long as usual and no longer than that. Without busy_poll nothing happens. */
enum { LOOP_EXPECTS = 4 };
void loop_expect(struct loop *, uint64_t usec);

/* Own thread: letters of that kind which lie in the box are dropped, as those are that come too late. */
void loop_refuse(struct loop *, void (*open)(struct letter *));
void loop_post(struct loop *, struct letter *); /* any thread; never blocks, no ceiling: the sender's memory is the letter */

/* A timer that is cheap to move: setting it later than it is armed costs nothing, it looks again when it is time.
 * Resolution is that of the clock read once a turn. fire runs before the ready list: record and wake. It may end the timer,
 * or set it anew: what it sets fires with the next turn at the earliest. */
struct timer {
    struct loop *loop;
    uint64_t due;   /* NEVER: off */
    uint64_t armed; /* when it will be looked at; NEVER: not at all */
    ptrdiff_t at;   /* in the heap; -1: not there */
    void (*fire)(void *arg);
    void *arg;
};

void timer_init(struct timer *, struct loop *, void (*fire)(void *arg), void *arg);
void timer_fini(struct timer *);
void timer_set(struct timer *, uint64_t due); /* absolute, monotonic microseconds; NEVER turns it off */

/* For loop.c alone. */
void timers_init(struct timers *, struct event_base *);
void timers_fini(struct timers *);                 /* those still set are off */
void timers_arm(struct timers *, uint64_t until);  /* before a wait: the kernel is told when it ends at the latest, if it is not yet */
bool timers_run(struct timers *, uint64_t now);    /* fires what is due; whether anything was */
uint64_t timers_next(const struct timers *);       /* when the next one is looked at; NEVER: there is none */
