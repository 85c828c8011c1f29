/* metrics_private.h - between the parts of metrics: metrics.c counts, metrics_render.c makes the page,
 * metrics_process.c answers for the process. Nobody else includes it. */
#pragma once

#include <stdbool.h>

#include "base/metrics.h"

enum { METRICS_STATUSES = 501 }; /* 100..599, then "none" */

struct metrics_statuses {
    _Atomic uint64_t n[METRICS_STATUSES];
};

struct metrics_model {
    _Atomic uint64_t counter[MM_COUNT];
    _Atomic int64_t gauge[MG_COUNT];
    struct hist hist[MH_COUNT];
    struct metrics_statuses *_Atomic op[METRICS_OPS_MAX]; /* made with the first request of the operation */
};

struct metrics_scraper {
    void (*fn)(struct metrics_out *, void *arg);
    void *arg;
};

unsigned metrics_n_ops(void);
const char *metrics_op_name(unsigned op);
unsigned metrics_n_models(void);
/* A model's status counts of an operation over all threads, added to sum; false if no thread has any. */
bool metrics_statuses_sum(unsigned model, unsigned op, uint64_t sum[static METRICS_STATUSES]);

/* Under the render lock. */
void metrics_process_refresh(void);
/* Sets the scrapers that answer for log, build, process and allocator. */
void metrics_process_init(void);
