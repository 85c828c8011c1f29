/* trial.h - a test: what one model's collection does without quiver's parameters, with them, and from the
 * cache. A job; models come one after the other, and each has its share of time.
 *
 * Per model: query vectors are read (stored ones, slightly moved), each is asked once with exact: true; then
 * baseline and optimised requests take turns, so that whatever else the machine does meets both; last the
 * cache. Requests are quiver's own, with upstream.api_key, through the pipeline that clients use; they only
 * read. Owner: the control thread. */
#pragma once

#include <stdbool.h>

#include "base/list.h"

struct cJSON;
struct history;
struct job;
struct jobs;
struct trial;
struct worker;

enum {
    TRIAL_SECONDS = 12,    /* per model, unless said: nine models in about two minutes */
    TRIAL_LANES = 10,      /* requests at a time, as many as the model's pool allows */
    TRIAL_QUERIES = 32,
    TRIAL_REPEATS = 100,   /* warm: each of the vectors in turn, so often */
};

struct trial_order {
    const bool *chosen; /* by model index of the worker's snapshot; copied */
    unsigned seconds;   /* per model; 0: TRIAL_SECONDS */
};

/* The job is the trial's until it ends; then ended() is called and the memory is the caller's to free with
 * trial_free, later, from outside any of its callbacks. Each model's outcome goes into the history at once.
 * The job's result: {models: [
 *   {model, collection, points, vector|null, dimensions, queries, from: "stored"|"fixed", at_once, seconds, time,
 *    before_apply: bool (quiver had never changed a collection of the model; a rollback does not make it so again),
 *    baseline: {requests, ops, p50_us, p95_us, p99_us, hit_rate, recall|null},
 *    optimised: {cold: {...}, warm: {...}},
 *    targets: {p50_us: {target, is, met}|null, ops, hit_rate, recall}, met: bool|null,
 *    warnings: ["..."], first_baseline: {time, before_apply, baseline: {...}}}
 *   or {model, collection?, error: "why it could not be measured"}]}
 * p50, ops and recall of the targets are those of cold, hit_rate is that of warm. It fails when nothing could
 * be measured, or when Qdrant stops answering. */
struct trial *trial_start(struct worker *, struct history *, struct jobs *, struct job *,
                          const struct trial_order *, void (*ended)(struct trial *, void *arg), void *arg);
struct link *trial_link(struct trial *); /* for the caller's lists */
struct trial *trial_of_link(struct link *);
void trial_free(struct trial **); /* also while it runs: the job ends as failed */

/* {time, before_apply, baseline} of the first recorded test of a collection with points; null: none. */
struct cJSON *trial_first_baseline(const struct history *, const char *model);
