/* Coherence over a real Redis: two processes (two struct coherence) on one loop see each other's writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coherence/private.h"
#include "coherence/world.h"

static void an_entry_of_one_process_is_found_by_the_other_in_one_round_trip(void **state)
{
    both_up();
    struct look look;
    struct look_entry entry = {STR("mixtral"), STR("00ff")};
    assert_int_equal(look_at(world.a.worker[0], &look, "x", "00ff"), LOOK_CLEAR);
    assert_true(look.has_redis);
    assert_false(look.alone);
    assert_null(look.entry);
    assert_true(coherence_store(world.a.worker[0], &look, &entry, STR("an answer"), 60 * SEC));
    look_cancel(&look);
    run_for(&world.loop, 30);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(look_at(world.b.worker[0], &look, "x", "00ff"), LOOK_CLEAR);
        assert_non_null(look.entry);
        assert_true(str_eq(blob_str(look.entry), STR("an answer")));
        look_cancel(&look);
    }
    /* the second time the tokens were known */
    assert_int_equal(coherence_worker_stats(world.b.worker[0])->guesses, 1);
    assert_int_equal(coherence_worker_stats(world.b.worker[0])->guesses_right, 1);
    assert_int_equal(look_at(world.b.worker[0], &look, "x", "00fe"), LOOK_CLEAR);
    assert_null(look.entry);
    look_cancel(&look);
}

static void a_large_entry_that_comes_before_the_tokens_is_not_believed(void **state)
{
    static char large[20000];
    memset(large, 'x', sizeof large);
    both_up();
    struct look look;
    struct look_entry entry = {STR("mixtral"), STR("00ff")};
    struct write_hold hold;
    look_at(world.a.worker[0], &look, "x", "00ff");
    assert_true(coherence_store(world.a.worker[0], &look, &entry, str_slice(large, sizeof large), 60 * SEC));
    look_cancel(&look);
    run_for(&world.loop, 30);
    assert_int_equal(look_at(world.a.worker[0], &look, "x", "00ff"), LOOK_CLEAR);
    assert_non_null(look.entry);
    look_cancel(&look);
    open_write(&world.b, &hold, "x");
    close_write(&hold, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_CLEAR); /* a new token */
    /* the tokens wait on their connection for what is pushed, what lies under the old one does not wait */
    struct str wait[] = {STR("BLPOP"), STR("gate"), STR("1")};
    struct coherence_names names = names_of("x");
    unsigned woken = 0;
    assert_true(redis_send(world.a.worker[0]->main, NULL, 3, wait, SEC, NULL));
    assert_false(look_start(world.a.worker[0], &look, &names, &entry, count, &woken));
    run_for(&world.loop, 10);
    assert_non_null(look.entry);
    char answer[64];
    redis_say(&world.server, "LPUSH gate open", answer, sizeof answer);
    assert_true(run_until(&world.loop, counted, &woken, 1000));
    assert_int_equal(look.result, LOOK_CLEAR);
    assert_true(look.has_redis);
    assert_null(look.entry);
    look_cancel(&look);
}

static void keys_name_the_model_and_the_redis_process_and_expire(void **state)
{
    both_up();
    struct look look;
    struct look_entry entry = {STR("mixtral"), STR("00ff")};
    char answer[256];
    look_at(world.a.worker[0], &look, "x", NULL);
    assert_true(coherence_store(world.a.worker[0], &look, &entry, STR("an answer"), 400 * MSEC));
    look_cancel(&look);
    run_for(&world.loop, 30);
    redis_say(&world.server, "EVAL \"return #redis.call('keys','quiver:*:e:mixtral:00ff:*')\" 0", answer,
              sizeof answer);
    assert_string_equal(answer, ":1");
    run_for(&world.loop, 400);
    redis_say(&world.server, "EVAL \"return #redis.call('keys','quiver:*:e:*')\" 0", answer, sizeof answer);
    assert_string_equal(answer, ":0");
}

