#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "conf/yaml.h"

static struct arena arena;

static int setup(void **state)
{
    arena_init(&arena, NULL, 0);
    return 0;
}

static int teardown(void **state)
{
    arena_fini(&arena);
    return 0;
}

static struct yaml *parsed(const char *text)
{
    struct err err;
    struct yaml *root = yaml_parse(&arena, "f", str_of(text), &err);
    if (!root)
        fail_msg("%s", err.text);
    return root;
}

static void refused_n(const char *text, size_t n, const char *expected)
{
    struct err err = {""};
    assert_null(yaml_parse(&arena, "f", str_slice(text, n), &err));
    if (strncmp(err.text, expected, strlen(expected)) != 0)
        fail_msg("\nfound    %s\nexpected %s", err.text, expected);
}

static void refused(const char *text, const char *expected)
{
    refused_n(text, strlen(text), expected);
}

static void a_tree_keeps_order_lines_and_quotes(void **state)
{
    struct yaml *root = parsed("# head\na: 5\nb:\n  - x\n  - '5'\nc: {d: ~}\n");
    assert_int_equal(root->n, 3);
    struct yaml *a = root->first, *b = a->next, *c = b->next;
    assert_string_equal(a->key.p, "a");
    assert_int_equal(a->key_line, 2);
    assert_true(a->plain);
    assert_int_equal(b->kind, YAML_LIST);
    assert_int_equal(b->n, 2);
    assert_false(b->first->next->plain);
    assert_int_equal(b->first->next->line, 5);
    assert_int_equal(c->kind, YAML_MAP);
    assert_true(yaml_is_null(c->first));
    assert_null(c->next);
}

static void a_text_without_content_is_an_empty_mapping(void **state)
{
    assert_int_equal(parsed("")->n, 0);
    assert_int_equal(parsed("# only a comment\n")->kind, YAML_MAP);
    assert_int_equal(parsed("---\n")->kind, YAML_MAP);
    assert_int_equal(parsed("\xef\xbb\xbf" "a: 1\n")->n, 1);
}

static void clever_yaml_is_refused_with_its_line(void **state)
{
    refused("a: &x 1\nb: *x\n", "f:1: an anchor (&name) is not allowed");
    refused("a: 1\nb: *x\n", "f:2: ");
    refused("a: &x {c: 1}\n", "f:1: an anchor");
    refused("a: !!int 5\n", "f:1: a tag (!name) is not allowed");
    refused("a: ! 5\n", "f:1: a tag");
    refused("a: !x [1]\n", "f:1: a tag");
    refused("&k a: 1\n", "f:1: an anchor");
    refused("a: 1\n---\nb: 2\n", "f:2: a second document, expected one in a file");
    refused("a: 1\n...\n---\nb: 2\n", "f:3: a second document");
    refused("? [x, y]\n: 1\n", "f:1: a key that is itself a list or a mapping");
    refused("- a\n- b\n", "f:1: not a mapping, expected lines of the form key: value");
    refused("just text\n", "f:1: not a mapping");
}

static void duplicate_keys_name_both_lines(void **state)
{
    refused("a: 1\nb: 2\na: 3\n", "f:3: a: duplicate key, it is already in line 1; keep one");
    refused("x:\n  y: 1\n  y: 1\n", "f:3: y: duplicate key, it is already in line 2");
    refused("a: 1\n\"a\": 2\n", "f:2: a: duplicate key");
    assert_int_equal(parsed("<<: 1\n")->n, 1);
}

static void broken_yaml_is_refused_with_its_line(void **state)
{
    refused("a: 1\n b: 2\n", "f:2: ");
    refused("a: [1, 2\n", "f:2: ");
    refused("a: 1\nb: \"x\n", "f:3: ");
    refused("a:\tb: c\n", "f:1: ");
    refused("a: \x01\n", "f:");
    refused("a: \xff\n", "f:");
}

static void nul_and_control_characters_are_refused(void **state)
{
    refused("a: 1\nb: \"x\\0y\"\n", "f:2: a control character inside a value");
    refused("a: \"x\\ny\"\n", "f:1: a control character inside a value");
    refused("\"a\\0\": 1\n", "f:1: a control character");
    refused("a: \"x\\Ny\"\n", "f:1: a control character inside a value");
    refused("a: \"x\\Ly\"\n", "f:1: a control character inside a value");
    assert_string_equal(parsed("a: \xc3\xa9\xe2\x82\xac\n")->first->text.p, "\xc3\xa9\xe2\x82\xac");
    refused_n("a: x\0y\n", 7, "f:");
}

static void nesting_over_32_is_refused_quickly(void **state)
{
    static char deep[200001];
    memset(deep, '[', sizeof deep - 1);
    memcpy(deep, "a: ", 3);
    refused(deep, "f:1: nested deeper than 32 levels");
    char text[256] = "a: ";
    for (unsigned i = 0; i < 31; i++)
        strcat(text, "[");
    for (unsigned i = 0; i < 31; i++)
        strcat(text, "]");
    parsed(text);
}

static void a_text_over_1_mb_and_a_mapping_over_2000_keys_are_refused(void **state)
{
    size_t n = YAML_BYTES_MAX + 1;
    char *text = malloc(n + 1);
    memset(text, '#', n);
    refused_n(text, n, "f:1: the file is larger than 1 MB");
    struct err err;
    assert_non_null(yaml_parse(&arena, "f", str_slice(text, YAML_BYTES_MAX), &err));
    n = 0;
    for (unsigned i = 0; i < 2001; i++)
        n += (size_t)sprintf(text + n, "k%u: 1\n", i);
    refused(text, "f:2001: more than 2000 entries");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_tree_keeps_order_lines_and_quotes, setup, teardown),
        cmocka_unit_test_setup_teardown(a_text_without_content_is_an_empty_mapping, setup, teardown),
        cmocka_unit_test_setup_teardown(clever_yaml_is_refused_with_its_line, setup, teardown),
        cmocka_unit_test_setup_teardown(duplicate_keys_name_both_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(broken_yaml_is_refused_with_its_line, setup, teardown),
        cmocka_unit_test_setup_teardown(nul_and_control_characters_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(nesting_over_32_is_refused_quickly, setup, teardown),
        cmocka_unit_test_setup_teardown(a_text_over_1_mb_and_a_mapping_over_2000_keys_are_refused, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
