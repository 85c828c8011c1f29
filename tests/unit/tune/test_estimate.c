/* Memory: computed figures beside recorded reports of a real Qdrant, and what a forecast must do at any size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tune/doc.h"
#include "tune/estimate.h"

#define WITHIN 0.30

static void within(const char *what, const char *name, uint64_t estimated, uint64_t reported)
{
    double off = ((double)estimated - (double)reported) / (double)reported;
    if (off > WITHIN || off < -WITHIN)
        fail_msg("%s of %s: estimated %llu, reported %llu (%+.0f %%)", what, name,
                 (unsigned long long)estimated, (unsigned long long)reported, off * 100);
}

static void nine_recorded_reports_are_met_within_30_percent(void **state)
{
    FILE *f = fopen("../shared/golden/memory.jsonl", "r");
    char *line = NULL;
    size_t cap = 0;
    unsigned n = 0;
    if (!f)
        skip();
    while (getline(&line, &cap, f) > 0) {
        cJSON *record = cJSON_Parse(line);
        const char *name = doc_text(doc_get(record, "collection"));
        struct estimate e;
        struct memory_report r;
        assert_true(estimate_collection(doc_get(record, "info"), 0, 0, &e));
        assert_true(estimate_read_report(doc_get(record, "memory"), &r));
        within("needed", name, e.needed, r.needed);
        within("good", name, e.good, r.good);
        assert_true(e.index == 0 || e.index < e.good / 10);
        cJSON_Delete(record);
        n++;
    }
    free(line);
    fclose(f);
    assert_int_equal(n, 9);
}

static struct estimate of(const char *vectors, const char *more, uint64_t points)
{
    char text[2000];
    struct estimate e;
    snprintf(text, sizeof text,
             "{\"points_count\": 10, \"indexed_vectors_count\": 10, \"segments_count\": 2, \"config\": "
             "{\"params\": {\"vectors\": %s, \"on_disk_payload\": true}, \"hnsw_config\": {\"m\": 16, "
             "\"on_disk\": false}%s}}",
             vectors, more);
    cJSON *info = cJSON_Parse(text);
    assert_non_null(info);
    assert_true(estimate_collection(info, points, 0, &e));
    cJSON_Delete(info);
    return e;
}

static void a_hundred_million_points_need_64_bits(void **state)
{
    struct estimate e =
        of("{\"size\": 4096}", ", \"quantization_config\": {\"scalar\": {\"always_ram\": true}}", 100000000);
    assert_true(e.vectors >= UINT64_C(1638400000000) && e.vectors < UINT64_C(1640000000000));
    assert_true(e.quantized == UINT64_C(410000000000));
    assert_true(e.needed > e.quantized && e.needed < UINT64_C(420000000000));
    assert_true(e.index > UINT64_C(6000000000) && e.index < UINT64_C(20000000000));
}

static void what_is_beyond_64_bits_saturates(void **state)
{
    struct estimate e = of("{\"size\": 65536}", "", UINT64_C(1) << 50);
    assert_true(e.good == UINT64_MAX);
}

static void quantization_kinds_take_what_they_say(void **state)
{
    static const struct {
        const char *config;
        uint64_t each;
    } cases[] = {
        {"{\"scalar\": {\"type\": \"int8\"}}", 1028},
        {"{\"product\": {\"compression\": \"x4\"}}", 1024},
        {"{\"product\": {\"compression\": \"x64\"}}", 64},
        {"{\"binary\": {}}", 128},
        {"{\"binary\": {\"encoding\": \"two_bits\"}}", 256},
        {"{\"turbo\": {\"bits\": \"bits2\"}}", 260},
        {"null", 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char more[200];
        snprintf(more, sizeof more, ", \"quantization_config\": %s", cases[i].config);
        struct estimate e = of("{\"size\": 1024}", more, 1000000);
        assert_int_equal(e.quantized, cases[i].each * 1000000);
        assert_int_equal(e.needed, e.ids); /* not always_ram: it may be evicted */
    }
}

static void placement_on_disk_needs_nothing_in_memory(void **state)
{
    struct estimate warm = of("{\"size\": 1024}", "", 1000000),
                    cold = of("{\"size\": 1024, \"on_disk\": true}", "", 1000000);
    struct estimate half = of("{\"size\": 1024, \"datatype\": \"float16\"}", "", 1000000);
    assert_true(warm.vectors > UINT64_C(4096000000));
    assert_int_equal(cold.vectors, 0);
    assert_true(half.vectors < warm.vectors * 6 / 10);
    cold = of("{\"size\": 1024, \"memory\": \"cold\"}", "", 1000000);
    assert_int_equal(cold.vectors, 0);
    cold = of("{\"size\": 1024, \"on_disk\": true, \"memory\": \"cached\"}", "", 1000000); /* memory wins */
    assert_int_equal(cold.vectors, warm.vectors);
}

static void named_vectors_are_added_up_and_their_own_settings_win(void **state)
{
    struct estimate e = of("{\"a\": {\"size\": 1024}, \"b\": {\"size\": 512, \"quantization_config\": "
                           "{\"binary\": {\"always_ram\": true}}}}",
                           ", \"quantization_config\": {\"scalar\": {}}", 1000000);
    assert_int_equal(e.quantized, (1028 + 64) * UINT64_C(1000000));
    assert_int_equal(e.needed, e.ids + 64000000);
}

static void one_point_more_takes_its_vectors_and_what_comes_to_them(void **state)
{
    cJSON *info = cJSON_Parse("{\"points_count\": 10, \"indexed_vectors_count\": 10, \"segments_count\": 2, \"config\": {\"params\": "
                              "{\"vectors\": {\"size\": 1024}, \"on_disk_payload\": true}, \"hnsw_config\": {\"m\": 16}, "
                              "\"quantization_config\": {\"scalar\": {\"always_ram\": true}}}}");
    uint64_t point, vectors;
    estimate_point(info, &point, &vectors);
    assert_int_equal(vectors, 4096);
    assert_true(point > 4096 + 1028 && point < 4096 + 1028 + 250);
    estimate_point(NULL, &point, &vectors);
    assert_true(point == 0 && vectors == 0);
    cJSON_Delete(info);
}

static void what_is_no_collection_is_refused(void **state)
{
    struct estimate e;
    struct memory_report r;
    cJSON *empty = cJSON_Parse("{\"points_count\": 5}");
    assert_false(estimate_collection(empty, 0, 0, &e));
    assert_false(estimate_collection(NULL, 0, 0, &e));
    assert_false(estimate_read_report(empty, &r));
    cJSON_Delete(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_recorded_reports_are_met_within_30_percent),
        cmocka_unit_test(a_hundred_million_points_need_64_bits),
        cmocka_unit_test(what_is_beyond_64_bits_saturates),
        cmocka_unit_test(quantization_kinds_take_what_they_say),
        cmocka_unit_test(placement_on_disk_needs_nothing_in_memory),
        cmocka_unit_test(named_vectors_are_added_up_and_their_own_settings_win),
        cmocka_unit_test(one_point_more_takes_its_vectors_and_what_comes_to_them),
        cmocka_unit_test(what_is_no_collection_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
