#include "conf/yaml.h"

#include <yaml.h>

struct reader {
    struct arena *arena;
    const char *name;
    struct err *err;
    yaml_parser_t parser;
    yaml_event_t event;
    bool has_event;
};

static struct yaml *fail(struct reader *r, size_t line, const char *what)
{
    err_set(r->err, "%s:%zu: %s", r->name, line, what);
    return NULL;
}

/* libyaml's own words are about its tokens; the line is what helps. */
static struct yaml *fail_parse(struct reader *r)
{
    const yaml_parser_t *p = &r->parser;
    size_t line = p->problem_mark.line + 1;
    const char *problem = p->problem ? p->problem : "not YAML";
    if (p->error == YAML_READER_ERROR) { /* no mark: count lines up to the byte */
        err_set(r->err, "%s:%zu: %s, expected UTF-8 text without control characters", r->name,
                p->mark.line + 1, problem);
        return NULL;
    }
    if (p->context)
        err_set(r->err, "%s:%zu: %s %s (begun in line %zu), expected YAML", r->name, line, problem,
                p->context, p->context_mark.line + 1);
    else
        err_set(r->err, "%s:%zu: %s, expected YAML", r->name, line, problem);
    return NULL;
}

static bool next(struct reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = yaml_parser_parse(&r->parser, &r->event) == 1;
    if (!r->has_event)
        fail_parse(r);
    return r->has_event;
}

static const char *unwanted(const yaml_event_t *e)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    switch (e->type) {
    case YAML_ALIAS_EVENT:
        return "an alias (*name) is not allowed, write the value out";
    case YAML_SCALAR_EVENT:
        anchor = e->data.scalar.anchor, tag = e->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        anchor = e->data.sequence_start.anchor, tag = e->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        anchor = e->data.mapping_start.anchor, tag = e->data.mapping_start.tag;
        break;
    default:
        break;
    }
    if (anchor)
        return "an anchor (&name) is not allowed, write the value out where it is used";
    if (tag)
        return "a tag (!name) is not allowed, quotes and their absence tell text from numbers";
    return NULL;
}

/* C0, DEL, C1, and the line ends of Unicode, which YAML would fold. The text is UTF-8, libyaml saw to that. */
static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char *c = (const unsigned char *)s.p + i; /* a NUL follows the text */
        if (c[0] < 0x20 || c[0] == 0x7f || (c[0] == 0xc2 && c[1] < 0xa0) ||
            (c[0] == 0xe2 && c[1] == 0x80 && (c[2] == 0xa8 || c[2] == 0xa9)))
            return true;
    }
    return false;
}

static bool scalar_text(struct reader *r, struct str *out)
{
    struct str text = {(const char *)r->event.data.scalar.value, r->event.data.scalar.length};
    if (has_control(text)) {
        fail(r, r->event.start_mark.line + 1,
             "a control character inside a value, expected printable text on one line");
        return false;
    }
    *out = arena_copy(r->arena, text);
    return true;
}

static struct yaml *read_value(struct reader *r, unsigned depth);

static struct yaml *read_children(struct reader *r, struct yaml *parent, unsigned depth)
{
    yaml_event_type_t end = parent->kind == YAML_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;
    struct yaml **tail = &parent->first;
    for (;;) {
        if (!next(r))
            return NULL;
        if (r->event.type == end)
            return parent;
        unsigned key_line = (unsigned)r->event.start_mark.line + 1;
        struct str key = STR_NONE;
        if (parent->kind == YAML_MAP) {
            const char *why = unwanted(&r->event);
            if (why)
                return fail(r, key_line, why);
            if (r->event.type != YAML_SCALAR_EVENT)
                return fail(r, key_line, "a key that is itself a list or a mapping, expected a name");
            if (!scalar_text(r, &key) || !next(r))
                return NULL;
        }
        for (struct yaml *twin = parent->first; key.p && twin; twin = twin->next)
            if (str_eq(twin->key, key)) {
                err_set(r->err, "%s:%u: %.*s: duplicate key, it is already in line %u; keep one", r->name,
                        key_line, (int)(key.n < 80 ? key.n : 80), key.p, twin->key_line);
                return NULL;
            }
        if (++parent->n > YAML_KEYS_MAX)
            return fail(r, key_line, "more than 2000 entries in one mapping or list");
        struct yaml *child = read_value(r, depth + 1);
        if (!child)
            return NULL;
        child->key = key;
        child->key_line = key_line;
        *tail = child;
        tail = &child->next;
    }
}

/* The value that the current event begins. */
static struct yaml *read_value(struct reader *r, unsigned depth)
{
    size_t line = r->event.start_mark.line + 1;
    const char *why = unwanted(&r->event);
    if (why)
        return fail(r, line, why);
    if (depth > YAML_DEPTH_MAX)
        return fail(r, line, "nested deeper than 32 levels");
    struct yaml *node = arena_zalloc(r->arena, sizeof *node);
    node->line = (unsigned)line;
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        node->kind = YAML_SCALAR;
        node->plain = r->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
        return scalar_text(r, &node->text) ? node : NULL;
    case YAML_SEQUENCE_START_EVENT:
        node->kind = YAML_LIST;
        return read_children(r, node, depth);
    case YAML_MAPPING_START_EVENT:
        node->kind = YAML_MAP;
        return read_children(r, node, depth);
    default:
        return fail(r, line, "not a value");
    }
}

static struct yaml *read_document(struct reader *r)
{
    if (!next(r) || !next(r)) /* the stream's start, then the document's */
        return NULL;
    struct yaml *root;
    if (r->event.type == YAML_STREAM_END_EVENT) {
        root = arena_zalloc(r->arena, sizeof *root);
        root->kind = YAML_MAP;
        root->line = 1;
        return root;
    }
    if (!next(r) || !(root = read_value(r, 1)) || !next(r) /* the document's end */ || !next(r))
        return NULL;
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail(r, r->event.start_mark.line + 1, "a second document, expected one in a file");
    if (yaml_is_null(root))
        *root = (struct yaml){.kind = YAML_MAP, .line = root->line};
    if (root->kind != YAML_MAP)
        return fail(r, root->line, "not a mapping, expected lines of the form key: value");
    return root;
}

struct yaml *yaml_parse(struct arena *arena, const char *name, struct str text, struct err *err)
{
    struct reader r = {.arena = arena, .name = name, .err = err};
    if (text.n > YAML_BYTES_MAX) {
        err_set(err, "%s:1: the file is larger than 1 MB", name);
        return NULL;
    }
    if (!yaml_parser_initialize(&r.parser)) {
        err_set(err, "%s:1: out of memory", name);
        return NULL;
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    if (str_starts(text, STR("\xef\xbb\xbf"))) /* a byte order mark, as some editors leave it */
        text = str_slice(text.p + 3, text.n - 3);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.n ? text.p : ""), text.n);
    struct yaml *root = read_document(&r);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    return root;
}

bool yaml_is_null(const struct yaml *node)
{
    return node->kind == YAML_SCALAR && node->plain &&
           (node->text.n == 0 || str_eq(node->text, STR("~")) || str_eq(node->text, STR("null")) ||
            str_eq(node->text, STR("Null")) || str_eq(node->text, STR("NULL")));
}
