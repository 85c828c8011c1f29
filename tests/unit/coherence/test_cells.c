/* Coherence within the process, without Redis: tokens, open writes, holds. The clock is the loop's `now`,
 * set by the test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "coherence/cells.h"
#include "coherence/coherence.h"

enum { QUARANTINE_S = 60 };

struct world {
    struct loop loop;
    struct conf conf;
    struct coherence *coherence;
    struct coherence_worker *worker;
};

static int open_world(void **state)
{
    static struct world world;
    world = (struct world){.conf.process = {.quarantine = QUARANTINE_S * SEC, .redis_budget = 2 * MSEC,
                                            .redis_shared = true}};
    loop_init(&world.loop);
    world.loop.now = 1000 * SEC;
    world.coherence = coherence_new();
    world.worker = coherence_worker_open(world.coherence, &world.loop, &world.conf);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    struct world *world = *state;
    coherence_worker_close(&world->worker);
    coherence_free(&world->coherence);
    loop_fini(&world->loop);
    return 0;
}

static void never(void *arg)
{
    fail_msg("woken without having waited");
}

static struct coherence_names names_of(const char *a, const char *b)
{
    struct coherence_names names = {0};
    coherence_names_add(&names, str_of(a));
    if (b)
        coherence_names_add(&names, str_of(b));
    return names;
}

static enum look_result look_at(struct world *world, const char *a, const char *b, struct fingerprint *f)
{
    struct coherence_names names = names_of(a, b);
    struct look look;
    assert_true(look_start(world->worker, &look, &names, NULL, never, NULL));
    assert_true(look.alone);
    assert_false(look.has_redis);
    if (f)
        *f = look.fingerprint;
    look_cancel(&look);
    return look.result;
}

static void open_write(struct world *world, struct write_hold *hold, const char *a, const char *b)
{
    struct coherence_names names = names_of(a, b);
    assert_true(coherence_open(world->worker, hold, &names, never, NULL));
    assert_true(hold->told);
}

static void nothing_written_keeps_its_fingerprint(void **state)
{
    struct fingerprint a, b, c;
    assert_int_equal(look_at(*state, "x", NULL, &a), LOOK_CLEAR);
    assert_int_equal(look_at(*state, "x", NULL, &b), LOOK_CLEAR);
    assert_true(fingerprint_eq(a, b));
    struct write_hold hold;
    open_write(*state, &hold, "y", NULL);
    assert_int_equal(look_at(*state, "x", NULL, &c), LOOK_CLEAR);
    assert_true(fingerprint_eq(a, c));
    assert_true(coherence_close(&hold, PROOF_COMPLETED, never, NULL));
}

static void an_open_write_holds_and_a_proof_frees_with_a_new_token(void **state)
{
    struct fingerprint before, after;
    struct write_hold hold;
    look_at(*state, "x", NULL, &before);
    open_write(*state, &hold, "x", NULL);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_HELD);
    assert_int_equal(look_at(*state, "y", "x", NULL), LOOK_HELD);
    assert_true(coherence_close(&hold, PROOF_COMPLETED, never, NULL));
    assert_int_equal(look_at(*state, "x", NULL, &after), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, after));
    assert_true(coherence_close(&hold, PROOF_NONE, never, NULL)); /* closed already: nothing happens */
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_CLEAR);
}

static void every_open_write_must_be_closed(void **state)
{
    struct write_hold one, two;
    open_write(*state, &one, "x", NULL);
    open_write(*state, &two, "x", NULL);
    coherence_close(&one, PROOF_COMPLETED, never, NULL);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_HELD);
    coherence_close(&two, PROOF_REFUSED, never, NULL);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_CLEAR);
}

static void without_a_proof_the_hold_stays_for_the_quarantine(void **state)
{
    struct world *world = *state;
    struct write_hold hold;
    open_write(world, &hold, "x", NULL);
    coherence_close(&hold, PROOF_NONE, never, NULL);
    world->loop.now += QUARANTINE_S * SEC - 1;
    assert_int_equal(look_at(world, "x", NULL, NULL), LOOK_HELD);
    world->loop.now += 1;
    assert_int_equal(look_at(world, "x", NULL, NULL), LOOK_CLEAR);
}

