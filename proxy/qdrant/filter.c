#include "qdrant/filter.h"

#include "base/json_scan.h"

enum {
    PIECES_MAX = 12, /* members of one object; more are all one `?` */
    NAME_MAX_BYTES = 64,
    DEPTH_MAX = 64,
};

/* Where in a filter one is. */
enum place { FILTER, CONDITION, MATCH, RANGE, GEO, FIELD, NESTED, MIN_SHOULD, PLACES };

enum takes {
    VALUE,   /* erased */
    NAME,    /* the name of a payload field: kept */
    LIST,    /* conditions: word[a, b] */
    GROUP,   /* an object whose members stand together: word[a b] */
    MEMBERS, /* an object whose members stand alone: word.a word.b */
};

/* The words that Qdrant's filters have in a place, in the order in which a shape has them. */
struct word {
    struct str text;
    enum takes takes;
    enum place inside;
};
#define WORD(text, takes, inside) {{text, sizeof(text) - 1}, takes, inside}
#define FILTER_WORDS \
    WORD("must", LIST, CONDITION), WORD("should", LIST, CONDITION), WORD("must_not", LIST, CONDITION), WORD("min_should", GROUP, MIN_SHOULD)
static const struct word filter_words[] = {FILTER_WORDS};
static const struct word condition_words[] = {
    WORD("key", NAME, 0),
    WORD("match", MEMBERS, MATCH),
    WORD("range", MEMBERS, RANGE),
    WORD("has_id", VALUE, 0),
    WORD("has_vector", VALUE, 0),
    WORD("slice", VALUE, 0),
    WORD("is_empty", MEMBERS, FIELD),
    WORD("is_null", MEMBERS, FIELD),
    WORD("values_count", MEMBERS, RANGE),
    WORD("geo_bounding_box", MEMBERS, GEO),
    WORD("geo_radius", MEMBERS, GEO),
    WORD("geo_polygon", MEMBERS, GEO),
    WORD("nested", GROUP, NESTED),
    FILTER_WORDS,
};
static const struct word match_words[] = {WORD("value", VALUE, 0),    WORD("any", VALUE, 0),    WORD("except", VALUE, 0),
                                          WORD("text", VALUE, 0), WORD("text_any", VALUE, 0), WORD("phrase", VALUE, 0),
                                          WORD("prefix", VALUE, 0)};
static const struct word range_words[] = {WORD("gt", VALUE, 0), WORD("gte", VALUE, 0), WORD("lt", VALUE, 0), WORD("lte", VALUE, 0)};
static const struct word geo_words[] = {WORD("center", VALUE, 0),       WORD("radius", VALUE, 0),   WORD("top_left", VALUE, 0),
                                        WORD("bottom_right", VALUE, 0), WORD("exterior", VALUE, 0), WORD("interiors", VALUE, 0)};
static const struct word field_words[] = {WORD("key", NAME, 0)};
static const struct word nested_words[] = {WORD("key", NAME, 0), WORD("filter", GROUP, FILTER)};
static const struct word min_should_words[] = {WORD("conditions", LIST, CONDITION), WORD("min_count", VALUE, 0)};

static const struct {
    const struct word *words;
    unsigned n;
} places[PLACES] = {
#define PLACE(id, words) [id] = {words, sizeof words / sizeof *words}
    PLACE(FILTER, filter_words), PLACE(CONDITION, condition_words), PLACE(MATCH, match_words), PLACE(RANGE, range_words),
    PLACE(GEO, geo_words),       PLACE(FIELD, field_words),         PLACE(NESTED, nested_words), PLACE(MIN_SHOULD, min_should_words),
};
enum { UNKNOWN = 255 }; /* comes last */

/* ---- text ---- */

static void put(struct filter_shape *out, struct str s)
{
    size_t room = FILTER_SHAPE_MAX - strlen("...");
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
    const struct word *words = places[place].words;
    for (unsigned i = 0; i < places[place].n; i++)
        if (words[i].text.n == text.n && words[i].text.p[0] == text.p[0] && memcmp(words[i].text.p, text.p, text.n) == 0)
            return i;
    return UNKNOWN;
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
    unsigned row;      /* of the place's words, or UNKNOWN */
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
        unsigned row = escaped || n >= PIECES_MAX - 1 ? UNKNOWN : word_find(key, place);
        if (json_peek(j) == JSON_NULL || out->cut || (row == UNKNOWN && unknown)) {
            if (!json_skip(j, depth - 1, &value))
                return false;
            continue;
        }
        if (n)
            put(out, STR(" "));
        size_t at = out->n;
        if (row != UNKNOWN) {
            if (!read_value(j, depth - 1, &places[place].words[row], before, out))
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

void filter_add(struct filter_shape *out, struct str filter)
{
    char text[FILTER_SHAPE_MAX];
    struct filter_shape one = {.text = text};
    struct json j = {filter.p, filter.p + filter.n};
    enum json_kind is = json_peek(&j);
    if (is == JSON_NULL || out->cut)
        return;
    if (is != JSON_OBJECT || !read_members(&j, DEPTH_MAX, FILTER, STR(""), &one) || !json_at_end(&j)) {
        one.n = 0;
        one.cut = false;
        put(&one, STR("?"));
    }
    struct str last = str_slice(out->text + out->last, out->n - out->last), made = str_slice(text, one.n);
    if (!made.n || str_eq(last, made))
        return;
    if (!out->n) { /* one that was cut has no room for another "..." */
        memcpy(out->text, made.p, made.n);
        out->n = made.n;
        out->cut = one.cut;
        return;
    }
    put(out, STR("; "));
    out->last = out->n;
    put(out, made);
}
