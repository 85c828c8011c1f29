/* timer.c - a binary heap of pointers by the time they are armed for, and one timerfd that is set to its top. libevent's own timers cost a
 * timerfd_settime a turn; here the kernel is told only when the nearest time comes nearer, and that is rare: timers are lazy. */
#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "io/loop.h"

enum { OFF = -1 }; /* timer->at of one that is in no heap */

static void place(struct timers *t, size_t at, struct timer *timer)
{
    t->heap[at] = timer;
    timer->at = (ptrdiff_t)at;
}

static void rise(struct timers *t, size_t at, struct timer *timer)
{
    while (at > 0 && timer->armed < t->heap[(at - 1) / 2]->armed) {
        place(t, at, t->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(t, at, timer);
}

static void sink(struct timers *t, size_t at, struct timer *timer)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < t->n && t->heap[child + 1]->armed < t->heap[child]->armed)
            child++;
        if (child >= t->n || t->heap[child]->armed >= timer->armed)
            break;
        place(t, at, t->heap[child]);
        at = child;
    }
    place(t, at, timer);
}

static void take_out(struct timers *t, struct timer *timer)
{
    size_t at = (size_t)timer->at;
    struct timer *last = t->heap[--t->n];
    timer->at = OFF;
    timer->armed = NEVER;
    if (last == timer)
        return;
    if (at > 0 && last->armed < t->heap[(at - 1) / 2]->armed)
        rise(t, at, last);
    else
        sink(t, at, last);
}

static void rung(evutil_socket_t fd, short what, void *arg)
{
    struct timers *t = arg;
    uint64_t count;
    (void)what;
    ssize_t n = read(fd, &count, sizeof count); /* it has only ended the wait: timers_run looks at the clock */
    (void)n;
    t->alarm = NEVER;
}

void timers_init(struct timers *t, struct event_base *base)
{
    *t = (struct timers){.alarm = NEVER};
    t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    ensure(t->fd >= 0);
    ensure(event_assign(&t->event, base, t->fd, EV_READ | EV_PERSIST, rung, t) == 0);
    ensure(event_add(&t->event, NULL) == 0);
}

void timers_fini(struct timers *t)
{
    event_del(&t->event);
    close(t->fd);
    while (t->n)
        take_out(t, t->heap[t->n - 1]);
    free(t->heap);
    t->heap = NULL;
    t->cap = 0;
}

void timers_arm(struct timers *t, uint64_t until)
{
    if (t->n && t->heap[0]->armed < until)
        until = t->heap[0]->armed;
    if (until >= t->alarm)
        return;
    t->alarm = until;
    uint64_t at = t->alarm ? t->alarm : 1; /* zero would mean: never */
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(at / SEC), .tv_nsec = (long)(at % SEC * 1000)}};
    ensure(timerfd_settime(t->fd, TFD_TIMER_ABSTIME, &when, NULL) == 0);
}

bool timers_run(struct timers *t, uint64_t now)
{
    bool any = false;
    t->firing = now;
    while (t->n && t->heap[0]->armed <= now) {
        struct timer *timer = t->heap[0];
        uint64_t due = timer->due;
        take_out(t, timer);
        if (due > now) {
            timer->due = NEVER;
            timer_set(timer, due); /* it was moved to later meanwhile */
            continue;
        }
        timer->due = NEVER;
        any = true;
        timer->fire(timer->arg); /* may free it */
    }
    t->firing = 0;
    return any;
}

uint64_t timers_next(const struct timers *t)
{
    return t->n ? t->heap[0]->armed : NEVER;
}

void timer_init(struct timer *timer, struct loop *loop, void (*fire)(void *arg), void *arg)
{
    *timer = (struct timer){.loop = loop, .due = NEVER, .armed = NEVER, .at = OFF, .fire = fire, .arg = arg};
}

void timer_fini(struct timer *timer)
{
    if (timer->loop && timer->at != OFF)
        take_out(&timer->loop->timers, timer);
    timer->loop = NULL;
}

void timer_set(struct timer *timer, uint64_t due)
{
    struct timers *t = &timer->loop->timers;
    uint64_t at = due > t->firing ? due : t->firing + 1; /* who sets itself to now, again and again, leaves a turn to others each time */
    timer->due = due;
    if (at >= timer->armed)
        return; /* fires earlier than needed at the worst, and looks again */
    timer->armed = at;
    if (timer->at != OFF) {
        rise(t, (size_t)timer->at, timer);
        return;
    }
    if (t->n == t->cap) {
        t->cap = t->cap ? 2 * t->cap : 64;
        t->heap = mem_realloc(t->heap, t->cap * sizeof *t->heap);
    }
    rise(t, t->n++, timer);
}
