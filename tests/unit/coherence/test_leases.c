/* Leases over a real Redis: an instance that is cut off or comes back never lets another one
 * serve what is old, and writes wait for that only once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <poll.h>

#include "coherence/private.h"
#include "coherence/world.h"

/* A way to Redis for one process that can be cut while the other's stays: b's, through a relay of its own
 * process. */
struct relay {
    pid_t pid;
    unsigned port;
};

static void relay_bytes(int from, int to)
{
    char buffer[16384];
    ssize_t n = read(from, buffer, sizeof buffer);
    if (n <= 0 || write(to, buffer, (size_t)n) != n) {
        shutdown(from, SHUT_RDWR);
        shutdown(to, SHUT_RDWR);
    }
}

static void relay_one(int client, unsigned to)
{
    int server = connect_to_port(to);
    struct pollfd fd[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (server >= 0 && poll(fd, 2, -1) > 0) {
        if (fd[0].revents & POLLHUP || fd[1].revents & POLLHUP)
            break;
        if (fd[0].revents)
            relay_bytes(client, server);
        if (fd[1].revents)
            relay_bytes(server, client);
    }
    _exit(0);
}

static void relay_start(struct relay *relay, unsigned to)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
    assert_true(fd >= 0 && bind(fd, (struct sockaddr *)&at, n) == 0 && listen(fd, 64) == 0 &&
                getsockname(fd, (struct sockaddr *)&at, &n) == 0);
    relay->port = ntohs(at.sin_port);
    relay->pid = fork();
    if (relay->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0);
        signal(SIGCHLD, SIG_IGN);
        while ((client = accept(fd, NULL, NULL)) >= 0) {
            if (fork() == 0)
                relay_one(client, to);
            close(client);
        }
        _exit(0);
    }
    setpgid(relay->pid, relay->pid);
    close(fd);
}

/* SIGSTOP: everything hangs; SIGCONT: what was under way arrives late; SIGKILL: the connections are lost. */
static void relay_signal(struct relay *relay, int what)
{
    if (!relay->pid)
        return;
    kill(-relay->pid, what);
    if (what != SIGKILL)
        return;
    while (waitpid(relay->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    relay->pid = 0;
}

static struct relay relay;

static int open_with_relay(void **state)
{
    relay = (struct relay){0};
    return open_world(state);
}

static int close_with_relay(void **state)
{
    relay_signal(&relay, SIGCONT);
    relay_signal(&relay, SIGKILL);
    return close_world(state);
}

/* b's way to Redis is the relay. */
static void up_with_relay(void)
{
    struct conf direct = world.conf;
    up("");
    relay_start(&relay, world.port);
    start_process(&world.a, 1);
    world.conf.process.redis.port = (uint16_t)relay.port;
    start_process(&world.b, 1);
    world.conf = direct;
    wait_ready(&world.a);
    wait_ready(&world.b);
}

static struct coherence_gauges gauges_of(struct process *process)
{
    struct coherence_gauges gauges;
    coherence_gauges(process->coherence, clock_usec(), &gauges);
    return gauges;
}

/* ---- the first second ---- */

static void a_lone_quiver_answers_from_its_cache_one_lease_after_it_started(void **state)
{
    up_cold("");
    uint64_t begin = clock_usec();
    start_process(&world.a, 2);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
    assert_in_range(clock_usec() - begin, 700 * MSEC, 1500 * MSEC);
    struct coherence_gauges gauges = gauges_of(&world.a);
    assert_true(gauges.attached && gauges.alive);
    assert_int_equal(gauges.members, 1);
}

/* ---- Redis hangs: writes by a, reads by b ---- */

static void hang(unsigned msec, bool detaches)
{
    struct fingerprint before, after;
    struct write_hold hold;
    both_up();
    assert_int_equal(just_look(&world.b, "x", &before), LOOK_CLEAR);
    kill(world.server.pid, SIGSTOP);
    uint64_t begin = clock_usec();
    struct coherence_names names = names_of("x");
    unsigned woken = 0, looked = 0;
    turn(&world.loop, 0);
    assert_false(coherence_open(world.a.worker[0], &hold, &names, count, &woken));
    while (clock_usec() - begin < msec * MSEC) {
        struct look look;
        names = names_of("x");
        looked = 0;
        if (!look_start(world.b.worker[0], &look, &names, NULL, count, &looked))
            assert_true(run_until(&world.loop, counted, &looked, 1000));
        assert_int_equal(look.result, LOOK_AWAY);
        look_cancel(&look);
        run_for(&world.loop, 20);
        if (woken == 1) {
            assert_true(clock_usec() - begin < 1200 * MSEC);
            assert_true(detaches);
            close_write(&hold, PROOF_COMPLETED);
            assert_true(open_write(&world.a, &hold, "x") < 50 * MSEC); /* only once */
            close_write(&hold, PROOF_COMPLETED);
            woken = 2;
        }
    }
    kill(world.server.pid, SIGCONT);
    if (woken == 0) {
        assert_true(run_until(&world.loop, counted, &woken, 1200));
        assert_true(clock_usec() - begin < 1200 * MSEC);
        close_write(&hold, PROOF_COMPLETED);
    }
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 4000));
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 4000));
    just_look(&world.b, "x", &after);
    assert_false(fingerprint_eq(before, after));
}

