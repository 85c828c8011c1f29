/* Plans: what differs and only that, in one PATCH; and the way back. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tune/doc.h"
#include "tune/plan.h"

/* A collection as Qdrant 1.18.3 shows it; each part may be replaced. */
struct shape {
    const char *vectors, *hnsw, *optimizer, *quantization, *strict;
};

static cJSON *collection(struct shape s)
{
    char text[4000];
    snprintf(
        text, sizeof text,
        "{\"status\": \"green\", \"points_count\": 1000, \"indexed_vectors_count\": 1000, "
        "\"segments_count\": 2, \"config\": "
        "{\"params\": {\"vectors\": %s, \"on_disk_payload\": true}, \"hnsw_config\": %s, "
        "\"optimizer_config\": %s, "
        "\"quantization_config\": %s, \"strict_mode_config\": %s}}",
        s.vectors ? s.vectors : "{\"size\": 4096, \"distance\": \"Cosine\"}",
        s.hnsw ? s.hnsw
               : "{\"m\": 16, \"ef_construct\": 100, \"full_scan_threshold\": 10000, \"on_disk\": false}",
        s.optimizer
            ? s.optimizer
            : "{\"default_segment_number\": 0, \"max_segment_size\": null, \"indexing_threshold\": 10000, "
              "\"max_optimization_threads\": null}",
        s.quantization ? s.quantization : "null", s.strict ? s.strict : "null");
    cJSON *doc = cJSON_Parse(text);
    assert_non_null(doc);
    return doc;
}

static struct conf_model_base nothing(void)
{
    return (struct conf_model_base){
        .index_m = OPT_UNSET,
        .index_ef_construct = OPT_UNSET,
        .index_threads = OPT_UNSET,
        .full_scan_threshold = OPT_UNSET,
        .indexing_threshold = OPT_UNSET,
        .segment_number = OPT_UNSET,
        .max_segment_size = OPT_UNSET,
        .optimizer_threads = OPT_UNSET,
        .quantization_quantile = NAN,
        .strict_max_oversampling = NAN,
    };
}

static void patch_is(const struct plan *p, const char *expected)
{
    cJSON *want = expected ? cJSON_Parse(expected) : NULL;
    char *found = p->patch ? cJSON_PrintUnformatted(p->patch) : NULL;
    assert_true(!expected || want);
    if (!(want ? cJSON_Compare(p->patch, want, true) : !p->patch))
        fail_msg("found    %s\nexpected %s", found ? found : "no patch", expected ? expected : "no patch");
    free(found);
    cJSON_Delete(want);
}

/* Plans, compares, and sees that after the PATCH nothing differs any more. */
static void plans(struct conf_model_base wish, struct shape s, const char *patch, unsigned warnings)
{
    cJSON *info = collection(s), *change;
    struct plan p, again;
    plan_make(&wish, info, &p);
    patch_is(&p, patch);
    assert_int_equal(cJSON_GetArraySize(p.warnings), warnings);
    cJSON_ArrayForEach(change, p.changes) {
        assert_false(plan_holds(change, info));
        assert_true(plan_holds(change, p.after));
    }
    plan_make(&wish, p.after, &again);
    patch_is(&again, NULL);
    plan_fini(&again);
    plan_fini(&p);
    cJSON_Delete(info);
}

static void no_wish_no_patch(void **state)
{
    plans(nothing(), (struct shape){0}, NULL, 0);
    plans(nothing(), (struct shape){.hnsw = "{\"m\": 0}", .quantization = "{\"binary\": {}}"}, NULL, 0);
}

static void what_is_equal_is_not_written(void **state)
{
    struct conf_model_base w = nothing();
    w.index_type = INDEX_HNSW;
    w.index_m = 16;
    w.index_ef_construct = 100;
    w.full_scan_threshold = w.indexing_threshold = 10000;
    w.segment_number = 0;
    w.on_disk = MAYBE_FALSE;
    w.quantization_type = QUANTIZATION_NONE;
    w.vector_size = 4096;
    w.strict_enabled = MAYBE_FALSE;
    plans(w, (struct shape){0}, NULL, 0);
    /* later servers leave out what is at its default */
    plans(w, (struct shape){.hnsw = "{}", .optimizer = "{}"}, NULL, 0);
}

