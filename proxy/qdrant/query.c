#include "qdrant/query.h"

#include <ctype.h>

#include "base/json_scan.h"
#include "qdrant/scan.h"

enum {
    NODES_MAX = 65536,     /* a body of `{},{},...` would cost many times its size in edits */
    LOOKUPS_MAX = 64,      /* distinct other collections */
    KEY_MAX_BYTES = 16,    /* no name of interest is longer; each byte is six when written with escapes */
    NAME_MAX_BYTES = 1530, /* a collection's name has 255 bytes at most, each six when written with escapes */
};

bool scan_fail(struct scan *s, const char *why)
{
    s->out->why = why;
    return false;
}

static bool fail_syntax(struct scan *s)
{
    return scan_fail(s, "not JSON, or nested deeper than 64");
}

static void mark_uncacheable(struct scan *s, const char *why)
{
    if (!s->out->uncacheable)
        s->out->why = why;
    s->out->uncacheable = true;
}

/* ---- keys ---- */

static int name_find(const struct str *names, unsigned n, struct str key)
{
    for (unsigned i = 0; i < n; i++)
        if (str_eq(names[i], key))
            return (int)i;
    return -1;
}

/* Whether a key written with escapes stands for one of the names. A malformed one stands for nothing: Qdrant
 * refuses the body. */
static bool escaped_key_is(const struct str *names, unsigned n, struct str key)
{
    char text[6 * KEY_MAX_BYTES + 2];
    size_t length;
    if (key.n > 6 * KEY_MAX_BYTES || !json_unescape(str_slice(key.p - 1, key.n + 2), text, &length))
        return false;
    return name_find(names, n, str_slice(text, length)) >= 0;
}

int scan_key(struct scan *s, const struct str *names, unsigned n, struct str key, bool escaped,
             unsigned *seen, bool *ok)
{
    if (escaped) {
        *ok = !escaped_key_is(names, n, key) || scan_fail(s, "a key that matters is written with escapes");
        return -1;
    }
    int row = name_find(names, n, key);
    if (row < 0)
        return -1;
    *ok = !(*seen & 1u << row) || scan_fail(s, "a key that matters is there twice");
    *seen |= 1u << row;
    return row;
}

/* ---- edits ---- */

unsigned edit_slot(struct scan *s)
{
    struct query_facts *out = s->out;
    if (out->n_edits == s->edits_max) {
        s->edits_max = s->edits_max ? 2 * s->edits_max : 16;
        struct edit *more = arena_alloc(s->arena, s->edits_max * sizeof *more);
        if (out->n_edits)
            memcpy(more, out->edit, out->n_edits * sizeof *more);
        out->edit = more;
    }
    out->edit[out->n_edits] = (struct edit){.text = STR_NONE};
    return out->n_edits++;
}

void edit_set(struct scan *s, unsigned slot, size_t at, size_t cut, struct str text)
{
    s->out->edit[slot] = (struct edit){at, cut, text};
}

static void drop_unused_slots(struct query_facts *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < out->n_edits; i++)
        if (out->edit[i].text.n)
            out->edit[n++] = out->edit[i];
    out->n_edits = n;
}

/* The bytes [from, to) of the body with the edits that lie in there. */
static struct str edited_range(struct arena *a, struct str body, const struct query_facts *q, size_t from,
                               size_t to)
{
    size_t room = to - from, n = 0, at = from;
    for (unsigned i = 0; i < q->n_edits; i++)
        room += q->edit[i].at >= from && q->edit[i].at < to ? q->edit[i].text.n : 0;
    char *out = arena_alloc(a, room);
    for (unsigned i = 0; i < q->n_edits; i++) {
        const struct edit *e = &q->edit[i];
        if (e->at < from || e->at >= to)
            continue;
        memcpy(out + n, body.p + at, e->at - at);
        n += e->at - at;
        memcpy(out + n, e->text.p, e->text.n);
        n += e->text.n;
        at = e->at + e->cut;
    }
    memcpy(out + n, body.p + at, to - at);
    return str_slice(out, n + to - at);
}