static void a_write_of_one_process_holds_in_the_other(void **state)
{
    both_up();
    struct fingerprint before, after, other_before, other_after;
    struct write_hold hold;
    assert_int_equal(just_look(&world.b, "x", &before), LOOK_CLEAR);
    assert_int_equal(just_look(&world.b, "y", &other_before), LOOK_CLEAR);
    open_write(&world.a, &hold, "x");
    assert_true(hold.told);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    close_write(&hold, PROOF_COMPLETED);
    assert_true(hold.told);
    assert_int_equal(just_look(&world.b, "x", &after), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, after));
    assert_int_equal(just_look(&world.b, "y", &other_after), LOOK_CLEAR);
    assert_true(fingerprint_eq(other_before, other_after));
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
}

static void an_entry_stored_before_a_write_is_not_found_after_it(void **state)
{
    both_up();
    struct look early, look;
    struct look_entry entry = {STR("m"), STR("aa")};
    struct write_hold hold;
    look_at(world.b.worker[0], &early, "x", NULL); /* the read goes to Qdrant now ... */
    open_write(&world.a, &hold, "x");
    close_write(&hold, PROOF_COMPLETED);
    coherence_store(world.b.worker[0], &early, &entry, STR("old"), 60 * SEC); /* ... and is stored late */
    run_for(&world.loop, 30);
    look_at(world.a.worker[0], &look, "x", "aa");
    assert_int_equal(look.result, LOOK_CLEAR);
    assert_null(look.entry);
    look_cancel(&look);
    look_cancel(&early);
}

static void an_unproven_hold_ends_in_the_other_process_with_the_quarantine(void **state)
{
    world.conf.process.quarantine = 400 * MSEC;
    both_up();
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    close_write(&hold, PROOF_NONE);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    run_for(&world.loop, 250);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 700));
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 100));
}

static void a_long_write_is_renewed(void **state)
{
    world.conf.process.quarantine = 300 * MSEC;
    both_up();
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    for (unsigned i = 0; i < 10; i++) {
        run_for(&world.loop, 100);
        assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    }
    close_write(&hold, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_CLEAR);
}

static void not_shared_means_the_cells_decide_while_redis_is_away(void **state)
{
    world.conf.process.redis_shared = false;
    both_up();
    struct fingerprint before, during;
    struct look look;
    assert_int_equal(look_at(world.a.worker[0], &look, "x", NULL), LOOK_CLEAR);
    assert_true(look.alone && look.has_redis);
    before = look.fingerprint;
    look_cancel(&look);
    redis_kill(&world.server);
    assert_true(run_until(&world.loop, worker_away, world.a.worker[0], 1000));
    assert_int_equal(look_at(world.a.worker[0], &look, "x", NULL), LOOK_CLEAR);
    during = look.fingerprint;
    assert_false(look.has_redis);
    look_cancel(&look);
    assert_true(fingerprint_eq(before, during));
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    close_write(&hold, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.a, "x", &during), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, during));
}

static void all_share_one_secret(void **state)
{
    unsigned char a[COHERENCE_SECRET], b[COHERENCE_SECRET];
    up("");
    start_process(&world.a, 2);
    start_process(&world.b, 1);
    coherence_secret(world.a.coherence, a);
    coherence_secret(world.b.coherence, b);
    assert_memory_not_equal(a, b, sizeof a);
    wait_ready(&world.a);
    wait_ready(&world.b);
    unsigned versions =
        coherence_secret_version(world.a.coherence) + coherence_secret_version(world.b.coherence);
    assert_int_equal(versions, 3); /* one of them changed, once */
    coherence_secret(world.a.coherence, a);
    coherence_secret(world.b.coherence, b);
    assert_memory_equal(a, b, sizeof a);
}

