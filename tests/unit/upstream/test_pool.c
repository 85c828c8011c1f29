/* Connections of a model to a server: limit, queue, idle ones, and slots that go from loop to loop. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>

#include "server.h"

#define GET "GET / HTTP/1.1\r\nHost: q\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"

static void waiters_are_served_in_order_over_one_connection(void **state)
{
    struct world *w = world_open(1);
    struct getter *g[4];
    for (int i = 0; i < 4; i++)
        g[i] = get(w, GET);
    int fd = serve(w);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(hears(w, fd), GET);
        for (int k = i + 1; k < 4; k++)
            assert_int_equal(g[k]->fetch.state, FETCH_QUEUED);
        says(fd, OK);
        turn_until(w, g[i]->over);
        assert_string_equal(g[i]->body, "ok");
        let_go(&g[i]);
    }
    assert_true(nobody_connects(w));
    close(fd);
    world_close(&w);
}

static void a_full_queue_refuses_and_one_that_waits_too_long_gives_up(void **state)
{
    struct world *w = world_open(1);
    struct getter *first = get(w, GET), *second = getter_new(w), *third = getter_new(w);
    second->part[0] = third->part[0] = STR(GET);
    second->fetch.limits.queue = 20 * MSEC;
    fetch_start(&second->fetch, &w->slots, 1, 1, second->part, 1, false, false);
    fetch_start(&third->fetch, &w->slots, 1, 1, third->part, 1, false, false);
    assert_int_equal(third->fetch.failure, FETCH_FAILED_QUEUE_FULL);
    turn_for(w, 25 * MSEC);
    getter_look(second);
    assert_int_equal(second->fetch.failure, FETCH_FAILED_QUEUE_TIMEOUT);
    let_go(&second);
    let_go(&third);
    let_go(&first); /* nobody waits: its slot is free again */
    turn_until(w, atomic_load(&w->slots->n_open) == 0);
    world_close(&w);
}

static void who_leaves_the_queue_gives_back_what_was_delivered(void **state)
{
    struct world *w = world_open(1);
    struct getter *a = get(w, GET), *b = get(w, GET), *c = get(w, GET);
    int fd = serve(w);
    hears(w, fd);
    says(fd, OK);
    turn_until(w, a->over);
    let_go(&a); /* delivers to b, which does not look */
    assert_non_null(b->fetch.wait.conn);
    let_go(&b);
    assert_string_equal(hears(w, fd), GET); /* c's */
    says(fd, OK);
    turn_until(w, c->over);
    let_go(&c);
    close(fd);
    world_close(&w);
}

static void idle_connections_are_retired(void **state)
{
    struct world *w = world_open(2);
    w->host.idle_timeout = 30 * MSEC;
    struct getter *g = get(w, GET);
    int fd = serve(w);
    hears(w, fd);
    says(fd, OK);
    turn_until(w, g->over);
    let_go(&g);
    uint64_t since = clock_usec();
    turn_until(w, atomic_load(&w->slots->n_open) == 0);
    assert_true(clock_usec() - since >= 25 * MSEC);
    assert_string_equal(hears(w, fd), "");
    close(fd);
    world_close(&w);
}

static void a_lowered_limit_closes_connections_as_they_come_back(void **state)
{
    struct world *w = world_open(2);
    struct getter *a = get(w, GET), *b = get(w, GET);
    int fd[2] = {serve(w), serve(w)};
    for (int i = 0; i < 2; i++) {
        hears(w, fd[i]);
        says(fd[i], OK);
    }
    turn_until(w, a->over && b->over);
    atomic_store(&w->slots->limit, 1);
    let_go(&a);
    let_go(&b);
    assert_int_equal(atomic_load(&w->slots->n_open), 1);
    close(fd[0]);
    close(fd[1]);
    world_close(&w);
}

