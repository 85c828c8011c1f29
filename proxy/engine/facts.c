#include "engine/facts.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"

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
    free(f);
}

struct str facts_resolve(const struct facts *f, struct str name)
{
    for (unsigned i = 0; f && i < f->n_aliases; i++)
        if (str_eq(f->alias[i].alias, name))
            return f->alias[i].collection;
    return name;
}

const struct fact_strict *facts_strict(const struct facts *f, struct str collection)
{
    for (unsigned i = 0; f && i < f->n_strict; i++)
        if (str_eq(f->strict[i].collection, collection))
            return &f->strict[i];
    return NULL;
}
