#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "api/tree.h"

static struct arena arena;

static int begin(void **state)
{
    arena_init(&arena, NULL, 0);
    return 0;
}

static int end(void **state)
{
    arena_fini(&arena);
    return 0;
}

/* What is read is written as it was. */
static void assert_same(const char *json)
{
    struct err err = {{0}};
    struct text out = {0};
    struct node *node = tree_read(&arena, str_of(json), &err);
    if (!node)
        fail_msg("%s: %s", json, err.text);
    node_write(&out, node);
    text_add(&out, (struct str){"", 1});
    assert_string_equal(out.p, json);
    text_free(&out);
}

static void assert_refused(const char *json, const char *why)
{
    struct err err = {{0}};
    if (tree_read(&arena, str_of(json), &err))
        fail_msg("%s was taken", json);
    assert_string_equal(err.text, why);
}

static void what_is_read_is_written_as_it_was(void **state)
{
    assert_same("{\"a\":[1,2.50,-3e+07,18446744073709551615],\"b\":{\"c\":null,\"d\":[true,false]},\"\":"
                "\"\"}");
    assert_same("\"\\\"\\\\\"");
    assert_same("0.1000");
    assert_same("[]");
    assert_same("\"gr\xC3\xBC\xC3\x9F\"");
}

static void escapes_are_decoded(void **state)
{
    struct err err;
    struct node *node = tree_read(&arena, STR("\"\\u00e9\\n\\uD83C\\uDFC3\""), &err);
    assert_non_null(node);
    assert_true(str_eq(node->text, STR("\xC3\xA9\n\xF0\x9F\x8F\x83")));
}

static void a_fault_is_told_with_its_place(void **state)
{
    assert_refused("", "line 1, column 1: found nothing, expected a JSON value");
    assert_refused("{\"a\": tru}", "line 1, column 7: found 't', expected a JSON value");
    assert_refused("{\n  \"a\": 1,\n}", "line 3, column 1: found '}', expected a key in quotes");
    assert_refused("[1 2]", "line 1, column 4: found '2', expected ',' or ']'");
    assert_refused("[1,]", "line 1, column 4: found ']', expected a JSON value");
    assert_refused("{} x", "line 1, column 4: found 'x', expected nothing behind the value");
    assert_refused("01", "line 1, column 1: found '0', expected a number as JSON writes them");
    assert_refused("[NaN]", "line 1, column 2: found 'N', expected a JSON value");
    assert_refused("\"a", "line 1, column 3: found the end, expected the end of the string");
    assert_refused("\"\\x\"", "line 1, column 1: found '\"', expected a string with escapes that JSON knows");
    assert_refused("\"\\uD800\"", "line 1, column 1: found '\"', expected a string with escapes that JSON "
                                  "knows");
    assert_refused("\"\xff\"", "line 1, column 2: found byte 255, expected UTF-8");
    assert_refused("\"\n\"", "line 1, column 2: found byte 10, expected no control character inside a "
                             "string");
}

static void a_key_stands_once(void **state)
{
    assert_refused("{\"a\":1,\"a\":2}", "line 1, column 8: found '\"', expected each key once in an object, "
                                        "and this one was there before");
    assert_refused("{\"a\":1,\"\\u0061\":2}", "line 1, column 8: found '\"', expected each key once in an "
                                              "object, and this one was there before");
}

static void depth_and_size_have_a_ceiling(void **state)
{
    struct err err;
    char deep[2 * TREE_DEPTH_MAX + 3];
    memset(deep, '[', sizeof deep);
    memset(deep + TREE_DEPTH_MAX, ']', TREE_DEPTH_MAX);
    assert_non_null(tree_read(&arena, str_slice(deep, 2 * TREE_DEPTH_MAX), &err));
    memset(deep, '[', TREE_DEPTH_MAX + 1);
    assert_null(tree_read(&arena, str_slice(deep, TREE_DEPTH_MAX + 1), &err));
    assert_string_equal(err.text, "line 1, column 65: found '[', expected nothing nested deeper than 64");
    char *wide = malloc(2 * TREE_NODES_MAX + 10);
    memset(wide, '1', 2 * TREE_NODES_MAX + 10);
    wide[0] = '[';
    for (size_t i = 2; i < 2 * TREE_NODES_MAX + 10; i += 2)
        wide[i] = ',';
    assert_null(tree_read(&arena, str_slice(wide, 2 * TREE_NODES_MAX + 10), &err));
    free(wide);
}

static void numbers_are_written_shortest(void **state)
{
    assert_true(str_eq(node_real(&arena, 0.1)->text, STR("0.1")));
    assert_true(str_eq(node_real(&arena, 3)->text, STR("3")));
    assert_int_equal(node_real(&arena, 0.0 / 0.0 * 0)->kind, NODE_NULL);
    assert_true(str_eq(node_uint(&arena, UINT64_MAX)->text, STR("18446744073709551615")));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_read_is_written_as_it_was), TEST(escapes_are_decoded),
        TEST(a_fault_is_told_with_its_place),    TEST(a_key_stands_once),
        TEST(depth_and_size_have_a_ceiling),     TEST(numbers_are_written_shortest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
