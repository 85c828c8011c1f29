#include "tune/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/worker.h"
#include "tune/deed.h"
#include "tune/doc.h"
#include "tune/history.h"
#include "tune/plan.h"
#include "tune/report.h"
#include "tune/survey.h"
#include "tune/trial.h"
#include "tune/watch.h"

struct tune {
    struct worker *worker;
    struct history *history;
    struct jobs jobs;
    struct watch *watch;
    /* that run; and those that ended, freed by the sweep, outside of their callbacks */
    struct list questions, deeds, trials;
    struct list old_questions, old_deeds, old_trials;
    struct task sweep;
};

/* A survey whose outcome somebody waits for. */
struct question {
    struct link link;
    struct tune *tune;
    struct survey survey;
    struct tune_answer *answer; /* NULL: forgotten */
    bool memory;
    uint64_t points;
};

static void free_questions(struct list *l)
{
    struct link *k;
    while ((k = list_pop(l))) {
        struct question *q = LIST_OF(question, link, k);
        survey_fini(&q->survey);
        free(q);
    }
}

static void free_deeds(struct list *l)
{
    struct link *k;
    while ((k = list_pop(l))) {
        struct deed *d = deed_of_link(k);
        deed_free(&d);
    }
}

static void free_trials(struct list *l)
{
    struct link *k;
    while ((k = list_pop(l))) {
        struct trial *trial = trial_of_link(k);
        trial_free(&trial);
    }
}

static void sweep(struct task *task)
{
    struct tune *t = LIST_OF(tune, sweep, task);
    free_questions(&t->old_questions);
    free_deeds(&t->old_deeds);
    free_trials(&t->old_trials);
}

struct tune *tune_open(struct worker *control)
{
    struct tune *t = mem_zalloc(sizeof *t);
    t->worker = control;
    t->history = history_open(control->snapshot->conf->process.state_dir);
    t->sweep.run = sweep;
    jobs_init(&t->jobs);
    list_init(&t->questions);
    list_init(&t->deeds);
    list_init(&t->trials);
    list_init(&t->old_trials);
    list_init(&t->old_questions);
    list_init(&t->old_deeds);
    t->watch = watch_open(control, t->history, &t->jobs);
    return t;
}

void tune_stop(struct tune *t)
{
    if (t->watch)
        watch_close(&t->watch);
    free_deeds(&t->deeds);
    free_trials(&t->trials);
}

void tune_close(struct tune **closing)
{
    struct tune *t = *closing;
    *closing = NULL;
    for (struct link *k = list_first(&t->questions); k; k = list_next(&t->questions, k))
        tune_forget(LIST_OF(question, link, k)->answer);
    tune_stop(t);
    free_questions(&t->questions);
    loop_unwake(&t->worker->loop, &t->sweep);
    sweep(&t->sweep);
    jobs_fini(&t->jobs);
    history_close(&t->history);
    free(t);
}

struct jobs *tune_jobs(struct tune *t)
{
    return &t->jobs;
}

/* ---- questions ---- */

static void retire(struct tune *t, struct list *from, struct list *to, struct link *k)
{
    list_remove(from, k);
    list_push(to, k);
    loop_wake(&t->worker->loop, &t->sweep);
}

static void surveyed(struct survey *s)
{
    struct question *q = LIST_OF(question, survey, s);
    struct tune_answer *answer = q->answer;
    bool silent = s->n_unanswered && s->n; /* of all that was asked for nothing could be read */
    for (unsigned i = 0; i < s->n; i++)
        silent = silent && s->entry[i].error[0];
    retire(q->tune, &q->tune->questions, &q->tune->old_questions, &q->link);
    if (!answer)
        return;
    answer->running = NULL;
    q->answer = NULL;
    if (!silent) {
        answer->done(answer, 200, q->memory ? report_memory(s) : report_plan(s, q->points));
        return;
    }
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddStringToObject(doc, "error", s->entry[0].error);
    answer->done(answer, 502, doc);
}

/* By model index; all that are meant if n is 0. false: one has no such name, the others are chosen all the
 * same. */
static bool choose(struct tune *t, const char *const *models, unsigned n, bool *chosen, struct err *err)
{
    const struct conf *conf = t->worker->snapshot->conf;
    bool known = true;
    for (unsigned m = 0; m < conf->n_models; m++)
        chosen[m] = n == 0 && survey_is_meant(&conf->model[m]);
    for (unsigned i = 0; i < n; i++) {
        const struct conf_model *model = conf_model_named(conf, str_of(models[i]));
        if (model)
            chosen[model->index] = true;
        else
            known = err_set(err, "'%s' is not a model of the configuration", models[i]);
    }
    return known;
}

static void ask_all(struct tune *t, const char *const *models, unsigned n, bool memory, uint64_t points,
                    struct tune_answer *answer)
{
    struct question *q = mem_zalloc(sizeof *q);
    bool *chosen = mem_zalloc(t->worker->snapshot->conf->n_models * sizeof *chosen);
    q->tune = t;
    q->memory = memory;
    q->points = points;
    q->answer = answer;
    answer->running = q;
    survey_init(&q->survey, t->worker, surveyed);
    list_push(&t->questions, &q->link);
    choose(t, models, n, chosen, NULL);
    survey_start(&q->survey, chosen, true, memory);
    free(chosen);
}

void tune_plan(struct tune *t, const char *const *models, unsigned n, uint64_t points,
               struct tune_answer *answer)
{
    ask_all(t, models, n, false, points, answer);
}

void tune_memory(struct tune *t, const char *const *models, unsigned n, struct tune_answer *answer)
{
    ask_all(t, models, n, true, 0, answer);
}

