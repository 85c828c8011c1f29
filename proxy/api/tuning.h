/* tuning.h - what the control API asks of tuning: plans, deeds, jobs. The server ties it to proxy/tune, so
 * that neither layer includes the other and a test can stand in. All on the control thread; documents are
 * cJSON objects that the receiver deletes. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct cJSON;

/* A question that takes time, embedded in who asks. */
struct tuning_question {
    /* Once, from the loop, never from within the call that asked. status 200; else doc is {error: sentence},
     * or NULL. */
    void (*done)(struct tuning_question *, unsigned status, struct cJSON *doc);
    void *running;           /* the answerer's; NULL: nothing runs */
};

struct api_tuning {
    void *arg;
    /* model NULL: all. points 0: as many as there are. Documents have a list `models` of objects with
     * `model`: as in tune/tune.h. */
    void (*plan)(void *arg, const char *model, uint64_t points, struct tuning_question *);
    void (*memory)(void *arg, const char *model, struct tuning_question *);
    struct cJSON *(*status)(void *arg, const char *model);
    struct cJSON *(*last_test)(void *arg, const char *model); /* a copy; NULL: never tested */
    /* Begin a job; names of models, n 0: all; model NULL: all. false with err and *busy: the job in the way
     * (409), or 0: it cannot be done (503). */
    bool (*apply)(void *arg, const char *const *models, unsigned n, uint64_t *job, uint64_t *busy,
                  struct err *);
    bool (*rollback)(void *arg, const char *model, uint64_t *job, uint64_t *busy, struct err *);
    /* seconds: per model; 0: as tune/trial.h has it */
    bool (*test)(void *arg, const char *model, unsigned seconds, uint64_t *job, uint64_t *busy, struct err *);
    struct cJSON *(*job)(void *arg, uint64_t id);             /* NULL: there is no such job */
    struct cJSON *(*jobs)(void *arg);
    /* done() comes with the job's document when it ends. false: it has ended, done() will not come. */
    bool (*wait)(void *arg, uint64_t id, struct tuning_question *);
    void (*forget)(void *arg, struct tuning_question *); /* done() will not come; no-op when nothing runs */
};
