#include "api/graphql_check.h"

#include <stdio.h>
#include <stdlib.h>

/* A request's variables are not known yet while it is checked: their types are. */
struct check {
    struct gql_request *r;
    struct gql_definition *operation; /* whose variables are meant */
};

/* ---- errors ---- */

static void add_error(struct gql_request *r, unsigned line, unsigned column, const struct node *path,
                      unsigned status, struct str message)
{
    struct arena *a = r->arena;
    if (r->n_faults++ >= GQL_FAULTS_MAX)
        return;
    struct node *error = node_add(r->errors, STR_NONE, node_object(a));
    node_add(error, STR("message"), node_text(a, message));
    if (line) {
        struct node *list = node_add(error, STR("locations"), node_list(a)),
                    *one = node_add(list, STR_NONE, node_object(a));
        node_add(one, STR("line"), node_uint(a, line));
        node_add(one, STR("column"), node_uint(a, column));
    }
    if (path) {
        struct node *copy = node_add(error, STR("path"), node_list(a));
        for (const struct node *p = path->first; p; p = p->next)
            node_add(copy, STR_NONE, node_new(a, p->kind, p->text));
    }
    if (status)
        node_add(node_add(error, STR("extensions"), node_object(a)), STR("status"), node_uint(a, status));
}

void gql_error(struct gql_request *r, unsigned line, unsigned column, const struct node *path,
               unsigned status, const char *fmt, ...)
{
    char text[800];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    add_error(r, line, column, path, status, arena_copy(r->arena, str_of(text)));
}

#define FAULT(r, at, ...) gql_error(r, (at)->line, (at)->column, NULL, 0, __VA_ARGS__)

/* ---- values ---- */

static struct gql_variable *variable_of(const struct gql_definition *operation, struct str name)
{
    for (struct gql_variable *v = operation ? operation->variables : NULL; v; v = v->next)
        if (str_eq(v->name, name))
            return v;
    return NULL;
}

/* May a variable of type `is` stand where `wanted` is wanted? fits: a default stands in for null there. */
static bool type_fits(struct str is, struct str wanted, bool has_default)
{
    if (gql_is_required(wanted) && !gql_is_required(is)) {
        if (!has_default)
            return false;
        wanted = gql_nullable(wanted);
    }
    if (!gql_is_required(wanted))
        is = gql_nullable(is);
    while (true) {
        if (gql_is_required(wanted)) {
            if (!gql_is_required(is))
                return false;
            wanted = gql_nullable(wanted);
        }
        is = gql_nullable(is);
        if (gql_is_list(wanted) != gql_is_list(is))
            return false;
        if (!gql_is_list(wanted))
            return str_eq(is, wanted);
        wanted = gql_item(wanted);
        is = gql_item(is);
    }
}

struct coercion {
    struct gql_request *r;
    struct gql_definition *checks;  /* not NULL: variables are only looked at by their types */
    bool from_json;                 /* a variable's value: words are strings there */
    struct str what;                /* "argument 'limit'", for errors */
    const struct node *path;        /* of the field; NULL: none */
    unsigned line, column;          /* where values without a place of their own stand */
    bool has_default;               /* a default stands in where the value is null or absent */
};

static struct node *wrong(const struct coercion *c, const struct node *value, struct str type)
{
    bool named = value->kind == NODE_NUMBER || value->kind == NODE_STRING || value->kind == NODE_ENUM;
    unsigned line = c->from_json || !value->line ? c->line : value->line;
    unsigned column = c->from_json || !value->line ? c->column : value->column;
    gql_error(c->r, line, column, c->path, c->path ? 400 : 0, "%.*s: found %s%s%.*s%s, expected %.*s",
              STR_ARG(c->what), node_kind_name(value->kind), named ? " '" : "",
              named ? (int)(value->text.n < 60 ? value->text.n : 60) : 0, named ? value->text.p : "",
              named ? "'" : "", STR_ARG(type));
    return NULL;
}

static bool is_int(struct str number, int32_t *out)
{
    char text[32];
    if (number.n >= sizeof text)
        return false;
    memcpy(text, number.p, number.n);
    text[number.n] = 0;
    double x = strtod(text, NULL); /* exact as far as an Int goes; 3.0 and 3e0 are one too */
    if (!(x >= INT32_MIN && x <= INT32_MAX && x == (double)(int32_t)x))
        return false;
    *out = (int32_t)x;
    return true;
}

