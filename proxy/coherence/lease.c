/* lease.c - how the processes on one Redis know of each other. */
#include "coherence/private.h"

bool coherence_refuses_writes(const struct coherence_worker *w)
{
    return false;
}

void coherence_gauges(struct coherence *c, uint64_t now, struct coherence_gauges *out)
{
    *out = (struct coherence_gauges){.untold = atomic_load(&c->n_untold)};
}
