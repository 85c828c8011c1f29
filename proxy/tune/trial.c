#include "tune/trial.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/log.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "engine/tx.h"
#include "tune/ask.h"
#include "tune/doc.h"
#include "tune/history.h"
#include "tune/jobs.h"
#include "tune/measure.h"
#include "tune/survey.h"

enum { ESCAPED_MAX = 800, ERROR_MAX = 320, PAGE_BYTES = 256 << 10, NUMBER_BYTES = 24, LIMIT = MEASURE_TOP, PAGES_MAX = 4 * TRIAL_QUERIES };
#define SCROLL_WITHIN (15 * SEC)
#define ANSWER_WITHIN (10 * SEC) /* beyond its part's time, for the last requests of a part */

/* The kinds of requests. A plain one carries nothing of quiver's and is not rewritten. Of exact ones, that each scan all that is stored, only a
 * few go at once. */
enum kind { EXACT, BASELINE, COLD, WARM, N_KINDS };
static const struct {
    const char *name, *params;
    bool plain, cached;
    unsigned at_once;
} kinds[N_KINDS] = {
    [EXACT] = {"exact", ",\"params\":{\"exact\":true}", true, false, 2},
    [BASELINE] = {"baseline", ",\"params\":{\"quantization\":{\"ignore\":true}}", true, false, TRIAL_LANES},
    [COLD] = {"optimised, cold", "", false, false, TRIAL_LANES},
    [WARM] = {"optimised, warm", "", false, true, TRIAL_LANES},
};

/* The parts of a model's run. Each ends with its share of the time or with its count, whichever is first. */
static const struct part {
    enum kind kind;
    double share;
    unsigned most; /* requests; times the number of vectors where each has its turn */
    bool by_vector;
} parts[] = {
    {EXACT, 0.20, 1, true},
    {BASELINE, 0.10, 1000, false},
    {COLD, 0.10, 1000, false},
    {BASELINE, 0.10, 1000, false},
    {COLD, 0.10, 1000, false},
    {BASELINE, 0.10, 1000, false},
    {COLD, 0.10, 1000, false},
    {WARM, 0.20, TRIAL_REPEATS, true},
};
enum { N_PARTS = sizeof parts / sizeof *parts };

/* One request at a time. */
struct lane {
    struct tx_own own;
    struct trial *trial;
    uint64_t began;
    unsigned query;
    bool busy;
};

/* What is measured: a model and the one of its collections that has the most points. */
struct target {
    const struct conf_model *model;
    const struct survey_entry *entry; /* NULL: it claims none by name */
    unsigned n_others;
};

struct trial {
    struct link link;
    struct worker *worker;
    struct history *history;
    struct jobs *jobs;
    struct job *job; /* NULL: ended */
    struct survey survey;
    bool *chosen;
    struct ask ask, still_there;
    struct timer timer;
    uint64_t budget; /* usec per model */
    struct target *target;
    unsigned n, at, n_measured, n_failed, n_missed;
    char first_error[ERROR_MAX], missed[160];
    cJSON *models; /* the result's array */
    void (*ended)(struct trial *, void *arg);
    void *arg;
    /* the model that is measured */
    char *vector; /* its name; NULL: the unnamed one */
    uint64_t size;
    bool fixed; /* the vectors are not stored ones */
    unsigned n_pages, n_exact; /* read; exact searches that were answered */
    char no_exact[ERROR_MAX];  /* why no more exact searches are asked */
    char *query[TRIAL_QUERIES];
    struct measure_top exact[TRIAL_QUERIES];
    unsigned n_queries, n_lanes, n_busy, part, n_sent;
    uint64_t part_began, part_until, last_answer;
    struct measure measure[N_KINDS];
    struct lane lane[TRIAL_LANES];
    char error[ERROR_MAX];
    bool in_doubt; /* the error may mean that nothing answers any more */
    bool away;     /* Qdrant: the rest is not tried */
    cJSON *warnings;
};

static void next_model(struct trial *t);
static void begin_part(struct trial *t);

static const struct target *now_at(const struct trial *t)
{
    return &t->target[t->at];
}

