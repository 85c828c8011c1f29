#include "qdrant/aliases.h"

#include <stdlib.h>

#include "base/json_scan.h"

enum { DEPTH_MAX = 64, STRINGS_MAX = 65536, NAMES_MAX = 4096, STRING_MAX_BYTES = 8192 };

struct found {
    struct arena *arena;
    struct str *name;
    unsigned n, max;
};

static bool add_string(struct found *f, struct str text)
{
    if (f->n == STRINGS_MAX || text.n > STRING_MAX_BYTES)
        return false;
    if (f->n == f->max) {
        unsigned max = f->max ? 2 * f->max : 8;
        struct str *more = arena_alloc(f->arena, max * sizeof *more);
        if (f->n)
            memcpy(more, f->name, f->n * sizeof *more);
        f->name = more;
        f->max = max;
    }
    char *out = arena_alloc(f->arena, text.n);
    size_t n;
    if (!json_unescape(text, out, &n))
        return false;
    f->name[f->n++] = str_slice(out, n);
    return true;
}

static bool collect(struct found *f, struct json *j, unsigned open)
{
    bool first = true, escaped, bad = false;
    struct str text;
    enum json_kind is = json_peek(j);
    if (is == JSON_STRING)
        return json_skip(j, 0, &text) && add_string(f, text);
    if (is != JSON_OBJECT && is != JSON_ARRAY)
        return json_skip(j, 0, &text);
    if (open == DEPTH_MAX)
        return false;
    json_enter(j, is == JSON_OBJECT ? '{' : '[');
    while (is == JSON_OBJECT ? json_key(j, &first, &text, &escaped, &bad) : json_item(j, &first, &bad))
        if (!collect(f, j, open + 1))
            return false;
    return !bad;
}

bool aliases_names(struct arena *a, struct str body, struct str **names, unsigned *n)
{
    struct found f = {.arena = a};
    struct json j = {body.p, body.p + body.n};
    *names = NULL;
    *n = 0;
    if (!collect(&f, &j, 0) || !json_at_end(&j))
        return false;
    if (f.n)
        qsort(f.name, f.n, sizeof *f.name, str_order);
    unsigned kept = 0;
    for (unsigned i = 0; i < f.n; i++)
        if (!kept || !str_eq(f.name[kept - 1], f.name[i]))
            f.name[kept++] = f.name[i];
    *names = f.name;
    *n = kept;
    return kept <= NAMES_MAX;
}
