/* Holds of writes that ended without a proof: who ends them, who makes them longer. In the cells alone, and
 * over a real Redis for another process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "coherence/world.h"

static int open_alone(void **state)
{
    world = (struct world){.conf.process = {.quarantine = 60 * SEC, .redis_budget = 2 * MSEC,
                                            .redis_shared = true}};
    loop_init(&world.loop);
    start_process(&world.a, 2);
    return 0;
}

/* A write to name, acknowledged as the operation of that number; 0: its answer was lost. */
static void unproven(struct process *process, const char *name, const char *collection, uint64_t operation_id)
{
    struct write_hold hold;
    open_write(process, &hold, name);
    hold.collection = str_of(collection);
    hold.operation_id = operation_id;
    hold.acknowledged = operation_id > 0;
    close_write(&hold, PROOF_NONE);
}

static void completed(struct process *process, const char *name, const char *collection, bool barrier)
{
    struct write_hold hold;
    open_write(process, &hold, name);
    hold.collection = str_of(collection);
    hold.barrier = barrier;
    close_write(&hold, PROOF_COMPLETED);
}

static unsigned rows(struct unproven_hold *out, unsigned max)
{
    static struct unproven_hold all[COHERENCE_UNPROVEN_MAX];
    unsigned n = coherence_unproven(world.a.worker[0], all);
    assert_true(n <= max);
    memcpy(out, all, n * sizeof *out);
    return n;
}

static void a_stream_of_acknowledged_writes_is_one_row(void **state)
{
    struct unproven_hold row[4];
    for (unsigned i = 1; i <= 100; i++)
        unproven(&world.a, "x", "x", i);
    assert_int_equal(rows(row, 4), 1);
    assert_string_equal(row[0].collection, "x");
    assert_true(row[0].acknowledged);
    assert_int_equal(row[0].operation_id, 100);
    assert_int_equal(row[0].n_writes, 100);
    assert_true(row[0].until > clock_usec() + 59 * SEC);
    unproven(&world.a, "x", "x", 0); /* lost: not to be proven, so not in the same row */
    assert_int_equal(rows(row, 4), 2);
}

static void a_proof_ends_what_was_seen_and_nothing_else(void **state)
{
    struct unproven_hold row[4];
    struct fingerprint before, after;
    unproven(&world.a, "x", "x", 7);
    just_look(&world.a, "x", &before);
    assert_int_equal(rows(row, 4), 1);
    struct unproven_hold seen = row[0];
    unproven(&world.a, "x", "x", 8);
    assert_false(coherence_prove(world.a.worker[1], &seen)); /* one more since */
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    assert_int_equal(rows(row, 4), 1);
    assert_true(coherence_prove(world.a.worker[1], &row[0]));
    assert_int_equal(just_look(&world.a, "x", &after), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, after));
    assert_false(coherence_prove(world.a.worker[1], &row[0]));
    assert_int_equal(rows(row, 4), 0);
    assert_int_equal(coherence_worker_stats(world.a.worker[1])->released, 1);
}

static void another_hold_on_the_same_name_stays(void **state)
{
    struct unproven_hold row[4];
    unproven(&world.a, "x", "x", 7);
    unproven(&world.a, "x", "x", 0);
    assert_int_equal(rows(row, 4), 2);
    unsigned acknowledged = row[0].acknowledged ? 0 : 1;
    assert_true(coherence_prove(world.a.worker[0], &row[acknowledged]));
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    assert_true(coherence_prove(world.a.worker[0], &row[!acknowledged]));
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
}

static void a_later_completed_write_is_a_barrier_where_the_collection_has_one_shard(void **state)
{
    unproven(&world.a, "x", "x", 7);
    unproven(&world.a, "y", "y", 8);
    completed(&world.a, "x", "x", false);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    completed(&world.a, "alias", "x", true); /* by another name of it */
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
    assert_int_equal(just_look(&world.a, "y", NULL), LOOK_HELD);
    unproven(&world.a, "z", "z", 0);
    completed(&world.a, "z", "z", true);
    assert_int_equal(just_look(&world.a, "z", NULL), LOOK_HELD); /* may not have arrived yet */
}