struct str query_edited(struct arena *a, struct str body, const struct query_facts *q)
{
    return q->n_edits ? edited_range(a, body, q, 0, body.n) : body;
}

/* ---- other collections ---- */

/* text: a string with its quotes. */
static bool lookup_add(struct scan *s, struct str text)
{
    struct query_facts *out = s->out;
    if (text.n > NAME_MAX_BYTES)
        return scan_fail(s, "the name of a looked-up collection is too long");
    char *name = arena_alloc(s->arena, text.n);
    size_t n;
    if (!json_unescape(text, name, &n))
        return scan_fail(s, "the name of a looked-up collection is malformed");
    if (name_find(out->lookup, out->n_lookups, str_slice(name, n)) >= 0)
        return true;
    if (out->n_lookups == LOOKUPS_MAX)
        return scan_fail(s, "too many looked-up collections");
    if (!out->lookup)
        out->lookup = arena_alloc(s->arena, LOOKUPS_MAX * sizeof *out->lookup);
    out->lookup[out->n_lookups++] = str_slice(name, n);
    return true;
}

static bool lookup_name(struct scan *s, struct json *j)
{
    struct str text;
    if (json_peek(j) != JSON_STRING || !json_skip(j, 0, &text))
        return scan_fail(s, "a looked-up collection is not named by a string");
    return lookup_add(s, text);
}

static bool lookup_object(struct scan *s, struct json *j, unsigned open)
{
    static const struct str names[] = {{"collection", 10}};
    struct str key, value;
    bool first = true, escaped, bad = false, ok = true;
    unsigned seen = 0;
    if (open >= QUERY_DEPTH_MAX)
        return fail_syntax(s);
    json_enter(j, '{');
    while (json_key(j, &first, &key, &escaped, &bad)) {
        int row = scan_key(s, names, 1, key, escaped, &seen, &ok);
        if (!ok)
            return false;
        if (row >= 0) {
            if (!lookup_name(s, j))
                return false;
        } else if (!json_skip(j, QUERY_DEPTH_MAX - open - 1, &value)) {
            return fail_syntax(s);
        }
    }
    return !bad || fail_syntax(s);
}

static bool read_lookup(struct scan *s, struct json *j, unsigned open, bool name_alone)
{
    struct str value;
    switch (json_peek(j)) {
    case JSON_OBJECT: return lookup_object(s, j, open);
    case JSON_NULL: return json_skip(j, 0, &value) || fail_syntax(s);
    case JSON_STRING:
        if (name_alone)
            return lookup_name(s, j);
        /* fall through */
    default: return scan_fail(s, "a lookup is neither an object nor null");
    }
}

static bool read_lookup_from(struct scan *s, struct json *j, unsigned open)
{
    return read_lookup(s, j, open, false);
}

static bool read_with_lookup(struct scan *s, struct json *j, unsigned open)
{
    return read_lookup(s, j, open, true);
}

/* ---- inputs whose answer is not a function of the body: inference and random samples ---- */

static const struct str input_names[] = {
    {"text", 4}, {"image", 5}, {"object", 6}, {"model", 5}, {"sample", 6}};
enum { INPUT_DATA = 1 | 2 | 4, INPUT_MODEL = 8, INPUT_SAMPLE = 16, N_INPUT_NAMES = 5 };

static const char input_for_a_model[] = "an input for a model (text, image or object)";

/* Where a value stands tells what a string in an array is there. */
enum place {
    PLACE_QUERY,   /* the query itself: like an input, and the only place of `sample` */
    PLACE_INPUT,   /* below it: Qdrant's parser takes ["a text", "a model"] for an input, its fields in order */
    PLACE_IDS,     /* examples: each may be a point's id */
    PLACE_FORMULA, /* all of a formula: its arrays hold names of variables, its filters values */
};

