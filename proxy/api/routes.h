/* routes.h - the table of the control API: a row per method and path. Dispatch, Allow, the 404 that names the paths, and the OpenAPI
 * document are made from it. Owner: the control thread. */
#pragma once

#include "api/call.h"

enum api_access {
    ACCESS_HEALTH, /* anybody */
    ACCESS_READ,   /* local without a configured token, or either token */
    ACCESS_WRITE,  /* local, or the token; never from a foreign page */
};

/* A parameter of the query. */
struct api_param {
    const char *name, *schema, *help; /* schema: JSON */
};

enum { API_PARAMS_MAX = 5 };

struct api_route {
    const char *method, *path;        /* GET answers HEAD too; one segment may be {model} or {id} */
    enum api_access access;
    void (*answer)(struct call *);
    const char *id, *summary;         /* operationId; one sentence */
    const char *body;                 /* the request body's schema in openapi.c; NULL: none is taken */
    const char *result;               /* the answer's; "text" for plain text */
    unsigned status;                  /* of the answer that is documented, 200 if 0 */
    struct api_param param[API_PARAMS_MAX]; /* others are refused, but for those of a question about health */
};

extern const struct api_route api_routes[];
extern const unsigned api_n_routes;

/* Does the path fit the row's? *param: the segment that stands for {...}, as received; STR_NONE if there is none. */
bool route_fits(const struct api_route *, struct str path, struct str *param);

/* The handlers, by file. */
void api_healthz(struct call *);          /* api.c */
void api_readyz(struct call *);
void api_metrics(struct call *);
void api_openapi(struct call *);          /* openapi.c */
void api_models(struct call *);           /* models.c */
void api_model_metrics(struct call *);
void api_search_get(struct call *);       /* search.c */
void api_search_post(struct call *);
void api_search_optimized(struct call *);
void api_plan(struct call *);             /* optimizations.c */
void api_apply(struct call *);
void api_rollback(struct call *);
void api_status(struct call *);
void api_memory(struct call *);
void api_test(struct call *);
void api_queries(struct call *);          /* queries.c */
void api_queries_reset(struct call *);
void api_jobs(struct call *);
void api_job(struct call *);
void api_purge(struct call *);            /* purge.c */
void api_purge_any(struct call *);
void api_switches(struct call *);         /* switches.c */
void api_switches_get(struct call *);
void api_config(struct call *);
void api_graphql_get(struct call *);      /* graphql.c */
void api_graphql_post(struct call *);
