/* foreign.h - who else writes? Qdrant numbers the writes of a one-shard collection one after another: when two writes of ours that did not
 * overlap with others of ours are further apart than they should be, somebody has written past quiver in between (gRPC, another path).
 * What was cached in between goes with our own write's new tokens; what matters is that the operator hears of it (external_writes).
 * Process-wide; any thread; a lock for a few instructions, on writes only. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "coherence/fingerprint.h"

enum { FOREIGN_SLOTS = 1024 };

struct foreign {
    pthread_mutex_t lock;
    struct fingerprint map; /* of the aliases, by which the writes' collections were found */
    unsigned era;           /* of numbers that can be compared */
    struct foreign_slot {   /* by the hash of the name; a collision begins anew */
        uint64_t hash, last_id;
        unsigned era;
        unsigned n_running; /* writes of ours */
        bool overlapped;    /* since none ran, more than one did: ids cannot be told apart */
        unsigned slack;     /* ids that our own failed writes may have used up since last_id */
    } slot[FOREIGN_SLOTS];
};

void foreign_init(struct foreign *);

/* map: by which the collection was found. Numbers from under another one are not compared with those that come now: a write through an alias
 * that was moved meanwhile took one elsewhere. */
void foreign_begin(struct foreign *, struct fingerprint map, struct str collection);

/* A write of ours went nobody knows where: all collections begin anew. */
void foreign_astray(struct foreign *);

/* The write that began is over. operation_id: what its answer said, 0: nothing (it may have used up an id all the same). may_use: how many
 * ids it may have taken; 0: any number. Returns how many ids are not ours. */
uint64_t foreign_end(struct foreign *, struct str collection, uint64_t operation_id, unsigned may_use);
