/* graphql_parse.h - GraphQL texts as trees: requests, and the schema in its own language. Pure, fuzzed;
 * follows the specification's grammar (October 2021). Any thread. Trees lie in the arena; names are slices of
 * the text. Types are kept as they are written, without blanks: "[Float!]!". */
#pragma once

#include "api/tree.h"

enum {
    GQL_NEST_MAX = 32,      /* selections and values inside each other */
    GQL_DIRECTIVES_MAX = 20, GQL_VARIABLES_MAX = 500,
    GQL_TOKENS_MAX = 200000, /* a literal vector has 65,536 numbers at most */
};

/* What is wrong and where. */
struct gql_fault {
    unsigned line, column; /* 0: nowhere in particular */
    char text[300];
};

struct gql_directive {
    struct gql_directive *next;
    unsigned line, column;
    struct str name;
    struct node *args; /* an object */
};

enum gql_selection_kind { GQL_FIELD, GQL_SPREAD, GQL_INLINE };

struct gql_selection {
    struct gql_selection *next;
    enum gql_selection_kind kind;
    unsigned line, column;
    struct str key, name; /* field: alias or name, and name; spread: name of the fragment; inline: name is its
                             type, p NULL: none */
    struct node *args;    /* an object; names may stand there twice: the checker says so */
    struct gql_directive *directives;
    struct gql_selection *selections; /* NULL: none */
};

struct gql_variable {
    struct gql_variable *next;
    unsigned line, column;
    struct str name, type;
    struct node *fallback; /* NULL: none */
    struct gql_directive *directives;
    bool used;             /* for the checker */
};

enum gql_definition_kind { GQL_QUERY, GQL_MUTATION, GQL_SUBSCRIPTION, GQL_FRAGMENT };

struct gql_definition {
    struct gql_definition *next;
    enum gql_definition_kind kind;
    unsigned line, column;
    struct str name, on; /* name.p NULL: anonymous; on: a fragment's type */
    struct gql_variable *variables;
    struct gql_directive *directives;
    struct gql_selection *selections;
    unsigned mark;       /* for the checker */
};

/* A request: operations and fragments. NULL with the fault. */
struct gql_definition *gql_parse(struct arena *, struct str text, struct gql_fault *);

/* ---- the schema's language, as far as ours needs it: scalar, enum, type, input; descriptions; no
 * directives, no extensions ---- */

enum gql_kind { GQL_SCALAR, GQL_OBJECT, GQL_ENUM, GQL_INPUT };

struct gql_input_def { /* an argument, a member of an input, a value of an enum (name and help only) */
    struct gql_input_def *next;
    struct str name, help, type;
    struct node *fallback;
};

struct gql_field_def {
    struct gql_field_def *next;
    struct str name, help, type;
    struct gql_input_def *args;
};

struct gql_type_def {
    struct gql_type_def *next;
    enum gql_kind kind;
    struct str name, help;
    struct gql_field_def *fields;  /* of a type */
    struct gql_input_def *inputs;  /* of an input; values of an enum */
};

struct gql_type_def *gql_parse_schema(struct arena *, struct str text, struct gql_fault *);

/* ---- texts of types ---- */

static inline bool gql_is_required(struct str type)
{
    return type.n && type.p[type.n - 1] == '!';
}

static inline struct str gql_nullable(struct str type)
{
    return gql_is_required(type) ? str_slice(type.p, type.n - 1) : type;
}

static inline bool gql_is_list(struct str type) /* nullable: "[...]" */
{
    return type.n && type.p[type.n - 1] == ']';
}

static inline struct str gql_item(struct str list) /* of a nullable list */
{
    return str_slice(list.p + 1, list.n - 2);
}

struct str gql_named(struct str type); /* the name inside all brackets */

bool gql_fail(struct gql_fault *, unsigned line, unsigned column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
