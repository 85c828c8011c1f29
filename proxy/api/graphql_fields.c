/* graphql_fields.c - what the fields of Query and Mutation do: a row each in `fields`. */
#include "api/graphql_run.h"
#include "api/models.h"
#include "api/purge.h"
#include "api/search.h"
#include "api/switches.h"
#include "api/tuning.h"
#include "base/ensure.h"

/* ---- helpers ---- */

static struct call *call_of(const struct gql_root *root)
{
    return root->run->call;
}

/* parameters_changed -> parametersChanged: GraphQL's habit. */
static struct str camel(struct arena *a, struct str key)
{
    char *out = arena_alloc(a, key.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < key.n; i++) {
        bool joins = key.p[i] == '_' && i + 1 < key.n;
        char c = joins ? key.p[++i] : key.p[i];
        out[n++] = joins && c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    return str_slice(out, n);
}

/* The same object with its own keys written so; what lies deeper stays. */
static struct node *camel_object(struct arena *a, const struct node *object)
{
    struct node *out = node_object(a);
    for (struct node *m = object->first, *next; m; m = next) {
        next = m->next;
        node_add(out, camel(a, m->key), m);
    }
    return out;
}

/* The model that an argument names. *model NULL without the argument; false after an error. */
static bool model_of(struct gql_root *root, const char *argument, const struct conf_model **model)
{
    const struct conf *conf = call_of(root)->conf;
    const struct node *name = node_get(root->args, str_of(argument));
    *model = NULL;
    if (!name || name->kind == NODE_NULL)
        return true;
    *model = conf_model_named(conf, name->text);
    if (*model)
        return true;
    gql_root_error(root, 404, "there is no model '%.*s', the configuration has: %.*s",
                   (int)(name->text.n < 100 ? name->text.n : 100), name->text.p,
                   STR_ARG(model_names(&call_of(root)->arena, conf)));
    gql_resolved(root, NULL);
    return false;
}

/* ---- models ---- */

static struct node *model_value(struct call *call, const struct conf_model *m)
{
    struct arena *a = &call->arena;
    struct node *out = camel_object(a, model_node(a, call->conf, m));
    struct node *targets = node_get(out, STR("targets"));
    *targets = (struct node){.kind = NODE_OBJECT,
                             .key = targets->key,
                             .next = targets->next,
                             .first = targets->first,
                             .last = targets->last,
                             .n = targets->n};
    for (struct node *t = targets->first; t; t = t->next)
        t->key = camel(a, t->key);
    node_add(out, STR("name"), node_text(a, str_of(m->name)));
    node_add(out, STR("metrics"), model_metrics_node(a, call->api->history, call->conf, m));
    return out;
}

static void resolve_models(struct gql_root *root)
{
    struct call *call = call_of(root);
    struct node *list = node_list(&call->arena);
    for (unsigned i = 0; i < call->conf->n_models; i++)
        node_add(list, STR_NONE, model_value(call, &call->conf->model[i]));
    gql_resolved(root, list);
}

static void resolve_model(struct gql_root *root)
{
    const struct conf_model *model;
    if (model_of(root, "name", &model))
        gql_resolved(root, model_value(call_of(root), model));
}

/* ---- searches ---- */

struct field_search {
    struct search search;
    struct gql_root *root;
    const struct conf_model *model;
    bool in_parts;
};

/* The sentence in Qdrant's {"status":{"error":"..."}}. */
static struct str error_text(struct arena *a, struct str body)
{
    struct err err;
    const struct node *doc = tree_read(a, body, &err);
    const struct node *error = node_get(node_get(doc, STR("status")), STR("error"));
    return error && error->kind == NODE_STRING ? error->text : STR("no answer that can be read");
}

/* Qdrant's points under GraphQL's names; NULL after an error. */
static struct node *points_of(struct gql_root *root, struct node *result)
{
    struct arena *a = &call_of(root)->arena;
    struct node *list = result && result->kind == NODE_LIST ? result : node_get(result, STR("points"));
    struct node *points = node_list(a);
    if (!list || list->kind != NODE_LIST) {
        gql_root_error(root, 502, "the upstream's answer has no list of points");
        return NULL;
    }
    for (struct node *p = list->first; p; p = p->next)
        node_add(points, STR_NONE, p->kind == NODE_OBJECT ? camel_object(a, p) : node_text(a, STR_NONE));
    return points;
}

static struct node *search_parts(struct field_search *f, struct str body)
{
    struct gql_root *root = f->root;
    struct arena *a = &call_of(root)->arena;
    struct err err;
    struct node *doc = tree_read(a, body, &err), *out = node_object(a);
    if (!doc) {
        gql_root_error(root, 502,
                       "the upstream's answer cannot be taken apart (%s): ask for less, or use "
                       "optimizedSearch",
                       err.text);
        return NULL;
    }
    struct node *result = node_get(doc, STR("result")), *status = node_get(doc, STR("status")),
                *time = node_get(doc, STR("time"));
    struct text raw = {0};
    if (result)
        node_write(&raw, result);
    node_add(out, STR("result"), node_raw(a, arena_copy(a, (struct str){raw.p, raw.n})));
    text_free(&raw);
    struct node *points = points_of(root, result);
    if (!points)
        return NULL;
    node_add(out, STR("points"), points);
    node_add(out, STR("model"), node_text(a, str_of(f->model->name)));
    node_add(out, STR("status"), node_text(a, status ? status->text : STR_NONE));
    node_add(out, STR("time"), node_raw(a, time ? time->text : STR("0")));
    node_add(out, STR("optimization"), camel_object(a, search_what_was_done(&f->search, a)));
    return out;
}

static void searched(struct search *s)
{
    struct field_search *f = (struct field_search *)s;
    struct gql_root *root = f->root;
    struct arena *a = &call_of(root)->arena;
    unsigned status = search_status(s);
    struct str body = search_body(s, a);
    struct node *value = NULL;
    if (status != 200) {
        struct str text = error_text(a, body);
        gql_root_error(root, status, "%.*s", STR_ARG(text));
    } else if (f->in_parts) {
        value = search_parts(f, body);
    } else {
        value = node_object(a);
        node_add(value, STR("model"), node_text(a, str_of(f->model->name)));
        node_add(value, STR("answer"), node_raw(a, body));
        node_add(value, STR("optimization"), search_what_was_done(s, a));
    }
    gql_resolved(root, value);
}

static void stop_search(struct gql_root *root)
{
    struct field_search *f = root->work;
    search_stop(&f->search);
}

/* What an argument becomes in Qdrant's body, in this order. */
static const struct {
    const char *argument, *member;
} search_members[] = {
    {"limit", "limit"},
    {"filter", "filter"},
    {"params", "params"},
    {"withPayload", "with_payload"},
    {"withVector", "with_vector"},
    {"scoreThreshold", "score_threshold"},
};

static const struct node *given(const struct gql_root *root, const char *argument)
{
    const struct node *value = node_get(root->args, str_of(argument));
    return value && value->kind != NODE_NULL ? value : NULL;
}

static struct str search_request(struct gql_root *root, const struct conf_model *model, struct str vector)
{
    struct arena *a = &call_of(root)->arena;
    struct text body = {0};
    const struct node *using = given(root, "using");
    text_add(&body, STR("{"));
    search_vector(&body, model, using ? using->text : STR_NONE, vector);
    for (unsigned i = 0; i < sizeof search_members / sizeof *search_members; i++) {
        const struct node *value = given(root, search_members[i].argument);
        if (!value)
            continue;
        text_add(&body, STR(","));
        text_quote(&body, str_of(search_members[i].member));
        text_add(&body, STR(":"));
        node_write(&body, value);
    }
    text_add(&body, STR("}"));
    struct str out = arena_copy(a, (struct str){body.p, body.n});
    text_free(&body);
    return out;
}

static void begin_search(struct gql_root *root, bool in_parts)
{
    struct call *call = call_of(root);
    struct field_search *f = arena_zalloc(&call->arena, sizeof *f);
    const struct node *vector = given(root, "vector");
    struct text written = {0};
    if (!model_of(root, "model", &f->model))
        return;
    f->root = root;
    f->in_parts = in_parts;
    f->search.done = searched;
    if (vector)
        node_write(&written, vector);
    struct str text = vector ? arena_copy(&call->arena, (struct str){written.p, written.n})
                             : search_probe(&call->arena, f->model);
    text_free(&written);
    if (!text.n) {
        gql_root_error(root, 400, SEARCH_NO_PROBE, f->model->name);
        return gql_resolved(root, NULL);
    }
    root->work = f;
    root->stop = stop_search;
    search_start(&f->search, call, f->model, search_request(root, f->model, text));
}

static void resolve_search(struct gql_root *root)
{
    begin_search(root, true);
}

static void resolve_optimized_search(struct gql_root *root)
{
    begin_search(root, false);
}

/* ---- changes ---- */

struct field_purge {
    struct purge purge;
    struct gql_root *root;
    const struct conf_model *model;
    struct node *names;
};

static void purged(struct purge *p)
{
    struct field_purge *f = (struct field_purge *)p;
    struct call *call = call_of(f->root);
    struct arena *a = &call->arena;
    struct node *out = node_object(a), *models = node_add(out, STR("models"), node_list(a));
    for (unsigned i = 0; i < call->conf->n_models; i++)
        if (!f->model || f->model == &call->conf->model[i])
            node_add(models, STR_NONE, node_text(a, str_of(call->conf->model[i].name)));
    node_add(out, STR("purged"), f->names);
    gql_resolved(f->root, out);
}

static void stop_purge(struct gql_root *root)
{
    struct field_purge *f = root->work;
    purge_stop(&f->purge);
}

static void resolve_purge(struct gql_root *root)
{
    struct call *call = call_of(root);
    struct field_purge *f = arena_zalloc(&call->arena, sizeof *f);
    if (!model_of(root, "model", &f->model))
        return;
    f->root = root;
    f->purge.done = purged;
    root->work = f;
    root->stop = stop_purge;
    purge_start(&f->purge, call->api->hooks.worker, f->model, &call->arena, &f->names);
}

/* ---- tuning ---- */

/* NULL after an error. */
static const struct api_tuning *tuning_of(struct gql_root *root)
{
    const struct api_tuning *t = call_of(root)->api->hooks.tuning;
    if (t)
        return t;
    gql_root_error(root, 503, "tuning is not running yet");
    gql_resolved(root, NULL);
    return NULL;
}

/* A document as a tree. Takes doc. */
static struct node *tree_of(struct arena *a, struct cJSON *doc)
{
    struct err err;
    struct node *out = doc ? tree_read(a, node_doc(a, doc)->text, &err) : NULL;
    return out ? out : node_text(a, STR_NONE);
}

/* The members of a list become camel objects too. */
static void camel_list(struct arena *a, struct node *list)
{
    struct node *items = node_list(a);
    for (struct node *item = list->first, *next; item; item = next) {
        next = item->next;
        node_add(items, STR_NONE, camel_object(a, item));
    }
    list->first = items->first;
    list->last = items->last;
}

static void resolve_status(struct gql_root *root)
{
    struct arena *a = &call_of(root)->arena;
    const struct api_tuning *t = tuning_of(root);
    const struct conf_model *model;
    if (!t || !model_of(root, "model", &model))
        return;
    struct cJSON *doc = t->status(t->arg, model ? model->name : NULL);
    switches_into_status(call_of(root)->conf, doc);
    struct node *models = node_get(tree_of(a, doc), STR("models"));
    if (!models)
        models = node_list(a);
    camel_list(a, models);
    for (struct node *m = models->first; m; m = m->next) {
        struct node *collections = node_get(m, STR("collections")), *targets = node_get(m, STR("targets"));
        if (collections)
            camel_list(a, collections);
        for (struct node *one = targets ? targets->first : NULL; one; one = one->next)
            one->key = camel(a, one->key);
    }
    gql_resolved(root, models);
}

static void resolve_deed(struct gql_root *root, const struct api_tuning *t, bool begun, uint64_t id,
                         uint64_t busy, const struct err *err)
{
    if (begun)
        return gql_resolved(root, tree_of(&call_of(root)->arena, t->job(t->arg, id)));
    gql_root_error(root, busy ? 409 : 503, "%s", err->text);
    gql_resolved(root, NULL);
}

static void resolve_apply(struct gql_root *root)
{
    const struct api_tuning *t = tuning_of(root);
    const struct node *given_models = given(root, "models");
    const char *names[CONF_MODELS_MAX];
    struct err err;
    uint64_t id = 0, busy = 0;
    unsigned n = 0;
    if (!t)
        return;
    for (const struct node *m = given_models ? given_models->first : NULL; m && n < CONF_MODELS_MAX;
         m = m->next) {
        const struct conf_model *model = conf_model_named(call_of(root)->conf, m->text);
        if (!model) {
            gql_root_error(root, 404, "there is no model '%.*s', the configuration has: %.*s",
                           (int)(m->text.n < 100 ? m->text.n : 100), m->text.p,
                           STR_ARG(model_names(&call_of(root)->arena, call_of(root)->conf)));
            return gql_resolved(root, NULL);
        }
        names[n++] = model->name;
    }
    if (given_models && !n) {
        gql_root_error(root, 400,
                       "argument 'models': an empty list, expected names, or nothing for all models");
        return gql_resolved(root, NULL);
    }
    bool begun = t->apply(t->arg, names, n, &id, &busy, &err);
    resolve_deed(root, t, begun, id, busy, &err);
}

static void resolve_rollback(struct gql_root *root)
{
    const struct api_tuning *t = tuning_of(root);
    const struct conf_model *model;
    struct err err;
    uint64_t id = 0, busy = 0;
    if (!t || !model_of(root, "model", &model))
        return;
    bool begun = t->rollback(t->arg, model ? model->name : NULL, &id, &busy, &err);
    resolve_deed(root, t, begun, id, busy, &err);
}

struct field_switches {
    struct switching switching;
    struct gql_root *root;
};

static void switched(struct switching *s, unsigned status, const struct err *why)
{
    struct field_switches *f = (struct field_switches *)s;
    struct arena *a = &call_of(f->root)->arena;
    const struct conf_model *model = conf_model_named(s->worker->snapshot->conf, str_of(s->model));
    struct node *out = NULL;
    if (status == 200) {
        out = camel_object(a, tree_of(a, switches_doc(model)));
        node_add(out, STR("model"), node_text(a, str_of(s->model)));
    } else {
        gql_root_error(f->root, status, "%s", why->text);
    }
    gql_resolved(f->root, out);
}

static void stop_switching(struct gql_root *root)
{
    struct field_switches *f = root->work;
    switching_stop(&f->switching);
}

static void resolve_switches(struct gql_root *root)
{
    struct call *call = call_of(root);
    const struct conf_model *model;
    struct switch_values values;
    struct err err;
    if (!model_of(root, "model", &model))
        return;
    struct field_switches *f = arena_zalloc(&call->arena, sizeof *f);
    f->root = root;
    f->switching.done = switched;
    bool read = switches_read(root->args, true, &values, &err);
    if (read && switching_start(&f->switching, call->api, model->name, &values)) {
        root->work = f;
        root->stop = stop_switching;
        return;
    }
    gql_root_error(root, read ? 503 : 400, "%s", read ? "switches are not available" : err.text);
    gql_resolved(root, NULL);
}

/* ---- what every operation has ---- */

static void resolve_typename(struct gql_root *root)
{
    bool mutation = root->run->request.operation->kind == GQL_MUTATION;
    gql_resolved(root, node_text(&call_of(root)->arena, mutation ? STR("Mutation") : STR("Query")));
}

static void resolve_schema(struct gql_root *root)
{
    gql_resolved(root, gql_schema_node(root->run->request.schema, &call_of(root)->arena));
}

static void resolve_type(struct gql_root *root)
{
    struct str name = node_get(root->args, STR("name"))->text;
    bool known = gql_type(root->run->request.schema, name) != NULL;
    gql_resolved(root, node_text(&call_of(root)->arena, known ? name : STR_NONE));
}

static const struct {
    const char *name;
    void (*resolve)(struct gql_root *);
} fields[] = {
    {"optimizedSearch", resolve_optimized_search},
    {"search", resolve_search},
    {"models", resolve_models},
    {"model", resolve_model},
    {"optimizationStatus", resolve_status},
    {"purgeCache", resolve_purge},
    {"applyOptimizations", resolve_apply},
    {"rollbackOptimizations", resolve_rollback},
    {"setSwitches", resolve_switches},
    {"__typename", resolve_typename},
    {"__schema", resolve_schema},
    {"__type", resolve_type},
};

void gql_resolve(struct gql_root *root)
{
    const struct gql_selection *at = root->field->first;
    root->args = gql_arguments(&root->run->request, root->field->field->args, at, at->args, root->path);
    if (!root->args)
        return gql_resolved(root, NULL);
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++)
        if (str_eq(str_of(fields[i].name), root->field->field->name))
            return fields[i].resolve(root);
    ensure(false); /* the schema has a field without a row here */
}