static bool scalar_takes(const struct coercion *c, struct str name, const struct node *v)
{
    bool fraction =
        v->kind == NODE_NUMBER && (memchr(v->text.p, '.', v->text.n) || memchr(v->text.p, 'e', v->text.n) ||
                                   memchr(v->text.p, 'E', v->text.n));
    int32_t whole;
    if (str_eq(name, STR("JSON")))
        return true;
    if (str_eq(name, STR("Int")))
        return v->kind == NODE_NUMBER && (c->from_json || !fraction) && is_int(v->text, &whole);
    if (str_eq(name, STR("Float")))
        return v->kind == NODE_NUMBER;
    if (str_eq(name, STR("Boolean")))
        return v->kind == NODE_TRUE || v->kind == NODE_FALSE;
    if (str_eq(name, STR("ID")))
        return v->kind == NODE_STRING || (v->kind == NODE_NUMBER && !fraction);
    return v->kind == NODE_STRING;
}

static struct node *coerce(const struct coercion *c, struct str type, const struct node *in);

/* The value of a JSON scalar: what it holds stays, variables are put in. */
static struct node *coerce_json(const struct coercion *c, const struct node *in)
{
    struct node *out = node_new(c->r->arena, in->kind, in->text);
    if (in->kind == NODE_VARIABLE)
        return coerce(c, STR("JSON"), in);
    if (in->kind == NODE_ENUM)
        out->kind = NODE_STRING;
    for (const struct node *m = in->first; m; m = m->next) {
        struct node *child = coerce_json(c, m);
        if (!child)
            return NULL;
        node_add(out, m->key, child);
    }
    return out;
}

static struct node *coerce_variable(const struct coercion *c, struct str type, const struct node *in)
{
    struct gql_request *r = c->r;
    if (!c->checks) {
        struct node *value = node_get(r->variables, in->text);
        if (!value)
            return gql_is_required(type) ? wrong(c, node_new(r->arena, NODE_NULL, STR_NONE), type)
                                         : node_new(r->arena, NODE_NULL, STR_NONE);
        struct coercion again = *c;
        again.from_json = true;
        again.line = in->line;
        again.column = in->column;
        return coerce(&again, type, value);
    }
    struct gql_variable *v = variable_of(c->checks, in->text);
    if (!v) {
        FAULT(r, in, "the variable $%.*s is not defined by the operation", STR_ARG(in->text));
        return NULL;
    }
    v->used = true;
    bool has_default = (v->fallback && v->fallback->kind != NODE_NULL) || c->has_default;
    if (!str_eq(gql_named(type), STR("JSON")) && !type_fits(v->type, type, has_default)) {
        FAULT(r, in, "the variable $%.*s is of type %.*s, expected %.*s", STR_ARG(in->text), STR_ARG(v->type),
              STR_ARG(type));
        return NULL;
    }
    return node_new(r->arena, NODE_NULL, STR_NONE);
}

static struct node *coerce_list(const struct coercion *c, struct str type, const struct node *in)
{
    struct node *out = node_list(c->r->arena);
    if (in->kind != NODE_LIST) { /* one item stands for a list of it */
        struct node *item = coerce(c, gql_item(type), in);
        return item ? (node_add(out, STR_NONE, item), out) : NULL;
    }
    struct coercion inner = *c;
    inner.has_default = false;
    for (const struct node *m = in->first; m; m = m->next) {
        struct node *item = coerce(&inner, gql_item(type), m);
        if (!item)
            return NULL;
        node_add(out, STR_NONE, item);
    }
    return out;
}

/* What the value means as this type; NULL after an error. */
static struct node *coerce(const struct coercion *c, struct str type, const struct node *in)
{
    if (in->kind == NODE_VARIABLE)
        return coerce_variable(c, type, in);
    if (in->kind == NODE_NULL)
        return gql_is_required(type) ? wrong(c, in, type) : node_new(c->r->arena, NODE_NULL, STR_NONE);
    struct str nullable = gql_nullable(type);
    if (gql_is_list(nullable))
        return coerce_list(c, nullable, in);
    const struct gql_type_def *def = gql_type(c->r->schema, nullable);
    if (def->kind == GQL_ENUM) {
        bool word = in->kind == (c->from_json ? NODE_STRING : NODE_ENUM) && gql_input(def->inputs, in->text);
        return word ? node_new(c->r->arena, NODE_ENUM, in->text) : wrong(c, in, type);
    }
    if (!scalar_takes(c, def->name, in))
        return wrong(c, in, type);
    if (str_eq(def->name, STR("JSON")))
        return coerce_json(c, in);
    int32_t whole;
    if (str_eq(def->name, STR("Int")) && is_int(in->text, &whole)) /* what comes as 3.0 goes on as 3 */
        return node_new(c->r->arena, NODE_NUMBER, arena_printf(c->r->arena, "%d", whole));
    return node_new(c->r->arena, str_eq(def->name, STR("ID")) ? NODE_STRING : in->kind, in->text);
}

