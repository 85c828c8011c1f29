#include "tune/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "tune/doc.h"
#include "tune/history.h"
#include "tune/jobs.h"
#include "tune/plan.h"
#include "tune/repair.h"
#include "tune/survey.h"

#define SOON (50 * MSEC)
#define BACK_OFF_MOST (600 * SEC)

/* A value that was repaired. Who else sets it gets it back at once a few times, then later and later. */
struct returning {
    struct returning *next;
    char *path;
    unsigned n;     /* repairs in a row: each soon after it might have come */
    uint64_t until; /* left alone till then */
};

/* What is known of one collection of one model. */
struct watched {
    struct watched *next;
    char *model, *collection, *status, *error;
    char *failed;          /* why the last repair did; NULL: it did not, or nothing drifts any more */
    bool met, exists;      /* met: in this round's survey */
    uint64_t points, seen; /* seen: monotonic */
    cJSON *fact, *drift, *warnings;
    cJSON *gave_up;               /* paths */
    struct returning *returning;
    unsigned n_failed, n_repairs; /* failed: one after the other */
    uint64_t not_before;          /* of the next repair */
};

struct watch {
    struct worker *worker;
    struct history *history;
    struct jobs *jobs;
    struct survey survey;
    struct repair repair;
    struct timer timer;
    struct watched *first, *next,
        *repairing; /* next: which is looked at for a repair after the running one */
    struct job *job;
    struct snapshot *snapshot; /* pinned while a repair runs */
    cJSON *without;            /* what this repair leaves alone */
    unsigned generation;       /* of the configuration that gave_up was found under */
    bool again;
};

static void repair_next(struct watch *w);

static void end_round(struct watch *w)
{
    timer_set(&w->timer, clock_usec() + (w->again ? SOON : w->worker->snapshot->conf->process.tune_interval));
    w->again = false;
}

/* ---- what is known ---- */

static struct watched *watched_of(struct watch *w, const char *model, const char *collection)
{
    for (struct watched *k = w->first; k; k = k->next)
        if (strcmp(k->model, model) == 0 && strcmp(k->collection, collection) == 0)
            return k;
    struct watched *k = mem_zalloc(sizeof *k), **end = &w->first;
    k->model = mem_strdup(model);
    k->collection = mem_strdup(collection);
    k->gave_up = cJSON_CreateArray();
    while (*end)
        end = &(*end)->next;
    return *end = k;
}

static void clear_facts(struct watched *k)
{
    cJSON_Delete(k->fact);
    cJSON_Delete(k->drift);
    cJSON_Delete(k->warnings);
    free(k->status);
    free(k->error);
    k->fact = k->drift = k->warnings = NULL;
    k->status = k->error = NULL;
}

static void forget_returning(struct watched *k)
{
    while (k->returning) {
        struct returning *r = k->returning;
        k->returning = r->next;
        free(r->path);
        free(r);
    }
}

static void watched_free(struct watched *k)
{
    clear_facts(k);
    forget_returning(k);
    cJSON_Delete(k->gave_up);
    free(k->failed);
    free(k->model);
    free(k->collection);
    free(k);
}

static void say_drift(const struct watched *k, const cJSON *before)
{
    if (!cJSON_GetArraySize(k->drift) || cJSON_Compare(before, k->drift, true))
        return;
    char *text = cJSON_PrintUnformatted(doc_get(cJSON_GetArrayItem(k->drift, 0), "path")), whose[DOC_WHOSE_MAX];
    log_info("drift", "%s n=%d first=%s", doc_whose(whose, k->model, k->collection), cJSON_GetArraySize(k->drift), text ? text : "");
    free(text);
}

/* What was known last stays. */
static void learn_error(struct watched *k, const char *error)
{
    k->met = true;
    free(k->error);
    k->error = mem_strdup(error);
}

/* Which collections the pattern has now is not known: all that were stay. Where none were, the pattern itself shows the error. */
static void learn_unlisted(struct watch *w, const struct survey_entry *e)
{
    bool any = false;
    for (struct watched *k = w->first; k; k = k->next)
        if (strcmp(k->model, e->model->name) == 0) {
            learn_error(k, e->error);
            any = true;
        }
    if (!any)
        learn_error(watched_of(w, e->model->name, e->collection), e->error);
}