static void only_what_differs_is_written(void **state)
{
    struct conf_model_base w = nothing();
    w.index_m = 16;
    w.index_ef_construct = 200;
    w.indexing_threshold = 1000;
    plans(w, (struct shape){0},
          "{\"hnsw_config\": {\"ef_construct\": 200}, \"optimizers_config\": {\"indexing_threshold\": 1000}}",
          0);
    w = nothing();
    w.optimizer_threads = 2;
    w.segment_number = 4;
    plans(w, (struct shape){0},
          "{\"optimizers_config\": {\"max_optimization_threads\": 2, \"default_segment_number\": 4}}", 0);
    w = nothing();
    w.max_segment_size = 50000; /* unset until now: said */
    plans(w, (struct shape){0}, "{\"optimizers_config\": {\"max_segment_size\": 50000}}", 1);
}

static void quantizations_are_merged_with_what_is_there(void **state)
{
    static const struct {
        unsigned type, always_ram, compression, encoding, bits;
        double quantile;
        const char *is, *patch;
        unsigned warnings;
    } cases[] = {
        {QUANTIZATION_SCALAR, MAYBE_TRUE, 0, 0, 0, NAN, "null",
         "{\"scalar\": {\"type\": \"int8\", \"always_ram\": true}}", 0},
        {QUANTIZATION_SCALAR, MAYBE_TRUE, 0, 0, 0, NAN,
         "{\"scalar\": {\"type\": \"int8\", \"quantile\": 0.99, \"always_ram\": true}}", NULL, 0},
        {QUANTIZATION_SCALAR, MAYBE_TRUE, 0, 0, 0, NAN,
         "{\"scalar\": {\"type\": \"int8\", \"quantile\": 0.99}}",
         "{\"scalar\": {\"type\": \"int8\", \"quantile\": 0.99, \"always_ram\": true}}", 0},
        {QUANTIZATION_SCALAR, 0, 0, 0, 0, 0.95,
         "{\"scalar\": {\"type\": \"int8\", \"quantile\": 0.99, \"always_ram\": true}}",
         "{\"scalar\": {\"type\": \"int8\", \"quantile\": 0.95, \"always_ram\": true}}", 0},
        {QUANTIZATION_SCALAR, MAYBE_FALSE, 0, 0, 0, NAN, "{\"scalar\": {\"type\": \"int8\"}}", NULL, 0},
        {QUANTIZATION_SCALAR, MAYBE_TRUE, 0, 0, 0, NAN,
         "{\"scalar\": {\"type\": \"int8\", \"memory\": \"cached\"}}",
         "{\"scalar\": {\"type\": \"int8\", \"memory\": \"pinned\"}}", 0},
        {QUANTIZATION_PRODUCT, 0, 0, 0, 0, NAN, "null", "{\"product\": {\"compression\": \"x16\"}}", 0},
        {QUANTIZATION_PRODUCT, 0, COMPRESSION_X32, 0, 0, NAN, "{\"product\": {\"compression\": \"x8\"}}",
         "{\"product\": {\"compression\": \"x32\"}}", 0},
        {QUANTIZATION_PRODUCT, 0, 0, 0, 0, NAN, "{\"product\": {\"compression\": \"x8\"}}", NULL, 0},
        {QUANTIZATION_BINARY, MAYBE_TRUE, 0, 0, 0, NAN, "{\"scalar\": {\"type\": \"int8\"}}",
         "{\"binary\": {\"always_ram\": true}}", 0},
        {QUANTIZATION_BINARY, 0, 0, ENCODING_ONE_BIT, 0, NAN, "{\"binary\": {}}", NULL, 0},
        {QUANTIZATION_BINARY, 0, 0, ENCODING_TWO_BITS, 0, NAN, "{\"binary\": {}}",
         "{\"binary\": {\"encoding\": \"two_bits\"}}", 0},
        {QUANTIZATION_TURBO, 0, 0, 0, TURBO_BITS2, NAN, "null", "{\"turbo\": {\"bits\": \"bits2\"}}", 0},
        {QUANTIZATION_NONE, 0, 0, 0, 0, NAN, "{\"turbo\": {}}", "\"Disabled\"", 0},
        {QUANTIZATION_NONE, MAYBE_TRUE, 0, 0, 0, NAN, "null", NULL, 0},
        {QUANTIZATION_UNSET, MAYBE_TRUE, 0, 0, 0, NAN, "{\"binary\": {}}",
         "{\"binary\": {\"always_ram\": true}}", 0},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conf_model_base w = nothing();
        char patch[300];
        w.quantization_type = cases[i].type;
        w.quantization_always_ram = cases[i].always_ram;
        w.quantization_compression = cases[i].compression;
        w.quantization_encoding = cases[i].encoding;
        w.quantization_bits = cases[i].bits;
        w.quantization_quantile = cases[i].quantile;
        snprintf(patch, sizeof patch, "{\"quantization_config\": %s}", cases[i].patch ? cases[i].patch : "");
        plans(w, (struct shape){.quantization = cases[i].is}, cases[i].patch ? patch : NULL,
              cases[i].warnings);
    }
}

