#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "conf/where.h"

static struct arena arena;
static struct err err;

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

static struct conf_where where(const char *text)
{
    struct conf_where out[2];
    unsigned n;
    if (!where_parse(&arena, text, out, &n, &err))
        fail_msg("%s", err.text);
    return out[0];
}

static void wrong_where(const char *text, const char *part)
{
    struct conf_where out[2];
    unsigned n;
    assert_false(where_parse(&arena, text, out, &n, &err));
    if (!strstr(err.text, part))
        fail_msg("\nfound    %s\nexpected ...%s...", err.text, part);
}

static void a_bare_port_is_both_loopbacks(void **state)
{
    struct conf_where out[2];
    unsigned n;
    assert_true(where_parse(&arena, "6333", out, &n, &err));
    assert_int_equal(n, 2);
    assert_string_equal(out[0].text, "127.0.0.1:6333");
    assert_string_equal(out[1].text, "[::1]:6333");
    assert_false(out[0].optional);
    assert_true(out[1].optional);
    assert_int_equal(out[1].address.ss_family, AF_INET6);
}

static void addresses_and_sockets_become_canonical(void **state)
{
    assert_string_equal(where("0.0.0.0:1").text, "0.0.0.0:1");
    assert_string_equal(where("[0:0:0::1]:65535").text, "[::1]:65535");
    assert_string_equal(where("unix:/run/q.sock").text, "unix:/run/q.sock");
    assert_int_equal(where("unix:/run/q.sock").address.ss_family, AF_UNIX);
}

static void wrong_places_are_told_what_would_be_right(void **state)
{
    wrong_where("", "'' is not a place to listen at, expected PORT, ADDR:PORT, [IPv6]:PORT or unix:/path");
    wrong_where("0", "the port from 1 to 65535");
    wrong_where("65536", "the port from 1 to 65535");
    wrong_where("06333", "is not a place");
    wrong_where("localhost:6333", "6333 alone means 127.0.0.1 and ::1");
    wrong_where("*:6333", "expected 0.0.0.0:6333 or [::]:6333 for all interfaces");
    wrong_where(":6333", "expected 0.0.0.0:6333");
    wrong_where("::1:6333", "has no IP address before its port");
    wrong_where("[127.0.0.1]:1", "has no IP address before its port");
    wrong_where("unix:relative", "has no absolute path");
    wrong_where("unix:/", "has no absolute path");
    char path[200] = "unix:/";
    memset(path + 6, 'x', 150);
    wrong_where(path, "expected at most 107");
}

static const char *server(const char *url, struct conf_server *out)
{
    if (!where_server(&arena, url, out, &err))
        fail_msg("%s", err.text);
    return out->url;
}

static void wrong_server(const char *url, const char *part)
{
    struct conf_server out;
    assert_false(where_server(&arena, url, &out, &err));
    if (!strstr(err.text, part))
        fail_msg("\nfound    %s\nexpected ...%s...", err.text, part);
}

static void a_servers_address_becomes_canonical(void **state)
{
    struct conf_server s;
    assert_string_equal(server("http://127.0.0.1:6334", &s), "http://127.0.0.1:6334");
    assert_string_equal(server("HTTP://Qdrant.Example:1/", &s), "http://qdrant.example:1");
    assert_string_equal(s.host, "qdrant.example");
    assert_string_equal(server("http://[0::0:1]:6333", &s), "http://[::1]:6333");
    assert_string_equal(s.host, "::1");
    assert_int_equal(s.port, 6333);
    assert_string_equal(server("http://qdrant_1:6333", &s), "http://qdrant_1:6333");
}

static void wrong_servers_are_told_what_would_be_right(void **state)
{
    wrong_server("https://q:6333", "asks for TLS, which is not available towards upstreams");
    wrong_server("q:6333", "is not a server's address, expected http://HOST:PORT");
    wrong_server("http://q", "'http://q' has no port, expected e.g. http://q:6333");
    wrong_server("http://[::1]", "has no port");
    wrong_server("http://q:0", "has no valid port");
    wrong_server("http://q:99999", "has no valid port");
    wrong_server("http://q:6333/api", "has a path");
    wrong_server("http://q:6333?x=1", "has a path");
    wrong_server("http://q:6333#x", "has a path");
    wrong_server("http://user:pass@q:6333", "an address with a user or a password");
    wrong_server("http://:6333", "has no valid host");
    wrong_server("http://127.1:6333", "has no valid host");
    wrong_server("http://2130706433:6333", "has no valid host");
    wrong_server("http://0x7f.0.0.1:6333", "has no valid host");
    wrong_server("http://256.0.0.1:6333", "has no valid host");
    wrong_server("http://[::g]:6333", "has no valid host");
    wrong_server("http://a b:6333", "has no valid host");
    wrong_server("http://a..b:6333", "has no valid host");
    wrong_server("http://-a:6333", "has no valid host");
    assert_null(strstr(err.text, "pass"));
}

static bool own(const char *listener, const char *url)
{
    struct conf_where w = where(listener);
    struct conf_server s;
    server(url, &s);
    return where_is_own(&w, &s);
}

