#include "api/routes.h"

#define LIMIT {"limit", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":10000,\"default\":10}", "how many points to find"}
#define VECTOR {"vector", "{\"type\":\"string\",\"example\":\"0.1,0.2,0.3\"}", "numbers with commas; without it a fixed vector of the model's size"}
#define USING {"using", "{\"type\":\"string\"}", "the name of the vector, where the collection has named ones; without it the one that the model's settings name"}

/* Both names, as in bodies: a word that is passed over would make one model all of them. */
#define MODEL_OR_MODELS(help) {"model", "{\"type\":\"string\"}", help}, {"models", "{\"type\":\"string\"}", "the same as model"}
#define MODELS MODEL_OR_MODELS("a model's name, or several with commas; without it all")
#define ONE_MODEL MODEL_OR_MODELS("a model's name; without it all")
#define NO_OTHER_MODEL MODEL_OR_MODELS("what the path says; another is refused")
#define WAIT {"wait", "{\"type\":\"boolean\",\"default\":false}", "answer when the job has ended: 200, or 502 if it failed"}

#define SECONDS {"seconds", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":60,\"default\":12}", "how long each model is measured"}

#define V1 "/api/v1"
#define OPTIMIZATIONS V1 "/optimizations"
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
    {"POST", MODEL "/optimizations", ACCESS_WRITE, api_switches, "switches",
     "Turns caching, coalescing, rewriting, enforcement or the guard of a model on or off until the process ends.", "Switches", "Switched",
     0, {}},
    {"GET", MODEL "/optimizations", ACCESS_READ, api_switches_get, "switchesGet", "The switches of a model as they are.", NULL, "Switched", 0,
     {}},
    {"GET", V1 "/config", ACCESS_READ, api_config, "config", "The configuration in use as one file of YAML, switches included; no secrets.",
     NULL, "yaml", 0, {}},
    {"POST", V1 "/cache/purge", ACCESS_WRITE, api_purge_any, "purge",
     "No answer from before is served from a cache again: of everything, a model or a collection.", "PurgeWhat", "Purge", 0, {}},
    {"POST", MODEL "/cache/purge", ACCESS_WRITE, api_purge, "purgeCache",
     "No answer from before is served from a cache again.", NULL, "Purge", 0, {}},
    {"GET", OPTIMIZATIONS "/plan", ACCESS_READ, api_plan, "plan", "What Qdrant is, what is wished, the PATCH between them.", NULL, "Plan", 0,
     {MODELS, {"points", "{\"type\":\"integer\",\"minimum\":1}", "a forecast of memory for so many points"}}},
    {"POST", OPTIMIZATIONS "/apply", ACCESS_WRITE, api_apply, "apply", "Writes what differs, reads it back, waits for the index.",
     "Which", "Job", 202, {MODELS, WAIT}},
    {"POST", OPTIMIZATIONS "/rollback", ACCESS_WRITE, api_rollback, "rollback", "Takes back what was applied.", "Which", "Job", 202,
     {ONE_MODEL, WAIT}},
    {"GET", OPTIMIZATIONS "/status", ACCESS_READ, api_status, "status", "Each model: wish, fact, drift, switches, targets, last test.", NULL,
     "Status", 0, {ONE_MODEL}},
    {"POST", OPTIMIZATIONS "/test/all-models", ACCESS_WRITE, api_test, "testAll", "Measures all models, one after the other.", NULL, "Job",
     202, {WAIT, SECONDS, NO_OTHER_MODEL}},
    {"POST", OPTIMIZATIONS "/test/{model}", ACCESS_WRITE, api_test, "test", "Measures a model: baseline and optimised, cold and warm.", NULL,
     "Job", 202, {WAIT, SECONDS, NO_OTHER_MODEL}},
    {"GET", OPTIMIZATIONS "/memory/usage", ACCESS_READ, api_memory, "memory", "Memory of the collections, measured and estimated.", NULL,
     "Memory", 0, {MODELS}},
    {"GET", OPTIMIZATIONS "/queries/stats", ACCESS_READ, api_queries, "queries",
     "What is asked, by shape with values erased: counts, latencies, hit rate.", NULL, "Queries", 0,
     {{"sort", "{\"enum\":[\"total\",\"count\",\"mean\",\"p50\",\"p99\",\"slowest\",\"hit_rate\",\"errors\",\"last\"],\"default\":\"total\"}",
       "which figure orders the rows"},
      {"order", "{\"enum\":[\"desc\",\"asc\"],\"default\":\"desc\"}", "largest or smallest first"},
      {"limit", "{\"type\":\"integer\",\"minimum\":1,\"maximum\":10000,\"default\":100}", "how many rows"}, MODELS}},
    {"POST", OPTIMIZATIONS "/queries/stats/reset", ACCESS_WRITE, api_queries_reset, "queriesReset", "Queries are counted anew.", NULL,
     "QueriesReset", 0, {}},
    {"GET", V1 "/jobs", ACCESS_READ, api_jobs, "jobs", "Jobs, newest first.", NULL, "Jobs", 0, {}},
    {"GET", V1 "/jobs/{id}", ACCESS_READ, api_job, "job", "A job's progress, and its result once it has ended.", NULL, "Job", 0, {WAIT}},
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
