#include "api/models.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdlib.h>

#include "api/routes.h"
#include "api/tuning.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "qdrant/ops.h"

/* ---- history: a ring of sums, one row every two seconds ---- */

enum { HISTORY_ROWS = 32 };
#define HISTORY_EVERY (2 * SEC)

struct history_row {
    uint64_t at;
    struct history_sums {
        uint64_t requests, lookups, hits;
    } model[METRICS_MODELS_MAX];
};

struct metrics_history {
    struct worker *worker;
    struct timer timer;
    unsigned n, newest;              /* rows in use; index of the last one */
    struct history_row row[HISTORY_ROWS];
};

static struct history_sums sums_of(unsigned metrics_id)
{
    struct hist_sum total = {0};
    metrics_model_hist_sum(metrics_id, MH_TOTAL, &total);
    return (struct history_sums){
        .requests = total.n,
        .lookups = metrics_model_sum(metrics_id, MM_CACHE_LOOKUPS),
        .hits = metrics_model_sum(metrics_id, MM_CACHE_HITS_MEMORY) +
                metrics_model_sum(metrics_id, MM_CACHE_HITS_REDIS),
    };
}

static void look(void *arg)
{
    struct metrics_history *h = arg;
    const struct conf *conf = h->worker->snapshot->conf;
    struct history_row *row = &h->row[h->newest = (h->newest + 1) % HISTORY_ROWS];
    if (h->n < HISTORY_ROWS)
        h->n++;
    row->at = clock_usec();
    for (unsigned i = 0; i < conf->n_models; i++)
        row->model[conf->model[i].metrics_id] = sums_of(conf->model[i].metrics_id);
    timer_set(&h->timer, row->at + HISTORY_EVERY);
}

struct metrics_history *metrics_history_open(struct worker *w)
{
    struct metrics_history *h = mem_zalloc(sizeof *h);
    h->worker = w;
    timer_init(&h->timer, &w->loop, look, h);
    look(h);
    return h;
}

void metrics_history_close(struct metrics_history **closing)
{
    struct metrics_history *h = *closing;
    *closing = NULL;
    if (!h)
        return;
    timer_fini(&h->timer);
    free(h);
}

/* Requests per second over the last `usec`, or as far back as it is known. */
static double rate(const struct metrics_history *h, unsigned metrics_id, uint64_t usec)
{
    uint64_t now = clock_usec();
    const struct history_row *from = &h->row[h->newest];
    for (unsigned back = 1; back < h->n && now - from->at < usec; back++)
        from = &h->row[(h->newest + HISTORY_ROWS - back) % HISTORY_ROWS];
    uint64_t n = sums_of(metrics_id).requests, before = from->model[metrics_id].requests;
    uint64_t span = now > from->at + HISTORY_EVERY ? now - from->at
                                                   : HISTORY_EVERY; /* a short past is no base for a rate */
    return n < before ? 0 : round((double)(n - before) * 100 * (double)SEC / (double)span) / 100;
}

/* ---- one model ---- */

static struct node *texts_node(struct arena *a, const struct opt_texts *texts)
{
    struct node *list = node_list(a);
    for (unsigned i = 0; i < texts->n; i++)
        node_add(list, STR_NONE, node_text(a, str_of(texts->text[i])));
    return list;
}

static struct node *uint_or_null(struct arena *a, uint64_t n)
{
    return n ? node_uint(a, n) : node_text(a, STR_NONE);
}