static void an_open_write_holds_longer_than_the_quarantine(void **state)
{
    struct world *world = *state;
    struct write_hold hold;
    open_write(world, &hold, "x", NULL);
    world->loop.now += 10 * QUARANTINE_S * SEC;
    assert_int_equal(look_at(world, "x", NULL, NULL), LOOK_HELD);
    coherence_close(&hold, PROOF_COMPLETED, never, NULL);
    assert_int_equal(look_at(world, "x", NULL, NULL), LOOK_CLEAR);
}

static void a_later_proof_does_not_end_the_hold_of_another_write(void **state)
{
    struct write_hold one, two;
    open_write(*state, &one, "x", NULL);
    coherence_close(&one, PROOF_NONE, never, NULL);
    open_write(*state, &two, "x", NULL);
    coherence_close(&two, PROOF_COMPLETED, never, NULL);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_HELD);
}

static void a_rejection_is_final_only_where_the_owner_says_so(void **state)
{
    struct write_hold hold;
    open_write(*state, &hold, "x", NULL);
    hold.rejection_is_final = true;
    coherence_close(&hold, PROOF_REJECTED, never, NULL);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_CLEAR);
    open_write(*state, &hold, "x", NULL);
    coherence_close(&hold, PROOF_REJECTED, never, NULL);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_HELD);
}

static void cancel_closes_without_a_proof(void **state)
{
    struct write_hold hold;
    open_write(*state, &hold, "x", NULL);
    coherence_cancel(&hold);
    coherence_cancel(&hold);
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_HELD);
    assert_int_equal(coherence_worker_stats(((struct world *)*state)->worker)->unproven, 1);
}

static void a_write_of_many_names_opens_each(void **state)
{
    struct write_hold hold;
    open_write(*state, &hold, "@names", "x");
    assert_int_equal(look_at(*state, "x", NULL, NULL), LOOK_HELD);
    assert_int_equal(look_at(*state, "@names", NULL, NULL), LOOK_HELD);
    assert_int_equal(look_at(*state, "y", NULL, NULL), LOOK_CLEAR);
    coherence_close(&hold, PROOF_COMPLETED, never, NULL);
}

static void more_names_than_fit_mean_everything(void **state)
{
    struct world *world = *state;
    struct coherence_names names = {0};
    char text[COHERENCE_NAMES_MAX + 1][8];
    for (unsigned i = 0; i <= COHERENCE_NAMES_MAX; i++) {
        snprintf(text[i], sizeof text[i], "c%u", i);
        coherence_names_add(&names, str_of(text[i]));
        coherence_names_add(&names, str_of(text[i])); /* counts once */
    }
    assert_true(names.all);
    struct fingerprint before, after;
    look_at(world, "other", NULL, &before);
    struct write_hold hold;
    assert_true(coherence_open(world->worker, &hold, &names, never, NULL));
    assert_int_equal(look_at(world, "other", NULL, NULL), LOOK_HELD);
    coherence_close(&hold, PROOF_COMPLETED, never, NULL);
    assert_int_equal(look_at(world, "other", NULL, &after), LOOK_CLEAR);
    assert_false(fingerprint_eq(before, after));
    struct look look;
    assert_true(look_start(world->worker, &look, &names, NULL, never, NULL));
    assert_int_equal(look.result, LOOK_HELD); /* nobody may cache what depends on more than can be followed */
    look_cancel(&look);
}

static void the_secret_is_the_process_own(void **state)
{
    struct world *world = *state;
    unsigned char one[COHERENCE_SECRET], two[COHERENCE_SECRET];
    unsigned version = coherence_secret(world->coherence, one);
    assert_int_equal(version, coherence_secret_version(world->coherence));
    struct coherence *other = coherence_new();
    coherence_secret(other, two);
    assert_memory_not_equal(one, two, sizeof one);
    coherence_free(&other);
}

