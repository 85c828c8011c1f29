/* The memory store: what it answers, what it evicts, and that threads may use it together. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "plugins/cache/store.h"

static const struct fingerprint F1 = {1, 1}, F2 = {2, 2};

static uint64_t mix(uint64_t x) /* spreads small numbers over 64 bits, as the real key's hash does */
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static struct store_key key_of(uint64_t n)
{
    return (struct store_key){.hi = mix(n), .lo = mix(n ^ 0xabcdef0123456789u), .n_body = 100, .op = 7};
}

static struct blob *answer(size_t n, char fill)
{
    struct blob *blob = blob_new(n);
    memset(blob->bytes, fill, n);
    return blob;
}

static bool put(struct store *store, uint64_t n, unsigned model, size_t size, uint64_t now, uint64_t ttl)
{
    struct store_key key = key_of(n);
    struct blob *blob = answer(size, (char)('a' + n % 26));
    bool kept = store_put(store, &key, F1, model, blob, now, now, ttl);
    blob_put(&blob);
    return kept;
}

static enum store_miss get(struct store *store, uint64_t n, struct fingerprint f, uint64_t now)
{
    struct store_key key = key_of(n);
    struct store_hit hit;
    enum store_miss how = store_get(store, &key, f, now, &hit);
    if (how == STORE_HIT) {
        assert_int_equal(hit.blob->bytes[0], 'a' + n % 26);
        blob_put(&hit.blob);
    }
    return how;
}

static void an_entry_expires_exactly_at_its_ttl(void **state)
{
    struct store *store = store_new(1 << 20);
    assert_true(put(store, 1, 0, 100, 0, 30 * SEC));
    assert_int_equal(get(store, 1, F1, 30 * SEC - 1), STORE_HIT);
    assert_int_equal(get(store, 1, F1, 30 * SEC), STORE_EXPIRED);
    assert_int_equal(get(store, 1, F1, 30 * SEC), STORE_ABSENT);
    store_free(&store);
}

static void other_tokens_do_not_find_it(void **state)
{
    struct store *store = store_new(1 << 20);
    assert_true(put(store, 1, 0, 100, 0, SEC));
    assert_int_equal(get(store, 1, F2, 0), STORE_OUTDATED);
    assert_int_equal(get(store, 1, F1, 0), STORE_HIT);
    store_free(&store);
}

static void equal_hashes_of_other_requests_do_not_find_it(void **state)
{
    struct store *store = store_new(1 << 20);
    assert_true(put(store, 1, 0, 100, 0, SEC));
    struct store_hit hit;
    struct store_key longer = key_of(1), other_op = key_of(1);
    longer.n_body++;
    other_op.op++;
    assert_int_equal(store_get(store, &longer, F1, 0, &hit), STORE_ABSENT);
    assert_int_equal(store_get(store, &other_op, F1, 0, &hit), STORE_ABSENT);
    store_free(&store);
}

static void a_hit_tells_when_it_was_stored(void **state)
{
    struct store *store = store_new(1 << 20);
    struct store_key key = key_of(5);
    struct blob *blob = answer(10, 'x');
    assert_true(store_put(store, &key, F1, 0, blob, 3 * SEC, 5 * SEC, 10 * SEC));
    assert_true(store_has(store, &key, 6 * SEC));
    assert_false(store_has(store, &key, 15 * SEC));
    struct store_hit hit;
    assert_int_equal(store_get(store, &key, F1, 6 * SEC, &hit), STORE_HIT);
    assert_ptr_equal(hit.blob, blob);
    assert_int_equal(hit.stored_at, 3 * SEC);
    assert_int_equal(hit.expires_at, 15 * SEC);
    blob_put(&hit.blob);
    store_free(&store);
    assert_int_equal(blob->bytes[0], 'x'); /* the caller's reference is its own */
    blob_put(&blob);
}

static void a_second_put_replaces(void **state)
{
    struct store *store = store_new(1 << 20);
    assert_true(put(store, 1, 0, 100, 0, SEC));
    assert_true(put(store, 1, 3, 200, 0, SEC));
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.entries, 1);
    store_model_stats(store, 0, &stats);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.bytes, 0);
    store_model_stats(store, 3, &stats);
    assert_int_equal(stats.entries, 1);
    store_free(&store);
}

