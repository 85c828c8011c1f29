/* optimizations.c - plans, applying, rolling back, tests, status, memory; and the jobs that come of them. */
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "api/routes.h"
#include "api/switches.h"
#include "api/tuning.h"

enum { NAMED_MAX = CONF_MODELS_MAX, TEST_SECONDS_MAX = 60 };

struct named {
    const char *name[NAMED_MAX];
    unsigned n; /* 0: all */
};

struct tuning_call {
    struct tuning_question question;
    struct call *call;
    bool is_job;
    struct named only; /* more than one: the others are left out of the answer */
};

/* NULL when the call has been answered. */
static const struct api_tuning *tuning_of(struct call *call)
{
    const struct api_tuning *t = call->api->hooks.tuning;
    if (!t)
        call_error(call, 503, "tuning is not running yet");
    return t;
}

/* ---- which models ---- */

static void add_model(void *arg, const struct conf_model *model)
{
    struct named *out = arg;
    for (unsigned i = 0; i < out->n; i++)
        if (strcmp(out->name[i], model->name) == 0)
            return;
    out->name[out->n++] = model->name;
}

static bool add_name(struct call *call, struct named *out, struct str name)
{
    const struct conf_model *model = call_model(call, name);
    if (model)
        add_model(out, model);
    return model != NULL;
}

/* {"model": "a"} or {"models": ["a", "b"]}; both may be left out. */
static bool names_of_body(struct call *call, const struct node *body, struct named *out)
{
    for (const struct node *m = body->first; m; m = m->next) {
        bool one = str_eq(m->key, STR("model")), many = str_eq(m->key, STR("models"));
        if (!one && !many) {
            call_error(call, 400,
                       "line %u, column %u: the body has \"%.*s\", expected \"model\" or \"models\"", m->line,
                       m->column, (int)(m->key.n < 60 ? m->key.n : 60), m->key.p);
            return false;
        }
        if (m->kind == NODE_NULL)
            continue;
        if (m->kind != (one ? NODE_STRING : NODE_LIST)) {
            call_error(call, 400, "line %u, column %u: \"%.*s\" is %s, expected %s", m->line, m->column,
                       STR_ARG(m->key), node_kind_name(m->kind),
                       one ? "a model's name" : "a list of models' names");
            return false;
        }
        if (one && !add_name(call, out, m->text))
            return false;
        for (const struct node *item = m->first; item; item = item->next) {
            if (item->kind != NODE_STRING) {
                call_error(call, 400, "line %u, column %u: %s in \"models\", expected a model's name",
                           item->line, item->column, node_kind_name(item->kind));
                return false;
            }
            if (!add_name(call, out, item->text))
                return false;
        }
        if (many && !m->n) {
            call_error(call, 400,
                       "line %u, column %u: \"models\" is empty, expected names, or nothing for all models",
                       m->line, m->column);
            return false;
        }
    }
    return true;
}

/* Of the query and, for deeds, the body. False when the call has been answered. */
static bool names_of(struct call *call, struct named *out, bool with_body)
{
    bool bad;
    out->n = 0;
    if (!call_models(call, add_model, out))
        return false;
    struct node *body = with_body ? call_body(call, &bad) : NULL;
    return with_body && (bad || body) ? !bad && names_of_body(call, body, out) : true;
}

/* ?name=true or false. False when the call has been answered. */
static bool flag_of(struct call *call, const char *name, bool *out)
{
    struct str text;
    bool bad;
    *out = false;
    if (!call_query(call, name, &text, &bad))
        return !bad;
    *out = str_eq(text, STR("true")) || str_eq(text, STR("1"));
    if (*out || str_eq(text, STR("false")) || str_eq(text, STR("0")))
        return true;
    call_error(call, 400, "%s: found '%.*s', expected true or false", name, (int)(text.n < 40 ? text.n : 40),
               text.n ? text.p : "");
    return false;
}

/* ---- questions ---- */

