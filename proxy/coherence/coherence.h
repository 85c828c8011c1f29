/* coherence.h - may a cache answer? The only code that knows.
 *
 * An answer depends on names (collections, and "@names" for the list of collections and aliases). Each
 * name has a token that never comes back and may be held by writes. A write opens its names before its
 * first byte goes upstream and closes them before its answer's first byte goes to the client; a read looks
 * before it goes anywhere, and whatever is stored or served is bound to the fingerprint of the tokens that
 * look saw. So a store needs no check and nothing is deleted to be right: what is old is simply never
 * looked for again.
 *
 * Two places remember tokens and holds: cells in the process (a fixed table of atomics) and, where
 * configured, Redis. A look may serve only what both allow; see coherence_worker_open for what happens
 * while Redis is away.
 *
 * Threads: struct coherence is one for the process and safe from any thread. A struct coherence_worker
 * belongs to the thread of its loop, and so do the looks and write holds started with it. Nothing calls
 * back before it returned: a wake comes from an event or a letter of that loop, records into the caller's
 * memory first and is never sent after a cancel. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "base/list.h"
#include "base/str.h"
#include "coherence/fingerprint.h"
#include "coherence/name.h"
#include "conf/conf.h"
#include "io/loop.h"
#include "io/redis.h"
#include "qdrant/reply.h"

enum { COHERENCE_NAMES_MAX = 18, COHERENCE_SECRET = 192 };

struct coherence;        /* per process */
struct coherence_worker; /* per thread */

/* The names that an answer or a write depends on; slices of the caller's, needed only during the call they
 * are given to. */
struct coherence_names {
    unsigned n;
    /* more names than fit: a write to everything, an answer that nobody may cache. A write to no name is
     * one to everything too */
    bool all;
    struct str name[COHERENCE_NAMES_MAX];
};

/* Adds a name unless it is there; sets all when there is no room. */
void coherence_names_add(struct coherence_names *, struct str name);

struct coherence *coherence_new(void);
void coherence_free(struct coherence **); /* after the last worker was closed */

/* Opens this thread's part, and its connections to Redis where conf names one (they come up by themselves,
 * with backoff). Redis is away until it is connected, was found fit (a primary that evicts nothing without
 * a TTL) and knows all that this process could not tell it. redis.shared: while it is away nothing may be
 * served or stored; the first process on a Redis answers from its cache about 0.9 s after it has connected,
 * others at once. After a crash of one nobody does for coherence.forget. Not shared: the cells alone decide
 * over memory at all times. */
struct coherence_worker *coherence_worker_open(struct coherence *, struct loop *, const struct conf *);
/* After a reload; from an event or a letter. Connections stay unless where or how to connect changed: then
 * looks that wait for them are woken, and writes once no other process relies on what this one told the old Redis. */
void coherence_worker_configure(struct coherence_worker *, const struct conf *);
/* Looks and holds of this worker must have ended. Clears the pointer. */
/* takes up to 0.4 s where Redis must hear something */
void coherence_worker_close(struct coherence_worker **);

/* The 192-byte secret of cache keys: this process's own, or with Redis the one kept there. The version
 * counts up whenever it changes: a key made under another version finds nothing. Any thread. */
unsigned coherence_secret_version(const struct coherence *);
unsigned coherence_secret(struct coherence *, unsigned char out[COHERENCE_SECRET]); /* returns its version */

/* ---- reads ---- */

enum look_result {
    LOOK_NONE,    /* not looked, or looking */
    /* what carries this fingerprint may be served, what is read from now on may be stored under it */
    LOOK_CLEAR,
    LOOK_HELD,    /* a write is open or unproven: neither serve nor store */
    LOOK_AWAY,    /* Redis is needed but away, over its budget, or some member of the roster is cut off from
                   * it: neither serve nor store */
};

struct look_entry {
    struct str model; /* the model's name: part of the key's name in Redis */
    struct str key;   /* text of at most 96 bytes, e.g. the cache key in hexadecimal */
};

struct look {
    enum look_result result;
    /* The state of "@names" (which collections and aliases there are), apart from the fingerprints: what was
     * derived from the list of aliases under one value is good under that value only. map_cells: as
     * look_cells saw it. map: the same with Redis's part once look_redis has ended; alone it is map_cells.
     * map_held: somebody changes them now; good under no value. */
    struct fingerprint map_cells, map;
    bool map_held;
    bool alone;                     /* cells alone decide over memory: no Redis, or not shared */
    bool has_redis;                 /* redis_fingerprint is set: entries in Redis may be fetched and stored */
    struct fingerprint fingerprint; /* for the memory store */
    struct fingerprint redis_fingerprint; /* for entries in Redis */
    /* found in Redis under these tokens, or NULL; the look's until taken (set it NULL) */
    struct blob *entry;
    /* Set by the owner between look_cells and look_redis: nobody knows whether there are such collections. Anybody can ask for
     * names that he made up: tokens of them stay in Redis for seconds instead of a day. */
    bool unknown;
    /* private */
    struct coherence_worker *worker;
    unsigned n;                     /* names, "everything" first; behind them, not counted, "@names" */
    struct name_id name[COHERENCE_NAMES_MAX + 2];
    struct fingerprint guess;       /* what the entry was asked under */
    bool guessed, ensured;
    struct look_entry wanted;
    unsigned generation;
    uint64_t due;
    struct redis_op tokens_op, entry_op;
    struct link link;               /* worker's waiting looks */
    void (*wake)(void *arg);
    void *arg;
};