static enum place place_of(enum place parent, struct str key, bool escaped)
{
    static const struct str ids[] = {{"positive", 8}, {"negative", 8}},
                            formula[] = {{"formula", 7}, {"defaults", 8}};
    if (parent == PLACE_FORMULA || (parent == PLACE_QUERY && !escaped && name_find(formula, 2, key) >= 0))
        return PLACE_FORMULA;
    return !escaped && name_find(ids, 2, key) >= 0 ? PLACE_IDS : PLACE_INPUT;
}

/* text: a string with its quotes. The two forms of a UUID that anybody writes. */
static bool is_uuid(struct str text)
{
    unsigned n_digits = 0;
    bool hyphens = text.n == 38;
    for (size_t i = 1; i + 1 < text.n; i++) {
        bool hyphen = hyphens && (i == 9 || i == 14 || i == 19 || i == 24);
        if (hyphen ? text.p[i] != '-' : !isxdigit((unsigned char)text.p[i]))
            return false;
        n_digits += !hyphen;
    }
    return n_digits == 32;
}

static bool walk(struct scan *s, struct json *j, unsigned open, enum place place);

static bool walk_object(struct scan *s, struct json *j, unsigned open, enum place place)
{
    struct str key;
    bool first = true, escaped, bad = false;
    unsigned seen = 0;
    json_enter(j, '{');
    while (json_key(j, &first, &key, &escaped, &bad)) {
        if (escaped && escaped_key_is(input_names, N_INPUT_NAMES, key))
            return scan_fail(s, "a key that matters is written with escapes");
        int row = escaped ? -1 : name_find(input_names, N_INPUT_NAMES, key);
        seen |= row >= 0 ? 1u << row : 0;
        if (!walk(s, j, open + 1, place_of(place, key, escaped)))
            return false;
    }
    if (bad)
        return fail_syntax(s);
    if (seen & INPUT_DATA && seen & INPUT_MODEL)
        mark_uncacheable(s, input_for_a_model);
    if (seen & INPUT_SAMPLE && place == PLACE_QUERY)
        mark_uncacheable(s, "a random sample");
    return true;
}

static bool walk_array(struct scan *s, struct json *j, unsigned open, enum place place)
{
    bool first = true, bad = false;
    struct str value;
    if (json_skip_flat(j, &value))
        return true;
    json_enter(j, '[');
    while (json_item(j, &first, &bad)) {
        bool is_string = json_peek(j) == JSON_STRING;
        const char *begin = j->at;
        if (!walk(s, j, open + 1, place == PLACE_FORMULA ? PLACE_FORMULA : PLACE_INPUT))
            return false;
        if (is_string && place != PLACE_FORMULA &&
            (place != PLACE_IDS || !is_uuid(str_slice(begin, (size_t)(j->at - begin)))))
            mark_uncacheable(s, input_for_a_model);
    }
    return !bad || fail_syntax(s);
}

static bool walk(struct scan *s, struct json *j, unsigned open, enum place place)
{
    struct str value;
    enum json_kind is = json_peek(j);
    if (is != JSON_OBJECT && is != JSON_ARRAY)
        return json_skip(j, 0, &value) || fail_syntax(s);
    if (open >= QUERY_DEPTH_MAX)
        return fail_syntax(s);
    return is == JSON_OBJECT ? walk_object(s, j, open, place) : walk_array(s, j, open, place);
}

static bool read_example(struct scan *s, struct json *j, unsigned open)
{
    return walk(s, j, open, PLACE_INPUT);
}

static bool read_examples(struct scan *s, struct json *j, unsigned open)
{
    return walk(s, j, open, PLACE_IDS);
}

static bool read_query(struct scan *s, struct json *j, unsigned open)
{
    return walk(s, j, open, PLACE_QUERY);
}

/* ---- values that do not matter, but where the filters are ---- */

static bool skip_value(struct scan *s, struct json *j, struct str key, unsigned open)
{
    static const struct str filter = {"filter", 6};
    struct query_facts *out = s->out;
    enum json_kind is = json_peek(j);
    struct str value;
    if (!json_skip(j, QUERY_DEPTH_MAX - open, &value))
        return false;
    if (str_eq(key, filter) && is != JSON_NULL && out->n_filters < QUERY_FILTERS_MAX)
        out->filter[out->n_filters++] = value;
    return true;
}