struct node *model_node(struct arena *a, const struct conf *conf, const struct conf_model *m)
{
    struct node *out = node_object(a), *targets = node_object(a);
    node_add(out, STR("model"), node_text(a, str_of(m->name)));
    node_add(out, STR("collection"), node_text(a, str_of(model_collection(m))));
    node_add(out, STR("collections"), texts_node(a, &m->base.collections));
    node_add(out, STR("vector_size"), uint_or_null(a, m->base.vector_size));
    node_add(out, STR("batch_size"), uint_or_null(a, m->base.batch_size));
    node_add(out, STR("upstream"), node_text(a, str_of(conf->group[m->group].name)));
    node_add(targets, STR("p50_us"), uint_or_null(a, m->base.target_p50));
    node_add(targets, STR("ops"), uint_or_null(a, m->base.target_ops));
    node_add(targets, STR("hit_rate"), node_real(a, m->base.target_hit_rate));
    node_add(targets, STR("recall"), node_real(a, m->base.target_recall));
    node_add(out, STR("targets"), targets);
    return out;
}

static struct node *latency_node(struct arena *a, unsigned metrics_id, enum metrics_model_hist id)
{
    struct hist_sum sum = {0};
    struct node *out = node_object(a);
    metrics_model_hist_sum(metrics_id, id, &sum);
    static const struct {
        const char *name;
        double q;
    } points[] = {{"p50", 0.5}, {"p90", 0.9}, {"p95", 0.95}, {"p99", 0.99}};
    node_add(out, STR("count"), node_uint(a, sum.n));
    node_add(out, STR("mean"), sum.n ? node_uint(a, sum.sum_usec / sum.n) : node_text(a, STR_NONE));
    for (unsigned i = 0; i < sizeof points / sizeof *points; i++)
        node_add(out, str_of(points[i].name),
                 sum.n ? node_uint(a, hist_percentile(&sum, points[i].q)) : node_text(a, STR_NONE));
    return out;
}

/* Statuses that quiver or Qdrant give; others count in the total only. */
static const unsigned statuses[] = {200, 202, 400, 401, 403, 404, 408, 409, 413,
                                    422, 429, 499, 500, 501, 502, 503, 504, 507};

static struct node *requests_node(struct arena *a, unsigned metrics_id)
{
    struct node *out = node_object(a), *operations = node_object(a);
    for (unsigned op = 0; op < OP_COUNT; op++) {
        struct node *of_op = NULL;
        for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++) {
            uint64_t n = metrics_requests_sum(metrics_id, op, statuses[i]);
            if (!n)
                continue;
            if (!of_op)
                of_op = node_add(operations, str_of(ops[op].name), node_object(a));
            node_add(of_op, arena_printf(a, "%u", statuses[i]), node_uint(a, n));
        }
    }
    node_add(out, STR("total"), node_uint(a, sums_of(metrics_id).requests));
    node_add(out, STR("by_operation"), operations);
    return out;
}

static uint64_t gauge(unsigned metrics_id, enum metrics_model_gauge id)
{
    int64_t n = metrics_model_gauge_sum(metrics_id, id);
    return n > 0 ? (uint64_t)n : 0; /* threads are read one after the other */
}

struct counted {
    const char *name;
    enum metrics_model_counter id;
};

static struct node *counters_node(struct arena *a, unsigned metrics_id, const struct counted *rows, size_t n)
{
    struct node *out = node_object(a);
    for (size_t i = 0; i < n; i++)
        node_add(out, str_of(rows[i].name), node_uint(a, metrics_model_sum(metrics_id, rows[i].id)));
    return out;
}

#define COUNTERS(a, metrics_id, rows) counters_node(a, metrics_id, rows, sizeof(rows) / sizeof *(rows))

