/* params.c - the knobs inside `params`: checks what the client wrote and decides what changes. */
#include <math.h>
#include <stdlib.h>

#include "qdrant/scan.h"

const struct str knob_paths[KNOB_COUNT] = {
#define X(id, path, kind) {path, sizeof(path) - 1},
    KNOBS(X)
#undef X
};
static const enum knob_kind knob_kinds[KNOB_COUNT] = {
#define X(id, path, kind) kind,
    KNOBS(X)
#undef X
};

/* Where Qdrant takes null for "not set"; at the others it refuses null, and so must a rewritten body be. */
static const bool takes_null[KNOB_COUNT] = {
    [KNOB_HNSW_EF_] = true, [KNOB_RESCORE_] = true, [KNOB_OVERSAMPLING_] = true};

static const struct str group_prefix = {"quantization.", 13};

/* The keys of `params`, then those of `quantization`: the knobs in their order. */
enum { NAMES_MAX = KNOB_COUNT + 1 };
struct names {
    struct str key[NAMES_MAX];
    int knob[NAMES_MAX]; /* -1: the group */
    unsigned n;
};

static bool in_group(enum knob k)
{
    return str_starts(knob_paths[k], group_prefix);
}

static struct str knob_key(enum knob k)
{
    struct str path = knob_paths[k];
    return in_group(k) ? str_slice(path.p + group_prefix.n, path.n - group_prefix.n) : path;
}

static void names_of(bool group, struct names *names)
{
    names->n = 0;
    for (unsigned k = 0; k < KNOB_COUNT; k++) {
        if (in_group(k) != group)
            continue;
        names->key[names->n] = knob_key(k);
        names->knob[names->n++] = (int)k;
    }
    if (!group) {
        names->key[names->n] = str_slice(group_prefix.p, group_prefix.n - 1);
        names->knob[names->n++] = -1;
    }
}

/* ---- values ---- */

enum { EXACT_DIGITS = 15 }; /* decimal digits that a double holds whatever they are (DBL_DIG) */

/* NAN if the text is no number or longer than anyone writes one. */
static double number_of(struct str text)
{
    char copy[64];
    uint64_t whole;
    if (text.n <= EXACT_DIGITS && str_u64(text, UINT64_MAX, &whole)) /* nearly all; strtod takes 500 instructions */
        return (double)whole;
    if (!text.n || text.n >= sizeof copy)
        return NAN;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    return strtod(copy, NULL);
}

/* The text within the bounds: itself, min or max. */
static struct str bounded(const struct knob_rule *rule, enum knob_kind kind, struct str text)
{
    if (kind == KNOB_BOOL || (isnan(rule->min_value) && isnan(rule->max_value)))
        return text;
    double value = number_of(text);
    if (value < rule->min_value) { /* false for NAN */
        text = rule->min;
        value = rule->min_value;
    }
    return value > rule->max_value ? rule->max : text;
}

static bool same_value(enum knob_kind kind, struct str a, struct str b)
{
    return kind == KNOB_BOOL ? str_eq(a, b) : number_of(a) == number_of(b);
}

static bool value_fits(enum knob_kind kind, enum json_kind is, struct str value)
{
    switch (kind) {
    case KNOB_BOOL: return is == JSON_TRUE || is == JSON_FALSE;
    case KNOB_UINT: return is == JSON_NUMBER && json_is_uint(value);
    case KNOB_REAL: return is == JSON_NUMBER && isfinite(number_of(value));
    }
    return false;
}

/* ---- writing ---- */

static char *put(char *at, struct str s)
{
    memcpy(at, s.p, s.n);
    return at + s.n;
}

/* The members for the knobs in `mask` that have a wanted value, as `"a":1,"b":2`; those of the group lie in
 * an object of their own unless `inside` it. *n: how many. */
static struct str members(struct scan *s, unsigned mask, bool inside, unsigned *n)
{
    size_t room = group_prefix.n + 8;
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        room += knob_paths[k].n + s->wanted[k].n + 4;
    char *text = arena_alloc(s->arena, room), *at = text;
    bool open = false, comma = false;
    *n = 0;
    for (unsigned k = 0; k < KNOB_COUNT; k++) {
        if (!(mask & 1u << k) || !s->wanted[k].n)
            continue;
        bool grouped = !inside && in_group(k);
        if (open && !grouped) {
            *at++ = '}';
            open = false;
        }
        if (comma)
            *at++ = ',';
        if (grouped && !open) {
            at = put(at, STR("\"quantization\":{"));
            open = true;
        }
        *at++ = '"';
        at = put(at, knob_key(k));
        at = put(at, STR("\":"));
        at = put(at, s->wanted[k]);
        comma = true;
        ++*n;
    }
    if (open)
        *at++ = '}';
    return str_slice(text, (size_t)(at - text));
}

static struct str joined(struct scan *s, struct str head, struct str middle, struct str tail)
{
    char *text = arena_alloc(s->arena, head.n + middle.n + tail.n);
    put(put(put(text, head), middle), tail);
    return str_slice(text, head.n + middle.n + tail.n);
}

void params_prepare(struct scan *s)
{
    for (unsigned k = 0; k < KNOB_COUNT; k++) {
        const struct knob_rule *rule = &s->rules->knob[k];
        struct str text = rule->force.n ? rule->force : rule->set_default;
        s->wanted[k] = text.n ? bounded(rule, knob_kinds[k], text) : STR_NONE;
        s->wanted_mask |= s->wanted[k].n ? 1u << k : 0;
    }
    s->whole = members(s, ~0u, false, &s->n_whole);
    s->member[0] = joined(s, STR("\"params\":{"), s->whole, STR("}"));
    s->member[1] = joined(s, STR("\"params\":{"), s->whole, STR("},"));
}

