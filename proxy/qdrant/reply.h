/* reply.h - answers in Qdrant's shape. No I/O. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "qdrant/ops.h"

/* {"status":{"error":"<text, escaped>"},"time":0.000000000} */
struct str reply_error_body(struct arena *, struct str text);

/* Where the envelope's own members are in a 200 answer {"result":...,"status":"ok","time":t}: found from its
 * end, exact or not at all. */
struct envelope {
    size_t time_at, time_n; /* the number after "time": */
    size_t usage_at,
        usage_n; /* the member `,"usage":{...}` or `,"usage":null` incl. its comma; n == 0 if absent */
};

/* False if the body is not Qdrant's envelope with "time" as a top-level member near its end (then it goes out
 * as it is). */
bool reply_envelope(struct str body, struct envelope *out);

/* Seconds with always nine decimals, e.g. "0.000042000". Returns its length (n < 32). */
size_t reply_time(char out[static 32], uint64_t nsec);

/* A 200 answer as it goes to somebody again: `time` with nine decimals (Qdrant prints 8.542e-6 or 0.00055558), so
 * that repeated answers have one length, and without `usage`, which is of one request. The body is before, time, between and after, one behind
 * the other; without an envelope, or with a time that is none, all of it is before. */
struct reply_pieces {
    struct str before, between, after; /* slices of the body */
    char time[32];
    size_t n_time, n;                  /* n: of all together */
    bool had_usage;
};
void reply_take_apart(struct str body, struct reply_pieces *out);
char *reply_put_together(char *out, const struct reply_pieces *); /* n bytes; returns what is behind them */

/* Whether a 200 alone says that a write is done; else its body tells. */
bool reply_ok_is_done(const struct op *);

/* What Qdrant's answer to a write proves. */
enum write_proof {
    PROOF_NONE,      /* acknowledged, wait_timeout, 202, 408, 5xx, unreadable: maybe applied later */
    PROOF_COMPLETED, /* every result says completed; or a 200 of an operation without `wait` */
    PROOF_REFUSED,   /* 401, 403 */
    PROOF_REJECTED,  /* another 4xx but 408: applied at most in part, and now */
};
/* body may be cut (STR_NONE: was streamed): then only the status counts. *operation_id: the largest, for each
 * shard counts by itself and a batch's results may be of several; 0 if a result has none. */
enum write_proof reply_write_proof(const struct op *, unsigned status, struct str body,
                                   uint64_t *operation_id);
