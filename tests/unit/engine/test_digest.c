#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "engine/digest.h"

static struct digest_key key_of(const char *collection, const char *filter)
{
    return (struct digest_key){.op = &ops[OP_SEARCH], .collection = str_of(collection), .filter = str_of(filter)};
}

static void count(struct digests *d, unsigned worker, const char *collection, const char *filter, uint64_t usec)
{
    struct digest_key key = key_of(collection, filter);
    struct digest_sample sample = {.usec = usec, .now = 7, .ok = true};
    digests_count(d, worker, &key, &sample);
}

/* What is told of a collection ("" and NULL: of "other"). */
struct found {
    const char *collection;
    unsigned n_rows;
    struct digest_sums sums;
    char filter[64];
};

static void look(const struct digest_row *row, void *arg)
{
    struct found *f = arg;
    bool wanted = row->key ? f->collection && str_eq(row->key->collection, str_of(f->collection)) : !f->collection;
    f->n_rows += row->key != NULL;
    if (!wanted)
        return;
    f->sums = row->sums;
    if (row->key && row->key->filter.p)
        snprintf(f->filter, sizeof f->filter, "%.*s", STR_ARG(row->key->filter));
}

static struct found find(const struct digests *d, const char *collection)
{
    struct found f = {.collection = collection};
    digests_each(d, look, &f);
    return f;
}

static void queries_of_one_shape_share_a_row_over_all_workers(void **state)
{
    struct digests *d = digests_new(10, 2);
    char name[] = "mixtral", filter[] = "must[has_id]";
    count(d, 0, name, filter, 100);
    count(d, 1, name, filter, 3000);
    memset(name, 'x', 7); /* the row has a copy */
    memset(filter, 'x', 12);
    struct found f = find(d, "mixtral");
    assert_int_equal(f.n_rows, 1);
    assert_int_equal(f.sums.count, 2);
    assert_int_equal(f.sums.slowest, 3000);
    assert_int_equal(f.sums.usec.sum_usec, 3100);
    assert_int_equal(f.sums.last, 7);
    assert_string_equal(f.filter, "must[has_id]");
    digests_put(&d);
}

static void each_part_of_a_key_makes_another_row(void **state)
{
    struct digests *d = digests_new(10, 1);
    struct digest_sample sample = {.ok = true};
    struct digest_key keys[6];
    for (unsigned i = 0; i < 6; i++)
        keys[i] = key_of("c", "f");
    keys[1].collection = STR("d");
    keys[2].filter = STR("");
    keys[3].filter = STR_NONE; /* not read is not none */
    keys[4].op = &ops[OP_SCROLL];
    keys[5].knobs = 1;
    for (unsigned twice = 0; twice < 2; twice++)
        for (unsigned i = 0; i < 6; i++)
            digests_count(d, 0, &keys[i], &sample);
    assert_int_equal(find(d, NULL).n_rows, 6);
    assert_int_equal(find(d, "d").sums.count, 2);
    digests_put(&d);
}

static void what_finds_no_room_is_counted_as_other(void **state)
{
    struct digests *d = digests_new(2, 1);
    unsigned max;
    for (unsigned i = 0; i < 3; i++) {
        count(d, 0, "a", "", 1);
        count(d, 0, "b", "", 1);
        count(d, 0, "c", "", 50);
        count(d, 0, "d", "", 60);
    }
    assert_int_equal(digests_rows(d, &max), 2);
    assert_int_equal(max, 2);
    assert_int_equal(find(d, "a").sums.count, 3);
    assert_int_equal(find(d, "c").sums.count, 0);
    assert_int_equal(find(d, NULL).sums.count, 6);
    assert_int_equal(find(d, NULL).sums.slowest, 60);
    digests_put(&d);
    d = digests_new(0, 1);
    count(d, 0, "a", "", 1);
    assert_int_equal(find(d, NULL).sums.count, 1);
    digests_put(&d);
    count(d, 0, "a", "", 1); /* NULL: nothing is counted */
}

static void what_never_succeeded_has_no_row(void **state)
{
    struct digests *d = digests_new(10, 1);
    struct digest_key key = key_of("nope", "");
    struct digest_sample failed = {.ok = false}, good = {.ok = true, .cache = DIGEST_HIT}, miss = {.ok = true, .cache = DIGEST_MISS};
    digests_count(d, 0, &key, &failed);
    assert_int_equal(find(d, NULL).n_rows, 0);
    assert_int_equal(find(d, NULL).sums.errors, 1);
    digests_count(d, 0, &key, &good);
    digests_count(d, 0, &key, &miss);
    digests_count(d, 0, &key, &failed);
    struct found f = find(d, "nope");
    assert_int_equal(f.sums.count, 3);
    assert_int_equal(f.sums.errors, 1);
    assert_int_equal(f.sums.lookups, 2);
    assert_int_equal(f.sums.hits, 1);
    digests_put(&d);
}

enum { THREADS = 4, ROUNDS = 20000, SHAPES = 150 };

struct counter {
    struct digests *d;
    unsigned worker;
};

static void *count_many(void *arg)
{
    struct counter *c = arg;
    char filter[32];
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(filter, sizeof filter, "shape%u", (i * 7 + c->worker) % SHAPES);
        count(c->d, c->worker, "c", filter, i % 100);
    }
    return NULL;
}

static void sum_counts(const struct digest_row *row, void *arg)
{
    uint64_t *sums = arg;
    sums[row->key == NULL] += row->sums.count;
    sums[2] += row->sums.usec.n;
}

/* More shapes than rows, all threads at once, somebody reading meanwhile: no query is lost or counted twice. */
static void threads_that_count_at_once_lose_nothing(void **state)
{
    struct digests *d = digests_new(100, THREADS);
    pthread_t thread[THREADS];
    struct counter c[THREADS];
    unsigned max;
    for (unsigned i = 0; i < THREADS; i++) {
        c[i] = (struct counter){d, i};
        pthread_create(&thread[i], NULL, count_many, &c[i]);
    }
    for (unsigned i = 0; i < 20; i++)
        find(d, "c");
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    uint64_t sums[3] = {0};
    digests_each(d, sum_counts, sums);
    assert_int_equal(sums[0] + sums[1], THREADS * ROUNDS);
    assert_int_equal(sums[2], THREADS * ROUNDS);
    assert_true(sums[1] > 0);
    assert_int_equal(digests_rows(d, &max), 100);
    assert_int_equal(find(d, "c").n_rows, 100);
    digests_put(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(queries_of_one_shape_share_a_row_over_all_workers),
        cmocka_unit_test(each_part_of_a_key_makes_another_row),
        cmocka_unit_test(what_finds_no_room_is_counted_as_other),
        cmocka_unit_test(what_never_succeeded_has_no_row),
        cmocka_unit_test(threads_that_count_at_once_lose_nothing),
    };
    return cmocka_run_group_tests_name("engine/digest", tests, NULL, NULL);
}
