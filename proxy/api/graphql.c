/* graphql.c - GraphQL over HTTP: GET and POST /graphql. Reads the request, checks and runs it, answers. */
#include "api/auth.h"
#include "api/graphql_run.h"
#include "api/routes.h"

struct graphql_call {
    struct gql_run run;
    struct call *call;
    bool legacy; /* the client takes application/json and no other: a request that is not right is answered
                    with 200 */
    bool may_mutate;   /* POST with application/json */
};

/* One of a list of media types, without parameters. */
static bool accepts(const struct http_head *h, struct str wanted)
{
    for (unsigned i = 0; i < h->n_fields; i++) {
        struct str rest = h->field[i].value, item;
        if (h->field[i].id != HF_OTHER || !str_ieq(h->field[i].name, STR("accept")))
            continue;
        while (http_list_item(&rest, &item))
            if (str_ieq(str_trim(str_split(&item, ';'), " \t"), wanted))
                return true;
    }
    return false;
}

static void answer(struct graphql_call *g, unsigned status, struct node *data)
{
    struct arena *a = &g->call->arena;
    struct node *out = node_object(a);
    struct text text = {0};
    if (g->run.request.errors->n)
        node_add(out, STR("errors"), g->run.request.errors);
    if (data)
        node_add(out, STR("data"), data);
    node_write(&text, out);
    bool modern = accepts(g->call->request->head, STR("application/graphql-response+json"));
    call_reply(g->call, status,
               modern ? "application/graphql-response+json; charset=utf-8"
                      : "application/json; charset=utf-8",
               (struct str){text.p, text.n}, status == 405 ? STR("Allow: POST\r\n") : STR_NONE);
    text_free(&text);
}

/* The request is not one that can be run. */
static void refuse(struct graphql_call *g, unsigned status)
{
    answer(g, g->legacy && status == 400 ? 200 : status, NULL);
}

#define REFUSE(g, status, ...) \
    (gql_error(&(g)->run.request, 0, 0, NULL, 0, __VA_ARGS__), answer(g, status, NULL))

/* What an error of a field says about the status, where nothing else is answered. */
static unsigned status_of_errors(const struct node *errors)
{
    for (const struct node *e = errors->first; e; e = e->next) {
        const struct node *status = node_get(node_get(e, STR("extensions")), STR("status"));
        uint64_t n;
        if (status && str_u64(status->text, 599, &n) && n >= 400)
            return (unsigned)n;
    }
    return 200;
}

static void finished(struct gql_run *run)
{
    struct graphql_call *g = (struct graphql_call *)run;
    struct node *data = gql_run_data(run);
    bool none = data->kind == NODE_NULL;
    answer(g, none && !g->legacy ? status_of_errors(run->request.errors) : 200, data);
}

static void stop(struct call *call)
{
    struct graphql_call *g = call->work;
    gql_run_stop(&g->run);
}

static struct graphql_call *begin(struct call *call)
{
    struct graphql_call *g = arena_zalloc(&call->arena, sizeof *g);
    const struct http_head *h = call->request->head;
    g->call = g->run.call = call;
    g->run.done = finished;
    g->run.request.arena = &call->arena;
    g->run.request.schema = call->api->schema;
    g->run.request.errors = node_list(&call->arena);
    g->legacy = accepts(h, STR("application/json")) && !accepts(h, STR("application/graphql-response+json"));
    call->work = g;
    call->abandon = stop;
    return g;
}

static bool may_run(struct graphql_call *g)
{
    struct call *call = g->call;
    const char *why = NULL;
    if (g->run.request.operation->kind != GQL_MUTATION)
        return true;
    if (!g->may_mutate) {
        bool get = !str_eq(call->request->method, STR("POST"));
        REFUSE(g, get ? 405 : 415, "a mutation must come by POST, as application/json");
        return false;
    }
    unsigned status = auth_refusal(call->right, ACCESS_WRITE, &call->conf->process, &why);
    if (!status && (why = auth_foreign(&call->conf->process, call->request->head)))
        status = 403;
    if (status)
        REFUSE(g, status, "%s", why);
    return !status;
}

