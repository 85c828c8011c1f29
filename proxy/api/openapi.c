/* openapi.c - the OpenAPI 3.1 document, made from the table of routes. */
#include "api/routes.h"

/* What bodies and answers look like, by the names that the rows of routes.c use. */
static const struct {
    const char *name, *schema;
} schemas[] = {
    {"Any", "{\"type\":\"object\"}"},
    {"Error",
     "{\"type\":\"object\",\"description\":\"In the shape of Qdrant's errors.\",\"required\":[\"status\",\"time\"],\"properties\":{"
     "\"status\":{\"type\":\"object\",\"required\":[\"error\"],\"properties\":{\"error\":{\"type\":\"string\"}}},"
     "\"time\":{\"type\":\"number\"}}}"},
    {"SearchBody",
     "{\"type\":\"object\",\"description\":\"As for Qdrant's POST /collections/{collection}/points/search, or .../query where it has "
     "query or prefetch; it goes there unchanged but for what the model's settings say.\",\"properties\":{"
     "\"vector\":{\"description\":\"the vector, or {name, vector}\"},\"limit\":{\"type\":\"integer\",\"minimum\":1},"
     "\"filter\":{\"type\":\"object\"},\"params\":{\"type\":\"object\"},\"with_payload\":{},\"with_vector\":{},"
     "\"score_threshold\":{\"type\":\"number\"},\"offset\":{\"type\":\"integer\"}},\"additionalProperties\":true}"},
    {"SearchAnswer",
     "{\"type\":\"object\",\"description\":\"Qdrant's answer; time has nine decimals.\",\"required\":[\"result\",\"status\",\"time\"],"
     "\"properties\":{\"result\":{},\"status\":{\"type\":\"string\"},\"time\":{\"type\":\"number\"}}}"},
    {"Microseconds", "{\"type\":[\"integer\",\"null\"],\"minimum\":0}"},
    {"OptimizedAnswer",
     "{\"type\":\"object\",\"required\":[\"model\",\"answer\",\"optimization\"],\"properties\":{\"model\":{\"type\":\"string\"},"
     "\"answer\":{\"$ref\":\"#/components/schemas/SearchAnswer\"},\"optimization\":{\"type\":\"object\",\"properties\":{"
     "\"operation\":{\"type\":\"string\"},\"collection\":{\"type\":\"string\"},\"params\":{\"type\":\"object\",\"properties\":{"
     "\"before\":{\"type\":[\"object\",\"null\"]},\"after\":{\"type\":[\"object\",\"null\"]}}},"
     "\"parameters_changed\":{\"type\":\"integer\"},\"cache\":{\"type\":\"string\"},\"cache_status\":{\"type\":[\"string\",\"null\"]},"
     "\"coalesced\":{\"type\":\"boolean\"},\"upstream\":{\"type\":[\"string\",\"null\"]},\"upstream_us\":{\"type\":\"object\","
     "\"additionalProperties\":{\"$ref\":\"#/components/schemas/Microseconds\"}},\"steps_us\":{\"type\":\"object\","
     "\"additionalProperties\":{\"$ref\":\"#/components/schemas/Microseconds\"}}}}}}"},
    {"Model",
     "{\"type\":\"object\",\"required\":[\"model\",\"collection\"],\"properties\":{\"model\":{\"type\":\"string\"},"
     "\"collection\":{\"type\":\"string\"},\"collections\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
     "\"vector_size\":{\"type\":[\"integer\",\"null\"]},\"batch_size\":{\"type\":[\"integer\",\"null\"]},\"upstream\":{\"type\":\"string\"},\"targets\":{\"type\":\"object\"},"
     "\"requests\":{\"type\":\"integer\"},\"hit_rate\":{\"type\":\"number\"}}}"},
    {"Models",
     "{\"type\":\"object\",\"required\":[\"models\"],\"properties\":{\"models\":{\"type\":\"array\",\"items\":{\"$ref\":"
     "\"#/components/schemas/Model\"}}}}"},
    {"ModelMetrics",
     "{\"type\":\"object\",\"required\":[\"model\",\"requests\",\"latency_us\",\"cache\",\"pool\",\"queue\"],\"properties\":{"
     "\"model\":{\"type\":\"string\"},\"requests\":{\"type\":\"object\",\"properties\":{\"total\":{\"type\":\"integer\"},"
     "\"by_operation\":{\"type\":\"object\"}}},\"requests_per_second\":{\"type\":\"object\",\"additionalProperties\":{\"type\":\"number\"}},"
     "\"latency_us\":{\"type\":\"object\",\"description\":\"since the start of the process\",\"additionalProperties\":{\"type\":\"object\"}},"
     "\"cache\":{\"type\":\"object\"},\"rewrites\":{\"type\":\"object\"},\"pool\":{\"type\":\"object\"},\"queue\":{\"type\":\"object\"},"
     "\"memory\":{\"type\":[\"object\",\"null\"]},\"recall\":{\"type\":[\"number\",\"null\"],\"description\":\"of the last test, on "
     "misses\"},\"last_test\":{\"anyOf\":[{\"$ref\":\"#/components/schemas/Test\"},{\"type\":\"null\"}]}}}"},
    {"TestRun",
     "{\"type\":\"object\",\"required\":[\"requests\",\"ops\",\"p50_us\",\"p95_us\",\"p99_us\",\"hit_rate\",\"recall\"],\"properties\":{"
     "\"requests\":{\"type\":\"integer\"},\"ops\":{\"type\":[\"number\",\"null\"]},\"p50_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},"
     "\"p95_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},\"p99_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},"
     "\"hit_rate\":{\"type\":[\"number\",\"null\"],\"minimum\":0,\"maximum\":1},\"recall\":{\"type\":[\"number\",\"null\"],\"minimum\":0,"
     "\"maximum\":1}}}"},
    {"Test",
     "{\"type\":\"object\",\"required\":[\"model\"],\"properties\":{\"model\":{\"type\":\"string\"},\"collection\":{\"type\":\"string\"},"
     "\"error\":{\"type\":\"string\",\"description\":\"why it could not be measured\"},\"points\":{\"type\":\"integer\"},"
     "\"vector\":{\"type\":[\"string\",\"null\"]},\"dimensions\":{\"type\":\"integer\"},\"queries\":{\"type\":\"integer\"},\"from\":{\"enum\":[\"stored\",\"fixed\"]},"
     "\"at_once\":{\"type\":\"integer\"},\"seconds\":{\"type\":\"number\"},\"time\":{\"type\":\"string\",\"format\":\"date-time\"},"
     "\"before_apply\":{\"type\":\"boolean\"},\"baseline\":{\"$ref\":\"#/components/schemas/TestRun\"},\"optimised\":{\"type\":\"object\","
     "\"properties\":{\"cold\":{\"$ref\":\"#/components/schemas/TestRun\"},\"warm\":{\"$ref\":\"#/components/schemas/TestRun\"}}},"
     "\"targets\":{\"type\":\"object\",\"additionalProperties\":{\"type\":[\"object\",\"null\"],\"properties\":{\"target\":{\"type\":\"number\"},"
     "\"is\":{\"type\":[\"number\",\"null\"]},\"met\":{\"type\":[\"boolean\",\"null\"]}}}},\"met\":{\"type\":[\"boolean\",\"null\"]},"
     "\"warnings\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"first_baseline\":{\"type\":[\"object\",\"null\"],\"properties\":{"
     "\"time\":{\"type\":\"string\"},\"before_apply\":{\"type\":\"boolean\"},\"baseline\":{\"$ref\":\"#/components/schemas/TestRun\"}}}}}"},
    {"GraphqlRequest",
     "{\"type\":\"object\",\"required\":[\"query\"],\"properties\":{\"query\":{\"type\":\"string\",\"example\":"
     "\"query{optimizedSearch(model:\\\"hermes\\\")}\"},\"operationName\":{\"type\":[\"string\",\"null\"]},"
     "\"variables\":{\"type\":[\"object\",\"null\"]},\"extensions\":{\"type\":[\"object\",\"null\"]}}}"},
    {"GraphqlAnswer",
     "{\"type\":\"object\",\"properties\":{\"data\":{\"type\":[\"object\",\"null\"]},\"errors\":{\"type\":\"array\",\"items\":{"
     "\"type\":\"object\",\"required\":[\"message\"],\"properties\":{\"message\":{\"type\":\"string\"},\"locations\":{\"type\":\"array\"},"
     "\"path\":{\"type\":\"array\"},\"extensions\":{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"integer\"}}}}}}}}"},
    {"GraphqlAnswerOrError",
     "{\"description\":\"Error: what was refused before GraphQL saw it.\",\"anyOf\":[{\"required\":[\"errors\"],\"$ref\":"
     "\"#/components/schemas/GraphqlAnswer\"},{\"$ref\":\"#/components/schemas/Error\"}]}"},
    {"Job",
     "{\"type\":\"object\",\"required\":[\"id\",\"kind\",\"state\",\"progress\",\"text\",\"began\"],\"properties\":{\"id\":{\"type\":\"integer\"},"
     "\"kind\":{\"type\":\"string\"},\"model\":{\"type\":[\"string\",\"null\"]},\"models\":{\"type\":\"array\",\"items\":{\"type\":\"string\"},\"description\":\"of several\"},\"state\":{\"enum\":[\"running\",\"done\",\"failed\"]},"
     "\"progress\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"text\":{\"type\":\"string\"},\"began\":{\"type\":\"string\","
     "\"format\":\"date-time\"},\"ended\":{\"type\":\"string\",\"format\":\"date-time\"},\"result\":{\"type\":\"object\","
     "\"description\":\"once it has ended; of a test: models, each a Test\"}}}"},
    {"Jobs",
     "{\"type\":\"object\",\"required\":[\"jobs\"],\"properties\":{\"jobs\":{\"type\":\"array\",\"items\":{\"$ref\":"
     "\"#/components/schemas/Job\"}}}}"},
    {"Which",
     "{\"type\":\"object\",\"description\":\"All models when nothing is named.\",\"properties\":{\"model\":{\"type\":[\"string\","
     "\"null\"]},\"models\":{\"type\":[\"array\",\"null\"],\"items\":{\"type\":\"string\"},\"minItems\":1}},"
     "\"additionalProperties\":false}"},
    {"Switches",
     "{\"type\":\"object\",\"minProperties\":1,\"properties\":{\"cache\":{\"type\":\"boolean\"},\"coalesce\":{\"type\":\"boolean\"},"
     "\"rewrite\":{\"type\":\"boolean\"},\"enforce\":{\"enum\":[\"off\",\"observe\",\"enforce\"]},"
     "\"memory_policy\":{\"enum\":[\"warn\",\"refuse\",\"off\"]}},\"additionalProperties\":false}"},
    {"Switched",
     "{\"type\":\"object\",\"required\":[\"model\",\"switches\"],\"properties\":{\"model\":{\"type\":\"string\"},\"set\":{\"$ref\":"
     "\"#/components/schemas/Switches\"},\"switches\":{\"$ref\":\"#/components/schemas/Switches\"}}}"},
    {"PurgeWhat",
     "{\"type\":\"object\",\"description\":\"Everything when nothing is named.\",\"properties\":{\"model\":{\"type\":\"string\"},"
     "\"collection\":{\"type\":\"string\"}},\"additionalProperties\":false}"},
    {"Purge",
     "{\"type\":\"object\",\"required\":[\"purged\"],\"properties\":{\"model\":{\"type\":\"string\"},\"purged\":{"
     "\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}"},
    {"OfModels",
     "{\"type\":\"object\",\"required\":[\"models\"],\"properties\":{\"models\":{\"type\":\"array\",\"items\":{\"type\":"
     "\"object\",\"required\":[\"model\"],\"properties\":{\"model\":{\"type\":\"string\"},\"collections\":{\"type\":\"array\","
     "\"items\":{\"type\":\"object\"}}}}}}}"},
    {"Plan", "{\"$ref\":\"#/components/schemas/OfModels\",\"description\":\"per collection: changes, patch, reindex, warnings, memory\"}"},
    {"Status", "{\"$ref\":\"#/components/schemas/OfModels\",\"description\":\"per model: mode, switches, wish, targets, met, last_test (a Test), first_baseline; per "
               "collection: fact, drift\"}"},
    {"QueryFigures",
     "{\"type\":\"object\",\"required\":[\"count\",\"errors\",\"hit_rate\",\"p50_us\",\"p99_us\",\"slowest_us\"],\"properties\":{"
     "\"count\":{\"type\":\"integer\"},\"errors\":{\"type\":\"integer\"},\"rewritten\":{\"type\":\"integer\"},"
     "\"coalesced\":{\"type\":\"integer\"},\"lookups\":{\"type\":\"integer\"},\"hits\":{\"type\":\"integer\"},"
     "\"hit_rate\":{\"type\":[\"number\",\"null\"],\"minimum\":0,\"maximum\":1},\"total_us\":{\"type\":\"integer\"},"
     "\"mean_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},\"p50_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},"
     "\"p99_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},\"slowest_us\":{\"$ref\":\"#/components/schemas/Microseconds\"},"
     "\"first\":{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"},\"last\":{\"type\":[\"string\",\"null\"],\"format\":\"date-time\"}}}"},
    {"Query",
     "{\"allOf\":[{\"$ref\":\"#/components/schemas/QueryFigures\"}],\"type\":\"object\",\"required\":[\"model\",\"collection\","
     "\"operation\",\"filter\",\"parameters\"],\"properties\":{\"model\":{\"type\":\"string\"},\"collection\":{\"type\":\"string\"},"
     "\"operation\":{\"type\":\"string\"},\"filter\":{\"type\":[\"string\",\"null\"],\"description\":\"its conditions and fields without "
     "values; empty: none; null: the body was not read\"},\"parameters\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}}}}"},
    {"Queries",
     "{\"type\":\"object\",\"required\":[\"queries\",\"other\",\"rows\",\"rows_limit\",\"since\"],\"properties\":{\"queries\":{"
     "\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Query\"}},\"other\":{\"$ref\":\"#/components/schemas/QueryFigures\"},"
     "\"rows\":{\"type\":\"integer\"},\"rows_limit\":{\"type\":\"integer\"},\"since\":{\"type\":\"string\",\"format\":\"date-time\"}}}"},
    {"QueriesReset",
     "{\"type\":\"object\",\"required\":[\"since\"],\"properties\":{\"since\":{\"type\":\"string\",\"format\":\"date-time\"}}}"},
    {"Memory", "{\"$ref\":\"#/components/schemas/OfModels\",\"description\":\"per collection: measured, estimated, within_limit, warnings\"}"},
};