static __attribute__((format(printf, 2, 3))) void warn(struct trial *t, const char *fmt, ...)
{
    char text[ERROR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cJSON_AddItemToArray(t->warnings, cJSON_CreateString(text));
}

/* The first one counts. */
static __attribute__((format(printf, 2, 3))) void fail(struct trial *t, const char *fmt, ...)
{
    va_list args;
    if (t->error[0])
        return;
    va_start(args, fmt);
    vsnprintf(t->error, sizeof t->error, fmt, args);
    va_end(args);
}

/* ---- the outcome of one model ---- */

static void add_number(cJSON *object, const char *key, double value)
{
    if (isnan(value))
        cJSON_AddNullToObject(object, key);
    else
        cJSON_AddNumberToObject(object, key, value);
}

static cJSON *figures(struct measure *m)
{
    cJSON *doc = cJSON_CreateObject();
    measure_sort(m);
    cJSON_AddNumberToObject(doc, "requests", (double)m->n);
    add_number(doc, "ops", m->n ? measure_ops(m) : NAN);
    add_number(doc, "p50_us", m->n ? (double)measure_percentile(m, 0.50) : NAN);
    add_number(doc, "p95_us", m->n ? (double)measure_percentile(m, 0.95) : NAN);
    add_number(doc, "p99_us", m->n ? (double)measure_percentile(m, 0.99) : NAN);
    add_number(doc, "hit_rate", measure_hit_rate(m));
    add_number(doc, "recall", measure_recall(m));
    return doc;
}

/* wanted NAN: there is no such target. Returns whether it is one that was missed. */
static bool add_target(cJSON *targets, const char *key, double wanted, double is, bool less_is_better)
{
    if (isnan(wanted)) {
        cJSON_AddNullToObject(targets, key);
        return false;
    }
    cJSON *one = cJSON_AddObjectToObject(targets, key);
    bool met = less_is_better ? is < wanted : is >= wanted; /* what was not measured is not met */
    cJSON_AddNumberToObject(one, "target", wanted);
    add_number(one, "is", is);
    if (isnan(is))
        cJSON_AddNullToObject(one, "met");
    else
        cJSON_AddBoolToObject(one, "met", met);
    return !isnan(is) && !met;
}

static void judge(struct trial *t, cJSON *doc)
{
    const struct conf_model_base *b = &now_at(t)->model->base;
    const struct measure *cold = &t->measure[COLD], *warm = &t->measure[WARM];
    cJSON *targets = cJSON_AddObjectToObject(doc, "targets"), *one;
    bool missed = false, judged = false;
    missed |= add_target(targets, "p50_us", b->target_p50 ? (double)b->target_p50 : NAN,
                         cold->n ? (double)measure_percentile(cold, 0.50) : NAN, true);
    missed |= add_target(targets, "ops", b->target_ops ? (double)b->target_ops : NAN,
                         cold->n ? measure_ops(cold) : NAN, false);
    missed |= add_target(targets, "hit_rate", b->target_hit_rate, measure_hit_rate(warm), false);
    missed |= add_target(targets, "recall", b->target_recall, measure_recall(cold), false);
    cJSON_ArrayForEach(one, targets)
        judged |= cJSON_IsBool(doc_get(one, "met"));
    cJSON_AddItemToObject(doc, "met", judged ? cJSON_CreateBool(!missed) : cJSON_CreateNull());
    if (!missed)
        return;
    size_t n = strlen(t->missed);
    snprintf(t->missed + n, sizeof t->missed - n, "%s%s", t->n_missed++ ? ", " : "", now_at(t)->model->name);
}

cJSON *trial_first_baseline(const struct history *h, const char *model)
{
    static const char *const kept[] = {"time", "before_apply", "baseline"};
    const cJSON *first = history_get_test(h, model, true);
    if (!first)
        return cJSON_CreateNull();
    cJSON *doc = cJSON_CreateObject();
    for (unsigned i = 0; i < sizeof kept / sizeof *kept; i++)
        cJSON_AddItemToObject(doc, kept[i], cJSON_Duplicate(doc_get(first, kept[i]), true));
    return doc;
}

static void begin_result(struct trial *t, cJSON *doc)
{
    const struct target *target = now_at(t);
    cJSON_AddStringToObject(doc, "model", target->model->name);
    if (target->entry)
        cJSON_AddStringToObject(doc, "collection", target->entry->collection);
}

static void measured(struct trial *t, cJSON *doc)
{
    const char *model = now_at(t)->model->name;
    char time[LOG_TIME_N];
    struct err err;
    cJSON *optimised;
    log_time(time, clock_unix_usec());
    cJSON_AddItemToObject(doc, "points",
                          cJSON_Duplicate(doc_get(now_at(t)->entry->info, "points_count"), true));
    cJSON_AddItemToObject(doc, "vector", t->vector ? cJSON_CreateString(t->vector) : cJSON_CreateNull());
    cJSON_AddItemToObject(doc, "dimensions", doc_bytes(t->size));
    cJSON_AddNumberToObject(doc, "queries", t->n_queries);
    cJSON_AddStringToObject(doc, "from", t->fixed ? "fixed" : "stored");
    cJSON_AddNumberToObject(doc, "at_once", t->n_lanes);
    cJSON_AddNumberToObject(doc, "seconds", (double)t->budget / 1e6);
    cJSON_AddStringToObject(doc, "time", time);
    cJSON_AddBoolToObject(doc, "before_apply", !history_was_changed(t->history, model));
    cJSON_AddItemToObject(doc, "baseline", figures(&t->measure[BASELINE]));
    optimised = cJSON_AddObjectToObject(doc, "optimised");
    cJSON_AddItemToObject(optimised, "cold", figures(&t->measure[COLD]));
    cJSON_AddItemToObject(optimised, "warm", figures(&t->measure[WARM]));
    judge(t, doc);
    if (!history_writable(t->history, &err))
        warn(t, "the figures are lost when quiver ends: %s", err.text);
    cJSON_AddItemToObject(doc, "warnings", t->warnings);
    t->warnings = NULL;
    history_test(t->history, model, doc);
    cJSON_AddItemToObject(doc, "first_baseline", trial_first_baseline(t->history, model));
    t->n_measured++;
}

static void stop_lanes(struct trial *t)
{
    for (unsigned i = 0; i < TRIAL_LANES; i++) {
        tx_cancel_own(&t->lane[i].own);
        t->lane[i].busy = false;
    }
    t->n_busy = 0;
}

static void clear_model(struct trial *t)
{
    stop_lanes(t);
    for (unsigned i = 0; i < t->n_queries; i++)
        free(t->query[i]);
    for (unsigned i = 0; i < N_KINDS; i++)
        measure_free(&t->measure[i]);
    free(t->vector);
    cJSON_Delete(t->warnings);
    t->warnings = NULL;
    t->vector = NULL;
    t->n_queries = 0;
    t->error[0] = 0;
}

static void go_to_next(struct trial *t)
{
    t->at++;
    next_model(t);
}

static struct slots *slots_of_model(struct trial *t)
{
    return ask_slots(t->worker, &t->survey.snapshot->conf->group[now_at(t)->model->group]);
}

/* One model's searches may be too slow or too many while all is well else: Qdrant is away when it does not answer the simplest question either. */
static void ask_whether_there(struct trial *t)
{
    t->in_doubt = false;
    ask_send(&t->still_there, slots_of_model(t), "GET", "/", STR_NONE, ANSWER_WITHIN);
}

static void took_sign_of_life(struct ask *ask)
{
    struct trial *t = LIST_OF(trial, still_there, ask);
    t->away = !ask->status;
    fetch_finish(&ask->fetch);
    go_to_next(t);
}

/* Measured, or with an error. */
static void end_model(struct trial *t)
{
    cJSON *doc = cJSON_CreateObject();
    begin_result(t, doc);
    if (t->error[0]) {
        cJSON_AddStringToObject(doc, "error", t->error);
        if (!t->n_failed++)
            snprintf(t->first_error, sizeof t->first_error, "%s: %.*s", now_at(t)->model->name,
                     ERROR_MAX - 80, t->error);
    } else {
        measured(t, doc);
    }
    cJSON_AddItemToArray(t->models, doc);
    clear_model(t);
    if (t->in_doubt)
        ask_whether_there(t);
    else
        go_to_next(t);
}

/* Those that it did not come to any more. */
static void add_untried(struct trial *t)
{
    for (; t->at < t->n; t->at++) {
        cJSON *doc = cJSON_CreateObject();
        begin_result(t, doc);
        cJSON_AddStringToObject(doc, "error", "not tried: Qdrant had stopped answering");
        cJSON_AddItemToArray(t->models, doc);
    }
}

static void end(struct trial *t)
{
    cJSON *result = cJSON_CreateObject();
    struct job *job = t->job;
    char rest[ERROR_MAX + 80] = "", judged[240] = "";
    add_untried(t);
    cJSON_AddItemToObject(result, "models", t->models);
    t->models = NULL;
    t->job = NULL;
    timer_set(&t->timer, NEVER);
    if (t->n_failed)
        snprintf(rest, sizeof rest, "; %s%s", t->away ? "Qdrant stopped answering: " : "not the others: ",
                 t->first_error);
    if (t->n_missed)
        snprintf(judged, sizeof judged, "; targets missed by %s", t->missed);
    job_end(t->jobs, job, t->n_measured && !t->away, result, "%u of %u models measured%s%s", t->n_measured,
            t->n, judged, rest);
    t->ended(t, t->arg);
}

/* ---- requests ---- */

static void tell(struct trial *t, const char *what)
{
    double done = 0, of_part = 0;
    for (unsigned i = 0; i < t->part && i < N_PARTS; i++)
        done += parts[i].share;
    if (t->part < N_PARTS && t->part_until > t->part_began) {
        uint64_t now = t->worker->loop.now;
        double gone = now > t->part_began ? (double)(now - t->part_began) : 0;
        of_part = gone / (double)(t->part_until - t->part_began);
        done += parts[t->part].share * (of_part > 1 ? 1 : of_part);
    }
    job_tell(t->job, (t->at + done) / t->n, "%s: %s", now_at(t)->model->name, what);
}

static unsigned most_of(const struct trial *t, const struct part *p)
{
    return p->by_vector ? p->most * t->n_queries : p->most;
}

/* Nobody answered, or something in between for him: Qdrant's own 500 is about the one collection. */
static bool may_mean_away(unsigned status)
{
    return status == 499 || (status >= 502 && status <= 504);
}

/* Refused, or too slow for a limit in between (503, 504): only recall is lost. */
static bool costs_recall_alone(enum kind kind, unsigned status)
{
    return kind == EXACT && ((status < 500 && status != 499) || status == 503 || status == 504);
}

/* After a bad answer the model is given up. */
static void take_error(struct trial *t, const struct tx_own *own)
{
    char why[200];
    enum kind kind = parts[t->part].kind;
    doc_error(own->body, why, sizeof why);
    if (costs_recall_alone(kind, own->status)) {
        if (!t->no_exact[0])
            snprintf(t->no_exact, sizeof t->no_exact, "an exact search was answered with %u: %s", own->status, why);
        return;
    }
    t->in_doubt |= may_mean_away(own->status);
    fail(t, "%s: a search was answered with %u: %s", kinds[kind].name, own->status, why);
}

static void warn_of_recall(struct trial *t)
{
    if (t->n_exact == t->n_queries)
        return;
    const char *why = t->no_exact[0] ? t->no_exact : "the time was too short for more exact searches";
    if (t->n_exact)
        warn(t, "recall is that of %u of %u vectors: %s", t->n_exact, t->n_queries, why);
    else
        warn(t, "recall is not known: %s", why);
}

static void answered(struct tx_own *own)
{
    struct lane *lane = LIST_OF(lane, own, own);
    struct trial *t = lane->trial;
    uint64_t now = clock_usec();
    enum kind kind = parts[t->part].kind;
    struct measure *m = &t->measure[kind];
    lane->busy = false;
    t->n_busy--;
    t->last_answer = now;
    timer_set(&t->timer, t->worker->loop.now); /* go on with the next turn: others want the loop too */
    if (own->status != 200) {
        take_error(t, own);
        return;
    }
    struct measure_top top = measure_top_of(own->body);
    if (kind == EXACT) {
        t->exact[lane->query] = top;
        t->n_exact++;
        return;
    }
    measure_add(m, now - lane->began);
    m->hits += strcmp(own->tx->cache_word, "hit") == 0;
    measure_compare(m, &t->exact[lane->query], &top);
}

static void ask_in(struct trial *t, struct lane *lane)
{
    enum kind kind = parts[t->part].kind;
    char path[ESCAPED_MAX + 60], name[ESCAPED_MAX];
    struct str using = STR("");
    struct arena a;
    arena_init(&a, NULL, 0);
    lane->query = t->n_sent++ % t->n_queries;
    if (t->vector) {
        char *quoted = arena_alloc(&a, 6 * strlen(t->vector) + 2);
        size_t n = json_quote(quoted, str_of(t->vector));
        using = arena_printf(&a, ",\"using\":%.*s", (int)n, quoted);
    }
    struct str body = arena_printf(&a, "{\"query\":%s,\"limit\":%d%.*s%s}", t->query[lane->query], LIMIT,
                                   STR_ARG(using), kinds[kind].params);
    snprintf(path, sizeof path, "/collections/%s/points/query", str_escape(name, sizeof name, now_at(t)->entry->collection));
    struct str head = ask_head(&a, t->survey.snapshot->conf, "POST", path, "quiver", body.n,
                               kinds[kind].cached ? "" : "Cache-Control: no-store\r\n");
    lane->own.as_is = kinds[kind].plain;
    lane->own.snapshot = t->survey.snapshot;
    lane->busy = true;
    lane->began = clock_usec();
    t->n_busy++;
    tx_start_own(t->worker, &lane->own, head, body);
    arena_fini(&a);
}

/* How long the last answers of the part are waited for. */
static uint64_t patience(const struct trial *t)
{
    return t->part_until + (parts[t->part].kind == EXACT ? t->budget : ANSWER_WITHIN);
}

static void lose_patience(struct trial *t)
{
    if (parts[t->part].kind == EXACT) {
        stop_lanes(t);
        snprintf(t->no_exact, sizeof t->no_exact, "an exact search takes longer than %.1f s", (double)t->budget / SEC);
        return;
    }
    t->in_doubt = true;
    fail(t, "%s: no answer within %llu s", kinds[parts[t->part].kind].name, (unsigned long long)(ANSWER_WITHIN / SEC));
}

/* Sends what may be sent, or goes on to what comes next. Every turn that brought an answer. */
static void pump(void *arg)
{
    struct trial *t = arg;
    uint64_t now = clock_usec();
    if (t->part >= N_PARTS) { /* a model that could not even begin */
        end_model(t);
        return;
    }
    const struct part *p = &parts[t->part];
    if (now > patience(t) && t->n_busy)
        lose_patience(t);
    if (t->error[0]) {
        t->part = N_PARTS;
        end_model(t);
        return;
    }
    bool over = (now >= t->part_until && t->n_sent) || t->n_sent >= most_of(t, p) || (p->kind == EXACT && t->no_exact[0]);
    for (unsigned i = 0; i < t->n_lanes && i < kinds[p->kind].at_once && !over; i++)
        if (!t->lane[i].busy) {
            ask_in(t, &t->lane[i]);
            over = t->n_sent >= most_of(t, p);
        }
    if (over && !t->n_busy) {
        if (p->kind == EXACT)
            warn_of_recall(t);
        t->measure[p->kind].busy += t->last_answer > t->part_began ? t->last_answer - t->part_began : 0;
        t->part++;
        begin_part(t);
        return;
    }
    tell(t, kinds[p->kind].name);
    timer_set(&t->timer, patience(t) + 1);
}

static void begin_part(struct trial *t)
{
    t->n_sent = 0;
    if (t->part < N_PARTS) {
        t->part_began = t->last_answer = clock_usec();
        t->part_until = t->part_began + (uint64_t)(parts[t->part].share * (double)t->budget);
    }
    timer_set(&t->timer, t->worker->loop.now);
}

/* ---- query vectors ---- */

static void begin_requests(struct trial *t)
{
    uint64_t pool = now_at(t)->model->base.connections;
    t->n_lanes = pool < TRIAL_LANES ? (unsigned)pool : TRIAL_LANES;
    t->part = 0;
    begin_part(t);
}

static void add_query(struct trial *t, const double *vector)
{
    t->exact[t->n_queries].known = false;
    t->query[t->n_queries++] = measure_text(vector, t->size);
}

static void use_fixed(struct trial *t)
{
    double *vector = mem_alloc(t->size * sizeof *vector);
    t->fixed = true;
    while (t->n_queries < TRIAL_QUERIES) {
        measure_fixed(vector, t->size, t->n_queries);
        add_query(t, vector);
    }
    free(vector);
}

static void take_vector(struct trial *t, const cJSON *stored)
{
    const cJSON *one;
    uint64_t n = 0;
    if (t->n_queries == TRIAL_QUERIES || (uint64_t)cJSON_GetArraySize(stored) != t->size)
        return;
    double *vector = mem_alloc(t->size * sizeof *vector);
    cJSON_ArrayForEach(one, stored)
        vector[n++] = cJSON_IsNumber(one) ? one->valuedouble : 0;
    measure_perturb(vector, t->size, t->n_queries);
    add_query(t, vector);
    free(vector);
}

/* Pages are small, so that reading one takes no time that others would notice. */
static void ask_page(struct trial *t, struct str offset)
{
    uint64_t page = PAGE_BYTES / (t->size * NUMBER_BYTES);
    char path[ESCAPED_MAX + 60], name[ESCAPED_MAX];
    cJSON *body = cJSON_CreateObject();
    page = page < 1 ? 1 : page > TRIAL_QUERIES ? TRIAL_QUERIES : page;
    cJSON_AddNumberToObject(body, "limit", (double)page);
    cJSON_AddFalseToObject(body, "with_payload");
    if (t->vector)
        cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "with_vector"), cJSON_CreateString(t->vector));
    else
        cJSON_AddTrueToObject(body, "with_vector");
    if (offset.n) {
        char *raw = mem_strndup(offset.p, offset.n);
        cJSON_AddRawToObject(body, "offset", raw);
        free(raw);
    }
    snprintf(path, sizeof path, "/collections/%s/points/scroll",
             str_escape(name, sizeof name, now_at(t)->entry->collection));
    char *text = cJSON_PrintUnformatted(body);
    t->n_pages++;
    ask_send(&t->ask, slots_of_model(t), "POST", path, str_of(text), SCROLL_WITHIN);
    free(text);
    cJSON_Delete(body);
}

