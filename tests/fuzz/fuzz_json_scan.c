/* Any bytes as JSON, against cJSON as a second reader.
 * Claims: what a full walk accepts, cJSON accepts and sees the same members, keys, strings and numbers; what
 * cJSON prints, the walk accepts; a skip accepts whatever a walk accepts and steps over the same bytes;
 * quoting and unquoting agree. */
#include <cjson/cJSON.h>
#include <math.h>

#include "base/json_find.h"
#include "base/json_scan.h"
#include "fuzz.h"

enum { DEPTH = 64, NUMBER_MAX = 60 }; /* cJSON reads 63 bytes of a number */

struct walk {
    struct json j;
    bool long_number;
};

static bool same_text(struct str quoted, const char *want)
{
    char *out = mem_alloc(quoted.n);
    size_t n = 0;
    bool good = json_unescape(quoted, out, &n);
    if (good && want) {
        size_t shown = strnlen(out, n); /* cJSON's strings end at the first NUL */
        CLAIM(strlen(want) == shown && memcmp(want, out, shown) == 0);
    }
    free(out);
    return good;
}

static bool walk_value(struct walk *w, unsigned depth, const cJSON *tree);

static bool walk_members(struct walk *w, char bracket, unsigned depth, const cJSON *tree)
{
    bool first = true, bad = false, escaped;
    const cJSON *child = tree ? tree->child : NULL;
    struct str key;
    if (depth == 0 || !json_enter(&w->j, bracket))
        return false;
    while (bracket == '{' ? json_key(&w->j, &first, &key, &escaped, &bad) : json_item(&w->j, &first, &bad)) {
        CLAIM(!tree || child);
        if (bracket == '{') {
            CLAIM(escaped == (memchr(key.p, '\\', key.n) != NULL));
            if (!same_text(str_slice(key.p - 1, key.n + 2), child ? child->string : NULL))
                return false;
        }
        if (!walk_value(w, depth - 1, child))
            return false;
        child = child ? child->next : NULL;
    }
    CLAIM(bad || !tree || !child);
    return !bad;
}

static bool walk_scalar(struct walk *w, enum json_kind kind, const cJSON *tree)
{
    struct str text;
    if (!json_skip(&w->j, 0, &text))
        return false;
    if (kind == JSON_STRING)
        return same_text(text, tree ? tree->valuestring : NULL);
    if (kind != JSON_NUMBER)
        return true;
    CLAIM(json_is_number(text));
    w->long_number |= text.n > NUMBER_MAX;
    if (tree) {
        char *z = mem_strndup(text.p, text.n);
        double value = strtod(z, NULL);
        CLAIM(value == tree->valuedouble);
        free(z);
    }
    return true;
}

/* True if the value is well-formed; ends the process if it is not what the tree (may be NULL) says. */
static bool walk_value(struct walk *w, unsigned depth, const cJSON *tree)
{
    enum json_kind kind = json_peek(&w->j);
    static const int types[] = {
        [JSON_NULL] = cJSON_NULL,     [JSON_TRUE] = cJSON_True,     [JSON_FALSE] = cJSON_False,
        [JSON_NUMBER] = cJSON_Number, [JSON_STRING] = cJSON_String, [JSON_OBJECT] = cJSON_Object,
        [JSON_ARRAY] = cJSON_Array,
    };
    if (kind == JSON_BAD)
        return false;
    const char *begin = w->j.at;
    bool good = kind == JSON_OBJECT  ? walk_members(w, '{', depth, tree)
                : kind == JSON_ARRAY ? walk_members(w, '[', depth, tree)
                                     : walk_scalar(w, kind, tree);
    if (!good)
        return false;
    CLAIM(!tree || (tree->type & 0xff) == types[kind]);
    struct json again = {begin, w->j.end};
    struct str text;
    CLAIM(json_skip(&again, depth, &text) && again.at == w->j.at);
    CLAIM(text.p == begin && text.n == (size_t)(again.at - begin));
    return true;
}

static bool walk_text(struct str text, const cJSON *tree, bool *long_number)
{
    struct walk w = {.j = {text.p, text.p + text.n}};
    bool good = walk_value(&w, DEPTH, tree) && json_at_end(&w.j);
    *long_number = w.long_number;
    return good;
}

static unsigned depth_of(const cJSON *tree)
{
    unsigned deepest = 0;
    for (const cJSON *child = tree->child; child; child = child->next) {
        unsigned depth = depth_of(child);
        deepest = depth > deepest ? depth : deepest;
    }
    return deepest + 1;
}

/* What cJSON prints is JSON: the walk must accept it and see what cJSON sees in it. */
static void check_printed(char *text)
{
    bool long_number;
    cJSON *tree = text ? cJSON_Parse(text) : NULL;
    if (tree && depth_of(tree) < DEPTH)
        CLAIM(walk_text(str_of(text), tree, &long_number));
    cJSON_Delete(tree);
    cJSON_free(text);
}

static void check_finds(struct str in)
{
    const char *end = in.p + in.n;
    for (const char *at = in.p; at < end;) {
        const char *hit = json_finders[0].structural(at, end);
        for (const struct json_finder *f = json_finders; f->name; f++)
            CLAIM(!f->can() || f->structural(at, end) == hit);
        at = hit + 1;
    }
}

static void check_quoting(struct str in)
{
    char *quoted = mem_alloc(in.n * 6 + 2), *plain = mem_alloc(in.n * 6 + 2);
    char *again = mem_alloc(in.n * 18 + 2);
    size_t n_quoted = json_quote(quoted, in), n_plain;
    CLAIM(n_quoted <= in.n * 6 + 2);
    CLAIM(json_unescape(str_slice(quoted, n_quoted), plain, &n_plain));
    CLAIM(n_plain <= in.n * 3);
    size_t n_again = json_quote(again, str_slice(plain, n_plain));
    CLAIM(str_eq(str_slice(quoted, n_quoted), str_slice(again, n_again)));
    struct json j = {quoted, quoted + n_quoted};
    struct str text;
    CLAIM(json_skip(&j, 0, &text) && text.n == n_quoted);
    free(quoted);
    free(plain);
    free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 1 << 16)
        return 0;
    char *copy = exact_copy(data, n);
    struct str in = {copy, n}, text;
    bool long_number = false;
    bool good = walk_text(in, NULL, &long_number);
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(copy, n, &end, false);
    if (good && !long_number) {
        CLAIM(tree != NULL);
        CLAIM(walk_text(in, tree, &long_number));
    }
    if (tree) {
        check_printed(cJSON_PrintUnformatted(tree));
        check_printed(cJSON_Print(tree));
        cJSON_Delete(tree);
    }
    struct json j = {copy, copy + n};
    if (json_skip_flat(&j, &text))
        CLAIM(lies_in(text, in) && text.p[0] == '[' && text.p[text.n - 1] == ']');
    check_finds(in);
    check_quoting(in);
    free(copy);
    return 0;
}
