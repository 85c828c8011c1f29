/* survey.c - a round: GET /collections of each group that a chosen model uses, the names that these models
 * claim, then the details of each collection. */
#include "tune/survey.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "conf/claims.h"
#include "tune/doc.h"
#include "tune/plan.h"

enum { ESCAPED_MAX = 800 };

static void go_on(struct survey *s);

static void add_entry(struct survey *s, const struct conf_model *model, const char *collection, bool unlisted)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->entry[i].model == model && strcmp(s->entry[i].collection, collection) == 0)
            return;
    if (s->n == SURVEY_MAX) {
        log_limited(LOG_LEVEL_WARN, s->worker->loop.now, "survey_full",
                    "at_most=%d why=\"more collections are not looked at\"", SURVEY_MAX);
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 16;
        s->entry = mem_realloc(s->entry, s->cap * sizeof *s->entry);
    }
    s->entry[s->n++] = (struct survey_entry){.model = model, .collection = mem_strdup(collection), .unlisted = unlisted};
}

/* Plain names among the patterns are asked for even if no list has them: they may be aliases. Without a list, the error stands for all
 * that a pattern would have found: nothing there would read as nothing to do. */
static void add_names(struct survey *s, const char *error)
{
    const struct conf *conf = s->snapshot->conf;
    for (unsigned m = 0; m < conf->n_models; m++) {
        const struct conf_model *model = &conf->model[m];
        if (!s->chosen[m] || model->group != s->group)
            continue;
        const struct opt_texts *names = &model->base.collections;
        for (unsigned i = 0; m > 0 && i < names->n; i++)
            if (error || !glob_is(str_of(names->text[i])))
                add_entry(s, model, names->text[i], glob_is(str_of(names->text[i])));
        if (error && m == 0)
            add_entry(s, model, "*", true);
        for (unsigned i = 0; error && i < s->n; i++)
            if (s->entry[i].model == model)
                snprintf(s->entry[i].error, sizeof s->entry[i].error, "%s", error);
    }
}

static void take_list(struct survey *s)
{
    cJSON *doc, *one;
    cJSON *list = doc_get(doc_result(s->ask.body, &doc), "collections");
    cJSON_ArrayForEach(one, list) {
        const char *name = doc_text(doc_get(one, "name"));
        const struct conf_model *model = name ? conf_model_of(s->snapshot->conf, str_of(name)) : NULL;
        if (model && s->chosen[model->index] && model->group == s->group)
            add_entry(s, model, name, false);
    }
    cJSON_Delete(doc);
    add_names(s, NULL);
}

static void no_answer(struct survey *s, char *error, size_t n)
{
    char text[160];
    if (!s->ask.status) {
        s->n_unanswered++;
        snprintf(error, n, "Qdrant did not answer: %s", ask_why(&s->ask));
    } else {
        snprintf(error, n, "Qdrant answered %u: %s", s->ask.status,
                 doc_error(s->ask.body, text, sizeof text));
    }
}

static void take_details(struct survey *s)
{
    struct survey_entry *e = &s->entry[s->at];
    cJSON *doc = NULL, *result = s->ask.status == 200 ? doc_result(s->ask.body, &doc) : NULL;
    if (cJSON_IsObject(result)) {
        result = cJSON_DetachItemFromObjectCaseSensitive(doc, "result");
        if (s->question == SURVEY_INFO)
            e->info = result;
        else
            e->memory = result;
        e->exists = true;
    } else if (s->question == SURVEY_INFO && s->ask.status != 404) {
        no_answer(s, e->error, sizeof e->error);
    }
    cJSON_Delete(doc);
    if (s->question == SURVEY_INFO && s->with_memory && e->exists)
        s->question = SURVEY_MEMORY; /* the server may not have it: then it stays NULL */
    else {
        s->question = SURVEY_INFO;
        s->at++;
    }
}

static void answered(struct ask *ask)
{
    struct survey *s = LIST_OF(survey, ask, ask);
    char error[240];
    if (s->question != SURVEY_LIST) {
        take_details(s);
    } else {
        if (ask->status == 200) {
            take_list(s);
        } else {
            no_answer(s, error, sizeof error);
            add_names(s, error);
        }
        s->group++;
    }
    fetch_finish(&ask->fetch);
    go_on(s);
}