static void took_page(struct ask *ask)
{
    struct trial *t = LIST_OF(trial, ask, ask);
    char why[200];
    cJSON *doc = NULL;
    bool any = t->n_pages > 1; /* an empty collection has one page */
    const cJSON *point, *points = ask->status == 200 ? doc_get(doc_result(ask->body, &doc), "points") : NULL;
    if (!ask->status) {
        t->in_doubt = true;
        fail(t, "reading vectors: Qdrant did not answer: %s", ask_why(ask));
    } else if (!cJSON_IsArray(points)) {
        fail(t, "reading vectors: Qdrant answered %u: %s", ask->status,
             doc_error(ask->body, why, sizeof why));
    }
    cJSON_ArrayForEach(point, points) {
        const cJSON *stored = doc_get(point, "vector");
        any = true;
        take_vector(t, t->vector ? doc_get(stored, t->vector) : stored);
    }
    char *next = NULL;
    struct str offset = points ? measure_next_page(ask->body) : STR_NONE;
    if (offset.n)
        next = mem_strndup(offset.p, offset.n);
    cJSON_Delete(doc);
    fetch_finish(&ask->fetch);
    if (!t->error[0] && next && t->n_queries < TRIAL_QUERIES && t->n_pages < PAGES_MAX) {
        tell(t, "reads vectors to ask with");
        ask_page(t, str_of(next));
    } else if (t->error[0]) {
        end_model(t);
    } else {
        if (!t->n_queries) {
            warn(t, any ? "no stored vector was found: asked with fixed ones"
                        : "nothing is stored there: asked with fixed vectors, recall is not known");
            use_fixed(t);
        }
        begin_requests(t);
    }
    free(next);
}

