#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "qdrant/query.h"
#include "qdrant/filter.h"

/* The shapes of the filters, one behind the other. */
static const char *shape(const char *first, const char *second)
{
    static char text[FILTER_SHAPE_MAX + 1];
    struct filter_shape out = {.text = text};
    filter_add(&out, str_of(first));
    if (second)
        filter_add(&out, str_of(second));
    text[out.n] = 0;
    return text;
}

static void a_filter_is_its_conditions_and_fields_without_values(void **state)
{
    static const struct {
        const char *filter, *shape;
    } rows[] = {
        {"{}", ""},
        {"null", ""},
        {"{\"must\":[{\"key\":\"city\",\"match\":{\"value\":\"Oslo\"}},{\"key\":\"price\",\"range\":{\"gte\":1,\"lt\":2e3}}]}",
         "must[key=city match.value, key=price range.gte range.lt]"},
        {"{ \"must\" : { \"key\" : \"a.b[].c\" , \"match\" : { \"any\" : [ \"x\", \"y\" ] } } }", "must[key=a.b[].c match.any]"},
        {"{\"must_not\":[{\"has_id\":[1,2,\"5c56c793-69f3-4fbf-87e6-c4bf54c28c26\"]}],\"should\":[{\"is_null\":{\"key\":\"x\"}}]}",
         "should[is_null.key=x] must_not[has_id]"},
        {"{\"must\":[{\"key\":\"loc\",\"geo_radius\":{\"center\":{\"lon\":13.4,\"lat\":52.5},\"radius\":1000.0}}]}",
         "must[key=loc geo_radius.center geo_radius.radius]"},
        {"{\"must\":[{\"nested\":{\"key\":\"diet\",\"filter\":{\"must\":[{\"key\":\"food\",\"match\":{\"value\":\"meat\"}}]}}}]}",
         "must[nested[key=diet filter[must[key=food match.value]]]]"},
        {"{\"min_should\":{\"conditions\":[{\"has_vector\":\"image\"}],\"min_count\":1}}", "min_should[conditions[has_vector] min_count]"},
        {"{\"must\":[{\"should\":[{\"key\":\"a\",\"values_count\":{\"gt\":2}}]}]}", "must[should[key=a values_count.gt]]"},
        {"{\"must\":[{\"key\":\"a\",\"is_empty\":true}]}", "must[key=a is_empty]"},
        {"{\"must\":[{\"key\":\"a\",\"match\":{\"prefix\":\"x\"}},{\"slice\":{\"index\":1,\"total\":4}}]}",
         "must[key=a match.prefix, slice]"},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(shape(rows[i].filter, NULL), rows[i].shape);
}

static void what_differs_in_values_only_has_one_shape(void **state)
{
    const char *one = "{\"must\":[{\"key\":\"tag\",\"match\":{\"value\":\"a\"}}]}";
    static const char *const same[] = {
        "{\"must\":[{\"match\":{\"value\":17},\"key\":\"tag\"}]}", /* another order */
        "{\"must\":[{\"key\":\"tag\",\"match\":{\"value\":true}},{\"key\":\"tag\",\"match\":{\"value\":\"b\"}}]}",
        "{\"must\":{\"key\":\"tag\",\"match\":{\"value\":\"a\"}},\"must_not\":null}",
    };
    char *wanted = strdup(shape(one, NULL));
    for (unsigned i = 0; i < sizeof same / sizeof *same; i++)
        assert_string_equal(shape(same[i], NULL), wanted);
    assert_string_equal(shape(one, same[0]), wanted); /* a batch of equal searches */
    assert_string_equal(shape(one, "{\"must\":[{\"has_id\":[1]}]}"), "must[key=tag match.value]; must[has_id]");
    assert_string_equal(shape(one, "{}"), wanted);
    free(wanted);
}

/* Whatever a client writes, and wherever: what is not a word of Qdrant's filters or the name of a field is not in the shape. */
static void no_value_is_in_a_shape(void **state)
{
    static const char *const filters[] = {
        "{\"must\":[{\"key\":\"city\",\"match\":{\"value\":\"SECRET\"}}]}",
        "{\"must\":[{\"key\":\"city\",\"match\":\"SECRET\"}]}",
        "{\"must\":[{\"key\":\"city\",\"match\":{\"SECRET\":1}}]}",
        "{\"must\":[{\"key\":\"city\",\"match\":{\"value\":{\"key\":\"SECRET\"}}}]}",
        "{\"must\":[{\"key\":\"city\",\"match\":{\"key\":\"SECRET\"}}]}",
        "{\"must\":[{\"key\":\"city\",\"range\":{\"gte\":\"SECRET\",\"SECRET\":1,\"lt\":{\"SECRET\":2}}}]}",
        "{\"must\":[{\"key\":\"SECRET street 5\",\"match\":{\"value\":1}}]}",
        "{\"must\":[{\"key\":\"SECRET@mail.example\",\"match\":{\"value\":1}}]}",
        "{\"must\":[{\"key\":\"\\u0053ECRET\",\"match\":{\"value\":1}}]}",
        "{\"must\":[{\"key\":{\"SECRET\":1}}]}",
        "{\"must\":[{\"key\":[\"SECRET\"]}]}",
        "{\"must\":[\"SECRET\",[\"SECRET\"],[{\"key\":\"SECRET\"}]]}",
        "{\"must\":\"SECRET\",\"should\":[[{\"SECRET\":1}]]}",
        "{\"SECRET\":[{\"key\":\"SECRET\",\"match\":{\"value\":1}}]}",
        "{\"m\\u0075st\":[{\"key\":\"SECRET\"}]}",
        "{\"must\":[{\"SECRET\":1,\"SECRETS\":2,\"has_id\":[\"SECRET\"],\"has_vector\":\"SECRET\"}]}",
        "{\"must\":[{\"has_id\":{\"key\":\"SECRET\"}}]}",
        "{\"must\":[{\"geo_radius\":{\"center\":{\"lon\":\"SECRET\",\"SECRET\":1},\"key\":\"SECRET\"}}]}",
        "{\"must\":[{\"geo_polygon\":{\"exterior\":{\"points\":[{\"SECRET\":1}]},\"interiors\":[\"SECRET\"]}}]}",
        "{\"must\":[{\"nested\":{\"key\":\"a\",\"SECRET\":{\"must\":[{\"key\":\"SECRET\"}]},\"filter\":\"SECRET\"}}]}",
        "{\"must\":[{\"is_null\":\"SECRET\"},{\"is_empty\":{\"SECRET\":\"SECRET\"}}]}",
        "{\"min_should\":{\"conditions\":[\"SECRET\"],\"min_count\":\"SECRET\",\"key\":\"SECRET\"}}",
        "{\"filter\":{\"must\":[{\"key\":\"SECRET\"}]}}",
        "{\"key\":\"SECRET\",\"match\":{\"value\":\"SECRET\"}}",
        "[{\"key\":\"SECRET\"}]",
        "\"SECRET\"",
        "{\"must\":[{\"key\":\"city\" \"SECRET\"}]}",
        "{\"must\":[{\"key\":\"4111111111111111\"}]}",
    };
    for (unsigned i = 0; i < sizeof filters / sizeof *filters; i++) {
        const char *got = shape(filters[i], NULL);
        if (strstr(got, "SECRET") || strstr(got, "4111") || strstr(got, "mail"))
            fail_msg("%s: %s", filters[i], got);
    }
}

static void what_is_not_understood_is_a_question_mark(void **state)
{
    assert_string_equal(shape("{\"must\":[{\"key\":\"a b\",\"match\":{\"val\":1},\"x\":1,\"y\":2}]}", NULL), "must[key=? match.? ?]");
    assert_string_equal(shape("{\"must\":[{\"key\":\"a\" 1}]}", NULL), "?");
    assert_string_equal(shape("7", NULL), "?");
}

static void a_shape_has_a_ceiling(void **state)
{
    char filter[64 * 1024] = "{\"must\":[", *at = filter + strlen(filter);
    for (unsigned i = 0; i < 900; i++)
        at += sprintf(at, "%s{\"key\":\"field%u\",\"match\":{\"value\":1}}", i ? "," : "", i);
    strcpy(at, "]}");
    const char *got = shape(filter, "{\"must\":[{\"has_id\":[1]}]}");
    assert_int_equal(strlen(got) <= FILTER_SHAPE_MAX, 1);
    assert_string_equal(got + strlen(got) - 3, "...");
    assert_memory_equal(got, "must[key=field0 match.value, key=field1 match.value", 40);

    strcpy(filter, "{\"must\":[{");
    for (unsigned i = 0; i < 300; i++)
        strcat(filter, i % 2 ? "\"match\":{\"text\":1}," : "\"key\":\"k\",");
    strcat(filter, "\"has_id\":[]}]}");
    assert_true(strlen(shape(filter, NULL)) <= FILTER_SHAPE_MAX);
}

static const struct query_facts *scan(struct arena *a, enum op_id op, const char *body, const struct rewrite_rules *rules)
{
    static struct query_facts facts;
    query_scan(a, &ops[op], str_of(body), rules, &facts);
    return &facts;
}

static void a_scan_finds_the_filters_of_all_kinds_of_bodies(void **state)
{
    static const struct {
        enum op_id op;
        const char *body;
        unsigned n;
    } rows[] = {
#define CITY "{ \"must\": [{\"key\":\"city\",\"match\":{\"value\":\"filter\"}}] }"
        {OP_SEARCH, "{\"vector\":[1,2],\"filter\": " CITY " ,\"limit\":3}", 1},
        {OP_SEARCH, "{\"vector\":[1,2],\"filter\":null}", 0},
        {OP_SEARCH, "{\"vector\":[1,2],\"payload\":{\"filter\":1}}", 0},
        {OP_SEARCH_BATCH, "{\"searches\":[{\"vector\":[1],\"filter\":" CITY "},{\"vector\":[2],\"filter\":" CITY "}]}", 2},
        {OP_QUERY, "{\"prefetch\":{\"query\":[1],\"filter\":" CITY "},\"query\":[2],\"filter\":" CITY "}", 2},
        {OP_SCROLL, "{\"filter\":" CITY ",\"limit\":3}", 1},
        {OP_SCROLL, "{\"filter\":" CITY ",\"limit\" 3}", 0}, /* passed on as it is, without a shape */
        {OP_RECOMMEND, "{\"positive\":[1],\"filter\":" CITY "}", 1},
        {OP_RETRIEVE, "{\"ids\":[1,2]}", 0},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        arena_init(&a, NULL, 0);
        const struct query_facts *q = scan(&a, rows[i].op, rows[i].body, NULL);
        assert_true(q->known);
        assert_int_equal(q->n_filters, rows[i].n);
        for (unsigned k = 0; k < q->n_filters; k++)
            assert_true(str_eq(q->filter[k], STR(CITY)));
        arena_fini(&a);
    }
}

static void a_scan_tells_the_parameters_that_go_upstream(void **state)
{
    struct rewrite_rules rules = {.any = true};
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        rules.knob[k].min_value = rules.knob[k].max_value = NAN;
    rules.knob[KNOB_HNSW_EF_].set_default = STR("64");
    rules.knob[KNOB_RESCORE_].force = STR("true");
    static const struct {
        const char *body;
        unsigned bare, rewritten;
    } rows[] = {
#define BIT(knob) (1u << KNOB_##knob##_)
        {"{\"vector\":[1]}", 0, BIT(HNSW_EF) | BIT(RESCORE)},
        {"{\"vector\":[1],\"params\":null}", 0, BIT(HNSW_EF) | BIT(RESCORE)},
        {"{\"vector\":[1],\"params\":{\"exact\":true}}", BIT(EXACT), BIT(EXACT) | BIT(HNSW_EF) | BIT(RESCORE)},
        {"{\"params\":{\"quantization\":{\"ignore\":false}}}", BIT(IGNORE), BIT(IGNORE) | BIT(HNSW_EF) | BIT(RESCORE)},
        {"{\"params\":{\"hnsw_ef\":8,\"hers\":1}}", BIT(HNSW_EF) | 1u << KNOB_COUNT, BIT(HNSW_EF) | BIT(RESCORE) | 1u << KNOB_COUNT},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct arena a;
        arena_init(&a, NULL, 0);
        assert_int_equal(scan(&a, OP_SEARCH, rows[i].body, NULL)->knobs, rows[i].bare);
        assert_int_equal(scan(&a, OP_SEARCH, rows[i].body, &rules)->knobs, rows[i].rewritten);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_is_its_conditions_and_fields_without_values),
        cmocka_unit_test(what_differs_in_values_only_has_one_shape),
        cmocka_unit_test(no_value_is_in_a_shape),
        cmocka_unit_test(what_is_not_understood_is_a_question_mark),
        cmocka_unit_test(a_shape_has_a_ceiling),
        cmocka_unit_test(a_scan_finds_the_filters_of_all_kinds_of_bodies),
        cmocka_unit_test(a_scan_tells_the_parameters_that_go_upstream),
    };
    return cmocka_run_group_tests_name("qdrant/filter", tests, NULL, NULL);
}