static struct node *text(struct arena *a, const char *z)
{
    return node_text(a, str_of(z));
}

static struct node *reference(struct arena *a, const char *kind, const char *name)
{
    struct node *out = node_object(a);
    node_add(out, STR("$ref"), node_text(a, arena_printf(a, "#/components/%s/%s", kind, name)));
    return out;
}

static void add_media(struct arena *a, struct node *content, const char *type, struct node *schema)
{
    node_add(node_add(content, str_of(type), node_object(a)), STR("schema"), schema);
}

static bool is_graphql(const char *schema)
{
    return strncmp(schema, "GraphqlAnswer", strlen("GraphqlAnswer")) == 0;
}

/* {"application/json": {"schema": {"$ref": ...}}}; "text" and "yaml" are no schemas but what they say. GraphQL's answers have a media type
 * of their own for clients that ask for it. */
static struct node *content(struct arena *a, const char *schema)
{
    bool text = strcmp(schema, "text") == 0, yaml = strcmp(schema, "yaml") == 0;
    struct node *out = node_object(a);
    add_media(a, out, text ? "text/plain" : yaml ? "application/yaml" : "application/json",
              text || yaml ? node_raw(a, STR("{\"type\":\"string\"}")) : reference(a, "schemas", schema));
    if (is_graphql(schema))
        add_media(a, out, "application/graphql-response+json", reference(a, "schemas", "GraphqlAnswer"));
    return out;
}