/* ---- models ---- */

/* The dense vector that is searched: the model's, else the unnamed one, else the first. false: the error is
 * said. */
static bool find_vector(struct trial *t)
{
    const char *wanted = now_at(t)->model->base.vector;
    const cJSON *vectors = doc_at(now_at(t)->entry->info, "config.params.vectors"), *one = NULL, *each;
    bool unnamed = cJSON_IsNumber(doc_get(vectors, "size"));
    char names[160] = "";
    cJSON_ArrayForEach(each, vectors) {
        if (unnamed || doc_is_set(doc_get(each, "multivector_config")))
            continue;
        size_t n = strlen(names);
        snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", each->string);
        if (!one && (!wanted || strcmp(wanted, each->string) == 0))
            one = each;
    }
    if (unnamed && !wanted)
        one = vectors;
    if (!one || !doc_u64(doc_get(one, "size"), &t->size) || !t->size) {
        if (wanted)
            fail(t, "the collection has no dense vector '%.60s', it has: %s", wanted,
                 unnamed ? "an unnamed one" : names);
        else
            fail(t, "the collection has no dense vector to search with");
        return false;
    }
    if (one != vectors)
        t->vector = mem_strdup(one->string);
    if (now_at(t)->model->base.vector_size && now_at(t)->model->base.vector_size != t->size)
        warn(t, "its vectors have %llu dimensions, vector_size says %llu", (unsigned long long)t->size,
             (unsigned long long)now_at(t)->model->base.vector_size);
    return true;
}

