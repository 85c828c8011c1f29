/* However wide the search, it finds what the plain one finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json_find.h"
#include "base/mem.h"

static void agree(const char *at, const char *end)
{
    const char *plain = json_finders[0].structural(at, end);
    for (const struct json_finder *f = json_finders; f->name; f++)
        if (f->can() && f->structural(at, end) != plain)
            fail_msg("%s: found at %td of %td, expected %td", f->name, f->structural(at, end) - at, end - at, plain - at);
}

static void all_searches_agree_on_random_text(void **state)
{
    static const char alphabet[] = "0123456789.,-e \n\"[]{}\\\x02\x1b\x1d\x3b\x3d\x5c\xfb\xdb";
    srand(5);
    for (int round = 0; round < 3000; round++) {
        size_t n = (size_t)(rand() % 900), plain = (size_t)(rand() % 900);
        char *p = mem_alloc(n); /* its own size: a read behind the end shows under a sanitizer */
        for (size_t i = 0; i < n; i++)
            p[i] = i < plain ? "0123456789.,-e "[rand() % 15] : alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        for (size_t from = 0; from <= n; from += 1 + (size_t)(rand() % 7))
            agree(p + from, p + n);
        free(p);
    }
}

static void every_byte_is_judged_alike_at_every_place(void **state)
{
    char text[600];
    for (int c = 0; c < 256; c++)
        for (size_t at = 0; at < sizeof text; at += 37) {
            memset(text, '0', sizeof text);
            text[at] = (char)c;
            agree(text, text + sizeof text);
        }
}

static void a_quote_or_backslash_is_found_wherever_it_is(void **state)
{
    char text[70];
    for (size_t n = 0; n <= sizeof text; n++)
        for (size_t at = 0; at <= n; at++)
            for (int backslash = 0; backslash < 2; backslash++) {
                memset(text, 'x', sizeof text);
                if (at < n)
                    text[at] = backslash ? '\\' : '"';
                assert_ptr_equal(json_find_quote(text, text + n), text + at);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_searches_agree_on_random_text),
        cmocka_unit_test(every_byte_is_judged_alike_at_every_place),
        cmocka_unit_test(a_quote_or_backslash_is_found_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
