#include "api/tree.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "base/mem.h"

/* ---- reading ---- */

struct reader {
    struct arena *arena;
    const char *start, *at, *end;
    struct err *err;
    const char *line_at;   /* begin of the line that `line` counts */
    unsigned line;
    unsigned depth, n_nodes;
};

static const char *const kind_names[] = {"null",     "a boolean", "a boolean", "a number", "a string",
                                         "a list",   "an object", "JSON",      "a word",   "a variable"};

const char *node_kind_name(enum node_kind kind)
{
    return kind_names[kind];
}

/* Lines are counted where somebody asks, from where the last one asked. */
static void place(struct reader *r, const char *at, unsigned *line, unsigned *column)
{
    for (const char *p = r->line_at; (p = memchr(p, '\n', (size_t)(at - p)));) {
        r->line_at = ++p;
        r->line++;
    }
    *line = r->line;
    *column = (unsigned)(at - r->line_at) + 1;
}

static struct node *fail(struct reader *r, const char *expected)
{
    unsigned line, column;
    place(r, r->at, &line, &column);
    unsigned char c = r->at < r->end ? (unsigned char)*r->at : 0;
    if (r->at == r->end)
        err_set(r->err, "line %u, column %u: found the end, expected %s", line, column, expected);
    else if (c >= ' ' && c < 0x7f)
        err_set(r->err, "line %u, column %u: found '%c', expected %s", line, column, c, expected);
    else
        err_set(r->err, "line %u, column %u: found byte %u, expected %s", line, column, c, expected);
    return NULL;
}

static void blanks(struct reader *r)
{
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
        r->at++;
}

static bool take(struct reader *r, char c)
{
    if (r->at == r->end || *r->at != c)
        return false;
    r->at++;
    return true;
}

/* The text between quotes, decoded; false after fail(). */
static bool read_string(struct reader *r, struct str *out)
{
    const char *from = r->at++;
    bool escaped = false;
    while (r->at < r->end && *r->at != '"') {
        unsigned n = utf8_length(r->at, (size_t)(r->end - r->at));
        if ((unsigned char)*r->at < ' ' || n == 0)
            return fail(r, n ? "no control character inside a string" : "UTF-8");
        if (*r->at == '\\') {
            escaped = true;
            n = r->at + 1 < r->end ? 2 : 1;
        }
        r->at += n;
    }
    if (!take(r, '"'))
        return fail(r, "the end of the string");
    *out = (struct str){from + 1, (size_t)(r->at - from) - 2};
    if (!escaped)
        return true;
    char *decoded = arena_alloc(r->arena, out->n + 2);
    size_t n;
    if (!json_unescape((struct str){from, (size_t)(r->at - from)}, decoded, &n)) {
        r->at = from;
        return fail(r, "a string with escapes that JSON knows");
    }
    *out = (struct str){decoded, n};
    return true;
}

static struct node *read_value(struct reader *r);

static struct node *read_list(struct reader *r, struct node *list)
{
    r->at++;
    blanks(r);
    if (take(r, ']'))
        return list;
    for (;;) {
        struct node *item = read_value(r);
        if (!item)
            return NULL;
        node_add(list, STR_NONE, item);
        blanks(r);
        if (take(r, ']'))
            return list;
        if (!take(r, ','))
            return fail(r, "',' or ']'");
        blanks(r);
    }
}

static struct node *read_object(struct reader *r, struct node *object)
{
    r->at++;
    blanks(r);
    if (take(r, '}'))
        return object;
    for (;;) {
        struct str key;
        if (r->at == r->end || *r->at != '"')
            return fail(r, object->n ? "a key in quotes" : "a key in quotes or '}'");
        const char *key_at = r->at;
        if (!read_string(r, &key))
            return NULL;
        if (object->n == TREE_KEYS_MAX)
            return fail(r, "no more than 1000 keys in an object");
        if (node_get(object, key)) {
            r->at = key_at;
            return fail(r, "each key once in an object, and this one was there before");
        }
        blanks(r);
        if (!take(r, ':'))
            return fail(r, "':'");
        blanks(r);
        struct node *value = read_value(r);
        if (!value)
            return NULL;
        node_add(object, key, value);
        blanks(r);
        if (take(r, '}'))
            return object;
        if (!take(r, ','))
            return fail(r, "',' or '}'");
        blanks(r);
    }
}

static struct node *read_number(struct reader *r, struct node *out)
{
    const char *from = r->at;
    while (r->at < r->end && ((*r->at >= '0' && *r->at <= '9') || memchr("+-.eE", *r->at, 5)))
        r->at++;
    out->text = (struct str){from, (size_t)(r->at - from)};
    if (json_is_number(out->text))
        return out;
    r->at = from;
    return fail(r, "a number as JSON writes them");
}

static struct node *read_word(struct reader *r, struct node *out)
{
    static const struct {
        struct str word;
        enum node_kind kind;
    } words[] = {{{"null", 4}, NODE_NULL}, {{"false", 5}, NODE_FALSE}, {{"true", 4}, NODE_TRUE}};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        if (str_starts((struct str){r->at, (size_t)(r->end - r->at)}, words[i].word)) {
            r->at += words[i].word.n;
            out->kind = words[i].kind;
            return out;
        }
    return fail(r, "a JSON value");
}

