/* worker.h - what one thread of the data plane owns: its loop, its clients, its upstream connections, its share of everything.
 * The control thread is a worker without clients. Orders from other threads arrive by mail. */
#pragma once

#include "coherence/coherence.h"
#include "conf/conf.h"
#include "engine/digest.h"
#include "engine/facts.h"
#include "engine/foreign.h"
#include "engine/growth.h"
#include "engine/query_log.h"
#include "engine/shapes.h"
#include "io/front.h"
#include "io/loop.h"
#include "qdrant/key.h"
#include "upstream/pool.h"

struct plugin;
struct tx;

enum { PLUGINS_MAX = 12 };

/* A configuration made ready to serve: immutable, counted; a transaction pins the one it began with. */
struct snapshot {
    _Atomic unsigned n_refs;
    struct conf *conf;
    struct model_upstream {      /* by model index */
        struct slots **slots;    /* one per server of the model's group */
        unsigned n_slots;
    } *upstream;
};

struct snapshot *snapshot_new(struct conf *); /* main thread; takes the reference to conf */
struct snapshot *snapshot_get(struct snapshot *);
void snapshot_put(struct snapshot **);

/* What all workers share besides slots, cells and stores. */
struct engine_shared {
    _Atomic uint64_t n_held;     /* bytes of request bodies held: limits.hold_total */
    _Atomic unsigned n_wait_for_room; /* requests that wait for that limit */
    _Atomic uint64_t n_clients;  /* connections: limits.connections */
    struct foreign foreign;      /* numbers of our own writes */
    struct query_log_budget query_log[2]; /* lines this second: of others, of slow ones */
    struct growth growth;        /* bytes of upserts, by collection */
};

struct worker {
    unsigned number, n_workers;  /* how many share the data listeners; their numbers are below it, the control thread's is it */
    const char *name;            /* "worker0", "control" */
    struct loop loop;
    struct front front;
    struct pool_host upstream;
    struct metrics *metrics;
    struct engine_shared *shared;
    struct snapshot *snapshot;
    struct facts *facts;         /* NULL until the first are known */
    struct digests *digests;     /* what is asked, by shape; NULL: not counted */
    struct shapes *shapes;       /* of the filters seen last */
    uint64_t lot;                /* for drawing by lot (query_log.c) */
    struct coherence *coherence_shared;
    struct coherence_worker *coherence;
    struct cred_memo credentials;
    struct key_secret secret;    /* of cache keys, as of secret_version */
    unsigned secret_version;
    void *self[PLUGINS_MAX];     /* each plugin's per-worker state */
    struct list running;         /* transactions */
    struct tx *spare;            /* ended transactions, for reuse */
    unsigned n_spare, n_idle_spare; /* idle: the fewest since the last rest */
    unsigned in_state[32];       /* transactions by state: a gauge that cannot drift */
    void (*server_in_doubt)(void *arg); /* nothing can be cached until the servers have been asked who they are; any thread */
    void (*names_changed)(void *arg); /* a write may have changed aliases or collections: fetch the map anew; any thread */
    /* facts about it are wanted; shown: Qdrant has answered for it; any thread */
    void (*seen_collection)(struct str, bool shown, void *arg);
    void (*collection_changed)(struct str, void *arg);   /* its configuration may be another now; any thread */
    struct seen {                /* collections lately told to seen_collection, by the low bits of their hashes */
        uint64_t hash, at;
        bool shown;
    } seen[64];
    void *arg;
    bool draining;
};

/* Own thread: takes the reference; requests that begin from now on use it. */
void worker_use_snapshot(struct worker *, struct snapshot *);
void worker_use_facts(struct worker *, struct facts *);
void worker_use_digests(struct worker *, struct digests *);