static void learn(struct watch *w, const struct survey_entry *e)
{
    if (e->unlisted) {
        learn_unlisted(w, e);
        return;
    }
    struct watched *k = watched_of(w, e->model->name, e->collection);
    struct plan p;
    if (e->error[0]) {
        learn_error(k, e->error);
        return;
    }
    k->met = true;
    cJSON *before = k->drift;
    k->drift = NULL;
    clear_facts(k);
    k->exists = e->exists;
    k->seen = w->worker->loop.now;
    if (e->exists) {
        const char *status = doc_text(doc_get(e->info, "status"));
        k->status = status ? mem_strdup(status) : NULL;
        doc_u64(doc_get(e->info, "points_count"), &k->points);
        plan_make(&e->model->base, e->info, &p);
        k->drift = cJSON_Duplicate(p.changes, true);
        k->warnings = cJSON_Duplicate(p.warnings, true);
        k->fact = plan_facts(&e->model->base, e->info);
        plan_fini(&p);
        say_drift(k, before);
    }
    if (!cJSON_GetArraySize(k->drift)) {
        free(k->failed);
        k->failed = NULL;
    }
    cJSON_Delete(before);
}

static void forget_unmet(struct watch *w)
{
    for (struct watched **at = &w->first; *at;) {
        struct watched *k = *at;
        if (k->met) {
            k->met = false;
            at = &k->next;
            continue;
        }
        *at = k->next;
        watched_free(k);
    }
}

/* ---- repairs ---- */

static bool is_given_up(const struct watched *k, const cJSON *path)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, k->gave_up)
        if (cJSON_Compare(one, path, true))
            return true;
    return false;
}

static struct returning *returning_of(const struct watched *k, const char *path)
{
    struct returning *r = k->returning;
    while (r && strcmp(r->path, path) != 0)
        r = r->next;
    return r;
}

static bool waits(const struct watched *k, const char *path)
{
    const struct returning *r = path ? returning_of(k, path) : NULL;
    return r && clock_usec() < r->until;
}

static bool has_repairable_drift(const struct watched *k)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, k->drift)
        if (!is_given_up(k, doc_get(one, "path")) && !waits(k, doc_text(doc_get(one, "path"))))
            return true;
    return false;
}

/* What was given up and what waits: the caller's. */
static cJSON *to_leave_alone(const struct watched *k)
{
    cJSON *out = cJSON_Duplicate(k->gave_up, true);
    for (const struct returning *r = k->returning; r; r = r->next)
        if (waits(k, r->path))
            cJSON_AddItemToArray(out, cJSON_CreateString(r->path));
    return out;
}

/* NULL: leave it alone. */
static const struct conf_model *to_repair(const struct watch *w, const struct watched *k)
{
    const struct conf_model *model = conf_model_named(w->worker->snapshot->conf, str_of(k->model));
    if (!model || model->base.enforce != ENFORCE_ENFORCE || !k->exists || k->error ||
        !has_repairable_drift(k))
        return NULL;
    if (clock_usec() < k->not_before || history_rests(w->history, k->model) ||
        jobs_running(w->jobs, k->model))
        return NULL;
    /* A PATCH while an index is being built would throw that work away. */
    return k->status && strcmp(k->status, "yellow") == 0 ? NULL : model;
}

static void give_up(struct watched *k, const cJSON *paths)
{
    const cJSON *one;
    char whose[DOC_WHOSE_MAX];
    cJSON_ArrayForEach(one, paths) {
        const cJSON *path = cJSON_IsObject(one) ? doc_get(one, "path") : one;
        if (is_given_up(k, path))
            continue;
        cJSON_AddItemToArray(k->gave_up, cJSON_Duplicate(path, true));
        log_warn("drift_given_up",
                 "%s path=%s why=\"after %d times Qdrant still shows another value; the server's own configuration may overwrite it\"",
                 doc_whose(whose, k->model, k->collection), doc_text(path), WATCH_TRIES);
    }
}

/* The interval, doubled n times, up to a bound. */
static uint64_t doubled(const struct watch *w, unsigned n)
{
    uint64_t pause = w->worker->snapshot->conf->process.tune_interval;
    for (unsigned i = 0; i < n && pause < BACK_OFF_MOST; i++)
        pause *= 2;
    return pause < BACK_OFF_MOST ? pause : BACK_OFF_MOST;
}

