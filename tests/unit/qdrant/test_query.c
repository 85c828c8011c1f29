#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "qdrant/query.h"

static struct arena arena;

static int arena_up(void **state)
{
    arena_init(&arena, NULL, 0);
    return 0;
}

static int arena_down(void **state)
{
    arena_fini(&arena);
    return 0;
}

static struct rewrite_rules no_rules(void)
{
    struct rewrite_rules rules = {.any = true};
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        rules.knob[k].min_value = rules.knob[k].max_value = NAN;
    return rules;
}

/* hnsw_ef 64 unless said, 32 to 256; exact is false whatever is said; rescore unless said. */
static struct rewrite_rules some_rules(void)
{
    struct rewrite_rules rules = no_rules();
    rules.knob[KNOB_HNSW_EF_] = (struct knob_rule){
        .set_default = STR("64"), .min = STR("32"), .max = STR("256"), .min_value = 32, .max_value = 256};
    rules.knob[KNOB_EXACT_].force = STR("false");
    rules.knob[KNOB_RESCORE_].set_default = STR("true");
    return rules;
}

#define ALL "\"hnsw_ef\":64,\"exact\":false,\"quantization\":{\"rescore\":true}"

static struct query_facts scan(enum op_id op, const char *body, const struct rewrite_rules *rules,
                               struct str *edited)
{
    struct query_facts facts;
    struct str copy = arena_copy(&arena, str_of(body));
    query_scan(&arena, &ops[op], copy, rules, &facts);
    *edited = query_edited(&arena, copy, &facts);
    size_t at = 0;
    for (unsigned i = 0; i < facts.n_edits; i++) {
        assert_true(facts.edit[i].at >= at && facts.edit[i].at + facts.edit[i].cut <= copy.n);
        at = facts.edit[i].at + facts.edit[i].cut;
    }
    return facts;
}

static void becomes(enum op_id op, const struct rewrite_rules *rules, const char *body, const char *want)
{
    struct str got;
    struct query_facts facts = scan(op, body, rules, &got);
    if (!facts.known || !str_eq(got, str_of(want)))
        fail_msg("%s: %s\n became %.*s\n wanted %s (%s)", ops[op].name, body, STR_ARG(got), want,
                 facts.why ? facts.why : "");
}

static void passes_unknown(enum op_id op, const char *body)
{
    struct rewrite_rules rules = some_rules();
    struct str got;
    struct query_facts facts = scan(op, body, &rules, &got);
    if (facts.known || !facts.uncacheable || !facts.why || facts.n_edits || !str_eq(got, str_of(body)))
        fail_msg("%s: %s was taken for known", ops[op].name, body);
}

static void params_are_written_where_they_are_missing(void **state)
{
    static const char *const rows[][2] = {
        {"{}", "{\"params\":{" ALL "}}"},
        {" { } ", " {\"params\":{" ALL "} } "},
        {"{\"limit\":3}", "{\"params\":{" ALL "},\"limit\":3}"},
        {"{\"limit\":3, \"params\" : null }", "{\"limit\":3, \"params\" : {" ALL "} }"},
        {"{\"params\":{}}", "{\"params\":{" ALL "}}"},
        {"{\"params\":{ \"acorn\":{\"enable\":true}}}",
         "{\"params\":{" ALL ", \"acorn\":{\"enable\":true}}}"},
        {"{\"params\":{\"hnsw_ef\":100}}",
         "{\"params\":{\"exact\":false,\"quantization\":{\"rescore\":true},\"hnsw_ef\":100}}"},
        {"{\"params\":{\"hnsw_ef\":null,\"quantization\":null}}",
         "{\"params\":{\"exact\":false,\"hnsw_ef\":64,\"quantization\":{\"rescore\":true}}}"},
        {"{\"params\":{\"quantization\":{\"oversampling\":2.0}}}",
         "{\"params\":{\"hnsw_ef\":64,\"exact\":false,\"quantization\":{\"rescore\":true,\"oversampling\":2."
         "0}}}"},
        {"{\"params\":{\"quantization\":{\"rescore\":null}}}",
         "{\"params\":{\"hnsw_ef\":64,\"exact\":false,\"quantization\":{\"rescore\":true}}}"},
        {"{\"params\":{\"quantization\":{\"rescore\":false},\"exact\":false,\"hnsw_ef\":32}}",
         "{\"params\":{\"quantization\":{\"rescore\":false},\"exact\":false,\"hnsw_ef\":32}}"},
        {"{\"params\":{\"quantization\":{\"rescore\":false},\"exact\":true,\"hnsw_ef\":31}}",
         "{\"params\":{\"quantization\":{\"rescore\":false},\"exact\":false,\"hnsw_ef\":32}}"},
        {"{\"params\":{\"quantization\":{\"rescore\":false},\"exact\":true,\"hnsw_ef\":257}}",
         "{\"params\":{\"quantization\":{\"rescore\":false},\"exact\":false,\"hnsw_ef\":256}}"},
    };
    struct rewrite_rules rules = some_rules();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        becomes(OP_SEARCH, &rules, rows[i][0], rows[i][1]);
}

