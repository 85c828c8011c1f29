/* Any bytes as a head. First byte: bits 0-1 choose request, answer or answer to HEAD; bits 2-7 where it is
 * cut.
 * Claims: however the bytes arrive, the outcome is the same; what is accepted has every slice inside and
 * obeys the policy when looked at again naively; written anew from its parts it parses to the same parts. */
#include <stdio.h>

#include "fuzz.h"
#include "http/head.h"

enum way { REQUEST, ANSWER, ANSWER_TO_HEAD };

struct outcome {
    enum http_result result;
    size_t head_n;
    struct http_refusal no;
    struct http_head head;
};

static void parse(enum way way, const char *in, size_t n, size_t *scanned, struct outcome *out)
{
    out->no = (struct http_refusal){0};
    out->result = way == REQUEST
                      ? http_parse_request(in, n, scanned, &out->head, &out->head_n, &out->no)
                      : http_parse_response(in, n, scanned, way == ANSWER_TO_HEAD, &out->head, &out->head_n,
                                            &out->no);
    CLAIM(out->result <= HTTP_REFUSED);
    CLAIM(out->result != HTTP_MORE || *scanned <= n);
    CLAIM(out->result != HTTP_DONE || (out->head_n <= n && *scanned == 0));
    if (out->result == HTTP_REFUSED) {
        unsigned s = out->no.status;
        CLAIM(memchr(out->no.why, 0, sizeof out->no.why) && out->no.why[0]);
        bool usual = s == 400 || s == 414 || s == 417 || s == 431 || s == 501 || s == 505;
        CLAIM(way == REQUEST ? usual : s == 502);
    }
}

static void check_fields(const struct http_head *h)
{
    const char *at = h->n_fields ? h->field[0].line.p : NULL;
    unsigned lengths = 0, codings = 0;
    CLAIM(h->n_fields <= HTTP_FIELDS_MAX);
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http_field *f = &h->field[i];
        CLAIM(f->line.p == at && lies_in(f->line, h->raw));
        CLAIM(lies_in(f->name, f->line) && lies_in(f->value, f->line));
        at += f->line.n;
        CLAIM(f->name.p == f->line.p && f->name.n > 0 && f->name.p[f->name.n] == ':');
        CLAIM(memcmp(f->line.p + f->line.n - 2, "\r\n", 2) == 0);
        for (size_t k = 0; k < f->name.n; k++)
            CLAIM(f->name.p[k] > ' ' && f->name.p[k] < 0x7f && f->name.p[k] != ':');
        for (size_t k = 0; k < f->value.n; k++)
            CLAIM((unsigned char)f->value.p[k] >= ' ' ? f->value.p[k] != 0x7f : f->value.p[k] == '\t');
        lengths += str_ieq(f->name, STR("content-length"));
        codings += str_ieq(f->name, STR("transfer-encoding"));
        CLAIM(f->id < HF_COUNT && (f->id == HF_OTHER || (h->first[f->id] && h->first[f->id] <= i + 1)));
    }
    if (h->n_fields)
        CLAIM(at + 2 == h->raw.p + h->raw.n && memcmp(at, "\r\n", 2) == 0);
    CLAIM(lengths + codings <= 1);
    CLAIM(h->framing != HTTP_BODY_CHUNKED || (codings == 1 && h->minor == 1));
    CLAIM(h->framing != HTTP_BODY_LENGTH || (lengths == 1 && h->length <= INT64_MAX));
}

static void check_accepted(enum way way, struct str in, const struct outcome *got)
{
    const struct http_head *h = &got->head;
    const struct str parts[] = {h->raw, h->method, h->target, h->path, h->query, h->reason};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        CLAIM(lies_in(parts[i], in));
    CLAIM(h->raw.p + h->raw.n == in.p + got->head_n && h->raw.n <= HTTP_HEAD_MAX);
    for (size_t i = 0; i < h->raw.n; i++) {
        CLAIM(h->raw.p[i] != 0);
        CLAIM(h->raw.p[i] != '\n' || (i && h->raw.p[i - 1] == '\r'));
        CLAIM(h->raw.p[i] != '\r' || (i + 1 < h->raw.n && h->raw.p[i + 1] == '\n'));
    }
    CLAIM(memmem(h->raw.p, h->raw.n, "\r\n\r\n", 4) == h->raw.p + h->raw.n - 4);
    CLAIM(h->minor <= 1);
    check_fields(h);
    if (way == REQUEST) {
        CLAIM(h->method.n && h->path.n && h->path.p[0] == '/' && h->target.n <= HTTP_TARGET_MAX);
        CLAIM(h->framing != HTTP_BODY_UNTIL_CLOSE);
        CLAIM(h->count[HF_HOST] == 1 || (h->minor == 0 && !h->count[HF_HOST]));
    } else {
        CLAIM(h->status >= 100 && h->status <= 599 && h->status != 101);
        CLAIM(way != ANSWER_TO_HEAD || h->framing == HTTP_BODY_NONE);
    }
}

