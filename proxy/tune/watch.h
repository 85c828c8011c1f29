/* watch.h - keeps looking whether Qdrant still is what each model wishes: every tune.interval one GET a
 * collection. Drift is kept and shown; where the model says `enforce: enforce` it is repaired: one PATCH for
 * what drifted, not while an index is being built, not while a job works on the model, later and later when
 * it fails or when the same value drifts again after each repair, and not again for a value that Qdrant does
 * not keep. Whatever makes a new configuration (SIGHUP, a switch) and each apply begin anew. Owner: the
 * control thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/conf.h"

struct cJSON;
struct history;
struct jobs;
struct watch;
struct worker;

enum {
    WATCH_TRIES = 3,   /* then a value that does not stick is given up, until the next reload, switch or apply */
    WATCH_AT_ONCE = 5, /* repairs of one value in a row, each within ten minutes of the last; then each waits longer */
};

struct watch *watch_open(struct worker *, struct history *, struct jobs *);
void watch_close(struct watch **);

void watch_soon(struct watch *);                       /* something was changed: look again now */
void watch_forgive(struct watch *, const char *model); /* what was given up is tried again */

/* Over all collections of the model that are there; false: none is known. */
bool watch_count(const struct watch *, const char *model, unsigned *n_drift, unsigned *n_given_up);

/* [{collection, status, points, seen, fact, drift, gave_up, waits, repairs, warnings, error?}], the caller's. error: why it could not be read,
 * or why the last repair failed. */
struct cJSON *watch_json(const struct watch *, const char *model);
