/* facts.h - what is known of Qdrant's collections, as an immutable, counted snapshot: aliases, status, sizes, shards, strict-mode limits.
 * Made by the control thread (tune/facts_poll.c), sent to every worker by mail; a missing fact means the careful answer.
 * The alias map is good for exactly one state of "@names": it carries the fingerprint that was looked up before it was fetched. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "coherence/fingerprint.h"

enum { FACTS_COLLECTIONS_MAX = 4096 };

struct fact_alias {
    struct str alias, collection;
    struct str group; /* the upstream group's name that lists it */
};

#define FACT_STATUSES(X) X(UNKNOWN, "unknown") X(GREEN, "green") X(YELLOW, "yellow") X(GREY, "grey") X(RED, "red")

enum fact_status {
#define X(id, word) FACT_##id,
    FACT_STATUSES(X)
#undef X
        FACT_STATUS_COUNT
};
extern const char *const fact_status_names[FACT_STATUS_COUNT]; /* as Qdrant spells them */

/* What Qdrant said when it was asked for a collection. */
enum fact_source {
    FACT_READ,
    FACT_REFUSED, /* it does not tell quiver: taken for one without limits that hides nothing */
    FACT_ABSENT,  /* it knows none, and yet answers clients: the same, for this state of "@names" only */
    FACT_FAILED,  /* an error or nothing: unknown */
};

/* Memory of a collection whose model has a memory_limit; tune/estimate.h says what is counted. Bytes. */
struct fact_memory {
    bool known, measured;      /* measured: Qdrant's own report; else computed from its configuration */
    uint64_t good;             /* what keeps it fast */
    uint64_t point, vectors;   /* one point more: with all that comes to it; of that, its vectors alone */
    uint64_t asked_at, growth_ended; /* when the figures were asked for, monotonic microseconds; and growth.h then */
};

struct fact_collection {
    struct str name;
    enum fact_source source;          /* READ; else nothing of what follows the fingerprint is known */
    uint64_t read_at;                 /* when it was asked for; monotonic microseconds */
    struct fingerprint names;         /* the state of "@names" then; zero: not known */
    enum fact_status status;
    uint64_t points, indexed, segments; /* as Qdrant counts them, approximately */
    struct fact_memory memory;
    unsigned n_shards, n_replicas;    /* 0: not known */
    bool prevents_unoptimized;        /* points are hidden until they are indexed */
    bool hides_points;                /* and some were: they appear without a further write */
    /* config.strict_mode_config where enabled */
    bool limits_ef, limits_oversampling, forbids_exact, limits_rate;
    double max_ef, max_oversampling;
};

struct facts {
    _Atomic unsigned n_refs;
    struct arena arena;
    uint64_t asked_at;         /* when the round that made them began; monotonic microseconds */
    struct fingerprint names;  /* the state of "@names" (look.map) before the map was fetched */
    bool names_known;          /* false: it could not be looked up; the map is good for routing only */
    bool aliases_hidden;       /* some upstream has aliases that quiver may not see, or that it could not ask for */
    struct fact_alias *alias;
    unsigned n_aliases;
    bool full;                 /* there is no room for further collections: nothing will be known of them */
    struct fact_collection *collection; /* heap */
    unsigned n_collections, room; /* room: a power of two, or 0 */
    uint16_t *slot;            /* index + 1 of a collection by the hash of its name, open addressing; 2 * room of them */
};

struct facts *facts_new(void);            /* one reference; fill it before it is shared */
struct facts *facts_get(struct facts *);
void facts_put(struct facts **);

/* Adds a collection (its name is copied); NULL when there is no room or it is there already. Before the facts are shared; good until the next. */
struct fact_collection *facts_add(struct facts *, struct str name);

/* What the name stands for: itself unless it is an alias. facts may be NULL. */
struct str facts_resolve(const struct facts *, struct str name);
const struct fact_collection *facts_collection(const struct facts *, struct str name); /* NULL: nothing known; facts may be NULL */
