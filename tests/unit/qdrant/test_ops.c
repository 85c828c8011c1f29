#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/mem.h"
#include "qdrant/ops.h"

static struct arena arena;

static int arena_up(void **state)
{
    arena_init(&arena, NULL, 0);
    return 0;
}

static int arena_down(void **state)
{
    arena_fini(&arena);
    return 0;
}

static struct route route(const char *method, const char *path)
{
    struct route r;
    route_of(&arena, str_of(method), str_of(path), &r);
    return r;
}

/* The pattern with something in every hole. */
static void fill(const char *pattern, char *out)
{
    for (const char *p = pattern; *p;) {
        const char *hole = NULL;
        if (strncmp(p, "{c}", 3) == 0)
            hole = "coll-1", p += 3;
        else if (strncmp(p, "{}", 2) == 0)
            hole = "17", p += 2;
        else if (strncmp(p, "**", 2) == 0)
            hole = "assets/app.js", p += 2;
        else
            *out++ = *p++;
        if (hole)
            out = stpcpy(out, hole);
    }
    *out = '\0';
}

static void every_row_is_found_under_its_own_pattern(void **state)
{
    char path[256];
    for (unsigned i = 1; i < OP_COUNT; i++) {
        const struct op *op = &ops[i];
        assert_int_equal(op->id, i);
        fill(op->pattern, path);
        struct route r = route(op->method, path);
        assert_string_equal(r.op->name, op->name);
        assert_false(r.undecodable);
        assert_true(str_eq(r.collection, strstr(op->pattern, "{c}") ? STR("coll-1") : STR("")));
        assert_ptr_equal(r.path.p, path); /* nothing to decode: nothing copied */
    }
    assert_null(arena.chunks);
    assert_int_equal(ops[0].id, OP_UNKNOWN);
}

static void names_and_patterns_are_unique(void **state)
{
    for (unsigned i = 0; i < OP_COUNT; i++)
        for (unsigned k = 0; k < i; k++) {
            assert_string_not_equal(ops[i].name, ops[k].name);
            assert_false(strcmp(ops[i].method, ops[k].method) == 0 &&
                         strcmp(ops[i].pattern, ops[k].pattern) == 0);
        }
}

static void flags_fit_the_class(void **state)
{
    for (unsigned i = 1; i < OP_COUNT; i++) {
        const struct op *op = &ops[i];
        bool post = strcmp(op->method, "POST") == 0, get = strcmp(op->method, "GET") == 0;
        if (op->class == CLASS_READ_CACHEABLE) {
            assert_true(post || get);
            assert_int_equal(!!(op->flags & OP_HELD), post);
        }
        if (op->flags & OP_PARAMS)
            assert_true(op->class == CLASS_READ_CACHEABLE && op->flags & OP_HELD &&
                        op->body <= BODY_QUERY_BATCH && op->body >= BODY_SEARCH);
        if (op->class != CLASS_READ_CACHEABLE && op->class != CLASS_READ_UNCACHEABLE &&
            op->class != CLASS_SERVICE)
            assert_true(op->flags & OP_SLOW && !get);
    }
}

