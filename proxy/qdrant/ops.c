#include "qdrant/ops.h"

#include <stdlib.h>

#include "base/ensure.h"
#include "base/json_scan.h"

const struct op ops[OP_COUNT] = {
    [OP_UNKNOWN] = {OP_UNKNOWN, "unknown", "", "", CLASS_SERVICE, BODY_OPAQUE, 0},
#define OP(id, name, method, pattern, class, body, flags) \
    [OP_##id] = {OP_##id, name, method, pattern, class, body, flags},
#include "qdrant/ops.def"
#undef OP
};

/* A path may have more segments than any pattern; what is beyond is only counted. */
enum { SEGMENTS_MAX = 10 };

struct path {
    struct str seg[SEGMENTS_MAX];
    unsigned n; /* may exceed SEGMENTS_MAX */
};

/* ---- percent signs ---- */

/* The byte that "%XY" at s[i] stands for, or -1. */
static int percent_at(struct str s, size_t i)
{
    if (s.n - i < 3 || s.p[i] != '%')
        return -1;
    int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* Decodes s into out (s.n bytes at most) and returns the length. Bytes in `keep` stay encoded; what is
 * malformed stays as it is. */
static size_t percent_decode(char *out, struct str s, const char *keep)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        int byte = s.p[i] == '%' ? percent_at(s, i) : -1;
        if (byte < 0 || (byte && strchr(keep, byte))) {
            out[n++] = s.p[i++];
            continue;
        }
        out[n++] = (char)byte;
        i += 3;
    }
    return n;
}

static bool utf8_valid(struct str s)
{
    for (size_t at = 0; at < s.n;) {
        unsigned length = utf8_length(s.p + at, s.n - at);
        if (!length)
            return false;
        at += length;
    }
    return true;
}

/* A segment as Qdrant's router reads it: first all but %2F, %25 and %2B is decoded (that is what patterns are
 * matched against), then the rest. One pass would differ where a stray '%' meets the outcome of the first
 * pass. */
static struct str segment_decode(struct arena *a, struct str raw, bool *undecodable)
{
    for (size_t i = 0; i < raw.n; i++) {
        if (raw.p[i] != '%')
            continue;
        int byte = percent_at(raw, i);
        if (byte <= 0 || byte == '/')
            *undecodable = true;
    }
    char *out = arena_alloc(a, 2 * raw.n);
    size_t n_first = percent_decode(out, raw, "/%+");
    char *second = out + raw.n;
    size_t n = percent_decode(second, str_slice(out, n_first), "");
    if (memchr(second, '/', n) || memchr(second, 0, n) || !utf8_valid(str_slice(second, n)))
        *undecodable = true;
    return str_slice(second, n);
}

/* ---- normal form ---- */

/* False if a segment is empty, the last one too. */
static bool path_split(struct path *path, struct str s)
{
    path->n = 0;
    const char *p = s.p + 1, *end = s.p + s.n;
    while (p < end) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t n = (size_t)((slash ? slash : end) - p);
        if (n == 0)
            return false;
        if (path->n < SEGMENTS_MAX)
            path->seg[path->n] = str_slice(p, n);
        path->n++;
        p += n + 1;
    }
    return s.n == 1 || end[-1] != '/';
}

/* The rare way: joins what path_split would find, decoded. Segments then lie in the joined path. */
static void path_rebuild(struct arena *a, struct str raw, struct path *path, struct route *out)
{
    char *joined = arena_alloc(a, raw.n + 1);
    size_t n = 0;
    path->n = 0;
    for (const char *p = raw.p, *end = raw.p + raw.n; p < end;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        struct str segment = str_slice(p, (size_t)((slash ? slash : end) - p));
        p += segment.n + 1;
        if (!segment.n)
            continue;
        if (memchr(segment.p, '%', segment.n))
            segment = segment_decode(a, segment, &out->undecodable);
        joined[n++] = '/';
        memcpy(joined + n, segment.p, segment.n);
        if (path->n < SEGMENTS_MAX)
            path->seg[path->n] = str_slice(joined + n, segment.n);
        path->n++;
        n += segment.n;
    }
    if (!n)
        joined[n++] = '/';
    out->path = str_slice(joined, n);
}

/* ---- matching ---- */

/* Walks the pattern beside the segments. "{c}" and "{}" take one whatever it is, "**" all that is left, even
 * nothing. */