static struct node *cache_node(struct arena *a, unsigned metrics_id)
{
    static const struct counted counts[] = {
        {"lookups", MM_CACHE_LOOKUPS},           {"hits_memory", MM_CACHE_HITS_MEMORY},
        {"hits_redis", MM_CACHE_HITS_REDIS},     {"misses_memory", MM_CACHE_MISSES_MEMORY},
        {"misses_redis", MM_CACHE_MISSES_REDIS}, {"stores_memory", MM_CACHE_STORES_MEMORY},
        {"stores_redis", MM_CACHE_STORES_REDIS}, {"coalesced", MM_COALESCED},
        {"holds", MM_CACHE_HOLDS},               {"evictions", MM_CACHE_MODEL_EVICTIONS},
    }, refused[] = {
        {"client", MM_CACHE_BYPASS_CLIENT},       {"token", MM_CACHE_BYPASS_TOKEN},
        {"body", MM_CACHE_BYPASS_BODY},           {"held", MM_CACHE_BYPASS_HELD},
        {"aliases", MM_CACHE_BYPASS_ALIASES},     {"upstream", MM_CACHE_BYPASS_UPSTREAM},
        {"rate_limit", MM_CACHE_BYPASS_LIMIT},    {"unindexed", MM_CACHE_BYPASS_UNINDEXED},
        {"other", MM_CACHE_BYPASS_OTHER},         {"away", MM_CACHE_UNSTORED_AWAY},
        {"large", MM_CACHE_UNSTORED_LARGE},       {"status", MM_CACHE_UNSTORED_STATUS},
    };
    struct node *out = COUNTERS(a, metrics_id, counts);
    node_add(out, STR("refused"), COUNTERS(a, metrics_id, refused));
    node_add(out, STR("entries"), node_uint(a, gauge(metrics_id, MG_CACHE_MODEL_ENTRIES)));
    node_add(out, STR("bytes"), node_uint(a, gauge(metrics_id, MG_CACHE_MODEL_BYTES)));
    node_add(out, STR("hit_age_us"), latency_node(a, metrics_id, MH_CACHE_AGE));
    node_add(out, STR("hit_rate"), node_real(a, metrics_hit_rate(metrics_id)));
    return out;
}

static struct node *pool_node(struct arena *a, const struct conf *conf, const struct conf_model *m)
{
    struct node *out = node_object(a);
    node_add(out, STR("limit"), node_uint(a, m->base.connections * conf->group[m->group].n_servers));
    node_add(out, STR("connections"), node_uint(a, gauge(m->metrics_id, MG_POOL_CONNECTIONS)));
    node_add(out, STR("idle"), node_uint(a, gauge(m->metrics_id, MG_POOL_IDLE)));
    return out;
}

static struct node *queue_node(struct arena *a, const struct conf_model *m)
{
    struct node *out = node_object(a);
    node_add(out, STR("limit_per_worker"), node_uint(a, m->base.queue));
    node_add(out, STR("length"), node_uint(a, gauge(m->metrics_id, MG_QUEUE_LENGTH)));
    node_add(out, STR("refused_full"), node_uint(a, metrics_model_sum(m->metrics_id, MM_QUEUE_FULL)));
    node_add(out, STR("refused_timeout"), node_uint(a, metrics_model_sum(m->metrics_id, MM_QUEUE_TIMEOUT)));
    return out;
}

struct node *model_metrics_node(struct arena *a, const struct metrics_history *h, const struct conf *conf,
                                const struct conf_model *m)
{
    struct node *out = node_object(a), *rates = node_object(a), *latency = node_object(a),
                *rewrites = node_object(a);
    node_add(out, STR("model"), node_text(a, str_of(m->name)));
    node_add(out, STR("requests"), requests_node(a, m->metrics_id));
    if (h) {
        node_add(rates, STR("10s"), node_real(a, rate(h, m->metrics_id, 10 * SEC)));
        node_add(rates, STR("60s"), node_real(a, rate(h, m->metrics_id, 60 * SEC)));
    }
    node_add(out, STR("requests_per_second"), rates);
    node_add(latency, STR("total"), latency_node(a, m->metrics_id, MH_TOTAL));
    node_add(latency, STR("queue"), latency_node(a, m->metrics_id, MH_QUEUE_WAIT));
    node_add(latency, STR("upstream_first_byte"), latency_node(a, m->metrics_id, MH_FIRST_BYTE));
    node_add(out, STR("latency_us"), latency);
    node_add(out, STR("cache"), cache_node(a, m->metrics_id));
    node_add(rewrites, STR("requests"), node_uint(a, metrics_model_sum(m->metrics_id, MM_REWRITES)));
    node_add(rewrites, STR("parameters"), node_uint(a, metrics_model_sum(m->metrics_id, MM_REWRITTEN_KNOBS)));
    node_add(rewrites, STR("skipped"), node_uint(a, metrics_model_sum(m->metrics_id, MM_REWRITE_SKIPPED)));
    node_add(out, STR("rewrites"), rewrites);
    node_add(out, STR("pool"), pool_node(a, conf, m));
    node_add(out, STR("queue"), queue_node(a, m));
    return out;
}