static struct node *parameter(struct arena *a, const char *name, const char *in, const char *schema, const char *help)
{
    struct node *out = node_object(a);
    node_add(out, STR("name"), text(a, name));
    node_add(out, STR("in"), text(a, in));
    node_add(out, STR("required"), node_bool(a, strcmp(in, "path") == 0));
    node_add(out, STR("description"), text(a, help));
    node_add(out, STR("schema"), node_raw(a, str_of(schema)));
    return out;
}

static struct node *parameters(struct arena *a, const struct api_route *route)
{
    struct node *out = node_list(a);
    if (strstr(route->path, "{model}"))
        node_add(out, STR_NONE, parameter(a, "model", "path", "{\"type\":\"string\"}", "the model's name"));
    if (strstr(route->path, "{id}"))
        node_add(out, STR_NONE, parameter(a, "id", "path", "{\"type\":\"integer\",\"minimum\":1}", "the job's number"));
    for (unsigned i = 0; i < API_PARAMS_MAX && route->param[i].name; i++)
        node_add(out, STR_NONE, parameter(a, route->param[i].name, "query", route->param[i].schema, route->param[i].help));
    return out;
}

static struct node *answer(struct arena *a, const struct api_route *route, const char *description)
{
    struct node *out = node_object(a);
    node_add(out, STR("description"), text(a, description));
    node_add(out, STR("content"), content(a, route->result));
    return out;
}

