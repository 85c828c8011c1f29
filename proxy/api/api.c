#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/auth.h"
#include "api/graphql_schema.h"
#include "api/models.h"
#include "api/routes.h"
#include "base/mem.h"
#include "base/metrics.h"

/* ---- health ---- */

void api_healthz(struct call *call)
{
    call_reply(call, 200, "text/plain", STR("ok\n"), STR_NONE);
}

void api_readyz(struct call *call)
{
    const struct api_hooks *hooks = &call->api->hooks;
    struct str why = STR("not ready");
    if (!hooks->ready || hooks->ready(&why, hooks->arg))
        call_reply(call, 200, "text/plain", STR("ready\n"), STR_NONE);
    else
        call_reply(call, 503, "text/plain", why, STR("Retry-After: 1\r\n"));
}

void api_metrics(struct call *call)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) {
        call_error(call, 503, "no memory for the page");
        return;
    }
    metrics_render(f);
    fclose(f);
    call_reply(call, 200, "text/plain; version=0.0.4; charset=utf-8", str_slice(text, n), STR_NONE);
    free(text);
}

/* ---- dispatch ---- */

static bool takes(const struct api_route *route, struct str method)
{
    struct str own = str_of(route->method);
    return str_eq(own, method) || (str_eq(own, STR("GET")) && str_eq(method, STR("HEAD")));
}

/* A path whose last segments may be missing is listed once, its methods together. */
static void not_found(struct call *call)
{
    struct str paths = STR_NONE, path = call->request->path;
    for (unsigned i = 0; i < api_n_routes; i++)
        if (i == 0 || strcmp(api_routes[i].path, api_routes[i - 1].path) != 0)
            paths = arena_printf(&call->arena, "%.*s%s%s", STR_ARG(paths), i ? ", " : "", api_routes[i].path);
    call_error(call, 404, "the control port has no path '%.*s', it has: %.*s",
               (int)(path.n < 200 ? path.n : 200), path.p, STR_ARG(paths));
}

static void not_allowed(struct call *call, const struct api_route *route)
{
    struct str methods = STR(""), param;
    for (unsigned i = 0; i < api_n_routes; i++)
        if (route_fits(&api_routes[i], call->request->path, &param))
            methods =
                arena_printf(&call->arena, "%.*s%s%s%s", STR_ARG(methods), methods.n ? ", " : "",
                             api_routes[i].method, strcmp(api_routes[i].method, "GET") == 0 ? ", HEAD" : "");
    struct str text = arena_printf(&call->arena, "%s does not take %.*s, it takes: %.*s", route->path,
                                   STR_ARG(call->request->method), STR_ARG(methods));
    struct node *error = node_object(&call->arena), *status = node_object(&call->arena);
    node_add(status, STR("error"), node_text(&call->arena, text));
    node_add(error, STR("status"), status);
    node_add(error, STR("time"), node_raw(&call->arena, STR("0.000000000")));
    call_reply_node(call, 405, error, arena_printf(&call->arena, "Allow: %.*s\r\n", STR_ARG(methods)));
}

/* A segment as it was received, percent-decoded; what cannot be decoded stays as it is. */
static struct str decoded(struct arena *a, struct str segment)
{
    struct str value;
    unsigned n;
    struct str as_query = arena_printf(a, "x=%.*s", STR_ARG(segment));
    for (size_t i = 2; i < as_query.n; i++)
        if (as_query.p[i] == '+' || as_query.p[i] == '&')
            return segment;
    return query_param(a, as_query, STR("x"), &value, &n) ? value : segment;
}

static bool may(struct call *call)
{
    static const struct conf_process no_tokens;
    const struct conf_process *process = call->conf ? &call->conf->process : &no_tokens;
    const char *why = NULL;
    enum api_access access = call->route->access;
    call->right = auth_right(process, call->request->head, call->request->is_local);
    unsigned status = auth_refusal(call->right, access, process, &why);
    if (!status && access == ACCESS_WRITE && (why = auth_foreign(process, call->request->head)))
        status = 403;
    if (status)
        call_error(call, status, "%s", why);
    return !status;
}

