/* search.h - searches of the control API: through the same pipeline as clients' (rewrite, cache, coalesce),
 * on the control thread. Owner: the control thread. */
#pragma once

#include "api/call.h"
#include "engine/tx.h"

/* One search, embedded in who asks. */
struct search {
    struct tx_own own;                    /* status and body are valid in done() */
    void (*done)(struct search *);        /* once, from the loop */
    struct arena *arena;                  /* the asker's: what `what_was_done` makes lies there */
    uint64_t began;                       /* monotonic microseconds */
};

/* "[0.123,...]": a fixed vector of the model's size; STR_NONE when the size is not configured. */
struct str search_probe(struct arena *, const struct conf_model *);
/* Why there is none. */
#define SEARCH_NO_PROBE                                                                      \
    "model '%s' has no vector_size, which a search without a vector needs: give one, as in " \
    "?vector=0.1,0.2,... or in a body such "                                                 \
    "as {\"vector\":[0.1,0.2],\"limit\":10}"

/* Adds `"vector":...`: of the name `using`, else of the model's own (its key `vector`), else the one without a name. */
void search_vector(struct text *body, const struct conf_model *, struct str using, struct str vector);

/* Begins it. body: of POST /collections/{c}/points/search, or of .../query when it has `query` or `prefetch`
 * and no `vector`. */
void search_start(struct search *, struct call *, const struct conf_model *, struct str body);
void search_stop(struct search *);        /* done() will not come */

/* In done(): the answer's body with `time` in nine decimals and without `usage`, so that equal results are
 * equally long. Lies in the arena. */
struct str search_body(struct search *, struct arena *);

/* 499 is for a client that has left; one that is there hears 503. */
unsigned search_status(const struct search *);

/* In done(): {operation, collection, params: {before, after}, parameters_changed, cache, cache_status,
 * coalesced, upstream, steps_us}. */
struct node *search_what_was_done(struct search *, struct arena *);
