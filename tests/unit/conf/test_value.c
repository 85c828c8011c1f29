#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "conf/opt.h"
#include "conf/value.h"

#define NOT_A_VALUE UINT64_MAX

static uint64_t usec(const char *text)
{
    uint64_t out;
    bool has_unit;
    return value_usec(str_of(text), &has_unit, &out) ? out : NOT_A_VALUE;
}

static uint64_t bytes(const char *text)
{
    uint64_t out;
    bool has_unit;
    return value_bytes(str_of(text), &has_unit, &out) ? out : NOT_A_VALUE;
}

static void durations_have_units_or_are_seconds(void **state)
{
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"300", 300000000}, {"0", 0}, {"0.25", 250000}, {"250us", 250}, {"2ms", 2000}, {"1.5s", 1500000},
        {"5m", 300000000}, {"1h", UINT64_C(3600000000)}, {"2d", UINT64_C(172800000000)},
        {"1.5us", NOT_A_VALUE}, {"", NOT_A_VALUE}, {"s", NOT_A_VALUE}, {"5 s", NOT_A_VALUE},
        {"5sec", NOT_A_VALUE}, {"5S", NOT_A_VALUE}, {"-5s", NOT_A_VALUE}, {"+5s", NOT_A_VALUE},
        {"05s", NOT_A_VALUE}, {".5s", NOT_A_VALUE}, {"5.s", NOT_A_VALUE}, {"1e3s", NOT_A_VALUE},
        {"99999999999999999999s", NOT_A_VALUE}, {"999999999999d", NOT_A_VALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (usec(cases[i].text) != cases[i].value)
            fail_msg("%s", cases[i].text);
}

static void sizes_are_decimal_or_binary(void **state)
{
    static const struct {
        const char *text;
        uint64_t value;
    } cases[] = {
        {"8GB", UINT64_C(8000000000)}, {"8GiB", UINT64_C(8) << 30}, {"512", 512}, {"512B", 512},
        {"1KB", 1000}, {"1KiB", 1024}, {"64MiB", 64 << 20}, {"1.5GiB", UINT64_C(3) << 29},
        {"2TB", UINT64_C(2000000000000)}, {"0", 0}, {"1.5", NOT_A_VALUE}, {"8gb", NOT_A_VALUE},
        {"8 GB", NOT_A_VALUE}, {"8G", NOT_A_VALUE}, {"8Gb", NOT_A_VALUE}, {"-1GB", NOT_A_VALUE},
        {"99999999999GB", NOT_A_VALUE}, {"1.0001KB", NOT_A_VALUE}, {"GB", NOT_A_VALUE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (bytes(cases[i].text) != cases[i].value)
            fail_msg("%s", cases[i].text);
}

static void what_is_printed_reads_back_equal(void **state)
{
    static const uint64_t values[] = {
        0, 1, 999, 1000, 1024, 1500000, 60000000, UINT64_C(90000000000), UINT64_C(8000000000),
        UINT64_C(8) << 30, 1 << 20, 12345678901, INT64_MAX,
    };
    static const double reals[] = {0, 1, 0.85, 0.995, 1.5, 123456.789, 0.1 + 0.2};
    struct arena a;
    double real;
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        assert_true(usec(value_print_usec(&a, values[i]).p) == values[i]);
        assert_true(bytes(value_print_bytes(&a, values[i]).p) == values[i]);
    }
    for (size_t i = 0; i < sizeof reals / sizeof *reals; i++)
        assert_true(value_real(value_print_real(&a, reals[i]), &real) && real == reals[i]);
    assert_string_equal(value_print_usec(&a, 65000000).p, "65s");
    assert_string_equal(value_print_bytes(&a, UINT64_C(8000000000)).p, "8GB");
    assert_string_equal(value_print_bytes(&a, 256 << 20).p, "256MiB");
    assert_string_equal(value_print_real(&a, 0.85).p, "0.85");
    assert_string_equal(value_quote(&a, STR("a\"b\\c")).p, "\"a\\\"b\\\\c\"");
    arena_fini(&a);
}

static void numbers_are_plain(void **state)
{
    uint64_t u;
    double real;
    bool yes;
    assert_true(value_uint(STR("0"), &u) && u == 0);
    assert_true(value_uint(STR("9223372036854775807"), &u));
    assert_false(value_uint(STR("9223372036854775808"), &u));
    assert_false(value_uint(STR("00"), &u) || value_uint(STR("1_000"), &u) || value_uint(STR("0x1"), &u) ||
                 value_uint(STR(""), &u));
    assert_false(value_real(STR("1e3"), &real) || value_real(STR("nan"), &real) ||
                 value_real(STR(".5"), &real) || value_real(STR("-1"), &real) || value_real(STR(""), &real) ||
                 value_real(STR("inf"), &real));
    assert_false(value_bool(STR("True"), &yes) || value_bool(STR("yes"), &yes) || value_bool(STR("1"), &yes));
}

static void distances_count_changes(void **state)
{
    assert_int_equal(opt_distance(STR("cache_ttl"), STR("cache_ttl"), 3), 0);
    assert_int_equal(opt_distance(STR("cahce_ttl"), STR("cache_ttl"), 3), 2);
    assert_int_equal(opt_distance(STR(""), STR("abc"), 3), 3);
    assert_int_equal(opt_distance(STR("abcdef"), STR("uvwxyz"), 3), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_units_or_are_seconds), cmocka_unit_test(sizes_are_decimal_or_binary),
        cmocka_unit_test(what_is_printed_reads_back_equal),    cmocka_unit_test(numbers_are_plain),
        cmocka_unit_test(distances_count_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