/* ---- arguments ---- */

struct node *gql_arguments(struct gql_request *r, struct gql_input_def *defs, const struct gql_selection *at,
                           const struct node *given, const struct node *path)
{
    struct node *out = node_object(r->arena);
    for (struct gql_input_def *def = defs; def; def = def->next) {
        const struct node *value = node_get(given, def->name);
        if (value && value->kind == NODE_VARIABLE && !node_get(r->variables, value->text))
            value = NULL; /* not given: as if it did not stand there */
        if (!value)
            value = def->fallback;
        if (!value && !gql_is_required(def->type))
            continue;
        struct coercion c = {.r = r, .path = path, .line = at ? at->line : 0, .column = at ? at->column : 0,
                             .what = arena_printf(r->arena, "argument '%.*s'", STR_ARG(def->name))};
        static const struct node null_node;
        struct node *coerced = coerce(&c, def->type, value ? value : &null_node);
        if (!coerced)
            return NULL;
        if (coerced->kind == NODE_NULL && def->fallback) /* null asks for nothing else than what is usual */
            coerced = coerce(&c, def->type, def->fallback);
        node_add(out, def->name, coerced);
    }
    return out;
}

static void check_arguments(struct check *c, struct gql_input_def *defs, const struct node *given,
                            const char *of, struct str name, unsigned line, unsigned column)
{
    struct gql_request *r = c->r;
    for (const struct node *m = given ? given->first : NULL; m; m = m->next) {
        struct gql_input_def *def = gql_input(defs, m->key);
        if (node_get(given, m->key) != m) {
            FAULT(r, m, "the argument '%.*s' stands twice at %s '%.*s'", STR_ARG(m->key), of, STR_ARG(name));
            continue;
        }
        if (!def) {
            FAULT(r, m, "%s '%.*s' has no argument '%.*s'", of, STR_ARG(name), STR_ARG(m->key));
            continue;
        }
        struct coercion co = {.r = r, .checks = c->operation, .line = m->line, .column = m->column,
                              .has_default = def->fallback != NULL,
                              .what = arena_printf(r->arena, "argument '%.*s'", STR_ARG(def->name))};
        coerce(&co, def->type, m);
    }
    for (struct gql_input_def *def = defs; def; def = def->next)
        if (gql_is_required(def->type) && !def->fallback && !node_get(given, def->name))
            gql_error(r, line, column, NULL, 0, "%s '%.*s' needs the argument '%.*s' of type %.*s", of,
                      STR_ARG(name), STR_ARG(def->name), STR_ARG(def->type));
}

static void check_directives(struct check *c, const struct gql_directive *d, bool allowed)
{
    for (const struct gql_directive *one = d; one; one = one->next) {
        struct gql_input_def *args = gql_directive_args(c->r->schema, one->name);
        if (!args) {
            FAULT(c->r, one, "there is no directive '@%.*s', there are @skip and @include",
                  STR_ARG(one->name));
            continue;
        }
        if (!allowed)
            FAULT(c->r, one, "the directive '@%.*s' may not stand here", STR_ARG(one->name));
        for (const struct gql_directive *before = d; before != one; before = before->next)
            if (str_eq(before->name, one->name))
                FAULT(c->r, one, "the directive '@%.*s' stands here twice", STR_ARG(one->name));
        check_arguments(c, args, one->args, "directive", one->name, one->line, one->column);
    }
}

bool gql_skipped(struct gql_request *r, const struct gql_directive *d)
{
    for (; d; d = d->next) {
        struct node *args = gql_arguments(r, gql_directive_args(r->schema, d->name), NULL, d->args, NULL);
        struct node *condition = args ? node_get(args, STR("if")) : NULL;
        if (!condition || (condition->kind == NODE_TRUE) == str_eq(d->name, STR("skip")))
            return true;
    }
    return false;
}

