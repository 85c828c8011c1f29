#include "qdrant/filter.h"

enum {
    PIECES_MAX = 12, /* members of one object; more are all one `?` */
    NAME_MAX_BYTES = 64,
};

/* Where in a filter one is; bits, for a word may stand in several places. */
enum place {
    FILTER = 1,
    CONDITION = 2,
    MATCH = 4,
    RANGE = 8,
    GEO = 16,
    FIELD = 32,
    NESTED = 64,
    MIN_SHOULD = 128,
};

enum takes {
    VALUE,   /* erased */
    NAME,    /* the name of a payload field: kept */
    LIST,    /* conditions: word[a, b] */
    GROUP,   /* an object whose members stand together: word[a b] */
    MEMBERS, /* an object whose members stand alone: word.a word.b */
};

/* The words of Qdrant's filters, in the order in which a shape has them. */
static const struct word {
    struct str text;
    unsigned where;
    enum takes takes;
    enum place inside;
} words[] = {
#define WORD(text, where, takes, inside) {{text, sizeof(text) - 1}, where, takes, inside}
    WORD("key", CONDITION | FIELD | NESTED, NAME, 0),
    WORD("match", CONDITION, MEMBERS, MATCH),
    WORD("value", MATCH, VALUE, 0),
    WORD("any", MATCH, VALUE, 0),
    WORD("except", MATCH, VALUE, 0),
    WORD("text", MATCH, VALUE, 0),
    WORD("text_any", MATCH, VALUE, 0),
    WORD("phrase", MATCH, VALUE, 0),
    WORD("range", CONDITION, MEMBERS, RANGE),
    WORD("gt", RANGE, VALUE, 0),
    WORD("gte", RANGE, VALUE, 0),
    WORD("lt", RANGE, VALUE, 0),
    WORD("lte", RANGE, VALUE, 0),
    WORD("has_id", CONDITION, VALUE, 0),
    WORD("has_vector", CONDITION, VALUE, 0),
    WORD("is_empty", CONDITION, MEMBERS, FIELD),
    WORD("is_null", CONDITION, MEMBERS, FIELD),
    WORD("values_count", CONDITION, MEMBERS, RANGE),
    WORD("geo_bounding_box", CONDITION, MEMBERS, GEO),
    WORD("geo_radius", CONDITION, MEMBERS, GEO),
    WORD("geo_polygon", CONDITION, MEMBERS, GEO),
    WORD("center", GEO, VALUE, 0),
    WORD("radius", GEO, VALUE, 0),
    WORD("top_left", GEO, VALUE, 0),
    WORD("bottom_right", GEO, VALUE, 0),
    WORD("exterior", GEO, VALUE, 0),
    WORD("interiors", GEO, VALUE, 0),
    WORD("nested", CONDITION, GROUP, NESTED),
    WORD("filter", NESTED, GROUP, FILTER),
    WORD("must", FILTER | CONDITION, LIST, CONDITION),
    WORD("should", FILTER | CONDITION, LIST, CONDITION),
    WORD("must_not", FILTER | CONDITION, LIST, CONDITION),
    WORD("min_should", FILTER | CONDITION, GROUP, MIN_SHOULD),
    WORD("conditions", MIN_SHOULD, LIST, CONDITION),
    WORD("min_count", MIN_SHOULD, VALUE, 0),
#undef WORD
};
enum { WORDS = sizeof words / sizeof *words };

/* ---- text ---- */

static void put(struct filter_shape *out, struct str s)
{
    size_t room = FILTER_SHAPE_MAX - sizeof "..." + 1;
    if (!out->cut && s.n > room - out->n) {
        memcpy(out->text + out->n, "...", 3);
        out->n += 3;
        out->cut = true;
    }
    if (out->cut)
        return;
    memcpy(out->text + out->n, s.p, s.n);
    out->n += s.n;
}

/* The name of a payload field, or `?`: a text with blanks or signs, or without a letter, is likely a value at the wrong place.
 * name: between quotes. */
