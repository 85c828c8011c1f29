#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/json_scan.h"
#include "base/mem.h"

/* A copy of exactly the text's size, so that a sanitizer sees a byte too far. */
struct text {
    char *p;
    struct json json;
};

static struct text text_of(struct str s)
{
    struct text t = {.p = mem_alloc(s.n)};
    memcpy(t.p, s.p, s.n);
    t.json = (struct json){t.p, t.p + s.n};
    return t;
}

static bool skips(const char *z, unsigned depth_max, const char *value)
{
    struct text t = text_of(str_of(z));
    struct str got;
    bool ok = json_skip(&t.json, depth_max, &got);
    if (ok)
        assert_true(str_eq(got, str_of(value)));
    free(t.p);
    return ok;
}

static void whole_values_are_skipped(void **state)
{
    static const struct {
        const char *text, *value;
    } rows[] = {
        {"1", "1"},
        {" -0.5e+10 ,", "-0.5e+10"},
        {"0]", "0"},
        {"null,", "null"},
        {"\t\r\n true}", "true"},
        {"false", "false"},
        {"\"a\"b", "\"a\""},
        {"\"\\\"\\\\\" ", "\"\\\"\\\\\""},
        {"[] ]", "[]"},
        {"{}}", "{}"},
        {"[1,[2,{\"a\":[]}]]]", "[1,[2,{\"a\":[]}]]"},
        {"{\"]}\":\"[{\\\"]\",\"b\":[1]} x", "{\"]}\":\"[{\\\"]\",\"b\":[1]}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(skips(rows[i].text, 64, rows[i].value));
}

static void malformed_values_are_refused(void **state)
{
    static const char *const rows[] = {
        "",           "  ",       "nul", "tru",   "falsy",     "-",
        "01",         "1.",       ".5",  "1e",    "1e+",       "+1",
        "NaN",        "Infinity", "'a'", "\"",    "\"abc",     "\"abc\\",
        "\"abc\\\"",  "[",        "[1",  "[1,2}", "{\"a\":1]", "[[]",
        "{\"a\":\"}", "]",        "}",   ",",     ":",         "\xEF\xBB\xBF[]",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (skips(rows[i], 64, ""))
            fail_msg("accepted: %s", rows[i]);
}

static void depth_counts_open_brackets(void **state)
{
    assert_true(skips("1", 0, "1"));
    assert_false(skips("[]", 0, ""));
    assert_true(skips("[]", 1, "[]"));
    assert_false(skips("[{}]", 1, ""));
    assert_true(skips("[{},{},[]]", 2, "[{},{},[]]"));
    for (unsigned depth = 60; depth < 520; depth++) {
        char deep[1200];
        memset(deep, '[', depth);
        memset(deep + depth, ']', depth);
        deep[2 * depth] = '\0';
        assert_true(skips(deep, depth, deep) == (depth <= 512));
        assert_false(skips(deep, depth - 1, ""));
        assert_true(skips(deep, 10000, deep) == (depth <= 512));
    }
}

static void members_are_walked(void **state)
{
    struct text t = text_of(STR(" { \"a\" : 1 , \"b\\u0020\":[2, 3 ,[]],\"\":{}} "));
    struct str key, value;
    bool first = true, escaped, bad = false;
    assert_true(json_enter(&t.json, '{'));
    assert_true(json_key(&t.json, &first, &key, &escaped, &bad));
    assert_true(str_eq(key, STR("a")) && !escaped);
    assert_true(json_skip(&t.json, 8, &value) && str_eq(value, STR("1")));
    assert_true(json_key(&t.json, &first, &key, &escaped, &bad));
    assert_true(str_eq(key, STR("b\\u0020")) && escaped);
    assert_int_equal(json_peek(&t.json), JSON_ARRAY);
    assert_true(json_enter(&t.json, '['));
    bool first_item = true;
    unsigned n = 0;
    while (json_item(&t.json, &first_item, &bad)) {
        assert_true(json_skip(&t.json, 8, &value));
        n++;
    }
    assert_int_equal(n, 3);
    assert_true(json_key(&t.json, &first, &key, &escaped, &bad) && key.n == 0);
    assert_true(json_skip(&t.json, 8, &value));
    assert_false(json_at_end(&t.json));
    assert_false(json_key(&t.json, &first, &key, &escaped, &bad));
    assert_false(bad);
    assert_true(json_at_end(&t.json));
    free(t.p);
}

/* Walks one object or array; *bad as the walk left it. */
static bool walks(const char *z)
{
    struct text t = text_of(str_of(z));
    struct str key, value;
    bool first = true, escaped, bad = false, object = z[0] == '{';
    assert_true(json_enter(&t.json, z[0]));
    while (object ? json_key(&t.json, &first, &key, &escaped, &bad) : json_item(&t.json, &first, &bad))
        if (!json_skip(&t.json, 8, &value))
            bad = true;
    free(t.p);
    return !bad;
}

static void malformed_members_are_refused(void **state)
{
    static const char *const good[] = {"{}",        "[]",  "{ }",     "[ ]",
                                       "{\"a\":1}", "[1]", "[1 , 2]", "{\"a\":1,\"a\":2}"};
    static const char *const bad[] = {"{",
                                      "[",
                                      "{,}",
                                      "[,]",
                                      "{\"a\":1,}",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{\"a\" 1}",
                                      "{\"a\":}",
                                      "{\"a\":1 \"b\":2}",
                                      "{a:1}",
                                      "{\"a\":1,,\"b\":2}",
                                      "[1,,2]",
                                      "{\"a\":1",
                                      "[1",
                                      "[1,",
                                      "{\"a",
                                      "{\"a\"",
                                      "{\"a\":",
                                      "{1:2}",
                                      "[1}",
                                      "{\"a\":1]"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(walks(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (walks(bad[i]))
            fail_msg("accepted: %s", bad[i]);
}

static bool is_flat(const char *z, const char *value)
{
    struct text t = text_of(str_of(z));
    struct str got = STR_NONE;
    bool ok = json_skip_flat(&t.json, &got);
    assert_true(ok ? str_eq(got, str_of(value)) : t.json.at == t.p || *t.json.at == '[');
    free(t.p);
    return ok;
}

static void flat_arrays_are_told_from_others(void **state)
{
    assert_true(is_flat("[]", "[]"));
    assert_true(is_flat(" [1, 2.5e-3,null,true] ]", "[1, 2.5e-3,null,true]"));
    assert_false(is_flat("[1,[2]]", ""));
    assert_false(is_flat("[\"1\"]", ""));
    assert_false(is_flat("[{}]", ""));
    assert_false(is_flat("[1,2", ""));
    assert_false(is_flat("{}", ""));
}

static bool unescapes(struct str text, struct str want)
{
    char *out = mem_alloc(text.n);
    size_t n = 0;
    bool ok = json_unescape(text, out, &n);
    if (ok)
        assert_true(str_eq(str_slice(out, n), want));
    free(out);
    return ok;
}

static void strings_are_decoded(void **state)
{
    assert_true(unescapes(STR("\"\""), STR("")));
    assert_true(unescapes(STR("\"params\""), STR("params")));
    assert_true(unescapes(STR("\"\\u0070arams\""), STR("params")));
    assert_true(unescapes(STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), STR("\"\\/\b\f\n\r\t")));
    assert_true(unescapes(STR("\"\\u00e4\\u20AC\\uD83D\\uDE80\\u0000\""),
                          STR("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x9A\x80\0")));
    static const char *const bad[] = {"",
                                      "\"",
                                      "a",
                                      "\"a",
                                      "\"\\\"",
                                      "\"\\x\"",
                                      "\"\\u12\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\ud800\\n\"",
                                      "\"\\ud800\\ud800\"",
                                      "\"\\udc00\"",
                                      "\"a\nb\"",
                                      "\"a\"b\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (unescapes(str_of(bad[i]), STR("")))
            fail_msg("accepted: %s", bad[i]);
}

static void strings_are_quoted(void **state)
{
    static const struct {
        struct str in, out;
    } rows[] = {
        {{"", 0}, {"\"\"", 2}},
        {{"a\"b\\c\n\t\r", 8}, {"\"a\\\"b\\\\c\\n\\t\\r\"", 15}},
        {{"\x01\x1f\0", 3}, {"\"\\u0001\\u001f\\u0000\"", 20}},
        {{"\xC3\xA4\xF0\x9F\x9A\x80", 6}, {"\"\xC3\xA4\xF0\x9F\x9A\x80\"", 8}},
        {{"\xC3", 1}, {"\"\xEF\xBF\xBD\"", 5}},
        {{"\xED\xA0\x80", 3}, {"\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"", 11}},
        {{"\xC0\x80", 2}, {"\"\xEF\xBF\xBD\xEF\xBF\xBD\"", 8}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *out = mem_alloc(6 * rows[i].in.n + 2);
        struct str got = str_slice(out, json_quote(out, rows[i].in));
        assert_true(str_eq(got, rows[i].out));
        free(out);
    }
}

static void numbers_are_told(void **state)
{
    assert_true(json_is_number(STR("0")) && json_is_number(STR("-1.5e-7")) && json_is_number(STR("10")));
    assert_false(json_is_number(STR("")) || json_is_number(STR("1 ")) || json_is_number(STR("01")) ||
                 json_is_number(STR("0x1")));
    assert_true(json_is_uint(STR("0")) && json_is_uint(STR("18446744073709551615")));
    assert_false(json_is_uint(STR("18446744073709551616")) || json_is_uint(STR("-0")) ||
                 json_is_uint(STR("1.0")) || json_is_uint(STR("007")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_values_are_skipped),
        cmocka_unit_test(malformed_values_are_refused),
        cmocka_unit_test(depth_counts_open_brackets),
        cmocka_unit_test(members_are_walked),
        cmocka_unit_test(malformed_members_are_refused),
        cmocka_unit_test(flat_arrays_are_told_from_others),
        cmocka_unit_test(strings_are_decoded),
        cmocka_unit_test(strings_are_quoted),
        cmocka_unit_test(numbers_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