static void flat_means_no_graph_and_hnsw_means_one(void **state)
{
    struct conf_model_base w = nothing();
    w.index_type = INDEX_FLAT;
    w.index_ef_construct = 500; /* of no account */
    plans(w, (struct shape){0}, "{\"hnsw_config\": {\"m\": 0}}", 0);
    w = nothing();
    w.index_type = INDEX_HNSW;
    plans(w, (struct shape){.hnsw = "{\"m\": 0}"}, "{\"hnsw_config\": {\"m\": 16}}", 0);
    plans(w, (struct shape){.hnsw = "{\"m\": 8}"}, NULL, 0);
}

static void vectors_lie_where_they_should(void **state)
{
    struct conf_model_base w = nothing();
    w.on_disk = MAYBE_TRUE;
    plans(w, (struct shape){0}, "{\"vectors\": {\"\": {\"on_disk\": true}}}", 0);
    plans(w, (struct shape){.vectors = "{\"size\": 4, \"memory\": \"cached\"}"},
          "{\"vectors\": {\"\": {\"memory\": \"cold\"}}}", 0);
    plans(w, (struct shape){.vectors = "{\"a\": {\"size\": 4}, \"b.c\": {\"size\": 4, \"on_disk\": true}}"},
          "{\"vectors\": {\"a\": {\"on_disk\": true}}}", 0);
}

#define NAMED                                                                                                \
    "{\"a\": {\"size\": 4, \"hnsw_config\": {\"m\": 8}}, \"b.c\": {\"size\": 8, \"quantization_config\": "   \
    "{\"binary\": {}}}}"

static void a_named_vector_gets_its_own_settings(void **state)
{
    struct conf_model_base w = nothing();
    w.vector = "b.c";
    w.vector_size = 8;
    w.index_m = 32;
    w.quantization_type = QUANTIZATION_SCALAR;
    plans(w, (struct shape){.vectors = NAMED},
          "{\"vectors\": {\"b.c\": {\"hnsw_config\": {\"m\": 32}, \"quantization_config\": {\"scalar\": "
          "{\"type\": \"int8\"}}}}}",
          0);
    w.index_m = 16; /* the collection's: inherited */
    w.quantization_type = QUANTIZATION_BINARY;
    plans(w, (struct shape){.vectors = NAMED}, NULL, 0);
    w.vector = "gone";
    plans(w, (struct shape){.vectors = NAMED}, NULL, 1);
}

static void overrides_of_vectors_are_brought_into_line(void **state)
{
    struct conf_model_base w = nothing();
    w.index_m = 32;
    w.quantization_type = QUANTIZATION_BINARY;
    plans(w, (struct shape){.vectors = NAMED},
          "{\"hnsw_config\": {\"m\": 32}, \"vectors\": {\"a\": {\"hnsw_config\": {\"m\": 32}}}, "
          "\"quantization_config\": {\"binary\": {}}}",
          0);
}

static void another_vector_size_is_told_and_nothing_else(void **state)
{
    struct conf_model_base w = nothing();
    w.vector_size = 384;
    plans(w, (struct shape){0}, NULL, 1);
    plans(w, (struct shape){.vectors = "{\"a\": {\"size\": 384}, \"b\": {\"size\": 8}}"}, NULL, 0);
}

static void strict_mode_limits_are_written(void **state)
{
    struct conf_model_base w = nothing();
    w.strict_enabled = MAYBE_TRUE;
    w.strict_max_hnsw_ef = 512;
    w.strict_allow_exact = MAYBE_TRUE; /* the default: nothing to write */
    w.strict_max_oversampling = 2.5;
    plans(w, (struct shape){0},
          "{\"strict_mode_config\": {\"enabled\": true, \"search_max_hnsw_ef\": 512, "
          "\"search_max_oversampling\": 2.5}}",
          2);
}

static void costs_are_told(void **state)
{
    struct conf_model_base w = nothing();
    cJSON *info = collection((struct shape){0});
    struct plan p;
    w.indexing_threshold = 1000;
    w.optimizer_threads = 1;
    plan_make(&w, info, &p);
    assert_string_equal(doc_text(doc_get(cJSON_GetArrayItem(p.changes, 0), "cost")), "build");
    assert_string_equal(doc_text(doc_get(cJSON_GetArrayItem(p.changes, 1), "cost")), "none");
    assert_false(p.reindex);
    plan_fini(&p);
    w.indexing_threshold = 20000; /* what is indexed stays so */
    w.index_m = 4;
    plan_make(&w, info, &p);
    assert_string_equal(doc_text(doc_get(cJSON_GetArrayItem(p.changes, 0), "cost")), "reindex");
    assert_string_equal(doc_text(doc_get(cJSON_GetArrayItem(p.changes, 1), "cost")), "none");
    assert_true(p.reindex);
    plan_fini(&p);
    cJSON_Delete(info);
}