void tune_forget(struct tune_answer *answer)
{
    struct question *q = answer ? answer->running : NULL;
    if (!q)
        return;
    answer->running = NULL;
    q->answer = NULL; /* the survey runs to its end: a few questions more */
}

/* ---- deeds ---- */

static void deed_ended(struct deed *d, void *arg)
{
    struct tune *t = arg;
    retire(t, &t->deeds, &t->old_deeds, deed_link(d));
    watch_soon(t->watch);
}

static bool begin_deed(struct tune *t, bool rollback, const char *const *models, unsigned n, uint64_t *id,
                       uint64_t *busy, struct err *err)
{
    bool *chosen = mem_zalloc(t->worker->snapshot->conf->n_models * sizeof *chosen);
    struct job *job = NULL;
    *busy = 0;
    if (choose(t, models, n, chosen, err) && history_writable(t->history, err))
        job = jobs_begin_of(&t->jobs, rollback ? "rollback" : "apply", models, n, busy, err);
    if (job) {
        *id = job->id;
        struct deed *d = deed_start(t->worker, t->history, &t->jobs, job,
                                    &(struct deed_order){rollback, n == 0, chosen}, deed_ended, t);
        list_push(&t->deeds, deed_link(d));
        const struct conf *conf = t->worker->snapshot->conf;
        for (unsigned m = 0; m < conf->n_models; m++)
            if (chosen[m])
                watch_forgive(t->watch, conf->model[m].name);
    }
    free(chosen);
    return job != NULL;
}

bool tune_apply(struct tune *t, const char *const *models, unsigned n, uint64_t *job, uint64_t *busy,
                struct err *err)
{
    return begin_deed(t, false, models, n, job, busy, err);
}

bool tune_rollback(struct tune *t, const char *model, uint64_t *job, uint64_t *busy, struct err *err)
{
    return begin_deed(t, true, &model, model != NULL, job, busy, err);
}

static void trial_ended(struct trial *trial, void *arg)
{
    struct tune *t = arg;
    retire(t, &t->trials, &t->old_trials, trial_link(trial));
}

bool tune_test(struct tune *t, const char *model, unsigned seconds, uint64_t *id, uint64_t *busy,
               struct err *err)
{
    bool *chosen = mem_zalloc(t->worker->snapshot->conf->n_models * sizeof *chosen);
    char whose[JOB_WHOSE_MAX];
    struct job *running = jobs_running(&t->jobs, NULL), *job = NULL;
    *busy = running ? running->id : 0;
    if (running)
        err_set(err, "job %llu (%s of %s) is running, and a test is worth something only alone",
                (unsigned long long)running->id, running->kind, job_whose(running, whose));
    else if (choose(t, &model, model != NULL, chosen, err))
        job = jobs_begin(&t->jobs, "test", model, err);
    if (job) {
        *id = job->id;
        job->alone = true;
        struct trial *trial = trial_start(t->worker, t->history, &t->jobs, job,
                                          &(struct trial_order){chosen, seconds}, trial_ended, t);
        list_push(&t->trials, trial_link(trial));
    }
    free(chosen);
    return job != NULL;
}

/* ---- status ---- */

static void add_target(cJSON *object, const char *key, double value, bool set)
{
    if (set)
        cJSON_AddNumberToObject(object, key, value);
    else
        cJSON_AddNullToObject(object, key);
}

static cJSON *model_status(struct tune *t, const struct conf_model *model)
{
    const struct conf_model_base *b = &model->base;
    const cJSON *test = tune_get_test(t, model->name, false);
    cJSON *doc = cJSON_CreateObject(), *targets;
    cJSON_AddStringToObject(doc, "model", model->name);
    cJSON_AddStringToObject(doc, "mode", conf_words_enforce[b->enforce]);
    cJSON_AddBoolToObject(doc, "resting", history_rests(t->history, model->name));
    cJSON_AddItemToObject(doc, "wish", plan_wishes(b));
    cJSON_AddItemToObject(doc, "collections", watch_json(t->watch, model->name));
    targets = cJSON_AddObjectToObject(doc, "targets");
    add_target(targets, "p50_us", (double)b->target_p50, b->target_p50 != 0);
    add_target(targets, "ops", (double)b->target_ops, b->target_ops != 0);
    add_target(targets, "hit_rate", b->target_hit_rate, !isnan(b->target_hit_rate));
    add_target(targets, "recall", b->target_recall, !isnan(b->target_recall));
    cJSON_AddItemToObject(doc, "met", test ? cJSON_Duplicate(doc_get(test, "met"), true) : cJSON_CreateNull());
    cJSON_AddItemToObject(doc, "last_test", test ? cJSON_Duplicate(test, true) : cJSON_CreateNull());
    cJSON_AddItemToObject(doc, "first_baseline", trial_first_baseline(t->history, model->name));
    return doc;
}

cJSON *tune_status(struct tune *t, const char *model)
{
    const struct conf *conf = t->worker->snapshot->conf;
    cJSON *doc = cJSON_CreateObject(), *models = cJSON_AddArrayToObject(doc, "models");
    for (unsigned m = 0; m < conf->n_models; m++)
        if (model ? strcmp(conf->model[m].name, model) == 0 : survey_is_meant(&conf->model[m]))
            cJSON_AddItemToArray(models, model_status(t, &conf->model[m]));
    return doc;
}

bool tune_drift(const struct tune *t, const char *model, unsigned *n_drift, unsigned *n_given_up)
{
    return watch_count(t->watch, model, n_drift, n_given_up);
}

const cJSON *tune_get_test(const struct tune *t, const char *model, bool first)
{
    return history_get_test(t->history, model, first);
}