/* ---- selections ---- */

static struct gql_definition *fragment_of(const struct gql_request *r, struct str name)
{
    for (struct gql_definition *d = r->document; d; d = d->next)
        if (d->kind == GQL_FRAGMENT && str_eq(d->name, name))
            return d;
    return NULL;
}

struct collector {
    struct gql_request *r;
    struct check *check;          /* NULL: for running */
    const struct gql_type_def *type;
    struct gql_collected *first, **end;
    unsigned n_keys;
    bool full;                    /* more keys than may be: the rest is not looked at */
    struct visited {
        struct visited *next;
        const struct gql_definition *fragment;
    } *visited;
};

static bool step(struct gql_request *r, const struct gql_selection *at)
{
    if (r->n_steps++ < GQL_STEPS_MAX)
        return true;
    if (r->n_steps == GQL_STEPS_MAX + 1)
        FAULT(r, at, "the request touches more than %d fields", GQL_STEPS_MAX);
    return false;
}

/* Two fields under one key must be the same field with the same arguments. */
static bool same_field(const struct gql_selection *a, const struct gql_selection *b)
{
    struct text x = {0}, y = {0};
    if (!str_eq(a->name, b->name) || a->args->n != b->args->n)
        return false;
    bool same = true;
    for (const struct node *m = a->args->first; m && same; m = m->next) {
        const struct node *other = node_get(b->args, m->key);
        x.n = y.n = 0;
        node_write(&x, m);
        if (other)
            node_write(&y, other);
        same = other && other->kind == m->kind && str_eq((struct str){x.p, x.n}, (struct str){y.p, y.n});
    }
    text_free(&x);
    text_free(&y);
    return same;
}

static void collect_field(struct collector *k, const struct gql_selection *s)
{
    struct gql_request *r = k->r;
    struct gql_field_def *field = gql_field(r->schema, k->type, s->name);
    if (!field) {
        FAULT(r, s, "type %.*s has no field '%.*s'", STR_ARG(k->type->name), STR_ARG(s->name));
        return;
    }
    if (k->check)
        check_arguments(k->check, field->args, s->args, "field", s->name, s->line, s->column);
    struct gql_collected *same = k->first;
    while (same && !str_eq(same->first->key, s->key))
        same = same->next;
    if (same && k->check && !same_field(same->first, s))
        FAULT(r, s, "'%.*s' stands for two different fields or arguments here: use an alias",
              STR_ARG(s->key));
    if (!same && k->n_keys == GQL_KEYS_MAX) {
        FAULT(r, s, "more than %d fields in one place", GQL_KEYS_MAX);
        k->full = true;
        return;
    }
    if (!same) {
        k->n_keys++;
        same = arena_zalloc(r->arena, sizeof *same);
        same->field = field;
        same->first = s;
        same->last_set = &same->sets;
        *k->end = same;
        k->end = &same->next;
    }
    if (s->selections) {
        struct gql_sets *set = arena_zalloc(r->arena, sizeof *set);
        set->selections = s->selections;
        *same->last_set = set;
        same->last_set = &set->next;
    }
}

static void collect_set(struct collector *k, const struct gql_selection *s, unsigned depth);

static bool fits_type(struct collector *k, struct str on, const struct gql_selection *at)
{
    const struct gql_type_def *type = gql_type(k->r->schema, on);
    if (k->check && (!type || type->kind != GQL_OBJECT))
        FAULT(k->r, at, "a fragment cannot be on '%.*s', which is no type with fields", STR_ARG(on));
    else if (k->check && type != k->type)
        FAULT(k->r, at, "a fragment on %.*s never fits here, where a %.*s is", STR_ARG(on),
              STR_ARG(k->type->name));
    return type == k->type;
}

static void collect_spread(struct collector *k, const struct gql_selection *s, unsigned depth)
{
    struct gql_definition *fragment = fragment_of(k->r, s->name);
    if (!fragment) {
        if (k->check)
            FAULT(k->r, s, "there is no fragment '%.*s'", STR_ARG(s->name));
        return;
    }
    for (const struct visited *v = k->visited; v; v = v->next)
        if (v->fragment == fragment)
            return;
    struct visited *visited = arena_alloc(k->r->arena, sizeof *visited);
    *visited = (struct visited){k->visited, fragment};
    k->visited = visited;
    if (fits_type(k, fragment->on, s))
        collect_set(k, fragment->selections, depth + 1);
}

