/* tune.h - the models' wishes and Qdrant's facts: plans, applying them, taking them back, watching for drift,
 * memory.
 *
 * Everything runs on the control thread's loop and nothing waits: what needs Qdrant answers through a struct
 * tune_answer that is embedded in who asks, or is a job (jobs.h) whose id is known at once. Documents are
 * cJSON objects; who gets one deletes it.
 *
 * A model stands for the collections it claims: those of the lists that match its patterns, and the plain
 * names among the patterns. The history of all that was done lies in state_dir (history.h). Owner: the
 * control thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tune/jobs.h"

struct cJSON;
struct tune;
struct worker;

/* After the worker has its snapshot and runs. Never fails: without a writable state_dir nothing can be
 * applied, and says so. */
struct tune *tune_open(struct worker *control);
/* Cancels what runs, whose record is in the history, and tells those who wait for jobs; then only forgetting and tune_close are left. */
void tune_stop(struct tune *);
void tune_close(struct tune **); /* stops it first */

struct jobs *tune_jobs(struct tune *); /* for lookup and waiting */

/* ---- questions ---- */

/* done() comes once, from the loop, never from within the call that asked; doc belongs to the receiver.
 * status: 200; 502 when Qdrant did not answer and nothing of it could be read: doc is {error: sentence}. */
struct tune_answer {
    void (*done)(struct tune_answer *, unsigned status, struct cJSON *doc);
    void *running; /* private */
};
void tune_forget(struct tune_answer *); /* done() will not come; no-op when nothing runs */

/* models: names; n 0: all. Those that the configuration does not have are passed over. points: forecast of
 * memory for so many; 0: as many as there are. Document:
 * {models: [{model, collections: [
 *   {collection, exists, status, points,
 *    changes: [{path, at, is, wished, cost: "none"|"build"|"merge"|"reindex"}],
 *    patch: {}|null, reindex: bool, warnings: ["..."],
 *    memory: {points, needed, good, building, limit|null, within_limit|null,
 *             parts: {vectors, index, quantized, payload, ids}},
 *    error?: "why it could not be read"}]}]}
 * is and wished are null where unset; sizes in bytes. A collection that is not there has a memory only if
 * points are given. */
void tune_plan(struct tune *, const char *const *models, unsigned n, uint64_t points, struct tune_answer *);

/* {models: [{model, limit|null, collections: [
 *   {collection, exists, points, measured: {needed, good, disk, cached}|null, estimated: {needed, good},
 *    limit|null, within_limit|null, warnings: ["what the estimate leaves out"]}]}]} */
void tune_memory(struct tune *, const char *const *models, unsigned n, struct tune_answer *);

/* ---- deeds: jobs ---- */

/* models: names, n 0: all. false with err and *busy = the id of the job in the way (409), or 0: another
 * reason (503, no state_dir). The job's result:
 * {models: [{model, collections: [
 *   {collection, alias_of?, changed: bool, patch, changes, verified, green, not_stuck: [path], warnings, error?}]}]} */
bool tune_apply(struct tune *, const char *const *models, unsigned n, uint64_t *job, uint64_t *busy,
                struct err *);

/* Back to what was before quiver's first change since the last rollback; NULL: all models, also those that are gone. Of one
 * model also what another that is gone has changed of its collections. What is not as quiver wrote it stays. Enforcement
 * of the model rests until the next apply. Result as above; warnings say what stays, and what was written for values that had been unset. */
bool tune_rollback(struct tune *, const char *model, uint64_t *job, uint64_t *busy, struct err *);

/* Measures one model, or all (NULL), `seconds` each (0: the default of trial.h, where the result is
 * described). One test at a time, and nothing else beside it: false with *busy else. */
bool tune_test(struct tune *, const char *model, unsigned seconds, uint64_t *job, uint64_t *busy,
               struct err *);

/* ---- what is known now ---- */

/* As of the last look (every tune.interval), no question to Qdrant. NULL model: all.
 * {models: [{model, mode: "off"|"observe"|"enforce", resting: bool, wish: {path: value},
 *   collections: [{collection, exists, status, points, seen: seconds ago, fact: {path: value},
 *                  drift: [as changes of a plan], gave_up: [path], waits: [{path, repairs, seconds}],
 *                  repairs, warnings, error?}],
 *   targets: {p50_us, ops, hit_rate, recall}, met: bool|null, last_test: {...}|null,
 *   first_baseline: {time, before_apply, baseline}|null}]} as in trial.h */
struct cJSON *tune_status(struct tune *, const char *model);

/* How many settings of the model's collections differed when last seen, and how many of those are given up;
 * false: no collection of it is known. */
bool tune_drift(const struct tune *, const char *model, unsigned *n_drift, unsigned *n_given_up);

/* What a test of a model found; it is in the history and survives restarts. Owned by tune; NULL: none.
 * first: the first of a collection with points, else the last. */
const struct cJSON *tune_get_test(const struct tune *, const char *model, bool first);