static void bounds_hold_for_defaults_and_force_too(void **state)
{
    struct rewrite_rules rules = no_rules();
    rules.knob[KNOB_HNSW_EF_] = (struct knob_rule){
        .set_default = STR("8"), .min = STR("32"), .min_value = 32, .max_value = NAN};
    rules.knob[KNOB_OVERSAMPLING_] = (struct knob_rule){
        .force = STR("4"), .max = STR("1.5"), .min_value = NAN, .max_value = 1.5};
    becomes(OP_QUERY, &rules, "{}", "{\"params\":{\"hnsw_ef\":32,\"quantization\":{\"oversampling\":1.5}}}");
    becomes(
        OP_QUERY, &rules, "{\"params\":{\"hnsw_ef\":40,\"quantization\":{\"oversampling\":1.50e0}}}",
        "{\"params\":{\"hnsw_ef\":40,\"quantization\":{\"oversampling\":1.50e0}}}"); /* the same number, the
                                                                                        client's spelling */
    becomes(OP_QUERY, &rules, "{\"params\":{\"hnsw_ef\":40,\"quantization\":{\"oversampling\":1}}}",
            "{\"params\":{\"hnsw_ef\":40,\"quantization\":{\"oversampling\":1.5}}}");
}

static void every_item_and_every_prefetch_is_a_node(void **state)
{
    struct rewrite_rules rules = no_rules();
    rules.knob[KNOB_HNSW_EF_].set_default = STR("9");
#define P "\"params\":{\"hnsw_ef\":9}"
    becomes(OP_SEARCH_BATCH, &rules, "{\"searches\":[{\"limit\":1},{}, {\"params\":null}]}",
            "{\"searches\":[{" P ",\"limit\":1},{" P "}, {" P "}]}");
    becomes(OP_QUERY, &rules,
            "{\"prefetch\":{\"prefetch\":[{\"limit\":1},{\"prefetch\":{}}]},\"query\":[1,2]}",
            "{" P ",\"prefetch\":{" P ",\"prefetch\":[{" P ",\"limit\":1},{" P ",\"prefetch\":{" P
            "}}]},\"query\":[1,2]}");
    becomes(OP_QUERY_BATCH, &rules,
            "{\"x\":{\"params\":1},\"searches\":[{\"prefetch\":[]},{\"prefetch\":null}]}",
            "{\"x\":{\"params\":1},\"searches\":[{" P ",\"prefetch\":[]},{" P ",\"prefetch\":null}]}");
    becomes(OP_SEARCH, &rules, "{\"prefetch\":{\"params\":3},\"filter\":{\"params\":[]}}",
            "{" P ",\"prefetch\":{\"params\":3},\"filter\":{\"params\":[]}}");
    becomes(OP_SCROLL, &rules, "{\"params\":{}}", "{\"params\":{}}");
#undef P
}

/* A node with `params` spelled one way, inside `depth` prefetches, inside a batch where the operation is one.
 */
