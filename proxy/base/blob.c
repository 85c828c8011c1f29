#include "base/blob.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"

struct blob *blob_new(size_t n)
{
    struct blob *b = mem_alloc(sizeof *b + n);
    atomic_init(&b->n_refs, 1);
    b->n = n;
    return b;
}

struct blob *blob_copy(struct str s)
{
    struct blob *b = blob_new(s.n);
    if (s.n)
        memcpy(b->bytes, s.p, s.n);
    return b;
}

struct blob *blob_get(struct blob *b)
{
    atomic_fetch_add_explicit(&b->n_refs, 1, memory_order_relaxed);
    return b;
}

void blob_put(struct blob **slot)
{
    struct blob *b = *slot;
    *slot = NULL;
    if (!b)
        return;
    unsigned before = atomic_fetch_sub_explicit(&b->n_refs, 1, memory_order_acq_rel);
    ensure(before > 0);
    if (before == 1)
        free(b);
}
