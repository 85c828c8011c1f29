/* switches.c - POST /api/v1/models/{model}/optimizations: what can be turned on and off for a model while quiver runs. A switch is a setting
 * that wins over files and environment until the process ends; it takes effect with a configuration of its own, as a reload does. */
#include "api/routes.h"

#define SWITCH_WAIT (3 * SEC)
#define SWITCH_LOOK (5 * MSEC)

static const struct {
    const char *key;
    bool is_bool;
} switches[] = {{"cache", true}, {"coalesce", true}, {"rewrite", true}, {"enforce", false}};
enum { N_SWITCHES = sizeof switches / sizeof *switches };

struct switch_call {
    struct call *call;
    struct timer timer;
    unsigned generation;
    uint64_t until;
    struct node *set;
};

static const char *value_of(struct call *call, unsigned i, const struct node *node)
{
    static const char *const modes[] = {"off", "observe", "enforce"};
    if (switches[i].is_bool && (node->kind == NODE_TRUE || node->kind == NODE_FALSE))
        return node->kind == NODE_TRUE ? "true" : "false";
    for (unsigned k = 0; !switches[i].is_bool && node->kind == NODE_STRING && k < 3; k++)
        if (str_eq(node->text, str_of(modes[k])))
            return modes[k];
    call_error(call, 400, "line %u, column %u: %s is %s, expected %s", node->line, node->column, switches[i].key, node_kind_name(node->kind),
               switches[i].is_bool ? "true or false" : "\"off\", \"observe\" or \"enforce\"");
    return NULL;
}

static void stop(struct call *call)
{
    struct switch_call *sc = call->work;
    timer_fini(&sc->timer);
}

static void look(void *arg)
{
    struct switch_call *sc = arg;
    struct call *call = sc->call;
    struct worker *w = call->api->hooks.worker;
    if (w->snapshot->conf->generation == sc->generation && w->loop.now < sc->until) {
        timer_set(&sc->timer, w->loop.now + SWITCH_LOOK);
        return;
    }
    bool taken = w->snapshot->conf->generation != sc->generation;
    timer_fini(&sc->timer);
    if (!taken) {
        call_error(call, 503, "the switch could not take effect: the configuration does not load, see quiver's log");
        return;
    }
    struct node *out = node_object(&call->arena);
    node_add(out, STR("model"), node_text(&call->arena, str_of(call->model->name)));
    node_add(out, STR("set"), sc->set);
    call_reply_node(call, 200, out, STR_NONE);
}

void api_switches(struct call *call)
{
    const char *value[N_SWITCHES] = {NULL};
    bool bad = false;
    unsigned n = 0;
    struct node *body = call_body(call, &bad);
    if (bad)
        return;
    for (unsigned i = 0; i < N_SWITCHES; i++) {
        const struct node *node = node_get(body, str_of(switches[i].key));
        if (!node)
            continue;
        value[i] = value_of(call, i, node);
        if (!value[i])
            return;
        n++;
    }
    if (!n || n != body->n) {
        call_error(call, 400, "expected an object with one or more of cache, coalesce, rewrite (true or false) and enforce "
                   "(\"off\", \"observe\", \"enforce\")");
        return;
    }
    if (!call->api->hooks.set_switch) {
        call_error(call, 503, "switches are not available");
        return;
    }
    struct switch_call *sc = arena_zalloc(&call->arena, sizeof *sc);
    sc->call = call;
    sc->generation = call->api->hooks.worker->snapshot->conf->generation;
    sc->until = call->api->hooks.worker->loop.now + SWITCH_WAIT;
    sc->set = body;
    call->work = sc;
    call->abandon = stop;
    timer_init(&sc->timer, &call->api->hooks.worker->loop, look, sc);
    for (unsigned i = 0; i < N_SWITCHES; i++)
        if (value[i])
            call->api->hooks.set_switch(call->model->name, switches[i].key, value[i], call->api->hooks.arg);
    timer_set(&sc->timer, call->api->hooks.worker->loop.now + SWITCH_LOOK);
}
