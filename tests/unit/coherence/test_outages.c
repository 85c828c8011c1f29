/* Coherence over a Redis that hangs, restarts, is flushed, full or not fit to be used: nobody believes what
 * it should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coherence/world.h"

static void a_hung_redis_delays_a_write_once_and_is_not_believed_until_told(void **state)
{
    both_up();
    struct fingerprint before, after;
    struct write_hold hold, next;
    assert_int_equal(just_look(&world.b, "x", &before), LOOK_CLEAR);
    kill(world.server.pid, SIGSTOP);
    uint64_t waited = open_write(&world.a, &hold, "x");
    assert_in_range(waited, 300 * MSEC, 1200 * MSEC); /* until its lease has surely passed */
    assert_false(hold.told);
    assert_true(close_write(&hold, PROOF_COMPLETED) < 50 * MSEC);
    assert_true(open_write(&world.a, &next, "x") < 50 * MSEC);
    assert_true(close_write(&next, PROOF_COMPLETED) < 50 * MSEC);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_AWAY);
    kill(world.server.pid, SIGCONT);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
    /* what was told clears the hold of the open that arrived late */
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 3000));
    assert_int_equal(just_look(&world.b, "x", &after), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, after));
}

static void a_look_into_a_hung_redis_is_away_within_its_budget_and_opens_the_breaker(void **state)
{
    both_up();
    kill(world.server.pid, SIGSTOP);
    struct look look;
    for (unsigned i = 0; i < 5; i++) {
        uint64_t begin = clock_usec();
        assert_int_equal(look_at(world.a.worker[0], &look, "x", NULL), LOOK_AWAY);
        assert_true(clock_usec() - begin < 100 * MSEC);
        look_cancel(&look);
    }
    assert_true(run_until(&world.loop, worker_away, world.a.worker[0], 100));
    struct coherence_names names = names_of("x");
    assert_true(look_start(world.a.worker[0], &look, &names, NULL, count, NULL)); /* at once */
    assert_int_equal(look.result, LOOK_AWAY);
    look_cancel(&look);
    kill(world.server.pid, SIGCONT);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
}

static void a_restarted_redis_hears_of_running_writes_and_holds_first(void **state)
{
    both_up();
    struct write_hold running, unproven;
    open_write(&world.a, &running, "r");
    open_write(&world.a, &unproven, "u");
    close_write(&unproven, PROOF_NONE);
    redis_kill(&world.server);
    run_for(&world.loop, 300);
    up("");
    wait_ready(&world.a);
    assert_int_equal(just_look(&world.a, "z", NULL), LOOK_CLEAR);
    wait_ready(&world.b);
    assert_int_equal(just_look(&world.b, "r", NULL), LOOK_HELD);
    assert_int_equal(just_look(&world.b, "u", NULL), LOOK_HELD);
    assert_int_equal(just_look(&world.b, "z", NULL), LOOK_CLEAR);
    close_write(&running, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.b, "r", NULL), LOOK_CLEAR);
}

static void a_write_during_an_outage_is_told_when_redis_is_back(void **state)
{
    both_up();
    struct fingerprint before, after;
    just_look(&world.b, "x", &before);
    redis_say(&world.server, "CLIENT KILL TYPE normal", NULL, 0);
    struct write_hold hold;
    /* a lost connection is back in 50 ms: it waits for that */
    uint64_t waited = open_write(&world.a, &hold, "x");
    assert_true(hold.told);
    assert_true(waited < 500 * MSEC);
    redis_say(&world.server, "CLIENT KILL TYPE normal", NULL, 0);
    waited = close_write(&hold, PROOF_COMPLETED);
    assert_true(hold.told);
    assert_true(waited < 500 * MSEC);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 2000));
    just_look(&world.b, "x", &after);
    assert_false(fingerprint_eq(before, after));
}

static void a_flushed_redis_is_noticed_and_told_again(void **state)
{
    both_up();
    struct fingerprint before, after;
    struct write_hold running;
    open_write(&world.a, &running, "r");
    just_look(&world.a, "z", &before);
    redis_say(&world.server, "FLUSHALL", NULL, 0);
    assert_int_equal(just_look(&world.a, "z", NULL), LOOK_AWAY);
    assert_true(becomes(&world.a, "z", LOOK_CLEAR, 2000));
    just_look(&world.a, "z", &after);
    assert_false(fingerprint_eq(before, after)); /* the token of a name never comes back */
    assert_true(becomes(&world.b, "r", LOOK_HELD, 2000));
    close_write(&running, PROOF_COMPLETED);
    assert_true(becomes(&world.b, "r", LOOK_CLEAR, 2000));
}

