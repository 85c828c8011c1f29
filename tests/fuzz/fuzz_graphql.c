/* Any bytes as a GraphQL request. First byte: bit 0, read it as a schema instead.
 * Claims: parsing and checking end without touching a byte beyond the text; a refusal says why and where,
 * inside the text's lines; what is right by the schema has arguments that can be made, and the checker says
 * the same twice. */
#include <stdio.h>

#include "api/graphql_check.h"
#include "fuzz.h"

static void check_fault(const struct gql_fault *fault, struct str text)
{
    unsigned lines = 1;
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n' || text.p[i] == '\r';
    CLAIM(memchr(fault->text, 0, sizeof fault->text) && fault->text[0]);
    CLAIM(fault->line >= 1 && fault->line <= lines && fault->column >= 1 && fault->column <= text.n + 1);
}

static void walk(struct gql_request *r, const struct gql_selection *s, unsigned depth)
{
    CLAIM(depth <= GQL_NEST_MAX + 1);
    for (; s; s = s->next) {
        CLAIM(s->kind != GQL_FIELD || (s->key.n && s->name.n && s->args));
        walk(r, s->selections, depth + 1);
    }
}

static unsigned look(struct arena *arena, const struct gql_schema *schema, struct str text)
{
    struct gql_fault fault = {0};
    struct gql_request r = {.arena = arena, .schema = schema, .errors = node_list(arena)};
    r.document = gql_parse(arena, text, &fault);
    if (!r.document) {
        check_fault(&fault, text);
        return 1;
    }
    for (struct gql_definition *d = r.document; d; d = d->next)
        walk(&r, d->selections, 1);
    bool right = gql_check(&r);
    CLAIM(right == (r.errors->n == 0) && r.errors->n <= GQL_FAULTS_MAX);
    if (!right || !gql_choose(&r, STR_NONE, NULL))
        return 2;
    const struct gql_type_def *type =
        gql_type(schema, r.operation->kind == GQL_MUTATION ? STR("Mutation") : STR("Query"));
    struct gql_sets sets = {NULL, r.operation->selections};
    r.n_steps = 0;
    for (struct gql_collected *f = gql_collect(&r, type, &sets); f; f = f->next)
        gql_arguments(&r, f->field->args, f->first, f->first->args, NULL);
    return 3;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0)
        return 0;
    char *copy = exact_copy(data + 1, n - 1);
    struct str text = {copy, n - 1};
    struct gql_schema *schema = gql_schema_new();
    struct arena arena;
    arena_init(&arena, NULL, 0);
    if (data[0] & 1) {
        struct gql_fault fault = {0};
        if (!gql_parse_schema(&arena, text, &fault))
            check_fault(&fault, text);
    } else {
        CLAIM(look(&arena, schema, text) == look(&arena, schema, text));
    }
    arena_fini(&arena);
    gql_schema_free(&schema);
    free(copy);
    return 0;
}