/* Both loops have more to do than connections: one slot goes to whoever has waited much longer, the next stays for a while. */
static void a_slot_that_is_of_use_here_seldom_moves(void **state)
{
    struct world *a = world_open(2), *b = world_open(2);
    b->host.worker = 1;
    b->slots = a->slots;
    slots_set_loop(1, &b->loop);
    struct getter *first[2], *waits_here[2], *waits_there[2];
    int fd[2];
    for (int i = 0; i < 2; i++) {
        first[i] = get(a, GET);
        fd[i] = serve(a);
        assert_string_equal(hears(a, fd[i]), GET);
        says(fd[i], OK);
        turn_until(a, first[i]->over);
    }
    for (int i = 0; i < 2; i++)
        waits_there[i] = get(b, GET);
    turn_for(a, 8 * MSEC);
    for (int i = 0; i < 2; i++)
        waits_here[i] = get(a, GET);
    let_go(&first[0]); /* its slot goes, and the connection with it */
    let_go(&first[1]); /* at the same time: this one stays */
    assert_non_null(waits_here[0]->fetch.wait.conn);
    assert_null(waits_here[1]->fetch.wait.conn);
    turn_until(b, waits_there[0]->fetch.conn || waits_there[0]->fetch.wait.conn);
    assert_null(waits_there[1]->fetch.wait.conn);
    assert_int_equal(atomic_load(&a->slots->n_open), 2);
    assert_string_equal(hears(b, fd[0]), GET); /* no new connection was made */
    says(fd[0], OK);
    turn_until(b, waits_there[0]->over);
    assert_string_equal(waits_there[0]->body, "ok");
    for (int i = 0; i < 2; i++) {
        let_go(&waits_here[i]);
        let_go(&waits_there[i]);
        close(fd[i]);
    }
    turn_for(b, 2 * MSEC);
    world_close(&a);
    world_close(&b);
}

/* Two slots come to one who waits: what is too much stays there for the next. */
static void a_connection_that_nobody_waits_for_any_more_idles_where_it_came(void **state)
{
    struct world *a = world_open(2), *b = world_open(2);
    b->host.worker = 1;
    b->slots = a->slots;
    slots_set_loop(0, &a->loop);
    slots_set_loop(1, &b->loop);
    struct getter *first[2];
    int fd[2];
    for (int i = 0; i < 2; i++) {
        first[i] = get(a, GET);
        fd[i] = serve(a);
        hears(a, fd[i]);
        says(fd[i], OK);
        turn_until(a, first[i]->over);
    }
    struct getter *waits = get(b, GET);
    turn_for(b, 2 * MSEC);
    let_go(&first[0]);
    let_go(&first[1]);
    turn_until(b, waits->fetch.conn);
    turn_for(b, 2 * MSEC);
    assert_int_equal(atomic_load(&a->slots->worker[1].n_idle), 1);
    assert_int_equal(atomic_load(&a->slots->n_open), 2);
    hears(b, fd[0]);
    struct getter *next = get(b, GET);
    assert_string_equal(hears(b, fd[1]), GET);
    let_go(&waits);
    let_go(&next);
    for (int i = 0; i < 2; i++)
        close(fd[i]);
    world_close(&a);
    world_close(&b);
}

/* A worker that drains longer gets what the other had: its idle connection, and a slot that was on its way there. */
static void slots_of_a_worker_that_ends_go_to_others(void **state)
{
    struct world *a = world_open(1), *b = world_open(1);
    b->host.worker = 1;
    b->slots = a->slots;
    slots_set_loop(0, &a->loop);
    slots_set_loop(1, &b->loop);
    struct getter *first = get(a, GET), *waits;
    int fd = serve(a);
    hears(a, fd);
    says(fd, OK);
    turn_until(a, first->over);
    struct getter *gone = get(b, GET);
    turn_for(b, 2 * MSEC);
    let_go(&first); /* the slot is on its way to b, which does not look any more */
    assert_int_equal(atomic_load(&a->slots->worker[0].n_idle), 0);
    waits = get(a, GET);
    world_turn(a);
    assert_null(waits->fetch.wait.conn);
    let_go(&gone);
    pools_close(&b->host);
    assert_string_equal(hears(a, fd), GET);
    says(fd, OK);
    turn_until(a, waits->over);
    b->host.pools = NULL;
    slots_set_loop(1, &b->loop);
    struct getter *second = get(b, GET);
    turn_for(b, 2 * MSEC);
    let_go(&waits); /* there it idles then */
    turn_until(b, second->fetch.conn);
    hears(b, fd);
    says(fd, OK);
    turn_until(b, second->over);
    let_go(&second);
    assert_int_equal(atomic_load(&a->slots->worker[1].n_idle), 1);
    waits = get(a, GET); /* asks b, which ends before it looks */
    pools_close(&b->host);
    assert_string_equal(hears(a, fd), GET);
    let_go(&waits);
    close(fd);
    world_close(&a);
    world_close(&b);
}

static void a_replay_takes_the_place_of_another_idle_connection(void **state)
{
    struct world *w = world_open(2);
    struct getter *a = get(w, GET), *b = get(w, GET);
    int fd[2] = {serve(w), serve(w)};
    for (int i = 0; i < 2; i++) {
        hears(w, fd[i]);
        says(fd[i], OK);
    }
    turn_until(w, a->over && b->over);
    let_go(&a);
    let_go(&b);
    struct getter *c = get(w, GET);
    world_turn(w);
    close(fd[0]); /* the server restarts: both are dead, one of them under c */
    close(fd[1]);
    turn_until(w, c->fetch.retried);
    int fresh = serve(w);
    assert_string_equal(hears(w, fresh), GET);
    says(fresh, OK);
    turn_until(w, c->over);
    assert_string_equal(c->body, "ok");
    let_go(&c);
    close(fresh);
    world_close(&w);
}

