/* graphql_schema.h - the schema: its text, types by name, and what introspection tells of it. Read only once
 * made; owner: the API. */
#pragma once

#include "api/graphql_parse.h"

struct gql_schema {
    struct arena arena;
    struct gql_type_def *types;
};

struct gql_schema *gql_schema_new(void);
void gql_schema_free(struct gql_schema **);

struct gql_type_def *gql_type(const struct gql_schema *, struct str name);             /* NULL: unknown */
/* Also __typename of every type, __schema and __type of Query. */
struct gql_field_def *gql_field(const struct gql_schema *, const struct gql_type_def *, struct str name);
struct gql_input_def *gql_input(struct gql_input_def *list, struct str name);

/* Directives of a request: skip and include, with `if: Boolean!`. NULL: unknown. */
struct gql_input_def *gql_directive_args(const struct gql_schema *, struct str name);

/* A __Type is represented by its text, such as "[Int!]!": what a member of it is. */
struct node *gql_type_member(const struct gql_schema *, struct arena *, struct str type, struct str field);
struct node *gql_schema_node(const struct gql_schema *, struct arena *); /* of __schema */
