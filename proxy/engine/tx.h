/* tx.h - a transaction: one request from its head to its end. Its life is engine/tx.c, from top to bottom.
 * Owned by one worker. All that is derived from the request lives in its arena and dies with it. */
#pragma once

#include "engine/plugin.h"
#include "engine/worker.h"
#include "upstream/fetch.h"

/* The enum, step_*(), names in logs, gauges and time per state come from this list; its order has meaning: up to FETCHED a doom leads to FAIL. */
#define TX_STATES(X)                                                                                   \
    X(HEAD, head, "name the operation, route, choose limits")                                          \
    X(BODY, body, "held operations: wait for the whole body; all others stream")                       \
    X(REQUEST, request, "plugins in order: rewrite, cache, ...; each may answer or wait")              \
    X(OPEN, open, "writes: coherence open, confirmed before the first byte goes upstream")             \
    X(FETCH, fetch, "build the upstream's head, start the exchange")                                   \
    X(FETCHED, fetched, "send what is streamed, wait for the answer's head")                           \
    X(FAIL, fail, "doom (deadline, client gone, a bad answer) becomes an answer, or silence")          \
    X(RESPONSE, response, "plugins in reverse: the cache stores")                                      \
    X(PROOF, proof, "writes: read the small answer that says what became of it")                       \
    X(CLOSE, close, "writes: coherence close, confirmed before the first byte goes to the client")     \
    X(REPLY, reply, "build the client's head, send it and what is there of the body")                  \
    X(GATHER, gather, "quiver's own requests: put the whole answer together")                              \
    X(RELAY, relay, "move body pieces; wait when neither side can move")                               \
    X(DONE, done, "log line, metrics, every plugin's done(), free")

enum tx_state {
#define X(id, name, help) TX_##id,
    TX_STATES(X)
#undef X
        TX_COUNT,
    TX_PARKED, /* what a step returns when it waits: it will be run again in the state it was in */
    TX_GONE,
};

extern const char *const tx_state_names[TX_COUNT];

#define TX_DOOMS(X)                                           \
    X(NONE, 0, "")                                            \
    X(CLIENT_GONE, 499, "the client hung up")                 \
    X(CLIENT_LATE, 408, "the request's body did not arrive in time") \
    X(CLIENT_SLOW, 408, "the request's body came slowly while others waited for its room (limits.hold_total)") \
    X(BODY_BAD, 400, "the request's chunked body is malformed") \
    X(BODY_BIG, 400, "JSON payload has exceeded limit") /* Qdrant's own words, the number is added */ \
    X(NO_MEMORY, 503, "too many request bodies are held (limits.hold_total)")

enum tx_doom {
#define X(id, status, why) DOOM_##id,
    TX_DOOMS(X)
#undef X
};

struct answer {
    unsigned status;      /* 0: none yet */
    bool local;           /* made here (error, cache); else the upstream's head in fetch.head */
    struct str fields;    /* local: complete header lines, CRLF each, without length, connection and what follows */
    struct str extra;     /* lines that are added to either kind: Cache-Status, Age, Retry-After */
    struct str part[4];   /* the body, local or replacing the upstream's */
    unsigned n_parts;
    struct blob *blob;    /* what part lies in, if counted */
    bool whole;           /* part is all of the body; false: it streams from the upstream */
};

/* A request of quiver's own (control API, tests): the same pipeline without a client. Embedded in who asks; one thread, the worker's. */
struct tx_own {
    void (*done)(struct tx_own *); /* once, from the loop; the following are valid during the call */
    unsigned status;               /* 499: it was cancelled or cut */
    struct str fields;             /* the answer's header lines, CRLF each */
    struct str body;
    const struct tx *tx;           /* what was done: parameters, cache, times */
    uint64_t step_usec[TX_COUNT];  /* how long it was in each state; NEVER: it was not there */
    /* set by who asks */
    bool as_is;                    /* its parameters are not rewritten, whatever is configured */
    struct snapshot *snapshot;     /* the configuration that it runs under, the caller's; NULL: the newest */
    const struct conf_model *model; /* of that snapshot: whose it is and whose servers get it, whoever claims the name; NULL: by the name */
    /* private */
    struct tx *running;
    uint64_t step_since;
    char *gathered;
    size_t n_gathered, cap;
};

