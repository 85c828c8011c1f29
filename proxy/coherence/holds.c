/* holds.c - holds of writes that ended without a proof: one table for the process, a row per set of names, so
 * that a proof can end one hold and leave the others, and a Redis that forgot can be told again. Whoever
 * raises a cell's hold has its row here first; who lowers one does so under the table's lock, to what the
 * other rows still need: so no order of the two loses a hold. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "coherence/private.h"

enum { FOR_NAMES = COHERENCE_UNPROVEN_MAX - 1 }; /* rows; the last is that of everything */

struct hold_row {
    struct link link;
    struct unproven_hold hold;
    uint64_t changed; /* when the last write joined */
    unsigned n_unsettled; /* writes that joined by an alias and have not heard yet whether names stayed as they were */
    unsigned n;
    struct name_id name[COHERENCE_NAMES_MAX];
};

static bool same_names(const struct hold_row *row, const struct name_id *name, unsigned n)
{
    return row->n == n && !memcmp(row->name, name, n * sizeof *name);
}

static void row_free(struct coherence *c, struct hold_row *row)
{
    list_remove(&c->holds, &row->link);
    free(row);
}

static void drop_expired(struct coherence *c, uint64_t now)
{
    for (struct link *k = list_first(&c->holds), *next; k; k = next) {
        next = list_next(&c->holds, k);
        struct hold_row *row = LIST_OF(hold_row, link, k);
        if (row->hold.until <= now)
            row_free(c, row);
    }
}

static struct hold_row *row_of(struct coherence *c, const struct name_id *name, unsigned n, bool acknowledged,
                               struct str collection, uint64_t place)
{
    for (struct link *k = list_first(&c->holds); k; k = list_next(&c->holds, k)) {
        struct hold_row *row = LIST_OF(hold_row, link, k);
        if (same_names(row, name, n) && row->hold.acknowledged == acknowledged && row->hold.place == place &&
            str_eq(str_of(row->hold.collection), collection))
            return row;
    }
    return NULL;
}

static struct hold_row *row_new(struct coherence_worker *w, const struct name_id *name, unsigned n,
                                uint64_t now)
{
    struct hold_row *row = mem_zalloc(sizeof *row);
    worker_random(w, row->hold.id);
    row->hold.since = now;
    row->n = n;
    memcpy(row->name, name, n * sizeof *name);
    list_push_front(&w->coherence->holds, &row->link);
    return row;
}

/* The row that this write joins; with too many of them, the one of everything. */
static struct hold_row *row_for(struct coherence_worker *w, const struct name_id *name, unsigned n,
                                bool acknowledged, struct str collection, uint64_t place, uint64_t now)
{
    struct coherence *c = w->coherence;
    struct hold_row *row = row_of(c, name, n, acknowledged, collection, place);
    if (!row && c->holds.n >= FOR_NAMES)
        drop_expired(c, now);
    if (!row && c->holds.n < FOR_NAMES) {
        row = row_new(w, name, n, now);
        row->hold.acknowledged = acknowledged;
        row->hold.place = place;
        memcpy(row->hold.collection, collection.n ? collection.p : "", collection.n);
    }
    if (!row)
        row = row_of(c, &c->everything, 1, false, STR(""), 0);
    return row ? row : row_new(w, &c->everything, 1, now);
}

static void held_of(const struct hold_row *row, struct held *out)
{
    *out = (struct held){.id = {row->hold.id[0], row->hold.id[1]}, .n = row->n};
    memcpy(out->name, row->name, row->n * sizeof *row->name);
}

void holds_add(struct coherence_worker *w, const struct hold_of *of, uint64_t now, uint64_t until,
               struct held *out)
{
    struct coherence *c = w->coherence;
    struct str collection = of->collection;
    if (!collection.n || collection.n >= COHERENCE_COLLECTION_MAX || memchr(collection.p, 0, collection.n))
        collection = STR("");
    bool acknowledged = of->acknowledged && collection.n;
    pthread_mutex_lock(&c->holds_lock);
    struct hold_row *row = row_for(w, of->name, of->n, acknowledged, collection, of->place, now);
    if (row->hold.until <= now) { /* it had run out: a new one in its place */
        row->hold.since = now;
        row->hold.n_writes = row->hold.operation_id = 0;
    }
    row->changed = now;
    row->hold.version++;
    row->hold.n_writes++;
    row->n_unsettled += of->by_alias;
    row->hold.operation_id = of->operation_id > row->hold.operation_id ? of->operation_id
                                                                       : row->hold.operation_id;
    row->hold.until = until > row->hold.until ? until : row->hold.until;
    held_of(row, out);
    out->until = row->hold.until;
    pthread_mutex_unlock(&c->holds_lock);
}

/* Until when the other rows still hold a cell. */
static uint64_t needed_until(const struct coherence *c, struct name_id name)
{
    uint64_t until = 0;
    for (struct link *k = list_first(&c->holds); k; k = list_next(&c->holds, k)) {
        const struct hold_row *row = LIST_OF(hold_row, link, k);
        for (unsigned i = 0; i < row->n; i++)
            if (cells_share(row->name[i], name) && row->hold.until > until)
                until = row->hold.until;
    }
    return until;
}

static void release(struct coherence_worker *w, struct hold_row *row, struct held *out)
{
    struct coherence *c = w->coherence;
    held_of(row, out);
    row_free(c, row);
    for (unsigned i = 0; i < out->n; i++)
        cells_release(c->cells, out->name[i], needed_until(c, out->name[i]));
    w->stats.released++;
}

