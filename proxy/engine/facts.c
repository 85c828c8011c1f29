#include "engine/facts.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"

enum { ROOM_FIRST = 16 };
static_assert((FACTS_COLLECTIONS_MAX & (FACTS_COLLECTIONS_MAX - 1)) == 0 && FACTS_COLLECTIONS_MAX < UINT16_MAX, "room doubles up to it, slots count to it");

const char *const fact_status_names[FACT_STATUS_COUNT] = {
#define X(id, word) word,
    FACT_STATUSES(X)
#undef X
};

struct facts *facts_new(void)
{
    struct facts *f = mem_zalloc(sizeof *f);
    atomic_init(&f->n_refs, 1);
    arena_init(&f->arena, NULL, 0);
    return f;
}

struct facts *facts_get(struct facts *f)
{
    if (f)
        atomic_fetch_add_explicit(&f->n_refs, 1, memory_order_relaxed);
    return f;
}

void facts_put(struct facts **slot)
{
    struct facts *f = *slot;
    *slot = NULL;
    if (!f || atomic_fetch_sub_explicit(&f->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    arena_fini(&f->arena);
    free(f->collection);
    free(f->slot);
    free(f);
}

struct str facts_resolve(const struct facts *f, struct str name)
{
    for (unsigned i = 0; f && i < f->n_aliases; i++)
        if (str_eq(f->alias[i].alias, name))
            return f->alias[i].collection;
    return name;
}

/* Where the name is, or where it would go. The table is never full: it has twice as many slots as there is room for collections. */
static unsigned slot_of(const struct facts *f, struct str name)
{
    unsigned mask = 2 * f->room - 1, at = (unsigned)XXH3_64bits(name.n ? name.p : "", name.n) & mask;
    while (f->slot[at] && !str_eq(f->collection[f->slot[at] - 1].name, name))
        at = (at + 1) & mask;
    return at;
}

static void grow(struct facts *f)
{
    f->room = f->room ? 2 * f->room : ROOM_FIRST;
    f->collection = mem_realloc(f->collection, f->room * sizeof *f->collection);
    free(f->slot);
    f->slot = mem_zalloc(2 * f->room * sizeof *f->slot);
    for (unsigned i = 0; i < f->n_collections; i++)
        f->slot[slot_of(f, f->collection[i].name)] = (uint16_t)(i + 1);
}

struct fact_collection *facts_add(struct facts *f, struct str name)
{
    if (f->n_collections == FACTS_COLLECTIONS_MAX || facts_collection(f, name))
        return NULL;
    if (f->n_collections == f->room)
        grow(f);
    unsigned at = slot_of(f, name);
    struct fact_collection *c = &f->collection[f->n_collections++];
    *c = (struct fact_collection){.name = arena_copy(&f->arena, name)};
    f->slot[at] = (uint16_t)f->n_collections;
    return c;
}

const struct fact_collection *facts_collection(const struct facts *f, struct str name)
{
    if (!f || !f->room)
        return NULL;
    unsigned at = slot_of(f, name);
    return f->slot[at] ? &f->collection[f->slot[at] - 1] : NULL;
}
