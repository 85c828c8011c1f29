#include "conf/claims.h"

#include <stdlib.h>

bool glob_is(struct str pattern)
{
    return pattern.n && (memchr(pattern.p, '*', pattern.n) || memchr(pattern.p, '?', pattern.n));
}

bool glob_matches(struct str pattern, struct str name)
{
    size_t p = 0, s = 0, star = SIZE_MAX, mark = 0; /* after a mismatch the last * takes one byte more */
    while (s < name.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            mark = s;
        } else if (p < pattern.n && (pattern.p[p] == '?' || pattern.p[p] == name.p[s])) {
            p++, s++;
        } else if (star != SIZE_MAX) {
            p = star + 1;
            s = ++mark;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

/* row[j] after step i: can a[i..] and b[j..] match a common text? Filled from the ends. */
bool glob_intersects(struct str a, struct str b)
{
    enum { LONGEST = 255 };
    bool row[LONGEST + 2] = {0}, below[LONGEST + 2] = {0};
    if (a.n > LONGEST || b.n > LONGEST)
        return true;
    for (size_t i = a.n + 1; i-- > 0;) {
        for (size_t j = b.n + 1; j-- > 0;) {
            bool a_ends = i == a.n, b_ends = j == b.n;
            if (a_ends && b_ends)
                row[j] = true;
            else if (!a_ends && a.p[i] == '*')
                row[j] = below[j] || (!b_ends && row[j + 1]);
            else if (!b_ends && b.p[j] == '*')
                row[j] = row[j + 1] || (!a_ends && below[j]);
            else
                row[j] = !a_ends && !b_ends && (a.p[i] == b.p[j] || a.p[i] == '?' || b.p[j] == '?') &&
                         below[j + 1];
        }
        memcpy(below, row, b.n + 1);
    }
    return row[0];
}

static uint32_t hash_of(struct str s)
{
    uint32_t h = 2166136261u; /* FNV-1a: names are short */
    for (size_t i = 0; i < s.n; i++)
        h = (h ^ (unsigned char)s.p[i]) * 16777619u;
    return h ^ h >> 15;
}

static struct claim *slot_of(const struct claims *c, struct str name)
{
    for (unsigned i = hash_of(name);; i++) {
        struct claim *slot = &c->exact[i & (c->n_slots - 1)];
        if (!slot->pattern.p || str_eq(slot->pattern, name))
            return slot;
    }
}

static int longest_first(const void *a, const void *b)
{
    const struct claim *one = a, *two = b;
    return one->n_literal != two->n_literal ? (one->n_literal < two->n_literal ? 1 : -1)
                                            : (int)one->model - (int)two->model;
}

static bool globs_tie(const struct claims *c, struct claim_tie *tie)
{
    for (unsigned i = 0; i < c->n_globs; i++)
        for (unsigned j = i + 1; j < c->n_globs && c->glob[j].n_literal == c->glob[i].n_literal; j++)
            if (c->glob[i].model != c->glob[j].model &&
                glob_intersects(c->glob[i].pattern, c->glob[j].pattern)) {
                *tie = (struct claim_tie){&c->glob[i], &c->glob[j]};
                return true;
            }
    return false;
}

bool claims_build(struct arena *a, struct claims *c, const struct claim *claim, unsigned n,
                  struct claim_tie *tie)
{
    *c = (struct claims){.n_slots = 16};
    while (c->n_slots < 2 * n)
        c->n_slots *= 2;
    c->exact = arena_zalloc(a, c->n_slots * sizeof *c->exact);
    c->glob = arena_alloc(a, (n + 1) * sizeof *c->glob);
    for (unsigned i = 0; i < n; i++) {
        struct str pattern = claim[i].pattern;
        if (glob_is(pattern)) {
            unsigned wild = 0;
            for (size_t k = 0; k < pattern.n; k++)
                wild += pattern.p[k] == '*' || pattern.p[k] == '?';
            c->glob[c->n_globs] = claim[i];
            c->glob[c->n_globs++].n_literal = (unsigned)pattern.n - wild;
            continue;
        }
        struct claim *slot = slot_of(c, pattern);
        if (slot->pattern.p && slot->model != claim[i].model) {
            *tie = (struct claim_tie){slot, &claim[i]};
            return false;
        }
        *slot = claim[i];
    }
    qsort(c->glob, c->n_globs, sizeof *c->glob, longest_first);
    return !globs_tie(c, tie);
}

unsigned claims_find(const struct claims *c, struct str name, unsigned none)
{
    const struct claim *slot = slot_of(c, name);
    if (slot->pattern.p)
        return slot->model;
    for (unsigned i = 0; i < c->n_globs; i++)
        if (glob_matches(c->glob[i].pattern, name))
            return c->glob[i].model;
    return none;
}