static void a_barrier_proves_nothing_about_writes_that_it_overlapped(void **state)
{
    struct write_hold barrier;
    open_write(&world.a, &barrier, "x");
    barrier.collection = STR("x");
    barrier.barrier = true;
    unproven(&world.a, "x", "x", 7);
    close_write(&barrier, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
}

/* As a read would see it. */
static struct fingerprint map_seen(struct process *process)
{
    struct look look;
    assert_int_equal(look_at(process->worker[0], &look, "anything", NULL), LOOK_CLEAR);
    assert_false(look.map_held);
    struct fingerprint map = look.map;
    look_cancel(&look);
    return map;
}

/* A write to x, acknowledged; meanwhile who changes the names. */
static void unproven_by_alias(struct process *process, struct process *who)
{
    struct write_hold hold;
    open_write(process, &hold, "x");
    if (who)
        completed(who, "@names", "", false);
    hold.collection = STR("y");
    hold.by_alias = true;
    hold.operation_id = 7;
    hold.acknowledged = true;
    close_write(&hold, PROOF_NONE);
}

static void a_write_is_told_under_which_map_it_ran(void **state)
{
    struct write_hold names, hold;
    struct fingerprint none = {0, 0};
    open_write(&world.a, &hold, "x");
    assert_true(fingerprint_eq(hold.map, map_seen(&world.a)));
    close_write(&hold, PROOF_COMPLETED);
    open_write(&world.a, &names, "@names");
    assert_true(fingerprint_eq(names.map, none)); /* it changes them itself */
    open_write(&world.a, &hold, "x");
    assert_true(fingerprint_eq(hold.map, none));
    close_write(&names, PROOF_COMPLETED);
    close_write(&hold, PROOF_COMPLETED);
}

static void a_write_through_an_alias_is_not_proven_when_names_changed_meanwhile(void **state)
{
    struct unproven_hold row[2];
    unproven_by_alias(&world.a, NULL);
    assert_int_equal(rows(row, 2), 1);
    assert_true(row[0].acknowledged);
    unproven_by_alias(&world.a, &world.a);
    assert_int_equal(rows(row, 2), 1);
    assert_false(row[0].acknowledged); /* who knows what the alias stood for */
}

static void what_others_learn_later_stays_held_for_so_long(void **state)
{
    struct write_hold hold;
    open_write(&world.a, &hold, "x");
    hold.linger = 300 * MSEC;
    close_write(&hold, PROOF_COMPLETED);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    run_for(&world.loop, 350);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
}

static void a_hold_may_be_prolonged_and_then_ends_then(void **state)
{
    struct unproven_hold row[1];
    world.conf.process.quarantine = 200 * MSEC;
    coherence_worker_configure(world.a.worker[0], &world.conf);
    unproven(&world.a, "x", "x", 7);
    assert_int_equal(rows(row, 1), 1);
    assert_true(coherence_prolong(world.a.worker[1], &row[0], clock_usec() + 500 * MSEC));
    run_for(&world.loop, 300);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    assert_int_equal(rows(row, 1), 1);
    run_for(&world.loop, 300);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
    assert_int_equal(rows(row, 1), 0);
    assert_false(coherence_prolong(world.a.worker[1], &row[0], clock_usec() + 500 * MSEC));
    assert_false(coherence_prove(world.a.worker[1], &row[0]));
}

static void more_rows_than_there_is_room_for_hold_everything(void **state)
{
    char name[16];
    for (unsigned i = 0; i < 1100; i++) {
        snprintf(name, sizeof name, "n%u", i);
        unproven(&world.a, name, name, i + 1);
    }
    assert_int_equal(just_look(&world.a, "untouched", NULL), LOOK_HELD);
    struct coherence_gauges gauges;
    coherence_gauges(world.a.coherence, clock_usec(), &gauges);
    assert_int_equal(gauges.unproven, COHERENCE_UNPROVEN_MAX);
}

static void everything_can_be_made_new(void **state)
{
    struct fingerprint before, after;
    just_look(&world.a, "x", &before);
    assert_true(coherence_everything(world.a.worker[0], 0));
    assert_int_equal(just_look(&world.a, "x", &after), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, after));
    assert_true(coherence_everything(world.a.worker[0], 200 * MSEC));
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    run_for(&world.loop, 250);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
}

