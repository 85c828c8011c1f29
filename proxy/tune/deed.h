/* deed.h - a job that changes collections, one after the other so that Qdrant builds one index at a time: an
 * apply or a rollback. Owner: the control thread. */
#pragma once

#include <stdbool.h>

#include "base/list.h"

struct deed;
struct history;
struct job;
struct jobs;
struct worker;

struct deed_order {
    bool rollback, all; /* all: of a rollback: of the whole history, also of models that are gone */
    const bool *chosen; /* by model index of the worker's snapshot; copied */
};

/* The job is the deed's until it ends; then ended() is called and the deed's memory is the caller's to free
 * with deed_free, later, from outside any of its callbacks. */
struct deed *deed_start(struct worker *, struct history *, struct jobs *, struct job *,
                        const struct deed_order *, void (*ended)(struct deed *, void *arg), void *arg);
struct link *deed_link(struct deed *); /* for the caller's lists */
struct deed *deed_of_link(struct link *);
void deed_free(struct deed **); /* also while it runs: the job ends as failed */