/* Looks at the cells, at once. Returns and sets look->result: LOOK_HELD, or LOOK_CLEAR. With look->alone
 * set a LOOK_CLEAR is final for the memory store; otherwise it must be confirmed by look_redis before
 * anything is served or stored. Begins a new look: *look may be uninitialised memory, but not a look that
 * is under way. */
enum look_result look_cells(struct coherence_worker *, struct look *, const struct coherence_names *);

/* After look_cells said LOOK_CLEAR: asks Redis for tokens and holds and, if wanted is given (its bytes
 * stay until the look has ended), for that entry in the same round trip. True: finished at once (no Redis,
 * or away). False: wake(arg) comes later, within redis.budget plus a loop turn. */
bool look_redis(struct look *, const struct look_entry *wanted, void (*wake)(void *), void *arg);

/* Both in one. */
bool look_start(struct coherence_worker *, struct look *, const struct coherence_names *,
                const struct look_entry *wanted,
                void (*wake)(void *), void *arg);

/* Stops waiting and drops the entry; fine for a look that is finished, cancelled or all zero. The
 * fingerprints stay. */
void look_cancel(struct look *);

/* Puts an answer into Redis under the tokens of a look taken before the read was sent; a no-op without
 * them. Copies what it needs, never waits: dropped when too much is under way. The TTL in microseconds
 * gets up to 10 % taken off at random. True: sent. */
bool coherence_store(struct coherence_worker *, const struct look *, const struct look_entry *,
                     struct str bytes, uint64_t ttl_usec);

/* ---- writes ---- */

struct write_hold {
    /* set by the owner before close: wait=true on a one-shard collection, so PROOF_REJECTED means done */
    bool rejection_is_final;
    /* The same: what a later proof needs. The bytes of the name stay during the close only. */
    struct str collection;   /* what the write went to, resolved; STR_NONE: nothing proves it later */
    uint64_t place;          /* the servers that it went to, as the owner numbers them: what is proven is of one place */
    uint64_t operation_id;   /* as Qdrant returned it; 0: none */
    bool acknowledged;       /* Qdrant has it and will apply it; false: its answer was lost or an error */
    /* The collection has one shard and one replica: when this write closes PROOF_COMPLETED, the holds of
     * writes to it that were acknowledged before this one was opened end too */
    bool barrier;
    /* The collection was written to by an alias: what it stands for is known only if "@names" stays as it is until the
     * close has been told; else nothing proves the write */
    bool by_alias;
    /* The state of "@names" (look.map) while it was open, and at its close; zero: not known, or being changed. Under
     * the first, once the open has been confirmed, a map of aliases says where the write goes. */
    struct fingerprint map, map_after;
    /* Done, but other servers come to know of it a little later: its names stay held for so long; 0: not so */
    uint64_t linger;
    bool told;               /* the last open or close was confirmed by Redis, or there is no Redis */
    /* private */
    bool open, closing, late, heard;
    struct fingerprint map_cells;
    uint64_t row[2];         /* what holds its names after it has ended without a proof; zero: none */
    struct coherence_worker *worker;
    struct link link;        /* worker's running writes */
    unsigned n;
    struct name_id name[COHERENCE_NAMES_MAX];
    uint64_t id[2], opened, renew_at;
    uint64_t waited, waits_since, waits_until; /* for Redis: before, since when, until when */
    struct tale *tale;       /* what Redis has not confirmed yet */
    void (*wake)(void *arg); /* NULL: not waiting */
    void *arg;
};

/* After close or cancel: its names are held still. */
static inline bool write_hold_stays(const struct write_hold *hold)
{
    return hold->row[0] | hold->row[1];
}

/* Before a write's first byte goes upstream. *hold is zeroed by this call; it must stay where it is until
 * coherence_close has finished or coherence_cancel was called. True: confirmed, or nothing to wait for: go
 * on. False: wake(arg) comes, within 1 s for open and close together; then go on: it is confirmed, or no
 * process on that Redis answers from its cache any more. An outage delays a write once; those that begin
 * later, while it lasts, go on at once. */
