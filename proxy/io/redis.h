/* redis.h - one connection to a Redis, kept up by itself; the only user of hiredis. Owner and thread: the
 * loop it was opened on; no locks. A callback (done, ready, away) runs as an event of that loop, never
 * before the call that caused it has returned: it records and wakes. SIGPIPE must be ignored by the
 * process (hiredis writes with write(2)).
 *
 * A connection is ready when it is connected, has said who it is (AUTH, SELECT, CLIENT SETNAME) and has
 * answered INFO. When it is lost it comes back by itself after 50 ms to 1 s, growing, with jitter. Five
 * commands in a row over their budget open the breaker: everything in flight fails at once and a new
 * connection is the probe. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"
#include "conf/conf.h"
#include "io/loop.h"

/* A reply, good during the callback that gets it. */
struct redis_value;
enum redis_kind { REDIS_IS_NIL, REDIS_IS_TEXT, REDIS_IS_NUMBER, REDIS_IS_LIST, REDIS_IS_ERROR };
enum redis_kind redis_kind(const struct redis_value *);
struct str redis_text(const struct redis_value *);       /* text, status or error; else STR_NONE */
int64_t redis_number(const struct redis_value *);
unsigned redis_count(const struct redis_value *);        /* members of a list; else 0 */
const struct redis_value *redis_item(const struct redis_value *, unsigned i); /* i < redis_count */

/* A command under way; embedded in its owner. */
struct redis_flight;
struct redis_op {
    struct redis_flight *flight; /* NULL: not under way */
    /* NULL: no answer (time is up, connection lost) */
    void (*done)(struct redis_op *, const struct redis_value *);
};

struct redis_info {           /* from INFO at the last connect */
    char run_id[48];          /* of that Redis process */
    char role[16];            /* "master", "slave" */
    char policy[32];          /* maxmemory-policy, e.g. "noeviction" */
};

struct redis_conf {
    struct conf_redis target; /* copied */
    const char *name;         /* for CLIENT SETNAME and log lines: letters, digits, '-'; copied */
    uint64_t connect_timeout; /* microseconds; also the budget of the handshake */
    unsigned max_ops;         /* in flight; 0: 1024 */
    size_t max_bytes;         /* of commands in flight; 0: 16 MiB */
};

struct redis_stats {
    /* commands sent; over budget; lost or refused; not sent (away, over a bound) */
    uint64_t ops, timeouts, failures, refused;
    uint64_t connects, connect_failures, breaker_opens, losses; /* losses: connections lost or not made */
};

struct redis;

/* ready: usable; the info is there. Return false: not fit to be used; it is then asked again every 5 s by
 * a new connection. away: was ready and is no more; sent after the done of all that was in flight. Both
 * may be NULL. */
struct redis *redis_open(struct loop *, const struct redis_conf *, bool (*ready)(void *arg),
                         void (*away)(void *arg), void *arg);
/* not from a callback; none comes any more, not even for what is in flight */
void redis_close(struct redis **);

bool redis_ready(const struct redis *);
const struct redis_info *redis_info(const struct redis *);
const struct redis_stats *redis_stats(const struct redis *);
const char *redis_fault(const struct redis *); /* why it is not ready, one sentence; "" if it is */

/* Sends a command of argc words (binary safe, copied; argc <= REDIS_ARGS_MAX). False: not sent, done will
 * not come. budget: microseconds from when it goes out, at the end of this loop turn. op->done is called
 * exactly once unless redis_abandon comes first; it may send, but not when it got NULL. A reply over
 * budget is dropped. op NULL: nobody waits for the answer. */
enum { REDIS_ARGS_MAX = 80 };
bool redis_send(struct redis *, struct redis_op *op, unsigned argc, const struct str *argv, uint64_t budget,
                void (*done)(struct redis_op *, const struct redis_value *));
void redis_abandon(struct redis_op *); /* the owner no longer cares; no-op if not under way */
/* After redis_send: the answer may be large. That it takes long does not count for the breaker as long as anything is answered
 * on this connection once a second. */
void redis_may_be_large(struct redis_op *);

/* At the end of a thread, when its loop turns no more: sends and reads on this connection alone until done
 * says so, usec have passed or the connection is lost. Callbacks run before it returns. */
void redis_pump(struct redis *, bool (*done)(void *arg), void *arg, uint64_t usec);

/* Gives the connection up and makes a new one: whoever it is connected to is not the one wanted. Not ready
 * from now on; what is in flight fails, then away comes, both by an event. why: one phrase for the log; a
 * literal. */
void redis_reconnect(struct redis *, const char *why);
