#include "qdrant/reply.h"

#include <math.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "base/writer.h"

enum {
    TAIL_MAX = 8192,      /* the envelope's own members at the end of an answer are shorter */
    PROOF_DEPTH_MAX = 32, /* answers to writes are flat */
};

struct str reply_error_body(struct arena *a, struct str text)
{
    static const struct str head = {"{\"status\":{\"error\":", 19}, tail = {"},\"time\":0.000000000}", 21};
    char *out = arena_alloc(a, head.n + 6 * text.n + 2 + tail.n);
    size_t n = head.n;
    memcpy(out, head.p, head.n);
    n += json_quote(out + n, text);
    memcpy(out + n, tail.p, tail.n);
    return str_slice(out, n + tail.n);
}

static bool is_number_byte(char c)
{
    return (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E';
}

/* What follows the number must be the end of the outermost object, with at most `usage` between. */
static bool tail_fits(struct str body, struct envelope *out)
{
    static const struct str usage = {",\"usage\":", 9};
    struct json j = {body.p + out->time_at + out->time_n, body.p + body.n};
    out->usage_at = (size_t)(j.at - body.p);
    if (str_starts(str_slice(j.at, (size_t)(j.end - j.at)), usage)) {
        struct str value;
        j.at += usage.n;
        enum json_kind kind = json_peek(&j);
        if ((kind != JSON_OBJECT && kind != JSON_NULL) || !json_skip(&j, PROOF_DEPTH_MAX, &value))
            return false;
        out->usage_n = (size_t)(j.at - body.p) - out->usage_at;
    }
    return j.end - j.at == 1 && *j.at == '}';
}

bool reply_envelope(struct str body, struct envelope *out)
{
    static const struct str time = {",\"time\":", 8};
    *out = (struct envelope){0};
    if (body.n < time.n + 3 || body.p[0] != '{' || body.p[body.n - 1] != '}')
        return false;
    size_t floor = body.n > TAIL_MAX ? body.n - TAIL_MAX : 0;
    for (size_t at = body.n - time.n; at-- > floor;) {
        if (body.p[at] != ',' || memcmp(body.p + at, time.p, time.n) != 0)
            continue;
        size_t end = out->time_at = at + time.n;
        while (end < body.n && is_number_byte(body.p[end]))
            end++;
        out->time_n = end - out->time_at;
        out->usage_n = 0;
        /* Only one object can end where the text ends, so whatever fits here is the envelope's. */
        if (out->time_n && tail_fits(body, out))
            return true;
    }
    *out = (struct envelope){0};
    return false;
}

size_t reply_time(char out[static 32], uint64_t nsec)
{
    struct writer w = writer_on(out, 32);
    put_number(&w, nsec / 1000000000);
    put(&w, STR("."));
    put_padded(&w, nsec % 1000000000, 9);
    return writer_text(&w).n;
}

/* 0: not a time. */
static size_t nine_decimals(struct str number, char out[static 32])
{
    char text[64];
    if (number.n >= sizeof text)
        return 0;
    memcpy(text, number.p, number.n);
    text[number.n] = 0;
    double seconds = strtod(text, NULL);
    return seconds >= 0 && seconds < 1e6 ? reply_time(out, (uint64_t)llround(seconds * 1e9)) : 0;
}

void reply_take_apart(struct str body, struct reply_pieces *out)
{
    struct envelope e;
    *out = (struct reply_pieces){.before = body, .n = body.n};
    if (!reply_envelope(body, &e) || !(out->n_time = nine_decimals(str_slice(body.p + e.time_at, e.time_n), out->time)))
        return;
    size_t rest = e.time_at + e.time_n;
    out->had_usage = e.usage_n != 0;
    out->before.n = e.time_at;
    out->between = out->had_usage ? str_slice(body.p + rest, e.usage_at - rest) : STR_NONE;
    rest = out->had_usage ? e.usage_at + e.usage_n : rest;
    out->after = str_slice(body.p + rest, body.n - rest);
    out->n = out->before.n + out->n_time + out->between.n + out->after.n;
}

char *reply_put_together(char *out, const struct reply_pieces *p)
{
    const struct str piece[] = {p->before, {p->time, p->n_time}, p->between, p->after};
    for (unsigned i = 0; i < sizeof piece / sizeof *piece; i++)
        if (piece[i].n)
            out = (char *)memcpy(out, piece[i].p, piece[i].n) + piece[i].n;
    return out;
}

/* ---- answers to writes ---- */

struct verdicts {
    unsigned n, n_completed, n_numbered; /* results seen */
    uint64_t operation_id;               /* the largest */
};

/* One {"operation_id":N,"status":"..."}. */
static bool read_result(struct json *j, struct verdicts *v)
{
    bool first = true, escaped, bad = false, numbered = false;
    struct str key, value;
    uint64_t id;
    if (!json_enter(j, '{'))
        return false;
    v->n++;
    while (json_key(j, &first, &key, &escaped, &bad)) {
        enum json_kind kind = json_peek(j);
        if (!json_skip(j, PROOF_DEPTH_MAX, &value))
            return false;
        if (str_eq(key, STR("status")) && kind == JSON_STRING && str_eq(value, STR("\"completed\"")))
            v->n_completed++;
        else if (str_eq(key, STR("operation_id")) && kind == JSON_NUMBER && str_u64(value, UINT64_MAX, &id)) {
            numbered = true;
            v->operation_id = id > v->operation_id ? id : v->operation_id;
        }
    }
    v->n_numbered += numbered;
    return !bad;
}

static bool read_results(struct json *j, struct verdicts *v)
{
    bool first = true, bad = false;
    if (json_peek(j) == JSON_OBJECT)
        return read_result(j, v);
    if (!json_enter(j, '['))
        return false;
    while (json_item(j, &first, &bad))
        if (!read_result(j, v))
            return false;
    return !bad;
}

/* False unless the text is an envelope whose `result` is one result or an array of them. */
static bool read_answer(struct str body, struct verdicts *v)
{
    struct json j = {body.p, body.p + body.n};
    bool first = true, escaped, bad = false, found = false;
    struct str key, value;
    if (!body.n || !json_enter(&j, '{'))
        return false;
    while (json_key(&j, &first, &key, &escaped, &bad)) {
        if (!found && str_eq(key, STR("result"))) {
            found = true;
            if (!read_results(&j, v))
                return false;
        } else if (!json_skip(&j, PROOF_DEPTH_MAX, &value)) {
            return false;
        }
    }
    return !bad && found && json_at_end(&j);
}

/* Snapshot operations have a `wait`, but say 202 when they did not wait; an operation that quiver does not know may
 * have a `wait` as well. */
bool reply_ok_is_done(const struct op *op)
{
    if (op->class == CLASS_SNAPSHOT_WRITE)
        return true;
    return op->id != OP_UNKNOWN && !(op->flags & OP_HAS_WAIT);
}

enum write_proof reply_write_proof(const struct op *op, unsigned status, struct str body,
                                   uint64_t *operation_id)
{
    struct verdicts v = {0};
    bool readable = status == 200 && read_answer(body, &v);
    if (operation_id)
        *operation_id = readable && v.n_numbered == v.n ? v.operation_id : 0;
    if (status == 401 || status == 403)
        return PROOF_REFUSED;
    if (status >= 400 && status < 500)
        return status == 408 ? PROOF_NONE : PROOF_REJECTED;
    if (status != 200)
        return PROOF_NONE;
    if (reply_ok_is_done(op))
        return PROOF_COMPLETED;
    bool any = v.n || op->id != OP_UNKNOWN; /* a batch of nothing is done, but who knows what no results mean elsewhere */
    return readable && any && v.n_completed == v.n ? PROOF_COMPLETED : PROOF_NONE;
}