bool coherence_open(struct coherence_worker *, struct write_hold *, const struct coherence_names *,
                    void (*wake)(void *), void *arg);

/* When the answer is known, before its first byte goes to the client; same returns. Without a proof the
 * names stay held for coherence.quarantine. No-op (true) if hold is not open. */
bool coherence_close(struct write_hold *, enum write_proof, void (*wake)(void *), void *arg);

/* The owner goes away: closes without a proof and without waiting, from any state; the hold may be freed
 * at once. No-op if not open. After a coherence_close that is still waiting it only stops the waiting:
 * what that close said stands. */
void coherence_cancel(struct write_hold *);

/* coherence.on_bump_failure is fail, Redis is shared, and this process is cut off from it for longer than
 * coherence.forget, or was never connected since it started: others may answer from their caches without
 * knowing of its writes, so these should be refused (503). Ask before coherence_open, and again when it has
 * let the write go on: if true then, close with PROOF_REFUSED. */
bool coherence_refuses_writes(const struct coherence_worker *);

/* A new token for everything: no answer from before is served again, here or elsewhere. hold_usec: so long
 * nothing is answered from a cache at all; 0: from now on again. False: Redis could not be told yet (it will
 * be, and until then this process serves nothing that needs it). */
bool coherence_everything(struct coherence_worker *, uint64_t hold_usec);

/* ---- writes that ended without a proof ---- */

enum {
    COHERENCE_COLLECTION_MAX = 256,
    COHERENCE_UNPROVEN_MAX = 1024, /* holds; more writes than that join one of everything */
};

/* Writes to the same names that were acknowledged alike share one hold: a stream of them is one row. */
struct unproven_hold {
    uint64_t id[2];
    uint64_t version;        /* counts up with each write that joins: a proof is of one version */
    char collection[COHERENCE_COLLECTION_MAX]; /* "" if none was given */
    uint64_t place;
    uint64_t operation_id;   /* the largest of those writes; 0: none known */
    bool acknowledged;       /* all of them; false: no proof is possible, only time */
    uint64_t since, until;   /* of the first write's close; when it ends by itself (monotonic microseconds) */
    uint64_t n_writes;
};

/* The holds of this process that have not run out; returns how many. Those that have are over, and Redis is told if it is
 * there. Any worker's thread, with its own worker; takes a lock, so not for every request. */
unsigned coherence_unproven(struct coherence_worker *, struct unproven_hold out[static COHERENCE_UNPROVEN_MAX]);

/* What was seen is proven: that hold ends, in the cells at once, in Redis as soon as it is told. False: it
 * has run out, or another write joined it since it was seen. Any worker's thread, with its own worker. */
bool coherence_prove(struct coherence_worker *, const struct unproven_hold *seen);
/* Not yet: it stays until then (monotonic microseconds) at least. False: it has run out. */
bool coherence_prolong(struct coherence_worker *, const struct unproven_hold *seen, uint64_t until);

/* ---- figures, for metrics and tests ---- */

struct coherence_stats {              /* written by the worker's thread only */
    uint64_t opens, closes, unproven; /* writes; those closed without a proof */
    uint64_t given_up;                /* opens and closes that went on without Redis */
    uint64_t overflows;               /* too much untold: everything was invalidated */
    uint64_t looks, held, away;       /* looks that asked Redis; results */
    uint64_t guesses, guesses_right;  /* entries asked for in the first round trip */
    uint64_t stores, stores_dropped;
    uint64_t released, prolonged;     /* holds that a proof ended before their time; that were made longer */
    uint64_t joins, detaches;         /* leases begun; leases that ran out without a clean end */
    uint64_t renewals, late;          /* leases renewed; opens that waited so long that renewing stopped */
    uint64_t forgotten;               /* members that this process found gone for good: a new epoch each */
    uint64_t epochs;                  /* times this process made everything new */
};

/* How the process stands with the others on its Redis. */
struct coherence_gauges {
    bool attached;           /* it has a lease: writes wait for Redis, reads may be served */
    bool alive;              /* all members have one: answers come from caches */
    unsigned members;        /* of the roster, as last heard */
    unsigned unproven;       /* rows of coherence_unproven */
    unsigned untold;         /* what Redis has not confirmed */
    uint64_t detached_usec;  /* how long without a lease; 0: attached, or none is needed */
};

void coherence_gauges(struct coherence *, uint64_t now, struct coherence_gauges *out); /* any thread */

const struct coherence_stats *coherence_worker_stats(const struct coherence_worker *);
/* 0 looks and writes, 1 stores; NULL: none */
const struct redis_stats *coherence_redis_stats(const struct coherence_worker *, unsigned which);
/* Redis answers and is used: reads may be served from it, and from memory where it is shared */
bool coherence_redis_ready(const struct coherence_worker *);
