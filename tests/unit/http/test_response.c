/* Every row of the policy for answers: all refusals are 502. */
#include "http/heads.h"

#define OK "HTTP/1.1 200 OK\r\n"
#define END "\r\n"

struct row {
    const char *name;
    struct str in;
    bool refused, to_head; /* to_head: the request was a HEAD */
    unsigned status;
    enum http_framing framing;
    uint64_t length;
    bool close;
};

#define ROW(name_, bytes, ...) {.name = name_, .in = {bytes, sizeof(bytes) - 1}, __VA_ARGS__}
#define REFUSED(name_, bytes, ...) ROW(name_, bytes, .refused = true, ##__VA_ARGS__)
#define PASSES(name_, bytes, status_, framing_, ...)                                      \
    ROW(name_, bytes, .status = status_, .framing = HTTP_BODY_##framing_, __VA_ARGS__)

static const struct row rows[] = {
    PASSES("a length", OK "content-length: 12\r\n\r\n", 200, LENGTH, .length = 12),
    PASSES("a length of zero", OK "Content-Length: 0\r\n\r\n", 200, LENGTH),
    PASSES("chunked", OK "transfer-encoding: Chunked\r\n\r\n", 200, CHUNKED),
    PASSES("until the connection closes", OK END, 200, UNTIL_CLOSE, .close = true),
    PASSES("close",
           OK "Content-Length: 1\r\nConnection: close\r\n\r\n", 200, LENGTH, .length = 1, .close = true),
    PASSES("HTTP/1.0 is closed",
           "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", 200, LENGTH, .length = 1, .close = true),
    PASSES("HTTP/1.0 with keep-alive is kept",
           "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n", 200, LENGTH,
           .length = 1),
    PASSES("HTTP/1.0 with keep-alive and no length is closed",
           "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", 200, UNTIL_CLOSE,
           .close = true),
    PASSES("an answer to HEAD has no body", OK "Content-Length: 12\r\n\r\n", 200, NONE, .to_head = true),
    PASSES("an answer to HEAD has no body though chunked",
           OK "Transfer-Encoding: chunked\r\n\r\n", 200, NONE, .to_head = true),
    PASSES("an answer to HEAD without a length is kept", OK END, 200, NONE, .to_head = true),
    PASSES("304 has no body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n", 304, NONE),
    PASSES("204 has no body", "HTTP/1.1 204 No Content\r\n\r\n", 204, NONE),
    PASSES("204 may say that it has none", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, NONE),
    PASSES("100 has no body", "HTTP/1.1 100 Continue\r\n\r\n", 100, NONE),
    PASSES("103 has fields and no body", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 103, NONE),
    PASSES("no reason", "HTTP/1.1 200\r\nContent-Length: 1\r\n\r\n", 200, LENGTH, .length = 1),
    PASSES("an empty reason", "HTTP/1.1 200 \r\nContent-Length: 1\r\n\r\n", 200, LENGTH, .length = 1),
    PASSES("a reason of several words",
           "HTTP/1.1 599 a b\t\xc3\xa4  \r\nContent-Length: 1\r\n\r\n", 599, LENGTH, .length = 1),
    PASSES("two Authorization are nobody's business here",
           OK "Content-Length: 0\r\nAuthorization: a\r\nAuthorization: a\r\n\r\n", 200,
           LENGTH),

    REFUSED("101 is refused", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n"),
    REFUSED("204 with a length is refused", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
    REFUSED("204 that is chunked is refused",
           "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("100 with a length is refused", "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n"),
    REFUSED("a status of 099 is refused", "HTTP/1.1 099 x\r\n\r\n"),
    REFUSED("a status of 600 is refused", "HTTP/1.1 600 x\r\n\r\n"),
    REFUSED("a status of two digits is refused", "HTTP/1.1 20 OK\r\n\r\n"),
    REFUSED("a status of four digits is refused", "HTTP/1.1 2000 OK\r\n\r\n"),
    REFUSED("a status with a sign is refused", "HTTP/1.1 +20 OK\r\n\r\n"),
    REFUSED("a status of letters is refused", "HTTP/1.1 abc OK\r\n\r\n"),
    REFUSED("no status is refused", "HTTP/1.1\r\n\r\n"),
    REFUSED("two blanks before the status are refused", "HTTP/1.1  200 OK\r\n\r\n"),
    REFUSED("a tab before the reason is refused", "HTTP/1.1 200\tOK\r\n\r\n"),
    REFUSED("a control byte in the reason is refused", "HTTP/1.1 200 O\x01K\r\n\r\n"),
    REFUSED("HTTP/1.2 is refused", "HTTP/1.2 200 OK\r\n\r\n"),
    REFUSED("HTTP/2.0 is refused", "HTTP/2.0 200 OK\r\n\r\n"),
    REFUSED("HTTP/1.11 is refused", "HTTP/1.11 200 OK\r\n\r\n"),
    REFUSED("another protocol is refused", "SSH-2.0-x\r\n\r\n"),
    REFUSED("a blank before the answer is refused", " " OK END),
    REFUSED("an empty line before the answer is refused", "\r\n" OK END),
    REFUSED("a bare LF is refused", "HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    REFUSED("a bare CR is refused", OK "X: a\rb\r\n\r\n"),
    REFUSED("a folded line is refused", OK "X: a\r\n b\r\nContent-Length: 0\r\n\r\n"),
    REFUSED("a blank before the colon is refused", OK "Content-Length : 5\r\n\r\n"),
    REFUSED("a NUL is refused", OK "X: a\0b\r\nContent-Length: 0\r\n\r\n"),
    REFUSED("a bad length is refused", OK "Content-Length: 5x\r\n\r\n"),
    REFUSED("two equal lengths are refused", OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    REFUSED("a list of lengths is refused", OK "Content-Length: 5,5\r\n\r\n"),
    REFUSED("two lengths are refused to HEAD too", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            .to_head = true),
    REFUSED("length and coding are refused", OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("gzip, chunked is refused", OK "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    REFUSED("identity is refused", OK "Transfer-Encoding: identity\r\n\r\n"),
    REFUSED("chunked twice is refused",
           OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("chunked in HTTP/1.0 is refused", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED("Connection must not name Content-Length",
           OK "Content-Length: 5\r\nConnection: content-length\r\n\r\n"),
};

static enum http_result to_get(const char *in, size_t n, size_t *scanned, struct http_head *h,
                               size_t *head_n, struct http_refusal *no)
{
    return http_parse_response(in, n, scanned, false, h, head_n, no);
}

static enum http_result to_head(const char *in, size_t n, size_t *scanned, struct http_head *h,
                                size_t *head_n, struct http_refusal *no)
{
    return http_parse_response(in, n, scanned, true, h, head_n, no);
}

static void check_row(void **state)
{
    const struct row *row = *state;
    parse_fn *parse = row->to_head ? to_head : to_get;
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(parse, row->in, got);
    if (row->refused) {
        assert_int_equal(got->result, HTTP_REFUSED);
        assert_int_equal(got->no.status, 502);
        assert_true(strlen(got->no.why) > 10);
    } else {
        if (got->result != HTTP_DONE)
            fail_msg("result %d: %s", got->result, got->no.why);
        assert_int_equal(got->head_n, row->in.n);
        assert_int_equal(got->head.status, row->status);
        assert_int_equal(got->head.framing, row->framing);
        assert_int_equal(got->head.length, row->length);
        assert_int_equal(got->head.keep_alive, !row->close);
    }
    free(got);
    assert_same_for_every_cut(parse, row->in);
}

static void every_part_of_an_answer_is_where_it_should_be(void **state)
{
    static const char in[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: x-a\r\nX-A: b\r\n"
                             "Vary: origin\r\n\r\n{}HTTP/1.1 ";
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(to_get, str_slice(in, sizeof in - 1), got);
    const struct http_head *h = &got->head;
    assert_int_equal(got->result, HTTP_DONE);
    assert_slice(str_slice(in + got->head_n, 2), STR("{}"));
    assert_slice(h->reason, STR("Not Found"));
    assert_int_equal(h->status, 404);
    assert_int_equal(h->minor, 1);
    assert_int_equal(h->raw.n, got->head_n);
    assert_slice(http_value(h, HF_VARY), STR("origin"));
    assert_true(h->field[2].hop);
    assert_false(h->field[0].hop || h->field[3].hop);
    free(got);
}

static void what_cannot_be_an_answer_is_refused_at_its_first_byte(void **state)
{
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(to_get, STR("\x15"), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    parse_at_once(to_get, STR("HTTP/2"), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    parse_at_once(to_get, STR("HTTP/1"), got);
    assert_int_equal(got->result, HTTP_MORE);
    parse_at_once(to_get, str_slice("", 0), got);
    assert_int_equal(got->result, HTTP_MORE);
    free(got);
}

static void a_head_that_does_not_end_within_32768_bytes_is_refused(void **state)
{
    struct outcome *got = mem_zalloc(sizeof *got);
    char *in = mem_alloc(HTTP_HEAD_MAX + 4);
    memset(in, 'a', HTTP_HEAD_MAX + 4);
    memcpy(in, "HTTP/1.1 200 OK\r\nX:", 19);
    memcpy(in + HTTP_HEAD_MAX - 4, "\r\n\r\n", 4);
    parse_at_once(to_get, str_slice(in, HTTP_HEAD_MAX), got);
    assert_int_equal(got->result, HTTP_DONE);
    memcpy(in + HTTP_HEAD_MAX - 4, "a\r\n\r\n", 5);
    parse_at_once(to_get, str_slice(in, HTTP_HEAD_MAX), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    parse_at_once(to_get, str_slice(in, HTTP_HEAD_MAX + 1), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    assert_int_equal(got->no.status, 502);
    free(in);
    free(got);
}

int main(void)
{
    static struct CMUnitTest tests[HEADS_TESTS_MAX] = {
        cmocka_unit_test(every_part_of_an_answer_is_where_it_should_be),
        cmocka_unit_test(what_cannot_be_an_answer_is_refused_at_its_first_byte),
        cmocka_unit_test(a_head_that_does_not_end_within_32768_bytes_is_refused),
    };
    size_t n = 0;
    while (tests[n].name)
        n++;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, check_row, NULL, NULL, (void *)&rows[i]};
    return _cmocka_run_group_tests("answer heads", tests, n, NULL, NULL);
}