static void nest(char *out, const struct op *op, const char *member, const char *outer, unsigned depth)
{
    bool batch = op->body == BODY_SEARCH_BATCH || op->body == BODY_QUERY_BATCH;
    out = stpcpy(out, batch ? "{\"searches\":[" : "");
    for (unsigned i = 0; i < depth; i++)
        out = stpcpy(stpcpy(stpcpy(out, "{"), outer), i % 2 ? "\"prefetch\":[" : "\"prefetch\":");
    out = stpcpy(stpcpy(stpcpy(out, "{"), member), "\"limit\":[1,\"]}\"]}");
    for (unsigned i = depth; i-- > 0;)
        out = stpcpy(out, i % 2 ? "]}" : "}");
    stpcpy(out, batch ? "]}" : "");
}

static void every_spelling_at_every_operation_and_depth(void **state)
{
    static const struct {
        const char *body, *want; /* want NULL: not known */
    } spellings[] = {
        {"", "\"params\":{" ALL "},"},
        {"\"params\":null,", "\"params\":{" ALL "},"},
        {"\"params\":{\"indexed_only\":true},", "\"params\":{" ALL ",\"indexed_only\":true},"},
        {"\"\\u0070arams\":{},", NULL},
        {"\"params\":{\"hnsw\\u005fef\":1},", NULL},
        {"\"params\":{\"quantization\":{\"\\u0069gnore\":true}},", NULL},
        {"\"params\":{},\"params\":{},", NULL},
        {"\"params\":{\"exact\":true,\"exact\":true},", NULL},
        {"\"params\":{\"quantization\":{},\"quantization\":{}},", NULL},
    };
    struct rewrite_rules rules = some_rules();
    char body[2000], want[2000];
    unsigned n_ops = 0;
    for (unsigned i = 0; i < OP_COUNT; i++) {
        if (!(ops[i].flags & OP_PARAMS))
            continue;
        n_ops++;
        bool prefetches = ops[i].body == BODY_QUERY || ops[i].body == BODY_QUERY_BATCH;
        for (size_t k = 0; k < sizeof spellings / sizeof *spellings; k++)
            for (unsigned depth = 0; depth < (prefetches ? 4 : 1); depth++) {
                nest(body, &ops[i], spellings[k].body, "", depth);
                if (!spellings[k].want) {
                    passes_unknown(i, body);
                    continue;
                }
                nest(want, &ops[i], spellings[k].want, "\"params\":{" ALL "},", depth);
                becomes(i, &rules, body, want);
            }
    }
    assert_int_equal(n_ops, 11);
}

