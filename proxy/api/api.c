#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "io/evhtp.h"
#include "qdrant/reply.h"

struct api {
    struct api_hooks hooks;
    unsigned n_listeners;
    struct control_listener *listener[];
};

static void healthz(struct api *api, struct control_request *r)
{
    control_reply(&r, 200, "text/plain", STR("ok\n"), STR_NONE);
}

static void readyz(struct api *api, struct control_request *r)
{
    struct str why = STR("not ready");
    if (!api->hooks.ready || api->hooks.ready(&why, api->hooks.arg))
        control_reply(&r, 200, "text/plain", STR("ready\n"), STR_NONE);
    else
        control_reply(&r, 503, "text/plain", why, STR("Retry-After: 1\r\n"));
}

static void metrics(struct api *api, struct control_request *r)
{
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) {
        control_reply(&r, 503, "text/plain", STR("no memory for the page\n"), STR_NONE);
        return;
    }
    metrics_render(f);
    fclose(f);
    control_reply(&r, 200, "text/plain; version=0.0.4; charset=utf-8", str_slice(text, n), STR_NONE);
    free(text);
}

/* Methods are a list as it stands in Allow; HEAD comes with GET. */
static const struct api_route {
    const char *path, *methods;
    void (*answer)(struct api *, struct control_request *);
} routes[] = {
    {"/healthz", "GET, HEAD", healthz},
    {"/readyz", "GET, HEAD", readyz},
    {"/metrics", "GET, HEAD", metrics},
};
enum { N_ROUTES = sizeof routes / sizeof *routes };

static bool allows(const struct api_route *route, struct str method)
{
    struct str rest = str_of(route->methods);
    while (rest.p)
        if (str_eq(str_trim(str_split(&rest, ','), " "), method))
            return true;
    return false;
}

static void reply_error(struct control_request *r, struct arena *a, unsigned status, struct str text,
                        struct str headers)
{
    control_reply(&r, status, "application/json", reply_error_body(a, text), headers);
}

static void not_found(struct control_request *r, struct arena *a)
{
    struct str paths = STR_NONE;
    for (unsigned i = 0; i < N_ROUTES; i++)
        paths = arena_printf(a, "%.*s%s%s", STR_ARG(paths), i ? ", " : "", routes[i].path);
    struct str text = arena_printf(a, "the control port has no path '%.*s', it has: %.*s",
                                   (int)(r->path.n < 200 ? r->path.n : 200), r->path.p, STR_ARG(paths));
    reply_error(r, a, 404, text, STR_NONE);
}

static void not_allowed(struct control_request *r, struct arena *a, const struct api_route *route)
{
    struct str text = arena_printf(a, "%s does not take %.*s, it takes: %s", route->path, STR_ARG(r->method),
                                   route->methods);
    reply_error(r, a, 405, text, arena_printf(a, "Allow: %s\r\n", route->methods));
}

static void handle(struct control_request *r, void *arg)
{
    const struct api_route *route = NULL;
    struct arena a;
    for (unsigned i = 0; i < N_ROUTES; i++)
        if (str_eq(r->path, str_of(routes[i].path)))
            route = &routes[i];
    if (route && allows(route, r->method)) {
        route->answer(arg, r);
        return;
    }
    arena_init(&a, NULL, 0);
    if (route)
        not_allowed(r, &a, route);
    else
        not_found(r, &a);
    arena_fini(&a);
}

struct api *api_open(struct event_base *base, const int *listen_fds, unsigned n_fds, const struct api_hooks *hooks,
                     struct err *err)
{
    struct api *api = mem_zalloc(sizeof *api + n_fds * sizeof *api->listener);
    api->hooks = *hooks;
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
    free(api);
}