/* ---- nodes: objects that take `params` ---- */

struct shape {
    const struct str *names;
    bool (*const *read)(struct scan *, struct json *, unsigned open);
    unsigned n;
};

static bool read_prefetch(struct scan *s, struct json *j, unsigned open);
static bool read_params(struct scan *s, struct json *j, unsigned open);

/* A row per key that matters; the first is `params` in both. What an endpoint does not know it ignores, and
 * so may we. */
#define SEARCH_KEYS(X)                 \
    X("params", read_params)           \
    X("lookup_from", read_lookup_from) \
    X("with_lookup", read_with_lookup) \
    X("vector", read_example)          \
    X("target", read_example)          \
    X("positive", read_examples)       \
    X("negative", read_examples)       \
    X("context", read_example)
#define QUERY_KEYS(X)                  \
    X("params", read_params)           \
    X("prefetch", read_prefetch)       \
    X("query", read_query)             \
    X("lookup_from", read_lookup_from) \
    X("with_lookup", read_with_lookup)
#define NAME(key, read) {key, sizeof(key) - 1},
#define READ(key, read) read,
static const struct str search_names[] = {SEARCH_KEYS(NAME)}, query_names[] = {QUERY_KEYS(NAME)};
static bool (*const search_reads[])(struct scan *, struct json *, unsigned) = {SEARCH_KEYS(READ)};
static bool (*const query_reads[])(struct scan *, struct json *, unsigned) = {QUERY_KEYS(READ)};
#undef NAME
#undef READ
static const struct shape search_shape = {search_names, search_reads,
                                          sizeof search_names / sizeof *search_names};
static const struct shape query_shape = {query_names, query_reads, sizeof query_names / sizeof *query_names};

static bool read_params(struct scan *s, struct json *j, unsigned open)
{
    json_peek(j);
    const char *begin = j->at;
    if (!params_read(s, j, open))
        return false;
    if (s->node == 1)
        s->first_params = str_slice(begin, (size_t)(j->at - begin));
    return true;
}

static bool read_node(struct scan *s, struct json *j, unsigned open, const struct shape *shape)
{
    struct str key;
    bool first = true, escaped, bad = false, ok = true;
    unsigned seen = 0, slot = s->rewrites ? edit_slot(s) : 0;
    if (json_peek(j) != JSON_OBJECT)
        return scan_fail(s, "not an object where a search belongs");
    if (open >= QUERY_DEPTH_MAX)
        return fail_syntax(s);
    unsigned self = ++s->out->n_nodes;
    if (self > NODES_MAX)
        return scan_fail(s, "too many searches in one body");
    json_enter(j, '{');
    size_t at = (size_t)(j->at - s->body.p);
    while (json_key(j, &first, &key, &escaped, &bad)) {
        int row = scan_key(s, shape->names, shape->n, key, escaped, &seen, &ok);
        if (!ok)
            return false;
        s->node = self;
        if (row >= 0) {
            if (!shape->read[row](s, j, open + 1))
                return false;
        } else if (!skip_value(s, j, key, open + 1)) {
            return fail_syntax(s);
        }
    }
    if (bad)
        return fail_syntax(s);
    s->node = self;
    if (!(seen & 1))
        params_absent(s, slot, at, first);
    return true;
}

static bool read_nodes(struct scan *s, struct json *j, unsigned open, const struct shape *shape)
{
    bool first = true, bad = false;
    if (open >= QUERY_DEPTH_MAX || !json_enter(j, '['))
        return fail_syntax(s);
    while (json_item(j, &first, &bad))
        if (!read_node(s, j, open + 1, shape))
            return false;
    return !bad || fail_syntax(s);
}

