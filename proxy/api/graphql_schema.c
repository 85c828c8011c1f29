#include "api/graphql_schema.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"

/* A field whose type is an object takes its members from a JSON object under the same names; graphql_fields.c
 * makes those of Query and Mutation. */
static const char schema_text[] =
    "\"any JSON value\" scalar JSON scalar String scalar Int scalar Float scalar Boolean scalar ID\n"
    "type Query {\n"
    "  \"a search with the model's settings, and what was done; without a vector a probe with a fixed one\"\n"
    "  optimizedSearch(model: String!, vector: [Float!], limit: Int = 10, using: String): JSON!\n"
    "  \"the same, part by part\"\n"
    "  search(model: String!, vector: [Float!], limit: Int = 10, filter: JSON, params: JSON, withPayload: "
    "JSON, withVector: JSON,\n"
    "         scoreThreshold: Float, using: String): SearchResult!\n"
    "  models: [Model!]!\n"
    "  model(name: String!): Model\n"
    "  \"each model: what is wished, what is, what differs; one, or all\"\n"
    "  optimizationStatus(model: String): [OptimizationStatus!]!\n"
    "}\n"
    "type Mutation {\n"
    "  \"no answer from before is served from a cache again: of one model, or of all\"\n"
    "  purgeCache(model: String): Purge!\n"
    "  \"begins to make Qdrant be as it is wished: these models, or all\"\n"
    "  applyOptimizations(models: [String!]): Job!\n"
    "  \"begins to take back what was applied: of this model, or of all\"\n"
    "  rollbackOptimizations(model: String): Job!\n"
    "  \"turns these on or off until the process ends; enforce: off, observe or enforce; memoryPolicy: warn, refuse or off\"\n"
    "  setSwitches(model: String!, cache: Boolean, coalesce: Boolean, rewrite: Boolean, enforce: String, "
    "memoryPolicy: String): Switches!\n"
    "}\n"
    "type SearchResult { model: String! status: String! \"seconds\" time: Float! points: [Point!]! "
    "\"Qdrant's own\" result: JSON!\n"
    "  optimization: SearchOptimization! }\n"
    "type Point { id: JSON! version: Int score: Float payload: JSON vector: JSON shardKey: JSON orderValue: "
    "JSON }\n"
    "type SearchOptimization { operation: String! collection: String! params: ParamsChange! "
    "parametersChanged: Int!\n"
    "  \"hit, miss or why not\" cache: String! cacheStatus: String coalesced: Boolean! upstream: String "
    "\"microseconds\" stepsUs: JSON! }\n"
    "type ParamsChange { before: JSON after: JSON }\n"
    "type Model { name: String! collection: String! collections: [String!]! vectorSize: Int batchSize: Int "
    "upstream: String! targets: Targets!\n"
    "  metrics: JSON! }\n"
    "type Targets { p50Us: Float ops: Float hitRate: Float recall: Float }\n"
    "type OptimizationStatus { model: String! \"off, observe or enforce\" mode: String resting: Boolean "
    "wish: JSON\n"
    "  collections: [CollectionStatus!]! switches: JSON targets: Targets\n"
    "  \"were the last test's met?\" met: Boolean lastTest: JSON\n"
    "  \"of the first test, for comparison\" firstBaseline: JSON }\n"
    "type CollectionStatus { collection: String! exists: Boolean \"why it could not be read\" error: String status: String points: Float\n"
    "  seen: Float fact: JSON drift: [Drift!] gaveUp: [String!]\n"
    "  \"values that something else sets too: path, repairs in a row, seconds till the next\" waits: JSON\n"
    "  repairs: Int warnings: [String!] }\n"
    "type Drift { path: String! is: JSON wished: JSON cost: String }\n"
    "\"what is on and off now\" type Switches { model: String! cache: Boolean! coalesce: Boolean! rewrite: Boolean! enforce: String! "
    "memoryPolicy: String! }\n"
    "type Purge { models: [String!]! \"names whose answers went; everything, where patterns name them\" "
    "purged: [String!]! }\n"
    "type Job { id: Int! kind: String! model: String state: String! progress: Float! text: String! result: "
    "JSON }\n"
    "type __Schema { description: String types: [__Type!]! queryType: __Type! mutationType: __Type "
    "subscriptionType: __Type\n"
    "  directives: [__Directive!]! }\n"
    "type __Type { kind: __TypeKind! name: String description: String specifiedByURL: String\n"
    "  fields(includeDeprecated: Boolean = false): [__Field!] interfaces: [__Type!] possibleTypes: "
    "[__Type!]\n"
    "  enumValues(includeDeprecated: Boolean = false): [__EnumValue!]\n"
    "  inputFields(includeDeprecated: Boolean = false): [__InputValue!] ofType: __Type isOneOf: Boolean }\n"
    "enum __TypeKind { SCALAR OBJECT INTERFACE UNION ENUM INPUT_OBJECT LIST NON_NULL }\n"
    "type __Field { name: String! description: String args(includeDeprecated: Boolean = false): "
    "[__InputValue!]! type: __Type!\n"
    "  isDeprecated: Boolean! deprecationReason: String }\n"
    "type __InputValue { name: String! description: String type: __Type! defaultValue: String isDeprecated: "
    "Boolean!\n"
    "  deprecationReason: String }\n"
    "type __EnumValue { name: String! description: String isDeprecated: Boolean! deprecationReason: String "
    "}\n"
    "type __Directive { name: String! description: String locations: [__DirectiveLocation!]!\n"
    "  args(includeDeprecated: Boolean = false): [__InputValue!]! isRepeatable: Boolean! }\n"
    "enum __DirectiveLocation { QUERY MUTATION SUBSCRIPTION FIELD FRAGMENT_DEFINITION FRAGMENT_SPREAD "
    "INLINE_FRAGMENT\n"
    "  VARIABLE_DEFINITION SCHEMA SCALAR OBJECT FIELD_DEFINITION ARGUMENT_DEFINITION INTERFACE UNION ENUM "
    "ENUM_VALUE INPUT_OBJECT\n"
    "  INPUT_FIELD_DEFINITION }\n"
    "type __Meta { skip(if: Boolean!): JSON include(if: Boolean!): JSON __schema: __Schema! __type(name: "
    "String!): __Type\n"
    "  __typename: String! }";

