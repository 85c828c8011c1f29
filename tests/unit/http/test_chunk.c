/* The chunked coding: every row whole, cut in two at every place, and byte by byte. */
#include "http/heads.h"

#include "http/chunk.h"

struct row {
    const char *name;
    struct str in;
    enum chunk_result end; /* CHUNK_END, CHUNK_BAD or CHUNK_MORE */
    const char *body;
    size_t n_after; /* bytes that follow the end */
};

#define ROW(name_, bytes, ...) {.name = name_, .in = {bytes, sizeof(bytes) - 1}, __VA_ARGS__}
#define GOOD(name_, bytes, ...) ROW(name_, bytes, .end = CHUNK_END, .body = __VA_ARGS__)
#define OPEN(name_, bytes, body_) ROW(name_, bytes, .end = CHUNK_MORE, .body = body_)
#define BAD(name_, bytes, body_) ROW(name_, bytes, .end = CHUNK_BAD, .body = body_)

static const struct row rows[] = {
    GOOD("an empty body", "0\r\n\r\n", ""),
    GOOD("one chunk", "5\r\nhello\r\n0\r\n\r\n", "hello"),
    GOOD("several chunks", "1\r\na\r\n2\r\nbc\r\n00a\r\n0123456789\r\n0\r\n\r\n", "abc0123456789"),
    GOOD("capital and small digits",
           "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789"),
    GOOD("what follows the end is left alone", "1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n", "a", .n_after = 16),
    GOOD("data that looks like chunks", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"),
    GOOD("sixteen digits", "0000000000000001\r\na\r\n0000000000000000\r\n\r\n", "a"),
    GOOD("extensions are skipped", "1;a=b;c=\"d\";\xc3\xa4 \t\r\nx\r\n0;last\r\n\r\n", "x"),
    GOOD("trailers are dropped",
           "1\r\na\r\n0\r\nX: y\r\nContent-Length: 5\r\nempty:\r\n\r\nnext", "a", .n_after = 4),
    OPEN("no end yet", "5\r\nhel", "hel"),
    OPEN("no blank line yet", "1\r\na\r\n0\r\n", "a"),
    OPEN("a greatest size is waited for", "7fffffffffffffff\r\nabc", "abc"),
    BAD("no digit is refused", "\r\n", ""),
    BAD("an extension without a size is refused", ";a\r\n", ""),
    BAD("seventeen digits are refused", "00000000000000001\r\n", ""),
    BAD("65 bits are refused", "10000000000000005\r\nabcde\r\n", ""),
    BAD("a size of 2^63 is refused", "8000000000000000\r\n", ""),
    BAD("a sign is refused", "+1\r\na\r\n0\r\n\r\n", ""),
    BAD("a negative size is refused", "-1\r\na\r\n0\r\n\r\n", ""),
    BAD("0x is refused", "0x1\r\na\r\n0\r\n\r\n", ""),
    BAD("a blank before the size is refused", " 1\r\na\r\n0\r\n\r\n", ""),
    BAD("a blank after the size is refused", "1 \r\na\r\n0\r\n\r\n", ""),
    BAD("a digit over f is refused", "g\r\n", ""),
    BAD("an 8-bit digit is refused", "\xb1\r\na\r\n", ""),
    BAD("a bare LF after the size is refused", "1\na\r\n0\r\n\r\n", ""),
    BAD("a bare CR after the size is refused", "1\ra\r\n0\r\n\r\n", ""),
    BAD("a bare LF in an extension is refused", "1;a\nb\r\nx\r\n0\r\n\r\n", ""),
    BAD("a bare CR in an extension is refused", "1;a\rb\r\nx\r\n0\r\n\r\n", ""),
    BAD("a NUL in an extension is refused", "1;a\0b\r\nx\r\n0\r\n\r\n", ""),
    BAD("data that is too long is refused", "1\r\nab\r\n0\r\n\r\n", "a"),
    BAD("a bare LF after the data is refused", "1\r\na\n0\r\n\r\n", "a"),
    BAD("a bare CR after the data is refused", "1\r\na\r0\r\n\r\n", "a"),
    BAD("a size right after the data is refused", "1\r\na0\r\n\r\n", "a"),
    BAD("a bare LF as the end is refused", "0\r\n\n", ""),
    BAD("a bare CR as the end is refused", "0\r\n\rX", ""),
    BAD("a trailer without a colon is refused", "0\r\nabc\r\n\r\n", ""),
    BAD("a trailer without a name is refused", "0\r\n: a\r\n\r\n", ""),
    BAD("a folded trailer is refused", "0\r\nA: b\r\n c\r\n\r\n", ""),
    BAD("a blank before a trailer's colon is refused", "0\r\nA : b\r\n\r\n", ""),
    BAD("a bare LF after a trailer is refused", "0\r\nA: b\n\r\n", ""),
    BAD("a control byte in a trailer is refused", "0\r\nA: b\x01\r\n\r\n", ""),
};

struct fed {
    enum chunk_result end;
    char body[1024];
    size_t n_body, n_used;
};

/* Feeds in[0..n) from a block of that size; the result that is not data. */
static enum chunk_result feed(struct chunk_decoder *d, struct str in, struct fed *out)
{
    char *copy = mem_alloc(in.n);
    if (in.n)
        memcpy(copy, in.p, in.n);
    for (size_t at = 0;;) {
        size_t used;
        struct str data;
        out->end = chunk_decode(d, str_slice(copy + at, in.n - at), &used, &data);
        assert_true(used <= in.n - at);
        if (out->end == CHUNK_DATA) {
            assert_true(data.n > 0 && data.p >= copy + at && data.p + data.n == copy + at + used);
            assert_true(out->n_body + data.n <= sizeof out->body);
            memcpy(out->body + out->n_body, data.p, data.n);
            out->n_body += data.n;
        }
        at += used;
        out->n_used += used;
        if (out->end == CHUNK_DATA)
            continue;
        if (out->end == CHUNK_MORE)
            assert_int_equal(at, in.n);
        free(copy);
        return out->end;
    }
}

static void check_fed(const struct row *row, const struct fed *got)
{
    assert_int_equal(got->end, row->end);
    assert_slice(str_slice(got->body, got->n_body), str_of(row->body));
    if (row->end == CHUNK_END)
        assert_int_equal(got->n_used, row->in.n - row->n_after);
}

static void check_row(void **state)
{
    const struct row *row = *state;
    for (size_t cut = 0; cut <= row->in.n; cut++) {
        struct chunk_decoder d;
        struct fed got = {0};
        chunk_init(&d);
        if (feed(&d, str_slice(row->in.p, cut), &got) == CHUNK_MORE)
            feed(&d, str_slice(row->in.p + cut, row->in.n - cut), &got);
        check_fed(row, &got);
    }
    struct chunk_decoder d;
    struct fed got = {0};
    chunk_init(&d);
    for (size_t at = 0; at < row->in.n && got.end != CHUNK_END && got.end != CHUNK_BAD; at++)
        feed(&d, str_slice(row->in.p + at, 1), &got);
    check_fed(row, &got);
}

/* Feeds head, n times filler, tail; the last result. */
static enum chunk_result feed_around(const char *head, size_t n, const char *filler, const char *tail)
{
    struct chunk_decoder d;
    struct fed got = {0};
    chunk_init(&d);
    enum chunk_result r = feed(&d, str_of(head), &got);
    for (size_t i = 0; i < n && r == CHUNK_MORE; i++)
        r = feed(&d, str_of(filler), &got);
    return r == CHUNK_MORE ? feed(&d, str_of(tail), &got) : r;
}

static void an_extension_has_256_bytes_at_most(void **state)
{
    assert_int_equal(feed_around("1;", 255, "e", "\r\na\r\n0\r\n\r\n"), CHUNK_END);
    assert_int_equal(feed_around("1;", 256, "e", "\r\na\r\n0\r\n\r\n"), CHUNK_BAD);
}

static void every_chunk_may_have_an_extension(void **state)
{
    assert_int_equal(feed_around("", 100, "1;0123456789abcdef\r\nx\r\n", "0\r\n\r\n"), CHUNK_END);
}

static void trailers_have_8192_bytes_at_most(void **state)
{
    assert_int_equal(feed_around("0\r\n", 1024, "a: bcd\r\n", "\r\n"), CHUNK_END);
    assert_int_equal(feed_around("0\r\n", 1024, "a: bcd\r\n", "b"), CHUNK_BAD);
    assert_int_equal(feed_around("0\r\na:", 8188, "b", "\r\n\r\n"), CHUNK_END);
    assert_int_equal(feed_around("0\r\na:", 8189, "b", "\r\n\r\n"), CHUNK_BAD);
}

static void an_end_and_a_fault_stay(void **state)
{
    struct chunk_decoder d;
    size_t used;
    struct str data;
    chunk_init(&d);
    assert_int_equal(chunk_decode(&d, STR("0\r\n\r\n5"), &used, &data), CHUNK_END);
    assert_int_equal(used, 5);
    assert_int_equal(chunk_decode(&d, STR("5\r\n"), &used, &data), CHUNK_END);
    assert_int_equal(used, 0);
    chunk_init(&d);
    assert_int_equal(chunk_decode(&d, STR("x"), &used, &data), CHUNK_BAD);
    assert_int_equal(chunk_decode(&d, STR("0\r\n\r\n"), &used, &data), CHUNK_BAD);
    chunk_init(&d);
    assert_int_equal(chunk_decode(&d, STR_NONE, &used, &data), CHUNK_MORE);
    assert_int_equal(used, 0);
}

static void a_chunk_line_is_understood_by_the_decoder(void **state)
{
    static const uint64_t sizes[] = {1, 15, 16, 255, 256, 65536, 0x123456789, INT64_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct chunk_decoder d;
        char line[20], want[20];
        size_t n = chunk_line(line, sizes[i]), used;
        struct str data;
        int n_want = snprintf(want, sizeof want, "%llx\r\n", (unsigned long long)sizes[i]);
        assert_slice(str_slice(line, n), str_slice(want, (size_t)n_want));
        chunk_init(&d);
        assert_int_equal(chunk_decode(&d, str_slice(line, n), &used, &data), CHUNK_MORE);
        assert_int_equal(d.left, sizes[i]);
    }
    char line[20];
    assert_int_equal(chunk_line(line, UINT64_MAX), 18);
}

int main(void)
{
    static struct CMUnitTest tests[HEADS_TESTS_MAX] = {
        cmocka_unit_test(an_extension_has_256_bytes_at_most),
        cmocka_unit_test(every_chunk_may_have_an_extension),
        cmocka_unit_test(trailers_have_8192_bytes_at_most),
        cmocka_unit_test(an_end_and_a_fault_stay),
        cmocka_unit_test(a_chunk_line_is_understood_by_the_decoder),
    };
    size_t n = 0;
    while (tests[n].name)
        n++;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tests[n++] = (struct CMUnitTest){rows[i].name, check_row, NULL, NULL, (void *)&rows[i]};
    return _cmocka_run_group_tests("chunks", tests, n, NULL, NULL);
}
