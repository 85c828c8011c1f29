/* call.h - one request to the control API from its head to its answer: what the handlers share.
 * Owner: the control thread. A call ends with exactly one of call_reply, call_error and their like, at once
 * or at a later event; all that was derived for it lies in its arena and goes with it. */
#pragma once

#include "api/api.h"
#include "api/tree.h"
#include "base/list.h"
#include "conf/conf.h"
#include "engine/worker.h"
#include "io/evhtp.h"

struct api_route;
struct cJSON;
struct gql_schema;
struct metrics_history;

struct api {
    struct api_hooks hooks;
    struct list running;              /* calls that are not answered yet */
    struct list ended; /* freed by sweep: those who called back may look at them until they return */
    struct task sweep;
    struct metrics_history *history;  /* models.h; NULL without a worker */
    struct gql_schema *schema;
    unsigned n_listeners;
    struct control_listener *listener[];
};

/* What the caller has shown. */
enum api_right {
    RIGHT_NONE,   /* nothing, and he is not on this host */
    RIGHT_LOCAL,  /* nothing; no token is configured and he is on this host: may do all */
    RIGHT_READ,   /* the read token */
    RIGHT_ALL,    /* the token */
};

struct call {
    struct link link;                 /* api->running */
    struct api *api;
    struct control_request *request;
    const struct api_route *route;
    struct arena arena;
    struct str param;                 /* what stands for {model} or {id} in the path, decoded */
    const struct conf *conf;          /* NULL in an API without a worker */
    const struct conf_model *model;   /* paths with {model}: it is one of conf's */
    struct snapshot *snapshot;        /* pinned: conf and model live as long as the call */
    enum api_right right;
    /* The client has left, or the API ends: stop what runs, nothing calls back any more. Must be set by a
     * handler that does not answer at once. */
    void (*abandon)(struct call *);
    void *work;                       /* the handler's own */
};

/* Answers; the call's memory stays until the loop's callbacks and tasks that run now have returned. body is
 * copied. */
void call_reply(struct call *, unsigned status, const char *content_type, struct str body,
                struct str headers);
void call_reply_node(struct call *, unsigned status, const struct node *, struct str headers);
void call_reply_doc(struct call *, unsigned status, struct cJSON *doc); /* takes doc */
struct node *node_doc(struct arena *, struct cJSON *doc); /* takes doc; null for NULL */
/* In Qdrant's error shape. 503 gets a Retry-After. */
void call_error(struct call *, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

void calls_sweep(struct api *); /* frees the calls that have ended */

/* The value of a query parameter, decoded; false if it is not there. Given twice: the call has been answered
 * with 400 and *bad is set. */
bool call_query(struct call *, const char *name, struct str *value, bool *bad);

/* The body as a JSON object; NULL when it is empty (*bad false) or when the call has been answered with 400
 * (*bad true). */
struct node *call_body(struct call *, bool *bad);

/* The model of that name; NULL: the call has been answered with 404. */
const struct conf_model *call_model(struct call *, struct str name);

/* ?model=a,b and ?models=a,b, each handed to take. False when the call has been answered. */
bool call_models(struct call *, void (*take)(void *arg, const struct conf_model *), void *arg);

/* The collection that stands for a model: its first pattern that is a plain name, else its own name. */
const char *model_collection(const struct conf_model *);

/* "mixtral, hermes, ..." but for default. */
struct str model_names(struct arena *, const struct conf *);
