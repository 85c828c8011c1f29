/* The loop, its letters and timers; receive buffers; slices on their way out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/loop.h"
#include "io/outq.h"
#include "io/rbuf.h"

/* ---- letters and tasks ---- */

enum { SENDERS = 3, LETTERS = 5000 };

struct numbered {
    struct letter letter;
    unsigned sender, number;
};

static struct loop mail_loop;
static unsigned next_of[SENDERS], n_opened, n_dropped;

static void open_numbered(struct letter *letter)
{
    struct numbered *m = (struct numbered *)letter;
    assert_int_equal(m->number, next_of[m->sender]); /* in the order they were posted */
    next_of[m->sender]++;
    if (++n_opened == SENDERS * LETTERS)
        loop_stop(&mail_loop);
    free(m);
}

static void drop_numbered(struct letter *letter)
{
    n_dropped++;
    free(letter);
}

static void post_one(unsigned sender, unsigned number)
{
    struct numbered *m = mem_zalloc(sizeof *m);
    *m = (struct numbered){.letter = {.open = open_numbered, .drop = drop_numbered}, .sender = sender, .number = number};
    loop_post(&mail_loop, &m->letter);
}

static void *post_many(void *arg)
{
    for (unsigned i = 0; i < LETTERS; i++)
        post_one((unsigned)(uintptr_t)arg, i);
    return NULL;
}

static void letters_of_many_threads_arrive_in_order(void **state)
{
    pthread_t sender[SENDERS];
    loop_init(&mail_loop);
    for (uintptr_t i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&sender[i], NULL, post_many, (void *)i), 0);
    loop_run(&mail_loop);
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(sender[i], NULL);
    assert_int_equal(n_opened, SENDERS * LETTERS);
    post_one(0, 1);
    post_one(0, 2);
    loop_fini(&mail_loop);
    assert_int_equal(n_dropped, 2); /* nobody opened them; nothing leaks */
}

struct chain_task {
    struct task task;
    struct loop *loop;
    struct task *wakes;
    unsigned n_run;
};

static void run_chain(struct task *task)
{
    struct chain_task *c = (struct chain_task *)task;
    c->n_run++;
    if (c->wakes)
        loop_wake(c->loop, c->wakes);
    else
        loop_stop(c->loop);
}

static void a_task_runs_once_however_often_it_is_woken_and_what_it_wakes_runs_too(void **state)
{
    struct loop loop;
    struct chain_task b = {.task = {.run = run_chain}, .loop = &loop};
    struct chain_task a = {.task = {.run = run_chain}, .loop = &loop, .wakes = &b.task};
    struct chain_task never = {.task = {.run = run_chain}, .loop = &loop};
    loop_init(&loop);
    loop_wake(&loop, &a.task);
    loop_wake(&loop, &a.task);
    loop_wake(&loop, &never.task);
    loop_unwake(&loop, &never.task);
    loop_unwake(&loop, &never.task);
    loop_run(&loop);
    assert_int_equal(a.n_run, 1);
    assert_int_equal(b.n_run, 1);
    assert_int_equal(never.n_run, 0);
    loop_fini(&loop);
}

/* ---- timers ---- */

static uint64_t fired_at;

static void fire(void *arg)
{
    struct timer *timer = arg;
    fired_at = timer->loop->now;
    loop_stop(timer->loop);
}

static void a_timer_fires_when_due_however_it_was_moved(void **state)
{
    static const int moves[][2] = {{20, 0}, {5, 25}, {40, 15}, {-1, 15}}; /* set, then moved to; ms; -1: off */
    for (size_t i = 0; i < 4; i++) {
        struct loop loop;
        struct timer timer;
        loop_init(&loop);
        timer_init(&timer, &loop, fire, &timer);
        uint64_t start = clock_usec(), due = 0;
        for (int k = 0; k < 2; k++)
            if (moves[i][k]) {
                due = moves[i][k] < 0 ? NEVER : start + (uint64_t)moves[i][k] * MSEC;
                timer_set(&timer, due);
            }
        loop_run(&loop);
        assert_true(fired_at >= due && fired_at < due + 3 * SEC);
        assert_true(timer.due == NEVER);
        timer_fini(&timer);
        loop_fini(&loop);
    }
}

static void a_timer_turned_off_does_not_fire(void **state)
{
    struct loop loop;
    struct timer off, end;
    loop_init(&loop);
    timer_init(&off, &loop, fire, &off);
    timer_init(&end, &loop, fire, &end);
    uint64_t start = clock_usec();
    timer_set(&off, start + 5 * MSEC);
    timer_set(&off, NEVER);
    timer_set(&end, start + 20 * MSEC);
    loop_run(&loop);
    assert_true(fired_at >= start + 20 * MSEC);
    timer_fini(&off);
    timer_fini(&end);
    loop_fini(&loop);
}

