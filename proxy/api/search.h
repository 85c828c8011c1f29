/* search.h - searches of the control API: through the same pipeline as clients' (rewrite, cache, coalesce), on the control thread.
 * Owner: the control thread. */
#pragma once

#include "api/call.h"
#include "engine/tx.h"

/* One search, embedded in who asks. */
struct search {
    struct tx_own own;                    /* status and body are valid in done() */
    void (*done)(struct search *);        /* once, from the loop */
    struct arena *arena;                  /* the asker's: what `what_was_done` makes lies there */
    uint64_t began;                       /* monotonic microseconds */
    const char *collection;
};

/* {"vector":[...],"limit":n}: a fixed vector of the model's size; STR_NONE when the size is not configured. */
struct str search_probe(struct arena *, const struct conf_model *, uint64_t limit);

/* Begins it. body: of POST /collections/{c}/points/search, or of .../query when it has `query` or `prefetch` and no `vector`. */
void search_start(struct search *, struct call *, const struct conf_model *, struct str body);
void search_stop(struct search *);        /* done() will not come */

/* In done(): the answer's body with `time` in nine decimals and without `usage`, so that equal results are equally long. */
struct str search_body(struct search *, struct arena *);

/* In done(): {operation, collection, params: {before, after}, rewritten, cache, cache_status, coalesced, upstream, steps_us}. */
struct node *search_what_was_done(struct search *, struct arena *);