static struct node *operation(struct arena *a, const struct api_route *route)
{
    struct node *out = node_object(a), *answers = node_object(a), *body = node_object(a);
    node_add(out, STR("operationId"), text(a, route->id));
    node_add(out, STR("summary"), text(a, route->summary));
    node_add(out, STR("parameters"), parameters(a, route));
    if (route->body) {
        node_add(body, STR("required"), node_bool(a, false));
        node_add(body, STR("content"), content(a, route->body));
        node_add(out, STR("requestBody"), body);
    }
    node_add(answers, STR("200"), answer(a, route, route->status == 202 ? "It has ended (wait=true)." : "What was asked for."));
    if (route->status == 202)
        node_add(answers, STR("202"), answer(a, route, "It has begun."));
    if (route->answer == api_readyz)
        node_add(answers, STR("503"), answer(a, route, "Not now: why."));
    node_add(answers, STR("default"), reference(a, "responses", is_graphql(route->result) ? "GraphqlError" : "Error"));
    node_add(out, STR("responses"), answers);
    if (route->access == ACCESS_HEALTH)
        node_add(out, STR("security"), node_list(a));
    return out;
}

static struct node *paths(struct arena *a)
{
    struct node *out = node_object(a);
    for (unsigned i = 0; i < api_n_routes; i++) {
        const struct api_route *route = &api_routes[i];
        struct node *path = node_get(out, str_of(route->path));
        char *method = arena_alloc(a, strlen(route->method) + 1);
        for (size_t k = 0; k <= strlen(route->method); k++)
            method[k] = (char)(route->method[k] | (route->method[k] ? 0x20 : 0));
        if (!path)
            path = node_add(out, str_of(route->path), node_object(a));
        node_add(path, str_of(method), operation(a, route));
    }
    return out;
}