enum { MANY = 500 };

static struct many {
    struct timer timer;
    struct loop *loop;
    unsigned *left;
    uint64_t *last;
} many[MANY];

static void fire_one_of_many(void *arg)
{
    struct many *m = arg;
    uint64_t due = (uint64_t)(m - many) * 37 % MANY; /* as it was set below */
    assert_true(due >= *m->last); /* in the order of their times */
    *m->last = due;
    timer_fini(&m->timer); /* one may end itself */
    if (--*m->left == 0)
        loop_stop(m->loop);
}

static void many_timers_fire_in_the_order_of_their_times(void **state)
{
    struct loop loop;
    unsigned left = 0;
    uint64_t last = 0;
    loop_init(&loop);
    uint64_t start = clock_usec() + 2 * MSEC;
    for (size_t i = 0; i < MANY; i++) {
        many[i] = (struct many){.loop = &loop, .left = &left, .last = &last};
        timer_init(&many[i].timer, &loop, fire_one_of_many, &many[i]);
        timer_set(&many[i].timer, start + 40 * MSEC);
        timer_set(&many[i].timer, start + i * 37 % MANY * 20); /* earlier: it rises */
    }
    for (size_t i = 0; i < MANY; i++) {
        if (i % 3 == 0)
            timer_fini(&many[i].timer); /* from the middle of the heap */
        else
            left++;
    }
    loop_run(&loop);
    assert_int_equal(left, 0);
    assert_int_equal(loop.timers.n, 0);
    loop_fini(&loop);
}

struct again {
    struct timer timer;
    unsigned n_fired;
};

static void fire_and_again(void *arg)
{
    struct again *a = arg;
    if (++a->n_fired < 100)
        timer_set(&a->timer, a->timer.loop->now);
}

static void a_timer_that_sets_itself_to_now_leaves_turns_to_others(void **state)
{
    struct loop loop;
    struct again again = {.n_fired = 0};
    loop_init(&loop);
    timer_init(&again.timer, &loop, fire_and_again, &again);
    timer_set(&again.timer, clock_usec());
    for (unsigned turn = 1; turn <= 3; turn++) {
        loop_turn(&loop, clock_usec() + 10 * SEC);
        assert_int_equal(again.n_fired, turn);
    }
    timer_fini(&again.timer);
    loop_fini(&loop);
}

/* ---- a process that stood still ---- */

struct late_peer {
    struct task task;
    struct loop *loop;
    struct timer timer;
    struct event event;
    int fd[2];
    unsigned n_came, n_late;
};

static void peer_came(evutil_socket_t fd, short what, void *arg)
{
    struct late_peer *p = arg;
    char byte;
    (void)what;
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
    loop_wake(p->loop, &p->task);
}

static void run_peer(struct task *task)
{
    struct late_peer *p = LIST_OF(late_peer, task, task);
    p->n_came++;
    timer_set(&p->timer, NEVER); /* it is there: nobody waits for it any more */
}

static void peer_late(void *arg)
{
    ((struct late_peer *)arg)->n_late++;
}

static void what_came_while_the_process_stood_still_is_seen_before_it_is_late(void **state)
{
    struct loop loop;
    loop_init(&loop);
    struct late_peer p[2];
    for (int i = 0; i < 2; i++) {
        p[i] = (struct late_peer){.task = {.run = run_peer}, .loop = &loop};
        timer_init(&p[i].timer, &loop, peer_late, &p[i]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p[i].fd), 0);
        event_assign(&p[i].event, loop.base, p[i].fd[0], EV_READ | EV_PERSIST, peer_came, &p[i]);
        event_add(&p[i].event, NULL);
        timer_set(&p[i].timer, clock_usec() - SEC);
    }
    assert_int_equal(send(p[0].fd[1], "x", 1, 0), 1); /* the other has sent nothing */
    for (int turn = 0; turn < 4; turn++)
        loop_turn(&loop, 0);
    assert_int_equal(p[0].n_came, 1);
    assert_int_equal(p[0].n_late, 0);
    assert_int_equal(p[1].n_late, 1);
    for (int i = 0; i < 2; i++) {
        event_del(&p[i].event);
        timer_fini(&p[i].timer);
        close(p[i].fd[0]);
        close(p[i].fd[1]);
    }
    loop_fini(&loop);
}

/* ---- staying awake ---- */