static void run(struct graphql_call *g, struct str query, struct str operation, const struct node *variables)
{
    struct gql_request *r = &g->run.request;
    struct gql_fault fault;
    r->document = gql_parse(r->arena, query, &fault);
    if (!r->document) {
        gql_error(r, fault.line, fault.column, NULL, 0, "%s", fault.text);
        return refuse(g, 400);
    }
    if (!gql_check(r) || !gql_choose(r, operation, variables))
        return refuse(g, 400);
    if (may_run(g))
        gql_run_start(&g->run);
}

/* Members of the request that are not what they should be are named. */
static bool is_member(struct graphql_call *g, const struct node *body, const char *name, enum node_kind kind,
                      const struct node **out)
{
    const struct node *m = node_get(body, str_of(name));
    *out = m && m->kind != NODE_NULL ? m : NULL;
    if (!*out || m->kind == kind)
        return true;
    gql_error(&g->run.request, 0, 0, NULL, 0, "line %u, column %u: \"%s\" is %s, expected %s", m->line,
              m->column, name, node_kind_name(m->kind), node_kind_name(kind));
    answer(g, 400, NULL);
    return false;
}

static bool is_json(const struct http_head *h)
{
    struct str rest = http_value(h, HF_CONTENT_TYPE);
    return rest.p && str_ieq(str_trim(str_split(&rest, ';'), " \t"), STR("application/json"));
}

void api_graphql_post(struct call *call)
{
    struct graphql_call *g = begin(call);
    const struct node *query, *operation, *variables, *extensions;
    struct err err;
    g->may_mutate = is_json(call->request->head);
    struct node *body = tree_read(&call->arena, call->request->body, &err);
    if (!body)
        return REFUSE(g, 400, "the body is not JSON: %s", err.text);
    if (body->kind != NODE_OBJECT)
        return REFUSE(g, 400, "line 1, column 1: the body is %s, expected an object with \"query\"",
                      node_kind_name(body->kind));
    if (!is_member(g, body, "query", NODE_STRING, &query) ||
        !is_member(g, body, "operationName", NODE_STRING, &operation) ||
        !is_member(g, body, "variables", NODE_OBJECT, &variables) ||
        !is_member(g, body, "extensions", NODE_OBJECT, &extensions))
        return;
    if (!query)
        return REFUSE(g, 400,
                      "the body has no \"query\", expected one such as {\"query\":\"{models{name}}\"}");
    run(g, query->text, operation ? operation->text : STR_NONE, variables);
}

/* A parameter that is a JSON object; false when the call has been answered. */
static bool object_param(struct graphql_call *g, const char *name, const struct node **out)
{
    struct str text;
    struct err err;
    bool bad;
    *out = NULL;
    if (!call_query(g->call, name, &text, &bad) || !text.n)
        return !bad;
    *out = tree_read(&g->call->arena, text, &err);
    if (*out && ((*out)->kind == NODE_OBJECT || (*out)->kind == NODE_NULL))
        return true;
    if (*out)
        REFUSE(g, 400, "%s: found %s, expected an object", name, node_kind_name((*out)->kind));
    else
        REFUSE(g, 400, "%s is not JSON: %s", name, err.text);
    return false;
}

void api_graphql_get(struct call *call)
{
    struct graphql_call *g = begin(call);
    struct str query, operation;
    const struct node *variables, *extensions;
    bool bad, has_query = call_query(call, "query", &query, &bad);
    if (bad)
        return;
    bool has_operation = call_query(call, "operationName", &operation, &bad);
    if (bad || !object_param(g, "variables", &variables) || !object_param(g, "extensions", &extensions))
        return;
    if (!has_query)
        return REFUSE(g, 400, "there is no parameter 'query', expected one such as ?query={models{name}}");
    run(g, query, has_operation && operation.n ? operation : STR_NONE, variables);
}
