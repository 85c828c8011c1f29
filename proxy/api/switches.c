/* switches.c - POST and GET /api/v1/models/{model}/optimizations, and GET /api/v1/config: the configuration in use, switches included. */
#include "api/switches.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "api/routes.h"
#include "conf/tables.h"
#include "engine/plugin.h"

#define SWITCH_WAIT (3 * SEC)
#define SWITCH_LOOK (5 * MSEC)

static const struct {
    const char *key, *graphql;
    const char *expected;
} switches[N_SWITCHES] = {
    {"cache", "cache", "true or false"},
    {"coalesce", "coalesce", "true or false"},
    {"rewrite", "rewrite", "true or false"},
    {"enforce", "enforce", "\"off\", \"observe\" or \"enforce\""},
    {"memory_policy", "memoryPolicy", "\"warn\", \"refuse\" or \"off\""},
};

/* ---- the options that they switch ---- */

static const struct opt *in_table(const struct opt_table *table, const char *key)
{
    for (size_t i = 0; i < table->n_opts; i++)
        if (strcmp(table->opts[i].key, key) == 0)
            return &table->opts[i];
    return NULL;
}

/* NULL: no table has that key. *part: where a model has what the option fills, in model->part; -1: model->base. */
static const struct opt *option(const char *key, int *part)
{
    const struct opt *opt = in_table(&conf_model_table, key);
    *part = -1;
    while (!opt && ++*part < (int)chain.n_model_tables)
        opt = in_table(chain.model_table[*part], key);
    return opt;
}

static bool is_flag(unsigned i)
{
    int part;
    const struct opt *opt = option(switches[i].key, &part);
    return opt && opt->kind == OPT_KIND_BOOL;
}

/* ---- reading ---- */

static const char *word_of(unsigned i, const struct node *node)
{
    int part;
    const struct opt *opt = option(switches[i].key, &part);
    if (is_flag(i) && (node->kind == NODE_TRUE || node->kind == NODE_FALSE))
        return node->kind == NODE_TRUE ? "true" : "false";
    for (const char *const *w = opt ? opt->words : NULL; w && *w && node->kind == NODE_STRING; w++)
        if (str_eq(node->text, str_of(*w)))
            return *w;
    return NULL;
}

bool switches_read(const struct node *object, bool graphql, struct switch_values *out, struct err *err)
{
    *out = (struct switch_values){.n = 0};
    for (const struct node *m = object ? object->first : NULL; m; m = m->next) {
        unsigned i = 0;
        while (i < N_SWITCHES && !str_eq(m->key, str_of(graphql ? switches[i].graphql : switches[i].key)))
            i++;
        if (i == N_SWITCHES && graphql)
            continue; /* the schema knows no others than the model's name */
        if (i == N_SWITCHES)
            return err_set(err, "line %u, column %u: found \"%.*s\", expected cache, coalesce, rewrite, enforce or memory_policy", m->line,
                           m->column, (int)(m->key.n < 60 ? m->key.n : 60), m->key.p);
        if (m->kind == NODE_NULL)
            continue;
        out->word[i] = word_of(i, m);
        out->n++;
        const char *is = m->kind == NODE_STRING ? "another word" : node_kind_name(m->kind);
        if (!out->word[i] && graphql) /* the answer has the field's place */
            return err_set(err, "argument '%s': found %s, expected %s", switches[i].graphql, is, switches[i].expected);
        if (!out->word[i])
            return err_set(err, "line %u, column %u: %s is %s, expected %s", m->line, m->column, switches[i].key, is, switches[i].expected);
    }
    return out->n || err_set(err, "expected %s of cache, coalesce, rewrite (true or false), enforce (\"off\", \"observe\", \"enforce\") and "
                             "%s (\"warn\", \"refuse\", \"off\")", graphql ? "one or more" : "an object with one or more",
                             graphql ? "memoryPolicy" : "memory_policy");
}

/* ---- what is in use ---- */

/* As it would stand in a file; NULL: no table has that key. */
static const char *in_use(struct arena *a, const struct conf_model *model, const char *key)
{
    int part;
    const struct opt *opt = option(key, &part);
    if (!opt)
        return NULL;
    struct str text = opt_print(a, opt, part < 0 ? (const void *)&model->base : model->part[part]);
    return arena_printf(a, "%.*s", STR_ARG(str_trim(text, "\""))).p;
}

struct cJSON *switches_doc(const struct conf_model *model)
{
    struct arena a;
    cJSON *out = cJSON_CreateObject();
    arena_init(&a, NULL, 0);
    for (unsigned i = 0; i < N_SWITCHES; i++) {
        const char *word = in_use(&a, model, switches[i].key);
        if (word && is_flag(i))
            cJSON_AddBoolToObject(out, switches[i].key, strcmp(word, "true") == 0);
        else if (word)
            cJSON_AddStringToObject(out, switches[i].key, word);
    }
    arena_fini(&a);
    return out;
}

void switches_into_status(const struct conf *conf, cJSON *status)
{
    cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(status, "models")) {
        const char *name = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(one, "model"));
        const struct conf_model *model = name ? conf_model_named(conf, str_of(name)) : NULL;
        if (model)
            cJSON_AddItemToObject(one, "switches", switches_doc(model));
    }
}