/* A repair was good. When the same value drifts again and again, somebody else sets it: a PATCH each time would keep Qdrant building. */
static void count_returning(struct watch *w, struct watched *k, const cJSON *changes)
{
    uint64_t now = clock_usec();
    char whose[DOC_WHOSE_MAX];
    const cJSON *one;
    cJSON_ArrayForEach(one, changes) {
        const char *path = doc_text(doc_get(one, "path"));
        struct returning *r = path ? returning_of(k, path) : NULL;
        if (path && !r) {
            r = mem_zalloc(sizeof *r);
            *r = (struct returning){.next = k->returning, .path = mem_strdup(path)};
            k->returning = r;
        }
        if (!r)
            continue;
        r->n = now < r->until + BACK_OFF_MOST ? r->n + 1 : 1;
        uint64_t pause = r->n < WATCH_AT_ONCE ? 0 : doubled(w, r->n - WATCH_AT_ONCE + 1);
        r->until = now + pause;
        if (pause)
            log_warn("drift_returns", "%s path=%s times=%u wait_s=%.1f why=\"it drifts again after each repair: something else sets it too\"",
                     doc_whose(whose, k->model, k->collection), path, r->n, (double)pause / SEC);
    }
}

/* For the status, until it goes well or nothing drifts. What cannot be recorded is said nowhere else: once a reason in the log. */
static void note_failure(struct watched *k, const struct repair *r, const char *error)
{
    char whose[DOC_WHOSE_MAX];
    if (error && !r->recorded && (!k->failed || strcmp(k->failed, error) != 0))
        log_warn("not_repaired", "%s why=\"%s\"", doc_whose(whose, k->model, k->collection), error);
    free(k->failed);
    k->failed = error ? mem_strdup(error) : NULL;
}

static void repaired(struct repair *r)
{
    struct watch *w = LIST_OF(watch, repair, r);
    struct watched *k = w->repairing;
    const cJSON *not_stuck = doc_get(r->result, "not_stuck");
    bool counts = r->refused || (!r->unanswered && cJSON_GetArraySize(not_stuck) > 0);
    const char *error = doc_text(doc_get(r->result, "error"));
    k->n_failed = r->well ? 0 : k->n_failed + 1;
    note_failure(k, r, r->well ? NULL : error);
    if (r->well && cJSON_IsTrue(doc_get(r->result, "changed"))) {
        k->n_repairs++;
        count_returning(w, k, doc_get(r->result, "changes"));
    }
    if (counts && k->n_failed >= WATCH_TRIES) {
        give_up(k, r->refused ? k->drift : not_stuck);
        k->n_failed = 0;
    }
    k->not_before = r->well ? 0 : clock_usec() + doubled(w, k->n_failed);
    job_end(w->jobs, w->job, r->well, cJSON_Duplicate(r->result, true), "%s: %s", k->collection,
            error ? error : "as it should be");
    w->job = NULL;
    w->repairing = NULL;
    cJSON_Delete(w->without);
    w->without = NULL;
    w->again = true; /* the round showed what was before */
    snapshot_put(&w->snapshot);
    repair_next(w);
}

static void told(struct repair *r)
{
    struct watch *w = LIST_OF(watch, repair, r);
    job_tell(w->job, r->progress, "%s", r->text);
}

static void repair_next(struct watch *w)
{
    for (; w->next; w->next = w->next->next) {
        struct watched *k = w->next;
        const struct conf_model *model = to_repair(w, k);
        struct err err;
        if (!model || !(w->job = jobs_begin(w->jobs, "enforce", k->model, &err)))
            continue;
        w->repairing = k;
        w->next = k->next;
        w->snapshot = snapshot_get(w->worker->snapshot);
        w->without = to_leave_alone(k);
        repair_start(&w->repair,
                     &(struct repair_order){.snapshot = w->snapshot,
                                            .model = model,
                                            .collection = k->collection,
                                            .why = "enforce",
                                            .without = w->without,
                                            .green_within = w->snapshot->conf->process.tune_green_timeout});
        return;
    }
    end_round(w);
}

/* ---- rounds ---- */

static void surveyed(struct survey *s)
{
    struct watch *w = LIST_OF(watch, survey, s);
    if (w->generation != s->snapshot->conf->generation)
        for (struct watched *k = w->first; k; k = k->next)
            watch_forgive(w, k->model);
    w->generation = s->snapshot->conf->generation;
    for (unsigned i = 0; i < s->n; i++)
        learn(w, &s->entry[i]);
    survey_clear(s);
    forget_unmet(w);
    w->next = w->first;
    repair_next(w);
}