static void a_loop_told_to_poll_stays_awake_after_work_and_sleeps_then(void **state)
{
    struct loop loop;
    struct chain_task work = {.task = {.run = run_chain}, .loop = &loop};
    loop_init(&loop);
    loop.busy_poll = 10 * SEC;
    loop_wake(&loop, &work.task);
    loop_turn(&loop, NEVER);
    assert_int_equal(work.n_run, 1);
    uint64_t begin = clock_usec();
    loop_turn(&loop, begin + 10 * SEC); /* it has just worked: a look, no wait */
    assert_true(clock_usec() < begin + 5 * SEC);
    loop.worked_at -= 11 * SEC;
    begin = clock_usec();
    loop_turn(&loop, begin + 20 * MSEC);
    assert_true(clock_usec() >= begin + 20 * MSEC);
    loop_fini(&loop);
}

static bool stays_awake(struct loop *loop)
{
    uint64_t begin = clock_usec();
    loop_turn(loop, begin + 50 * MSEC);
    return clock_usec() < begin + 40 * MSEC;
}

static void a_loop_told_to_poll_stays_awake_for_an_answer_that_comes_soon(void **state)
{
    struct loop loop;
    loop_init(&loop);
    loop_expect(&loop, 20 * SEC); /* it polls for nothing */
    assert_false(stays_awake(&loop));
    loop.busy_poll = 10 * SEC;
    loop.worked_at = loop.now - 11 * SEC;
    loop_expect(&loop, 41 * SEC); /* more than four times as long: not worth it */
    assert_false(stays_awake(&loop));
    loop_expect(&loop, 30 * SEC);
    assert_int_equal(loop.expects_until, loop.now + 40 * SEC);
    assert_true(stays_awake(&loop));
    loop.expects_until = loop.now;
    assert_false(stays_awake(&loop));
    loop_fini(&loop);
}

/* ---- receive buffers ---- */

static void a_buffer_keeps_its_bytes_when_it_grows_and_holds_no_memory_when_empty(void **state)
{
    struct rbuf_pool pool = {0};
    struct rbuf b = {.pool = &pool};
    int fd[2];
    bool drained;
    char text[1000];
    for (int i = 0; i < 1000; i++)
        text[i] = (char)('a' + i % 26);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    assert_int_equal(rbuf_recv(&b, fd[0], &drained), RBUF_AGAIN);
    assert_null(b.base);
    assert_int_equal(send(fd[1], text, 1000, 0), 1000);
    assert_int_equal(rbuf_recv(&b, fd[0], &drained), RBUF_GOT);
    assert_true(drained);
    rbuf_consume(&b, 100);
    rbuf_reserve(&b, 1000 * 1000);
    assert_true(b.cap - b.start >= 1000 * 1000);
    assert_int_equal(rbuf_bytes(&b).n, 900);
    assert_memory_equal(rbuf_bytes(&b).p, text + 100, 900);
    rbuf_reserve(&b, 10); /* there is more room than that */
    assert_memory_equal(rbuf_bytes(&b).p, text + 100, 900);
    rbuf_consume(&b, 900);
    assert_null(b.base);
    close(fd[1]);
    assert_int_equal(rbuf_recv(&b, fd[0], &drained), RBUF_EOF);
    assert_null(b.base);
    close(fd[0]);
    rbuf_pool_fini(&pool);
}

static void buffers_that_nobody_needs_go_back_to_the_heap(void **state)
{
    enum { BURST = 20, STEADY = 3 };
    struct rbuf_pool pool = {0};
    struct rbuf b[BURST];
    for (int i = 0; i < BURST; i++) {
        b[i] = (struct rbuf){.pool = &pool};
        rbuf_room(&b[i]);
    }
    for (int i = 0; i < BURST; i++)
        rbuf_drop(&b[i]);
    assert_int_equal(pool.n_free, BURST);
    rbuf_pool_rest(&pool); /* all were in use since the last time */
    assert_int_equal(pool.n_free, BURST);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < STEADY; i++)
            rbuf_room(&b[i]);
        for (int i = 0; i < STEADY; i++)
            rbuf_drop(&b[i]);
        rbuf_pool_rest(&pool);
    }
    assert_int_equal(pool.n_free, STEADY); /* what is needed stays */
    for (int round = 0; round < 10; round++)
        rbuf_pool_rest(&pool);
    assert_int_equal(pool.n_free, 0);
    assert_null(pool.free);
}