static void redis_hangs_for_a_moment(void **state)
{
    hang(200, false);
    assert_int_equal(coherence_worker_stats(world.a.worker[0])->detaches, 0);
    assert_int_equal(coherence_worker_stats(world.a.worker[0])->late, 1);
}

static void redis_hangs_for_a_second(void **state)
{
    hang(1000, true);
}

static void redis_hangs_for_long(void **state)
{
    hang(1700, true);
    assert_true(coherence_worker_stats(world.a.worker[0])->detaches >= 1);
    assert_true(coherence_worker_stats(world.a.worker[0])->joins >= 2);
}

/* ---- one is cut off, the other is not ---- */

static void who_is_cut_off_silences_the_others_before_its_write_goes_on(void **state)
{
    world.conf.process.forget = 10 * SEC;
    up_with_relay();
    struct fingerprint before, after;
    struct write_hold hold;
    struct coherence_names names = names_of("x");
    unsigned woken = 0, hits = 0;
    assert_int_equal(just_look(&world.a, "x", &before), LOOK_CLEAR);
    relay_signal(&relay, SIGSTOP);
    turn(&world.loop, 0);
    uint64_t begin = clock_usec();
    assert_false(coherence_open(world.b.worker[0], &hold, &names, count, &woken));
    while (!woken) {
        hits += just_look(&world.a, "x", NULL) == LOOK_CLEAR;
        run_for(&world.loop, 10);
    }
    assert_true(hits > 0); /* it did serve while b's write waited */
    assert_true(clock_usec() - begin < 1200 * MSEC);
    assert_false(hold.told);
    for (unsigned i = 0; i < 10; i++) { /* from now on b's write runs: a serves nothing */
        assert_int_equal(just_look(&world.a, "x", NULL), LOOK_AWAY);
        assert_int_equal(just_look(&world.b, "x", NULL), i ? LOOK_AWAY : LOOK_HELD);
        if (!i)
            close_write(&hold, PROOF_COMPLETED);
        run_for(&world.loop, 50);
    }
    relay_signal(&relay, SIGCONT);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 4000));
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 4000));
    just_look(&world.a, "x", &after);
    assert_false(fingerprint_eq(before, after));
    assert_int_equal(coherence_worker_stats(world.b.worker[0])->joins, 2);
}

static void who_is_cut_off_for_longer_is_forgotten_and_everything_is_new(void **state)
{
    world.conf.process.forget = 1200 * MSEC;
    world.conf.process.on_bump_failure = BUMP_FAILURE_FAIL;
    up_with_relay();
    struct fingerprint before, after;
    just_look(&world.a, "x", &before);
    assert_false(coherence_refuses_writes(world.b.worker[0]));
    relay_signal(&relay, SIGKILL);
    run_for(&world.loop, 1000);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_AWAY);
    assert_false(coherence_refuses_writes(world.b.worker[0]));
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
    just_look(&world.a, "x", &after);
    assert_false(fingerprint_eq(before, after));
    assert_int_equal(coherence_worker_stats(world.a.worker[0])->forgotten, 1);
    assert_true(coherence_refuses_writes(world.b.worker[0]));
    assert_false(coherence_refuses_writes(world.a.worker[0]));
}

static bool refuses(void *arg)
{
    return coherence_refuses_writes(arg);
}

static void who_never_met_redis_refuses_writes_only_if_told_to(void **state)
{
    start_process(&world.a, 1);
    world.conf.process.on_bump_failure = BUMP_FAILURE_FAIL;
    start_process(&world.b, 1);
    assert_false(coherence_refuses_writes(world.b.worker[0]));
    assert_true(run_until(&world.loop, refuses, world.b.worker[0], 1500));
    assert_false(coherence_refuses_writes(world.a.worker[0]));
}

/* ---- Redis changes ---- */

