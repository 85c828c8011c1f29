/* jobs.h - what runs longer than one answer: applying settings, rolling back, tests. A table of jobs with
 * their progress and, at the end, their result; ended ones are kept until newer ones push them out. A job
 * claims a model, several, or all of them: two jobs never work on the same model at once. Owner: the control thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"

struct cJSON;

enum { JOBS_KEPT = 100, JOB_TEXT_MAX = 240, JOB_WHOSE_MAX = 120 };

#define JOB_CUT_OFF "quiver ended before it was done" /* how a job ends that the process does not wait for */

/* The states, and their words in answers. */
#define JOB_STATES(X)                                                                                        \
    X(RUNNING, "running")                                                                                    \
    X(DONE, "done")                                                                                          \
    X(FAILED, "failed")

enum job_state {
#define X(id, word) JOB_##id,
    JOB_STATES(X)
#undef X
};

extern const char *const job_state_names[];

struct job {
    struct link link;
    uint64_t id;      /* 1, 2, ... since the start of the process */
    const char *kind; /* "apply", "rollback", "enforce", "test": static */
    char *model;      /* NULL: several, or all of them */
    struct cJSON *models; /* array of names: several; else NULL */
    bool alone;       /* set by who began it: claims all, though it is about one model */
    enum job_state state;
    double progress;         /* 0..1 */
    char text[JOB_TEXT_MAX]; /* what it does now; at the end: how it went, in one sentence */
    uint64_t began, ended;   /* Unix microseconds; ended 0: it runs */
    struct cJSON *result;    /* owned; NULL until it ended, and then possibly */
    struct list waiters;
};

struct jobs {
    struct list all; /* oldest first */
    uint64_t next_id;
};

void jobs_init(struct jobs *);
void jobs_fini(struct jobs *); /* waiters are forgotten, not called */

/* Claims the model (NULL: all). NULL with a sentence that names the job in the way: it was refused (409).
 * kind: static. */
struct job *jobs_begin(struct jobs *, const char *kind, const char *model, struct err *);
/* The same for several; n 0: all. *busy: the number of the job in the way. */
struct job *jobs_begin_of(struct jobs *, const char *kind, const char *const *models, unsigned n, uint64_t *busy, struct err *);

const char *job_whose(const struct job *, char out[static JOB_WHOSE_MAX]); /* its models, for a sentence */

void job_tell(struct job *, double progress, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Takes result (may be NULL), wakes the waiters. The job stays readable; its owner must not touch it any
 * more. */
void job_end(struct jobs *, struct job *, bool well, struct cJSON *result, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

struct job *jobs_find(struct jobs *, uint64_t id);          /* NULL: no such job, or it was pushed out */
struct job *jobs_running(struct jobs *, const char *model); /* what claims this model (NULL: any) now */

/* {id, kind, model, models?, state, progress, text, began, ended?, result?}; models: of several. The caller's to delete. */
struct cJSON *job_json(const struct job *);
struct cJSON *jobs_json(const struct jobs *); /* {jobs: [...]}, newest first, without results */

/* Tells when a job ends; embedded in who waits. */
struct job_waiter {
    struct link link;
    struct job *job;
    void (*ended)(struct job_waiter *, struct job *); /* once; not called after job_forget */
};
bool job_wait(struct job *, struct job_waiter *); /* false: it has ended already, ended() will not come */
void job_forget(struct job_waiter *);             /* no-op when it does not wait */
