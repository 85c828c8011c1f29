/* The end of an instance over a real Redis: a clean stop leaves warm entries to the next one, a crash does
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coherence/private.h"
#include "coherence/world.h"

static void say(const char *command, char *out)
{
    assert_true(redis_say(&world.server, command, out, 64));
}

/* A process that ends without a word: its connections are cut and its memory is given up. */
static void crash(struct process *process)
{
    process->coherence->unclean = true;
    for (unsigned i = 0; i < 2; i++)
        coherence_worker_close(&process->worker[i]);
    coherence_free(&process->coherence);
}

static void stop(struct process *process)
{
    for (unsigned i = 0; i < 2; i++)
        coherence_worker_close(&process->worker[i]);
    coherence_free(&process->coherence);
}

static void store(struct process *process, const char *name, const char *key, const char *answer)
{
    struct look look;
    struct look_entry entry = {STR("mixtral"), str_of(key)};
    assert_int_equal(look_at(process->worker[0], &look, name, NULL), LOOK_CLEAR);
    assert_true(coherence_store(process->worker[0], &look, &entry, str_of(answer), 600 * SEC));
    look_cancel(&look);
    run_for(&world.loop, 30);
}

static bool finds(struct process *process, const char *name, const char *key)
{
    struct look look;
    bool found = look_at(process->worker[0], &look, name, key) == LOOK_CLEAR && look.entry;
    look_cancel(&look);
    return found;
}

static void a_clean_stop_leaves_its_entries_to_the_next(void **state)
{
    char answer[64];
    up("");
    start_process(&world.a, 2);
    wait_ready(&world.a);
    store(&world.a, "x", "aa", "warm");
    stop(&world.a);
    say("EXISTS quiver:roster", answer);
    assert_string_equal(answer, ":0");
    start_process(&world.b, 1);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 3000));
    assert_true(finds(&world.b, "x", "aa"));
}

static void after_a_crash_entries_are_not_used(void **state)
{
    world.conf.process.forget = 1200 * MSEC;
    up("");
    start_process(&world.a, 1);
    wait_ready(&world.a);
    store(&world.a, "x", "aa", "old");
    crash(&world.a);
    start_process(&world.b, 1);
    run_for(&world.loop, 900); /* until then its lease vouched for it */
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_AWAY);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 4000));
    assert_false(finds(&world.b, "x", "aa"));
}

static void a_crash_leaves_the_holds_of_running_writes(void **state)
{
    world.conf.process.forget = 1000 * MSEC;
    both_up();
    char answer[64];
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    coherence_cancel(&hold); /* as the test's process goes on; in Redis it looks the same */
    crash(&world.a);
    run_for(&world.loop, 900);
    assert_true(becomes(&world.b, "y", LOOK_CLEAR, 4000));
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    say("ZCARD quiver:roster", answer);
    assert_string_equal(answer, ":1");
}

static void alone_a_crash_is_noticed_at_once_and_a_stop_is_none(void **state)
{
    world.conf.process.redis_shared = false;
    up_cold("");
    start_process(&world.a, 1);
    wait_ready(&world.a);
    store(&world.a, "x", "aa", "warm");
    stop(&world.a);
    start_process(&world.a, 1);
    wait_ready(&world.a);
    assert_true(finds(&world.a, "x", "aa"));
    crash(&world.a);
    start_process(&world.b, 1);
    wait_ready(&world.b);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_CLEAR);
    assert_false(finds(&world.b, "x", "aa"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(a_clean_stop_leaves_its_entries_to_the_next),
        IN_A_WORLD(after_a_crash_entries_are_not_used),
        IN_A_WORLD(a_crash_leaves_the_holds_of_running_writes),
        IN_A_WORLD(alone_a_crash_is_noticed_at_once_and_a_stop_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
