/* queries.c - what is asked, by shape: the digests of engine/digest.h as a document. */
#include <math.h>
#include <stdlib.h>

#include "api/routes.h"
#include "base/log.h"
#include "base/metrics.h"
#include "engine/digest.h"
#include "qdrant/query.h"

enum { ROWS_DEFAULT = 100, ROWS_MAX = 10000 };

/* A row with its percentiles; without the histogram, which is large. */
struct query {
    const struct digest_key *key; /* NULL: the row "other" */
    uint64_t first, last;         /* microseconds since 1970; 0: never */
    uint64_t count, errors, lookups, hits, coalesced, rewritten, total, mean, p50, p99, slowest;
    double hit_rate;              /* NAN: the cache was never asked */
};

/* What rows are ordered by: uint64_t members, but for the rate. */
static const struct sort {
    struct str name;
    size_t member;
} sorts[] = {
#define SORT(name, member) {{name, sizeof(name) - 1}, offsetof(struct query, member)}
    SORT("total", total),
    SORT("count", count),
    SORT("mean", mean),
    SORT("p50", p50),
    SORT("p99", p99),
    SORT("slowest", slowest),
    SORT("hit_rate", hit_rate),
    SORT("errors", errors),
    SORT("last", last),
#undef SORT
};
enum { SORTS = sizeof sorts / sizeof *sorts };

/* ---- gathering ---- */

struct gathering {
    const bool *wanted;   /* by the model's number in metrics; NULL: all */
    uint64_t now, now_unix;
    struct query *query, other;
    unsigned n, cap;
};

/* The upper end of its bucket, but never more than the slowest. */
static uint64_t percentile(const struct digest_sums *s, double q)
{
    uint64_t usec = hist_percentile(&s->usec, q);
    return usec < s->slowest ? usec : s->slowest;
}

static struct query query_of(const struct gathering *g, const struct digest_row *row)
{
    const struct digest_sums *s = &row->sums;
    return (struct query){
        .key = row->key,
        .first = row->first_unix,
        .last = s->last ? g->now_unix - (g->now - s->last) : 0,
        .count = s->count,
        .errors = s->errors,
        .lookups = s->lookups,
        .hits = s->hits,
        .coalesced = s->coalesced,
        .rewritten = s->rewritten,
        .total = s->usec.sum_usec,
        .mean = s->count ? s->usec.sum_usec / s->count : 0,
        .p50 = percentile(s, 0.5),
        .p99 = percentile(s, 0.99),
        .slowest = s->slowest,
        .hit_rate = s->lookups ? (double)s->hits / (double)s->lookups : NAN,
    };
}

static void gather(const struct digest_row *row, void *arg)
{
    struct gathering *g = arg;
    if (!row->key)
        g->other = query_of(g, row);
    else if (g->n < g->cap && row->sums.count && (!g->wanted || g->wanted[row->key->model]))
        g->query[g->n++] = query_of(g, row);
}

static double figure(const struct query *q, const struct sort *by)
{
    const char *at = (const char *)q + by->member;
    if (by->member == offsetof(struct query, hit_rate))
        return isnan(q->hit_rate) ? -1 : q->hit_rate;
    return (double)*(const uint64_t *)(const void *)at;
}

struct ordering {
    const struct sort *by;
    bool ascending;
};

static int compare(const void *one, const void *two, void *arg)
{
    const struct ordering *o = arg;
    double a = figure(one, o->by), b = figure(two, o->by);
    if (a == b)
        return 0;
    return (a < b) == o->ascending ? -1 : 1;
}

/* ---- the document ---- */

static struct node *when(struct arena *a, uint64_t unix_usec)
{
    char stamp[LOG_TIME_N];
    return node_text(a, unix_usec ? arena_copy(a, str_slice(stamp, log_time(stamp, unix_usec))) : STR_NONE);
}

static struct node *usec_of(struct arena *a, const struct query *q, uint64_t usec)
{
    return q->count ? node_uint(a, usec) : node_text(a, STR_NONE);
}

static void add_figures(struct arena *a, struct node *out, const struct query *q)
{
    node_add(out, STR("count"), node_uint(a, q->count));
    node_add(out, STR("errors"), node_uint(a, q->errors));
    node_add(out, STR("rewritten"), node_uint(a, q->rewritten));
    node_add(out, STR("coalesced"), node_uint(a, q->coalesced));
    node_add(out, STR("lookups"), node_uint(a, q->lookups));
    node_add(out, STR("hits"), node_uint(a, q->hits));
    node_add(out, STR("hit_rate"), node_real(a, q->hit_rate));
    node_add(out, STR("total_us"), node_uint(a, q->total));
    node_add(out, STR("mean_us"), usec_of(a, q, q->mean));
    node_add(out, STR("p50_us"), usec_of(a, q, q->p50));
    node_add(out, STR("p99_us"), usec_of(a, q, q->p99));
    node_add(out, STR("slowest_us"), usec_of(a, q, q->slowest));
    node_add(out, STR("first"), when(a, q->first));
    node_add(out, STR("last"), when(a, q->last));
}