static void a_running_write_holds_also_where_the_quarantine_is_zero(void **state)
{
    struct write_hold hold;
    world.conf.process.quarantine = 0;
    coherence_worker_configure(world.a.worker[0], &world.conf);
    open_write(&world.a, &hold, "x");
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_HELD);
    close_write(&hold, PROOF_NONE);
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
}

/* ---- threads ---- */

struct racer {
    pthread_t thread;
    struct loop loop;
    struct coherence_worker *worker;
    unsigned number;
};

static void never(void *arg)
{
    abort();
}

/* Writes without a proof, and proofs of all that is seen, beside the others; reads in between. */
static void *race(void *arg)
{
    struct racer *racer = arg;
    struct coherence_names names = names_of(racer->number % 2 ? "x" : "y");
    struct unproven_hold row[COHERENCE_UNPROVEN_MAX];
    for (unsigned i = 1; i <= 2000; i++) {
        struct write_hold hold;
        struct look look;
        loop_touch(&racer->loop);
        if (!coherence_open(racer->worker, &hold, &names, never, NULL))
            abort();
        hold.collection = STR("c");
        hold.operation_id = i;
        hold.acknowledged = true;
        coherence_close(&hold, PROOF_NONE, never, NULL);
        look_cells(racer->worker, &look, &names);
        unsigned n = coherence_unproven(racer->worker, row);
        for (unsigned k = 0; k < n; k++)
            coherence_prove(racer->worker, &row[k]);
    }
    return NULL;
}

static void proofs_and_new_holds_may_race(void **state)
{
    struct racer racer[3];
    struct unproven_hold row[8];
    for (unsigned i = 0; i < 3; i++) {
        loop_init(&racer[i].loop);
        racer[i].number = i;
        racer[i].worker = coherence_worker_open(world.a.coherence, &racer[i].loop, &world.conf);
        assert_int_equal(pthread_create(&racer[i].thread, NULL, race, &racer[i]), 0);
    }
    for (unsigned i = 0; i < 3; i++) {
        pthread_join(racer[i].thread, NULL);
        coherence_worker_close(&racer[i].worker);
        loop_fini(&racer[i].loop);
    }
    unsigned n = rows(row, 8);
    for (unsigned k = 0; k < n; k++)
        assert_true(coherence_prove(world.a.worker[0], &row[k]));
    assert_int_equal(just_look(&world.a, "x", NULL), LOOK_CLEAR);
    assert_int_equal(just_look(&world.a, "y", NULL), LOOK_CLEAR);
}

/* ---- over Redis ---- */

static void a_proof_of_one_process_ends_the_hold_in_the_other(void **state)
{
    struct unproven_hold row[1];
    char answer[64];
    both_up();
    for (unsigned i = 1; i <= 5; i++)
        unproven(&world.a, "x", "x", i);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    redis_say(&world.server, "EVAL \"return redis.call('zcard',redis.call('keys','quiver:*:w:*')[1])\" 0",
              answer, sizeof answer);
    assert_string_equal(answer, ":1"); /* a stream of them does not grow there either */
    assert_int_equal(rows(row, 1), 1);
    assert_true(coherence_prove(world.a.worker[0], &row[0]));
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 1000));
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 1000));
}

static void a_map_is_the_same_for_reads_and_writes_and_ends_when_the_other_changes_names(void **state)
{
    struct write_hold hold;
    struct unproven_hold row[2];
    both_up();
    struct fingerprint before = map_seen(&world.a); /* also gives "@names" its first token */
    open_write(&world.a, &hold, "x");
    assert_true(fingerprint_eq(hold.map, before));
    close_write(&hold, PROOF_COMPLETED);
    unproven_by_alias(&world.a, NULL);
    assert_int_equal(rows(row, 2), 1);
    assert_true(row[0].acknowledged);
    unproven_by_alias(&world.a, &world.b);
    assert_int_equal(rows(row, 2), 1);
    assert_false(row[0].acknowledged);
    assert_false(fingerprint_eq(before, map_seen(&world.a)));
}