static void stop(struct call *call)
{
    struct tuning_call *t = call->work;
    call->api->hooks.tuning->forget(call->api->hooks.tuning->arg, &t->question);
}

/* Who waited for a job that failed hears so: the job's document becomes an error in Qdrant's shape as well.
 */
static unsigned status_of_job(cJSON *job)
{
    const char *state = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(job, "state"));
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(job, "text"));
    if (!state || strcmp(state, "failed") != 0)
        return 200;
    cJSON_AddStringToObject(cJSON_AddObjectToObject(job, "status"), "error", text ? text : "the job failed");
    cJSON_AddNumberToObject(job, "time", 0);
    return 502;
}

/* Leaves those of the list that were named. */
static void keep(cJSON *doc, const struct named *only)
{
    cJSON *models = cJSON_GetObjectItemCaseSensitive(doc, "models"), *next;
    for (cJSON *m = models ? models->child : NULL; m && only->n > 1; m = next) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(m, "model"));
        bool wanted = false;
        next = m->next;
        for (unsigned i = 0; i < only->n; i++)
            wanted |= name && strcmp(name, only->name[i]) == 0;
        if (!wanted)
            cJSON_Delete(cJSON_DetachItemViaPointer(models, m));
    }
}

static void done(struct tuning_question *q, unsigned status, struct cJSON *doc)
{
    struct tuning_call *t = (struct tuning_call *)q;
    const char *why = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(doc, "error"));
    if (status == 200 && doc) {
        keep(doc, &t->only);
        unsigned said = t->is_job ? status_of_job(doc) : 200;
        call_reply_doc(t->call, said, doc);
        return;
    }
    call_error(t->call, status == 200 ? 502 : status, "%s", why ? why : "no answer from the upstream");
    cJSON_Delete(doc);
}

static struct tuning_question *question_of(struct call *call, bool is_job, const struct named *only)
{
    struct tuning_call *t = arena_zalloc(&call->arena, sizeof *t);
    t->question.done = done;
    t->call = call;
    t->is_job = is_job;
    if (only)
        t->only = *only;
    call->work = t;
    call->abandon = stop;
    return &t->question;
}

void api_plan(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    struct named named;
    struct str text;
    uint64_t points = 0;
    bool bad;
    if (!t || !names_of(call, &named, false))
        return;
    if (call_query(call, "points", &text, &bad) && (!str_u64(text, INT64_MAX, &points) || !points))
        return call_error(call, 400,
                          "points: found '%.*s', expected a whole number of points such as 100000000",
                          (int)(text.n < 40 ? text.n : 40), text.n ? text.p : "");
    if (!bad)
        t->plan(t->arg, named.n == 1 ? named.name[0] : NULL, points, question_of(call, false, &named));
}

void api_memory(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    struct named named;
    if (t && names_of(call, &named, false))
        t->memory(t->arg, named.n == 1 ? named.name[0] : NULL, question_of(call, false, &named));
}

void api_status(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    struct named named;
    if (!t || !names_of(call, &named, false))
        return;
    if (named.n > 1)
        return call_error(call, 400, "model: found %u models, expected one, or none for all", named.n);
    cJSON *doc = t->status(t->arg, named.n ? named.name[0] : NULL);
    switches_into_status(call->conf, doc);
    call_reply_doc(call, 200, doc);
}

/* ---- deeds ---- */

/* 202 with the job's first document, or, waiting, its last. */
static void reply_job(struct call *call, const struct api_tuning *t, uint64_t id, bool wait)
{
    if (wait && t->wait(t->arg, id, question_of(call, true, NULL)))
        return;
    cJSON *doc = t->job(t->arg, id);
    if (!doc)
        return call_error(call, 404, "job %llu has ended and was pushed out by newer ones",
                          (unsigned long long)id);
    unsigned status = wait ? status_of_job(doc) : 202;
    call_reply_doc(call, status, doc);
}