static void a_flushed_script_is_sent_again(void **state)
{
    both_up();
    redis_say(&world.server, "SCRIPT FLUSH", NULL, 0);
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    assert_true(hold.told);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    close_write(&hold, PROOF_COMPLETED);
}

static void a_redis_that_takes_no_writes_is_not_believed(void **state)
{
    both_up();
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
    redis_say(&world.server, "CONFIG SET maxmemory 1", NULL, 0);
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    assert_false(hold.told);
    close_write(&hold, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.a, "other", NULL), LOOK_AWAY);
    run_for(&world.loop, 300);
    assert_int_equal(just_look(&world.a, "other", NULL), LOOK_AWAY);
    redis_say(&world.server, "CONFIG SET maxmemory 0", NULL, 0);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
}

static void a_replica_and_an_evicting_redis_are_refused(void **state)
{
    up("--maxmemory-policy allkeys-lru --maxmemory 100mb");
    start_process(&world.a, 1);
    run_for(&world.loop, 400);
    assert_false(coherence_redis_ready(world.a.worker[0]));
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_AWAY);
    redis_kill(&world.server);
    up("--replicaof 127.0.0.1 1");
    start_process(&world.b, 1);
    run_for(&world.loop, 400);
    assert_false(coherence_redis_ready(world.b.worker[0]));
}

static void more_than_can_be_remembered_becomes_everything(void **state)
{
    both_up();
    struct fingerprint before, after;
    just_look(&world.b, "untouched", &before);
    redis_kill(&world.server);
    assert_true(run_until(&world.loop, worker_away, world.a.worker[0], 1000));
    run_for(&world.loop, 1100);
    for (unsigned i = 0; i < 1500; i++) {
        char name[16];
        struct coherence_names names = {0};
        struct write_hold hold;
        snprintf(name, sizeof name, "n%u", i);
        coherence_names_add(&names, str_of(name));
        assert_true(coherence_open(world.a.worker[0], &hold, &names, count, NULL));
        assert_true(coherence_close(&hold, PROOF_COMPLETED, count, NULL));
    }
    assert_true(coherence_worker_stats(world.a.worker[0])->overflows >= 1);
    up_cold("");
    assert_true(becomes(&world.a, "untouched", LOOK_CLEAR, 3000));
    assert_true(becomes(&world.b, "untouched", LOOK_CLEAR, 3000));
    just_look(&world.b, "untouched", &after);
    assert_false(fingerprint_eq(before, after));
}

static void a_second_worker_does_not_use_redis_while_the_first_has_something_to_tell(void **state)
{
    up("");
    start_process(&world.a, 2);
    wait_ready(&world.a);
    struct look look;
    assert_int_equal(look_at(world.a.worker[1], &look, "x", NULL), LOOK_CLEAR);
    look_cancel(&look);
    kill(world.server.pid, SIGSTOP);
    struct write_hold hold;
    open_write(&world.a, &hold, "x"); /* by worker 0, gives up */
    close_write(&hold, PROOF_COMPLETED);
    struct coherence_names names = names_of("y");
    /* its own connection looks fine yet */
    assert_true(look_start(world.a.worker[1], &look, &names, NULL, count, NULL));
    assert_int_equal(look.result, LOOK_AWAY);
    look_cancel(&look);
    kill(world.server.pid, SIGCONT);
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
}

static void no_redis_from_the_start_costs_nothing_but_the_first_second(void **state)
{
    start_process(&world.a, 1);
    struct write_hold hold;
    assert_true(open_write(&world.a, &hold, "x") < 1200 * MSEC);
    assert_true(close_write(&hold, PROOF_COMPLETED) < 50 * MSEC);
    assert_true(open_write(&world.a, &hold, "x") < 50 * MSEC);
    assert_true(close_write(&hold, PROOF_COMPLETED) < 50 * MSEC);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_AWAY);
    up_cold("");
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(a_hung_redis_delays_a_write_once_and_is_not_believed_until_told),
        IN_A_WORLD(a_look_into_a_hung_redis_is_away_within_its_budget_and_opens_the_breaker),
        IN_A_WORLD(a_restarted_redis_hears_of_running_writes_and_holds_first),
        IN_A_WORLD(a_write_during_an_outage_is_told_when_redis_is_back),
        IN_A_WORLD(a_flushed_redis_is_noticed_and_told_again),
        IN_A_WORLD(a_flushed_script_is_sent_again),
        IN_A_WORLD(a_redis_that_takes_no_writes_is_not_believed),
        IN_A_WORLD(a_replica_and_an_evicting_redis_are_refused),
        IN_A_WORLD(more_than_can_be_remembered_becomes_everything),
        IN_A_WORLD(a_second_worker_does_not_use_redis_while_the_first_has_something_to_tell),
        IN_A_WORLD(no_redis_from_the_start_costs_nothing_but_the_first_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
