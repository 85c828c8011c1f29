/* scan.h - what query.c and params.c share during one query_scan; nobody else includes it. Lives on the stack
 * of that call. */
#pragma once

#include "base/arena.h"
#include "base/json_scan.h"
#include "qdrant/query.h"

struct scan {
    struct arena *arena;
    struct str body;
    bool rewrites; /* there are rules */
    const struct rewrite_rules *rules;
    struct str
        wanted[KNOB_COUNT];  /* what is written where the client says nothing, bounded; n == 0: nothing */
    unsigned wanted_mask;    /* the knobs that have one, as bits */
    struct str whole;        /* the members of a `params` that has none yet; n == 0: nothing to write */
    unsigned n_whole;        /* how many knobs that sets */
    struct str member[2];    /* `"params":{whole}`, the second with a comma behind */
    struct query_facts *out; /* edits and lookups grow here; edits may hold unused slots until the end */
    unsigned edits_max;
    unsigned node;           /* the node whose members are read, from 1 */
    struct str first_params; /* the value of `params` in the first node; p == NULL: absent */
};

/* Says why the body is not understood; returns false. why: static text. */
bool scan_fail(struct scan *, const char *why);

/* The row of `names` that a key equals, or -1. A key that is written with escapes and equals one, or one
 * whose bit in *seen is set already, fails the scan (*ok = false). Sets the bit. */
int scan_key(struct scan *, const struct str *names, unsigned n, struct str key, bool escaped, unsigned *seen,
             bool *ok);

/* An edit whose place in the order is here, while its text is known later; unset slots vanish at the end. */
unsigned edit_slot(struct scan *);
void edit_set(struct scan *, unsigned slot, size_t at, size_t cut, struct str text);

/* Bounds the rules' defaults and forced values once, before the scan. */
void params_prepare(struct scan *);
/* Reads the value of `params`, adds its edits. `open` levels are open around it. */
bool params_read(struct scan *, struct json *, unsigned open);
/* The node whose '{' ends at `at` has no `params`; slot was taken before its members. */
void params_absent(struct scan *, unsigned slot, size_t at, bool node_is_empty);