static struct node *query_node(struct arena *a, const struct query *q)
{
    const struct digest_key *key = q->key;
    struct node *out = node_object(a), *parameters = node_list(a);
    node_add(out, STR("model"), node_text(a, str_of(metrics_model_name(key->model))));
    node_add(out, STR("collection"), node_text(a, key->collection));
    node_add(out, STR("operation"), node_text(a, str_of(key->op->name)));
    node_add(out, STR("filter"), node_text(a, key->filter));
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        if (key->knobs & 1u << k)
            node_add(parameters, STR_NONE, node_text(a, knob_paths[k]));
    if (key->knobs & 1u << KNOB_COUNT)
        node_add(parameters, STR_NONE, node_text(a, STR("?")));
    node_add(out, STR("parameters"), parameters);
    add_figures(a, out, q);
    return out;
}

/* ---- what was asked for ---- */

/* The word that a query parameter has, with or without the unit that the figure's own name has; the first without one. False when the call has been answered. */
static bool word_of(struct call *call, const char *name, const struct str *words, unsigned n, unsigned *out)
{
    struct str text, all = STR("");
    bool bad;
    *out = 0;
    if (!call_query(call, name, &text, &bad))
        return !bad;
    struct str bare = text.n > 3 && memcmp(text.p + text.n - 3, "_us", 3) == 0 ? str_slice(text.p, text.n - 3) : text;
    for (unsigned i = 0; i < n; i++) {
        if (str_eq(words[i], bare))
            return *out = i, true;
        all = arena_printf(&call->arena, "%.*s%s%.*s", STR_ARG(all), i ? ", " : "", STR_ARG(words[i]));
    }
    call_error(call, 400, "%s: found '%.*s', expected one of %.*s", name, (int)(text.n < 40 ? text.n : 40), text.n ? text.p : "",
               STR_ARG(all));
    return false;
}

static bool limit_of(struct call *call, uint64_t *out)
{
    struct str text;
    bool bad;
    *out = ROWS_DEFAULT;
    if (!call_query(call, "limit", &text, &bad))
        return !bad;
    if (str_u64(text, ROWS_MAX, out) && *out)
        return true;
    call_error(call, 400, "limit: found '%.*s', expected a whole number from 1 to %d", (int)(text.n < 40 ? text.n : 40),
               text.n ? text.p : "", ROWS_MAX);
    return false;
}

/* Models as flags by their number in metrics. */
struct wanted {
    bool *flags, any;
};

static void want(void *arg, const struct conf_model *model)
{
    struct wanted *w = arg;
    w->flags[model->metrics_id] = w->any = true;
}

/* *wanted NULL: all. False when the call has been answered. */
static bool models_of(struct call *call, const bool **wanted)
{
    struct wanted w = {.flags = arena_zalloc(&call->arena, METRICS_MODELS_MAX * sizeof *w.flags)};
    bool good = call_models(call, want, &w);
    *wanted = w.any ? w.flags : NULL;
    return good;
}

void api_queries(struct call *call)
{
    static const struct str orders[] = {{"desc", 4}, {"asc", 3}};
    struct str names[SORTS];
    struct arena *a = &call->arena;
    const struct digests *digests = call->api->hooks.worker->digests;
    struct gathering g = {.now = clock_usec(), .now_unix = clock_unix_usec()};
    struct ordering ordering;
    unsigned by, ascending, rows_max;
    uint64_t limit;
    for (unsigned i = 0; i < SORTS; i++)
        names[i] = sorts[i].name;
    if (!word_of(call, "sort", names, SORTS, &by) || !word_of(call, "order", orders, 2, &ascending) || !limit_of(call, &limit) ||
        !models_of(call, &g.wanted))
        return;
    if (!digests)
        return call_error(call, 503, "the control port is starting");
    unsigned rows = g.cap = digests_rows(digests, &rows_max);
    g.query = arena_alloc(a, (g.cap + 1) * sizeof *g.query);
    digests_each(digests, gather, &g);
    ordering = (struct ordering){&sorts[by], ascending != 0};
    qsort_r(g.query, g.n, sizeof *g.query, compare, &ordering);
    struct node *out = node_object(a), *list = node_list(a), *other = node_object(a);
    for (unsigned i = 0; i < g.n && i < limit; i++)
        node_add(list, STR_NONE, query_node(a, &g.query[i]));
    add_figures(a, other, &g.other);
    node_add(out, STR("queries"), list);
    node_add(out, STR("other"), other);
    node_add(out, STR("rows"), node_uint(a, rows));
    node_add(out, STR("rows_limit"), node_uint(a, rows_max));
    node_add(out, STR("since"), when(a, digests_since(digests)));
    call_reply_node(call, 200, out, STR_NONE);
}

void api_queries_reset(struct call *call)
{
    struct node *out = node_object(&call->arena);
    if (!call->api->hooks.reset_queries)
        return call_error(call, 503, "the control port is starting");
    call->api->hooks.reset_queries(call->api->hooks.arg);
    node_add(out, STR("since"), when(&call->arena, digests_since(call->api->hooks.worker->digests)));
    call_reply_node(call, 200, out, STR_NONE);
}
