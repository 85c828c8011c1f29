#include "plugins/cache/store.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/ensure.h"
#include "base/list.h"
#include "base/mem.h"

enum {
    N_SHARDS = 64,
    FREQ_MAX = 3,
    /* second chances given in one eviction: what keeps a lock short when everything is popular */
    STEPS_MAX = 16,
    /* the small queue's share of a part: a tenth. 5 % answers half a point more at Zipf s=1, but forgets
     * bursts */
    SMALL_PART = 10,
    ENTRY_GUESS = 1024, /* bytes an entry is assumed to take when the tables are sized */
    BIGGEST_PART = 8, /* an entry may take an eighth of what it is kept in */
};

struct item {
    struct item *chain;    /* next in the bucket; next victim once it is out */
    struct link link;      /* part.small or part.main */
    struct store_key key;
    struct fingerprint fingerprint;
    struct blob *blob;
    uint64_t stored_at, expires_at;
    size_t bytes;          /* what it is charged with */
    uint16_t model;
    uint8_t freq;
    bool in_main;
};

/* One model's entries in one shard; oldest first. */
struct part {
    struct list small, main;
    size_t small_bytes, bytes;
};

/* What was dropped from a small queue lately. A later drop may overwrite an earlier one: a hint lost, no
 * more. */
struct ghost {
    uint32_t tag, when;
};

struct shard {
    _Alignas(64) atomic_flag locked;
    _Atomic size_t bytes;  /* read without the lock by those who look for room */
    uint32_t n_dropped;    /* clock of the ghosts */
    size_t n_items;
    size_t mask;           /* buckets (and ghosts), minus one */
    struct item **bucket;
    struct ghost *ghost;
    struct part *part[STORE_MODELS]; /* made when first used */
    uint16_t active[STORE_MODELS];   /* which parts exist */
    unsigned n_active;
};

struct model_sum {
    _Atomic size_t bytes, entries, share;
    _Atomic uint64_t evictions;
};

struct store {
    _Atomic size_t max_bytes, bytes;
    _Atomic uint64_t busy, refused;
    pthread_mutex_t resizing; /* one at a time: store_resize */
    struct model_sum model[STORE_MODELS];
    struct shard shard[N_SHARDS];
};

static bool shard_try(struct store *store, struct shard *shard)
{
    if (!atomic_flag_test_and_set_explicit(&shard->locked, memory_order_acquire))
        return true;
    atomic_fetch_add_explicit(&store->busy, 1, memory_order_relaxed);
    return false;
}

static void shard_lock(struct shard *shard) /* not on a data path */
{
    while (atomic_flag_test_and_set_explicit(&shard->locked, memory_order_acquire))
        sched_yield();
}

static void shard_unlock(struct shard *shard)
{
    atomic_flag_clear_explicit(&shard->locked, memory_order_release);
}

static struct shard *shard_of(struct store *store, const struct store_key *key)
{
    return &store->shard[key->lo % N_SHARDS];
}

static struct item **bucket_of(struct shard *shard, const struct store_key *key)
{
    return &shard->bucket[(key->lo / N_SHARDS) & shard->mask];
}

static bool key_eq(const struct store_key *a, const struct store_key *b)
{
    return a->hi == b->hi && a->lo == b->lo && a->n_body == b->n_body && a->op == b->op;
}

static struct item *find(struct shard *shard, const struct store_key *key)
{
    struct item *item = *bucket_of(shard, key);
    while (item && !key_eq(&item->key, key))
        item = item->chain;
    return item;
}

/* Out of bucket, queue and sums; then on the list of victims, freed once the lock is given back. */
static void take_out(struct store *store, struct shard *shard, struct item *item, struct item **victims)
{
    struct item **at = bucket_of(shard, &item->key);
    while (*at != item)
        at = &(*at)->chain;
    *at = item->chain;
    struct part *part = shard->part[item->model];
    list_remove(item->in_main ? &part->main : &part->small, &item->link);
    part->bytes -= item->bytes;
    if (!item->in_main)
        part->small_bytes -= item->bytes;
    shard->n_items--;
    struct model_sum *sum = &store->model[item->model];
    atomic_fetch_sub_explicit(&shard->bytes, item->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&store->bytes, item->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&sum->bytes, item->bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&sum->entries, 1, memory_order_relaxed);
    item->chain = *victims;
    *victims = item;
}

static void put_in(struct store *store, struct shard *shard, struct item *item)
{
    struct part *part = shard->part[item->model];
    list_push(item->in_main ? &part->main : &part->small, &item->link);
    part->bytes += item->bytes;
    if (!item->in_main)
        part->small_bytes += item->bytes;
    shard->n_items++;
    struct item **at = bucket_of(shard, &item->key);
    item->chain = *at;
    *at = item;
    struct model_sum *sum = &store->model[item->model];
    atomic_fetch_add_explicit(&shard->bytes, item->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&store->bytes, item->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&sum->bytes, item->bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&sum->entries, 1, memory_order_relaxed);
}

