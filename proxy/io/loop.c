#include "io/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"

static void open_mail(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    uint64_t count;
    (void)what;
    loop_touch(loop);
    while (read(fd, &count, sizeof count) > 0)
        ;
    struct letter *newest = atomic_exchange_explicit(&loop->mail, NULL, memory_order_acquire);
    struct letter *oldest = NULL;
    while (newest) { /* turn the stack around: letters are opened in the order they were posted */
        struct letter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    while (oldest) {
        struct letter *next = oldest->next;
        oldest->open(oldest);
        oldest = next;
    }
}

void loop_init(struct loop *loop)
{
    *loop = (struct loop){0};
    list_init(&loop->ready);
    struct event_config *config = event_config_new();
    ensure(config != NULL);
    /* One thread owns the base, so no locks; precise timers because microseconds are measured against it. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_PRECISE_TIMER);
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    ensure(loop->base != NULL);
    loop->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(loop->mail_fd >= 0);
    ensure(event_assign(&loop->mail_event, loop->base, loop->mail_fd, EV_READ | EV_PERSIST, open_mail, loop) == 0);
    ensure(event_add(&loop->mail_event, NULL) == 0);
    loop->now = clock_usec();
}

void loop_fini(struct loop *loop)
{
    struct letter *letter = atomic_exchange(&loop->mail, NULL);
    while (letter) {
        struct letter *next = letter->next;
        if (letter->drop)
            letter->drop(letter);
        letter = next;
    }
    event_del(&loop->mail_event);
    close(loop->mail_fd);
    event_base_free(loop->base);
    loop->base = NULL;
}

static void run_ready(struct loop *loop)
{
    /* What is woken while running goes to the end: everybody gets a turn, and a turn ends only when nobody is left. */
    struct link *k;
    while ((k = list_pop(&loop->ready))) {
        struct task *task = LIST_OF(task, link, k);
        task->run(task);
    }
}

void loop_run(struct loop *loop)
{
    while (!loop->stopping) {
        int how = list_first(&loop->ready) ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE;
        ensure(event_base_loop(loop->base, how | EVLOOP_NO_EXIT_ON_EMPTY) >= 0);
        loop->now = clock_usec();
        run_ready(loop);
    }
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

void loop_wake(struct loop *loop, struct task *task)
{
    if (!link_used(&task->link))
        list_push(&loop->ready, &task->link);
}

void loop_unwake(struct loop *loop, struct task *task)
{
    list_remove(&loop->ready, &task->link);
}

void loop_post(struct loop *loop, struct letter *letter)
{
    struct letter *head = atomic_load_explicit(&loop->mail, memory_order_relaxed);
    do
        letter->next = head;
    while (!atomic_compare_exchange_weak_explicit(&loop->mail, &head, letter, memory_order_release, memory_order_relaxed));
    if (!head) { /* whoever found the box empty rings; the rest is seen with it */
        uint64_t one = 1;
        ssize_t n = write(loop->mail_fd, &one, sizeof one);
        (void)n; /* a full counter rings as well */
    }
}

static void timer_look(evutil_socket_t fd, short what, void *arg)
{
    struct timer *timer = arg;
    (void)fd, (void)what;
    timer->armed = NEVER;
    if (timer->due == NEVER)
        return;
    loop_touch(timer->loop);
    if (timer->loop->now < timer->due) {
        uint64_t due = timer->due;
        timer->due = NEVER;
        timer_set(timer, due);
        return;
    }
    timer->due = NEVER;
    timer->fire(timer->arg);
}

void timer_init(struct timer *timer, struct loop *loop, void (*fire)(void *arg), void *arg)
{
    *timer = (struct timer){.loop = loop, .due = NEVER, .armed = NEVER, .fire = fire, .arg = arg};
    ensure(evtimer_assign(&timer->event, loop->base, timer_look, timer) == 0);
}

void timer_fini(struct timer *timer)
{
    if (timer->loop)
        evtimer_del(&timer->event);
    timer->loop = NULL;
}

void timer_set(struct timer *timer, uint64_t due)
{
    timer->due = due;
    if (due >= timer->armed || due == NEVER)
        return; /* fires earlier than needed at the worst, and looks again */
    uint64_t now = clock_usec();
    uint64_t left = due > now ? due - now : 0;
    struct timeval tv = {.tv_sec = (time_t)(left / SEC), .tv_usec = (suseconds_t)(left % SEC)};
    ensure(evtimer_add(&timer->event, &tv) == 0);
    timer->armed = due;
}
