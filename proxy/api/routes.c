#include "api/routes.h"

#define LIMIT {"limit", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":10000,\"default\":10}", "how many points to find"}
#define VECTOR {"vector", "{\"type\":\"string\",\"example\":\"0.1,0.2,0.3\"}", "numbers with commas; without it a fixed vector of the model's size"}
#define USING {"using", "{\"type\":\"string\"}", "the name of the vector, where the collection has named ones"}

#define V1 "/api/v1"
#define MODEL V1 "/models/{model}"

const struct api_route api_routes[] = {
    {"GET", "/healthz", ACCESS_HEALTH, api_healthz, "healthz", "Is the process alive?", NULL, "text", 0, {}},
    {"GET", "/readyz", ACCESS_HEALTH, api_readyz, "readyz", "May requests be sent here?", NULL, "text", 0, {}},
    {"GET", "/metrics", ACCESS_READ, api_metrics, "metrics", "All metrics for Prometheus.", NULL, "text", 0, {}},
    {"GET", V1 "/openapi.json", ACCESS_READ, api_openapi, "openapi", "This document.", NULL, "Any", 0, {}},
    {"GET", V1 "/models", ACCESS_READ, api_models, "models", "All models.", NULL, "Models", 0, {}},
    {"GET", MODEL "/metrics", ACCESS_READ, api_model_metrics, "modelMetrics",
     "A model's counts, rates, latencies, cache, pool and queue.", NULL, "ModelMetrics", 0, {}},
    {"GET", MODEL "/search", ACCESS_READ, api_search_get, "searchGet", "A search, or a probe with a fixed vector.", NULL,
     "SearchAnswer", 0, {LIMIT, VECTOR, USING}},
    {"POST", MODEL "/search", ACCESS_READ, api_search_post, "search", "A search with a body as Qdrant takes it.", "SearchBody",
     "SearchAnswer", 0, {}},
    {"POST", MODEL "/search/optimized", ACCESS_READ, api_search_optimized, "searchOptimized",
     "The same, with what was done: parameters, cache, upstream, time. Without a body a probe.", "SearchBody", "OptimizedAnswer",
     0, {}},
    {"GET", "/graphql", ACCESS_READ, api_graphql_get, "graphqlGet", "A GraphQL query.", NULL, "GraphqlAnswer", 0,
     {{"query", "{\"type\":\"string\"}", "the document"}, {"operationName", "{\"type\":\"string\"}", "which operation of it"},
      {"variables", "{\"type\":\"string\"}", "a JSON object"}, {"extensions", "{\"type\":\"string\"}", "a JSON object, unused"}}},
    {"POST", "/graphql", ACCESS_READ, api_graphql_post, "graphql", "A GraphQL query, or, as application/json, a mutation.",
     "GraphqlRequest", "GraphqlAnswer", 0, {}},
};
const unsigned api_n_routes = sizeof api_routes / sizeof *api_routes;

bool route_fits(const struct api_route *route, struct str path, struct str *param)
{
    struct str pattern = str_of(route->path);
    *param = STR_NONE;
    while (pattern.p && path.p) {
        struct str want = str_split(&pattern, '/'), got = str_split(&path, '/');
        if (want.n && want.p[0] == '{') {
            if (!got.n)
                return false;
            *param = got;
        } else if (!str_eq(want, got)) {
            return false;
        }
    }
    return !pattern.p && !path.p;
}