static void free_victims(struct item *item)
{
    while (item) {
        struct item *next = item->chain;
        blob_put(&item->blob);
        free(item);
        item = next;
    }
}

static struct ghost *ghost_of(struct shard *shard, const struct store_key *key)
{
    return &shard->ghost[(key->hi >> 32) & shard->mask];
}

static void ghost_add(struct shard *shard, const struct store_key *key)
{
    *ghost_of(shard, key) = (struct ghost){.tag = (uint32_t)key->hi | 1, .when = ++shard->n_dropped};
}

/* Dropped lately: as many drops back as the shard has entries. Forgets the ghost. */
static bool ghost_take(struct shard *shard, const struct store_key *key)
{
    struct ghost *ghost = ghost_of(shard, key);
    if (ghost->tag != ((uint32_t)key->hi | 1))
        return false;
    ghost->tag = 0;
    return shard->n_dropped - ghost->when <= shard->n_items;
}

static void promote(struct part *part, struct item *item)
{
    list_remove(&part->small, &item->link);
    part->small_bytes -= item->bytes;
    item->in_main = true;
    item->freq = 0;
    list_push(&part->main, &item->link);
}

/* One entry of this part goes: the oldest of the small queue or of the main one, but who was asked for
 * stays for another round. */
static void evict_one(struct store *store, struct shard *shard, struct part *part, uint64_t now,
                      struct item **victims)
{
    for (unsigned step = 0;; step++) {
        bool from_small = part->small.n && (!part->main.n || part->small_bytes >= part->bytes / SMALL_PART);
        struct link *oldest = list_first(from_small ? &part->small : &part->main);
        struct item *item = LIST_OF(item, link, oldest);
        bool expired = now >= item->expires_at;
        if (!expired && item->freq && step < STEPS_MAX) {
            if (from_small) {
                promote(part, item);
            } else {
                item->freq--;
                list_remove(&part->main, &item->link);
                list_push(&part->main, &item->link);
            }
            continue;
        }
        if (from_small && !expired)
            ghost_add(shard, &item->key);
        if (!expired)
            atomic_fetch_add_explicit(&store->model[item->model].evictions, 1, memory_order_relaxed);
        take_out(store, shard, item, victims);
        return;
    }
}

static struct part *biggest_part(struct shard *shard)
{
    struct part *biggest = NULL;
    for (unsigned i = 0; i < shard->n_active; i++) {
        struct part *part = shard->part[shard->active[i]];
        if (part->bytes && (!biggest || part->bytes > biggest->bytes))
            biggest = part;
    }
    return biggest;
}

static bool over(struct store *store)
{
    return atomic_load_explicit(&store->bytes, memory_order_relaxed) >
           atomic_load_explicit(&store->max_bytes, memory_order_relaxed);
}

static bool over_share(struct store *store, unsigned model)
{
    size_t share = atomic_load_explicit(&store->model[model].share, memory_order_relaxed);
    return share && atomic_load_explicit(&store->model[model].bytes, memory_order_relaxed) > share;
}

/* Makes room in one locked shard, for the store's limit and for the model's share, as far as this shard
 * can give. */
static void make_room(struct store *store, struct shard *shard, unsigned model, uint64_t now,
                      struct item **victims)
{
    struct part *part = shard->part[model];
    while (part && part->bytes && over_share(store, model))
        evict_one(store, shard, part, now, victims);
    while (over(store) && (part = biggest_part(shard)))
        evict_one(store, shard, part, now, victims);
}

/* The inserting shard had nothing left to give: the others in turn. */
static void make_room_elsewhere(struct store *store, size_t from, unsigned model, uint64_t now)
{
    for (size_t i = 1; i < N_SHARDS && (over(store) || over_share(store, model)); i++) {
        struct shard *shard = &store->shard[(from + i) % N_SHARDS];
        if (!atomic_load_explicit(&shard->bytes, memory_order_relaxed) || !shard_try(store, shard))
            continue;
        struct item *victims = NULL;
        make_room(store, shard, model, now, &victims);
        shard_unlock(shard);
        free_victims(victims);
    }
}

static size_t buckets_for(size_t max_bytes)
{
    size_t buckets = 64;
    while (buckets < max_bytes / ENTRY_GUESS / N_SHARDS && buckets < (1u << 20))
        buckets *= 2;
    return buckets;
}

/* Tables of this size; what is in the buckets moves, the ghosts are forgotten. Not on a data path: lookups
 * meanwhile miss. */