static void who_was_there_before_a_flush_is_waited_for(void **state)
{
    world.conf.process.forget = 10 * SEC;
    up_with_relay();
    relay_signal(&relay, SIGSTOP); /* b hears nothing of it */
    run_for(&world.loop, 50);
    redis_say(&world.server, "FLUSHALL", NULL, 0);
    for (uint64_t begin = clock_usec(); clock_usec() - begin < 1100 * MSEC;)
        assert_int_equal(just_look(&world.a, "x", NULL), LOOK_AWAY);
    assert_int_equal(gauges_of(&world.a).members, 2);
    relay_signal(&relay, SIGCONT);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 4000));
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 4000));
}

static void a_promoted_replica_is_another_redis(void **state)
{
    struct redis_server replica = {0};
    struct fingerprint before, after;
    struct write_hold hold;
    char more[64];
    both_up();
    open_write(&world.a, &hold, "r");
    just_look(&world.b, "z", &before);
    unsigned port = free_port();
    snprintf(more, sizeof more, "--replicaof 127.0.0.1 %u", world.port);
    assert_true(redis_start(&replica, port, more));
    run_for(&world.loop, 1200);
    redis_kill(&world.server);
    redis_say(&replica, "REPLICAOF NO ONE", NULL, 0);
    world.conf.process.redis.port = (uint16_t)port; /* where the name points to now */
    world.conf.process.redis_url = "redis://127.0.0.1/0";
    coherence_worker_configure(world.a.worker[0], &world.conf);
    coherence_worker_configure(world.b.worker[0], &world.conf);
    world.server = replica;
    assert_true(becomes(&world.b, "z", LOOK_CLEAR, 4000));
    assert_int_equal(just_look(&world.b, "r", NULL), LOOK_HELD);
    just_look(&world.b, "z", &after);
    assert_false(fingerprint_eq(before, after));
    close_write(&hold, PROOF_COMPLETED);
    assert_true(becomes(&world.b, "r", LOOK_CLEAR, 1000));
}

static void a_full_redis_delays_a_write_once(void **state)
{
    struct write_hold hold;
    both_up();
    redis_say(&world.server, "CONFIG SET maxmemory 1", NULL, 0);
    assert_true(open_write(&world.a, &hold, "x") < 1200 * MSEC);
    assert_false(hold.told);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_AWAY);
    close_write(&hold, PROOF_COMPLETED);
    assert_true(open_write(&world.a, &hold, "x") < 50 * MSEC);
    close_write(&hold, PROOF_COMPLETED);
    redis_say(&world.server, "CONFIG SET maxmemory 0", NULL, 0);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 4000));
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 4000));
}

/* ---- the state of @names ---- */

static void the_map_of_one_process_is_old_when_another_changes_it(void **state)
{
    both_up();
    struct look look;
    struct write_hold hold;
    struct fingerprint map, cells;
    assert_int_equal(look_at(world.b.worker[0], &look, "@names", NULL), LOOK_CLEAR);
    map = look.map;
    look_cancel(&look);
    assert_int_equal(look_at(world.b.worker[0], &look, "x", NULL), LOOK_CLEAR);
    assert_true(fingerprint_eq(look.map, map)); /* the same whatever else was looked at */
    assert_false(look.map_held);
    cells = look.map_cells;
    look_cancel(&look);
    open_write(&world.a, &hold, "@names");
    assert_int_equal(look_at(world.b.worker[0], &look, "x", NULL), LOOK_CLEAR);
    assert_true(look.map_held);
    look_cancel(&look);
    close_write(&hold, PROOF_COMPLETED);
    assert_int_equal(look_at(world.b.worker[0], &look, "x", NULL), LOOK_CLEAR);
    assert_false(look.map_held);
    assert_false(fingerprint_eq(look.map, map));
    assert_true(fingerprint_eq(look.map_cells, cells));
    look_cancel(&look);
}

#define WITH_A_RELAY(test) cmocka_unit_test_setup_teardown(test, open_with_relay, close_with_relay)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(a_lone_quiver_answers_from_its_cache_one_lease_after_it_started),
        IN_A_WORLD(redis_hangs_for_a_moment),
        IN_A_WORLD(redis_hangs_for_a_second),
        IN_A_WORLD(redis_hangs_for_long),
        WITH_A_RELAY(who_is_cut_off_silences_the_others_before_its_write_goes_on),
        WITH_A_RELAY(who_is_cut_off_for_longer_is_forgotten_and_everything_is_new),
        IN_A_WORLD(who_never_met_redis_refuses_writes_only_if_told_to),
        WITH_A_RELAY(who_was_there_before_a_flush_is_waited_for),
        IN_A_WORLD(a_promoted_replica_is_another_redis),
        IN_A_WORLD(a_full_redis_delays_a_write_once),
        IN_A_WORLD(the_map_of_one_process_is_old_when_another_changes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
