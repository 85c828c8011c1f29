#include "engine/query_log.h"

#include <stdio.h>

#include "base/ensure.h"
#include "base/json_scan.h"
#include "base/log.h"
#include "engine/tx.h"
#include "qdrant/filter.h"

enum { LINE_MAX_BYTES = 8192, NAME_MAX_BYTES = 255, VALUE_MAX_BYTES = 32, KNOB_MAX_BYTES = 32 + VALUE_MAX_BYTES, REST_MAX_BYTES = 1024 };

/* A line that were cut would be no JSON: all of it fits. A byte of a text becomes six at most, as \u0000. */
_Static_assert(6 * (2 * NAME_MAX_BYTES + FILTER_SHAPE_MAX) + 2 * KNOB_COUNT * KNOB_MAX_BYTES + REST_MAX_BYTES <= LINE_MAX_BYTES, "a line");

/* ---- which ---- */

/* True with a chance of `part`: xorshift, seeded by the worker's own address. */
static bool drawn(struct worker *w, double part)
{
    uint64_t x = w->lot ? w->lot : (uint64_t)(uintptr_t)w | 1;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    w->lot = x;
    return (double)(x >> 11) * 0x1p-53 < part;
}

/* *suppressed: how many lines were left out since the last. */
static bool affords(struct query_log_budget *b, uint64_t now, unsigned rate, unsigned *suppressed)
{
    uint64_t second = now / SEC, was = atomic_load_explicit(&b->second, memory_order_relaxed);
    if (was != second && atomic_compare_exchange_strong(&b->second, &was, second))
        atomic_store_explicit(&b->used, 0, memory_order_relaxed);
    bool room = atomic_load_explicit(&b->used, memory_order_relaxed) < rate &&
                atomic_fetch_add_explicit(&b->used, 1, memory_order_relaxed) < rate;
    if (room)
        *suppressed = atomic_exchange_explicit(&b->suppressed, 0, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&b->suppressed, 1, memory_order_relaxed);
    return room;
}

/* ---- what ---- */

struct line {
    char text[LINE_MAX_BYTES];
    size_t n;
};

static void put(struct line *l, struct str s)
{
    ensure(s.n <= sizeof l->text - l->n);
    if (s.n)
        memcpy(l->text + l->n, s.p, s.n);
    l->n += s.n;
}

static void put_text(struct line *l, struct str s, size_t most)
{
    char quoted[6 * 512 + 2];
    s.n = s.n < most ? s.n : most;
    put(l, s.p ? str_slice(quoted, json_quote(quoted, s)) : STR("null"));
}

static void put_number(struct line *l, const char *name, uint64_t value)
{
    char text[80];
    int n = snprintf(text, sizeof text, ",\"%s\":%llu", name, (unsigned long long)value);
    put(l, str_slice(text, (size_t)n));
}

/* The knob that a key names below this prefix; KNOB_COUNT: none. A dot is our way to write a path: no key of Qdrant's has one. */
static unsigned knob_named(struct str prefix, struct str key)
{
    unsigned k = 0;
    if (memchr(key.p, '.', key.n))
        return KNOB_COUNT;
    for (; k < KNOB_COUNT; k++) {
        struct str path = knob_paths[k];
        if (path.n == prefix.n + key.n && str_starts(path, prefix) && memcmp(path.p + prefix.n, key.p, key.n) == 0)
            break;
    }
    return k;
}

/* The values of the knobs of a `params`: numbers and words, the last one where there are several. Everything else in it may be anybody's. */
static void read_knobs(struct json *j, struct str prefix, struct str value_of[KNOB_COUNT])
{
    struct str key, value;
    bool first = true, escaped, bad = false;
    if (!json_enter(j, '{'))
        return;
    while (json_key(j, &first, &key, &escaped, &bad)) {
        unsigned knob = escaped ? KNOB_COUNT : knob_named(prefix, key);
        if (!prefix.n && str_eq(key, STR("quantization")) && json_peek(j) == JSON_OBJECT) {
            read_knobs(j, STR("quantization."), value_of);
            continue;
        }
        enum json_kind is = json_peek(j);
        if (!json_skip(j, QUERY_DEPTH_MAX, &value))
            return;
        if (knob < KNOB_COUNT && value.n <= VALUE_MAX_BYTES && is != JSON_STRING && is != JSON_OBJECT && is != JSON_ARRAY)
            value_of[knob] = value;
    }
}