static void same_outcome(struct str a_in, const struct outcome *a, struct str b_in, const struct outcome *b)
{
    CLAIM(a->result == b->result);
    if (a->result != HTTP_DONE)
        return;
    const struct http_head *h = &a->head, *g = &b->head;
    CLAIM(a->head_n == b->head_n && h->n_fields == g->n_fields && h->status == g->status);
    CLAIM(h->framing == g->framing && h->length == g->length);
    CLAIM(h->keep_alive == g->keep_alive && h->expect_continue == g->expect_continue);
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http_field *f = &h->field[i], *e = &g->field[i];
        CLAIM(f->value.p - a_in.p == e->value.p - b_in.p && f->value.n == e->value.n);
        CLAIM(f->id == e->id && f->hop == e->hop);
    }
}

/* In two pieces, and for short ones byte by byte. */
static void check_cuts(enum way way, struct str in, unsigned cut64, const struct outcome *whole)
{
    struct outcome *got = mem_alloc(sizeof *got);
    size_t scanned = 0, cut = in.n * cut64 / 64;
    char *copy = exact_copy(in.p, cut);
    parse(way, copy, cut, &scanned, got);
    bool at_once = got->result != HTTP_MORE;
    if (!at_once)
        parse(way, in.p, in.n, &scanned, got);
    same_outcome(in, whole, at_once ? str_slice(copy, cut) : in, got);
    free(copy);
    scanned = 0;
    got->result = HTTP_MORE;
    for (size_t n = 0; in.n <= 400 && n <= in.n && got->result == HTTP_MORE; n++)
        parse(way, in.p, n, &scanned, got);
    if (in.n <= 400)
        same_outcome(in, whole, in, got);
    free(got);
}

static size_t put(char *out, size_t at, struct str s)
{
    if (s.n)
        memcpy(out + at, s.p, s.n);
    return at + s.n;
}

/* "name: value" lines behind a canonical start line: what quiver sends on must mean the same to the next
 * reader. */
static void check_written_anew(enum way way, const struct http_head *h)
{
    char *out = mem_alloc(h->raw.n + h->n_fields + 32);
    size_t at = put(out, 0, way == REQUEST ? h->method : h->minor ? STR("HTTP/1.1 ") : STR("HTTP/1.0 "));
    if (way == REQUEST) {
        at = put(out, at, STR(" "));
        at = put(out, at, h->target);
        at = put(out, at, h->minor ? STR(" HTTP/1.1") : STR(" HTTP/1.0"));
    } else {
        char digits[16];
        at = put(out, at, str_slice(digits, (size_t)snprintf(digits, sizeof digits, "%u ", h->status)));
        at = put(out, at, h->reason);
    }
    at = put(out, at, STR("\r\n"));
    for (unsigned i = 0; i < h->n_fields; i++) {
        at = put(out, at, h->field[i].name);
        at = put(out, at, STR(": "));
        at = put(out, at, h->field[i].value);
        at = put(out, at, STR("\r\n"));
    }
    at = put(out, at, STR("\r\n"));
    struct outcome *again = mem_alloc(sizeof *again);
    size_t scanned = 0;
    if (at <= HTTP_HEAD_MAX) {
        parse(way, out, at, &scanned, again);
        CLAIM(again->result == HTTP_DONE && again->head_n == at && again->head.n_fields == h->n_fields);
        CLAIM(again->head.framing == h->framing && again->head.length == h->length);
        CLAIM(again->head.keep_alive == h->keep_alive);
        for (unsigned i = 0; i < h->n_fields; i++) {
            const struct http_field *f = &h->field[i], *e = &again->head.field[i];
            CLAIM(str_eq(e->value, f->value) && e->hop == f->hop);
        }
    }
    free(again);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    enum way way = (data[0] & 3) % 3;
    char *copy = exact_copy(data + 1, n - 1);
    struct str in = {copy, n - 1};
    struct outcome *got = mem_alloc(sizeof *got);
    size_t scanned = 0;
    parse(way, copy, in.n, &scanned, got);
    if (got->result == HTTP_DONE) {
        check_accepted(way, in, got);
        check_written_anew(way, &got->head);
        struct str item, list = got->head.n_fields ? got->head.field[0].value : STR_NONE;
        for (struct str rest = list; http_list_item(&rest, &item);)
            CLAIM(item.n && lies_in(item, list) && lies_in(rest, list));
        for (enum http_field_id id = 0; id < HF_COUNT; id++)
            http_list_has(&got->head, id, STR("no-cache"));
    }
    check_cuts(way, in, data[0] >> 2, got);
    free(got);
    free(copy);
    return 0;
}