static struct hold_row *row_seen(struct coherence *c, const struct unproven_hold *seen)
{
    for (struct link *k = list_first(&c->holds); k; k = list_next(&c->holds, k)) {
        struct hold_row *row = LIST_OF(hold_row, link, k);
        if (row->hold.id[0] == seen->id[0] && row->hold.id[1] == seen->id[1])
            return row;
    }
    return NULL;
}

void holds_close(struct coherence_worker *w, const struct name_id *name, unsigned n, const uint64_t id[2])
{
    struct coherence *c = w->coherence;
    struct unproven_hold seen = {.id = {id[0], id[1]}};
    bool held = id[0] | id[1];
    if (held)
        pthread_mutex_lock(&c->holds_lock);
    struct hold_row *row = held ? row_seen(c, &seen) : NULL;
    cells_close(c->cells, name, n, row ? row->hold.until : 0);
    if (held)
        pthread_mutex_unlock(&c->holds_lock);
}

static bool take_expired(struct coherence *c, uint64_t now, struct held *out)
{
    bool found = false;
    pthread_mutex_lock(&c->holds_lock);
    for (struct link *k = list_first(&c->holds), *next; k && !found; k = next) {
        struct hold_row *row = LIST_OF(hold_row, link, k);
        next = list_next(&c->holds, k);
        found = row->hold.until <= now;
        if (found) {
            held_of(row, out);
            row_free(c, row);
        }
    }
    pthread_mutex_unlock(&c->holds_lock);
    return found;
}

unsigned coherence_unproven(struct coherence_worker *w, struct unproven_hold out[static COHERENCE_UNPROVEN_MAX])
{
    struct coherence *c = w->coherence;
    struct held held;
    unsigned n = 0;
    while (take_expired(c, clock_usec(), &held))
        if (worker_current(w)) /* there, nothing ends it by itself */
            tell_released(w, &held);
    pthread_mutex_lock(&c->holds_lock);
    for (struct link *k = list_first(&c->holds); k; k = list_next(&c->holds, k))
        out[n++] = LIST_OF(hold_row, link, k)->hold;
    pthread_mutex_unlock(&c->holds_lock);
    return n;
}

bool coherence_prove(struct coherence_worker *w, const struct unproven_hold *seen)
{
    struct coherence *c = w->coherence;
    struct held held;
    pthread_mutex_lock(&c->holds_lock);
    struct hold_row *row = row_seen(c, seen);
    bool found = row && !row->n_unsettled && row->hold.version == seen->version && row->hold.until > clock_usec();
    if (found)
        release(w, row, &held);
    pthread_mutex_unlock(&c->holds_lock);
    if (found)
        tell_released(w, &held);
    return found;
}

bool coherence_prolong(struct coherence_worker *w, const struct unproven_hold *seen, uint64_t until)
{
    struct coherence *c = w->coherence;
    struct held held = {.n = 0};
    pthread_mutex_lock(&c->holds_lock);
    struct hold_row *row = row_seen(c, seen);
    bool found = row && row->hold.until > clock_usec(), longer = found && row->hold.until < until;
    if (longer) {
        row->hold.until = until;
        held_of(row, &held);
        held.until = until;
        for (unsigned i = 0; i < held.n; i++)
            cells_release(c->cells, held.name[i], needed_until(c, held.name[i]));
        w->stats.prolonged++;
    }
    pthread_mutex_unlock(&c->holds_lock);
    if (longer)
        tell_held(w, &held);
    return found;
}

static struct hold_row *row_before(struct coherence *c, struct str collection, uint64_t place, uint64_t before)
{
    for (struct link *k = list_first(&c->holds); k; k = list_next(&c->holds, k)) {
        struct hold_row *row = LIST_OF(hold_row, link, k);
        if (row->hold.acknowledged && !row->n_unsettled && row->changed < before && row->hold.place == place &&
            str_eq(str_of(row->hold.collection), collection))
            return row;
    }
    return NULL;
}

void holds_barrier(struct coherence_worker *w, struct str collection, uint64_t place, uint64_t before)
{
    struct coherence *c = w->coherence;
    struct hold_row *row;
    struct held held;
    do {
        pthread_mutex_lock(&c->holds_lock);
        row = row_before(c, collection, place, before);
        if (row)
            release(w, row, &held);
        pthread_mutex_unlock(&c->holds_lock);
        if (row)
            tell_released(w, &held);
    } while (row);
}

void holds_settle(struct coherence_worker *w, const uint64_t id[2], bool names_stayed)
{
    struct unproven_hold seen = {.id = {id[0], id[1]}};
    pthread_mutex_lock(&w->coherence->holds_lock);
    struct hold_row *row = row_seen(w->coherence, &seen);
    if (row) {
        row->n_unsettled--;
        row->hold.acknowledged = row->hold.acknowledged && names_stayed;
        row->hold.version += !names_stayed; /* what was seen of it before is no proof either */
    }
    pthread_mutex_unlock(&w->coherence->holds_lock);
}

void holds_each(struct coherence_worker *w, void (*tell)(struct coherence_worker *, const struct held *))
{
    struct coherence *c = w->coherence;
    uint64_t now = clock_usec();
    pthread_mutex_lock(&c->holds_lock);
    for (struct link *k = list_first(&c->holds); k; k = list_next(&c->holds, k)) {
        const struct hold_row *row = LIST_OF(hold_row, link, k);
        struct held held = {.id = {row->hold.id[0], row->hold.id[1]}, .until = row->hold.until, .n = row->n};
        memcpy(held.name, row->name, row->n * sizeof *row->name);
        if (held.until > now)
            tell(w, &held);
    }
    pthread_mutex_unlock(&c->holds_lock);
}

void holds_free(struct coherence *c)
{
    struct link *k;
    while ((k = list_first(&c->holds)))
        row_free(c, LIST_OF(hold_row, link, k));
}
