/* private.h - what the files of this folder share; nobody else includes it. coherence.c: the process and
 * the names. worker.c: a thread's part and its connections. tell.c: writes, and telling Redis of them.
 * holds.c: writes that ended without a proof. lease.c: the others on the same Redis. look.c: reads and
 * entries. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "coherence/cells.h"
#include "coherence/coherence.h"

enum {
    TOKEN_N = 16,        /* bytes of a token in Redis, shown as twice as many digits */
    KNOWN_TOKENS = 4096, /* slots of the last tokens seen, per worker */
    TALES_MAX = 1024,    /* what may be untold per worker before it becomes "everything" */
    ROSTER_MAX = 60,     /* members of the roster that are remembered for a Redis that forgets */
    PREFIX_MAX = 64,
    KEY_MAX = PREFIX_MAX + 40,
};

#define HOLD_MIN (1 * SEC)   /* a running write holds its names also where the quarantine is 0 */
extern const uint64_t WRITE_WAIT; /* what a write waits for Redis at most, open and close together */

/* This process's place in the roster. Times are monotonic microseconds of this machine. */
struct lease {
    pthread_mutex_t lock; /* the following; taken by the keeper, and by writes that wait for Redis */
    uint64_t until;       /* every lease that was ever asked for has surely passed by then */
    uint64_t elsewhere;   /* so have those that were asked of another Redis than the one the process follows now */
    bool attached;        /* and since then no write has gone on without Redis */
    bool alone;           /* one has: the next join makes everything new */
    /* the keeper's only */
    bool alone_when_sent;
    unsigned confirmed;   /* the generation in which it is a member; 0: none */
    uint64_t next_at;     /* not before then is it renewed, or asked for again */
    unsigned n_members;
    char member[ROSTER_MAX][40];
};

struct coherence {
    struct cells *cells;
    uint64_t id[2];               /* of this process, random */
    struct name_id everything, map; /* the names "*" and "@names" */
    /* tales that Redis has not heard, over all workers: while there are any, no look asks it */
    _Atomic unsigned n_untold;
    /* of Redis: another process there, or a flushed one, is another generation */
    _Atomic unsigned generation;
    _Atomic unsigned secret_version;
    uint64_t born;
    struct lease lease;
    /* a lease is confirmed until then; the last one's end stays; 0: never had one */
    _Atomic uint64_t good_until;
    _Atomic unsigned present;     /* not shared: the generation in which it is known who crashed */
    _Atomic unsigned n_members;   /* of the roster */
    _Atomic bool alive;           /* as last heard: all members have a lease */
    _Atomic unsigned n_late;      /* opens that wait so long that no lease is asked for meanwhile */
    pthread_mutex_t lock;         /* the following; taken at connects, key changes and ticks */
    struct list workers;          /* that are open; the first keeps the lease */
    bool unclean;                 /* one closed with something untold */
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
    uint64_t place, operation_id;
    bool acknowledged;
    bool by_alias; /* nothing proves it before holds_settle */
};

struct known_token {
    struct name_id name;
    struct fingerprint token;
    uint64_t settle_at; /* not before then is Redis asked again whether its hold has run out */
    bool lasting;       /* made, or prolonged, to stay for a day */
    bool small;         /* the last entry under it was: tokens and marks may wait behind such */
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
    struct link link;             /* coherence.workers */
    struct coherence *coherence;
    struct loop *loop;
    uint64_t quarantine, budget;
    uint64_t hold_usec;           /* of a running write, renewed while it runs */
    uint64_t forget;
    bool fail_writes;             /* coherence.on_bump_failure: fail */
    bool on, shared;              /* Redis is configured; and shared with other processes */
    char *url;
    uint64_t connect_timeout;
    struct redis *main, *stores;
    bool usable;                  /* connected and greeted; what is untold is asked apart */
    unsigned generation;
    _Atomic unsigned told_generation;
    char prefix[PREFIX_MAX];      /* "quiver:<run id>:" */
    char script[41];              /* the mark script's name in Redis, "" if unknown */
    char unfit[64];               /* what was said about a Redis that cannot be used */
    struct fingerprint epoch;     /* token of "everything" as this worker knows it */
    unsigned hellos;              /* answers still missing after a connect */
    struct redis_op secret_op, epoch_op, script_op, time_op;
    struct redis_op lease_op;
    unsigned lease_act;           /* what was asked for last, and when */
    uint64_t lease_sent_at;
    /* Redis's clock: at least so many milliseconds, at clock_at; at most clock_span more */
    uint64_t clock_msec, clock_at, clock_span, hello_at;
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
/* Redis has lost what this process told it, or another worker met another Redis: begin anew, telling it all
 * that runs and holds. */
void begin_generation(struct coherence_worker *, const char *why);

bool ask_time(struct coherence_worker *); /* Redis's clock */

/* lease.c */
void lease_tick(struct coherence_worker *, uint64_t now);
/* Before a worker's connection is closed for good: the last one leaves the roster. */
void lease_end(struct coherence_worker *);
bool is_keeper(struct coherence_worker *);
uint64_t lease_in_force(struct coherence_worker *, uint64_t now); /* until when; 0: none */
/* Until when others may rely on a Redis that the process has left, and do not hear what this one is told. */
uint64_t lease_elsewhere(struct coherence_worker *);
/* The process goes to another Redis; this worker needs none any more. */
void lease_moves(struct coherence *);
void lease_left(struct coherence *);
/* A write that is counted as untold asks whether it may go on without Redis. */
bool lease_passed(struct coherence_worker *);
/* Something was never told: the next join makes everything new. */
void lease_lost(struct coherence_worker *);
bool lease_allows(const struct coherence_worker *, uint64_t now); /* looks may ask Redis */

/* tell.c */
void tell_all(struct coherence_worker *);     /* sends what is not under way */
/* this Redis has never heard of us: running writes and holds become tales */
void retell_state(struct coherence_worker *);
void tell_timer(struct coherence_worker *, uint64_t now);
/* Redis is no longer used: nothing is left to tell, and nobody waits but for who relies on it still */
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
void holds_add(struct coherence_worker *, const struct hold_of *, uint64_t now, uint64_t until,
               struct held *out);
/* The write runs no longer: its cells stay held as long as its row says now, which may have been proven since. */
void holds_close(struct coherence_worker *, const struct name_id *name, unsigned n, const uint64_t id[2]);
/* Ends the holds of writes to that collection that were acknowledged before then. */
void holds_barrier(struct coherence_worker *, struct str collection, uint64_t place, uint64_t before);
/* Once for each write that joined by an alias. Names that did not stay as they were: the row can no longer be proven,
 * nobody knows where that write went. */
void holds_settle(struct coherence_worker *, const uint64_t id[2], bool names_stayed);
/* tell must not come back here. */
void holds_each(struct coherence_worker *, void (*tell)(struct coherence_worker *, const struct held *));
void holds_free(struct coherence *);

/* look.c */
void look_fail_all(struct coherence_worker *);
void token_text(char out[static TOKEN_N * 2 + 1], struct fingerprint token);
bool token_parse(struct str text, struct fingerprint *out, bool *held);
/* The state of "@names" as the cells have it (zero while somebody changes it), and with Redis's part: look.map. */
struct fingerprint map_cells_of(struct coherence *, uint64_t now);
struct fingerprint map_of(struct fingerprint cells, struct fingerprint everything, struct fingerprint names);
struct str alive_key(const struct coherence_worker *, char out[static KEY_MAX]);
struct str name_key(const struct coherence_worker *, char out[static KEY_MAX], char kind,
                    struct name_id name);