static void bytes_never_exceed_the_limit(void **state)
{
    const size_t max = 1 << 20;
    struct store *store = store_new(max);
    struct store_stats stats;
    for (unsigned i = 0; i < 5000; i++) {
        put(store, i, i % 3, 100 + mix(i) % 20000, 0, SEC);
        store_stats(store, &stats);
        assert_true(stats.bytes <= max);
    }
    assert_true(stats.bytes > max * 9 / 10);
    assert_true(stats.evictions > 1000);
    assert_int_equal(stats.refused, 0);
    store_free(&store);
}

static void few_large_entries_find_room_in_other_shards(void **state)
{
    const size_t max = 1 << 20;
    struct store *store = store_new(max);
    for (unsigned i = 0; i < 300; i++)
        assert_true(put(store, i, 0, 120000, 0, SEC));
    struct store_stats stats;
    store_stats(store, &stats);
    assert_in_range(stats.entries, 7, 8);
    store_free(&store);
}

static void what_is_too_big_is_not_kept(void **state)
{
    struct store *store = store_new(1 << 20);
    assert_true(put(store, 1, 0, (1 << 17) - 300, 0, SEC));
    assert_false(put(store, 2, 0, 1 << 17, 0, SEC));
    struct store_stats stats;
    store_stats(store, &stats);
    assert_int_equal(stats.refused, 1);
    store_free(&store);
}

static void a_model_stays_within_its_share(void **state)
{
    struct store *store = store_new(1 << 20);
    store_set_share(store, 1, 1 << 18);
    struct store_stats stats;
    for (unsigned i = 0; i < 2000; i++) {
        put(store, i, 1, 1000, 0, SEC);
        store_model_stats(store, 1, &stats);
        assert_true(stats.bytes <= 1 << 18);
    }
    assert_true(stats.bytes > (1 << 18) * 9 / 10);
    store_set_share(store, 1, 1 << 16);
    store_model_stats(store, 1, &stats);
    assert_true(stats.bytes <= 1 << 16);
    store_free(&store);
}

static void a_flood_by_one_model_costs_that_model(void **state)
{
    struct store *store = store_new(1 << 20);
    for (unsigned i = 0; i < 200; i++)
        put(store, i, 1, 1000, 0, SEC); /* about a quarter */
    for (unsigned i = 10000; i < 30000; i++)
        put(store, i, 2, 1000, 0, SEC);
    unsigned left = 0;
    for (unsigned i = 0; i < 200; i++)
        left += get(store, i, F1, 0) == STORE_HIT;
    assert_true(left > 180);
    store_free(&store);
}

static void a_scan_passes_through_without_emptying_it(void **state)
{
    struct store *store = store_new(1 << 20);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 300; i++)
            if (get(store, i, F1, 0) != STORE_HIT)
                put(store, i, 0, 1000, 0, SEC);
    unsigned before = 0, after = 0;
    for (unsigned i = 0; i < 300; i++)
        before += get(store, i, F1, 0) == STORE_HIT;
    for (unsigned i = 100000; i < 105000; i++)
        put(store, i, 0, 1000, 0, SEC);
    for (unsigned i = 0; i < 300; i++)
        after += get(store, i, F1, 0) == STORE_HIT;
    assert_int_equal(before, 300);
    assert_true(after > 270);
    store_free(&store);
}

static void resize_and_purge_give_memory_back(void **state)
{
    struct store *store = store_new(1 << 20);
    for (unsigned i = 0; i < 1000; i++)
        put(store, i, i % 2, 500, 0, SEC);
    store_resize(store, 1 << 18);
    struct store_stats stats;
    store_stats(store, &stats);
    assert_true(stats.bytes <= 1 << 18 && stats.bytes > 1 << 17);
    store_model_stats(store, 1, &stats);
    size_t entries = stats.entries;
    assert_true(entries > 50);
    assert_int_equal(store_purge_model(store, 1), entries);
    assert_true(store_purge(store) > 50);
    store_stats(store, &stats);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.entries, 0);
    store_free(&store);
}