static void shard_tables(struct shard *shard, size_t buckets)
{
    struct item **bucket = mem_zalloc(buckets * sizeof *bucket), **old = shard->bucket;
    struct ghost *ghost = mem_zalloc(buckets * sizeof *ghost), *old_ghost = shard->ghost;
    shard_lock(shard);
    size_t n = old ? shard->mask + 1 : 0;
    shard->bucket = bucket;
    shard->ghost = ghost;
    shard->mask = buckets - 1;
    for (size_t i = 0; i < n; i++) {
        for (struct item *item = old[i], *next; item; item = next) {
            next = item->chain;
            struct item **at = bucket_of(shard, &item->key);
            item->chain = *at;
            *at = item;
        }
    }
    shard_unlock(shard);
    free(old);
    free(old_ghost);
}

struct store *store_new(size_t max_bytes)
{
    struct store *store = aligned_alloc(_Alignof(struct shard), sizeof *store);
    ensure(store != NULL);
    memset(store, 0, sizeof *store);
    atomic_store(&store->max_bytes, max_bytes);
    pthread_mutex_init(&store->resizing, NULL);
    for (unsigned i = 0; i < N_SHARDS; i++)
        shard_tables(&store->shard[i], buckets_for(max_bytes));
    return store;
}

void store_free(struct store **slot)
{
    struct store *store = *slot;
    *slot = NULL;
    if (!store)
        return;
    store_purge(store);
    for (unsigned i = 0; i < N_SHARDS; i++) {
        struct shard *shard = &store->shard[i];
        for (unsigned k = 0; k < shard->n_active; k++)
            free(shard->part[shard->active[k]]);
        free(shard->bucket);
        free(shard->ghost);
    }
    pthread_mutex_destroy(&store->resizing);
    free(store);
}

enum store_miss store_get(struct store *store, const struct store_key *key, struct fingerprint fingerprint,
                          uint64_t now,
                          struct store_hit *hit)
{
    struct shard *shard = shard_of(store, key);
    if (!shard_try(store, shard))
        return STORE_BUSY;
    struct item *victims = NULL;
    enum store_miss found = STORE_ABSENT;
    struct item *item = find(shard, key);
    if (item && now >= item->expires_at) {
        take_out(store, shard, item, &victims);
        found = STORE_EXPIRED;
    } else if (item && !fingerprint_eq(item->fingerprint, fingerprint)) {
        found = STORE_OUTDATED; /* stays: the answer that replaces it inherits its place */
    } else if (item) {
        if (item->freq < FREQ_MAX)
            item->freq++;
        *hit = (struct store_hit){blob_get(item->blob), item->stored_at, item->expires_at};
        found = STORE_HIT;
    }
    shard_unlock(shard);
    free_victims(victims);
    return found;
}

bool store_has(struct store *store, const struct store_key *key, uint64_t now)
{
    struct shard *shard = shard_of(store, key);
    if (!shard_try(store, shard))
        return false;
    struct item *item = find(shard, key);
    bool has = item && now < item->expires_at;
    shard_unlock(shard);
    return has;
}

static bool fits(struct store *store, unsigned model, size_t bytes)
{
    size_t share = atomic_load_explicit(&store->model[model].share, memory_order_relaxed);
    size_t max = atomic_load_explicit(&store->max_bytes, memory_order_relaxed);
    return bytes <= max / BIGGEST_PART && (!share || bytes <= share / BIGGEST_PART);
}

static bool refuse(struct store *store)
{
    atomic_fetch_add_explicit(&store->refused, 1, memory_order_relaxed);
    return false;
}

/* Takes over the place of what is there, or asks the ghosts where a newcomer goes. */
static void place(struct store *store, struct shard *shard, struct item *item, struct item **victims)
{
    struct item *old = find(shard, &item->key);
    if (old) {
        item->freq = old->freq;
        item->in_main = old->in_main;
        take_out(store, shard, old, victims);
    } else {
        item->in_main = ghost_take(shard, &item->key);
    }
    if (!shard->part[item->model]) {
        struct part *part = mem_zalloc(sizeof *part);
        list_init(&part->small);
        list_init(&part->main);
        shard->part[item->model] = part;
        shard->active[shard->n_active++] = item->model;
    }
}