/* ---- several loops ---- */

enum { LOOPS = 3, CLIENTS = 4, FDS_MAX = 1024 };

static struct {
    int listener;
    _Atomic bool connected[FDS_MAX];       /* the client's sockets */
    _Atomic int n_connected, most;         /* most: as many were open at once */
    _Atomic int n_serving;
    _Atomic bool stop;
    struct slots *slots;
} stress;

/* The pool's sockets are counted where they are opened and closed; at the server's end a close shows too late to count them. */
int connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int n = atomic_fetch_add(&stress.n_connected, 1) + 1, most = atomic_load(&stress.most);
    assert_true(fd < FDS_MAX);
    atomic_store(&stress.connected[fd], true);
    while (n > most && !atomic_compare_exchange_weak(&stress.most, &most, n))
        ;
    return (int)syscall(SYS_connect, fd, address, size);
}

int close(int fd)
{
    bool counted = fd >= 0 && fd < FDS_MAX && atomic_exchange(&stress.connected[fd], false);
    int result = (int)syscall(SYS_close, fd);
    if (counted)
        atomic_fetch_sub(&stress.n_connected, 1);
    return result;
}

static void *stress_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char buffer[4096];
    unsigned served = 0;
    unsigned seed = (unsigned)fd * 2654435761u;
    while (recv(fd, buffer, sizeof buffer, 0) > 0) {
        seed = seed * 1103515245u + 12345u;
        if (++served % 97 == 0)
            break; /* dies under the request */
        if (seed % 5 == 0)
            usleep(seed / 7 % 1000);
        if (send(fd, OK, strlen(OK), MSG_NOSIGNAL) < 0)
            break;
    }
    close(fd);
    atomic_fetch_sub(&stress.n_serving, 1);
    return NULL;
}

static void *stress_server(void *arg)
{
    int listener = stress.listener;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0 || atomic_load(&stress.stop)) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        atomic_fetch_add(&stress.n_serving, 1);
        pthread_t t;
        pthread_attr_t detached;
        pthread_attr_init(&detached);
        pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&detached, 256 * 1024);
        assert_int_equal(pthread_create(&t, &detached, stress_connection, (void *)(intptr_t)fd), 0);
        pthread_attr_destroy(&detached);
    }
}

struct stress_loop {
    struct world world;
    pthread_t thread;
    unsigned n_done[CLIENTS], n_failed, n_all;
    uint64_t longest; /* wait for an answer */
    struct timer end;
    bool ending;
    struct stress_client {
        struct getter getter;
        struct stress_loop *loop;
        struct timer pause;
        uint64_t since;
        unsigned number, seed;
        bool abandons;
    } client[CLIENTS];
};

static void stress_ask(struct stress_client *c)
{
    struct getter *g = &c->getter;
    g->over = false;
    g->n = 0;
    arena_fini(&c->loop->world.arena); /* the head of the answer before: nobody looks at it any more */
    arena_init(&c->loop->world.arena, NULL, 0);
    fetch_init(&g->fetch, &c->loop->world.host, &c->loop->world.arena, &g->task);
    g->fetch.limits = (struct fetch_limits){4 * SEC, 4 * SEC, 4 * SEC, 4 * SEC};
    g->fetch.may_retry = true;
    g->part[0] = STR(GET);
    c->since = g->world->loop.now;
    c->seed = c->seed * 1103515245u + 12345u;
    c->abandons = c->seed / 65536 % 11 == 0;
    fetch_start(&g->fetch, &stress.slots, 1, 16, g->part, 1, false, false);
    loop_wake(&g->world->loop, &g->task);
}

static void stress_run(struct task *task)
{
    struct stress_client *c = (struct stress_client *)LIST_OF(getter, task, task);
    struct getter *g = &c->getter;
    struct stress_loop *l = c->loop;
    if (g->over)
        return;
    getter_look(g);
    if (!g->over && !c->abandons)
        return;
    uint64_t took = g->world->loop.now - c->since;
    if (!c->abandons) {
        l->longest = took > l->longest ? took : l->longest;
        l->n_done[c->number] += g->body_end == FETCH_END;
        l->n_failed += g->body_end != FETCH_END;
        l->n_all++;
    }
    g->over = true;
    fetch_finish(&g->fetch);
    timer_set(&c->pause, g->world->loop.now + c->seed / 65536 % 3 * MSEC);
}

