#include "api/purge.h"

#include "api/routes.h"
#include "engine/names.h"

static void wake(void *arg)
{
    struct purge *p = arg;
    loop_wake(&p->worker->loop, &p->task);
}

/* Opened: close it as done; closed: over. */
static void go_on(struct task *task)
{
    struct purge *p = LIST_OF(purge, task, task);
    if (!p->closing) {
        p->closing = true;
        if (!coherence_close(&p->hold, PROOF_COMPLETED, wake, p))
            return;
    }
    p->done(p);
}

/* As a write to these names. */
static void start(struct purge *p, struct worker *w, const struct coherence_names *names)
{
    p->worker = w;
    p->closing = false;
    p->task = (struct task){.run = go_on};
    if (coherence_open(w->coherence, &p->hold, names, wake, p))
        loop_wake(&w->loop, &p->task);
}

/* Does its configuration name all collections of the model? Not where a pattern could mean any. */
static bool is_named(const struct conf_model *model)
{
    const struct opt_texts *patterns = &model->base.collections;
    for (unsigned i = 0; i < patterns->n; i++)
        if (strpbrk(patterns->text[i], "*?"))
            return false;
    return patterns->n;
}

void purge_start(struct purge *p, struct worker *w, const struct conf_model *model, struct arena *a, struct node **names)
{
    struct coherence_names of = {.all = !model || !is_named(model)};
    *names = node_list(a);
    if (of.all)
        node_add(*names, STR_NONE, node_text(a, STR("*")));
    for (unsigned i = 0; !of.all && i < model->base.collections.n; i++) {
        struct str name = str_of(model->base.collections.text[i]);
        node_add(*names, STR_NONE, node_text(a, name));
        names_add_written(w->facts, &of, name);
    }
    start(p, w, &of);
}

void purge_start_collection(struct purge *p, struct worker *w, struct str collection, struct arena *a, struct node **names)
{
    struct coherence_names of = {0};
    *names = node_list(a);
    node_add(*names, STR_NONE, node_text(a, collection));
    names_add_written(w->facts, &of, collection);
    start(p, w, &of);
}

/* Nothing was written, so there is nothing to hold for: without a proof the names would be. */
void purge_stop(struct purge *p)
{
    if (!p->closing)
        coherence_close(&p->hold, PROOF_COMPLETED, wake, p);
    coherence_cancel(&p->hold);
    loop_unwake(&p->worker->loop, &p->task);
}

/* ---- the route ---- */

struct purge_call {
    struct purge purge;
    struct call *call;
    const struct conf_model *model; /* NULL: not of one model */
    struct node *names;
};

static void purged(struct purge *p)
{
    struct purge_call *pc = (struct purge_call *)p;
    struct arena *a = &pc->call->arena;
    struct node *out = node_object(a);
    if (pc->model)
        node_add(out, STR("model"), node_text(a, str_of(pc->model->name)));
    node_add(out, STR("purged"), pc->names);
    call_reply_node(pc->call, 200, out, STR_NONE);
}

static void stop(struct call *call)
{
    struct purge_call *pc = call->work;
    purge_stop(&pc->purge);
}

static struct purge_call *purge_call(struct call *call)
{
    struct purge_call *pc = arena_zalloc(&call->arena, sizeof *pc);
    pc->call = call;
    pc->purge.done = purged;
    call->work = pc;
    call->abandon = stop;
    return pc;
}

void api_purge(struct call *call)
{
    struct purge_call *pc = purge_call(call);
    pc->model = call->model;
    purge_start(&pc->purge, call->api->hooks.worker, call->model, &call->arena, &pc->names);
}

/* {} everything, {"model": name}, {"collection": name}. */
void api_purge_any(struct call *call)
{
    bool bad = false;
    struct node *body = call_body(call, &bad);
    if (bad)
        return;
    const struct node *model = node_get(body, STR("model")), *collection = node_get(body, STR("collection"));
    for (const struct node *m = body ? body->first : NULL; m; m = m->next) {
        bool known = m == model || m == collection;
        if (!known || m->kind != NODE_STRING || (model && collection))
            return call_error(call, 400, "line %u, column %u: \"%.*s\" %s%s, expected {\"model\": \"name\"} or {\"collection\": \"name\"}, or "
                              "nothing for everything", m->line, m->column, (int)(m->key.n < 60 ? m->key.n : 60), m->key.p,
                              !known || m->kind == NODE_STRING ? "is there" : "is ",
                              !known ? "" : m->kind == NODE_STRING ? " beside another" : node_kind_name(m->kind));
    }
    const struct conf_model *of = model ? conf_model_named(call->conf, model->text) : NULL;
    if (model && !of) {
        call_error(call, 404, "there is no model '%.*s', the configuration has: %.*s", (int)(model->text.n < 100 ? model->text.n : 100),
                   model->text.p, STR_ARG(model_names(&call->arena, call->conf)));
        return;
    }
    struct purge_call *pc = purge_call(call);
    pc->model = of;
    if (collection)
        purge_start_collection(&pc->purge, call->api->hooks.worker, collection->text, &call->arena, &pc->names);
    else
        purge_start(&pc->purge, call->api->hooks.worker, of, &call->arena, &pc->names);
}