static void collect_set(struct collector *k, const struct gql_selection *s, unsigned depth)
{
    if (s && depth > GQL_SPREADS_MAX)
        FAULT(k->r, s, "fragments inside each other more than %d deep", GQL_SPREADS_MAX);
    for (; s && depth <= GQL_SPREADS_MAX && !k->full && step(k->r, s); s = s->next) {
        if (k->check)
            check_directives(k->check, s->directives, true);
        else if (gql_skipped(k->r, s->directives))
            continue;
        if (s->kind == GQL_FIELD)
            collect_field(k, s);
        else if (s->kind == GQL_SPREAD)
            collect_spread(k, s, depth);
        else if (!s->name.p || fits_type(k, s->name, s))
            collect_set(k, s->selections, depth + 1);
    }
}

static struct gql_collected *collect(struct gql_request *r, struct check *check,
                                     const struct gql_type_def *type, const struct gql_sets *sets)
{
    struct collector k = {.r = r, .check = check, .type = type};
    k.end = &k.first;
    for (; sets; sets = sets->next)
        collect_set(&k, sets->selections, 0);
    return k.first;
}

struct gql_collected *gql_collect(struct gql_request *r, const struct gql_type_def *type,
                                  const struct gql_sets *sets)
{
    return collect(r, NULL, type, sets);
}

/* ---- whole requests ---- */

static void check_fields(struct check *c, const struct gql_type_def *type, const struct gql_sets *sets,
                         unsigned depth)
{
    struct gql_request *r = c->r;
    for (struct gql_collected *f = collect(r, c, type, sets); f && r->n_faults < GQL_FAULTS_MAX;
         f = f->next) {
        const struct gql_type_def *inner = gql_type(r->schema, gql_named(f->field->type));
        if (inner->kind == GQL_OBJECT && !f->sets)
            FAULT(r, f->first, "field '%.*s' is a %.*s: say which of its fields, as in %.*s { %.*s }",
                  STR_ARG(f->first->name), STR_ARG(inner->name), STR_ARG(f->first->name),
                  STR_ARG(inner->fields->name));
        else if (inner->kind != GQL_OBJECT && f->sets)
            FAULT(r, f->first, "field '%.*s' is a %.*s, which has no fields of its own",
                  STR_ARG(f->first->name), STR_ARG(inner->name));
        else if (f->sets && depth == GQL_DEPTH_MAX)
            FAULT(r, f->first, "fields inside each other more than %d deep", GQL_DEPTH_MAX);
        else if (f->sets)
            check_fields(c, inner, f->sets, depth + 1);
    }
}

/* Follows spreads; mark 1: on the way here, 2: seen. */
static void check_cycles(struct gql_request *r, struct gql_definition *fragment,
                         const struct gql_selection *s)
{
    for (; s; s = s->next) {
        struct gql_definition *to = s->kind == GQL_SPREAD ? fragment_of(r, s->name) : NULL;
        if (to && to->mark == 1)
            FAULT(r, s, "the fragment '%.*s' contains itself", STR_ARG(to->name));
        if (to && to->mark == 0) {
            to->mark = 1;
            check_cycles(r, to, to->selections);
            to->mark = 2;
        }
        check_cycles(r, fragment, s->selections);
    }
}

static void check_names(struct gql_request *r)
{
    unsigned n_operations = 0, n_definitions = 0;
    for (struct gql_definition *d = r->document; d; d = d->next) {
        n_operations += d->kind != GQL_FRAGMENT;
        for (struct gql_definition *b = r->document; b != d; b = b->next)
            if (d->name.p && b->name.p && (b->kind == GQL_FRAGMENT) == (d->kind == GQL_FRAGMENT) &&
                str_eq(b->name, d->name))
                FAULT(r, d, "there are two %s '%.*s'", d->kind == GQL_FRAGMENT ? "fragments" : "operations",
                      STR_ARG(d->name));
        if (++n_definitions > 200) {
            FAULT(r, d, "more than 200 operations and fragments");
            return;
        }
    }
    for (struct gql_definition *d = r->document; d; d = d->next)
        if (d->kind != GQL_FRAGMENT && !d->name.p && n_operations > 1)
            FAULT(r, d, "an operation without a name must be the only one");
    if (!n_operations)
        FAULT(r, r->document, "there is no operation, only fragments");
}