static bool pattern_matches(const char *pattern, const struct path *path, struct str *collection)
{
    unsigned i = 0;
    struct str name = STR_NONE;
    const char *p = pattern;
    while (*p == '/' && p[1]) {
        const char *begin = ++p;
        p = strchrnul(p, '/');
        size_t n = (size_t)(p - begin);
        if (n == 2 && begin[0] == '*')
            return true;
        if (i >= path->n || i >= SEGMENTS_MAX)
            return false;
        struct str segment = path->seg[i++];
        if (begin[0] != '{') {
            if (segment.n != n || memcmp(segment.p, begin, n) != 0)
                return false;
        } else if (begin[1] == 'c') {
            name = segment;
        }
    }
    if (i != path->n)
        return false;
    *collection = name;
    return true;
}

static const struct op *op_find(struct str method, const struct path *path, struct str *collection)
{
    if (!method.n)
        return &ops[OP_UNKNOWN];
    for (unsigned i = 1; i < OP_COUNT; i++) {
        const struct op *op = &ops[i];
        if (op->method[0] != method.p[0] || strlen(op->method) != method.n ||
            memcmp(op->method, method.p, method.n) != 0)
            continue;
        if (pattern_matches(op->pattern, path, collection))
            return op;
    }
    return &ops[OP_UNKNOWN];
}

static bool method_only_reads(struct str method)
{
    return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) || str_eq(method, STR("OPTIONS"));
}

/* Whatever is not known to be a read is a write: to its collection, or to everything. */
static bool route_writes(const struct route *r, struct str method)
{
    if (method_only_reads(method))
        return false;
    switch (r->op->class) {
    case CLASS_READ_CACHEABLE:
    case CLASS_READ_UNCACHEABLE: return false;
    case CLASS_WRITE_POINTS:
    case CLASS_WRITE_COLLECTION:
    case CLASS_ALIASES:
    case CLASS_SNAPSHOT_WRITE: return true;
    case CLASS_SERVICE: return r->op->id == OP_UNKNOWN;
    }
    ensure(!"an operation without a class");
}

void route_of(struct arena *a, struct str method, struct str raw_path, struct route *out)
{
    *out = (struct route){.op = &ops[OP_UNKNOWN], .path = raw_path};
    if (!raw_path.n || raw_path.p[0] != '/') {
        out->undecodable = true; /* "*", or an absolute form that nobody took apart */
        out->is_write = !method_only_reads(method);
        return;
    }
    struct path path;
    if (raw_path.n > 1 && raw_path.p[raw_path.n - 1] == '/')
        out->path.n--;
    if (memchr(raw_path.p, '%', raw_path.n) || !path_split(&path, out->path))
        path_rebuild(a, raw_path, &path, out);
    out->op = op_find(method, &path, &out->collection);
    if (out->op->id == OP_UNKNOWN && path.n >= 2 && str_eq(path.seg[0], STR("collections")))
        out->collection = path.seg[1];
    out->is_write = route_writes(out, method);
}

/* ---- query strings ---- */

static struct str form_decode(struct arena *a, struct str raw)
{
    if (!memchr(raw.p, '%', raw.n) && !memchr(raw.p, '+', raw.n))
        return raw;
    char *out = arena_alloc(a, raw.n + 1), *blanks = arena_alloc(a, raw.n + 1);
    for (size_t i = 0; i < raw.n; i++)
        blanks[i] = raw.p[i] == '+' ? ' ' : raw.p[i];
    return str_slice(out, percent_decode(out, str_slice(blanks, raw.n), ""));
}

bool query_param(struct arena *a, struct str query, struct str name, struct str *value, unsigned *n_found)
{
    unsigned n = 0;
    while (query.n) {
        struct str pair = str_split(&query, '&'), key = pair, rest = STR_NONE;
        if (!pair.n)
            continue;
        const char *equals = memchr(pair.p, '=', pair.n);
        if (equals) {
            key.n = (size_t)(equals - pair.p);
            rest = str_slice(equals + 1, pair.n - key.n - 1);
        } else {
            rest = str_slice(pair.p + pair.n, 0);
        }
        if (!key.n || !str_eq(form_decode(a, key), name))
            continue;
        if (n++ == 0 && value)
            *value = rest.n ? form_decode(a, rest) : rest;
    }
    if (n_found)
        *n_found = n;
    return n > 0;
}

struct str query_canonical(struct arena *a, struct str query)
{
    size_t n_max = 1, n = 0, used = 0;
    for (size_t i = 0; i < query.n; i++)
        n_max += query.p[i] == '&';
    if (n_max == 1)
        return query;
    struct str *part = arena_alloc(a, n_max * sizeof *part), rest = query;
    while (rest.n) {
        struct str piece = str_split(&rest, '&');
        if (piece.n)
            part[n++] = piece;
    }
    qsort(part, n, sizeof *part, str_order);
    char *out = arena_alloc(a, query.n + 1);
    for (size_t i = 0; i < n; i++) {
        if (i)
            out[used++] = '&';
        memcpy(out + used, part[i].p, part[i].n);
        used += part[i].n;
    }
    return str_slice(out, used);
}
