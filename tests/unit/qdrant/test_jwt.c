/* What a cache reads in a token: made with Python's json and base64, signatures are of no interest here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "qdrant/jwt.h"

static struct jwt read_token(const char *text)
{
    struct jwt out;
    jwt_read(str_of(text), &out);
    return out;
}

static void a_plain_key_is_no_token(void **state)
{
    for (const char *const *key = (const char *const[]){"", "secret", "a.b", "a.b.c.d", "...", "a.!.c", "x.e30", NULL}; *key; key++)
        assert_false(read_token(*key).is_token);
}

static void a_token_without_claims_does_not_end(void **state)
{
    struct jwt t = read_token("h.e30.s"); /* {} */
    assert_true(t.is_token);
    assert_false(t.has_value_exists);
    assert_true(t.exp == UINT64_MAX);
}

static void exp_is_read(void **state)
{
    assert_int_equal(read_token("h.eyJleHAiOiAxMDAwfQ.s").exp, 1000);                  /* {"exp": 1000} */
    assert_true(read_token("h.eyJleHAiOiBudWxsfQ.s").exp == UINT64_MAX);               /* {"exp": null} */
    assert_int_equal(read_token("h.eyJleHAiOiAiMTAwMCJ9.s").exp, 0);                   /* {"exp": "1000"}: ended, to be careful */
}

static void value_exists_is_seen(void **state)
{
    assert_true(read_token("h.eyJ2YWx1ZV9leGlzdHMiOiB7ImNvbGxlY3Rpb24iOiAidSJ9fQ.s").has_value_exists);
    assert_false(read_token("h.eyJ2YWx1ZV9leGlzdHMiOiBudWxsfQ.s").has_value_exists);
}

/* Whatever it says: it is not read. */
static void what_is_too_long_to_be_read_has_ended(void **state)
{
    static char text[16 * 1024 + 2];
    memset(text, 'a', sizeof text - 1);
    assert_false(read_token(text).is_token); /* no dot: a key, be it ever so long */
    text[1] = '.';
    assert_true(read_token(text).is_token);
    assert_int_equal(read_token(text).exp, 0);
    text[sizeof text - 2] = 0;
    assert_false(read_token(text).is_token);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_key_is_no_token),
        cmocka_unit_test(a_token_without_claims_does_not_end),
        cmocka_unit_test(exp_is_read),
        cmocka_unit_test(value_exists_is_seen),
        cmocka_unit_test(what_is_too_long_to_be_read_has_ended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
