#include "engine/foreign.h"

#include <string.h>
#include <xxhash.h>

void foreign_init(struct foreign *f)
{
    memset(f, 0, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
}

static struct foreign_slot *slot_of(struct foreign *f, struct str collection)
{
    uint64_t hash = XXH3_64bits(collection.n ? collection.p : "", collection.n) | 1;
    struct foreign_slot *s = &f->slot[hash % FOREIGN_SLOTS];
    if (s->hash != hash)
        *s = (struct foreign_slot){.hash = hash, .era = f->era};
    if (s->era != f->era) {
        s->era = f->era;
        s->last_id = s->slack = 0;
        s->overlapped = s->n_running > 0;
    }
    return s;
}

void foreign_begin(struct foreign *f, struct fingerprint map, struct str collection)
{
    pthread_mutex_lock(&f->lock);
    if (!fingerprint_eq(map, f->map)) {
        f->map = map;
        f->era++;
    }
    struct foreign_slot *s = slot_of(f, collection);
    if (++s->n_running > 1)
        s->overlapped = true;
    pthread_mutex_unlock(&f->lock);
}

void foreign_astray(struct foreign *f)
{
    pthread_mutex_lock(&f->lock);
    f->era++;
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