static void a_store_that_grows_keeps_its_entries_and_finds_them(void **state)
{
    struct store *store = store_new(1 << 20);
    for (unsigned i = 0; i < 500; i++)
        assert_true(put(store, i, 0, 500, 0, SEC));
    store_resize(store, 64 << 20);
    for (unsigned i = 500; i < 20000; i++)
        assert_true(put(store, i, 0, 500, 0, SEC));
    for (unsigned i = 0; i < 20000; i++)
        assert_int_equal(get(store, i, F1, 0), STORE_HIT);
    store_free(&store);
}

/* 100,000 requests from cold over 10,000 searches, Zipf s = 1; the share of hits. */
static double zipf_hits(size_t room)
{
    enum { N = 10000, REQUESTS = 100000 };
    const size_t size = 1000;
    struct store *store = store_new(1 << 20);
    struct store_stats stats;
    put(store, 0, 0, size, 0, SEC);
    store_stats(store, &stats);
    store_free(&store);
    store = store_new(room * stats.bytes); /* what one entry is charged with, times the room */
    double *sum = mem_alloc(N * sizeof *sum), total = 0;
    for (unsigned i = 0; i < N; i++)
        sum[i] = total += 1.0 / (i + 1);
    uint64_t random = 42;
    unsigned hits = 0;
    for (unsigned r = 0; r < REQUESTS; r++) {
        random = mix(random);
        double x = (double)(random >> 11) / (double)(UINT64_C(1) << 53) * total;
        unsigned low = 0, high = N - 1;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            if (sum[middle] < x)
                low = middle + 1;
            else
                high = middle;
        }
        if (get(store, low, F1, r) == STORE_HIT)
            hits++;
        else
            put(store, low, 0, size, r, 3600 * SEC);
    }
    store_stats(store, &stats);
    print_message("room for %zu: %u of %u, %lu entries\n", room, hits, (unsigned)REQUESTS,
                  (unsigned long)stats.entries);
    assert_true(stats.entries <= room);
    free(sum);
    store_free(&store);
    return (double)hits / REQUESTS;
}

static void zipf_with_room_for_a_tenth_hits_70_percent(void **state)
{
    assert_true(zipf_hits(1000) >= 0.70);
}

static void zipf_with_room_for_all_hits_91_percent(void **state)
{
    assert_true(zipf_hits(12000) >= 0.91);
}

static void *use_it(void *arg)
{
    struct store *store = arg;
    uint64_t random = (uint64_t)(uintptr_t)&random;
    for (unsigned i = 0; i < 60000; i++) {
        random = mix(random);
        uint64_t n = random % 3000;
        struct fingerprint f = random & 4096 ? F1 : F2;
        if (get(store, n, f, i) != STORE_HIT && random & 8192)
            put(store, n, (unsigned)(n % 5), 50 + n, i, 1000 + random % 5000);
        if (i % 10000 == 9999)
            store_purge_model(store, (unsigned)(n % 5));
        if (i % 15000 == 14999)
            store_resize(store, (random & 1 ? 1u : 4u) << 19);
    }
    return NULL;
}

static void threads_use_it_together(void **state)
{
    struct store *store = store_new(1 << 20);
    pthread_t thread[4];
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, use_it, store), 0);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    struct store_stats stats;
    store_purge(store);
    store_stats(store, &stats);
    assert_int_equal(stats.bytes, 0);
    assert_int_equal(stats.entries, 0);
    store_free(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_expires_exactly_at_its_ttl),
        cmocka_unit_test(other_tokens_do_not_find_it),
        cmocka_unit_test(equal_hashes_of_other_requests_do_not_find_it),
        cmocka_unit_test(a_hit_tells_when_it_was_stored),
        cmocka_unit_test(a_second_put_replaces),
        cmocka_unit_test(bytes_never_exceed_the_limit),
        cmocka_unit_test(few_large_entries_find_room_in_other_shards),
        cmocka_unit_test(what_is_too_big_is_not_kept),
        cmocka_unit_test(a_model_stays_within_its_share),
        cmocka_unit_test(a_flood_by_one_model_costs_that_model),
        cmocka_unit_test(a_scan_passes_through_without_emptying_it),
        cmocka_unit_test(resize_and_purge_give_memory_back),
        cmocka_unit_test(a_store_that_grows_keeps_its_entries_and_finds_them),
        cmocka_unit_test(zipf_with_room_for_a_tenth_hits_70_percent),
        cmocka_unit_test(zipf_with_room_for_all_hits_91_percent),
        cmocka_unit_test(threads_use_it_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
