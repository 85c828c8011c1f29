/* claims.h - whose is this collection? Patterns of models: exact names in a hash, globs in an array, longest
 * first. Built once by conf_load in the snapshot's arena, then read by any thread. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

struct claim {
    struct str pattern;
    unsigned model;     /* index */
    unsigned n_literal; /* bytes that are neither * nor ? */
};

struct claims {
    struct claim *exact; /* open addressing; pattern.p NULL: free */
    unsigned n_slots;    /* a power of two */
    struct claim *glob;  /* most literal bytes first */
    unsigned n_globs;
};

enum { CLAIM_GLOBS_MAX = 512 };

bool glob_is(struct str pattern);
bool glob_matches(struct str pattern, struct str name);
bool glob_intersects(struct str a, struct str b); /* some name matches both */

/* Two claims that would tie: equal names, or globs of different models, equally long, that can meet. */
struct claim_tie {
    const struct claim *a, *b;
};

/* false: a tie. The patterns' bytes must live as long as the arena. At most CLAIM_GLOBS_MAX globs. */
bool claims_build(struct arena *, struct claims *, const struct claim *claim, unsigned n, struct claim_tie *);

/* The model's index, or `none`. */
unsigned claims_find(const struct claims *, struct str name, unsigned none);
