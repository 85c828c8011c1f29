#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"

static void slices_are_equal_by_their_bytes(void **state)
{
    assert_true(str_eq(STR("abc"), str_of("abc")));
    assert_true(str_eq(STR_NONE, STR("")));
    assert_true(str_eq(STR("a\0b"), str_slice("a\0b", 3)));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
    assert_false(str_eq(STR("abc"), STR("abcd")));
    assert_int_equal(str_of(NULL).n, 0);
}

static void only_ascii_letters_are_equal_in_any_case(void **state)
{
    assert_true(str_ieq(STR("Content-LENGTH"), STR("content-length")));
    assert_true(str_ieq(STR(""), STR_NONE));
    assert_false(str_ieq(STR("a"), STR("ab")));
    assert_false(str_ieq(STR("@"), STR("`")));
    assert_false(str_ieq(STR("["), STR("{")));
    assert_false(str_ieq(STR("-"), STR("\r")));
    assert_false(str_ieq(STR("\xc3\x84"), STR("\xc3\xa4")));
}

static void a_prefix_is_not_longer_than_what_it_begins(void **state)
{
    assert_true(str_starts(STR("/collections/a"), STR("/collections/")));
    assert_true(str_starts(STR("a"), STR("")));
    assert_true(str_starts(STR_NONE, STR_NONE));
    assert_false(str_starts(STR("/coll"), STR("/collections")));
    assert_false(str_starts(STR("abc"), STR("abd")));
}

static void trimming_takes_both_ends_only(void **state)
{
    assert_true(str_eq(str_trim(STR(" \t a b\t "), " \t"), STR("a b")));
    assert_int_equal(str_trim(STR(" \t "), " \t").n, 0);
    assert_int_equal(str_trim(STR_NONE, " ").n, 0);
    assert_true(str_eq(str_trim(STR("\0a\0"), " "), STR("\0a\0"))); /* a NUL is in no set */
}

static void splitting_returns_every_piece_and_then_none(void **state)
{
    static const char *const want[] = {"a", "", "bc", ""};
    struct str rest = STR("a,,bc,");
    for (size_t i = 0; i < 4; i++) {
        assert_non_null(rest.p);
        assert_true(str_eq(str_split(&rest, ','), str_of(want[i])));
    }
    assert_null(rest.p);
    rest = STR("whole");
    assert_true(str_eq(str_split(&rest, ','), STR("whole")));
    assert_null(rest.p);
    assert_int_equal(str_split(&rest, ',').n, 0);
}

static void a_segment_of_a_path_has_only_bytes_that_mean_nothing_else(void **state)
{
    char out[800], longest[256], small[8];
    assert_string_equal(str_escape(out, sizeof out, "a-Z_0.9~"), "a-Z_0.9~");
    assert_string_equal(str_escape(out, sizeof out, "a b/c?d%e\xc3\xa4"), "a%20b%2Fc%3Fd%25e%C3%A4");
    assert_string_equal(str_escape(out, sizeof out, ""), "");
    assert_string_equal(str_escape(small, sizeof small, "ab//////"), "ab%2F"); /* whole or not at all */
    memset(longest, '/', sizeof longest - 1);
    longest[255] = 0;
    assert_int_equal(strlen(str_escape(out, 768, longest)), 765);
}

static void numbers_are_digits_only_and_bounded(void **state)
{
    static const struct { const char *text; uint64_t max; int good; uint64_t value; } rows[] = {
        {"0", 0, 1, 0},
        {"007", 7, 1, 7},
        {"18446744073709551615", UINT64_MAX, 1, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, 0, 0},
        {"99999999999999999999", UINT64_MAX, 0, 0},
        {"00000000000000000001", UINT64_MAX, 1, 1},
        {"000000000000000000001", UINT64_MAX, 0, 0},
        {"65536", 65535, 0, 0},
        {"65535", 65535, 1, 65535},
        {"", 9, 0, 0},
        {"+1", 9, 0, 0},
        {"-1", UINT64_MAX, 0, 0},
        {" 1", 9, 0, 0},
        {"1 ", 9, 0, 0},
        {"0x1", 9, 0, 0},
        {"1e1", 99, 0, 0},
        {"/", 9, 0, 0},
        {":", 99, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t got = 12345;
        int good = str_u64(str_of(rows[i].text), rows[i].max, &got);
        if (good != rows[i].good || got != (good ? rows[i].value : 12345))
            fail_msg("'%s': good %d, value %llu", rows[i].text, good, (unsigned long long)got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_equal_by_their_bytes),
        cmocka_unit_test(only_ascii_letters_are_equal_in_any_case),
        cmocka_unit_test(a_prefix_is_not_longer_than_what_it_begins),
        cmocka_unit_test(trimming_takes_both_ends_only),
        cmocka_unit_test(splitting_returns_every_piece_and_then_none),
        cmocka_unit_test(a_segment_of_a_path_has_only_bytes_that_mean_nothing_else),
        cmocka_unit_test(numbers_are_digits_only_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
