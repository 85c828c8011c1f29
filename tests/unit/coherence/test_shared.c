/* Coherence over a real Redis: two processes (two struct coherence) on one loop see each other's writes,
 * and no outage of Redis lets one of them believe what it should not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coherence/coherence.h"
#include "io/redis_server.h"

struct process {
    struct coherence *coherence;
    struct coherence_worker *worker[2];
};

struct world {
    struct loop loop;
    struct conf conf;
    struct redis_server server;
    unsigned port;
    struct process a, b;
};

static struct world world;

static int open_world(void **state)
{
    if (!have_redis())
        skip();
    signal(SIGPIPE, SIG_IGN);
    world = (struct world){0};
    world.port = free_port();
    world.conf.process = (struct conf_process){.quarantine = 60 * SEC,
                                               .redis_budget = 50 * MSEC, /* slow machines and sanitizers */
                                               .redis_connect_timeout = 300 * MSEC,
                                               .redis_shared = true,
                                               .redis_url = "redis://127.0.0.1",
                                               .redis = {.on = true, .host = "127.0.0.1",
                                                         .port = (uint16_t)world.port}};
    loop_init(&world.loop);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    struct process *process[] = {&world.a, &world.b};
    for (unsigned i = 0; i < 2; i++) {
        coherence_worker_close(&process[i]->worker[0]);
        coherence_worker_close(&process[i]->worker[1]);
        coherence_free(&process[i]->coherence);
    }
    redis_kill(&world.server);
    loop_fini(&world.loop);
    return 0;
}

static bool worker_ready(void *arg)
{
    return coherence_redis_ready(arg);
}

static bool worker_away(void *arg)
{
    return !coherence_redis_ready(arg);
}

static void start_process(struct process *process, unsigned n_workers)
{
    process->coherence = coherence_new();
    for (unsigned i = 0; i < n_workers; i++)
        process->worker[i] = coherence_worker_open(process->coherence, &world.loop, &world.conf);
}

static void wait_ready(struct process *process)
{
    for (unsigned i = 0; i < 2; i++)
        if (process->worker[i])
            assert_true(run_until(&world.loop, worker_ready, process->worker[i], 3000));
    run_for(&world.loop, 30); /* the connection of the stores too */
}

static void up(const char *more)
{
    assert_true(redis_start(&world.server, world.port, more));
}

static void both_up(void)
{
    up("");
    start_process(&world.a, 1);
    start_process(&world.b, 1);
    wait_ready(&world.a);
    wait_ready(&world.b);
}

/* ---- looks ---- */

static void count(void *arg)
{
    ++*(unsigned *)arg;
}

static bool counted(void *arg)
{
    return *(unsigned *)arg > 0;
}

static struct coherence_names names_of(const char *a)
{
    struct coherence_names names = {0};
    coherence_names_add(&names, str_of(a));
    return names;
}

/* Looks and waits for the result; the look stays for the caller to cancel. */
static enum look_result look_at(struct coherence_worker *w, struct look *look, const char *name,
                                const char *key)
{
    struct coherence_names names = names_of(name);
    struct look_entry entry = {STR("mixtral"), str_of(key)};
    unsigned woken = 0;
    turn(&world.loop, 0);
    if (!look_start(w, look, &names, key ? &entry : NULL, count, &woken)) {
        assert_int_equal(woken, 0);
        assert_true(run_until(&world.loop, counted, &woken, 1000));
        run_for(&world.loop, 5);
        assert_int_equal(woken, 1);
    }
    return look->result;
}

static enum look_result just_look(struct process *process, const char *name, struct fingerprint *f)
{
    struct look look;
    enum look_result result = look_at(process->worker[0], &look, name, NULL);
    if (f)
        *f = look.fingerprint;
    look_cancel(&look);
    return result;
}

struct wanted_result {
    struct process *process;
    const char *name;
    enum look_result result;
};

static bool result_is(void *arg)
{
    struct wanted_result *wanted = arg;
    return just_look(wanted->process, wanted->name, NULL) == wanted->result;
}