static void a_full_buffer_says_so(void **state)
{
    struct rbuf_pool pool = {0};
    struct rbuf b = {.pool = &pool};
    int fd[2];
    bool drained;
    static char text[RBUF_BYTES];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    enum rbuf_result got;
    do {
        ssize_t n = send(fd[1], text, sizeof text, MSG_DONTWAIT);
        (void)n;
        got = rbuf_recv(&b, fd[0], &drained);
    } while (got == RBUF_GOT);
    assert_int_equal(got, RBUF_FULL);
    assert_int_equal(rbuf_bytes(&b).n, RBUF_BYTES);
    rbuf_consume(&b, RBUF_BYTES - 10); /* what is left moves to the front */
    assert_true(rbuf_room(&b) >= RBUF_BYTES - 10);
    assert_int_equal(rbuf_bytes(&b).n, 10);
    rbuf_drop(&b);
    close(fd[0]);
    close(fd[1]);
    rbuf_pool_fini(&pool);
}

/* ---- slices out ---- */

static void slices_go_out_whole_and_in_order_through_a_narrow_socket(void **state)
{
    enum { PIECES = 40, PIECE = 20000 };
    static char text[PIECES * PIECE], got[PIECES * PIECE];
    int fd[2];
    size_t moved, n = 0, all = 0;
    struct outq q = {0};
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 31 >> 3);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    for (int i = 0; i < PIECES; i++) {
        outq_add(&q, (struct str){text + i * PIECE, PIECE});
        outq_add(&q, STR(""));
    }
    assert_int_equal(q.n, PIECES);
    enum out_result result;
    do {
        result = outq_send(&q, fd[1], &moved);
        all += moved;
        assert_int_equal(q.left, sizeof text - all);
        ssize_t k = recv(fd[0], got + n, 7777, MSG_DONTWAIT);
        n += k > 0 ? (size_t)k : 0;
    } while (result == OUT_AGAIN);
    assert_int_equal(result, OUT_SENT);
    for (ssize_t k; n < sizeof got && (k = recv(fd[0], got + n, sizeof got - n, 0)) > 0;)
        n += (size_t)k;
    assert_memory_equal(got, text, sizeof text);
    close(fd[0]);
    outq_add(&q, STR("x"));
    assert_int_equal(outq_send(&q, fd[1], &moved), OUT_DEAD);
    close(fd[1]);
}

/* Few bytes in several slices leave in one piece; a socket that takes only some of them gets the rest later. */
static void small_slices_go_out_whole_and_in_order(void **state)
{
    enum { ROUNDS = 400 };
    static const char text[] = "head: 1\r\n\r\n{\"result\":[],\"time\":0.000000001}";
    const size_t cuts[] = {0, 1, 13, 14, 40, sizeof text - 1};
    static char got[ROUNDS * sizeof text];
    int fd[2], small = 1;
    size_t n = 0, moved;
    struct outq q = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
    setsockopt(fd[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i + 1 < sizeof cuts / sizeof *cuts; i++)
            outq_add(&q, str_slice(text + cuts[i], cuts[i + 1] - cuts[i]));
        while (outq_send(&q, fd[1], &moved) == OUT_AGAIN) {
            ssize_t k = recv(fd[0], got + n, 100, MSG_DONTWAIT);
            n += k > 0 ? (size_t)k : 0;
        }
    }
    for (ssize_t k; (k = recv(fd[0], got + n, sizeof got - n, MSG_DONTWAIT)) > 0;)
        n += (size_t)k;
    assert_int_equal(n, ROUNDS * (sizeof text - 1));
    for (int round = 0; round < ROUNDS; round++)
        assert_memory_equal(got + (size_t)round * (sizeof text - 1), text, sizeof text - 1);
    close(fd[0]);
    close(fd[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(letters_of_many_threads_arrive_in_order),
        cmocka_unit_test(a_task_runs_once_however_often_it_is_woken_and_what_it_wakes_runs_too),
        cmocka_unit_test(a_timer_fires_when_due_however_it_was_moved),
        cmocka_unit_test(a_timer_turned_off_does_not_fire),
        cmocka_unit_test(many_timers_fire_in_the_order_of_their_times),
        cmocka_unit_test(a_timer_that_sets_itself_to_now_leaves_turns_to_others),
        cmocka_unit_test(what_came_while_the_process_stood_still_is_seen_before_it_is_late),
        cmocka_unit_test(a_loop_told_to_poll_stays_awake_after_work_and_sleeps_then),
        cmocka_unit_test(a_loop_told_to_poll_stays_awake_for_an_answer_that_comes_soon),
        cmocka_unit_test(a_buffer_keeps_its_bytes_when_it_grows_and_holds_no_memory_when_empty),
        cmocka_unit_test(buffers_that_nobody_needs_go_back_to_the_heap),
        cmocka_unit_test(a_full_buffer_says_so),
        cmocka_unit_test(slices_go_out_whole_and_in_order_through_a_narrow_socket),
        cmocka_unit_test(small_slices_go_out_whole_and_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