static void begin_round(void *arg)
{
    struct watch *w = arg;
    const struct conf *conf = w->worker->snapshot->conf;
    bool *chosen = mem_zalloc(conf->n_models * sizeof *chosen), any = false;
    loop_touch(&w->worker->loop);
    for (unsigned m = 0; m < conf->n_models; m++)
        any = (chosen[m] = conf->model[m].base.enforce != ENFORCE_OFF && survey_is_meant(&conf->model[m])) ||
              any;
    if (any) {
        survey_start(&w->survey, chosen, true, false);
    } else {
        forget_unmet(w);
        end_round(w);
    }
    free(chosen);
}

struct watch *watch_open(struct worker *worker, struct history *h, struct jobs *jobs)
{
    struct watch *w = mem_zalloc(sizeof *w);
    w->worker = worker;
    w->history = h;
    w->jobs = jobs;
    survey_init(&w->survey, worker, surveyed);
    repair_init(&w->repair, worker, h, repaired, told);
    timer_init(&w->timer, &worker->loop, begin_round, w);
    timer_set(&w->timer, clock_usec() + SOON);
    return w;
}

void watch_close(struct watch **closing)
{
    struct watch *w = *closing, *gone = w;
    *closing = NULL;
    timer_fini(&w->timer);
    survey_fini(&w->survey);
    repair_fini(&w->repair);
    if (w->job)
        job_end(w->jobs, w->job, false, NULL, "%s", JOB_CUT_OFF);
    snapshot_put(&w->snapshot);
    cJSON_Delete(w->without);
    while (w->first) {
        struct watched *k = w->first;
        w->first = k->next;
        watched_free(k);
    }
    free(gone);
}

void watch_soon(struct watch *w)
{
    w->again = true;
    if (!w->survey.running && !w->repair.running)
        end_round(w);
}

void watch_forgive(struct watch *w, const char *model)
{
    for (struct watched *k = w->first; k; k = k->next)
        if (strcmp(k->model, model) == 0) {
            cJSON_Delete(k->gave_up);
            k->gave_up = cJSON_CreateArray();
            forget_returning(k);
            k->n_failed = 0;
            k->not_before = 0;
        }
}

bool watch_count(const struct watch *w, const char *model, unsigned *n_drift, unsigned *n_given_up)
{
    bool known = false;
    *n_drift = *n_given_up = 0;
    for (const struct watched *k = w->first; k; k = k->next) {
        if (!k->exists || strcmp(k->model, model) != 0)
            continue;
        known = true;
        *n_drift += (unsigned)cJSON_GetArraySize(k->drift);
        *n_given_up += (unsigned)cJSON_GetArraySize(k->gave_up);
    }
    return known;
}

static void add(cJSON *object, const char *key, const cJSON *item)
{
    cJSON_AddItemToObject(object, key, item ? cJSON_Duplicate(item, true) : cJSON_CreateArray());
}

static cJSON *waiting(const struct watched *k)
{
    cJSON *list = cJSON_CreateArray();
    for (const struct returning *r = k->returning; r; r = r->next) {
        uint64_t now = clock_usec();
        if (r->until <= now)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "path", r->path);
        cJSON_AddNumberToObject(one, "repairs", r->n);
        cJSON_AddNumberToObject(one, "seconds", (double)(r->until - now) / SEC);
        cJSON_AddItemToArray(list, one);
    }
    return list;
}

cJSON *watch_json(const struct watch *w, const char *model)
{
    cJSON *list = cJSON_CreateArray();
    for (const struct watched *k = w->first; k; k = k->next) {
        if (strcmp(k->model, model) != 0)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "collection", k->collection);
        cJSON_AddBoolToObject(one, "exists", k->exists);
        if (k->exists) {
            cJSON_AddStringToObject(one, "status", k->status ? k->status : "unknown");
            cJSON_AddItemToObject(one, "points", doc_bytes(k->points));
            cJSON_AddItemToObject(one, "fact", cJSON_Duplicate(k->fact, true));
        }
        if (k->seen)
            cJSON_AddNumberToObject(one, "seen", (double)(clock_usec() - k->seen) / SEC);
        add(one, "drift", k->drift);
        add(one, "gave_up", k->gave_up);
        cJSON_AddItemToObject(one, "waits", waiting(k));
        add(one, "warnings", k->warnings);
        cJSON_AddNumberToObject(one, "repairs", k->n_repairs);
        if (k->error || k->failed)
            cJSON_AddStringToObject(one, "error", k->error ? k->error : k->failed);
        cJSON_AddItemToArray(list, one);
    }
    return list;
}
