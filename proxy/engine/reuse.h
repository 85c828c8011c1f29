/* reuse.h - may this read be answered with another's answer, and with whose? What the cache and coalescing share: the judgement, the names the
 * answer depends on, the look at their tokens, and the key under which equal reads find each other. Made once per transaction, on demand. */
#pragma once

#include "base/metrics.h"
#include "coherence/coherence.h"
#include "engine/tx.h"
#include "engine/tx_facts.h"
#include "qdrant/key.h"

struct reuse {
    const char *unfit;               /* a word why not (for Cache-Status); NULL: it may */
    enum metrics_model_counter why;  /* the counter of that */
    enum tx_facts facts;             /* KNOWN, or an answer may be shared with who asks now, but not repeated later */
    uint64_t oldest;                 /* how old an answer the client takes, microseconds; NEVER: any */
    uint64_t longest;                /* how long an answer to these credentials may live at most, microseconds; NEVER: any time */
    bool external;                   /* others write past quiver to a collection that the answer is made of */
    struct look look;
    bool looked;                     /* the look has been confirmed by Redis, or needs none */
    uint64_t sketch;                 /* of path and body as they came, without reading all of it: reads written alike have equal ones, of others few */
    uint64_t servers;                /* who the model's servers were when it was judged */
    bool keyed;                      /* key and entry are made */
    struct key_text key;
    struct look_entry entry;
};

/* The judgement; the same on every call. When unfit is NULL the sketch is made and look holds what the cells say (LOOK_CLEAR). */
struct reuse *tx_reuse(struct tx *);
/* Judges again, for the facts have changed. */
void tx_reuse_anew(struct tx *);

/* Makes key and entry of a fit one, if they are not yet: it reads the whole body, so only who needs them asks. */
const struct key_text *tx_reuse_key(struct tx *);

/* Once the look has ended CLEAR: are the names that this request stands for still what they were taken for? False: neither serve nor store. */
bool tx_reuse_map_holds(struct tx *);

/* Is the upstream's answer one for anybody who asks the same? Not if a box between marks it as this client's own, nor compressed. */
bool tx_reuse_is_anyones(const struct tx *);

/* Ends a look that still waits. Called when the transaction ends. */
void tx_reuse_end(struct tx *);