/* Makes the plan, takes its outcome for the collection, undoes it. */
static void undoes(struct conf_model_base wish, struct shape s, const char *patch, unsigned notes)
{
    cJSON *info = collection(s);
    struct plan there, back, again;
    plan_make(&wish, info, &there);
    plan_undo(there.changes, there.after, &back);
    patch_is(&back, patch);
    assert_int_equal(cJSON_GetArraySize(back.warnings), notes);
    plan_undo(there.changes, back.after, &again);
    patch_is(&again, NULL);
    plan_fini(&again);
    plan_fini(&back);
    plan_fini(&there);
    cJSON_Delete(info);
}

static void undoing_restores_what_was(void **state)
{
    struct conf_model_base w = nothing();
    w.index_m = 32;
    w.quantization_type = QUANTIZATION_SCALAR;
    w.indexing_threshold = 500;
    undoes(w, (struct shape){0},
           "{\"hnsw_config\": {\"m\": 16}, \"optimizers_config\": {\"indexing_threshold\": 10000}, "
           "\"quantization_config\": \"Disabled\"}",
           0);
    undoes(w,
           (struct shape){.hnsw = "{\"ef_construct\": 64}",
                          .quantization = "{\"product\": {\"compression\": \"x4\", \"always_ram\": null}}"},
           "{\"hnsw_config\": {\"m\": 16}, \"optimizers_config\": {\"indexing_threshold\": 10000}, "
           "\"quantization_config\": {\"product\": {\"compression\": \"x4\", \"always_ram\": null}}}",
           1);
    w = nothing();
    w.on_disk = MAYBE_TRUE;
    undoes(w, (struct shape){0}, "{\"vectors\": {\"\": {\"on_disk\": false}}}", 1);
    w = nothing();
    w.optimizer_threads = 1;
    undoes(w, (struct shape){0}, "{\"optimizers_config\": {\"max_optimization_threads\": \"auto\"}}", 0);
}

static void undoing_a_limit_follows_strict_mode(void **state)
{
    struct conf_model_base w = nothing();
    w.strict_enabled = MAYBE_TRUE;
    w.strict_max_hnsw_ef = 512;
    undoes(w, (struct shape){0}, "{\"strict_mode_config\": {\"enabled\": false}}", 2);
    undoes(w, (struct shape){.strict = "{\"enabled\": true}"},
           "{\"strict_mode_config\": {\"search_max_hnsw_ef\": 4294967295}}", 1);
    undoes(w, (struct shape){.strict = "{\"enabled\": true, \"search_max_hnsw_ef\": 64}"},
           "{\"strict_mode_config\": {\"search_max_hnsw_ef\": 64}}", 0);
    w = nothing();
    w.strict_vector_bytes = UINT64_C(9000000000); /* four thousand million bytes would be a limit */
    undoes(w, (struct shape){.strict = "{\"enabled\": true}"},
           "{\"strict_mode_config\": {\"max_collection_vector_size_bytes\": 1000000000000000}}", 1);
}

static void undoing_a_vectors_own_value_writes_the_collections(void **state)
{
    struct conf_model_base w = nothing();
    w.vector = "b.c";
    w.index_m = 32;
    undoes(w, (struct shape){.vectors = NAMED}, "{\"vectors\": {\"b.c\": {\"hnsw_config\": {\"m\": 16}}}}",
           1);
}

static void the_first_of_several_changes_says_what_was(void **state)
{
    cJSON *changes = cJSON_Parse(
        "[{\"path\": \"hnsw_config.m\", \"at\": [\"hnsw_config\", \"m\"], \"is\": 16, \"wished\": 32},"
        " {\"path\": \"hnsw_config.m\", \"at\": [\"hnsw_config\", \"m\"], \"is\": 32, \"wished\": 48}]");
    cJSON *info = collection((struct shape){.hnsw = "{\"m\": 48}"});
    struct plan p;
    plan_undo(changes, info, &p);
    patch_is(&p, "{\"hnsw_config\": {\"m\": 16}}");
    plan_fini(&p);
    cJSON_Delete(changes);
    cJSON_Delete(info);
}

