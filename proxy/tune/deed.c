#include "tune/deed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tune/doc.h"
#include "tune/history.h"
#include "tune/jobs.h"
#include "tune/repair.h"
#include "tune/survey.h"

struct target {
    const struct conf_model *model;
    char *owner, *collection; /* owner: the model's name, perhaps that of one that is gone */
    cJSON *undo;       /* NULL: an apply */
    const char *error; /* of the survey's entry: it is not tried */
};

struct deed {
    struct link link;
    struct worker *worker;
    struct history *history;
    struct jobs *jobs;
    struct job *job; /* NULL: ended */
    struct snapshot *snapshot;
    struct survey survey;
    struct repair repair;
    struct timer timer; /* begins a rollback */
    bool rollback;
    struct target *target;
    unsigned n, at, n_changed, n_failed;
    cJSON *models; /* the result's array */
    char first_error[240];
    void (*ended)(struct deed *, void *arg);
    void *arg;
};

static void next_target(struct deed *d);

static void end(struct deed *d)
{
    cJSON *result = cJSON_CreateObject();
    struct job *job = d->job;
    const char *did = d->rollback ? "taken back" : "changed";
    cJSON_AddItemToObject(result, "models", d->models);
    d->models = NULL;
    d->job = NULL;
    if (d->n_failed)
        job_end(d->jobs, job, false, result, "%u of %u collections %s, %u failed; first: %s", d->n_changed,
                d->n, did, d->n_failed, d->first_error);
    else if (d->n_changed)
        job_end(d->jobs, job, true, result, "%u of %u collections %s", d->n_changed, d->n, did);
    else if (d->rollback && d->n)
        job_end(d->jobs, job, true, result,
                "nothing was written: of what quiver had changed in %u collections nothing is left, or can be taken back: see warnings", d->n);
    else
        job_end(d->jobs, job, true, result, "nothing to do: %s",
                d->rollback ? "nothing was changed by quiver since the last rollback"
                            : "Qdrant is what is wished");
    d->ended(d, d->arg);
}

/* The model's object in the result, made when it is new. */
static cJSON *result_of(struct deed *d, const char *model)
{
    cJSON *one;
    cJSON_ArrayForEach(one, d->models)
        if (strcmp(doc_text(doc_get(one, "model")), model) == 0)
            return doc_get(one, "collections");
    one = cJSON_CreateObject();
    cJSON_AddStringToObject(one, "model", model);
    cJSON_AddItemToArray(d->models, one);
    return cJSON_AddArrayToObject(one, "collections");
}

static void count(struct deed *d, const cJSON *result, bool well)
{
    const char *error = doc_text(doc_get(result, "error"));
    d->n_changed += cJSON_IsTrue(doc_get(result, "changed"));
    if (well)
        return;
    if (!d->n_failed++)
        snprintf(d->first_error, sizeof d->first_error, "%s: %s", doc_text(doc_get(result, "collection")),
                 error ? error : "?");
}

static void repaired(struct repair *r)
{
    struct deed *d = LIST_OF(deed, repair, r);
    cJSON_AddItemToArray(result_of(d, d->target[d->at].owner), cJSON_Duplicate(r->result, true));
    count(d, r->result, r->well);
    d->at++;
    next_target(d);
}

static void told(struct repair *r)
{
    struct deed *d = LIST_OF(deed, repair, r);
    job_tell(d->job, (d->at + r->progress) / d->n, "%s: %s", d->target[d->at].owner, r->text);
}

static void next_target(struct deed *d)
{
    for (; d->at < d->n; d->at++) {
        struct target *t = &d->target[d->at];
        if (!t->error) {
            repair_start(&d->repair, &(struct repair_order){
                                         .snapshot = d->snapshot,
                                         .model = t->model,
                                         .owner = t->owner,
                                         .collection = t->collection,
                                         .undo = t->undo,
                                         .why = d->rollback ? "rollback" : "apply",
                                         .green_within = d->snapshot->conf->process.tune_green_timeout});
            return;
        }
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "collection", t->collection);
        cJSON_AddFalseToObject(one, "changed");
        cJSON_AddStringToObject(one, "error", t->error);
        cJSON_AddItemToArray(result_of(d, t->owner), one);
        count(d, one, false);
    }
    end(d);
}

static void add_target(struct deed *d, const struct conf_model *model, const char *owner, const char *collection, cJSON *undo,
                       const char *error)
{
    d->target = mem_realloc(d->target, (d->n + 1) * sizeof *d->target);
    d->target[d->n++] = (struct target){model, mem_strdup(owner), mem_strdup(collection), undo, error};
}