static void put_name(struct filter_shape *out, struct str name)
{
    bool fits = name.n <= NAME_MAX_BYTES, any_letter = false;
    for (size_t i = 0; fits && i < name.n;) {
        unsigned char c = (unsigned char)name.p[i];
        unsigned n = utf8_length(name.p + i, name.n - i);
        bool letter = n > 1 || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        fits = letter || (c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.' || c == '[' || c == ']';
        any_letter = any_letter || letter;
        i += n;
    }
    put(out, fits && any_letter ? name : STR("?"));
}

/* ---- reading: false means that the text is not JSON, or too deep ---- */

static unsigned word_find(struct str text, enum place place)
{
    unsigned i = 0;
    while (i < WORDS && !(words[i].where & place && str_eq(words[i].text, text)))
        i++;
    return i;
}

static bool read_members(struct json *j, unsigned depth, enum place place, struct str before, struct filter_shape *out);

/* One condition, or a list of them: in both cases what stands between the brackets. */
static bool read_conditions(struct json *j, unsigned depth, enum place place, struct filter_shape *out)
{
    bool first = true, bad = false, any = false;
    size_t last = 0, n_last = 0;
    struct str value;
    if (json_peek(j) == JSON_OBJECT)
        return read_members(j, depth, place, STR(""), out);
    if (!depth || !json_enter(j, '['))
        return false;
    while (json_item(j, &first, &bad)) {
        size_t before = out->n;
        if (any)
            put(out, STR(", "));
        size_t at = out->n;
        bool object = json_peek(j) == JSON_OBJECT;
        if (!object)
            put(out, STR("?"));
        if (!(object ? read_members(j, depth - 1, place, STR(""), out) : json_skip(j, depth - 1, &value)))
            return false;
        if (out->cut)
            continue;
        if (any && out->n - at == n_last && memcmp(out->text + at, out->text + last, n_last) == 0) {
            out->n = before;
            continue;
        }
        any = true;
        last = at;
        n_last = out->n - at;
    }
    return !bad;
}

static void put_word(struct filter_shape *out, struct str before, struct str text)
{
    if (before.n) {
        put(out, before);
        put(out, STR("."));
    }
    put(out, text);
}

static bool read_value(struct json *j, unsigned depth, const struct word *w, struct str before, struct filter_shape *out)
{
    enum json_kind is = json_peek(j);
    struct str value;
    if (w->takes == MEMBERS && is == JSON_OBJECT)
        return read_members(j, depth, w->inside, w->text, out);
    put_word(out, before, w->text);
    if ((w->takes == LIST && (is == JSON_ARRAY || is == JSON_OBJECT)) || (w->takes == GROUP && is == JSON_OBJECT)) {
        put(out, STR("["));
        if (!read_conditions(j, depth, w->inside, out))
            return false;
        put(out, STR("]"));
        return true;
    }
    if (!json_skip(j, depth, &value))
        return false;
    if (w->takes == NAME) {
        put(out, STR("="));
        put_name(out, is == JSON_STRING ? str_slice(value.p + 1, value.n - 2) : STR_NONE);
    }
    return true;
}

struct piece {
    unsigned row;      /* of words; WORDS: `?` */
    unsigned short at, n;
};

/* Puts the n pieces, which stand one behind the other with a blank between, in the order of their rows. */
static void sort_pieces(struct filter_shape *out, struct piece *piece, unsigned n)
{
    char copy[FILTER_SHAPE_MAX];
    size_t begin = piece[0].at, at = begin;
    memcpy(copy, out->text + begin, out->n - begin);
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = i; k > 0 && piece[k - 1].row > piece[k].row; k--) {
            struct piece swap = piece[k];
            piece[k] = piece[k - 1];
            piece[k - 1] = swap;
        }
    for (unsigned i = 0; i < n; i++) {
        if (i)
            out->text[at++] = ' ';
        memcpy(out->text + at, copy + (piece[i].at - begin), piece[i].n);
        at += piece[i].n;
    }
}

/* An object's members; `before` stands in front of each, with a dot. */
static bool read_members(struct json *j, unsigned depth, enum place place, struct str before, struct filter_shape *out)
{
    struct piece piece[PIECES_MAX];
    struct str key, value;
    bool first = true, escaped, bad = false, sorted = true, unknown = false;
    unsigned n = 0;
    if (!depth || !json_enter(j, '{'))
        return false;
    while (json_key(j, &first, &key, &escaped, &bad)) {
        unsigned row = escaped || n >= PIECES_MAX - 1 ? WORDS : word_find(key, place);
        if (json_peek(j) == JSON_NULL || out->cut || (row == WORDS && unknown)) {
            if (!json_skip(j, depth - 1, &value))
                return false;
            continue;
        }
        if (n)
            put(out, STR(" "));
        size_t at = out->n;
        if (row < WORDS) {
            if (!read_value(j, depth - 1, &words[row], before, out))
                return false;
        } else {
            unknown = true;
            put_word(out, before, STR("?"));
            if (!json_skip(j, depth - 1, &value))
                return false;
        }
        sorted = sorted && (!n || piece[n - 1].row <= row);
        piece[n++] = (struct piece){row, (unsigned short)at, (unsigned short)(out->n - at)};
    }
    if (!n && before.n)
        put(out, before);
    if (!sorted && !out->cut)
        sort_pieces(out, piece, n);
    return !bad;
}

bool filter_read(struct json *j, unsigned depth_max, struct filter_shape *out)
{
    struct json begin = *j;
    struct str value;
    enum json_kind is = json_peek(j);
    if (is == JSON_NULL || out->cut)
        return json_skip(j, depth_max, &value);
    size_t before = out->n;
    if (before)
        put(out, STR("; "));
    size_t at = out->n;
    if (is != JSON_OBJECT || !read_members(j, depth_max, FILTER, STR(""), out)) {
        *j = begin;
        if (!out->cut)
            out->n = at;
        put(out, STR("?"));
        if (!json_skip(j, depth_max, &value))
            return false;
    }
    if (out->cut)
        return true;
    size_t n = out->n - at, n_last = before - out->last;
    if (n == 0 || (before && n == n_last && memcmp(out->text + at, out->text + out->last, n) == 0))
        out->n = before;
    else
        out->last = at;
    return true;
}