static void routes_are_told(void **state)
{
    static const struct {
        const char *method, *path, *name, *collection;
        bool is_write;
    } rows[] = {
        {"POST", "/collections/c1/points/search", "search", "c1", false},
        {"POST", "//collections///c1/points//search//", "search", "c1", false},
        {"POST", "/collections/%631/points/query", "query", "c1", false},
        {"POST", "/%63ollections/c1/%70oints/qu%65ry/", "query", "c1", false},
        {"POST", "/collections/a%20b%C3%A4/points/count", "count", "a b\xC3\xA4", false},
        {"POST", "/collections/a+b/points/count", "count", "a+b", false},
        {"POST", "/collections/a%252Fb/points/count", "count", "a%2Fb", false},
        {"GET", "/", "version", "", false},
        {"GET", "///", "version", "", false},
        {"GET", "/collections/", "list_collections", "", false},
        {"GET", "/collections/aliases", "get_collection", "aliases", false},
        {"POST", "/collections/aliases", "update_aliases", "", true},
        {"PUT", "/collections/aliases", "create_collection", "aliases", true},
        {"POST", "/collections/aliases/points/search", "search", "aliases", false},
        {"PUT", "/collections/c1", "create_collection", "c1", true},
        {"PATCH", "/collections/c1", "update_collection", "c1", true},
        {"DELETE", "/collections/c1", "delete_collection", "c1", true},
        {"PUT", "/collections/c1/points", "upsert", "c1", true},
        {"POST", "/collections/c1/points", "retrieve", "c1", false},
        {"GET", "/collections/c1/points/search", "get_point", "c1", false},
        {"POST", "/collections/c1/points/17", "unknown", "c1", true},
        {"POST", "/collections/c1/points/search/matrix/pairs", "matrix_pairs", "c1", false},
        {"POST", "/collections/c1/shards/3/points/scroll", "shard_scroll", "c1", false},
        {"POST", "/collections/c1/snapshots", "create_snapshot", "c1", false},
        {"DELETE", "/collections/c1/snapshots/s", "delete_snapshot", "c1", false},
        {"POST", "/collections/c1/shards/0/snapshots", "shard_create_snapshot", "c1", false},
        {"DELETE", "/collections/c1/shards/0/snapshots/s", "shard_delete_snapshot", "c1", false},
        {"POST", "/collections/c1/shards/0/snapshot/partial/create", "partial_snapshot_create", "c1", false},
        {"POST", "/collections/c1/shards/0/snapshot/partial/recover", "partial_snapshot_recover", "c1", true},
        {"POST", "/collections/c1/shards/0/snapshot/partial/recover_from", "partial_snapshot_recover_from", "c1", true},
        {"POST", "/collections/c1/shards/0/snapshot/partial/else", "unknown", "c1", true},
        {"POST", "/collections/c1/snapshots/upload", "upload_snapshot", "c1", true},
        {"GET", "/collections/c1/snapshots/upload", "get_snapshot", "c1", false},
        {"PUT", "/collections/c1/shards/0/snapshots/recover", "shard_recover_snapshot", "c1", true},
        {"HEAD", "/collections/c1/points/17", "unknown", "c1", false},
        {"OPTIONS", "/collections/c1/points", "unknown", "c1", false},
        {"GET", "/collections/c1/what/is/this", "unknown", "c1", false},
        {"POST", "/collections/c1/what/is/this", "unknown", "c1", true},
        {"FROB", "/collections/c1", "unknown", "c1", true},
        {"post", "/collections/c1/points/search", "unknown", "c1", true},
        {"POST", "/collections/c1/points/search/1/2/3/4/5/6/7/8/9/10/11/12", "unknown", "c1", true},
        {"POST", "/collections", "unknown", "", true},
        {"POST", "/Collections/c1/points", "unknown", "", true},
        {"DELETE", "/cluster/peer/1", "cluster_remove_peer", "", true},
        {"POST", "/cluster/recover", "cluster_recover", "", true},
        {"PUT", "/quotas", "set_quotas", "", false},
        {"POST", "/snapshots", "create_full_snapshot", "", false},
        {"GET", "/dashboard", "dashboard", "", false},
        {"GET", "/dashboard/", "dashboard", "", false},
        {"GET", "/dashboard/assets/a/b.js", "dashboard", "", false},
        {"HEAD", "/dashboard/assets/a/b.js", "dashboard_head", "", false},
        {"GET", "/dashboards", "unknown", "", false},
        {"OPTIONS", "*", "unknown", "", false},
        {"POST", "*", "unknown", "", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route r = route(rows[i].method, rows[i].path);
        if (strcmp(r.op->name, rows[i].name) != 0 || !str_eq(r.collection, str_of(rows[i].collection)) ||
            r.is_write != rows[i].is_write)
            fail_msg("%s %s: %s, collection '%.*s', write %d", rows[i].method, rows[i].path, r.op->name,
                     STR_ARG(r.collection), r.is_write);
        assert_true(r.undecodable == (rows[i].path[0] == '*'));
    }
}

static void paths_come_out_normal(void **state)
{
    static const char *const rows[][2] = {
        {"/", "/"},
        {"//", "/"},
        {"/a/", "/a"},
        {"/a//", "/a"},
        {"//a///b", "/a/b"},
        {"/a%41/%2b", "/aA/+"},
        {"/a/./../b", "/a/./../b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_true(str_eq(route("GET", rows[i][0]).path, str_of(rows[i][1])));
}

static void what_qdrant_may_read_differently_is_marked(void **state)
{
    static const struct {
        const char *path, *collection;
    } rows[] = {
        {"/collections/a%2Fb/points", "a/b"},     {"/collections/a%zz/points", "a%zz"},
        {"/collections/a%/points", "a%"},         {"/collections/a%4/points", "a%4"},
        {"/collections/a%ff/points", "a\xff"},    {"/collections/%C3%28/points", "\xC3("},
        {"/collections/%%36%31/points", "a"}, /* the router decodes twice: "%61" first */
        {"/collections/c/points/%ED%A0%80", "c"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct route r = route("PUT", rows[i].path);
        assert_true(r.undecodable && r.is_write);
        assert_true(str_eq(r.collection, str_of(rows[i].collection)));
    }
    assert_true(route("PUT", "/collections/a%00b/points").undecodable);
}

static void parameters_are_read_as_a_form(void **state)
{
    struct str value = STR_NONE;
    unsigned n = 99;
    struct str query = STR("wait=true&&a%20b=c+d%2B&=x&flag&wait=false&%77ait=&timeout=");
    assert_true(query_param(&arena, query, STR("wait"), &value, &n));
    assert_true(str_eq(value, STR("true")) && n == 3);
    assert_true(query_param(&arena, query, STR("a b"), &value, &n));
    assert_true(str_eq(value, STR("c d+")) && n == 1);
    assert_true(query_param(&arena, query, STR("flag"), &value, &n) && value.n == 0);
    assert_true(query_param(&arena, query, STR("timeout"), &value, NULL) && value.n == 0);
    assert_false(query_param(&arena, query, STR("Wait"), &value, &n));
    assert_int_equal(n, 0);
    assert_false(query_param(&arena, STR_NONE, STR("wait"), NULL, NULL));
}

static void the_order_of_parameters_means_nothing(void **state)
{
    assert_true(str_eq(query_canonical(&arena, STR("b=2&a=1&&c")), STR("a=1&b=2&c")));
    assert_true(str_eq(query_canonical(&arena, STR("c&a=1&b=2")), STR("a=1&b=2&c")));
    assert_true(str_eq(query_canonical(&arena, STR("&&")), STR("")));
    assert_true(str_eq(query_canonical(&arena, STR_NONE), STR("")));
    struct str one = STR("timeout=3");
    assert_ptr_equal(query_canonical(&arena, one).p, one.p);
}

static void any_bytes_are_survived(void **state)
{
    static const char alphabet[] = "//%%%0123456789abcdefABCDEF?#zZ+.{}*\xff\x00";
    static const char *const methods[] = {"GET", "POST", "PUT", "X", ""};
    srand(3);
    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)(rand() % 60), head = rand() % 2 ? 13 : 0;
        char *p = mem_alloc(n + head);
        memcpy(p, "/collections/", head);
        for (size_t i = 0; i < n; i++)
            p[head + i] = alphabet[(size_t)rand() % (sizeof alphabet - 1)];
        struct route r;
        route_of(&arena, str_of(methods[rand() % 5]), str_slice(p, n + head), &r);
        assert_non_null(r.op);
        query_param(&arena, str_slice(p, n + head), STR("a"), NULL, NULL);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_is_found_under_its_own_pattern, arena_up, arena_down),
        cmocka_unit_test(names_and_patterns_are_unique),
        cmocka_unit_test(flags_fit_the_class),
        cmocka_unit_test_setup_teardown(routes_are_told, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(paths_come_out_normal, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(what_qdrant_may_read_differently_is_marked, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(parameters_are_read_as_a_form, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(the_order_of_parameters_means_nothing, arena_up, arena_down),
        cmocka_unit_test_setup_teardown(any_bytes_are_survived, arena_up, arena_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