static struct node *read_value(struct reader *r)
{
    struct node *out = node_new(r->arena, NODE_NULL, STR_NONE), *done;
    char c = r->at < r->end ? *r->at : 0;
    place(r, r->at, &out->line, &out->column);
    if (r->n_nodes++ == TREE_NODES_MAX)
        return fail(r, "no more than 100000 values in a document");
    if (c == '"') {
        out->kind = NODE_STRING;
        return read_string(r, &out->text) ? out : NULL;
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        out->kind = NODE_NUMBER;
        return read_number(r, out);
    }
    if (c != '[' && c != '{')
        return read_word(r, out);
    if (r->depth++ == TREE_DEPTH_MAX)
        return fail(r, "nothing nested deeper than 64");
    out->kind = c == '[' ? NODE_LIST : NODE_OBJECT;
    done = c == '[' ? read_list(r, out) : read_object(r, out);
    r->depth--;
    return done;
}

struct node *tree_read(struct arena *arena, struct str text, struct err *err)
{
    struct reader r = {arena, text.p, text.p, text.p + text.n, err, text.p, 1, 0, 0};
    if (!text.n)
        return err_set(err, "line 1, column 1: found nothing, expected a JSON value"), NULL;
    blanks(&r);
    struct node *out = read_value(&r);
    if (!out)
        return NULL;
    blanks(&r);
    return r.at == r.end ? out : fail(&r, "nothing behind the value");
}

/* ---- building ---- */

struct node *node_get(const struct node *object, struct str key)
{
    if (!object || object->kind != NODE_OBJECT)
        return NULL;
    for (struct node *m = object->first; m; m = m->next)
        if (str_eq(m->key, key))
            return m;
    return NULL;
}

struct node *node_new(struct arena *a, enum node_kind kind, struct str text)
{
    struct node *out = arena_alloc(a, sizeof *out);
    *out = (struct node){.kind = kind, .text = text};
    return out;
}

struct node *node_object(struct arena *a)
{
    return node_new(a, NODE_OBJECT, STR_NONE);
}

struct node *node_list(struct arena *a)
{
    return node_new(a, NODE_LIST, STR_NONE);
}

struct node *node_text(struct arena *a, struct str s)
{
    return node_new(a, s.p ? NODE_STRING : NODE_NULL, s);
}

struct node *node_bool(struct arena *a, bool b)
{
    return node_new(a, b ? NODE_TRUE : NODE_FALSE, STR_NONE);
}

struct node *node_uint(struct arena *a, uint64_t n)
{
    return node_new(a, NODE_NUMBER, arena_printf(a, "%llu", (unsigned long long)n));
}

struct node *node_real(struct arena *a, double x)
{
    char text[32];
    if (!isfinite(x))
        return node_new(a, NODE_NULL, STR_NONE);
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x)
            break;
    }
    return node_new(a, NODE_NUMBER, arena_copy(a, str_of(text)));
}

struct node *node_raw(struct arena *a, struct str json)
{
    return node_new(a, NODE_RAW, json);
}

struct node *node_add(struct node *parent, struct str key, struct node *child)
{
    child->key = key;
    child->next = NULL;
    if (parent->last)
        parent->last->next = child;
    else
        parent->first = child;
    parent->last = child;
    parent->n++;
    return child;
}

/* ---- writing ---- */

static char *room(struct text *t, size_t n)
{
    if (t->n + n > t->cap) {
        t->cap = 2 * (t->n + n) + 256;
        t->p = mem_realloc(t->p, t->cap);
    }
    return t->p + t->n;
}

void text_add(struct text *t, struct str s)
{
    if (s.n)
        memcpy(room(t, s.n), s.p, s.n);
    t->n += s.n;
}

void text_quote(struct text *t, struct str s)
{
    t->n += json_quote(room(t, 6 * s.n + 2), s);
}

void text_free(struct text *t)
{
    free(t->p);
    *t = (struct text){0};
}

static void write_children(struct text *t, const struct node *parent, struct str open, struct str close)
{
    text_add(t, open);
    for (const struct node *c = parent->first; c; c = c->next) {
        if (c != parent->first)
            text_add(t, STR(","));
        if (parent->kind == NODE_OBJECT) {
            text_quote(t, c->key);
            text_add(t, STR(":"));
        }
        node_write(t, c);
    }
    text_add(t, close);
}

void node_write(struct text *t, const struct node *node)
{
    switch (node->kind) {
    case NODE_NULL:
        return text_add(t, STR("null"));
    case NODE_FALSE:
        return text_add(t, STR("false"));
    case NODE_TRUE:
        return text_add(t, STR("true"));
    case NODE_NUMBER:
    case NODE_RAW:
        return text_add(t, node->text);
    case NODE_STRING:
    case NODE_ENUM:
    case NODE_VARIABLE:
        return text_quote(t, node->text);
    case NODE_LIST:
        return write_children(t, node, STR("["), STR("]"));
    case NODE_OBJECT:
        return write_children(t, node, STR("{"), STR("}"));
    }
}
