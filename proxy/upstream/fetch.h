/* fetch.h - one exchange with an upstream: slot, connection, request out, answer in. Owned by a transaction, embedded in it.
 * The owner's task is woken on every event; it then calls fetch_run and looks at the state. Nothing calls back.
 * fetch_replayable() is the only judge of a retry: a held read on a reused connection that died before a byte of the answer came. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "http/chunk.h"
#include "http/head.h"
#include "upstream/pool.h"

#define FETCH_STATES(X)                                       \
    X(IDLE, "idle", "not started")                            \
    X(QUEUED, "queued", "waits for a slot of its pool")       \
    X(CONNECTING, "connecting", "waits for the connection")   \
    X(SENDING, "sending", "the request is going out")         \
    X(WAITING, "waiting", "for the answer's head")            \
    X(ANSWERING, "answering", "the head is there, the body is coming") \
    X(OVER, "over", "the answer is whole")                    \
    X(FAILED, "failed", "see failure")

enum fetch_state {
#define X(id, name, help) FETCH_##id,
    FETCH_STATES(X)
#undef X
};

#define FETCH_FAILURES(X)                                                              \
    X(NONE, 0, "")                                                                     \
    X(UNRESOLVED, 502, "the upstream's name has no address yet")                       \
    X(QUEUE_FULL, 503, "too many requests wait for this model's connections")          \
    X(QUEUE_TIMEOUT, 503, "no connection of this model's pool became free in time")    \
    X(CONNECT, 502, "the upstream refused the connection or could not be reached")     \
    X(CONNECT_TIMEOUT, 504, "the upstream did not accept the connection in time")      \
    X(SEND_TIMEOUT, 504, "the upstream stopped taking the request")                    \
    X(DIED, 502, "the upstream closed the connection before it answered")              \
    X(FIRST_BYTE, 504, "the upstream did not answer in time")                          \
    X(BAD_ANSWER, 502, "the upstream's answer breaks HTTP")                            \
    X(CUT, 502, "the upstream's answer ended too early")                               \
    X(BODY_TIMEOUT, 504, "the upstream's answer stopped in the middle")

enum fetch_failure {
#define X(id, status, why) FETCH_FAILED_##id,
    FETCH_FAILURES(X)
#undef X
};

struct fetch_limits { /* microseconds; 0: none */
    uint64_t queue, connect, first_byte, body;
};

struct fetch {
    struct pool_host *host;
    struct arena *arena;               /* the owner's: the answer's head is kept there */
    struct task *owner;
    struct slots *const *slots;        /* the servers to choose from */
    unsigned n_slots, queue_max, n_connect_failures;
    struct fetch_limits limits;
    enum fetch_state state;
    enum fetch_failure failure;
    bool may_retry, retried;           /* a held read; it was sent a second time */
    bool head_method;
    bool streams, stream_ended;        /* the body comes piece by piece through fetch_send_slice */
    bool any_sent, all_sent;
    struct slots *chosen;
    struct pool *pool;
    struct pool_wait wait;
    struct uconn *conn;
    struct str *part;                  /* head and held body: what a retry sends again */
    unsigned n_parts;
    struct outq out;
    char chunk_size[20];
    uint64_t started, slot_at, connected_at, sent_at, first_byte_at, progress_at;
    size_t scanned;
    struct http_head head;             /* valid from FETCH_ANSWERING; bytes in the arena */
    struct chunk_decoder chunk;
    uint64_t body_left;
    size_t slice_left;
    struct http_refusal refusal;       /* FETCH_FAILED_BAD_ANSWER: what was wrong */
};

/* Zeroes all but what is large; call before each use. */
void fetch_init(struct fetch *, struct pool_host *, struct arena *, struct task *owner);

/* part[0..n) are the head and, unless `streams`, the whole body; they stay where they are until the exchange is over. n <= OUTQ_MAX. */
void fetch_start(struct fetch *, struct slots *const *slots, unsigned n_slots, unsigned queue_max, struct str *part, unsigned n,
                 bool streams, bool head_method);

/* Goes on as far as it can; returns the state. Call when woken and when the deadline has passed. */
enum fetch_state fetch_run(struct fetch *, uint64_t now);

/* When fetch_run must be called next even if nothing happens; NEVER if the upstream is not what is waited for. */
uint64_t fetch_deadline(const struct fetch *);

/* Streaming: may a piece be given now? Then give it (chunked: framed as a chunk); its bytes stay until fetch_sent says so. */
bool fetch_takes_body(const struct fetch *);
void fetch_send_slice(struct fetch *, struct str slice, bool chunked);
bool fetch_sent(const struct fetch *);     /* nothing of what was given is left */
void fetch_end_body(struct fetch *, bool chunked);

enum fetch_body { FETCH_SLICE, FETCH_WAIT, FETCH_END, FETCH_BROKEN };
/* The answer's body, decoded; valid until fetch_body_used. FETCH_BROKEN sets state and failure. */
enum fetch_body fetch_body(struct fetch *, struct str *slice);
void fetch_body_used(struct fetch *, size_t n);
/* A body with a length of at most what the caller allows, whole and in place. */
enum fetch_body fetch_body_whole(struct fetch *, struct str *whole);

/* Ends it in any state: the connection is reused if the exchange is over and clean, else closed. Idempotent. */
void fetch_finish(struct fetch *);

const char *fetch_failure_text(enum fetch_failure);
unsigned fetch_failure_status(enum fetch_failure);