static bool becomes(struct process *process, const char *name, enum look_result result, unsigned msec)
{
    struct wanted_result wanted = {process, name, result};
    return run_until(&world.loop, result_is, &wanted, msec);
}

/* ---- writes ---- */

/* Opens and waits until it may go on; how long that took. */
static uint64_t open_write(struct process *process, struct write_hold *hold, const char *name)
{
    struct coherence_names names = names_of(name);
    unsigned woken = 0;
    turn(&world.loop, 0);
    uint64_t begin = clock_usec();
    if (!coherence_open(process->worker[0], hold, &names, count, &woken))
        assert_true(run_until(&world.loop, counted, &woken, 1500));
    return clock_usec() - begin;
}

static uint64_t close_write(struct write_hold *hold, enum write_proof proof)
{
    unsigned woken = 0;
    uint64_t begin = clock_usec();
    if (!coherence_close(hold, proof, count, &woken))
        assert_true(run_until(&world.loop, counted, &woken, 1500));
    return clock_usec() - begin;
}

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
    /* not asked for at first, fetched later */
    assert_int_equal(look_at(world.b.worker[0], &look, "x", NULL), LOOK_CLEAR);
    unsigned woken = 0;
    assert_false(look_fetch(&look, &entry, count, &woken));
    assert_true(run_until(&world.loop, counted, &woken, 1000));
    assert_int_equal(look.result, LOOK_CLEAR);
    assert_non_null(look.entry);
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
    up("");
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

static void switching_redis_off_wakes_who_waits(void **state)
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
    assert_int_equal(opened, 1);
    assert_int_equal(looked, 1);
    look_cancel(&look);
    assert_int_equal(just_look(&world.a, "y", NULL), LOOK_CLEAR);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    assert_int_equal(close_write(&hold, PROOF_COMPLETED) < 10 * MSEC, 1);
    coherence_worker_configure(world.a.worker[0], &world.conf);
    wait_ready(&world.a);
    assert_int_equal(just_look(&world.a, "y", NULL), LOOK_CLEAR);
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
    up("");
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 3000));
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(an_entry_of_one_process_is_found_by_the_other_in_one_round_trip),
        IN_A_WORLD(keys_name_the_model_and_the_redis_process_and_expire),
        IN_A_WORLD(a_write_of_one_process_holds_in_the_other),
        IN_A_WORLD(an_entry_stored_before_a_write_is_not_found_after_it),
        IN_A_WORLD(an_unproven_hold_ends_in_the_other_process_with_the_quarantine),
        IN_A_WORLD(a_long_write_is_renewed),
        IN_A_WORLD(a_hung_redis_delays_a_write_once_and_is_not_believed_until_told),
        IN_A_WORLD(a_look_into_a_hung_redis_is_away_within_its_budget_and_opens_the_breaker),
        IN_A_WORLD(a_restarted_redis_hears_of_running_writes_and_holds_first),
        IN_A_WORLD(a_write_during_an_outage_is_told_when_redis_is_back),
        IN_A_WORLD(a_flushed_redis_is_noticed_and_told_again),
        IN_A_WORLD(a_flushed_script_is_sent_again),
        IN_A_WORLD(a_redis_that_takes_no_writes_is_not_believed),
        IN_A_WORLD(a_replica_and_an_evicting_redis_are_refused),
        IN_A_WORLD(not_shared_means_the_cells_decide_while_redis_is_away),
        IN_A_WORLD(all_share_one_secret),
        IN_A_WORLD(more_than_can_be_remembered_becomes_everything),
        IN_A_WORLD(a_second_worker_does_not_use_redis_while_the_first_has_something_to_tell),
        IN_A_WORLD(cancel_while_waiting_is_silent),
        IN_A_WORLD(switching_redis_off_wakes_who_waits),
        IN_A_WORLD(no_redis_from_the_start_costs_nothing_but_the_first_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