/* 32 may have been written, 48 too; 64 quiver never wrote. */
static void only_what_quiver_wrote_is_undone(void **state)
{
    static const struct {
        const char *hnsw, *patch;
        int notes;
    } cases[] = {
        {"{\"m\": 32}", "{\"hnsw_config\": {\"m\": 16}}", 0},
        {"{\"m\": 48}", "{\"hnsw_config\": {\"m\": 16}}", 0},
        {"{\"m\": 16}", NULL, 0},
        {"{\"m\": 64}", NULL, 1},
    };
    cJSON *changes = cJSON_Parse(
        "[{\"path\": \"hnsw_config.m\", \"at\": [\"hnsw_config\", \"m\"], \"is\": 16, \"wished\": 32},"
        " {\"path\": \"hnsw_config.m\", \"at\": [\"hnsw_config\", \"m\"], \"is\": 32, \"wished\": 48}]");
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *info = collection((struct shape){.hnsw = cases[i].hnsw});
        struct plan p;
        plan_undo(changes, info, &p);
        patch_is(&p, cases[i].patch);
        assert_int_equal(cJSON_GetArraySize(p.warnings), cases[i].notes);
        plan_fini(&p);
        cJSON_Delete(info);
    }
    cJSON_Delete(changes);
}

static void wishes_and_facts_lie_side_by_side(void **state)
{
    struct conf_model_base w = nothing();
    cJSON *info = collection((struct shape){.vectors = NAMED});
    w.index_m = 32;
    w.vector = "a";
    w.quantization_type = QUANTIZATION_BINARY;
    w.on_disk = MAYBE_TRUE;
    cJSON *wishes = plan_wishes(&w), *facts = plan_facts(&w, info);
    assert_int_equal(cJSON_GetArraySize(wishes), cJSON_GetArraySize(facts));
    assert_int_equal(doc_get(wishes, "hnsw_config.m")->valueint, 32);
    assert_int_equal(doc_get(facts, "hnsw_config.m")->valueint, 8);
    assert_true(cJSON_IsNull(doc_get(facts, "quantization_config")));
    cJSON_Delete(wishes);
    cJSON_Delete(facts);
    cJSON_Delete(info);
}

static void odd_answers_break_nothing(void **state)
{
    static const char *const odd[] = {
        "{}",
        "{\"config\": null}",
        "{\"config\": {}}",
        "{\"config\": {\"params\": {\"vectors\": [1, null]}}}",
        "{\"config\": {\"params\": {\"vectors\": {\"a\": null, \"b\": 7}}, \"hnsw_config\": 5, "
        "\"quantization_config\": \"x\"}}",
        "{\"config\": {\"params\": {\"vectors\": {\"size\": 4, \"hnsw_config\": []}}, \"optimizer_config\": "
        "null}, \"warnings\": 3}",
    };
    struct conf_model_base w = nothing();
    w.index_m = 32;
    w.indexing_threshold = 5;
    w.on_disk = MAYBE_TRUE;
    w.quantization_type = QUANTIZATION_SCALAR;
    w.strict_enabled = MAYBE_TRUE;
    w.vector_size = 4;
    for (unsigned named = 0; named < 2; named++)
        for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
            cJSON *info = cJSON_Parse(odd[i]);
            struct plan p, back;
            assert_non_null(info);
            w.vector = named ? "b" : NULL;
            plan_make(&w, info, &p);
            assert_true(i > 1 || !p.patch);
            plan_undo(p.changes, info, &back);
            plan_fini(&back);
            plan_fini(&p);
            cJSON_Delete(plan_facts(&w, info));
            cJSON_Delete(info);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_wish_no_patch),
        cmocka_unit_test(what_is_equal_is_not_written),
        cmocka_unit_test(only_what_differs_is_written),
        cmocka_unit_test(quantizations_are_merged_with_what_is_there),
        cmocka_unit_test(flat_means_no_graph_and_hnsw_means_one),
        cmocka_unit_test(vectors_lie_where_they_should),
        cmocka_unit_test(a_named_vector_gets_its_own_settings),
        cmocka_unit_test(overrides_of_vectors_are_brought_into_line),
        cmocka_unit_test(another_vector_size_is_told_and_nothing_else),
        cmocka_unit_test(strict_mode_limits_are_written),
        cmocka_unit_test(costs_are_told),
        cmocka_unit_test(undoing_restores_what_was),
        cmocka_unit_test(undoing_a_limit_follows_strict_mode),
        cmocka_unit_test(undoing_a_vectors_own_value_writes_the_collections),
        cmocka_unit_test(the_first_of_several_changes_says_what_was),
        cmocka_unit_test(only_what_quiver_wrote_is_undone),
        cmocka_unit_test(wishes_and_facts_lie_side_by_side),
        cmocka_unit_test(odd_answers_break_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
