/* graphql_run.h - a request being executed. Only the fields of Query and Mutation do anything; they are
 * resolved into JSON trees, at once or later, queries all together, mutations one after the other. What lies
 * below them is picked from the trees. Owner: the control thread; everything lies in the call's arena. */
#pragma once

#include "api/call.h"
#include "api/graphql_check.h"

struct gql_run;

/* A field of the operation. */
struct gql_root {
    struct gql_run *run;
    struct gql_collected *field;
    struct node *args;
    struct node *value;              /* what it resolved to; NULL: an error, which is in the list already */
    struct node *path;               /* for errors */
    bool begun, resolved;
    void (*stop)(struct gql_root *); /* while it is awaited; NULL: nothing to stop */
    void *work;
};

struct gql_run {
    struct gql_request request;
    struct call *call;
    unsigned n_roots, n_waiting;
    struct gql_root *root;
    void (*done)(struct gql_run *);  /* all are resolved */
    bool running; /* fields are being begun: what resolves at once does not go on by itself */
};

/* Begins; done() comes from within or later. */
void gql_run_start(struct gql_run *);
void gql_run_stop(struct gql_run *);
struct node *
gql_run_data(struct gql_run *); /* after done(): the answer's data; null when an error went all the way up */

/* For resolvers: the field has its value (NULL after gql_root_error). Once. */
void gql_resolved(struct gql_root *, struct node *value);
void gql_root_error(struct gql_root *, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* graphql_fields.c: begins a field of Query or Mutation. */
void gql_resolve(struct gql_root *);