/* What is passed over in silence is not what was asked for. Who asks for health gets it. */
static bool asks_what_there_is(struct call *call)
{
    const struct api_route *route = call->route;
    struct str query = call->request->query, known = STR("");
    while (query.n && route->access != ACCESS_HEALTH) {
        struct str pair = str_split(&query, '&'), key = pair;
        bool found = !pair.n;
        for (unsigned i = 0; i < API_PARAMS_MAX && route->param[i].name && !found; i++)
            found = query_param(&call->arena, pair, str_of(route->param[i].name), NULL, NULL);
        if (found)
            continue;
        for (unsigned i = 0; i < API_PARAMS_MAX && route->param[i].name; i++)
            known = arena_printf(&call->arena, "%.*s%s%s", STR_ARG(known), i ? ", " : "", route->param[i].name);
        key = str_split(&key, '=');
        call_error(call, 400, "the query has '%.*s', %s %s takes %.*s", (int)(key.n < 60 ? key.n : 60), key.p, route->method, route->path,
                   STR_ARG(known.n ? known : STR("no parameters")));
        return false;
    }
    return true;
}

static void gone(struct control_request *request)
{
    struct call *call = request->user;
    if (call->abandon)
        call->abandon(call);
    call_reply(call, 499, NULL, STR_NONE, STR_NONE);
}

static void handle(struct control_request *request, void *arg)
{
    struct api *api = arg;
    const struct api_route *path_fits = NULL;
    struct call *call = mem_zalloc(sizeof *call);
    call->api = api;
    call->request = request;
    request->user = call;
    request->on_gone = gone;
    arena_init(&call->arena, NULL, 0);
    list_push(&api->running, &call->link);
    if (api->hooks.worker) {
        call->snapshot = snapshot_get(api->hooks.worker->snapshot);
        call->conf = call->snapshot->conf;
    }
    for (unsigned i = 0; i < api_n_routes && !call->route; i++) {
        struct str param;
        if (!route_fits(&api_routes[i], request->path, &param))
            continue;
        path_fits = &api_routes[i];
        if (takes(path_fits, request->method)) {
            call->route = path_fits;
            call->param = decoded(&call->arena, param);
        }
    }
    if (!path_fits)
        return not_found(call);
    if (!call->route)
        return not_allowed(call, path_fits);
    if (!may(call))
        return;
    if (!call->conf && call->route->access != ACCESS_HEALTH && call->route->answer != api_metrics)
        return call_error(call, 503, "the control port is starting");
    if (!asks_what_there_is(call))
        return;
    if (strstr(call->route->path, "{model}") && !(call->model = call_model(call, call->param)))
        return;
    call->route->answer(call);
}

/* ---- life ---- */

static void sweep(struct task *task)
{
    calls_sweep(LIST_OF(api, sweep, task));
}

struct api *api_open(struct event_base *base, const int *listen_fds, unsigned n_fds,
                     const struct api_hooks *hooks, struct err *err)
{
    struct api *api = mem_zalloc(sizeof *api + n_fds * sizeof *api->listener);
    api->hooks = *hooks;
    list_init(&api->running);
    list_init(&api->ended);
    api->sweep.run = sweep;
    api->schema = gql_schema_new();
    if (hooks->worker)
        api->history = metrics_history_open(hooks->worker);
    for (unsigned i = 0; i < n_fds; i++) {
        api->listener[i] = control_open(base, listen_fds[i], handle, api, err);
        if (!api->listener[i]) { /* control_open has closed this one */
            while (++i < n_fds)
                close(listen_fds[i]);
            api_close(&api);
            return NULL;
        }
        api->n_listeners++;
    }
    return api;
}

void api_close(struct api **closing)
{
    struct api *api = *closing;
    *closing = NULL;
    for (unsigned i = 0; i < api->n_listeners; i++)
        control_close(&api->listener[i]);
    for (struct link *k; (k = list_first(&api->running));) { /* those whose client had left before */
        struct call *call = LIST_OF(call, link, k);
        if (call->abandon)
            call->abandon(call);
        call_reply(call, 499, NULL, STR_NONE, STR_NONE);
    }
    if (api->hooks.worker)
        loop_unwake(&api->hooks.worker->loop, &api->sweep);
    calls_sweep(api);
    metrics_history_close(&api->history);
    gql_schema_free(&api->schema);
    free(api);
}
