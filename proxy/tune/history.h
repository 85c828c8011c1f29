/* history.h - what was done to Qdrant's collections: lines of JSON, one behind the other, in <state_dir>/history.jsonl,
 * each on disk (fsync) before the deed goes on, so that nothing is half applied without a record, and read
 * back at start.
 *
 * state_dir: as configured, else the first of /var/lib/quiver, $XDG_STATE_HOME/quiver, ~/.local/state/quiver
 * that is there or can be made. The file comes into being with the first record. A torn last line (power
 * went) is skipped; the next record begins a new line.
 *
 * It keeps the newest 2000 records at least; at 4000 the older ones that no question below asks for are
 * forgotten, and the file takes its place anew as a whole.
 *
 * Records: {n, time, event, ...}
 *   "change"        before a PATCH goes out: model, collection, alias (by which the model claims it, where it is one), upstream
 *                   (the group of servers), why ("apply", "rollback", "enforce"), changes (as in plan.h), patch (null: a rollback that found nothing of quiver's left)
 *   "outcome"       of the change with this number: change, outcome, text; see OUTCOMES
 *   "rest", "wake"  enforcement of a model: after a rollback, after the next apply
 *   "test"          a model's test: result
 * Owner: the control thread. A write takes as long as the disk's fsync. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct cJSON;
struct history;

#define OUTCOMES(X)                                                                                          \
    X(REFUSED, "refused")           /* Qdrant said no: nothing changed */                                    \
    X(UNKNOWN, "unknown")           /* no answer: it may have been done */                                   \
    X(VERIFIED, "verified")         /* read back: everything is as written */                                \
    X(NOT_VERIFIED, "not_verified") /* read back: something is not */                                        \
    X(GREEN, "green")               /* verified, and the index is built */                                   \
    X(LATE, "late")                 /* verified, but not green within tune.green_timeout */                  \
    X(INTERRUPTED, "interrupted")   /* quiver ended before it knew */

enum outcome {
#define X(id, word) OUTCOME_##id,
    OUTCOMES(X)
#undef X
};

extern const char *const outcome_names[];

/* state_dir NULL: the default. Never NULL: without a place the history is empty and nothing can be written.
 */
struct history *history_open(const char *state_dir);
void history_close(struct history **);

bool history_writable(struct history *, struct err *); /* makes folder and file; false: why not */

struct history_deed {
    const char *model, *collection, *alias, *upstream, *why; /* alias: NULL if it is claimed by its own name */
    const struct cJSON *changes, *patch;          /* patch may be NULL */
};

/* All is copied; returns the record's number, 0 with err: it is not on disk, do not go on. */
uint64_t history_change(struct history *, const struct history_deed *, struct err *);
bool history_outcome(struct history *, uint64_t change, enum outcome, const char *text);
bool history_rest(struct history *, const char *model, bool rests);
bool history_test(struct history *, const char *model, const struct cJSON *result);

/* Of each value of this collection its first change since the last rollback that was verified, in order, those that Qdrant refused left
 * out: `is` was there before, `wished` is what quiver wrote last and Qdrant kept. What was written later and perhaps did not arrive follows
 * as entries of its own. For plan_undo; the caller's. */
struct cJSON *history_changes(const struct history *, const char *model, const char *collection);
/* All that has such changes, what was changed last first: [{model, collection, alias?, upstream?, changes}]; the caller's. */
struct cJSON *history_standing(const struct history *);
/* Was anything of it ever changed, whatever became of it since? What Qdrant refused does not count. */
bool history_was_changed(const struct history *, const char *model);
bool history_rests(const struct history *, const char *model);
const struct cJSON *history_get_test(const struct history *, const char *model, bool first); /* first: of a collection with points, else the last; NULL: none; valid until the next record */
