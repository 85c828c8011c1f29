#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "qdrant/aliases.h"
#include "qdrant/key.h"

static struct key_secret secret;

static void draw_secret(void)
{
    for (unsigned i = 0; i < KEY_SECRET_BYTES; i++)
        secret.bytes[i] = (unsigned char)rand();
}

static struct key_text key_of(struct key_input in)
{
    struct key_text out;
    key_make(&secret, &in, &out);
    assert_int_equal(out.n_text, strlen(out.text));
    return out;
}

static struct key_input input(const struct str *part, unsigned n)
{
    return (struct key_input){.op = &ops[OP_SEARCH],
                              .path = STR("/collections/a/points/search"),
                              .spelled = STR("a"),
                              .resolved = STR("a"),
                              .query_sorted = STR(""),
                              .part = part,
                              .n_part = n,
                              .credentials = STR("cred"),
                              .affinity = STR_NONE};
}

static void equal_inputs_have_equal_keys(void **state)
{
    char body[3000];
    memset(body, 'x', sizeof body);
    struct str whole[] = {{body, sizeof body}};
    struct key_text want = key_of(input(whole, 1));
    for (size_t cut = 0; cut <= sizeof body; cut += 7) { /* a spliced body needs no copy */
        struct str parts[] = {{body, cut}, {body, 0}, {body + cut, sizeof body - cut}};
        struct key_text got = key_of(input(parts, 3));
        assert_true(key_eq(&want, &got));
        assert_string_equal(want.text, got.text);
    }
    assert_int_equal(want.n_body, sizeof body);
    assert_int_equal(want.op, OP_SEARCH);
}

static void every_field_counts(void **state)
{
    struct str part[] = {{"{}", 2}}, other[] = {{"{ }", 3}};
    struct key_input in[12];
    unsigned n = 0;
    for (; n < 12; n++)
        in[n] = input(part, 1);
    in[1].op = &ops[OP_QUERY];
    in[2].path = STR("/collections/a/points/searcH");
    in[3].spelled = STR("b");
    in[4].resolved = STR("b");
    in[5].query_sorted = STR("timeout=1");
    in[6].part = other;
    in[7].n_part = 0;
    in[8].credentials = STR("creds");
    in[9].affinity = STR("a");
    in[10].spelled = STR("aa"), in[10].resolved = STR(""); /* the same bytes, cut elsewhere */
    in[11].spelled = STR(""), in[11].resolved = STR("aa");
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < i; k++) {
            struct key_text a = key_of(in[i]), b = key_of(in[k]);
            assert_false(key_eq(&a, &b));
            assert_string_not_equal(a.text, b.text);
        }
    struct key_text before = key_of(in[0]);
    draw_secret();
    struct key_text after = key_of(in[0]);
    assert_false(key_eq(&before, &after));
}

static void credentials_are_told_apart(void **state)
{
    static const struct {
        struct str key, authorization;
    } rows[] = {{{NULL, 0}, {NULL, 0}}, {{"", 0}, {NULL, 0}},  {{NULL, 0}, {"", 0}},
                {{"ab", 2}, {"c", 1}},  {{"a", 1}, {"bc", 2}}, {{"abc", 3}, {NULL, 0}},
                {{NULL, 0}, {"abc", 3}}};
    enum { N = sizeof rows / sizeof *rows };
    unsigned char plain[N][CRED_BYTES], memoed[CRED_BYTES];
    struct cred_memo memo = {0};
    for (unsigned i = 0; i < N; i++) {
        cred_digest(NULL, rows[i].key, rows[i].authorization, plain[i]);
        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(plain[i], plain[k], CRED_BYTES);
    }
    for (unsigned round = 0; round < 30; round++) { /* more of them than the memo holds */
        unsigned i = round * 3 % N;
        for (unsigned again = 0; again < 2; again++) {
            cred_digest(&memo, rows[i].key, rows[i].authorization, memoed);
            assert_memory_equal(memoed, plain[i], CRED_BYTES);
        }
    }
    char token[5000]; /* too long to remember */
    memset(token, 't', sizeof token);
    unsigned char first[CRED_BYTES];
    cred_digest(&memo, STR_NONE, str_slice(token, sizeof token), first);
    token[4999] = 'u';
    cred_digest(&memo, STR_NONE, str_slice(token, sizeof token), memoed);
    assert_memory_not_equal(first, memoed, CRED_BYTES);
}

static void names_in_alias_actions_are_found(void **state)
{
    struct arena a;
    struct str *names;
    unsigned n;
    arena_init(&a, NULL, 0);
    assert_true(aliases_names(
        &a,
        STR("{\"actions\":[{\"create_alias\":{\"collection_name\":\"c1\",\"alias_name\":\"pr\\u006fd\"}},"
            "{\"rename_alias\":{\"old_alias_name\":\"prod\",\"new_alias_name\":\"old\"}},"
            "{\"delete_alias\":[\"gone\"]}]}"),
        &names, &n));
    assert_int_equal(n, 4);
    static const char *const want[] = {"c1", "gone", "old", "prod"};
    for (unsigned i = 0; i < n; i++)
        assert_true(str_eq(names[i], str_of(want[i])));
    assert_true(aliases_names(&a, STR("{\"actions\":[]}"), &names, &n));
    assert_int_equal(n, 0);
    static const char *const bad[] = {"", "{\"actions\":[", "{} {}", "{\"a\":\"\\ud800\"}", "{\"a\":}"};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(aliases_names(&a, str_of(bad[i]), &names, &n));
    arena_fini(&a);
}

int main(void)
{
    draw_secret();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_inputs_have_equal_keys),
        cmocka_unit_test(every_field_counts),
        cmocka_unit_test(credentials_are_told_apart),
        cmocka_unit_test(names_in_alias_actions_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