static void surveyed(struct survey *s)
{
    struct deed *d = LIST_OF(deed, survey, s);
    for (unsigned i = 0; i < s->n; i++)
        add_target(d, s->entry[i].model, s->entry[i].model->name, s->entry[i].collection, NULL,
                   s->entry[i].error[0] ? s->entry[i].error : NULL);
    next_target(d);
}

/* Is what stands in the history one of the chosen models'? What a model changed that is gone since belongs to who has the collection now. */
static bool is_chosen(const struct conf *conf, const struct deed_order *order, const cJSON *stands)
{
    const char *alias = doc_text(doc_get(stands, "alias"));
    const struct conf_model *model = conf_model_named(conf, str_of(doc_text(doc_get(stands, "model"))));
    if (order->all)
        return true;
    if (model)
        return order->chosen[model->index];
    return order->chosen[conf_model_of(conf, str_of(doc_text(doc_get(stands, "collection"))))->index] ||
           (alias && order->chosen[conf_model_of(conf, str_of(alias))->index]);
}

/* A model whose servers are those that were changed: its own, unless it has others now or is gone. */
static const struct conf_model *model_for(const struct conf *conf, const cJSON *stands)
{
    const struct conf_model *own = conf_model_named(conf, str_of(doc_text(doc_get(stands, "model"))));
    const char *group = doc_text(doc_get(stands, "upstream"));
    if (!own)
        own = &conf->model[0];
    if (!group || strcmp(conf->group[own->group].name, group) == 0)
        return own;
    for (unsigned m = 0; m < conf->n_models; m++)
        if (strcmp(conf->group[conf->model[m].group].name, group) == 0)
            return &conf->model[m];
    return own;
}

/* Out of the history: also collections that no pattern claims any more. What was done last goes first, as several models may have changed
 * one collection. */
static void begin_rollback(struct deed *d, const struct deed_order *order)
{
    const struct conf *conf = d->snapshot->conf;
    cJSON *standing = history_standing(d->history), *one;
    cJSON_ArrayForEach(one, standing)
        if (is_chosen(conf, order, one))
            add_target(d, model_for(conf, one), doc_text(doc_get(one, "model")), doc_text(doc_get(one, "collection")),
                       cJSON_DetachItemFromObjectCaseSensitive(one, "changes"), NULL);
    cJSON_Delete(standing);
    for (unsigned m = 0; m < conf->n_models; m++)
        if (order->chosen[m])
            history_rest(d->history, conf->model[m].name, true);
}

/* deed_start's caller first has to know the job: the work begins with the next turn. */
static void begin(void *arg)
{
    struct deed *d = arg;
    next_target(d);
}

struct deed *deed_start(struct worker *w, struct history *h, struct jobs *jobs, struct job *job,
                        const struct deed_order *order, void (*ended)(struct deed *, void *arg), void *arg)
{
    struct deed *d = mem_zalloc(sizeof *d);
    d->worker = w;
    d->history = h;
    d->jobs = jobs;
    d->job = job;
    d->rollback = order->rollback;
    d->ended = ended;
    d->arg = arg;
    d->models = cJSON_CreateArray();
    d->snapshot = snapshot_get(w->snapshot);
    survey_init(&d->survey, w, surveyed);
    repair_init(&d->repair, w, h, repaired, told);
    timer_init(&d->timer, &w->loop, begin, d);
    if (d->rollback) {
        begin_rollback(d, order);
        timer_set(&d->timer, clock_usec());
    } else {
        for (unsigned m = 0; m < d->snapshot->conf->n_models; m++)
            if (order->chosen[m])
                history_rest(h, d->snapshot->conf->model[m].name, false);
        survey_start(&d->survey, order->chosen, false, false);
    }
    job_tell(job, 0, "looks what there is");
    return d;
}

struct link *deed_link(struct deed *d)
{
    return &d->link;
}

struct deed *deed_of_link(struct link *k)
{
    return LIST_OF(deed, link, k);
}

void deed_free(struct deed **freeing)
{
    struct deed *d = *freeing;
    *freeing = NULL;
    repair_fini(&d->repair);
    survey_fini(&d->survey);
    timer_fini(&d->timer);
    if (d->job)
        job_end(d->jobs, d->job, false, NULL, "%s", JOB_CUT_OFF);
    for (unsigned i = 0; i < d->n; i++) {
        free(d->target[i].owner);
        free(d->target[i].collection);
        cJSON_Delete(d->target[i].undo);
    }
    free(d->target);
    cJSON_Delete(d->models);
    snapshot_put(&d->snapshot);
    free(d);
}