/* ---- switching ---- */

/* What came of it, under the first configuration that has it. */
static unsigned outcome_of(const struct switching *s, struct err *why)
{
    const struct conf_model *model = conf_model_named(s->worker->snapshot->conf, str_of(s->model));
    struct arena a;
    unsigned status = 200;
    if (!model) {
        err_set(why, "model '%s' went from the configuration at the same time, and its switches with it", s->model);
        return 404;
    }
    arena_init(&a, NULL, 0);
    for (unsigned i = 0; status == 200 && i < N_SWITCHES; i++) {
        const char *word = s->values.word[i] ? in_use(&a, model, switches[i].key) : NULL;
        if (!word || strcmp(word, s->values.word[i]) == 0)
            continue;
        err_set(why, "%s was set to %s and by another call at the same time to %s, which came later and holds", switches[i].key,
                s->values.word[i], word);
        status = 409;
    }
    arena_fini(&a);
    return status;
}

static void look(void *arg)
{
    struct switching *s = arg;
    struct err why = {{0}};
    unsigned status = 503;
    if (s->worker->snapshot->conf->n_switched >= s->number) {
        status = outcome_of(s, &why);
    } else if (s->worker->loop.now < s->until) {
        timer_set(&s->timer, s->worker->loop.now + SWITCH_LOOK);
        return;
    } else {
        err_set(&why,
                "not in effect after %llu s: the configuration does not load, or loading takes longer, see quiver's log; the switch is kept, "
                "and takes effect with the first reload that succeeds",
                (unsigned long long)(SWITCH_WAIT / SEC));
    }
    timer_fini(&s->timer);
    s->done(s, status, &why);
}

bool switching_start(struct switching *s, struct api *api, const char *model, const struct switch_values *values)
{
    if (!api->hooks.set_switch)
        return false;
    s->worker = api->hooks.worker;
    s->model = model;
    s->values = *values;
    s->until = s->worker->loop.now + SWITCH_WAIT;
    timer_init(&s->timer, &s->worker->loop, look, s);
    for (unsigned i = 0; i < N_SWITCHES; i++)
        if (values->word[i])
            s->number = api->hooks.set_switch(model, switches[i].key, values->word[i], api->hooks.arg);
    timer_set(&s->timer, s->worker->loop.now + SWITCH_LOOK);
    return true;
}

void switching_stop(struct switching *s)
{
    timer_fini(&s->timer);
}

/* ---- the calls ---- */

struct switch_call {
    struct switching switching;
    struct call *call;
};

static void stop(struct call *call)
{
    struct switch_call *sc = call->work;
    switching_stop(&sc->switching);
}

static void reply_switches(struct call *call, const struct conf_model *model, struct node *set)
{
    struct node *out = node_object(&call->arena);
    node_add(out, STR("model"), node_text(&call->arena, str_of(model->name)));
    if (set)
        node_add(out, STR("set"), set);
    node_add(out, STR("switches"), node_doc(&call->arena, switches_doc(model)));
    call_reply_node(call, 200, out, STR_NONE);
}

/* What was asked for, without what was null. */
static struct node *set_node(struct arena *a, const struct switch_values *values)
{
    struct node *out = node_object(a);
    for (unsigned i = 0; i < N_SWITCHES; i++) {
        struct str word = values->word[i] ? str_of(values->word[i]) : STR_NONE;
        if (word.n)
            node_add(out, str_of(switches[i].key), is_flag(i) ? node_raw(a, word) : node_text(a, word));
    }
    return out;
}

static void switched(struct switching *s, unsigned status, const struct err *why)
{
    struct switch_call *sc = (struct switch_call *)s;
    const struct conf_model *model = conf_model_named(s->worker->snapshot->conf, str_of(s->model));
    if (status == 200)
        reply_switches(sc->call, model, set_node(&sc->call->arena, &s->values));
    else
        call_error(sc->call, status, "%s", why->text);
}

void api_switches(struct call *call)
{
    struct switch_values values;
    struct err err;
    bool bad = false;
    struct node *body = call_body(call, &bad);
    if (bad)
        return;
    if (!switches_read(body, false, &values, &err))
        return call_error(call, 400, "%s", err.text);
    struct switch_call *sc = arena_zalloc(&call->arena, sizeof *sc);
    sc->call = call;
    sc->switching.done = switched;
    if (!switching_start(&sc->switching, call->api, call->model->name, &values))
        return call_error(call, 503, "switches are not available");
    call->work = sc;
    call->abandon = stop;
}

void api_switches_get(struct call *call)
{
    reply_switches(call, call->model, NULL);
}

void api_config(struct call *call)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = call->api->hooks.dump ? open_memstream(&text, &n) : NULL;
    if (!out)
        return call_error(call, 503, "the configuration cannot be shown");
    call->api->hooks.dump(call->conf, out, call->api->hooks.arg);
    fclose(out);
    call_reply(call, 200, "application/yaml", (struct str){text, n}, STR_NONE);
    free(text);
}