static void put_params(struct line *l, struct str name, struct str params)
{
    struct json j = {params.p, params.p + params.n};
    struct str value[KNOB_COUNT] = {STR_NONE};
    bool any = false;
    put(l, name);
    put(l, STR("{"));
    if (params.n)
        read_knobs(&j, STR(""), value);
    for (unsigned k = 0; k < KNOB_COUNT; k++) {
        if (!value[k].n)
            continue;
        put(l, any ? STR(",\"") : STR("\""));
        put(l, knob_paths[k]);
        put(l, STR("\":"));
        put(l, value[k]);
        any = true;
    }
    put(l, STR("}"));
}

static struct str answered_by(const struct tx *tx)
{
    if (tx->answer.status == 499 || !tx->answer.status)
        return STR("nobody");
    if (str_eq(str_of(tx->cache_word), STR("hit")))
        return tx->from_redis ? STR("redis") : STR("memory");
    if (tx->collapsed)
        return STR("another");
    return tx->answer.local ? STR("quiver") : STR("upstream");
}

static void put_why(struct line *l, bool slow, bool rewritten, bool sampled)
{
    const struct {
        bool is;
        struct str word;
    } rows[] = {{slow, STR("slow")}, {rewritten, STR("rewritten")}, {sampled, STR("sampled")}};
    bool any = false;
    put(l, STR(",\"why\":["));
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].is)
            continue;
        if (any)
            put(l, STR(","));
        put_text(l, rows[i].word, 16);
        any = true;
    }
    put(l, STR("]"));
}

/* Times are those of the turns of the loop, which may have begun a little before the request. */
static uint64_t since(uint64_t from, uint64_t to)
{
    return to > from ? to - from : 0;
}

static void put_line(struct line *l, const struct tx *tx, uint64_t now)
{
    const struct fetch *f = &tx->fetch;
    const struct query_facts *q = &tx->query;
    put(l, STR(",\"model\":"));
    put_text(l, str_of(tx->model->name), NAME_MAX_BYTES);
    put(l, STR(",\"collection\":"));
    put_text(l, tx->resolved, NAME_MAX_BYTES);
    put(l, STR(",\"operation\":"));
    put_text(l, str_of(tx->route.op->name), 64);
    put_number(l, "status", tx->answer.status);
    put(l, STR(",\"cache\":"));
    put_text(l, str_of(tx->cache_word), 16);
    put(l, STR(",\"answered\":"));
    put_text(l, answered_by(tx), 16);
    put_number(l, "total_us", now - tx->began);
    put_number(l, "queue_us", f->started ? since(f->started, f->slot_at) : 0);
    put_number(l, "upstream_us", f->slot_at ? since(f->slot_at > tx->began ? f->slot_at : tx->began, f->first_byte_at) : 0);
    put(l, STR(",\"filter\":"));
    put_text(l, tx->shape, FILTER_SHAPE_MAX);
    put_params(l, STR(",\"parameters_before\":"), tx_body_there(tx) ? q->params_before : STR_NONE);
    put_params(l, STR(",\"parameters_after\":"), q->params_after);
    put_number(l, "changed", tx->n_rewritten);
}

void query_log(struct tx *tx, uint64_t now)
{
    const struct conf_process *p = &tx->snapshot->conf->process;
    struct worker *w = tx->worker;
    if (!log_file_on(LOG_QUERIES))
        return;
    bool slow = now - tx->began >= p->query_slow, rewritten = p->query_rewritten && tx->n_rewritten;
    bool sampled = p->query_sample > 0 && drawn(w, p->query_sample);
    unsigned suppressed;
    if (!slow && !rewritten && !sampled)
        return;
    if (!affords(&w->shared->query_log[slow], now, (unsigned)p->query_rate, &suppressed)) {
        metrics_add(w->metrics, M_QUERY_LOG_SUPPRESSED, 1);
        return;
    }
    struct line l;
    char stamp[LOG_TIME_N];
    l.n = 0;
    put(&l, STR("{\"time\":\""));
    put(&l, str_slice(stamp, log_time(stamp, clock_unix_usec())));
    put(&l, STR("\""));
    put_why(&l, slow, rewritten, sampled);
    put_line(&l, tx, now);
    put_number(&l, "suppressed", suppressed);
    put(&l, STR("}"));
    log_line(LOG_QUERIES, str_slice(l.text, l.n));
    metrics_add(w->metrics, M_QUERY_LOG_LINES, 1);
}