static void cancel_while_waiting_is_silent(void **state)
{
    both_up();
    struct write_hold hold;
    struct look look;
    struct coherence_names names = names_of("x");
    unsigned woken = 0;
    turn(&world.loop, 0);
    assert_false(coherence_open(world.a.worker[0], &hold, &names, count, &woken));
    names = names_of("y");
    assert_false(look_start(world.a.worker[0], &look, &names, NULL, count, &woken));
    coherence_cancel(&hold);
    memset(&hold, 0xee, sizeof hold); /* may be freed at once */
    look_cancel(&look);
    memset(&look, 0xee, sizeof look);
    names = names_of("z");
    unsigned opened = 0;
    assert_false(coherence_open(world.a.worker[0], &hold, &names, count, &opened));
    assert_true(run_until(&world.loop, counted, &opened, 1000));
    assert_false(coherence_close(&hold, PROOF_COMPLETED, count, &woken));
    coherence_cancel(&hold);
    memset(&hold, 0xee, sizeof hold);
    run_for(&world.loop, 50);
    assert_int_equal(woken, 0);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    assert_int_equal(just_look(&world.b, "z", NULL), LOOK_CLEAR); /* what that close said stands */
}

static void switching_redis_off_wakes_who_waits_once_nobody_relies_on_it(void **state)
{
    both_up();
    struct write_hold hold;
    struct look look;
    struct coherence_names names = names_of("x"), others = names_of("y");
    unsigned opened = 0, looked = 0;
    turn(&world.loop, 0);
    assert_false(coherence_open(world.a.worker[0], &hold, &names, count, &opened));
    assert_false(look_start(world.a.worker[0], &look, &others, NULL, count, &looked));
    struct conf off = world.conf;
    off.process.redis = (struct conf_redis){0};
    off.process.redis_url = "off";
    coherence_worker_configure(world.a.worker[0], &off);
    assert_int_equal(looked, 1);
    look_cancel(&look);
    uint64_t begin = clock_usec();
    assert_int_equal(opened, 0); /* the other answers by this one's lease, and may not have heard */
    assert_true(run_until(&world.loop, counted, &opened, 3000));
    assert_in_range(clock_usec() - begin, 0, 1500 * MSEC); /* below 0.8 s, but where the machine is busy */
    assert_int_equal(just_look(&world.b, "y", NULL), LOOK_AWAY);
    assert_int_equal(just_look(&world.a, "y", NULL), LOOK_CLEAR);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    assert_int_equal(close_write(&hold, PROOF_COMPLETED) < 10 * MSEC, 1);
    coherence_worker_configure(world.a.worker[0], &world.conf);
    wait_ready(&world.a);
    assert_int_equal(just_look(&world.a, "y", NULL), LOOK_CLEAR);
}

static void a_write_that_began_without_redis_is_renewed_in_the_one_that_comes(void **state)
{
    struct write_hold hold;
    world.conf.process.quarantine = 0; /* a running write holds for a second, and is renewed */
    both_up();
    struct conf off = world.conf;
    off.process.redis = (struct conf_redis){0};
    off.process.redis_url = "off";
    coherence_worker_configure(world.a.worker[0], &off);
    open_write(&world.a, &hold, "x");
    coherence_worker_configure(world.a.worker[0], &world.conf);
    wait_ready(&world.a);
    assert_true(becomes(&world.b, "x", LOOK_HELD, 3000));
    for (unsigned i = 0; i < 20; i++) {
        run_for(&world.loop, 100);
        assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    }
    close_write(&hold, PROOF_COMPLETED);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(an_entry_of_one_process_is_found_by_the_other_in_one_round_trip),
        IN_A_WORLD(a_large_entry_that_comes_before_the_tokens_is_not_believed),
        IN_A_WORLD(keys_name_the_model_and_the_redis_process_and_expire),
        IN_A_WORLD(a_write_of_one_process_holds_in_the_other),
        IN_A_WORLD(an_entry_stored_before_a_write_is_not_found_after_it),
        IN_A_WORLD(an_unproven_hold_ends_in_the_other_process_with_the_quarantine),
        IN_A_WORLD(a_long_write_is_renewed),
        IN_A_WORLD(not_shared_means_the_cells_decide_while_redis_is_away),
        IN_A_WORLD(all_share_one_secret),
        IN_A_WORLD(cancel_while_waiting_is_silent),
        IN_A_WORLD(switching_redis_off_wakes_who_waits_once_nobody_relies_on_it),
        IN_A_WORLD(a_write_that_began_without_redis_is_renewed_in_the_one_that_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
