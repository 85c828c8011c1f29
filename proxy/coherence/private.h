/* private.h - what the files of this folder share; nobody else includes it. coherence.c: the process and
 * the names. worker.c: a thread's part and its connections. tell.c: writes, and telling Redis of them.
 * holds.c: writes that ended without a proof. look.c: reads and entries. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "coherence/cells.h"
#include "coherence/coherence.h"

enum {
    TOKEN_N = 16,        /* bytes of a token in Redis, shown as twice as many digits */
    KNOWN_TOKENS = 4096, /* slots of the last tokens seen, per worker */
    TALES_MAX = 1024,    /* what may be untold per worker before it becomes "everything" */
    ROWS_MAX = 1024,     /* holds without a proof, by names; more become "everything" */
    PREFIX_MAX = 64,
    KEY_MAX = PREFIX_MAX + 40,
};

#define HOLD_MIN (1 * SEC)   /* a running write holds its names also where the quarantine is 0 */
extern const uint64_t WRITE_WAIT; /* what a write waits for Redis at most, open and close together */

struct coherence {
    struct cells *cells;
    uint64_t id[2];               /* of this process, random */
    struct name_id everything, map; /* the names "*" and "@names" */
    /* tales that Redis has not heard, over all workers: while there are any, no look asks it */
    _Atomic unsigned n_untold;
    /* of Redis: another process there, or a flushed one, is another generation */
    _Atomic unsigned generation;
    _Atomic unsigned secret_version;
    pthread_mutex_t lock;         /* the following; taken at connects and key changes only */
    char run_id[48];
    unsigned char secret[COHERENCE_SECRET];
    pthread_mutex_t holds_lock;   /* the following; taken by writes that end without a proof */
    struct list holds;            /* hold_row, see holds.c */
};

/* What Redis and the cells must know of a hold. */
struct held {
    uint64_t id[2];
    uint64_t until;
    unsigned n;
    struct name_id name[COHERENCE_NAMES_MAX];
};

/* A write that ends without a proof. */
struct hold_of {
    const struct name_id *name;
    unsigned n;
    struct str collection;
    uint64_t operation_id;
    bool acknowledged;
};

struct known_token {
    struct name_id name;
    struct fingerprint token;
    uint64_t settle_at; /* not before then is Redis asked again whether its hold has run out */
};

/* What Redis must be told: these names have a new token; one hold on them lasts until then, another is over.
 * On worker->tales until confirmed. */
struct tale {
    struct link link;
    struct redis_op op;
    struct coherence_worker *worker;
    struct write_hold *waiter;
    bool counted;   /* in coherence.n_untold */
    uint64_t id[2];   /* the hold that lasts until then; until 0: none */
    uint64_t until;
    uint64_t drop[2]; /* the hold that is over; zero: none */
    unsigned n;
    struct name_id name[];
};

struct coherence_worker {
    struct coherence *coherence;
    struct loop *loop;
    uint64_t quarantine, budget;
    uint64_t hold_usec;           /* of a running write, renewed while it runs */
    bool on, shared;              /* Redis is configured; and shared with other processes */
    char *url;
    uint64_t connect_timeout;
    struct redis *main, *stores;
    bool usable;                  /* connected and greeted; what is untold is asked apart */
    unsigned generation, told_generation;
    char prefix[PREFIX_MAX];      /* "quiver:<run id>:" */
    char script[41];              /* the mark script's name in Redis, "" if unknown */
    char unfit[64];               /* what was said about a Redis that cannot be used */
    struct fingerprint epoch;     /* token of "everything" as this worker knows it */
    unsigned hellos;              /* answers still missing after a connect */
    struct redis_op secret_op, epoch_op, script_op;
    uint64_t away_since;
    /* a write went on without Redis since it was last usable: later ones do not wait */
    bool gave_up;
    struct list running;          /* write holds that are open */
    struct list looking;          /* looks that wait */
    struct list tales;            /* in the order they must be told */
    struct timer timer;
    uint64_t timer_at;
    uint64_t random[2], n_random;
    struct known_token *known;
    struct coherence_stats stats;
};

/* worker.c */
void worker_random(struct coherence_worker *, uint64_t out[2]);      /* 128 bits never given before */
/* give the connection up, come back with a new one */
void worker_unusable(struct coherence_worker *, const char *why);
/* Redis can be told, and it is the one the process follows */
bool worker_current(struct coherence_worker *);
void worker_arm(struct coherence_worker *, uint64_t at);

/* tell.c */
void tell_all(struct coherence_worker *);     /* sends what is not under way */
/* this Redis has never heard of us: running writes and holds become tales */
void retell_state(struct coherence_worker *);
void tell_timer(struct coherence_worker *, uint64_t now);
/* Redis is no longer used: nobody waits for it, nothing is left to tell */
void tell_forget(struct coherence_worker *);
/* Changes names in Redis. token: the new one, "" to keep the old. The hold id lasts hold_msec from now (0:
 * none such); the hold drop is over (NULL or zero: none such). whole: sends the script itself. */
struct mark {
    const struct name_id *name;
    unsigned n;
    const char *token;
    const uint64_t *id, *drop;
    uint64_t hold_msec;
    bool whole;
};
bool mark_send(struct coherence_worker *, struct redis_op *, const struct mark *,
               void (*done)(struct redis_op *, const struct redis_value *));
extern const char mark_script[];
void tell_held(struct coherence_worker *, const struct held *);
void tell_released(struct coherence_worker *, const struct held *);

/* holds.c */
/* The write joins a row: what now holds, and until when; its names are the write's or "everything". */
void holds_add(struct coherence_worker *, const struct hold_of *, uint64_t now, uint64_t until, struct held *out);
/* Ends the holds of writes to that collection that were acknowledged before then. */
void holds_barrier(struct coherence_worker *, struct str collection, uint64_t before);
/* tell must not come back here. */
void holds_each(struct coherence_worker *, void (*tell)(struct coherence_worker *, const struct held *));
void holds_free(struct coherence *);

/* look.c */
void look_fail_all(struct coherence_worker *);
void token_text(char out[static TOKEN_N * 2 + 1], struct fingerprint token);
bool token_parse(struct str text, struct fingerprint *out, bool *held);
struct str name_key(const struct coherence_worker *, char out[static KEY_MAX], char kind,
                    struct name_id name);
