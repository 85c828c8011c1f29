#include "engine/growth.h"

#include <xxhash.h>

struct growth_slot *growth_of(struct growth *g, struct str collection)
{
    return &g->slot[XXH3_64bits(collection.n ? collection.p : "", collection.n) % GROWTH_SLOTS];
}

uint64_t growth_begin(struct growth_slot *s, uint64_t n_bytes)
{
    return atomic_fetch_add(&s->begun, n_bytes) + n_bytes;
}

void growth_undo(struct growth_slot *s, uint64_t n_bytes)
{
    atomic_fetch_sub(&s->begun, n_bytes);
}

void growth_end(struct growth_slot *s, uint64_t n_bytes)
{
    atomic_fetch_add(&s->ended, n_bytes);
}

uint64_t growth_ended(const struct growth_slot *s)
{
    return atomic_load(&s->ended);
}

bool growth_turn(_Atomic uint64_t *last, uint64_t now, uint64_t interval)
{
    uint64_t before = atomic_load_explicit(last, memory_order_relaxed);
    return (!before || now >= before + interval) && atomic_compare_exchange_strong(last, &before, now);
}