/* Threads write and read one register under the cells' protocol: what a reader may serve from its cache is
 * never older than what had been acknowledged when it looked. */
struct race {
    struct cells *cells;
    struct name_id name;
    _Atomic uint64_t value, acknowledged; /* the peer's state; what a writer's client has been told */
    _Atomic uint64_t cached_token, cached_value;
    _Atomic bool stop;
    _Atomic unsigned hits, stale;
    pthread_mutex_t lock;                 /* over cached_*: the store's own lock */
};

static void *write_it(void *arg)
{
    struct race *race = arg;
    for (unsigned i = 0; i < 30000; i++) {
        cells_open(race->cells, &race->name, 1);
        uint64_t v = atomic_fetch_add(&race->value, 1) + 1;
        cells_close(race->cells, &race->name, 1, 0);
        uint64_t was = atomic_load(&race->acknowledged);
        while (was < v && !atomic_compare_exchange_weak(&race->acknowledged, &was, v))
            ;
        for (unsigned k = 0; k < 300; k++)
            atomic_load(&race->stop); /* let readers have a quiet moment */
    }
    return NULL;
}

static void *read_it(void *arg)
{
    struct race *race = arg;
    while (!atomic_load(&race->stop)) {
        uint64_t told = atomic_load(&race->acknowledged), token;
        if (!cells_look(race->cells, &race->name, 1, 0, &token))
            continue;
        pthread_mutex_lock(&race->lock);
        bool hit = atomic_load(&race->cached_token) == token;
        uint64_t v = atomic_load(&race->cached_value);
        pthread_mutex_unlock(&race->lock);
        if (hit) {
            atomic_fetch_add(&race->hits, 1);
            if (v < told)
                atomic_fetch_add(&race->stale, 1);
            continue;
        }
        v = atomic_load(&race->value); /* the miss goes to the peer */
        pthread_mutex_lock(&race->lock);
        atomic_store(&race->cached_token, token);
        atomic_store(&race->cached_value, v);
        pthread_mutex_unlock(&race->lock);
    }
    return NULL;
}

static void racing_threads_never_serve_what_is_stale(void **state)
{
    static struct race race;
    race = (struct race){.cells = cells_new(), .name = name_id_of(STR("x")), .cached_token = 1,
                         .lock = PTHREAD_MUTEX_INITIALIZER};
    pthread_t writer[2], reader[2];
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&writer[i], NULL, write_it, &race), 0);
        assert_int_equal(pthread_create(&reader[i], NULL, read_it, &race), 0);
    }
    for (unsigned i = 0; i < 2; i++)
        pthread_join(writer[i], NULL);
    atomic_store(&race.stop, true);
    for (unsigned i = 0; i < 2; i++)
        pthread_join(reader[i], NULL);
    print_message("%u hits, %u stale\n", race.hits, race.stale);
    assert_int_equal(race.stale, 0);
    assert_true(race.hits > 0);
    cells_free(&race.cells);
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(nothing_written_keeps_its_fingerprint),
        IN_A_WORLD(an_open_write_holds_and_a_proof_frees_with_a_new_token),
        IN_A_WORLD(every_open_write_must_be_closed),
        IN_A_WORLD(without_a_proof_the_hold_stays_for_the_quarantine),
        IN_A_WORLD(an_open_write_holds_longer_than_the_quarantine),
        IN_A_WORLD(a_later_proof_does_not_end_the_hold_of_another_write),
        IN_A_WORLD(a_rejection_is_final_only_where_the_owner_says_so),
        IN_A_WORLD(cancel_closes_without_a_proof),
        IN_A_WORLD(a_write_of_many_names_opens_each),
        IN_A_WORLD(more_names_than_fit_mean_everything),
        IN_A_WORLD(the_secret_is_the_process_own),
        cmocka_unit_test(racing_threads_never_serve_what_is_stale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