static void reply_deed(struct call *call, const struct api_tuning *t, bool begun, uint64_t id, uint64_t busy,
                       const struct err *err, bool wait)
{
    if (begun)
        reply_job(call, t, id, wait);
    else if (busy)
        call_error(call, 409, "%s: see /api/v1/jobs/%llu", err->text, (unsigned long long)busy);
    else
        call_error(call, 503, "%s", err->text);
}

void api_apply(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    struct named named;
    struct err err;
    uint64_t id = 0, busy = 0;
    bool wait;
    if (!t || !flag_of(call, "wait", &wait) || !names_of(call, &named, true))
        return;
    bool begun = t->apply(t->arg, named.name, named.n, &id, &busy, &err);
    reply_deed(call, t, begun, id, busy, &err, wait);
}

/* The model of the query or of the body; NULL: all. false when the call has been answered. */
static bool one_or_all(struct call *call, const char **model)
{
    struct named named;
    if (!names_of(call, &named, true))
        return false;
    if (named.n > 1)
        return call_error(call, 400, "found %u models, expected one, or none for all", named.n), false;
    *model = named.n ? named.name[0] : NULL;
    return true;
}

/* The path says which: query and body may at most repeat it. false when the call has been answered. */
static bool names_no_other(struct call *call)
{
    struct named named;
    if (!names_of(call, &named, true))
        return false;
    for (unsigned i = 0; i < named.n; i++)
        if (!call->model || strcmp(named.name[i], call->model->name) != 0)
            return call_error(call, 400, "model: found '%s', the path says %s; expected POST /api/v1/optimizations/test/%s", named.name[i],
                              call->model ? call->model->name : "all models", named.name[i]),
                   false;
    return true;
}

void api_rollback(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    const char *model;
    struct err err;
    uint64_t id = 0, busy = 0;
    bool wait;
    if (!t || !flag_of(call, "wait", &wait) || !one_or_all(call, &model))
        return;
    bool begun = t->rollback(t->arg, model, &id, &busy, &err);
    reply_deed(call, t, begun, id, busy, &err, wait);
}

/* Of the model in the path, or of all. */
void api_test(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    struct str text;
    struct err err;
    uint64_t id = 0, busy = 0, seconds = 0;
    bool wait, bad;
    if (!t || !flag_of(call, "wait", &wait))
        return;
    if (call_query(call, "seconds", &text, &bad) && (!str_u64(text, TEST_SECONDS_MAX, &seconds) || !seconds))
        return call_error(call, 400, "seconds: found '%.*s', expected a whole number from 1 to %d",
                          (int)(text.n < 40 ? text.n : 40), text.n ? text.p : "", TEST_SECONDS_MAX);
    if (bad || !names_no_other(call))
        return;
    bool begun = t->test(t->arg, call->model ? call->model->name : NULL, (unsigned)seconds, &id, &busy, &err);
    reply_deed(call, t, begun, id, busy, &err, wait);
}

/* ---- jobs ---- */

void api_jobs(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    if (t)
        call_reply_doc(call, 200, t->jobs(t->arg));
}

void api_job(struct call *call)
{
    const struct api_tuning *t = tuning_of(call);
    uint64_t id;
    bool wait;
    if (!t || !flag_of(call, "wait", &wait))
        return;
    if (!str_u64(call->param, UINT64_MAX, &id))
        return call_error(call, 400, "found '%.*s', expected a job's number",
                          (int)(call->param.n < 40 ? call->param.n : 40), call->param.p);
    if (wait && t->wait(t->arg, id, question_of(call, true, NULL)))
        return;
    cJSON *doc = t->job(t->arg, id);
    if (!doc)
        return call_error(call, 404,
                          "there is no job %llu: it was never begun here, or newer ones have pushed it out",
                          (unsigned long long)id);
    unsigned status = wait ? status_of_job(doc) : 200;
    call_reply_doc(call, status, doc);
}
