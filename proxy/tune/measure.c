#include "tune/measure.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json_scan.h"
#include "base/mem.h"

enum { DEPTH = 64, NUMBER_MAX = 32 };

/* ---- latencies ---- */

void measure_add(struct measure *m, uint64_t usec)
{
    if (m->n == m->cap) {
        m->cap = m->cap ? 2 * m->cap : 256;
        m->usec = mem_realloc(m->usec, m->cap * sizeof *m->usec);
    }
    m->usec[m->n++] = usec < UINT32_MAX ? (uint32_t)usec : UINT32_MAX;
}

void measure_free(struct measure *m)
{
    free(m->usec);
    *m = (struct measure){0};
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

void measure_sort(struct measure *m)
{
    if (m->n)
        qsort(m->usec, m->n, sizeof *m->usec, by_size);
}

uint64_t measure_percentile(const struct measure *m, double share)
{
    if (!m->n)
        return 0;
    double rank = ceil(share * (double)m->n - 1e-9); /* 0.95 * 20 is a hair above 19 */
    size_t at = rank < 1 ? 0 : (size_t)rank - 1;
    return m->usec[at < m->n ? at : m->n - 1];
}

double measure_ops(const struct measure *m)
{
    return m->busy ? (double)m->n * 1e6 / (double)m->busy : 0;
}

double measure_hit_rate(const struct measure *m)
{
    return m->n ? (double)m->hits / (double)m->n : NAN;
}

double measure_recall(const struct measure *m)
{
    return m->wanted ? (double)m->found / (double)m->wanted : NAN;
}

/* ---- answers ---- */

static uint64_t hash_of(struct str text)
{
    uint64_t h = 0xcbf29ce484222325; /* FNV-1a */
    for (size_t i = 0; i < text.n; i++)
        h = (h ^ (unsigned char)text.p[i]) * 0x100000001b3;
    return h;
}

/* Goes into the object and stops before the value of a member. */
static bool go_to(struct json *j, const char *name)
{
    struct str key, value;
    bool first = true, escaped, bad = false;
    if (!json_enter(j, '{'))
        return false;
    while (json_key(j, &first, &key, &escaped, &bad)) {
        if (str_eq(key, str_of(name)))
            return true;
        if (!json_skip(j, DEPTH, &value))
            return false;
    }
    return false;
}

struct measure_top measure_top_of(struct str body)
{
    struct measure_top top = {.n = 0};
    struct json j = {body.p, body.p + body.n};
    struct str value;
    bool first = true, bad = false;
    if (!body.n || !go_to(&j, "result") || (json_peek(&j) == JSON_OBJECT && !go_to(&j, "points")) ||
        !json_enter(&j, '['))
        return top;
    while (json_item(&j, &first, &bad)) {
        if (!json_skip(&j, DEPTH, &value))
            return top;
        struct json point = {value.p, value.p + value.n};
        if (!go_to(&point, "id") || !json_skip(&point, DEPTH, &value))
            return top;
        if (top.n < MEASURE_TOP)
            top.id[top.n++] = hash_of(value);
    }
    top.known = !bad;
    return top;
}

void measure_compare(struct measure *m, const struct measure_top *exact, const struct measure_top *got)
{
    if (!exact->known || !got->known)
        return;
    m->wanted += exact->n;
    for (unsigned i = 0; i < exact->n; i++)
        for (unsigned k = 0; k < got->n; k++)
            if (exact->id[i] == got->id[k]) {
                m->found++;
                break;
            }
}

struct str measure_next_page(struct str body)
{
    struct json j = {body.p, body.p + body.n};
    struct str value;
    if (!body.n || !go_to(&j, "result") || !go_to(&j, "next_page_offset") || json_peek(&j) == JSON_NULL ||
        !json_skip(&j, DEPTH, &value))
        return STR_NONE;
    return value;
}

/* ---- vectors ---- */

/* In (-1, 1); xorshift, so that every process makes the same. */
static double next_random(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (double)(int64_t)(*seed >> 11) / (double)(UINT64_C(1) << 52) - 1;
}

static uint64_t seeded(uint64_t seed)
{
    seed = (seed + 1) * 0x9e3779b97f4a7c15;
    for (int i = 0; i < 8; i++)
        next_random(&seed);
    return seed;
}

void measure_perturb(double *vector, size_t n, uint64_t seed)
{
    double squares = 0;
    for (size_t i = 0; i < n; i++)
        squares += vector[i] * vector[i];
    double step = n ? MEASURE_STEP * sqrt(squares / (double)n) : 0;
    seed = seeded(seed);
    for (size_t i = 0; i < n; i++)
        vector[i] += step * next_random(&seed);
}

void measure_fixed(double *vector, size_t n, uint64_t seed)
{
    seed = seeded(seed);
    for (size_t i = 0; i < n; i++)
        vector[i] = next_random(&seed);
}

char *measure_text(const double *vector, size_t n)
{
    char *out = mem_alloc(n * NUMBER_MAX + 3), *at = out;
    *at++ = '[';
    for (size_t i = 0; i < n; i++)
        at += sprintf(at, "%s%.7g", i ? "," : "", isfinite(vector[i]) ? vector[i] : 0);
    *at++ = ']';
    *at = 0;
    return mem_realloc(out, (size_t)(at - out) + 1);
}