static void stress_again(void *arg)
{
    struct stress_client *c = arg;
    if (!c->loop->ending)
        stress_ask(c);
}

static void stress_end(void *arg)
{
    struct stress_loop *l = arg;
    bool busy = false;
    l->ending = true;
    for (int i = 0; i < CLIENTS; i++)
        busy = busy || !l->client[i].getter.over;
    if (busy)
        timer_set(&l->end, clock_usec() + MSEC);
    else
        loop_stop(&l->world.loop);
}

static void *stress_thread(void *arg)
{
    struct stress_loop *l = arg;
    timer_set(&l->end, clock_usec() + 1500 * MSEC);
    for (int i = 0; i < CLIENTS; i++)
        stress_ask(&l->client[i]);
    loop_run(&l->world.loop);
    pools_close(&l->world.host);
    return NULL;
}

/* Connections die, requests are given up, loops compete: the limit holds, everybody is served, no slot is lost. */
static void loops_share_a_limit(unsigned limit)
{
    static struct stress_loop loops[LOOPS];
    char url[64];
    pthread_t server;
    memset(loops, 0, sizeof loops);
    atomic_store(&stress.stop, false);
    atomic_store(&stress.most, 0);
    stress.listener = listen_local(url);
    stress.slots = slots_to(url, limit);
    assert_int_equal(pthread_create(&server, NULL, stress_server, NULL), 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct stress_loop *l = &loops[i];
        loop_init(&l->world.loop);
        l->world.host = (struct pool_host){.loop = &l->world.loop, .worker = i, .idle_timeout = 4 * SEC};
        arena_init(&l->world.arena, NULL, 0);
        slots_set_loop(i, &l->world.loop);
        timer_init(&l->end, &l->world.loop, stress_end, l);
        for (unsigned k = 0; k < CLIENTS; k++) {
            struct stress_client *c = &l->client[k];
            *c = (struct stress_client){.getter = {.task = {.run = stress_run}, .world = &l->world, .over = true},
                                        .loop = l, .number = k, .seed = i * 100 + k};
            timer_init(&c->pause, &l->world.loop, stress_again, c);
        }
    }
    for (unsigned i = 0; i < LOOPS; i++)
        assert_int_equal(pthread_create(&loops[i].thread, NULL, stress_thread, &loops[i]), 0);
    for (unsigned i = 0; i < LOOPS; i++)
        pthread_join(loops[i].thread, NULL);
    for (unsigned i = 0; i < LOOPS; i++) {
        struct stress_loop *l = &loops[i];
        assert_true(l->n_all > 20);
        assert_true(l->n_failed < l->n_all / 10 + 2); /* those whose fresh connection died under them */
        assert_true(l->longest < 1500 * MSEC);
        for (unsigned k = 0; k < CLIENTS; k++) {
            assert_true(l->n_done[k] > 0);
            timer_fini(&l->client[k].pause);
        }
        timer_fini(&l->end);
        arena_fini(&l->world.arena);
        loop_fini(&l->world.loop);
    }
    atomic_store(&stress.stop, true);
    shutdown(stress.listener, SHUT_RDWR);
    pthread_join(server, NULL);
    close(stress.listener);
    assert_in_range(atomic_load(&stress.most), 1, limit);
    assert_int_equal(atomic_load(&stress.n_connected), 0);
    for (int i = 0; i < 2000 && atomic_load(&stress.n_serving); i++)
        usleep(1000);
    assert_int_equal(atomic_load(&stress.n_serving), 0);
}

static void one_connection_for_all_loops(void **state)
{
    loops_share_a_limit(1);
}

static void two_connections_for_three_loops(void **state)
{
    loops_share_a_limit(2);
}

static void more_connections_than_loops(void **state)
{
    loops_share_a_limit(5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiters_are_served_in_order_over_one_connection),
        cmocka_unit_test(a_full_queue_refuses_and_one_that_waits_too_long_gives_up),
        cmocka_unit_test(who_leaves_the_queue_gives_back_what_was_delivered),
        cmocka_unit_test(idle_connections_are_retired),
        cmocka_unit_test(a_lowered_limit_closes_connections_as_they_come_back),
        cmocka_unit_test(a_slot_that_is_of_use_here_seldom_moves),
        cmocka_unit_test(a_connection_that_nobody_waits_for_any_more_idles_where_it_came),
        cmocka_unit_test(slots_of_a_worker_that_ends_go_to_others),
        cmocka_unit_test(a_replay_takes_the_place_of_another_idle_connection),
        cmocka_unit_test(one_connection_for_all_loops),
        cmocka_unit_test(two_connections_for_three_loops),
        cmocka_unit_test(more_connections_than_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