static bool read_prefetch(struct scan *s, struct json *j, unsigned open)
{
    struct str value;
    switch (json_peek(j)) {
    case JSON_OBJECT: return read_node(s, j, open, &query_shape);
    case JSON_ARRAY: return read_nodes(s, j, open, &query_shape);
    case JSON_NULL: return json_skip(j, 0, &value) || fail_syntax(s);
    default: return scan_fail(s, "`prefetch` is neither an object, an array nor null");
    }
}

static bool read_batch(struct scan *s, struct json *j, const struct shape *shape)
{
    static const struct str names[] = {{"searches", 8}};
    struct str key, value;
    bool first = true, escaped, bad = false, ok = true;
    unsigned seen = 0;
    if (!json_enter(j, '{'))
        return scan_fail(s, "not an object");
    while (json_key(j, &first, &key, &escaped, &bad)) {
        int row = scan_key(s, names, 1, key, escaped, &seen, &ok);
        if (!ok)
            return false;
        if (row < 0 && !json_skip(j, QUERY_DEPTH_MAX - 1, &value))
            return fail_syntax(s);
        if (row < 0)
            continue;
        if (json_peek(j) != JSON_ARRAY)
            return scan_fail(s, "`searches` is not an array");
        if (!read_nodes(s, j, 1, shape))
            return false;
    }
    return !bad || fail_syntax(s);
}

/* False: not JSON, member by member. */
static bool read_plain_members(struct scan *s, struct json *j)
{
    struct str key;
    bool first = true, escaped, bad = false;
    json_enter(j, '{');
    while (json_key(j, &first, &key, &escaped, &bad))
        if (!skip_value(s, j, key, 1))
            return false;
    return !bad;
}

/* Nothing of it matters but its brackets; a body that is wrong inside is passed on as well. */
static bool read_plain(struct scan *s, struct json *j)
{
    struct json begin = *j;
    struct str value;
    if (json_peek(j) != JSON_OBJECT)
        return scan_fail(s, "not an object");
    if (read_plain_members(s, j))
        return true;
    *j = begin;
    s->out->n_filters = 0;
    return json_skip(j, QUERY_DEPTH_MAX, &value) || fail_syntax(s);
}

static bool read_body(struct scan *s, struct json *j, enum op_body body)
{
    switch (body) {
    case BODY_NONE: return true; /* nothing may follow: json_at_end */
    case BODY_SEARCH: return read_node(s, j, 0, &search_shape);
    case BODY_SEARCH_BATCH: return read_batch(s, j, &search_shape);
    case BODY_QUERY: return read_node(s, j, 0, &query_shape);
    case BODY_QUERY_BATCH: return read_batch(s, j, &query_shape);
    case BODY_PLAIN_READ: return read_plain(s, j);
    case BODY_OPAQUE: break;
    }
    return scan_fail(s, "not a body that is scanned");
}

static void note_first_params(struct scan *s)
{
    struct query_facts *out = s->out;
    out->params_before = s->first_params;
    if (s->first_params.p) {
        size_t from = (size_t)(s->first_params.p - s->body.p);
        out->params_after = edited_range(s->arena, s->body, out, from, from + s->first_params.n);
    } else if (out->n_nodes && s->rewrites && s->whole.n) {
        struct str member = s->member[0];
        size_t head = sizeof "\"params\":" - 1;
        out->params_after = str_slice(member.p + head, member.n - head);
    }
}

void query_scan(struct arena *a, const struct op *op, struct str body, const struct rewrite_rules *rules,
                struct query_facts *out)
{
    *out = (struct query_facts){0};
    struct scan s = {.arena = a, .body = body, .rules = rules, .out = out};
    s.rewrites = rules && rules->any && op->flags & OP_PARAMS;
    if (s.rewrites)
        params_prepare(&s);
    struct json j = {body.p, body.p + body.n};
    bool ok = read_body(&s, &j, op->body);
    if (ok && !json_at_end(&j))
        ok = scan_fail(&s, "more text behind the body's value");
    if (!ok) { /* why stays */
        *out = (struct query_facts){.uncacheable = true, .why = out->why};
        return;
    }
    out->known = true;
    drop_unused_slots(out);
    note_first_params(&s);
}
