/* store.h - answers in memory: one store per process, bounded by bytes, shared by all threads. 64 shards
 * by key, each under a lock that is only ever tried: busy counts as a miss, so nobody waits. What falls
 * out is freed after the lock is given back.
 *
 * Within a model's part of a shard entries are kept by S3-FIFO: a newcomer waits in a small queue and
 * enters the main one only when it is asked for again (or was dropped lately and is asked for anew), so a
 * scan passes through without emptying the cache. When the process is full the model with most bytes in
 * that shard gives: a flood by one model costs that model. Known weakness: room is made in the shard that
 * inserts (then in a few neighbours), so very few very large entries use the room unevenly.
 *
 * `now` is monotonic microseconds, always an argument. Any thread may call anything but store_new and
 * store_free. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/blob.h"
#include "coherence/fingerprint.h"

enum { STORE_MODELS = 256 };

struct store;

struct store_key {
    uint64_t hi, lo;  /* the 128-bit key */
    uint64_t n_body;  /* length of the request's body: compared beside the hash */
    uint32_t op;      /* the operation: likewise */
};

struct store_hit {
    struct blob *blob;   /* one reference for the caller */
    uint64_t stored_at;  /* as given to store_put */
    uint64_t expires_at;
};

enum store_miss { STORE_HIT, STORE_ABSENT, STORE_OUTDATED /* other tokens */, STORE_EXPIRED, STORE_BUSY };

struct store *store_new(size_t max_bytes);
void store_free(struct store **);

/* The entry under this key if it carries this fingerprint and has not expired at now. STORE_HIT: *hit is
 * set, the caller owes a blob_put. */
enum store_miss store_get(struct store *, const struct store_key *, struct fingerprint, uint64_t now,
                          struct store_hit *hit);

/* Is there an unexpired entry under this key, whatever its fingerprint? A hint: not counted as use. */
bool store_has(struct store *, const struct store_key *, uint64_t now);

/* Keeps the blob (takes a reference of its own) until now + ttl, replacing what was under the key.
 * stored_at: when the answer was made (now, or earlier for one that came from Redis). False: not kept (too
 * big: over an eighth of the store or the model's share; busy). model < STORE_MODELS. */
bool store_put(struct store *, const struct store_key *, struct fingerprint, unsigned model, struct blob *,
               uint64_t stored_at,
               uint64_t now, uint64_t ttl);

/* evicts at once what is too much, makes larger tables for more; not on a data path */
void store_resize(struct store *, size_t max_bytes);
/* 0: no share of its own, the store's limit */
void store_set_share(struct store *, unsigned model, size_t max_bytes);
/* entries dropped; waits for the locks: not on a data path */
size_t store_purge_model(struct store *, unsigned model);
size_t store_purge(struct store *);

struct store_stats {
    uint64_t entries, bytes, max_bytes;
    uint64_t evictions; /* unexpired entries that made room */
    uint64_t busy;      /* calls that found a shard locked */
    uint64_t refused;   /* puts that were not kept */
};
void store_stats(struct store *, struct store_stats *);
/* entries, bytes, evictions; max_bytes: its share */
void store_model_stats(struct store *, unsigned model, struct store_stats *);