/* ---- routes ---- */

void api_models(struct call *call)
{
    struct arena *a = &call->arena;
    struct node *out = node_object(a), *list = node_add(out, STR("models"), node_list(a));
    for (unsigned i = 0; i < call->conf->n_models; i++) {
        const struct conf_model *m = &call->conf->model[i];
        struct node *one = node_add(list, STR_NONE, model_node(a, call->conf, m));
        node_add(one, STR("requests"), node_uint(a, sums_of(m->metrics_id).requests));
        node_add(one, STR("hit_rate"), node_real(a, metrics_hit_rate(m->metrics_id)));
    }
    call_reply_node(call, 200, out, STR_NONE);
}

/* Counts are known here; only memory has to be asked of Qdrant, and a slow one is not waited for. */
#define MEMORY_WAIT SEC

struct metrics_call {
    struct tuning_question memory;
    struct timer late;
    struct call *call;
};

/* memory: the document of its collections; NULL: it is not known. */
static void reply_metrics(struct call *call, struct cJSON *memory)
{
    struct arena *a = &call->arena;
    const struct api_tuning *t = call->api->hooks.tuning;
    struct node *out = model_metrics_node(a, call->api->history, call->conf, call->model);
    cJSON *of_model = cJSON_DetachItemFromArray(cJSON_GetObjectItemCaseSensitive(memory, "models"), 0);
    node_add(out, STR("memory"), node_doc(a, of_model));
    cJSON *test = t ? t->last_test(t->arg, call->model->name) : NULL, *recall = NULL;
    const cJSON *cold = cJSON_GetObjectItemCaseSensitive(
        cJSON_GetObjectItemCaseSensitive(test, "optimised"), "cold");
    recall = cJSON_Duplicate(cJSON_GetObjectItemCaseSensitive(cold, "recall"), true);
    node_add(out, STR("recall"), node_doc(a, recall)); /* null: not measured */
    node_add(out, STR("last_test"), node_doc(a, test));
    cJSON_Delete(memory);
    call_reply_node(call, 200, out, STR_NONE);
}

static void memory_known(struct tuning_question *q, unsigned status, struct cJSON *doc)
{
    struct metrics_call *m = (struct metrics_call *)q;
    timer_fini(&m->late);
    if (status != 200) {
        cJSON_Delete(doc);
        doc = NULL;
    }
    reply_metrics(m->call, doc);
}

static void forget(struct metrics_call *m)
{
    const struct api_tuning *t = m->call->api->hooks.tuning;
    timer_fini(&m->late);
    t->forget(t->arg, &m->memory);
}

static void memory_late(void *arg)
{
    struct metrics_call *m = arg;
    forget(m);
    reply_metrics(m->call, NULL);
}

static void stop(struct call *call)
{
    forget(call->work);
}

void api_model_metrics(struct call *call)
{
    const struct api_tuning *t = call->api->hooks.tuning;
    if (!t)
        return reply_metrics(call, NULL);
    struct metrics_call *m = arena_zalloc(&call->arena, sizeof *m);
    m->call = call;
    m->memory.done = memory_known;
    timer_init(&m->late, &call->api->hooks.worker->loop, memory_late, m);
    timer_set(&m->late, clock_usec() + MEMORY_WAIT);
    call->work = m;
    call->abandon = stop;
    t->memory(t->arg, call->model->name, &m->memory);
}
