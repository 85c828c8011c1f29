/* growth.h - how many bytes of upserts have been let through to each collection, and how many of these were over: what Qdrant's own
 * figures cannot contain yet is what began and had not ended when they were asked for. Counters only grow; they are by the hash of the name,
 * and a collision counts too much, never too little. Process-wide; any thread; no locks. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { GROWTH_SLOTS = 1024 };

struct growth_slot {
    _Atomic uint64_t begun, ended;     /* bytes */
    _Atomic uint64_t said_at, asked_at; /* for growth_turn: the last warning, the last question for figures; monotonic microseconds */
};

struct growth {
    struct growth_slot slot[GROWTH_SLOTS];
};

struct growth_slot *growth_of(struct growth *, struct str collection);

/* One more is let through; returns what all have begun, this one included. growth_undo: it was not let through after all. */
uint64_t growth_begin(struct growth_slot *, uint64_t n_bytes);
void growth_undo(struct growth_slot *, uint64_t n_bytes);
void growth_end(struct growth_slot *, uint64_t n_bytes); /* it is over, whatever became of it */
uint64_t growth_ended(const struct growth_slot *);

/* True for one caller in every interval: whose turn it is to say or to ask. */
bool growth_turn(_Atomic uint64_t *last, uint64_t now, uint64_t interval);
