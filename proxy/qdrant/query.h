/* query.h - what is where in a read's JSON body, found by one skipping scan; and the edits that change its
 * search parameters. Nothing is parsed into a tree, no number is ever printed again: the body keeps its bytes
 * but for the edits. No I/O. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "qdrant/ops.h"

enum { QUERY_DEPTH_MAX = 64, QUERY_FILTERS_MAX = 8 };

/* The knobs, one row each: id, JSON path inside `params`, kind. */
#define KNOBS(X)                                            \
    X(HNSW_EF, "hnsw_ef", KNOB_UINT)                        \
    X(EXACT, "exact", KNOB_BOOL)                            \
    X(IGNORE, "quantization.ignore", KNOB_BOOL)             \
    X(RESCORE, "quantization.rescore", KNOB_BOOL)           \
    X(OVERSAMPLING, "quantization.oversampling", KNOB_REAL) \
    X(INDEXED_ONLY, "indexed_only", KNOB_BOOL)

enum knob_kind { KNOB_UINT, KNOB_BOOL, KNOB_REAL };
enum knob {
#define X(id, path, kind) KNOB_##id##_,
    KNOBS(X)
#undef X
    KNOB_COUNT
};

/* One knob's wish. Text is what is written into the JSON (made by the configuration, e.g. "64", "true",
 * "1.5"); STR_NONE: no wish. */
struct knob_rule {
    struct str set_default; /* written where the client says nothing (absent or null) */
    struct str force;       /* written whatever the client says */
    struct str min, max; /* numbers only: a value outside is replaced, be it the client's, default or force */
    double min_value, max_value; /* the same as numbers; NAN: no bound */
};

struct rewrite_rules {
    bool any; /* false: nothing to do, do not scan for it */
    struct knob_rule knob[KNOB_COUNT];
};

/* What a scan reports. `known` false: the body is not what quiver understands with certainty (escaped or
 * duplicate keys that it reads, depth over 64, wrong types, not JSON): it passes untouched and uncached,
 * Qdrant decides. */
struct query_facts {
    bool known;
    const char *why;  /* static text when !known or uncacheable: for logs and metrics */
    bool uncacheable; /* random sampling, inference inputs (text, image, object documents): never cached */
    unsigned n_lookups; /* other collections the answer depends on: lookup_from at any depth, with_lookup */
    struct str *lookup; /* arena; the names decoded */
    unsigned n_nodes;   /* objects that take `params` (items of batches and prefetches included) */
    unsigned n_edits;   /* edits below */
    struct edit *edit;  /* arena; ascending, not overlapping */
    unsigned n_changed; /* how many knobs were set or changed, over all nodes */
    struct str params_before, params_after; /* of the first node, for the log; may be empty */
    unsigned knobs;     /* bits: which knobs the first node has as it goes upstream; 1 << KNOB_COUNT: others of its `params` */
    struct str filter[QUERY_FILTERS_MAX]; /* the first `filter`s as they stand in the body, null left out */
    unsigned n_filters;
};

extern const struct str knob_paths[KNOB_COUNT]; /* "hnsw_ef", "quantization.rescore" */

/* Replace body[at, at+cut) by text. */
struct edit {
    size_t at, cut;
    struct str text;
};

/* Scans the body of op (op->body tells its shape). rules NULL or !rules->any: facts only. One pass; cost is
 * linear; vectors are skipped. */
void query_scan(struct arena *, const struct op *, struct str body, const struct rewrite_rules *rules,
                struct query_facts *out);

/* The body with its edits done, in one piece: body itself when there are none, else arena. For logs, tools
 * and tests; a request sends slices. */
struct str query_edited(struct arena *, struct str body, const struct query_facts *);