static void next_model(struct trial *t)
{
    if (t->away || t->at == t->n) {
        end(t);
        return;
    }
    const struct target *target = now_at(t);
    t->warnings = cJSON_CreateArray();
    t->part = 0;
    t->part_began = t->part_until = 0;
    t->fixed = t->in_doubt = false;
    t->no_exact[0] = 0;
    t->n_pages = t->n_exact = 0;
    tell(t, "reads vectors to ask with");
    if (!target->entry)
        fail(t, "no collection is there that it claims");
    else if (target->entry->error[0])
        fail(t, "%s", target->entry->error);
    else if (!target->entry->exists)
        fail(t, "collection '%.100s' does not exist", target->entry->collection);
    if (target->n_others)
        warn(t, "of its collections this one has the most points; %u more are not tested", target->n_others);
    if (t->error[0] || !find_vector(t)) {
        t->part = N_PARTS; /* no recursion over many models: with the next turn */
        timer_set(&t->timer, t->worker->loop.now);
        return;
    }
    ask_page(t, STR_NONE);
}

static double points_of(const struct survey_entry *e)
{
    const cJSON *n = doc_get(e->info, "points_count");
    return e->exists && cJSON_IsNumber(n) ? n->valuedouble : e->exists ? 0 : -1;
}

static void surveyed(struct survey *s)
{
    struct trial *t = LIST_OF(trial, survey, s);
    const struct conf *conf = s->snapshot->conf;
    t->target = mem_zalloc(conf->n_models * sizeof *t->target);
    for (unsigned m = 0; m < conf->n_models; m++) {
        if (!t->chosen[m])
            continue;
        struct target *target = &t->target[t->n++];
        target->model = &conf->model[m];
        for (unsigned i = 0; i < s->n; i++) {
            const struct survey_entry *e = &s->entry[i];
            if (e->model != target->model)
                continue;
            target->n_others += target->entry && e->exists;
            if (!target->entry || points_of(e) > points_of(target->entry))
                target->entry = e;
        }
    }
    t->away = s->n_unanswered != 0; /* everywhere: where one group answers, its models are measured */
    for (unsigned i = 0; i < s->n && t->away; i++)
        t->away = s->entry[i].error[0] != 0;
    if (t->away && !t->n_failed++)
        snprintf(t->first_error, sizeof t->first_error, "%s", s->n ? s->entry[0].error : ask_why(&s->ask));
    next_model(t);
}

