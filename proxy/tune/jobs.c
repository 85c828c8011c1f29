#include "tune/jobs.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tune/doc.h"

const char *const job_state_names[] = {
#define X(id, word) word,
    JOB_STATES(X)
#undef X
};

static void job_free(struct jobs *jobs, struct job *j)
{
    struct link *k;
    while ((k = list_pop(&j->waiters)))
        LIST_OF(job_waiter, link, k)->job = NULL;
    list_remove(&jobs->all, &j->link);
    cJSON_Delete(j->result);
    cJSON_Delete(j->models);
    free(j->model);
    free(j);
}

void jobs_init(struct jobs *jobs)
{
    *jobs = (struct jobs){.next_id = 1};
    list_init(&jobs->all);
}

void jobs_fini(struct jobs *jobs)
{
    struct link *k;
    while ((k = list_first(&jobs->all)))
        job_free(jobs, LIST_OF(job, link, k));
}

static void push_out(struct jobs *jobs)
{
    for (struct link *k = list_first(&jobs->all), *next; k && jobs->all.n >= JOBS_KEPT; k = next) {
        struct job *j = LIST_OF(job, link, k);
        next = list_next(&jobs->all, k);
        if (j->state != JOB_RUNNING)
            job_free(jobs, j);
    }
}

static bool claims(const struct job *j, const char *model)
{
    const cJSON *one;
    if (!model || j->alone || (!j->model && !j->models))
        return true;
    cJSON_ArrayForEach(one, j->models)
        if (strcmp(one->valuestring, model) == 0)
            return true;
    return j->model && strcmp(j->model, model) == 0;
}

struct job *jobs_running(struct jobs *jobs, const char *model)
{
    for (struct link *k = list_first(&jobs->all); k; k = list_next(&jobs->all, k)) {
        struct job *j = LIST_OF(job, link, k);
        if (j->state == JOB_RUNNING && claims(j, model))
            return j;
    }
    return NULL;
}

const char *job_whose(const struct job *j, char out[static JOB_WHOSE_MAX])
{
    const cJSON *one;
    size_t n = 0;
    snprintf(out, JOB_WHOSE_MAX, "%s", j->model ? j->model : "all models");
    cJSON_ArrayForEach(one, j->models)
        if (n < JOB_WHOSE_MAX)
            n += (size_t)snprintf(out + n, JOB_WHOSE_MAX - n, "%s%s", n ? ", " : "", one->valuestring);
    return out;
}

struct job *jobs_begin_of(struct jobs *jobs, const char *kind, const char *const *models, unsigned n, uint64_t *busy, struct err *err)
{
    char whose[JOB_WHOSE_MAX];
    struct job *j = n ? NULL : jobs_running(jobs, NULL);
    for (unsigned i = 0; i < n && !j; i++)
        j = jobs_running(jobs, models[i]);
    *busy = j ? j->id : 0;
    if (j) {
        err_set(err, "job %llu (%s of %s) is running, expected it to end first", (unsigned long long)j->id, j->kind, job_whose(j, whose));
        return NULL;
    }
    push_out(jobs);
    j = mem_zalloc(sizeof *j);
    j->id = jobs->next_id++;
    j->kind = kind;
    j->model = n == 1 ? mem_strdup(models[0]) : NULL;
    j->models = n > 1 ? cJSON_CreateStringArray((const char **)models, (int)n) : NULL;
    j->began = clock_unix_usec();
    list_init(&j->waiters);
    list_push(&jobs->all, &j->link);
    return j;
}

struct job *jobs_begin(struct jobs *jobs, const char *kind, const char *model, struct err *err)
{
    uint64_t busy;
    return jobs_begin_of(jobs, kind, &model, model != NULL, &busy, err);
}

void job_tell(struct job *j, double progress, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(j->text, sizeof j->text, fmt, args);
    va_end(args);
    j->progress = progress < 0 ? 0 : progress > 1 ? 1 : progress;
}

void job_end(struct jobs *jobs, struct job *j, bool well, cJSON *result, const char *fmt, ...)
{
    struct link *k;
    va_list args;
    (void)jobs;
    va_start(args, fmt);
    vsnprintf(j->text, sizeof j->text, fmt, args);
    va_end(args);
    j->state = well ? JOB_DONE : JOB_FAILED;
    j->progress = 1;
    j->ended = clock_unix_usec();
    j->result = result;
    while ((k = list_pop(&j->waiters))) {
        struct job_waiter *w = LIST_OF(job_waiter, link, k);
        w->job = NULL;
        w->ended(w, j);
    }
}

struct job *jobs_find(struct jobs *jobs, uint64_t id)
{
    for (struct link *k = list_first(&jobs->all); k; k = list_next(&jobs->all, k))
        if (LIST_OF(job, link, k)->id == id)
            return LIST_OF(job, link, k);
    return NULL;
}

static cJSON *plain(const struct job *j)
{
    char time[LOG_TIME_N];
    cJSON *doc = cJSON_CreateObject();
    cJSON_AddItemToObject(doc, "id", doc_bytes(j->id));
    cJSON_AddStringToObject(doc, "kind", j->kind);
    if (j->model)
        cJSON_AddStringToObject(doc, "model", j->model);
    else
        cJSON_AddNullToObject(doc, "model");
    if (j->models)
        cJSON_AddItemToObject(doc, "models", cJSON_Duplicate(j->models, true));
    cJSON_AddStringToObject(doc, "state", job_state_names[j->state]);
    cJSON_AddNumberToObject(doc, "progress", j->progress);
    cJSON_AddStringToObject(doc, "text", j->text);
    log_time(time, j->began);
    cJSON_AddStringToObject(doc, "began", time);
    if (j->ended) {
        log_time(time, j->ended);
        cJSON_AddStringToObject(doc, "ended", time);
    }
    return doc;
}

cJSON *job_json(const struct job *j)
{
    cJSON *doc = plain(j);
    if (j->result)
        cJSON_AddItemToObject(doc, "result", cJSON_Duplicate(j->result, true));
    return doc;
}

cJSON *jobs_json(const struct jobs *jobs)
{
    cJSON *doc = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(doc, "jobs");
    for (struct link *k = list_last(&jobs->all); k && k != &jobs->all.head; k = k->prev)
        cJSON_AddItemToArray(list, plain(LIST_OF(job, link, k)));
    return doc;
}

bool job_wait(struct job *j, struct job_waiter *w)
{
    w->job = NULL;
    w->link = (struct link){0};
    if (j->state != JOB_RUNNING)
        return false;
    w->job = j;
    list_push(&j->waiters, &w->link);
    return true;
}

void job_forget(struct job_waiter *w)
{
    if (w->job)
        list_remove(&w->job->waiters, &w->link);
    w->job = NULL;
}