/* Not a type that anybody sees: its fields are the directives of requests, and what every operation has
 * besides its own. */
static const struct str meta = {"__Meta", 6};

struct gql_schema *gql_schema_new(void)
{
    struct gql_schema *s = mem_zalloc(sizeof *s);
    struct gql_fault fault;
    arena_init(&s->arena, NULL, 0);
    s->types = gql_parse_schema(&s->arena, str_of(schema_text), &fault);
    ensure(s->types);
    return s;
}

void gql_schema_free(struct gql_schema **freeing)
{
    struct gql_schema *s = *freeing;
    *freeing = NULL;
    if (!s)
        return;
    arena_fini(&s->arena);
    free(s);
}

static struct gql_type_def *type_in(const struct gql_schema *s, struct str name)
{
    for (struct gql_type_def *t = s->types; t; t = t->next)
        if (str_eq(t->name, name))
            return t;
    return NULL;
}

struct gql_type_def *gql_type(const struct gql_schema *s, struct str name)
{
    return str_eq(name, meta) ? NULL : type_in(s, name);
}

static struct gql_field_def *field_in(struct gql_field_def *f, struct str name)
{
    for (; f; f = f->next)
        if (str_eq(f->name, name))
            return f;
    return NULL;
}

struct gql_field_def *gql_field(const struct gql_schema *s, const struct gql_type_def *type, struct str name)
{
    bool is_root = str_eq(type->name, STR("Query")), is_meta = str_starts(name, STR("__"));
    if (str_eq(name, STR("__typename")) || (is_root && is_meta))
        return field_in(type_in(s, meta)->fields, name);
    return field_in(type->fields, name);
}

struct gql_input_def *gql_input(struct gql_input_def *in, struct str name)
{
    for (; in; in = in->next)
        if (str_eq(in->name, name))
            return in;
    return NULL;
}

struct gql_input_def *gql_directive_args(const struct gql_schema *s, struct str name)
{
    bool known = str_eq(name, STR("skip")) || str_eq(name, STR("include"));
    return known ? field_in(type_in(s, meta)->fields, name)->args : NULL;
}

/* ---- introspection ---- */

static struct node *text_or_null(struct arena *a, struct str s)
{
    return node_text(a, s);
}

static struct node *default_node(struct arena *a, const struct gql_input_def *in)
{
    struct text out = {0};
    if (!in->fallback)
        return node_text(a, STR_NONE);
    node_write(&out, in->fallback); /* ours are numbers, words and texts: JSON and GraphQL write them alike */
    struct node *node = node_text(a, arena_copy(a, (struct str){out.p, out.n}));
    text_free(&out);
    return node;
}

static void add_deprecation(struct arena *a, struct node *of)
{
    node_add(of, STR("isDeprecated"), node_bool(a, false));
    node_add(of, STR("deprecationReason"), node_text(a, STR_NONE));
}