struct trial *trial_start(struct worker *w, struct history *h, struct jobs *jobs, struct job *job,
                          const struct trial_order *order, void (*ended)(struct trial *, void *arg),
                          void *arg)
{
    struct trial *t = mem_zalloc(sizeof *t);
    unsigned n_models = w->snapshot->conf->n_models;
    t->worker = w;
    t->history = h;
    t->jobs = jobs;
    t->job = job;
    t->ended = ended;
    t->arg = arg;
    t->budget = (order->seconds ? order->seconds : TRIAL_SECONDS) * SEC;
    t->models = cJSON_CreateArray();
    t->chosen = mem_alloc(n_models * sizeof *t->chosen);
    memcpy(t->chosen, order->chosen, n_models * sizeof *t->chosen);
    for (unsigned i = 0; i < TRIAL_LANES; i++)
        t->lane[i] = (struct lane){.own = {.done = answered}, .trial = t};
    survey_init(&t->survey, w, surveyed);
    ask_init(&t->ask, w, took_page);
    ask_init(&t->still_there, w, took_sign_of_life);
    timer_init(&t->timer, &w->loop, pump, t);
    survey_start(&t->survey, order->chosen, true, false);
    job_tell(job, 0, "looks what there is");
    return t;
}

struct link *trial_link(struct trial *t)
{
    return &t->link;
}

struct trial *trial_of_link(struct link *k)
{
    return LIST_OF(trial, link, k);
}

void trial_free(struct trial **freeing)
{
    struct trial *t = *freeing;
    *freeing = NULL;
    clear_model(t);
    timer_fini(&t->timer);
    ask_fini(&t->ask);
    ask_fini(&t->still_there);
    survey_fini(&t->survey);
    if (t->job)
        job_end(t->jobs, t->job, false, NULL, "%s", JOB_CUT_OFF);
    cJSON_Delete(t->models);
    free(t->chosen);
    free(t->target);
    free(t);
}
