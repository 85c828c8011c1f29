/* Any bytes as a chunked body. First byte: how long the pieces are in which they arrive.
 * Claims: however they arrive, the body and the end are the same; a body written with chunk_line comes back.
 * */
#include "fuzz.h"
#include "http/chunk.h"

struct decoded {
    enum chunk_result end;
    char *body;
    size_t n_body, n_used;
};

/* piece: bytes a call gets at most. */
static struct decoded decode(struct str in, size_t piece)
{
    struct decoded out = {.end = CHUNK_MORE, .body = mem_alloc(in.n)};
    struct chunk_decoder d;
    chunk_init(&d);
    while (out.n_used < in.n && out.end != CHUNK_END && out.end != CHUNK_BAD) {
        size_t n = in.n - out.n_used < piece ? in.n - out.n_used : piece, used = SIZE_MAX;
        char *copy = exact_copy(in.p + out.n_used, n);
        struct str data;
        out.end = chunk_decode(&d, str_slice(copy, n), &used, &data);
        CLAIM(used <= n && lies_in(data, str_slice(copy, n)));
        CLAIM(out.end == CHUNK_DATA ? data.n > 0 && data.p + data.n == copy + used : data.n == 0);
        CLAIM(out.end != CHUNK_MORE || used == n);
        if (data.n)
            memcpy(out.body + out.n_body, data.p, data.n);
        out.n_body += data.n;
        out.n_used += used;
        free(copy);
    }
    if (out.end == CHUNK_DATA)
        out.end = CHUNK_MORE;
    return out;
}

static void check_same(const struct decoded *a, const struct decoded *b)
{
    CLAIM(a->end == b->end && a->n_body == b->n_body && a->n_used == b->n_used);
    CLAIM(memcmp(a->body, b->body, a->n_body) == 0);
}

static void check_round_trip(struct str body, size_t piece)
{
    char *out = mem_alloc(body.n * 8 + 32);
    size_t at = 0;
    for (size_t from = 0; from < body.n;) {
        size_t n = body.n - from < piece ? body.n - from : piece;
        char line[20];
        size_t n_line = chunk_line(line, n);
        memcpy(out + at, line, n_line);
        memcpy(out + at + n_line, body.p + from, n);
        memcpy(out + at + n_line + n, "\r\n", 2);
        at += n_line + n + 2;
        from += n;
    }
    memcpy(out + at, "0\r\n\r\nnext", 9);
    struct decoded got = decode(str_slice(out, at + 9), 7);
    CLAIM(got.end == CHUNK_END && got.n_used == at + 5 && str_eq(str_slice(got.body, got.n_body), body));
    free(got.body);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    struct str in = {(const char *)data + 1, n - 1};
    struct decoded whole = decode(in, SIZE_MAX), dripped = decode(in, 1);
    struct decoded cut = decode(in, (size_t)data[0] + 1);
    check_same(&whole, &cut);
    check_same(&whole, &dripped);
    check_round_trip(in, (size_t)data[0] + 1);
    free(whole.body);
    free(cut.body);
    free(dripped.body);
    return 0;
}