/* The row is there as soon as Qdrant has answered; what its alias stood for Redis tells a round trip later. */
static void a_write_through_an_alias_is_not_proven_before_its_close_was_told(void **state)
{
    struct unproven_hold row[2];
    struct write_hold hold;
    both_up();
    map_seen(&world.a);
    for (unsigned changed = 0; changed < 2; changed++) {
        open_write(&world.a, &hold, "x");
        if (changed)
            completed(&world.b, "@names", "", false);
        hold.collection = STR("y");
        hold.by_alias = hold.acknowledged = true;
        hold.operation_id = 7;
        unsigned closed = 0;
        assert_false(coherence_close(&hold, PROOF_NONE, count, &closed));
        assert_int_equal(rows(row, 2), 1);
        assert_true(row[0].acknowledged);
        assert_false(coherence_prove(world.a.worker[0], &row[0]));
        assert_true(run_until(&world.loop, counted, &closed, 1000));
        assert_int_equal(coherence_prove(world.a.worker[0], &row[0]), !changed);
    }
}

static void a_proof_that_comes_while_the_close_is_told_ends_the_hold_all_the_same(void **state)
{
    struct unproven_hold row[1];
    struct write_hold hold;
    both_up();
    open_write(&world.a, &hold, "x");
    hold.collection = STR("x");
    hold.acknowledged = true;
    hold.operation_id = 7;
    unsigned closed = 0;
    assert_false(coherence_close(&hold, PROOF_NONE, count, &closed));
    assert_int_equal(rows(row, 1), 1);
    assert_true(coherence_prove(world.a.worker[0], &row[0]));
    assert_true(run_until(&world.loop, counted, &closed, 1000));
    assert_true(becomes(&world.a, "x", LOOK_CLEAR, 1000));
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 1000));
}

static void a_prolonged_hold_is_prolonged_in_the_other_too(void **state)
{
    struct unproven_hold row[1];
    world.conf.process.quarantine = 300 * MSEC;
    both_up();
    unproven(&world.a, "x", "x", 1);
    assert_int_equal(rows(row, 1), 1);
    assert_true(coherence_prolong(world.a.worker[0], &row[0], clock_usec() + 1000 * MSEC));
    run_for(&world.loop, 600);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 1500));
}

static void making_everything_new_reaches_the_other(void **state)
{
    struct fingerprint before, after;
    both_up();
    just_look(&world.b, "x", &before);
    assert_true(coherence_everything(world.a.worker[0], 400 * MSEC));
    run_for(&world.loop, 50);
    assert_int_equal(just_look(&world.b, "x", NULL), LOOK_HELD);
    assert_true(becomes(&world.b, "x", LOOK_CLEAR, 1500));
    just_look(&world.b, "x", &after);
    assert_false(fingerprint_eq(before, after));
}

#define ALONE(test) cmocka_unit_test_setup_teardown(test, open_alone, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ALONE(a_stream_of_acknowledged_writes_is_one_row),
        ALONE(a_proof_ends_what_was_seen_and_nothing_else),
        ALONE(another_hold_on_the_same_name_stays),
        ALONE(a_later_completed_write_is_a_barrier_where_the_collection_has_one_shard),
        ALONE(a_barrier_proves_nothing_about_writes_that_it_overlapped),
        ALONE(a_write_is_told_under_which_map_it_ran),
        ALONE(a_write_through_an_alias_is_not_proven_when_names_changed_meanwhile),
        ALONE(what_others_learn_later_stays_held_for_so_long),
        ALONE(a_hold_may_be_prolonged_and_then_ends_then),
        ALONE(more_rows_than_there_is_room_for_hold_everything),
        ALONE(everything_can_be_made_new),
        ALONE(a_running_write_holds_also_where_the_quarantine_is_zero),
        ALONE(proofs_and_new_holds_may_race),
        IN_A_WORLD(a_proof_of_one_process_ends_the_hold_in_the_other),
        IN_A_WORLD(a_map_is_the_same_for_reads_and_writes_and_ends_when_the_other_changes_names),
        IN_A_WORLD(a_write_through_an_alias_is_not_proven_before_its_close_was_told),
        IN_A_WORLD(a_proof_that_comes_while_the_close_is_told_ends_the_hold_all_the_same),
        IN_A_WORLD(a_prolonged_hold_is_prolonged_in_the_other_too),
        IN_A_WORLD(making_everything_new_reaches_the_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
