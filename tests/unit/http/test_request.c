/* Every row of the policy for requests: what is refused and as what, what passes and how it is understood. */
#include "http/heads.h"

#define LINE "GET /collections HTTP/1.1\r\n"
#define HOST "Host: localhost:6333\r\n"
#define POST "POST /collections/mixtral/points/search HTTP/1.1\r\n" HOST
#define END "\r\n"
#define X10(x) x x x x x x x x x x

struct row {
    const char *name;
    struct str in;
    unsigned status;           /* 0: passes */
    enum http_framing framing; /* the rest only if it passes */
    uint64_t length;
    bool close, expect;
};

#define REFUSED(status_, name_, bytes) {.name = name_, .in = {bytes, sizeof(bytes) - 1}, .status = status_}
#define PASSES(name_, bytes, ...) {.name = name_, .in = {bytes, sizeof(bytes) - 1}, __VA_ARGS__}

static const struct row rows[] = {
    /* line ends */
    REFUSED(400, "a bare LF after the request line is refused", "GET / HTTP/1.1\n" HOST END),
    REFUSED(400, "a bare LF after a field is refused", LINE "Host: a\nX: b\r\n\r\n"),
    REFUSED(400, "a bare LF as the blank line is refused", LINE HOST "\n"),
    REFUSED(400, "a bare LF before anything else is refused", "\n" LINE HOST END),
    REFUSED(400, "a bare CR in a value is refused", LINE HOST "X: a\rb\r\n\r\n"),
    REFUSED(400, "a bare CR in a name is refused", LINE HOST "X\rY: a\r\n\r\n"),
    REFUSED(400, "a bare CR at the beginning of a line is refused", LINE HOST "\rX: a\r\n\r\n"),
    REFUSED(400, "a bare CR in the target is refused", "GET /a\rb HTTP/1.1\r\n" HOST END),
    REFUSED(400, "two CR before a LF are refused", LINE HOST "X: a\r\r\n\r\n"),
    REFUSED(400, "a CR before the request that no LF follows is refused", "\rG" LINE HOST END),
    REFUSED(400, "two empty lines before the request are refused", "\r\n\r\n" LINE HOST END),
    PASSES("one empty line before the request is skipped", "\r\n" LINE HOST END),
    /* the request line */
    REFUSED(400, "HTTP/0.9 is refused", "GET /\r\n\r\n"),
    REFUSED(400, "a request line of one word is refused", "GET\r\n\r\n"),
    REFUSED(400, "two blanks after the method are refused", "GET  / HTTP/1.1\r\n" HOST END),
    REFUSED(400, "two blanks before the version are refused", "GET /  HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a blank after the version is refused", "GET / HTTP/1.1 \r\n" HOST END),
    REFUSED(400, "a blank before the method is refused", " GET / HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a tab between method and target is refused", "GET\t/ HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a blank inside the target is refused", "GET /a b HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a method that is no token is refused", "G(T / HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a method of 33 bytes is refused", X10("A") X10("A") X10("A") "AAA / HTTP/1.1\r\n" HOST END),
    PASSES("a method of 32 bytes passes", X10("A") X10("A") X10("A") "AA / HTTP/1.1\r\n" HOST END),
    PASSES("an unknown method passes", "PROPFIND / HTTP/1.1\r\n" HOST END),
    PASSES("a method in small letters is just another method", "get / HTTP/1.1\r\n" HOST END),
    PASSES("OPTIONS of a path passes", "OPTIONS /collections HTTP/1.1\r\n" HOST END),
    REFUSED(501, "CONNECT is refused", "CONNECT localhost:6333 HTTP/1.1\r\n" HOST END),
    REFUSED(501, "TRACE is refused", "TRACE / HTTP/1.1\r\n" HOST END),
    REFUSED(501, "trace in small letters is refused", "trace / HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a TLS hello is refused by its first byte", "\x16\x03\x01\x02"),
    REFUSED(505, "the preface of HTTP/2 is refused", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    REFUSED(505, "HTTP/1.2 is refused", "GET / HTTP/1.2\r\n" HOST END),
    REFUSED(505, "HTTP/2.0 is refused", "GET / HTTP/2.0\r\n" HOST END),
    REFUSED(505, "HTTP/0.9 by name is refused", "GET / HTTP/0.9\r\n" HOST END),
    REFUSED(400, "HTTP/1.01 is refused", "GET / HTTP/1.01\r\n" HOST END),
    REFUSED(400, "HTTP/1.257 is refused", "GET / HTTP/1.257\r\n" HOST END),
    REFUSED(400, "HTTP/1 is refused", "GET / HTTP/1\r\n" HOST END),
    REFUSED(400, "http/1.1 in small letters is refused", "GET / http/1.1\r\n" HOST END),
    REFUSED(400, "HTTP/1,1 is refused", "GET / HTTP/1,1\r\n" HOST END),
    /* the target */
    REFUSED(400, "an absolute target is refused", "GET http://localhost:6333/ HTTP/1.1\r\n" HOST END),
    REFUSED(400, "an authority as target is refused", "GET localhost:6333 HTTP/1.1\r\n" HOST END),
    REFUSED(400, "OPTIONS * is refused", "OPTIONS * HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a target that begins with a question mark is refused", "GET ?a HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a fragment in the target is refused", "GET /a#b HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a NUL in the target is refused", "GET /a\0b HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a control byte in the target is refused", "GET /a\x01 HTTP/1.1\r\n" HOST END),
    REFUSED(400, "a DEL in the target is refused", "GET /a\x7f HTTP/1.1\r\n" HOST END),
    REFUSED(400, "an 8-bit byte in the target is refused", "GET /\xc3\xa4 HTTP/1.1\r\n" HOST END),
    PASSES("two slashes are a path", "GET //collections HTTP/1.1\r\n" HOST END),
    PASSES("odd but visible bytes in the target pass", "GET /a%zz|\"<>^`{}\\?&&=;[] HTTP/1.1\r\n" HOST END),
    /* fields */
    REFUSED(400, "a folded line is refused", LINE HOST "X: a\r\n b\r\n\r\n"),
    REFUSED(400, "a line folded with a tab is refused", LINE HOST "X: a\r\n\tb\r\n\r\n"),
    REFUSED(400, "a blank before the first field is refused", LINE " " HOST END),
    REFUSED(400, "a blank before the colon is refused", LINE HOST "Content-Length : 5\r\n\r\n"),
    REFUSED(400, "a tab before the colon is refused", LINE HOST "Transfer-Encoding\t: chunked\r\n\r\n"),
    REFUSED(400, "a blank in a name is refused", LINE HOST "A B: c\r\n\r\n"),
    REFUSED(400, "an empty name is refused", LINE HOST ": c\r\n\r\n"),
    REFUSED(400, "a line without a colon is refused", LINE HOST "nonsense\r\n\r\n"),
    REFUSED(400, "a name with parentheses is refused", LINE HOST "A(B): c\r\n\r\n"),
    REFUSED(400, "a name with a control byte is refused", LINE HOST "A\x01: c\r\n\r\n"),
    REFUSED(400, "a name with a NUL is refused", LINE HOST "Content-Length\0xyz: 5\r\n\r\n"),
    REFUSED(400, "a name with an 8-bit byte is refused", LINE HOST "\xc3\xa4: c\r\n\r\n"),
    REFUSED(400, "a NUL in a value is refused", LINE HOST "X: a\0b\r\n\r\n"),
    REFUSED(400, "a DEL in a value is refused", LINE HOST "X: a\x7f\r\n\r\n"),
    REFUSED(400, "an escape in a value is refused", LINE HOST "X: 0123456789\x1b[0m\r\n\r\n"),
    PASSES("a tab in a value passes", LINE HOST "X: a\tb c\td 0123456789\t0123456789\r\n\r\n"),
    PASSES("8-bit bytes in a value pass", LINE HOST "X: \xc3\xa4\xff\x80 0123456789\r\n\r\n"),
    PASSES("an empty value passes", LINE HOST "X:\r\nY: \t \r\n\r\n"),
    REFUSED(400, "two keys are refused", LINE HOST "api-key: a\r\nAPI-Key: a\r\n\r\n"),
    REFUSED(400, "two Authorization are refused",
           LINE HOST "Authorization: Bearer a\r\nauthorization: Bearer b\r\n\r\n"),
    PASSES("two of what matters less pass",
           LINE HOST "Content-Type: a\r\nContent-Type: b\r\nAccept: c\r\nAccept: d\r\n\r\n"),
    /* Host */
    REFUSED(400, "HTTP/1.1 without Host is refused", LINE END),
    REFUSED(400, "two Host are refused", LINE HOST HOST END),
    REFUSED(400, "two Host are refused in HTTP/1.0", "GET / HTTP/1.0\r\n" HOST HOST END),
    REFUSED(400, "an empty Host is refused", LINE "Host:\r\n\r\n"),
    REFUSED(400, "an empty Host is refused in HTTP/1.0", "GET / HTTP/1.0\r\nHost: \r\n\r\n"),
    REFUSED(400, "a list of hosts is refused", LINE "Host: a,b\r\n\r\n"),
    REFUSED(400, "a blank in Host is refused", LINE "Host: a b\r\n\r\n"),
    REFUSED(400, "a user in Host is refused", LINE "Host: me@localhost\r\n\r\n"),
    REFUSED(400, "a path in Host is refused", LINE "Host: localhost/a\r\n\r\n"),
    REFUSED(400, "a port that is no number is refused", LINE "Host: localhost:http\r\n\r\n"),
    REFUSED(400, "a port over 65535 is refused", LINE "Host: localhost:65536\r\n\r\n"),
    REFUSED(400, "a port without a host is refused", LINE "Host: :6333\r\n\r\n"),
    REFUSED(400, "two ports are refused", LINE "Host: localhost:1:2\r\n\r\n"),
    REFUSED(400, "an open bracket in Host is refused", LINE "Host: [::1\r\n\r\n"),
    REFUSED(400, "a name in brackets is refused", LINE "Host: [local]\r\n\r\n"),
    REFUSED(400, "bytes after the bracket are refused", LINE "Host: [::1]x\r\n\r\n"),
    REFUSED(400, "half a percent sequence in Host is refused", LINE "Host: a%2\r\n\r\n"),
    PASSES("an IPv6 Host passes", LINE "Host: [::1]:6333\r\n\r\n"),
    PASSES("an IPv4 Host passes", LINE "Host: 127.0.0.1\r\n\r\n"),
    PASSES("a percent sequence in Host passes", LINE "Host: a%2Db_c:65535\r\n\r\n"),
    PASSES("HTTP/1.0 without Host passes", "GET / HTTP/1.0\r\n\r\n", .close = true),
    /* Content-Length */
    PASSES("a body of five bytes",
           POST "Content-Length: 5\r\n\r\n", .framing = HTTP_BODY_LENGTH, .length = 5),
    PASSES("a body of no bytes", POST "Content-Length: 0\r\n\r\n", .framing = HTTP_BODY_LENGTH),
    PASSES("a length with leading zeros is decimal",
           POST "Content-Length: 0012\r\n\r\n", .framing = HTTP_BODY_LENGTH, .length = 12),
    PASSES("the greatest length",
           POST "content-length: 9223372036854775807\r\n\r\n", .framing = HTTP_BODY_LENGTH,
           .length = INT64_MAX),
    PASSES("GET with a body",
           LINE HOST "Content-Length: 7\r\n\r\n", .framing = HTTP_BODY_LENGTH, .length = 7),
    PASSES("HTTP/1.0 with a body",
           "POST / HTTP/1.0\r\nContent-Length: 7\r\n\r\n", .framing = HTTP_BODY_LENGTH, .length = 7,
           .close = true),
    REFUSED(400, "a length over the greatest is refused", POST "Content-Length: 9223372036854775808\r\n\r\n"),
    REFUSED(400, "a length of 2^64 is refused", POST "Content-Length: 18446744073709551616\r\n\r\n"),
    REFUSED(400, "a length of 21 digits is refused", POST "Content-Length: 000000000000000000005\r\n\r\n"),
    REFUSED(400, "an empty length is refused", POST "Content-Length:\r\n\r\n"),
    REFUSED(400, "a length with a sign is refused", POST "Content-Length: +5\r\n\r\n"),
    REFUSED(400, "a negative length is refused", POST "Content-Length: -1\r\n\r\n"),
    REFUSED(400, "a hexadecimal length is refused", POST "Content-Length: 0x5\r\n\r\n"),
    REFUSED(400, "a list of equal lengths is refused", POST "Content-Length: 5, 5\r\n\r\n"),
    REFUSED(400, "a length with a fraction is refused", POST "Content-Length: 5.0\r\n\r\n"),
    REFUSED(400, "two equal lengths are refused", POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    REFUSED(400, "two lengths are refused", POST "Content-Length: 5\r\ncontent-length: 3\r\n\r\n"),
    /* Transfer-Encoding */
    PASSES("a chunked body", POST "Transfer-Encoding: chunked\r\n\r\n", .framing = HTTP_BODY_CHUNKED),
    PASSES("a chunked body in capitals",
           POST "TRANSFER-ENCODING: CHUNKED\r\n\r\n", .framing = HTTP_BODY_CHUNKED),
    PASSES("a chunked body with blanks around",
           POST "Transfer-Encoding: \t chunked \t\r\n\r\n", .framing = HTTP_BODY_CHUNKED),
    REFUSED(400, "length and coding are refused",
           POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(400, "coding and length are refused",
           POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    REFUSED(400, "length and an unknown coding are refused",
           POST "Transfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"),
    REFUSED(400, "a coding in HTTP/1.0 is refused", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(501, "gzip is not known", POST "Transfer-Encoding: gzip\r\n\r\n"),
    REFUSED(501, "xchunked is not known", POST "Transfer-Encoding: xchunked\r\n\r\n"),
    REFUSED(501, "identity is not known", POST "Transfer-Encoding: identity\r\n\r\n"),
    REFUSED(501, "gzip, chunked is not known", POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    REFUSED(501, "gzip and chunked on two lines are not known",
           POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(400, "chunked, identity is refused", POST "Transfer-Encoding: chunked, identity\r\n\r\n"),
    REFUSED(400, "chunked twice in a line is refused", POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    REFUSED(400, "chunked on two lines is refused",
           POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    REFUSED(400, "chunked and an empty element are refused", POST "Transfer-Encoding: chunked,\r\n\r\n"),
    REFUSED(400, "an empty coding is refused", POST "Transfer-Encoding:\r\n\r\n"),
    REFUSED(400, "chunked with a parameter is refused", POST "Transfer-Encoding: chunked;a=b\r\n\r\n"),
    REFUSED(400, "chunked in quotes is refused", POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    REFUSED(400, "a vertical tab before chunked is refused",
           POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n"),
    /* Expect */
    PASSES("Expect with a length",
           POST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", .framing = HTTP_BODY_LENGTH, .length = 5,
           .expect = true),
    PASSES("Expect in capitals with a coding",
           POST "Expect: 100-CONTINUE\r\nTransfer-Encoding: chunked\r\n\r\n",
           .framing = HTTP_BODY_CHUNKED, .expect = true),
    PASSES("Expect without a body waits for nothing", POST "Expect: 100-continue\r\n\r\n"),
    PASSES("Expect in HTTP/1.0 is ignored", "POST / HTTP/1.0\r\nExpect: teapot\r\nContent-Length: 5\r\n\r\n",
           .framing = HTTP_BODY_LENGTH, .length = 5, .close = true),
    REFUSED(417, "another expectation is refused", POST "Expect: 200-ok\r\nContent-Length: 5\r\n\r\n"),
    REFUSED(417, "a second expectation is refused",
           POST "Expect: 100-continue\r\nExpect: x\r\nContent-Length: 5\r\n\r\n"),
    /* Connection */
    PASSES("HTTP/1.1 is kept", LINE HOST END),
    PASSES("HTTP/1.1 with close is closed", LINE HOST "Connection: close\r\n\r\n", .close = true),
    PASSES("close anywhere counts",
           LINE HOST "Connection: x-a\r\nConnection: , keep-alive , CLOSE\r\n\r\n", .close = true),
    PASSES("HTTP/1.0 is closed", "GET / HTTP/1.0\r\n" HOST END, .close = true),
    PASSES("HTTP/1.0 with keep-alive is kept", "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
    PASSES("HTTP/1.0 with both is closed",
           "GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", .close = true),
    PASSES("Connection may name what is of one connection",
           LINE HOST "Connection: Upgrade, HTTP2-Settings, TE, keep-alive\r\n\r\n"),
    REFUSED(400, "an option that is no token is refused", LINE HOST "Connection: a b\r\n\r\n"),
    REFUSED(400, "an option in quotes is refused", LINE HOST "Connection: \"close\"\r\n\r\n"),
    REFUSED(400, "Connection must not name Content-Length",
           POST "Connection: content-length\r\nContent-Length: 5\r\n\r\n"),
    REFUSED(400, "Connection must not name Transfer-Encoding", POST "Connection: Transfer-Encoding\r\n\r\n"),
    REFUSED(400, "Connection must not name Host", LINE HOST "Connection: close, Host\r\n\r\n"),
    REFUSED(400, "Connection must not name the key", LINE HOST "Connection: Api-Key\r\n\r\n"),
    REFUSED(400, "Connection must not name Authorization", LINE HOST "Connection: authorization\r\n\r\n"),
    REFUSED(400, "Connection must not name Content-Type", LINE HOST "Connection: content-type\r\n\r\n"),
    REFUSED(400, "Connection must not name X-Forwarded-For", LINE HOST "Connection: x-forwarded-for\r\n\r\n"),
    REFUSED(400, "thirty-three options are refused",
           LINE HOST "Connection: " X10("a,") X10("a,") X10("a,") "a,a,a\r\n\r\n"),
    PASSES("thirty-two options pass", LINE HOST "Connection: " X10("a,") X10("a,") X10("a,") "a,a\r\n\r\n"),
};

static void check_row(void **state)
{
    const struct row *row = *state;
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(http_parse_request, row->in, got);
    if (row->status) {
        assert_int_equal(got->result, HTTP_REFUSED);
        if (got->no.status != row->status)
            fail_msg("status %u, expected %u: %s", got->no.status, row->status, got->no.why);
        assert_true(strlen(got->no.why) > 10);
    } else {
        if (got->result != HTTP_DONE)
            fail_msg("result %d, status %u: %s", got->result, got->no.status, got->no.why);
        assert_int_equal(got->head_n, row->in.n);
        assert_int_equal(got->head.framing, row->framing);
        assert_int_equal(got->head.length, row->length);
        assert_int_equal(got->head.keep_alive, !row->close);
        assert_int_equal(got->head.expect_continue, row->expect);
    }
    free(got);
    assert_same_for_every_cut(http_parse_request, row->in);
}

static void every_part_of_a_request_is_where_it_should_be(void **state)
{
    static const char in[] = "\r\nPOST /collections/a%20b/points?wait=true&x=? HTTP/1.1\r\n"
                             "Host: [::1]:6333\r\nContent-Length:3\r\nX-Thing: \t two words\t \r\n"
                             "Connection: x-thing, keep-alive\r\n\r\n[1]GET";
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(http_parse_request, str_slice(in, sizeof in - 1), got);
    const struct http_head *h = &got->head;
    assert_int_equal(got->result, HTTP_DONE);
    assert_int_equal(got->head_n, sizeof in - 1 - 6);
    assert_slice(str_slice(in + got->head_n, 3), STR("[1]"));
    assert_ptr_equal(h->raw.p, in + 2);
    assert_int_equal(h->raw.n, got->head_n - 2);
    assert_slice(h->method, STR("POST"));
    assert_slice(h->target, STR("/collections/a%20b/points?wait=true&x=?"));
    assert_slice(h->path, STR("/collections/a%20b/points"));
    assert_slice(h->query, STR("wait=true&x=?"));
    assert_int_equal(h->minor, 1);
    assert_int_equal(h->n_fields, 4);
    assert_slice(http_value(h, HF_HOST), STR("[::1]:6333"));
    assert_slice(h->field[2].name, STR("X-Thing"));
    assert_slice(h->field[2].value, STR("two words"));
    assert_slice(h->field[2].line, STR("X-Thing: \t two words\t \r\n"));
    assert_true(h->field[2].hop);
    assert_true(h->field[3].hop);
    assert_false(h->field[0].hop || h->field[1].hop);
    assert_null(http_field(h, HF_ORIGIN));
    assert_null(http_value(h, HF_ORIGIN).p);
    assert_false(h->is_head_method);
    free(got);
}

static void a_query_may_be_empty_or_absent(void **state)
{
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(http_parse_request, STR("HEAD /a? HTTP/1.1\r\n" HOST END), got);
    assert_non_null(got->head.query.p);
    assert_int_equal(got->head.query.n, 0);
    assert_true(got->head.is_head_method);
    parse_at_once(http_parse_request, STR("head /a HTTP/1.1\r\n" HOST END), got);
    assert_null(got->head.query.p);
    assert_false(got->head.is_head_method);
    free(got);
}

static void every_known_field_is_recognised_in_any_case(void **state)
{
    static const struct { const char *name; enum http_field_id id; bool hop; } known[] = {
#define X(id, name) {name, HF_##id, false},
        HTTP_FIELDS(X)
#undef X
    };
    struct outcome *got = mem_zalloc(sizeof *got);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char in[256], name[64];
        for (size_t k = 0; k <= strlen(known[i].name); k++)
            name[k] = (char)(k % 2 && known[i].name[k] >= 'a' ? known[i].name[k] & ~0x20 : known[i].name[k]);
        int n = snprintf(in, sizeof in, "HTTP/1.1 204 x\r\nx%s: 0\r\n%s: %s\r\n%sx: 0\r\n\r\n", name, name,
                         known[i].id == HF_TRANSFER_ENCODING ? "x" : "0", name);
        size_t scanned = 0;
        got->result = http_parse_response(in, (size_t)n, &scanned, true, &got->head, &got->head_n, &got->no);
        assert_int_equal(got->result, known[i].id == HF_TRANSFER_ENCODING ? HTTP_REFUSED : HTTP_DONE);
        assert_int_equal(got->head.field[0].id, HF_OTHER);
        assert_int_equal(got->head.field[1].id, known[i].id);
        assert_int_equal(got->head.first[known[i].id], 2);
        assert_int_equal(got->head.count[known[i].id], 1);
    }
    free(got);
}

static void hop_by_hop_fields_are_marked_without_being_named(void **state)
{
    static const char in[] = 
        LINE HOST "Keep-Alive: a\r\nProxy-Connection: a\r\nProxy-Authenticate: a\r\n"
        "Proxy-Authorization: a\r\nTE: trailers\r\nTrailer: a\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n"
        "Connection: upgrade\r\nTransfer-Encoding: chunked\r\nAccept: a\r\nExpect: 100-continue\r\n\r\n";
    struct outcome *got = mem_zalloc(sizeof *got);
    parse_at_once(http_parse_request, str_slice(in, sizeof in - 1), got);
    assert_int_equal(got->result, HTTP_DONE);
    assert_int_equal(got->head.n_fields, 13);
    for (unsigned i = 0; i < 13; i++)
        assert_int_equal(got->head.field[i].hop, i > 0 && i < 11);
    free(got);
}

/* "GET /aaaa... HTTP/1.1" with a target of n bytes, fields, and a filler field so that the whole head has
 * total bytes (0: no filler). */
static struct str make_head(size_t n_target, unsigned n_fields, size_t total)
{
    char *p = mem_alloc(128 * 1024);
    size_t at = (size_t)sprintf(p, "GET /");
    memset(p + at, 'a', n_target - 1);
    at += n_target - 1;
    at += (size_t)sprintf(p + at, " HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 1; i < n_fields; i++)
        at += (size_t)sprintf(p + at, "x%u: y\r\n", i);
    if (total) {
        at += (size_t)sprintf(p + at, "filler: ");
        memset(p + at, 'b', total - at - 4);
        at = total - 4;
        at += (size_t)sprintf(p + at, "\r\n");
    }
    at += (size_t)sprintf(p + at, "\r\n");
    return (struct str){p, at};
}

static void check_limit(struct str in, unsigned status)
{
    struct outcome *got = mem_zalloc(sizeof *got);
    for (int way = 0; way < 3; way++) {
        if (way == 0)
            parse_at_once(http_parse_request, in, got);
        else if (way == 1)
            parse_in_two(http_parse_request, in, in.n / 2, got);
        else
            parse_in_two(http_parse_request, in, in.n - 1, got);
        assert_int_equal(got->result, status ? HTTP_REFUSED : HTTP_DONE);
        if (status)
            assert_int_equal(got->no.status, status);
    }
    free(got);
    free((char *)in.p);
}

static void a_target_of_8192_bytes_passes_and_one_more_is_414(void **state)
{
    check_limit(make_head(HTTP_TARGET_MAX, 1, 0), 0);
    check_limit(make_head(HTTP_TARGET_MAX + 1, 1, 0), 414);
    check_limit(make_head(HTTP_TARGET_MAX + 1000, 1, 0), 414);
    check_limit(make_head(40 * 1024, 1, 0), 414);
}

static void a_hundred_fields_pass_and_one_more_is_431(void **state)
{
    check_limit(make_head(1, 100, 0), 0);
    check_limit(make_head(1, 101, 0), 431);
}

static void a_head_of_32768_bytes_passes_and_one_more_is_431(void **state)
{
    check_limit(make_head(1, 1, HTTP_HEAD_MAX), 0);
    check_limit(make_head(1, 1, HTTP_HEAD_MAX + 1), 431);
}

static void limits_are_noticed_before_the_end_of_the_head(void **state)
{
    struct outcome *got = mem_zalloc(sizeof *got);
    struct str in = make_head(20000, 1, 0);
    parse_at_once(http_parse_request, str_slice(in.p, 8300), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    assert_int_equal(got->no.status, 414);
    free((char *)in.p);
    in = make_head(1, 1, 40000);
    parse_at_once(http_parse_request, str_slice(in.p, HTTP_HEAD_MAX - 1), got);
    assert_int_equal(got->result, HTTP_MORE);
    parse_at_once(http_parse_request, str_slice(in.p, HTTP_HEAD_MAX), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    assert_int_equal(got->no.status, 431);
    memset((char *)in.p, 'A', 9000);
    parse_at_once(http_parse_request, str_slice(in.p, 9000), got);
    assert_int_equal(got->result, HTTP_REFUSED);
    assert_int_equal(got->no.status, 400);
    free((char *)in.p);
    free(got);
}

static const struct http_limits wider = {.target = 3 * HTTP_TARGET_MAX, .head = 2 * HTTP_HEAD_MAX};

static enum http_result parse_wider(const char *in, size_t n, size_t *scanned, struct http_head *head, size_t *head_n,
                                    struct http_refusal *no)
{
    return http_parse_request_within(&wider, in, n, scanned, head, head_n, no);
}

static void other_limits_are_kept_as_well(void **state)
{
    static const struct {
        size_t target, total;
        unsigned status;
    } cases[] = {
        {3 * HTTP_TARGET_MAX, 0, 0},         {3 * HTTP_TARGET_MAX + 1, 0, 414}, {60000, 0, 414},
        {1, 2 * HTTP_HEAD_MAX, 0},           {1, 2 * HTTP_HEAD_MAX + 1, 431},
    };
    struct outcome *got = mem_zalloc(sizeof *got);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct str in = make_head(cases[i].target, 1, cases[i].total);
        parse_at_once(parse_wider, in, got);
        assert_int_equal(got->result, cases[i].status ? HTTP_REFUSED : HTTP_DONE);
        if (cases[i].status)
            assert_int_equal(got->no.status, cases[i].status);
        free((char *)in.p);
    }
    free(got);
}

static void the_same_bytes_are_looked_at_once_only(void **state)
{
    struct outcome *got = mem_zalloc(sizeof *got);
    size_t scanned = 0;
    struct str in = STR(LINE HOST "X: y\r\n");
    assert_int_equal(http_parse_request(in.p, in.n, &scanned, &got->head, &got->head_n, &got->no), HTTP_MORE);
    assert_int_equal(scanned, in.n);
    in = STR(LINE HOST "X: y\r\n\r\n" LINE);
    assert_int_equal(http_parse_request(in.p, in.n, &scanned, &got->head, &got->head_n, &got->no), HTTP_DONE);
    assert_int_equal(scanned, 0);
    assert_int_equal(got->head_n, in.n - strlen(LINE));
    free(got);
}

static void a_refusal_never_quotes_a_value(void **state)
{
    static const struct str heads[] = {
        STR(LINE HOST "api-key: s3cret\x01\r\n\r\n"),   STR(LINE HOST "api-key : s3cret\r\n\r\n"),
        STR(LINE HOST "api-key: a\r\n s3cret\r\n\r\n"), STR(LINE HOST "s3cret\r\n\r\n"),
        STR(LINE HOST "Connection: s3cret s3cret\r\n\r\n"), STR("GET s3cret HTTP/1.1\r\n\r\n"),
        STR(LINE HOST "api-key: s3cret\r\napi-key: s3cret\r\n\r\n"),
    };
    struct outcome *got = mem_zalloc(sizeof *got);
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        parse_at_once(http_parse_request, heads[i], got);
        assert_int_equal(got->result, HTTP_REFUSED);
        assert_null(strstr(got->no.why, "s3cret"));
    }
    free(got);
}

int main(void)
{
    static struct CMUnitTest tests[HEADS_TESTS_MAX] = {
        cmocka_unit_test(every_part_of_a_request_is_where_it_should_be),
        cmocka_unit_test(a_query_may_be_empty_or_absent),
        cmocka_unit_test(every_known_field_is_recognised_in_any_case),
        cmocka_unit_test(hop_by_hop_fields_are_marked_without_being_named),
        cmocka_unit_test(a_target_of_8192_bytes_passes_and_one_more_is_414),
        cmocka_unit_test(a_hundred_fields_pass_and_one_more_is_431),
        cmocka_unit_test(a_head_of_32768_bytes_passes_and_one_more_is_431),
        cmocka_unit_test(limits_are_noticed_before_the_end_of_the_head),
        cmocka_unit_test(other_limits_are_kept_as_well),
        cmocka_unit_test(the_same_bytes_are_looked_at_once_only),
        cmocka_unit_test(a_refusal_never_quotes_a_value),
    };
    size_t n = 0;
    while (tests[n].name)
        n++;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, check_row, NULL, NULL, (void *)&rows[i]};
    return _cmocka_run_group_tests("request heads", tests, n, NULL, NULL);
}
