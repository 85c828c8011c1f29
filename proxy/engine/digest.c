#include "engine/digest.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/mem.h"

struct digest { /* constant once it is in the table */
    uint64_t hash, first_unix;
    struct digest_key key;
    char text[]; /* the collection, then the filter */
};

/* One writer, see hist.h. */
struct figures {
    _Atomic uint64_t count, errors, lookups, hits, coalesced, rewritten, slowest, last;
    struct hist usec;
};

struct part { /* a worker's */
    struct figures other;
    struct figures *_Atomic of[]; /* by slot of the table */
};

struct digests {
    _Atomic unsigned n_refs;
    unsigned max, n_slots, n_workers; /* n_slots: a power of two, at least twice as many as rows */
    uint64_t since_unix;
    _Atomic unsigned n;               /* slots that are taken, or about to be */
    struct part *_Atomic *part;       /* by worker; made by it */
    struct digest *_Atomic slot[];
};

enum { NO_SLOT = -1 };

struct digests *digests_new(unsigned max, unsigned n_workers)
{
    unsigned n_slots = 2;
    while (n_slots < 2 * max)
        n_slots *= 2;
    struct digests *d = mem_zalloc(sizeof *d + n_slots * sizeof d->slot[0]);
    atomic_init(&d->n_refs, 1);
    d->max = max;
    d->n_slots = n_slots;
    d->n_workers = n_workers;
    d->since_unix = clock_unix_usec();
    d->part = mem_zalloc(n_workers * sizeof *d->part);
    return d;
}

struct digests *digests_get(struct digests *d)
{
    if (d)
        atomic_fetch_add_explicit(&d->n_refs, 1, memory_order_relaxed);
    return d;
}

static void part_free(struct part *part, unsigned n_slots)
{
    for (unsigned i = 0; part && i < n_slots; i++)
        free(atomic_load(&part->of[i]));
    free(part);
}

