#include "io/loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include "base/ensure.h"

#define STOOD_STILL (250 * MSEC)
#define CATCH_UP (2 * SEC) /* then timers fire all the same */

/* All that lies in the box, in the order in which it was posted. */
static struct letter *take_mail(struct loop *loop)
{
    struct letter *newest = atomic_exchange_explicit(&loop->mail, NULL, memory_order_acquire);
    struct letter *oldest = NULL;
    while (newest) { /* turns the stack around */
        struct letter *next = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = next;
    }
    return oldest;
}

static void drop_letter(struct letter *letter)
{
    if (letter->drop)
        letter->drop(letter);
}

static void open_mail(evutil_socket_t fd, short what, void *arg)
{
    struct loop *loop = arg;
    uint64_t count;
    (void)what;
    loop_touch(loop);
    ssize_t n = read(fd, &count, sizeof count);
    (void)n; /* nothing there: another turn has seen to it */
    struct letter *oldest = take_mail(loop);
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
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* one thread owns the base */
    loop->base = event_base_new_with_config(config);
    event_config_free(config);
    ensure(loop->base != NULL);
    loop->mail_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    ensure(loop->mail_fd >= 0);
    ensure(event_assign(&loop->mail_event, loop->base, loop->mail_fd, EV_READ | EV_PERSIST, open_mail, loop) == 0);
    ensure(event_add(&loop->mail_event, NULL) == 0);
    timers_init(&loop->timers, loop->base);
    loop->now = clock_usec();
}

void loop_fini(struct loop *loop)
{
    struct letter *letter = take_mail(loop);
    while (letter) {
        struct letter *next = letter->next;
        drop_letter(letter);
        letter = next;
    }
    event_del(&loop->mail_event);
    close(loop->mail_fd);
    timers_fini(&loop->timers);
    event_base_free(loop->base);
    loop->base = NULL;
}

void loop_refuse(struct loop *loop, void (*open)(struct letter *))
{
    struct letter *letter = take_mail(loop);
    while (letter) {
        struct letter *next = letter->next;
        if (letter->open == open)
            drop_letter(letter);
        else
            loop_post(loop, letter);
        letter = next;
    }
}

static bool run_ready(struct loop *loop)
{
    /* What is woken while running goes to the end: everybody gets a turn, and a turn ends only when nobody is left. */
    struct link *k;
    bool any = false;
    while ((k = list_pop(&loop->ready))) {
        struct task *task = LIST_OF(task, link, k);
        task->run(task);
        any = true;
    }
    return any;
}

/* Waking a core that sleeps costs more than most requests: who has just worked may stay awake for a while. */
static bool may_sleep(const struct loop *loop)
{
    return !list_first(&loop->ready) &&
           (!loop->busy_poll || (loop->now >= loop->worked_at + loop->busy_poll && loop->now >= loop->expects_until));
}

void loop_expect(struct loop *loop, uint64_t usec)
{
    uint64_t most = LOOP_EXPECTS * loop->busy_poll, until = loop->now + (2 * usec < most ? 2 * usec : most);
    if (usec <= most && until > loop->expects_until)
        loop->expects_until = until;
}

/* Timers that are very late tell of a process that stood still (stopped, swapped out), not of late peers: what these have sent meanwhile is
 * looked at first, turn by turn, until one brings nothing new. */
static bool is_behind(struct loop *loop)
{
    if (timers_next(&loop->timers) > loop->now - STOOD_STILL)
        loop->behind_since = 0;
    else if (!loop->behind_since)
        loop->behind_since = loop->now;
    return loop->behind_since && loop->now < loop->behind_since + CATCH_UP;
}

void loop_turn(struct loop *loop, uint64_t until)
{
    int how = EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY;
    if (until && may_sleep(loop))
        timers_arm(&loop->timers, until);
    else
        how |= EVLOOP_NONBLOCK;
    loop->n_touched = 0;
    ensure(event_base_loop(loop->base, how) >= 0);
    loop->now = clock_usec();
    bool worked = is_behind(loop) && (run_ready(loop) || loop->n_touched > 0);
    if (!worked)
        worked = timers_run(&loop->timers, loop->now);
    if (run_ready(loop) || worked)
        loop->worked_at = loop->busy_poll ? clock_usec() : loop->now;
}

void loop_run(struct loop *loop)
{
    while (!loop->stopping)
        loop_turn(loop, NEVER);
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