struct tx {
    struct task task;
    struct link link;                  /* worker->running */
    struct worker *worker;
    struct snapshot *snapshot;
    const struct conf_model *model;
    struct client *client;             /* NULL: gone, or a request of quiver's own */
    struct tx_own *own;
    enum tx_state state;
    enum tx_doom doom;
    struct timer timer;
    struct arena arena;
    struct http_head head;
    struct route route;
    struct fetch fetch;
    struct str up_part[OUTQ_MAX];      /* what goes upstream: head and body */
    struct outq out;
    /* ---- from here on everything is zero when a request begins ---- */
    struct str resolved;               /* what route.collection stands for */
    struct fingerprint map;            /* the state of "@names" under which that is so; 0,0: not known */
    bool held, is_write, identity;     /* body is whole; opens and closes; asks the upstream for an uncompressed answer */
    bool chunked_up;                   /* the streamed body goes up in chunks */
    size_t n_held;                     /* bytes accounted to hold_total */
    bool waits_for_room;               /* there; counted in engine_shared */
    char *own_body;                    /* a held chunked body, heap */
    size_t n_own_body;
    uint64_t hold_until;
    struct str body;                   /* held */
    struct str *part;                  /* the held body after rewriting, in pieces; n_parts 0: body as it is */
    unsigned n_parts;
    bool scanned;
    struct query_facts query;          /* texts of it lie in the body, which goes with the client: see tx_body_there() */
    struct str shape;                  /* what its filters ask for, without values; p NULL: not read */
    unsigned next_plug;                /* which plugin is next on the way in; those before it saw the request */
    unsigned n_asked;                  /* plugins whose request() ran: their done() is due */
    unsigned back_plug;                /* on the way back */
    bool suspended;
    void *scratch[PLUGINS_MAX];
    struct reuse *reuse;               /* reuse.h; NULL until asked for */
    uint64_t suspend_until;            /* a suspended plugin is asked again then at the latest; 0: no such time */
    bool collapsed;                    /* answered with another request's answer */
    bool from_redis;                   /* answered by the cache with what Redis had */
    bool collects, asks_whole;         /* a plugin waits for the whole answer; it has just asked for it */
    size_t collect_max;
    bool collected, collect_failed;
    char *own_answer;                  /* a chunked answer as far as it was collected, heap */
    size_t n_own_answer;
    struct str whole;                  /* the collected answer's body, in the upstream's buffer or own_answer */
    struct answer answer;
    struct write_hold hold;
    bool awaits_facts;                 /* changed the names: its answer waits a little for the new map */
    uint64_t facts_until, changed_at;
    bool numbered;                     /* foreign_begin was told of it */
    bool opened, closing, hold_wait;
    enum write_proof proof;
    char chunk_size[20];
    bool chunked_down, close_after, cut, relay_ended;
    bool any_out;                      /* something of the answer may have left already */
    size_t pending_n;                  /* bytes of the upstream's slice that is on its way to the client */
    uint64_t began, first_out, n_body_in, n_body_out;
    char peer[64];                     /* the client's address, while the access log is on */
    struct str refusal;                /* why its head was refused; p NULL: it was not. Ends with a NUL */
    const char *cache_word;            /* for the access log: hit, miss, bypass, - */
    unsigned n_rewritten;
};

/* A client's request has come, or its head was refused: front's hooks. */
void tx_begin(struct client *, const struct http_head *, void *worker);
void tx_refused(struct client *, const struct http_refusal *, void *worker);

/* Begins a request: head is a whole request head as a client would send it (RFC 9112, refused heads break an invariant), body what its length
 * says. Both are copied. done() comes later, never from here. */
void tx_start_own(struct worker *, struct tx_own *, struct str head, struct str body);
void tx_cancel_own(struct tx_own *); /* done() will not come; no-op when nothing runs */

/* Now and then: whose body comes slowly gives its place up while others wait for room. */
void tx_shed_slow(struct worker *);

/* Ends all that run: a drain that took too long. */
void tx_abort_all(struct worker *);
void tx_free_spares(struct worker *);
void tx_rest(struct worker *); /* now and then: half of the spare ones that nobody has needed since the last time are freed */

/* ---- for plugins ---- */

/* Answers in Qdrant's error shape. Returns ANSWER. */
enum verdict tx_error(struct tx *, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* What the held body says; scanned at the first call, with these rules (NULL: none). Later calls return the same. */
const struct query_facts *tx_scan(struct tx *, const struct rewrite_rules *rules);

/* Is the request's body still in memory? It may go with its client before the transaction ends. */
static inline bool tx_body_there(const struct tx *tx)
{
    return tx->client || tx->own || tx->own_body;
}

/* Puts the scan's edits into the body that goes upstream. False: it goes as it came, or not at all (doomed: no memory). */
bool tx_apply_edits(struct tx *);

/* The body as it goes upstream, in pieces. */
void tx_body_parts(struct tx *, const struct str **part, unsigned *n);

/* In response(): asks for the whole body of an upstream answer of at most max bytes; SUSPEND then, and in resume() tx->collected tells
 * whether it is there (tx->whole). False: it cannot be had (no length, too long): go on without. */
bool tx_collect(struct tx *, size_t max);

void tx_add_extra(struct tx *, struct str line); /* a header line with its CRLF, in the arena or static */
