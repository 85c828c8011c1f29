#include "api/purge.h"

#include "api/routes.h"

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

/* The names of a model as far as its configuration says them; false when a pattern could mean any. */
static bool names_of(const struct conf_model *model, struct coherence_names *names)
{
    const struct opt_texts *patterns = &model->base.collections;
    for (unsigned i = 0; i < patterns->n; i++) {
        if (strpbrk(patterns->text[i], "*?"))
            return false;
        coherence_names_add(names, str_of(patterns->text[i]));
    }
    return patterns->n && !names->all;
}

void purge_start(struct purge *p, struct worker *w, const struct conf_model *model, struct arena *a, struct node **names)
{
    struct coherence_names of = {0};
    p->worker = w;
    p->closing = false;
    p->task = (struct task){.run = go_on};
    *names = node_list(a);
    if (!model || !names_of(model, &of)) {
        coherence_everything(w->coherence, 0);
        node_add(*names, STR_NONE, node_text(a, STR("*")));
        p->closing = true;
        loop_wake(&w->loop, &p->task); /* goes to done() with nothing left to close */
        return;
    }
    for (unsigned i = 0; i < of.n; i++)
        node_add(*names, STR_NONE, node_text(a, of.name[i]));
    if (coherence_open(w->coherence, &p->hold, &of, wake, p))
        loop_wake(&w->loop, &p->task);
}

void purge_stop(struct purge *p)
{
    loop_unwake(&p->worker->loop, &p->task);
    coherence_cancel(&p->hold);
}

/* ---- the route ---- */

struct purge_call {
    struct purge purge;
    struct call *call;
    struct node *names;
};

static void purged(struct purge *p)
{
    struct purge_call *pc = (struct purge_call *)p;
    struct arena *a = &pc->call->arena;
    struct node *out = node_object(a);
    node_add(out, STR("model"), node_text(a, str_of(pc->call->model->name)));
    node_add(out, STR("purged"), pc->names);
    call_reply_node(pc->call, 200, out, STR_NONE);
}

static void stop(struct call *call)
{
    struct purge_call *pc = call->work;
    purge_stop(&pc->purge);
}

void api_purge(struct call *call)
{
    struct purge_call *pc = arena_zalloc(&call->arena, sizeof *pc);
    pc->call = call;
    pc->purge.done = purged;
    call->work = pc;
    call->abandon = stop;
    purge_start(&pc->purge, call->api->hooks.worker, call->model, &call->arena, &pc->names);
}
