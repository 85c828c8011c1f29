/* metrics.h - counters, gauges and latencies of the process; metrics.def names them all.
 * One block per thread, written by that thread alone (relaxed, no locked instruction), summed when read.
 * Blocks live until metrics_fini.
 * A block pointer may be NULL: then nothing is counted (tests of other parts need no metrics). */
#pragma once

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

#include "base/hist.h"
#include "base/str.h"

enum {
    METRICS_MODELS_MAX = 256,
    METRICS_THREADS_MAX = 272, /* workers, main, control and a few more */
    METRICS_OPS_MAX = 160,
};

enum metrics_counter {
#define COUNTER(id, ...) M_##id,
#include "base/metrics.def"
    M_COUNT
};
enum metrics_gauge {
#define GAUGE(id, ...) G_##id,
#include "base/metrics.def"
    G_COUNT
};
enum metrics_model_counter {
#define MODEL_COUNTER(id, ...) MM_##id,
#include "base/metrics.def"
    MM_COUNT
};
enum metrics_model_gauge {
#define MODEL_GAUGE(id, ...) MG_##id,
#include "base/metrics.def"
    MG_COUNT
};
enum metrics_model_hist {
#define MODEL_HIST(id, ...) MH_##id,
#include "base/metrics.def"
    MH_COUNT
};
enum metrics_scraped {
#define SCRAPED(id, ...) MS_##id,
#include "base/metrics.def"
    MS_COUNT
};

enum metrics_derived {
#define DERIVED(id, ...) MD_##id,
#include "base/metrics.def"
    MD_COUNT
};

struct metrics_model; /* a model's part of a block: made by the writing thread when it first counts for the model */

struct metrics {
    const char *thread;
    _Atomic uint64_t counter[M_COUNT];
    _Atomic int64_t gauge[G_COUNT];
    struct metrics_model *_Atomic model[METRICS_MODELS_MAX];
};

/* Main thread, before any metrics_open: the labels of `operation`, indexed by the op of metrics_request.
 * The names are kept, not copied; n_ops <= METRICS_OPS_MAX. metrics_fini frees all blocks; nobody counts
 * any more. */
void metrics_init(unsigned n_ops, const char *const *op_names);
void metrics_fini(void);

/* A block of its own for the calling thread; never NULL. `thread` is kept, not copied. */
struct metrics *metrics_open(const char *thread);

static inline void metrics_add(struct metrics *m, enum metrics_counter id, uint64_t n)
{
    if (m)
        atomic_store_explicit(&m->counter[id], atomic_load_explicit(&m->counter[id], memory_order_relaxed) + n,
                              memory_order_relaxed);
}

static inline void metrics_gauge_add(struct metrics *m, enum metrics_gauge id, int64_t n)
{
    if (m)
        atomic_store_explicit(&m->gauge[id], atomic_load_explicit(&m->gauge[id], memory_order_relaxed) + n,
                              memory_order_relaxed);
}

/* This thread's share of the gauge: for gauges that one thread owns. */
static inline void metrics_gauge_set(struct metrics *m, enum metrics_gauge id, int64_t value)
{
    if (m)
        atomic_store_explicit(&m->gauge[id], value, memory_order_relaxed);
}

/* M_REFUSED_<status>, M_REFUSED_OTHER for a status without a row. */
void metrics_refused(struct metrics *, unsigned status);

/* The number of a model's name, the same for the life of the process (the name is copied; any thread;
 * takes a lock, so call it when configuration is loaded). Once METRICS_MODELS_MAX - 1 names are known, all
 * others share the model "other". */
unsigned metrics_model(const char *name);
const char *metrics_model_name(unsigned model); /* lives as long as the metrics; any thread */

void metrics_model_add(struct metrics *, unsigned model, enum metrics_model_counter, uint64_t n);
void metrics_model_gauge_add(struct metrics *, unsigned model, enum metrics_model_gauge, int64_t n);
void metrics_model_hist(struct metrics *, unsigned model, enum metrics_model_hist, uint64_t usec);

/* A request that is over: model_requests_total{model,operation,status} and MH_TOTAL. A status outside
 * 100..599 shows as "none" (no answer). */
void metrics_request(struct metrics *, unsigned model, unsigned op, unsigned status, uint64_t usec_total);

/* Values that are asked for when the page is made. fn runs on the thread that renders and calls
 * metrics_emit any number of times; label is the value of the row's label (ignored if it has none). NULL
 * takes it away. Any thread; once it returns, the old fn does not run any more. Those that base can answer
 * itself (log, build, uptime, process, allocator) are set by metrics_init. */
struct metrics_out;
void metrics_scrape(enum metrics_scraped, void (*fn)(struct metrics_out *, void *arg), void *arg);
void metrics_emit(struct metrics_out *, const char *label, double value);

/* Reading: sums over all threads. Any thread. */
uint64_t metrics_counter_sum(enum metrics_counter);
int64_t metrics_gauge_sum(enum metrics_gauge);
uint64_t metrics_model_sum(unsigned model, enum metrics_model_counter);
int64_t metrics_model_gauge_sum(unsigned model, enum metrics_model_gauge);
void metrics_model_hist_sum(unsigned model, enum metrics_model_hist, struct hist_sum *); /* adds */
uint64_t metrics_requests_sum(unsigned model, unsigned op, unsigned status);
double metrics_hit_rate(unsigned model); /* 0..1: hits of all stores / lookups; METRICS_MODELS_MAX: of all models */

/* Prometheus text format 0.0.4. Any thread; takes a lock, so that one renders at a time. */
void metrics_render(FILE *out);