static bool is_input_type(const struct gql_schema *s, struct str type)
{
    const struct gql_type_def *def = gql_type(s, gql_named(type));
    return def && def->kind != GQL_OBJECT;
}

static void check_variables(struct check *c)
{
    struct gql_request *r = c->r;
    for (struct gql_variable *v = c->operation->variables; v; v = v->next) {
        if (variable_of(c->operation, v->name) != v)
            FAULT(r, v, "the variable $%.*s is defined twice", STR_ARG(v->name));
        check_directives(c, v->directives, false);
        if (!is_input_type(r->schema, v->type)) {
            FAULT(r, v, "the variable $%.*s is of type '%.*s', which no input has", STR_ARG(v->name),
                  STR_ARG(v->type));
            v->type = STR("JSON");
            continue;
        }
        struct coercion co = {.r = r, .line = v->line, .column = v->column,
                              .what = arena_printf(r->arena, "default of $%.*s", STR_ARG(v->name))};
        if (v->fallback)
            coerce(&co, v->type, v->fallback);
    }
}

static void check_operation(struct gql_request *r, struct gql_definition *d)
{
    struct check c = {r, d};
    struct gql_sets sets = {NULL, d->selections};
    if (d->kind == GQL_SUBSCRIPTION) {
        FAULT(r, d, "there are no subscriptions here");
        return;
    }
    check_variables(&c);
    check_directives(&c, d->directives, false);
    r->n_steps = 0;
    check_fields(&c, gql_type(r->schema, d->kind == GQL_MUTATION ? STR("Mutation") : STR("Query")), &sets, 1);
    for (struct gql_variable *v = d->variables; v && r->n_faults < GQL_FAULTS_MAX; v = v->next)
        if (!v->used)
            FAULT(r, v, "the variable $%.*s is never used", STR_ARG(v->name));
}

static bool spreads(const struct gql_selection *s, struct str name)
{
    for (; s; s = s->next)
        if ((s->kind == GQL_SPREAD && str_eq(s->name, name)) || spreads(s->selections, name))
            return true;
    return false;
}

static void check_fragments(struct gql_request *r)
{
    for (struct gql_definition *d = r->document; d; d = d->next) {
        if (d->kind != GQL_FRAGMENT)
            continue;
        bool used = false;
        for (struct gql_definition *by = r->document; by && !used; by = by->next)
            used = spreads(by->selections, d->name);
        if (!used)
            FAULT(r, d, "the fragment '%.*s' is never used", STR_ARG(d->name));
        if (d->mark == 0) {
            d->mark = 1;
            check_cycles(r, d, d->selections);
            d->mark = 2;
        }
    }
}

bool gql_check(struct gql_request *r)
{
    check_names(r);
    if (!r->n_faults)
        check_fragments(r);
    for (struct gql_definition *d = r->document; d && !r->n_faults; d = d->next)
        if (d->kind != GQL_FRAGMENT)
            check_operation(r, d);
    return r->n_faults == 0;
}

bool gql_choose(struct gql_request *r, struct str name, const struct node *variables)
{
    unsigned n = 0;
    for (struct gql_definition *d = r->document; d; d = d->next) {
        if (d->kind == GQL_FRAGMENT || (name.p && !str_eq(d->name, name)))
            continue;
        n++;
        r->operation = d;
    }
    if (n != 1) {
        if (name.p)
            gql_error(r, 0, 0, NULL, 0, "there is no operation '%.*s'", STR_ARG(name));
        else
            gql_error(r, 0, 0, NULL, 0, "there are %u operations: say which by operationName", n);
        return false;
    }
    struct node *given = node_object(r->arena);
    for (struct gql_variable *v = r->operation->variables; v; v = v->next) {
        const struct node *value = node_get(variables, v->name);
        bool json = value != NULL;
        if (!value)
            value = v->fallback;
        if (!value && !gql_is_required(v->type))
            continue;
        struct coercion c = {.r = r, .from_json = json, .line = v->line, .column = v->column,
                             .what = arena_printf(r->arena, "variable $%.*s", STR_ARG(v->name))};
        static const struct node null_node;
        struct node *coerced = coerce(&c, v->type, value ? value : &null_node);
        if (coerced)
            node_add(given, v->name, coerced);
    }
    r->variables = given;
    return r->n_faults == 0;
}