bool store_put(struct store *store, const struct store_key *key, struct fingerprint fingerprint,
               unsigned model,
               struct blob *blob, uint64_t stored_at, uint64_t now, uint64_t ttl)
{
    ensure(model < STORE_MODELS);
    /* 32: what the allocator adds to both */
    size_t bytes = sizeof(struct item) + sizeof *blob + blob->n + 32;
    if (!fits(store, model, bytes) || ttl == 0)
        return refuse(store);
    struct item *item = mem_zalloc(sizeof *item);
    *item = (struct item){.key = *key, .fingerprint = fingerprint, .blob = blob_get(blob),
                          .stored_at = stored_at,
                          .expires_at = ttl < NEVER - now ? now + ttl : NEVER, .bytes = bytes,
                          .model = (uint16_t)model};
    struct item *victims = NULL;
    struct shard *shard = shard_of(store, key);
    if (!shard_try(store, shard)) {
        free_victims(item);
        return refuse(store);
    }
    place(store, shard, item, &victims);
    /* The newcomer is counted before room is made, but not yet in a queue: it cannot be its own victim. */
    struct model_sum *sum = &store->model[model];
    atomic_fetch_add_explicit(&store->bytes, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&sum->bytes, bytes, memory_order_relaxed);
    make_room(store, shard, model, now, &victims);
    atomic_fetch_sub_explicit(&sum->bytes, bytes, memory_order_relaxed);
    atomic_fetch_sub_explicit(&store->bytes, bytes, memory_order_relaxed);
    put_in(store, shard, item);
    shard_unlock(shard);
    free_victims(victims);
    if (over(store) || over_share(store, model))
        make_room_elsewhere(store, (size_t)(shard - store->shard), model, now);
    return true;
}

static void trim(struct store *store, unsigned model)
{
    for (unsigned i = 0; i < N_SHARDS && (over(store) || over_share(store, model)); i++) {
        struct shard *shard = &store->shard[i];
        struct item *victims = NULL;
        shard_lock(shard);
        make_room(store, shard, model, 0, &victims);
        shard_unlock(shard);
        free_victims(victims);
    }
}

void store_resize(struct store *store, size_t max_bytes)
{
    pthread_mutex_lock(&store->resizing);
    size_t before = atomic_exchange(&store->max_bytes, max_bytes);
    for (unsigned i = 0; i < N_SHARDS && buckets_for(max_bytes) > store->shard[i].mask + 1; i++)
        shard_tables(&store->shard[i], buckets_for(max_bytes));
    /* Shard by shard down to what is left of it, so that not only the first ones give. */
    for (unsigned i = 0; i < N_SHARDS && max_bytes < before; i++) {
        struct shard *shard = &store->shard[i];
        struct item *victims = NULL;
        struct part *part;
        shard_lock(shard);
        size_t keep = (size_t)((double)atomic_load(&shard->bytes) * (double)max_bytes / (double)before);
        while (over(store) && atomic_load(&shard->bytes) > keep && (part = biggest_part(shard)))
            evict_one(store, shard, part, 0, &victims);
        shard_unlock(shard);
        free_victims(victims);
    }
    trim(store, 0);
    pthread_mutex_unlock(&store->resizing);
}

void store_set_share(struct store *store, unsigned model, size_t max_bytes)
{
    ensure(model < STORE_MODELS);
    atomic_store(&store->model[model].share, max_bytes);
    trim(store, model);
}

static size_t purge_part(struct store *store, struct shard *shard, unsigned model)
{
    struct item *victims = NULL;
    size_t n = 0;
    shard_lock(shard);
    struct part *part = shard->part[model];
    struct link *k;
    for (; part && ((k = list_first(&part->small)) || (k = list_first(&part->main))); n++)
        take_out(store, shard, LIST_OF(item, link, k), &victims);
    shard_unlock(shard);
    free_victims(victims);
    return n;
}

size_t store_purge_model(struct store *store, unsigned model)
{
    ensure(model < STORE_MODELS);
    size_t n = 0;
    for (unsigned i = 0; i < N_SHARDS; i++)
        n += purge_part(store, &store->shard[i], model);
    return n;
}

size_t store_purge(struct store *store)
{
    size_t n = 0;
    for (unsigned model = 0; model < STORE_MODELS; model++)
        if (atomic_load(&store->model[model].entries))
            n += store_purge_model(store, model);
    return n;
}

void store_stats(struct store *store, struct store_stats *out)
{
    *out = (struct store_stats){.bytes = atomic_load(&store->bytes),
                                .max_bytes = atomic_load(&store->max_bytes),
                                .busy = atomic_load(&store->busy),
                                .refused = atomic_load(&store->refused)};
    for (unsigned model = 0; model < STORE_MODELS; model++) {
        out->entries += atomic_load(&store->model[model].entries);
        out->evictions += atomic_load(&store->model[model].evictions);
    }
}

void store_model_stats(struct store *store, unsigned model, struct store_stats *out)
{
    ensure(model < STORE_MODELS);
    struct model_sum *sum = &store->model[model];
    *out = (struct store_stats){.entries = atomic_load(&sum->entries), .bytes = atomic_load(&sum->bytes),
                                .max_bytes = atomic_load(&sum->share),
                                .evictions = atomic_load(&sum->evictions)};
}