void digests_put(struct digests **slot)
{
    struct digests *d = *slot;
    *slot = NULL;
    if (!d || atomic_fetch_sub_explicit(&d->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < d->n_workers; i++)
        part_free(atomic_load(&d->part[i]), d->n_slots);
    for (unsigned i = 0; i < d->n_slots; i++)
        free(atomic_load(&d->slot[i]));
    free(d->part);
    free(d);
}

/* ---- the table ---- */

static uint64_t hash_of(const struct digest_key *k)
{
    uint64_t seed = (uint64_t)k->model << 40 | (uint64_t)k->op->id << 16 | k->knobs << 1 | (k->filter.p != NULL);
    uint64_t hash = XXH3_64bits_withSeed(k->collection.n ? k->collection.p : "", k->collection.n, seed);
    return k->filter.n ? XXH3_64bits_withSeed(k->filter.p, k->filter.n, hash) : hash;
}

static bool same(const struct digest *d, uint64_t hash, const struct digest_key *k)
{
    return d->hash == hash && d->key.model == k->model && d->key.op == k->op && d->key.knobs == k->knobs &&
           !d->key.filter.p == !k->filter.p && str_eq(d->key.collection, k->collection) && str_eq(d->key.filter, k->filter);
}

static struct digest *digest_new(uint64_t hash, const struct digest_key *k)
{
    struct digest *d = mem_zalloc(sizeof *d + k->collection.n + k->filter.n);
    char *filter = d->text + k->collection.n;
    d->hash = hash;
    d->first_unix = clock_unix_usec();
    d->key = *k;
    if (k->collection.n)
        memcpy(d->text, k->collection.p, k->collection.n);
    if (k->filter.n)
        memcpy(filter, k->filter.p, k->filter.n);
    d->key.collection = str_slice(d->text, k->collection.n);
    d->key.filter = k->filter.p ? str_slice(filter, k->filter.n) : STR_NONE;
    return d;
}

/* The slot of the key, which takes a free one if it may; NO_SLOT: "other". */
static int slot_of(struct digests *table, const struct digest_key *key, bool may_add)
{
    uint64_t hash = hash_of(key);
    unsigned at = (unsigned)hash & (table->n_slots - 1);
    struct digest *own = NULL;
    for (;;) {
        struct digest *there = atomic_load_explicit(&table->slot[at], memory_order_acquire);
        if (!there && !own) {
            if (!may_add || atomic_load_explicit(&table->n, memory_order_relaxed) >= table->max)
                return NO_SLOT;
            if (atomic_fetch_add(&table->n, 1) >= table->max) {
                atomic_fetch_sub(&table->n, 1);
                return NO_SLOT;
            }
            own = digest_new(hash, key);
        }
        if (!there && atomic_compare_exchange_strong(&table->slot[at], &there, own))
            return (int)at;
        if (same(there, hash, key)) {
            if (own) { /* another thread was faster */
                free(own);
                atomic_fetch_sub(&table->n, 1);
            }
            return (int)at;
        }
        at = (at + 1) & (table->n_slots - 1);
    }
}

/* ---- counting: the worker's own thread ---- */

#define ADD(cell, n) \
    atomic_store_explicit(&(cell), atomic_load_explicit(&(cell), memory_order_relaxed) + (n), memory_order_relaxed)

static struct figures *figures_of(struct digests *table, unsigned worker, int slot)
{
    struct part *part = atomic_load_explicit(&table->part[worker], memory_order_relaxed);
    if (!part) {
        part = mem_zalloc(sizeof *part + table->n_slots * sizeof part->of[0]);
        atomic_store_explicit(&table->part[worker], part, memory_order_release);
    }
    if (slot == NO_SLOT)
        return &part->other;
    struct figures *f = atomic_load_explicit(&part->of[slot], memory_order_relaxed);
    if (!f) {
        f = mem_zalloc(sizeof *f);
        atomic_store_explicit(&part->of[slot], f, memory_order_release);
    }
    return f;
}

void digests_count(struct digests *table, unsigned worker, const struct digest_key *key, const struct digest_sample *s)
{
    if (!table)
        return;
    ensure(worker < table->n_workers);
    struct figures *f = figures_of(table, worker, slot_of(table, key, s->ok));
    ADD(f->count, 1);
    ADD(f->errors, !s->ok);
    ADD(f->lookups, s->cache != DIGEST_UNASKED);
    ADD(f->hits, s->cache == DIGEST_HIT);
    ADD(f->coalesced, s->coalesced);
    ADD(f->rewritten, s->rewritten);
    if (s->usec > atomic_load_explicit(&f->slowest, memory_order_relaxed))
        atomic_store_explicit(&f->slowest, s->usec, memory_order_relaxed);
    atomic_store_explicit(&f->last, s->now, memory_order_relaxed);
    hist_record(&f->usec, s->usec);
}

/* ---- reading ---- */

static void add(struct digest_sums *sums, const struct figures *f)
{
#define SUM(member) sums->member += atomic_load_explicit(&f->member, memory_order_relaxed)
#define MOST(member)                                                                   \
    do {                                                                               \
        uint64_t v_ = atomic_load_explicit(&f->member, memory_order_relaxed);          \
        sums->member = v_ > sums->member ? v_ : sums->member;                          \
    } while (0)
    SUM(count);
    SUM(errors);
    SUM(lookups);
    SUM(hits);
    SUM(coalesced);
    SUM(rewritten);
    MOST(slowest);
    MOST(last);
#undef SUM
#undef MOST
    hist_merge(&sums->usec, &f->usec);
}

static void sum_up(const struct digests *table, int slot, struct digest_sums *sums)
{
    for (unsigned w = 0; w < table->n_workers; w++) {
        const struct part *part = atomic_load_explicit(&table->part[w], memory_order_acquire);
        const struct figures *f = !part ? NULL : slot == NO_SLOT ? &part->other : atomic_load_explicit(&part->of[slot], memory_order_acquire);
        if (f)
            add(sums, f);
    }
}

void digests_each(const struct digests *table, void (*see)(const struct digest_row *, void *arg), void *arg)
{
    for (unsigned i = 0; i < table->n_slots; i++) {
        const struct digest *d = atomic_load_explicit(&table->slot[i], memory_order_acquire);
        if (!d)
            continue;
        struct digest_row row = {.key = &d->key, .first_unix = d->first_unix};
        sum_up(table, (int)i, &row.sums);
        see(&row, arg);
    }
    struct digest_row other = {0};
    sum_up(table, NO_SLOT, &other.sums);
    see(&other, arg);
}

unsigned digests_rows(const struct digests *table, unsigned *max)
{
    unsigned n = atomic_load_explicit(&table->n, memory_order_relaxed);
    *max = table->max;
    return n < table->max ? n : table->max;
}

uint64_t digests_other(const struct digests *table)
{
    struct digest_sums sums = {0};
    sum_up(table, NO_SLOT, &sums);
    return sums.count;
}

uint64_t digests_since(const struct digests *table)
{
    return table->since_unix;
}
