#include "api/graphql_run.h"

#include <stdio.h>

/* ---- the operation's fields ---- */

static void go_on(struct gql_run *run)
{
    bool serial = run->request.operation->kind == GQL_MUTATION;
    if (run->running)
        return;
    run->running = true;
    for (unsigned i = 0; i < run->n_roots; i++) {
        struct gql_root *root = &run->root[i];
        if (serial && run->n_waiting)
            break;
        if (root->begun)
            continue;
        root->begun = true;
        run->n_waiting++;
        gql_resolve(root);
    }
    run->running = false;
    if (!run->n_waiting)
        run->done(run);
}

void gql_resolved(struct gql_root *root, struct node *value)
{
    root->value = value;
    root->resolved = true;
    root->stop = NULL;
    root->run->n_waiting--;
    go_on(root->run);
}

void gql_root_error(struct gql_root *root, unsigned status, const char *fmt, ...)
{
    char text[700];
    va_list args;
    const struct gql_selection *at = root->field->first;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    gql_error(&root->run->request, at->line, at->column, root->path, status, "%s", text);
}

void gql_run_start(struct gql_run *run)
{
    struct gql_request *r = &run->request;
    struct gql_sets sets = {NULL, r->operation->selections};
    const struct gql_type_def *type =
        gql_type(r->schema, r->operation->kind == GQL_MUTATION ? STR("Mutation") : STR("Query"));
    r->n_steps = 0;
    struct gql_collected *fields = gql_collect(r, type, &sets);
    for (struct gql_collected *f = fields; f; f = f->next)
        run->n_roots++;
    run->root = arena_zalloc(r->arena, (run->n_roots + 1) * sizeof *run->root);
    struct gql_root *root = run->root;
    for (struct gql_collected *f = fields; f; f = f->next, root++) {
        root->run = run;
        root->field = f;
        root->path = node_list(r->arena);
        node_add(root->path, STR_NONE, node_text(r->arena, f->first->key));
    }
    go_on(run);
}

void gql_run_stop(struct gql_run *run)
{
    for (unsigned i = 0; i < run->n_roots; i++)
        if (run->root[i].stop)
            run->root[i].stop(&run->root[i]);
}

/* ---- the answer ---- */

/* Where a value is on its way into the answer. */
struct place {
    const struct place *up;
    struct str key;
    unsigned index;  /* key.p NULL */
};

static struct node *path_of(struct gql_request *r, const struct place *place)
{
    struct node *path = node_list(r->arena);
    const struct place *at[GQL_DEPTH_MAX * 4];
    unsigned n = 0;
    for (; place && n < sizeof at / sizeof *at; place = place->up)
        at[n++] = place;
    while (n-- > 0)
        node_add(path, STR_NONE,
                 at[n]->key.p ? node_text(r->arena, at[n]->key) : node_uint(r->arena, at[n]->index));
    return path;
}

static struct node *complete(struct gql_request *r, struct str type, struct node *value,
                             const struct gql_collected *f, const struct place *place);

/* The member of a source that a field means. */
static struct node *member(struct gql_request *r, const struct gql_type_def *type, const struct node *source,
                           const struct gql_collected *f)
{
    if (str_eq(f->field->name, STR("__typename")))
        return node_text(r->arena, type->name);
    if (str_eq(type->name, STR("__Type")))
        return gql_type_member(r->schema, r->arena, source->text, f->field->name);
    struct node *found = node_get(source, f->field->name);
    if (!found)
        return node_text(r->arena, STR_NONE);
    struct node *own =
        node_new(r->arena, found->kind, found->text); /* it may go into the answer more than once */
    own->first = found->first;
    own->last = found->last;
    own->n = found->n;
    return own;
}

static struct node *complete_object(struct gql_request *r, const struct gql_type_def *type,
                                    const struct node *source, const struct gql_collected *f,
                                    const struct place *place)
{
    struct node *out = node_object(r->arena);
    for (struct gql_collected *in = gql_collect(r, type, f->sets); in; in = in->next) {
        struct place inner = {place, in->first->key, 0};
        struct node *value = complete(r, in->field->type, member(r, type, source, in), in, &inner);
        if (!value)
            return NULL;
        node_add(out, in->first->key, value);
    }
    return out;
}

static struct node *complete_list(struct gql_request *r, struct str item_type, const struct node *list,
                                  const struct gql_collected *f, const struct place *place)
{
    struct node *out = node_list(r->arena);
    unsigned index = 0;
    for (const struct node *item = list->first; item; item = item->next) {
        struct place inner = {place, STR_NONE, index++};
        struct node *copy = node_new(r->arena, item->kind, item->text);
        copy->first = item->first;
        copy->last = item->last;
        copy->n = item->n;
        struct node *value = complete(r, item_type, copy, f, &inner);
        if (!value)
            return NULL;
        node_add(out, STR_NONE, value);
    }
    return out;
}

/* NULL: a null where none may be; the error is in the list, and what holds it becomes null. */
static struct node *complete(struct gql_request *r, struct str type, struct node *value,
                             const struct gql_collected *f, const struct place *place)
{
    struct str nullable = gql_nullable(type);
    const struct gql_type_def *def = gql_type(r->schema, gql_named(type));
    struct node *out = value;
    if (value->kind != NODE_NULL && gql_is_list(nullable))
        out = complete_list(r, gql_item(nullable), value, f, place);
    else if (value->kind != NODE_NULL && def->kind == GQL_OBJECT)
        out = complete_object(r, def, value, f, place);
    if (out && out->kind != NODE_NULL)
        return out;
    if (!gql_is_required(type))
        return node_new(r->arena, NODE_NULL, STR_NONE);
    if (out)
        gql_error(r, f->first->line, f->first->column, path_of(r, place), 0, "field '%.*s' has no value",
                  STR_ARG(f->first->name));
    return NULL;
}

struct node *gql_run_data(struct gql_run *run)
{
    struct gql_request *r = &run->request;
    struct node *out = node_object(r->arena), *none = node_new(r->arena, NODE_NULL, STR_NONE);
    r->n_steps = 0;
    for (unsigned i = 0; i < run->n_roots; i++) {
        const struct gql_collected *f = run->root[i].field;
        struct place place = {NULL, f->first->key, 0};
        struct node *value = run->root[i].value;
        if (value)
            value = complete(r, f->field->type, value, f, &place);
        if (!value && gql_is_required(f->field->type))
            return none;
        node_add(out, f->first->key, value ? value : node_new(r->arena, NODE_NULL, STR_NONE));
    }
    return out;
}