static void what_is_not_certain_passes_untouched(void **state)
{
    static const char *const rows[] = {
        "",
        " ",
        "null",
        "[]",
        "[{}]",
        "{",
        "{}}",
        "{} {}",
        "{\"a\":1",
        "{\"a\" 1}",
        "\xEF\xBB\xBF{}",
        "{\"params\":[]}",
        "{\"params\":[64,true]}",
        "{\"params\":\"\"}",
        "{\"params\":1}",
        "{\"params\":{\"hnsw_ef\":64.0}}",
        "{\"params\":{\"hnsw_ef\":-1}}",
        "{\"params\":{\"hnsw_ef\":\"64\"}}",
        "{\"params\":{\"hnsw_ef\":1e2}}",
        "{\"params\":{\"hnsw_ef\":18446744073709551616}}",
        "{\"params\":{\"exact\":1}}",
        "{\"params\":{\"exact\":null}}",
        "{\"params\":{\"indexed_only\":\"true\"}}",
        "{\"params\":{\"quantization\":[]}}",
        "{\"params\":{\"quantization\":true}}",
        "{\"params\":{\"quantization\":{\"oversampling\":\"2\"}}}",
        "{\"params\":{\"quantization\":{\"oversampling\":1e999}}}",
        "{\"params\":{\"quantization\":{\"ignore\":null}}}",
        "{\"prefetch\":1}",
        "{\"prefetch\":[[]]}",
        "{\"prefetch\":[null]}",
        "{\"prefetch\":\"\"}",
        "{\"lookup_from\":\"c\"}",
        "{\"lookup_from\":{\"collection\":1}}",
        "{\"lookup_from\":{\"collection\":\"a\",\"collection\":\"b\"}}",
        "{\"lookup_from\":{\"c\\u006fllection\":\"a\"}}",
        "{\"with_lookup\":[]}",
        "{\"query\":{\"t\\u0065xt\":\"a\",\"model\":\"b\"}}",
        "{\"query\":1,\"query\":2}",
        "{\"params\":{} \"limit\":1}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        passes_unknown(OP_QUERY, rows[i]);
    passes_unknown(OP_SEARCH_BATCH, "{\"searches\":{}}");
    passes_unknown(OP_SEARCH_BATCH, "{\"searches\":null}");
    passes_unknown(OP_SEARCH_BATCH, "{\"searches\":[[]]}");
    passes_unknown(OP_SEARCH_BATCH, "{\"searches\":[],\"searches\":[]}");
    passes_unknown(OP_SEARCH_BATCH, "{\"se\\u0061rches\":[]}");
    passes_unknown(OP_UPSERT, "{\"points\":[]}");
    passes_unknown(OP_COUNT_POINTS, "[]");
    passes_unknown(OP_COUNT_POINTS, "{} x");
}

static void harmless_oddities_are_known(void **state)
{
    static const char *const rows[] = {
        "{\"\\u0061bc\":1,\"limit\":1,\"limit\":2}",
        "{\"p\\u0061ram\":[]}",
        "{\"lookup_from\":null,\"with_lookup\":null}",
        "{\"lookup_from\":{}}",
        "{\"params\":{\"n\\u0065w\":1,\"acorn\":{\"exact\":7}}}",
        "{\"query\":{\"nearest\":[1,2]},\"prefetch\":[]}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got;
        struct query_facts facts = scan(OP_QUERY, rows[i], NULL, &got);
        assert_true(facts.known && !facts.uncacheable && !facts.n_edits);
    }
}

static void depth_ends_at_64(void **state)
{
    for (unsigned levels = 60; levels < 68; levels++)
        for (unsigned kind = 0; kind < 3;
             kind++) { /* in a value that is skipped, in one that is walked, in prefetches */
            char *body = mem_alloc(2000), *at = body;
            struct str got;
            at = stpcpy(at, kind == 2 ? "" : kind ? "{\"query\":" : "{\"x\":");
            for (unsigned i = 1; i < levels; i++)
                at = stpcpy(at, kind == 2 ? "{\"prefetch\":" : "[");
            at = stpcpy(at, kind == 2 ? "{}" : "");
            for (unsigned i = 1; i < levels; i++)
                at = stpcpy(at, kind == 2 ? "}" : "]");
            stpcpy(at, kind == 2 ? "" : "}");
            assert_true(scan(OP_QUERY, body, NULL, &got).known == (levels <= QUERY_DEPTH_MAX));
            free(body);
        }
}

static void lookups_are_collected_once_each(void **state)
{
    struct str got;
    struct query_facts facts = scan(
        OP_QUERY_GROUPS,
        "{\"with_lookup\":\"b\",\"lookup_from\":{\"vector\":\"v\",\"collection\":\"\\u0061\"},\"prefetch\":"
        "[{\"lookup_from\":{\"collection\":\"a\"}},{\"lookup_from\":{\"collection\":\"c\"}}]}",
        NULL, &got);
    assert_true(facts.known && facts.n_lookups == 3 && facts.n_nodes == 3);
    assert_true(str_eq(facts.lookup[0], STR("b")) && str_eq(facts.lookup[1], STR("a")) &&
                str_eq(facts.lookup[2], STR("c")));
    facts = scan(OP_SEARCH_GROUPS, "{\"with_lookup\":{\"collection\":\"d\",\"with_payload\":true}}", NULL,
                 &got);
    assert_true(facts.known && facts.n_lookups == 1 && str_eq(facts.lookup[0], STR("d")));
}

#define ID "550e8400-e29b-41d4-a716-446655440000"

static void random_and_inferred_answers_are_not_cacheable(void **state)
{
    static const struct {
        enum op_id op;
        const char *body;
        bool uncacheable;
    } rows[] = {
        {OP_QUERY, "{\"query\":{\"sample\":\"random\"}}", true},
        {OP_QUERY, "{\"prefetch\":[{\"query\":{\"sample\":\"random\"}}],\"query\":{\"fusion\":\"rrf\"}}",
         true},
        {OP_QUERY, "{\"query\":{\"text\":\"a\",\"model\":\"m\"}}", true},
        {OP_QUERY, "{\"query\":{\"nearest\":{\"image\":\"a\",\"model\":\"m\"}}}", true},
        {OP_QUERY, "{\"query\":{\"recommend\":{\"positive\":[1,{\"object\":{},\"model\":\"m\"}]}}}", true},
        {OP_QUERY, "{\"query\":[\"a text\",\"a model\"]}", true},
        {OP_QUERY, "{\"query\":{\"nearest\":[\"a text\",\"a model\"]}}", true},
        {OP_QUERY, "{\"query\":[{\"url\":\"x\"},\"a model\"]}", true},
        {OP_QUERY, "{\"query\":{\"nearest\":[{\"a\":1},\"m\",{\"key\":\"k\"}]}}", true},
        {OP_QUERY, "{\"query\":[[\"a text\",\"a model\"],null]}", true},
        {OP_QUERY, "{\"query\":[\"" ID "\",\"" ID "\"]}", true},
        {OP_QUERY, "{\"query\":{\"recommend\":{\"positive\":[[\"a text\",\"a model\"]]}}}", true},
        {OP_QUERY, "{\"query\":{\"recommend\":{\"positive\":[[\"" ID "\",\"" ID "\"]]}}}", true},
        {OP_QUERY, "{\"query\":{\"recommend\":{\"p\\u006fsitive\":[[\"a text\",\"a model\"]]}}}", true},
        {OP_QUERY, "{\"query\":{\"recommend\":{\"negative\":[1,\"a text\"]}}}", true},
        {OP_QUERY, "{\"query\":{\"discover\":{\"target\":[\"a text\",\"a model\"],\"context\":[]}}}", true},
        {OP_QUERY, "{\"query\":{\"context\":[{\"positive\":[\"a text\",\"a model\"],\"negative\":1}]}}",
         true},
        {OP_QUERY, "{\"query\":{\"nearest\":[\"a text\",\"a model\"],\"formula\":1}}", true},
        {OP_QUERY, "{\"prefetch\":[{\"query\":{\"nearest\":[\"a text\",\"a model\"]}}],\"query\":[0.1]}",
         true},
        {OP_QUERY_BATCH, "{\"searches\":[{\"query\":[1]},{\"query\":{\"nearest\":[\"a text\",\"m\"]}}]}",
         true},
        {OP_SEARCH, "{\"vector\":{\"text\":\"a\",\"model\":\"m\"}}", true},
        {OP_RECOMMEND, "{\"positive\":[[\"a text\",\"a model\"]]}", true},
        {OP_DISCOVER, "{\"context\":[{\"positive\":{\"text\":\"a\",\"model\":\"m\"}}]}", true},
        {OP_QUERY, "{\"query\":[0.1,0.2]}", false},
        {OP_QUERY,
         "{\"query\":{\"formula\":{\"sum\":[\"$score\",{\"key\":\"a\",\"match\":{\"text\":\"b\"}}]}}}",
         false},
        {OP_QUERY, "{\"filter\":{\"must\":{\"text\":\"a\",\"model\":\"m\",\"sample\":1}}}", false},
        {OP_QUERY,
         "{\"query\":{\"formula\":{\"key\":\"a\",\"match\":{\"any\":[\"b\"]}},\"defaults\":{\"x\":[\"y\"]}}}",
         false},
        {OP_QUERY, "{\"query\":[[0.1,0.2],[0.3,0.4]]}", false},
        {OP_QUERY, "{\"query\":\"" ID "\"}", false},
        {OP_QUERY,
         "{\"query\":{\"recommend\":{\"positive\":[\"" ID "\",1],\"negative\":[[0.1],\"" ID "\"]}}}",
         false},
        {OP_QUERY, "{\"query\":{\"context\":[{\"positive\":\"" ID "\",\"negative\":1}]}}", false},
        {OP_QUERY, "{\"query\":{\"order_by\":{\"key\":\"a\"}}}", false},
        {OP_RECOMMEND, "{\"positive\":[1,\"" ID "\"]}", false},
        {OP_RECOMMEND, "{\"negative\":[\"550E8400e29b41d4a716446655440000\"]}", false},
        {OP_RECOMMEND, "{\"negative\":[\"550e8400-e29b-41d4-a716-44665544000\"]}", true},
        {OP_RECOMMEND, "{\"negative\":[\"550e8400-e29b-41d4-a7161446655440000\"]}", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct str got;
        struct query_facts facts = scan(rows[i].op, rows[i].body, NULL, &got);
        if (!facts.known || facts.uncacheable != rows[i].uncacheable)
            fail_msg("%s", rows[i].body);
    }
}

static void the_first_nodes_params_are_reported(void **state)
{
    struct rewrite_rules rules = some_rules();
    struct str got;
    struct query_facts facts = scan(
        OP_QUERY, "{\"prefetch\":{\"params\":{\"hnsw_ef\":1}},\"params\":{\"hnsw_ef\":1}}", &rules, &got);
    assert_true(str_eq(facts.params_before, STR("{\"hnsw_ef\":1}")));
    assert_true(str_eq(facts.params_after,
                       STR("{\"exact\":false,\"quantization\":{\"rescore\":true},\"hnsw_ef\":32}")));
    assert_int_equal(facts.n_changed, 6);
    facts = scan(OP_QUERY, "{\"prefetch\":{\"params\":{\"hnsw_ef\":1}}}", &rules, &got);
    assert_true(facts.params_before.n == 0);
    assert_true(str_eq(facts.params_after, STR("{" ALL "}")));
    facts = scan(OP_QUERY, "{\"params\":null}", NULL, &got);
    assert_true(str_eq(facts.params_before, STR("null")) && str_eq(facts.params_after, STR("null")));
}

static void a_flood_of_searches_passes_untouched(void **state)
{
    enum { N = 70000 };
    struct rewrite_rules rules = some_rules();
    char *body = mem_alloc(3 * N + 40), *at = stpcpy(body, "{\"searches\":[{}");
    for (unsigned i = 1; i < N; i++)
        at = stpcpy(at, ",{}");
    stpcpy(at, "]}");
    struct query_facts facts;
    query_scan(&arena, &ops[OP_SEARCH_BATCH], str_of(body), &rules, &facts);
    assert_false(facts.known);
    assert_int_equal(facts.n_edits, 0);
    free(body);
}

static void without_rules_nothing_is_edited(void **state)
{
    struct rewrite_rules rules = some_rules();
    rules.any = false;
    becomes(OP_SEARCH, &rules, "{\"params\":null}", "{\"params\":null}");
    becomes(OP_SEARCH, NULL, "{}", "{}");
    becomes(OP_GET_POINT, &rules, "", "");
    rules = no_rules();
    becomes(OP_SEARCH, &rules, "{\"params\":null}", "{\"params\":null}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(params_are_written_where_they_are_missing, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(bounds_hold_for_defaults_and_force_too, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(every_item_and_every_prefetch_is_a_node, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(every_spelling_at_every_operation_and_depth, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(what_is_not_certain_passes_untouched, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(harmless_oddities_are_known, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(depth_ends_at_64, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(lookups_are_collected_once_each, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(random_and_inferred_answers_are_not_cacheable, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(the_first_nodes_params_are_reported, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(a_flood_of_searches_passes_untouched, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(without_rules_nothing_is_edited, arena_up, arena_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
