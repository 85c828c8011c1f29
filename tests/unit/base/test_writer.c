/* Text without format strings is what printf would have written. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/writer.h"

static const uint64_t values[] = {0, 1, 9, 10, 99, 100, 12345, 999999999, 1000000000, UINT32_MAX, UINT64_MAX / 10, UINT64_MAX - 1, UINT64_MAX};
enum { N_VALUES = sizeof values / sizeof *values };

static void numbers_are_written_as_printf_writes_them(void **state)
{
    for (size_t i = 0; i < N_VALUES; i++) {
        char memory[128], expected[128];
        struct writer w = writer_on(memory, sizeof memory - 1);
        put_number(&w, values[i]);
        put(&w, STR("|"));
        put_padded(&w, values[i], 20);
        put(&w, STR("|"));
        put_hex(&w, values[i], 16);
        put(&w, STR_NONE);
        *w.at = 0;
        snprintf(expected, sizeof expected, "%" PRIu64 "|%020" PRIu64 "|%016" PRIx64, values[i], values[i], values[i]);
        assert_string_equal(memory, expected);
        assert_int_equal(writer_text(&w).n, strlen(expected));
    }
}

static void hex_keeps_its_lowest_digits(void **state)
{
    char memory[8];
    struct writer w = writer_on(memory, sizeof memory);
    put_hex(&w, 0x123456789abcdefULL, 3);
    assert_true(str_eq(writer_text(&w), STR("def")));
}

static void a_memory_may_be_filled_to_its_last_byte(void **state)
{
    char memory[4] = "....";
    struct writer w = writer_on(memory, 3);
    put_number(&w, 123);
    assert_ptr_equal(w.at, w.end);
    put(&w, STR(""));
    assert_memory_equal(memory, "123.", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_printf_writes_them),
        cmocka_unit_test(hex_keeps_its_lowest_digits),
        cmocka_unit_test(a_memory_may_be_filled_to_its_last_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
