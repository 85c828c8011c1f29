#include "engine/foreign.h"

#include <string.h>
#include <xxhash.h>

void foreign_init(struct foreign *f)
{
    memset(f->slot, 0, sizeof f->slot);
    pthread_mutex_init(&f->lock, NULL);
}

static struct foreign_slot *slot_of(struct foreign *f, struct str collection)
{
    uint64_t hash = XXH3_64bits(collection.n ? collection.p : "", collection.n) | 1;
    struct foreign_slot *s = &f->slot[hash % FOREIGN_SLOTS];
    if (s->hash != hash)
        *s = (struct foreign_slot){.hash = hash};
    return s;
}

void foreign_begin(struct foreign *f, struct str collection)
{
    pthread_mutex_lock(&f->lock);
    struct foreign_slot *s = slot_of(f, collection);
    if (++s->n_running > 1)
        s->overlapped = true;
    pthread_mutex_unlock(&f->lock);
}

uint64_t foreign_end(struct foreign *f, struct str collection, uint64_t operation_id, unsigned may_use)
{
    uint64_t gap = 0;
    pthread_mutex_lock(&f->lock);
    struct foreign_slot *s = slot_of(f, collection);
    if (s->n_running)
        s->n_running--;
    if (!operation_id) {
        s->slack += may_use ? may_use : 1;
        s->last_id = may_use ? s->last_id : 0; /* nobody knows how many it took */
    } else {
        uint64_t expected = s->last_id + may_use + s->slack;
        if (s->last_id && may_use && !s->overlapped && operation_id > expected)
            gap = operation_id - expected;
        if (operation_id > s->last_id)
            s->last_id = operation_id;
        s->slack = 0;
    }
    if (!s->n_running)
        s->overlapped = false;
    pthread_mutex_unlock(&f->lock);
    return gap;
}