static void own_listeners_are_recognised(void **state)
{
    assert_true(own("127.0.0.1:1", "http://127.0.0.1:1"));
    assert_true(own("127.0.0.1:1", "http://localhost:1"));
    assert_true(own("127.0.0.1:1", "http://LOCALHOST.:1"));
    assert_true(own("127.0.0.1:1", "http://x.localhost:1"));
    assert_true(own("127.0.0.1:1", "http://0.0.0.0:1"));
    assert_true(own("127.0.0.1:1", "http://[::ffff:127.0.0.1]:1"));
    assert_true(own("0.0.0.0:1", "http://127.5.5.5:1"));
    assert_true(own("[::]:1", "http://[::1]:1"));
    assert_true(own("[::1]:1", "http://[::]:1"));
    assert_true(own("[::]:1", "http://127.0.0.1:1"));
    assert_false(own("127.0.0.1:1", "http://127.0.0.1:2"));
    assert_false(own("127.0.0.1:1", "http://127.0.0.2:1"));
    assert_false(own("0.0.0.0:1", "http://[::1]:1"));
    assert_false(own("0.0.0.0:1", "http://192.0.2.77:1"));
    assert_false(own("0.0.0.0:1", "http://qdrant:1"));
    assert_false(own("unix:/run/q.sock", "http://127.0.0.1:1"));
}

static bool overlap(const char *a, const char *b)
{
    struct conf_where one = where(a), two = where(b);
    assert_int_equal(where_overlaps(&one, &two), where_overlaps(&two, &one));
    return where_overlaps(&one, &two);
}

static void equal_and_wildcard_places_overlap(void **state)
{
    assert_true(overlap("127.0.0.1:1", "127.0.0.1:1"));
    assert_true(overlap("0.0.0.0:1", "127.0.0.1:1"));
    assert_true(overlap("unix:/a", "unix:/a"));
    assert_false(overlap("unix:/a", "unix:/b"));
    assert_false(overlap("0.0.0.0:1", "[::]:1"));
    assert_false(overlap("127.0.0.1:1", "127.0.0.2:1"));
    assert_false(overlap("0.0.0.0:1", "0.0.0.0:2"));
}

static struct conf_redis redis(const char *url)
{
    struct conf_redis out;
    if (!where_redis(&arena, url, &out, &err))
        fail_msg("%s", err.text);
    return out;
}

static void a_redis_address_is_taken_apart(void **state)
{
    assert_false(redis("off").on);
    struct conf_redis r = redis("redis://h");
    assert_true(r.on);
    assert_string_equal(r.host, "h");
    assert_int_equal(r.port, 6379);
    assert_int_equal(r.db, 0);
    assert_null(r.user);
    assert_null(r.password);
    r = redis("redis://me:p%40ss%3A@[::1]:7/3");
    assert_string_equal(r.host, "::1");
    assert_int_equal(r.port, 7);
    assert_int_equal(r.db, 3);
    assert_string_equal(r.user, "me");
    assert_string_equal(r.password, "p@ss:");
    r = redis("redis://:only@127.0.0.1/");
    assert_null(r.user);
    assert_string_equal(r.password, "only");
    r = redis("unix:/run/redis.sock?db=2&password=x%2fy");
    assert_string_equal(r.path, "/run/redis.sock");
    assert_int_equal(r.db, 2);
    assert_string_equal(r.password, "x/y");
    assert_string_equal(redis("unix:///run/redis.sock").path, "/run/redis.sock");
}

static void wrong_redis(const char *url, const char *part)
{
    struct conf_redis out;
    assert_false(where_redis(&arena, url, &out, &err));
    if (!strstr(err.text, part) || strstr(err.text, "hunter"))
        fail_msg("\nfound    %s\nexpected ...%s...", err.text, part);
}

static void wrong_redis_addresses_are_refused_without_showing_passwords(void **state)
{
    wrong_redis("127.0.0.1:6379", "not a Redis address");
    wrong_redis("rediss://u:hunter@h:1", "asks for TLS");
    wrong_redis("redis://hunter@h:1", "a user without a password");
    wrong_redis("redis://u:hunter%zz@h:1", "a bad %-escape");
    wrong_redis("redis://u:hunter%0@h:1", "a bad %-escape");
    wrong_redis("redis://u:hunter%00@h:1", "a bad %-escape");
    wrong_redis("redis://u:hunter@h:x", "'x' is not a port");
    wrong_redis("redis://u:hunter@h:1/x", "'/x' is not a database");
    wrong_redis("redis://", "no valid host");
    wrong_redis("unix:relative", "a socket without an absolute path");
    wrong_redis("unix:/a?password=hunter&dbb=1", "'dbb' after '?' is not understood");
    wrong_redis("on", "not a Redis address");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bare_port_is_both_loopbacks, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_and_sockets_become_canonical, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_places_are_told_what_would_be_right, setup, teardown),
        cmocka_unit_test_setup_teardown(a_servers_address_becomes_canonical, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_servers_are_told_what_would_be_right, setup, teardown),
        cmocka_unit_test_setup_teardown(own_listeners_are_recognised, setup, teardown),
        cmocka_unit_test_setup_teardown(equal_and_wildcard_places_overlap, setup, teardown),
        cmocka_unit_test_setup_teardown(a_redis_address_is_taken_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_redis_addresses_are_refused_without_showing_passwords, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
