#include "api/call.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "base/mem.h"
#include "qdrant/reply.h"

void call_reply(struct call *call, unsigned status, const char *content_type, struct str body,
                struct str headers)
{
    struct api *api = call->api;
    list_remove(&api->running, &call->link);
    control_reply(&call->request, status, content_type, body, headers);
    list_push(&api->ended, &call->link);
    if (api->hooks.worker)
        loop_wake(&api->hooks.worker->loop, &api->sweep);
    else
        calls_sweep(api);
}

void calls_sweep(struct api *api)
{
    for (struct link *k; (k = list_pop(&api->ended));) {
        struct call *call = LIST_OF(call, link, k);
        snapshot_put(&call->snapshot);
        arena_fini(&call->arena);
        free(call);
    }
}

void call_reply_node(struct call *call, unsigned status, const struct node *node, struct str headers)
{
    struct text text = {0};
    node_write(&text, node);
    call_reply(call, status, "application/json", (struct str){text.p, text.n}, headers);
    text_free(&text);
}

/* Takes doc; freed by cJSON_free. What Qdrant said is quoted in documents, perhaps cut within a character, or was no text at all: bytes that
 * begin no character of UTF-8 become '?'. */
static char *print_doc(struct cJSON *doc)
{
    char *text = cJSON_PrintUnformatted(doc);
    cJSON_Delete(doc);
    for (size_t i = 0, n = text ? strlen(text) : 0; i < n;) {
        unsigned length = utf8_length(text + i, n - i);
        if (!length)
            text[i] = '?';
        i += length ? length : 1;
    }
    return text;
}

void call_reply_doc(struct call *call, unsigned status, struct cJSON *doc)
{
    char *text = print_doc(doc);
    call_reply(call, status, "application/json", text ? str_of(text) : STR("null"), STR_NONE);
    cJSON_free(text);
}

struct node *node_doc(struct arena *a, struct cJSON *doc)
{
    char *text = doc ? print_doc(doc) : NULL;
    struct node *out = text ? node_raw(a, arena_copy(a, str_of(text))) : node_text(a, STR_NONE);
    cJSON_free(text);
    return out;
}

void call_error(struct call *call, unsigned status, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    call_reply(call, status, "application/json", reply_error_body(&call->arena, str_of(text)),
               status == 503   ? STR("Retry-After: 1\r\n")
               : status == 401 ? STR("WWW-Authenticate: Bearer realm=\"quiver\"\r\n")
                               : STR_NONE);
}

bool call_query(struct call *call, const char *name, struct str *value, bool *bad)
{
    unsigned n = 0;
    *bad = false;
    *value = STR_NONE;
    if (!call->request->query.p || !query_param(&call->arena, call->request->query, str_of(name), value, &n))
        return false;
    if (n < 2)
        return true;
    *bad = true;
    call_error(call, 400, "the query has '%s' %u times, expected it once", name, n);
    return false;
}

struct node *call_body(struct call *call, bool *bad)
{
    struct err err;
    *bad = false;
    if (!str_trim(call->request->body, " \t\r\n").n)
        return NULL;
    struct node *out = tree_read(&call->arena, call->request->body, &err);
    if (out && out->kind == NODE_OBJECT)
        return out;
    *bad = true;
    if (out)
        call_error(call, 400, "line %u, column %u: the body is %s, expected an object", out->line, out->column, node_kind_name(out->kind));
    else
        call_error(call, 400, "the body is not JSON: %s", err.text);
    return NULL;
}

const char *model_collection(const struct conf_model *model)
{
    const struct opt_texts *patterns = &model->base.collections;
    for (unsigned i = 0; i < patterns->n; i++)
        if (!strpbrk(patterns->text[i], "*?"))
            return patterns->text[i];
    return model->name;
}

struct str model_names(struct arena *a, const struct conf *conf)
{
    struct str names = STR("");
    for (unsigned i = 1; i < conf->n_models && names.n < 600; i++)
        names = arena_printf(a, "%.*s%s%s", STR_ARG(names), i > 1 ? ", " : "", conf->model[i].name);
    return names;
}

const struct conf_model *call_model(struct call *call, struct str name)
{
    const struct conf_model *model = conf_model_named(call->conf, name);
    if (!model)
        call_error(call, 404, "there is no model '%.*s', the configuration has: %.*s", (int)(name.n < 100 ? name.n : 100), name.p,
                   STR_ARG(model_names(&call->arena, call->conf)));
    return model;
}

bool call_models(struct call *call, void (*take)(void *arg, const struct conf_model *), void *arg)
{
    static const char *const names[] = {"model", "models"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct str list;
        bool bad;
        if (!call_query(call, names[i], &list, &bad)) {
            if (bad)
                return false;
            continue;
        }
        do {
            const struct conf_model *model = call_model(call, str_trim(str_split(&list, ','), " "));
            if (!model)
                return false;
            take(arg, model);
        } while (list.p);
    }
    return true;
}