static struct node *error(struct arena *a, const char *schema)
{
    struct node *out = node_object(a);
    node_add(out, STR("description"), text(a, "What was found, where, and what would be right."));
    node_add(out, STR("content"), content(a, schema));
    return out;
}

static struct node *components(struct arena *a)
{
    struct node *out = node_object(a), *all = node_object(a), *answers = node_object(a);
    for (unsigned i = 0; i < sizeof schemas / sizeof *schemas; i++)
        node_add(all, str_of(schemas[i].name), node_raw(a, str_of(schemas[i].schema)));
    node_add(out, STR("schemas"), all);
    node_add(answers, STR("Error"), error(a, "Error"));
    node_add(answers, STR("GraphqlError"), error(a, "GraphqlAnswerOrError"));
    node_add(out, STR("responses"), answers);
    node_add(out, STR("securitySchemes"),
             node_raw(a, STR("{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"description\":\"api.token, or api.read_token for what "
                             "changes nothing\"},\"header\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"X-Quiver-Token\"}}")));
    return out;
}

void api_openapi(struct call *call)
{
    struct arena *a = &call->arena;
    struct node *out = node_object(a), *info = node_object(a);
    node_add(out, STR("openapi"), text(a, "3.1.0"));
    node_add(info, STR("title"), text(a, "quiver control API"));
    node_add(info, STR("version"), text(a, QUIVER_VERSION));
    node_add(info, STR("description"),
             text(a, "Models in front of Qdrant: searches, figures, settings. Without a configured token only the host itself may ask."));
    node_add(out, STR("info"), info);
    node_add(out, STR("servers"), node_raw(a, STR("[{\"url\":\"/\"}]")));
    node_add(out, STR("security"), node_raw(a, STR("[{\"bearer\":[]},{\"header\":[]},{}]")));
    node_add(out, STR("paths"), paths(a));
    node_add(out, STR("components"), components(a));
    call_reply_node(call, 200, out, STR_NONE);
}
