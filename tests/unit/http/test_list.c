#include "http/heads.h"

static void elements_are_cut_at_commas_outside_quotes(void **state)
{
    static const char *const want[] = {"a", "no-cache=\"x, \\\"y\"", "b c", "\"open, to the end"};
    struct str rest = STR(" , a,,no-cache=\"x, \\\"y\"\t, b c ,\"open, to the end"), item;
    size_t n = 0;
    while (http_list_item(&rest, &item)) {
        assert_true(n < 4);
        assert_slice(item, str_of(want[n++]));
    }
    assert_int_equal(n, 4);
    rest = STR_NONE;
    assert_false(http_list_item(&rest, &item));
    rest = STR(" ,, \t,");
    assert_false(http_list_item(&rest, &item));
    rest = STR("\"\\");
    assert_true(http_list_item(&rest, &item));
    assert_false(http_list_item(&rest, &item));
}

static void a_token_is_found_on_any_line_and_in_any_case(void **state)
{
    static const char in[] = "GET / HTTP/1.1\r\nHost: a\r\nCache-Control: max-age=0, No-Cache\r\n"
                             "Pragma: no-store\r\ncache-control: x=\"no-transform, y\", no-store ; q=1\r\n"
                             "Accept-Encoding: gzip;q=0\r\n\r\n";
    static const struct { enum http_field_id id; const char *token; bool has; } rows[] = {
        {HF_CACHE_CONTROL, "no-cache", true},   {HF_CACHE_CONTROL, "no-store", true},
        {HF_CACHE_CONTROL, "max-age", true},    {HF_CACHE_CONTROL, "x", true},
        {HF_CACHE_CONTROL, "max-age=0", false}, {HF_CACHE_CONTROL, "no-transform", false},
        {HF_CACHE_CONTROL, "no", false},        {HF_CACHE_CONTROL, "no-cachex", false},
        {HF_CACHE_CONTROL, "", false},          {HF_ACCEPT_ENCODING, "gzip", true},
        {HF_PRAGMA, "no-cache", false},         {HF_VARY, "no-cache", false},
    };
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(http_parse_request, str_slice(in, sizeof in - 1), got);
    assert_int_equal(got->result, HTTP_DONE);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (http_list_has(&got->head, rows[i].id, str_of(rows[i].token)) != rows[i].has)
            fail_msg("'%s' is %s", rows[i].token, rows[i].has ? "not found" : "found");
    free(got);
}

static void a_status_has_its_usual_reason(void **state)
{
    assert_string_equal(http_reason(200), "OK");
    assert_string_equal(http_reason(431), "Request Header Fields Too Large");
    assert_string_equal(http_reason(507), "Insufficient Storage");
    assert_string_equal(http_reason(0), "");
    assert_string_equal(http_reason(299), "");
    assert_string_equal(http_reason(508), "");
    assert_string_equal(http_reason(100000), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_are_cut_at_commas_outside_quotes),
        cmocka_unit_test(a_token_is_found_on_any_line_and_in_any_case),
        cmocka_unit_test(a_status_has_its_usual_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