static struct node *inputs_node(struct arena *a, const struct gql_input_def *in)
{
    struct node *list = node_list(a);
    for (; in; in = in->next) {
        struct node *one = node_add(list, STR_NONE, node_object(a));
        node_add(one, STR("name"), node_text(a, in->name));
        node_add(one, STR("description"), text_or_null(a, in->help));
        if (in->type.p) {
            node_add(one, STR("type"), node_text(a, in->type));
            node_add(one, STR("defaultValue"), default_node(a, in));
        }
        add_deprecation(a, one);
    }
    return list;
}

static struct node *fields_node(struct arena *a, const struct gql_field_def *f)
{
    struct node *list = node_list(a);
    for (; f; f = f->next) {
        struct node *one = node_add(list, STR_NONE, node_object(a));
        node_add(one, STR("name"), node_text(a, f->name));
        node_add(one, STR("description"), text_or_null(a, f->help));
        node_add(one, STR("args"), inputs_node(a, f->args));
        node_add(one, STR("type"), node_text(a, f->type));
        add_deprecation(a, one);
    }
    return list;
}

/* A wrapper: [X] or X!. */
static struct node *wrapper_member(struct arena *a, struct str type, struct str field)
{
    bool required = gql_is_required(type);
    if (str_eq(field, STR("kind")))
        return node_new(a, NODE_ENUM, required ? STR("NON_NULL") : STR("LIST"));
    if (str_eq(field, STR("ofType")))
        return node_text(a, required ? gql_nullable(type) : gql_item(type));
    return node_text(a, STR_NONE);
}

struct node *gql_type_member(const struct gql_schema *s, struct arena *a, struct str type, struct str field)
{
    static const char *const kinds[] = {"SCALAR", "OBJECT", "ENUM", "INPUT_OBJECT"};
    if (gql_is_required(type) || gql_is_list(type))
        return wrapper_member(a, type, field);
    const struct gql_type_def *def = type_in(s, type);
    if (str_eq(field, STR("kind")))
        return node_new(a, NODE_ENUM, str_of(kinds[def->kind]));
    if (str_eq(field, STR("name")))
        return node_text(a, def->name);
    if (str_eq(field, STR("description")))
        return text_or_null(a, def->help);
    if (str_eq(field, STR("fields")) && def->kind == GQL_OBJECT)
        return fields_node(a, def->fields);
    if (str_eq(field, STR("interfaces")) && def->kind == GQL_OBJECT)
        return node_list(a);
    if (str_eq(field, STR("enumValues")) && def->kind == GQL_ENUM)
        return inputs_node(a, def->inputs);
    if (str_eq(field, STR("inputFields")) && def->kind == GQL_INPUT)
        return inputs_node(a, def->inputs);
    return node_text(a, STR_NONE);
}

static struct node *directive_node(const struct gql_schema *s, struct arena *a, struct str name,
                                   struct str help)
{
    static const char *const places[] = {"FIELD", "FRAGMENT_SPREAD", "INLINE_FRAGMENT"};
    struct node *out = node_object(a), *locations = node_list(a);
    for (unsigned i = 0; i < 3; i++)
        node_add(locations, STR_NONE, node_new(a, NODE_ENUM, str_of(places[i])));
    node_add(out, STR("name"), node_text(a, name));
    node_add(out, STR("description"), node_text(a, help));
    node_add(out, STR("locations"), locations);
    node_add(out, STR("args"), inputs_node(a, gql_directive_args(s, name)));
    node_add(out, STR("isRepeatable"), node_bool(a, false));
    return out;
}

struct node *gql_schema_node(const struct gql_schema *s, struct arena *a)
{
    struct node *out = node_object(a), *types = node_list(a), *directives = node_list(a);
    for (const struct gql_type_def *t = s->types; t; t = t->next)
        if (!str_eq(t->name, meta))
            node_add(types, STR_NONE, node_text(a, t->name));
    node_add(directives, STR_NONE,
             directive_node(s, a, STR("include"), STR("this part only if the argument is true")));
    node_add(directives, STR_NONE,
             directive_node(s, a, STR("skip"), STR("this part only if the argument is false")));
    node_add(out, STR("description"),
             node_text(a, STR("Searches through quiver, its models and what is done to them.")));
    node_add(out, STR("types"), types);
    node_add(out, STR("queryType"), node_text(a, STR("Query")));
    node_add(out, STR("mutationType"), node_text(a, STR("Mutation")));
    node_add(out, STR("subscriptionType"), node_text(a, STR_NONE));
    node_add(out, STR("directives"), directives);
    return out;
}
