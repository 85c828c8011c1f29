#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "api/auth.h"

static const char *hosts[] = {"quiver.example", "q"};
static const struct conf_process open_to_host = {0};
static const struct conf_process guarded = {
    .api_token = "all-of-it", .api_read_token = "only-read", .api_key = "of-qdrant", .api_hosts = {hosts, 2}};
static struct http_head head;

/* A head with these lines, '|' between them. */
static const struct http_head *with(const char *lines)
{
    static char text[1024];
    size_t n = (size_t)snprintf(text, sizeof text, "POST / HTTP/1.0\r\n"), scanned = 0, used;
    struct http_refusal refusal;
    for (struct str rest = str_of(lines); rest.p && rest.n;) {
        struct str line = str_split(&rest, '|');
        n += (size_t)snprintf(text + n, sizeof text - n, "%.*s\r\n", STR_ARG(line));
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "\r\n");
    assert_int_equal(http_parse_request(text, n, &scanned, &head, &used, &refusal), HTTP_DONE);
    return &head;
}

static void without_a_token_only_this_host_may(void **state)
{
    const char *why;
    assert_int_equal(auth_right(&open_to_host, with(""), true), RIGHT_LOCAL);
    assert_int_equal(auth_right(&open_to_host, with(""), false), RIGHT_NONE);
    assert_int_equal(auth_right(&open_to_host, with("Authorization: Bearer "), false), RIGHT_NONE);
    assert_int_equal(auth_refusal(RIGHT_LOCAL, ACCESS_WRITE, &open_to_host, &why), 0);
    assert_int_equal(auth_refusal(RIGHT_NONE, ACCESS_READ, &open_to_host, &why), 403);
    assert_int_equal(auth_refusal(RIGHT_NONE, ACCESS_HEALTH, &open_to_host, &why), 0);
}

static void a_token_is_shown_in_either_header(void **state)
{
    assert_int_equal(auth_right(&guarded, with("Authorization: Bearer all-of-it"), false), RIGHT_ALL);
    assert_int_equal(auth_right(&guarded, with("Authorization: bearer only-read"), false), RIGHT_READ);
    assert_int_equal(auth_right(&guarded, with("X-Quiver-Token: all-of-it"), false), RIGHT_ALL);
    assert_int_equal(auth_right(&guarded, with("X-Quiver-Token: all-of-it|Authorization: Bearer jwt"), false),
                     RIGHT_ALL);
}

static void what_is_nearly_a_token_is_none(void **state)
{
    static const char *const lines[] = {"Authorization: Bearer all-of-i",
                                        "Authorization: Bearer all-of-itt",
                                        "Authorization: all-of-it",
                                        "Authorization: Basic all-of-it",
                                        "X-Quiver-Token: ",
                                        "api-key: all-of-it",
                                        ""};
    for (unsigned i = 0; i < sizeof lines / sizeof *lines; i++)
        assert_int_equal(auth_right(&guarded, with(lines[i]), true), RIGHT_NONE);
}

static void the_read_token_changes_nothing(void **state)
{
    const char *why;
    assert_int_equal(auth_refusal(RIGHT_READ, ACCESS_READ, &guarded, &why), 0);
    assert_int_equal(auth_refusal(RIGHT_READ, ACCESS_WRITE, &guarded, &why), 403);
    assert_int_equal(auth_refusal(RIGHT_ALL, ACCESS_WRITE, &guarded, &why), 0);
    assert_int_equal(auth_refusal(RIGHT_NONE, ACCESS_READ, &guarded, &why), 401);
}

static void foreign_pages_change_nothing(void **state)
{
    static const struct {
        const char *lines;
        bool foreign;
    } rows[] = {
        {"", false},
        {"Host: localhost:8000", false},
        {"Host: 127.0.0.1:8000", false},
        {"Host: [::1]:8000", false},
        {"Host: 10.1.2.3", false},
        {"Host: quiver.example:8000", false},
        {"Host: Q", false},
        {"Host: evil.example", true},
        {"Host: localhost.evil.example", true},
        {"Host: 127.0.0.1.evil.example", true},
        {"Host: localhost:8000|Origin: http://localhost:8000", false},
        {"Host: localhost:8000|Origin: http://localhost:9000", true},
        {"Host: localhost:8000|Origin: https://evil.example", true},
        {"Host: localhost:8000|Origin: null", true},
        {"Host: evil.example|Origin: http://evil.example", true},
        {"Host: localhost|Sec-Fetch-Site: cross-site", true},
        {"Host: localhost|Sec-Fetch-Site: same-site", true},
        {"Host: localhost|Sec-Fetch-Site: same-origin", false},
        {"Host: localhost|Sec-Fetch-Site: none", false},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if ((auth_foreign(&guarded, with(rows[i].lines)) != NULL) != rows[i].foreign)
            fail_msg("%s", rows[i].lines);
}

static void assert_lines(const char *lines, enum api_right right, const char *wanted)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    struct str got = auth_upstream_lines(&a, &guarded, with(lines), right);
    if (!str_eq(got, str_of(wanted)))
        fail_msg("'%s' became '%.*s'", lines, STR_ARG(got));
    arena_fini(&a);
}

static void a_search_carries_the_callers_own_keys(void **state)
{
    assert_lines("api-key: mine|X: y", RIGHT_LOCAL, "api-key: mine\r\n");
    assert_lines("Authorization: Bearer jwt", RIGHT_LOCAL, "Authorization: Bearer jwt\r\n");
    assert_lines("Authorization: Bearer all-of-it|api-key: mine", RIGHT_ALL, "api-key: mine\r\n");
    assert_lines("X-Quiver-Token: all-of-it|Authorization: Bearer jwt", RIGHT_ALL,
                 "Authorization: Bearer jwt\r\n");
}

static void no_token_of_ours_goes_upstream(void **state)
{
    static const char *const shown[] = {"api-key: all-of-it", "api-key: only-read", "Authorization: all-of-it",
                                        "Authorization: BEARER  only-read", "Authorization: Token all-of-it"};
    for (unsigned i = 0; i < sizeof shown / sizeof *shown; i++)
        assert_lines(shown[i], RIGHT_LOCAL, "");
    assert_lines("api-key: all-of-it2|Authorization: Bearer", RIGHT_LOCAL, "api-key: all-of-it2\r\nAuthorization: Bearer\r\n");
}

static void quivers_key_is_for_who_showed_a_token(void **state)
{
    assert_lines("", RIGHT_LOCAL, "");
    assert_lines("Authorization: Bearer all-of-it", RIGHT_ALL, "api-key: of-qdrant\r\n");
    assert_lines("X-Quiver-Token: only-read", RIGHT_READ, "api-key: of-qdrant\r\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_token_only_this_host_may),
        cmocka_unit_test(a_token_is_shown_in_either_header),
        cmocka_unit_test(what_is_nearly_a_token_is_none),
        cmocka_unit_test(the_read_token_changes_nothing),
        cmocka_unit_test(foreign_pages_change_nothing),
        cmocka_unit_test(a_search_carries_the_callers_own_keys),
        cmocka_unit_test(no_token_of_ours_goes_upstream),
        cmocka_unit_test(quivers_key_is_for_who_showed_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