/* The first node will have these. */
static void note_knobs(struct scan *s, unsigned mask)
{
    if (s->node == 1)
        s->out->knobs |= mask;
}

void params_absent(struct scan *s, unsigned slot, size_t at, bool node_is_empty)
{
    if (!s->rewrites || !s->whole.n)
        return;
    edit_set(s, slot, at, 0, s->member[!node_is_empty]);
    s->out->n_changed += s->n_whole;
    note_knobs(s, s->wanted_mask);
}

/* Adds what is missing behind the '{' that ends at `at`. */
static void insert_missing(struct scan *s, unsigned slot, size_t at, bool is_empty, unsigned missing,
                           bool inside)
{
    unsigned n;
    struct str text = members(s, missing, inside, &n);
    if (!n)
        return;
    edit_set(s, slot, at, 0, is_empty ? text : joined(s, text, STR(","), STR("")));
    s->out->n_changed += n;
    note_knobs(s, missing & s->wanted_mask);
}

/* Puts an object with the knobs in `mask` where null stands. */
static void replace_null(struct scan *s, struct str null_text, unsigned mask, bool inside)
{
    unsigned n;
    if (!s->rewrites)
        return;
    struct str text = members(s, mask, inside, &n);
    if (!n)
        return;
    edit_set(s, edit_slot(s), (size_t)(null_text.p - s->body.p), null_text.n,
             joined(s, STR("{"), text, STR("}")));
    s->out->n_changed += n;
    note_knobs(s, mask & s->wanted_mask);
}

/* ---- reading ---- */

static bool knob_read(struct scan *s, struct json *j, enum knob k)
{
    struct str value, text = STR_NONE;
    enum json_kind is = json_peek(j);
    if (!json_skip(j, 0, &value))
        return scan_fail(s, "a search parameter is neither a number nor true or false");
    if (is == JSON_NULL && takes_null[k])
        text = s->rewrites ? s->wanted[k] : STR_NONE;
    else if (!value_fits(knob_kinds[k], is, value))
        return scan_fail(s, "a search parameter has a value of the wrong type");
    else if (s->rewrites && s->rules->knob[k].force.n)
        text = s->wanted[k];
    else if (s->rewrites)
        text = bounded(&s->rules->knob[k], knob_kinds[k], value);
    note_knobs(s, is != JSON_NULL || text.n ? 1u << k : 0);
    if (!text.n || (is != JSON_NULL && same_value(knob_kinds[k], text, value)))
        return true;
    edit_set(s, edit_slot(s), (size_t)(value.p - s->body.p), value.n, text);
    s->out->n_changed++;
    return true;
}

static unsigned group_mask(void)
{
    unsigned mask = 0;
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        mask |= in_group(k) ? 1u << k : 0;
    return mask;
}

static bool group_read(struct scan *s, struct json *j, unsigned open);

/* The members of `params`, or of `quantization` inside it; j is on the '{'. */
static bool object_read(struct scan *s, struct json *j, unsigned open, bool group)
{
    struct names names;
    names_of(group, &names);
    struct str key, value;
    bool first = true, escaped, bad = false, ok = true;
    unsigned seen = 0, missing = group ? group_mask() : ~0u, slot = s->rewrites ? edit_slot(s) : 0;
    if (open >= QUERY_DEPTH_MAX)
        return scan_fail(s, "nested deeper than 64");
    json_enter(j, '{');
    size_t at = (size_t)(j->at - s->body.p);
    while (json_key(j, &first, &key, &escaped, &bad)) {
        int row = scan_key(s, names.key, names.n, key, escaped, &seen, &ok);
        if (!ok)
            return false;
        if (row < 0) {
            note_knobs(s, 1u << KNOB_COUNT);
            if (!json_skip(j, QUERY_DEPTH_MAX - open - 1, &value))
                return scan_fail(s, "not JSON, or nested deeper than 64");
        } else if (names.knob[row] < 0) {
            missing &= ~group_mask();
            if (!group_read(s, j, open + 1))
                return false;
        } else {
            missing &= ~(1u << names.knob[row]);
            if (!knob_read(s, j, (enum knob)names.knob[row]))
                return false;
        }
    }
    if (bad)
        return scan_fail(s, "not JSON");
    if (s->rewrites)
        insert_missing(s, slot, at, first, missing, group);
    return true;
}

/* null, or an object; everything else is for Qdrant to decide. */
static bool object_or_null(struct scan *s, struct json *j, unsigned open, bool group)
{
    struct str value;
    enum json_kind is = json_peek(j);
    if (is == JSON_OBJECT)
        return object_read(s, j, open, group);
    if (is != JSON_NULL || !json_skip(j, 0, &value))
        return scan_fail(s, group ? "`quantization` is neither an object nor null"
                                  : "`params` is neither an object nor null");
    replace_null(s, value, group ? group_mask() : ~0u, group);
    return true;
}

static bool group_read(struct scan *s, struct json *j, unsigned open)
{
    return object_or_null(s, j, open, true);
}

bool params_read(struct scan *s, struct json *j, unsigned open)
{
    return object_or_null(s, j, open, false);
}
