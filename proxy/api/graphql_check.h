/* graphql_check.h - is a request right by the schema, and what do its arguments and variables mean? Pure. Any
 * thread. */
#pragma once

#include "api/graphql_schema.h"

enum {
    GQL_DEPTH_MAX = 20,    /* fields inside each other, fragments counted in */
    GQL_STEPS_MAX = 50000, /* fields that a request may touch, fragments counted in */
    GQL_SPREADS_MAX = 50,
    GQL_KEYS_MAX = 1000,   /* of one object in the answer */
    GQL_FAULTS_MAX = 20,
};

/* A request that is being looked at or run. */
struct gql_request {
    struct arena *arena;
    const struct gql_schema *schema;
    struct gql_definition *document, *operation;
    struct node *variables;    /* the operation's, coerced; an object */
    unsigned n_steps, n_faults;
    struct node *errors;       /* a list, as it goes into the answer */
};

/* All rules of the specification that our schema can break (no interfaces, no unions, no subscriptions).
 * False: errors has them. */
bool gql_check(struct gql_request *);

/* Chooses the operation (name STR_NONE: the only one) and coerces its variables (NULL: none were given).
 * False: errors has why. */
bool gql_choose(struct gql_request *, struct str name, const struct node *variables);

/* The arguments of a field or directive as an object, variables put in, defaults too. NULL after an error
 * (path NULL: none). */
struct node *gql_arguments(struct gql_request *, struct gql_input_def *, const struct gql_selection *,
                           const struct node *given, const struct node *path);

/* Is it left out by @skip or @include? */
bool gql_skipped(struct gql_request *, const struct gql_directive *);

/* Adds {message, locations, path, extensions: {status}}; status 0: no extensions. */
void gql_error(struct gql_request *, unsigned line, unsigned column, const struct node *path, unsigned status,
               const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/* The fields of selection sets for one type, those under one key together. */
struct gql_collected {
    struct gql_collected *next;
    struct gql_field_def *field;
    const struct gql_selection *first;
    struct gql_sets {          /* the selections below, of all fields with this key */
        struct gql_sets *next;
        const struct gql_selection *selections;
    } *sets, **last_set;
};
/* For running: skipped ones are left out. */
struct gql_collected *gql_collect(struct gql_request *, const struct gql_type_def *, const struct gql_sets *);