static bool group_is_used(const struct survey *s)
{
    const struct conf *conf = s->snapshot->conf;
    for (unsigned m = 0; m < conf->n_models; m++)
        if (s->chosen[m] && conf->model[m].group == s->group)
            return true;
    return false;
}

/* In the order of the models: lists of several groups and plain names came as they came. */
static int by_model(const void *a, const void *b)
{
    const struct survey_entry *x = a, *y = b;
    if (x->model != y->model)
        return x->model->index < y->model->index ? -1 : 1;
    return strcmp(x->collection, y->collection);
}

static void ask_details(struct survey *s)
{
    char path[ESCAPED_MAX + 40], name[ESCAPED_MAX];
    const struct survey_entry *e = &s->entry[s->at];
    snprintf(path, sizeof path, "/collections/%s%s", str_escape(name, sizeof name, e->collection),
             s->question == SURVEY_MEMORY ? "/memory" : "");
    ask_send(&s->ask, ask_slots(s->worker, &s->snapshot->conf->group[e->model->group]), "GET", path, STR_NONE, SURVEY_TIMEOUT);
}

static void go_on(struct survey *s)
{
    while (s->question == SURVEY_LIST && s->group < s->snapshot->conf->n_groups && !group_is_used(s))
        s->group++;
    if (s->question == SURVEY_LIST && s->group < s->snapshot->conf->n_groups) {
        ask_send(&s->ask, ask_slots(s->worker, &s->snapshot->conf->group[s->group]), "GET", "/collections", STR_NONE, SURVEY_TIMEOUT);
        return;
    }
    if (s->question == SURVEY_LIST) {
        s->question = SURVEY_INFO;
        if (s->n)
            qsort(s->entry, s->n, sizeof *s->entry, by_model);
    }
    while (s->at < s->n && s->entry[s->at].error[0])
        s->at++;
    if (s->with_info && s->at < s->n) {
        ask_details(s);
        return;
    }
    s->running = false;
    s->done(s);
}

bool survey_is_meant(const struct conf_model *model)
{
    if (model->index > 0)
        return true;
    cJSON *wishes = plan_wishes(&model->base);
    bool any = cJSON_GetArraySize(wishes) > (model->base.vector_size != 0);
    cJSON_Delete(wishes);
    return any;
}

void survey_init(struct survey *s, struct worker *w, void (*done)(struct survey *))
{
    *s = (struct survey){.worker = w, .done = done};
    ask_init(&s->ask, w, answered);
}

void survey_clear(struct survey *s)
{
    for (unsigned i = 0; i < s->n; i++) {
        free(s->entry[i].collection);
        cJSON_Delete(s->entry[i].info);
        cJSON_Delete(s->entry[i].memory);
    }
    free(s->entry);
    free(s->chosen);
    s->entry = NULL;
    s->chosen = NULL;
    s->n = s->cap = 0;
    snapshot_put(&s->snapshot);
}

void survey_fini(struct survey *s)
{
    ask_fini(&s->ask);
    survey_clear(s);
}

void survey_start(struct survey *s, const bool *chosen, bool with_info, bool with_memory)
{
    unsigned n_models = s->worker->snapshot->conf->n_models;
    survey_clear(s);
    s->snapshot = snapshot_get(s->worker->snapshot);
    s->chosen = mem_alloc(n_models * sizeof *s->chosen);
    memcpy(s->chosen, chosen, n_models * sizeof *s->chosen);
    s->with_info = with_info;
    s->with_memory = with_memory;
    s->group = s->at = s->n_unanswered = 0;
    s->question = SURVEY_LIST;
    s->running = true;
    while (s->group + 1 < s->snapshot->conf->n_groups && !group_is_used(s))
        s->group++;
    ask_send(&s->ask, ask_slots(s->worker, &s->snapshot->conf->group[s->group]), "GET", "/collections", STR_NONE, SURVEY_TIMEOUT);
}
