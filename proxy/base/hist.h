/* hist.h - latencies as counts in buckets: O(1) to record, any percentile within 6.25 %, and exact counts
 * at fixed Prometheus bounds.
 * One writer (plain relaxed stores), any readers. A reader sees each count whole, not all of them at one
 * instant. No memory of its own. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

enum {
    HIST_SUB_BITS = 4,                                     /* 16 buckets per power of two */
    HIST_TOP_BIT = 31,                                     /* values from 2^31 usec (36 minutes) on share the last bucket */
    HIST_FINE = ((HIST_TOP_BIT - HIST_SUB_BITS) + 1) << HIST_SUB_BITS,
    HIST_BOUNDS = 18,                                      /* 0.0001 s .. 60 s; one more count for what is above */
};

extern const uint64_t hist_bound_usec[HIST_BOUNDS];        /* upper ends, inclusive, as Prometheus' le */
extern const char *const hist_bound_text[HIST_BOUNDS];     /* the same in seconds: "0.0001" */

struct hist {
    _Atomic uint64_t sum_usec;
    _Atomic uint64_t le[HIST_BOUNDS + 1]; /* not cumulative: between the bound before and this one */
    _Atomic uint32_t fine[HIST_FINE];     /* wraps after 4 billion in one bucket: percentiles only */
};

/* A reader's copy: sums over the writers' histograms. */
struct hist_sum {
    uint64_t n, sum_usec;
    uint64_t le[HIST_BOUNDS + 1];
    uint64_t fine[HIST_FINE];
};

void hist_record(struct hist *, uint64_t usec);
void hist_merge(struct hist_sum *, const struct hist *);   /* adds; start from a zeroed sum */
/* The value that a part q (0..1) of all is at or below, in usec: its bucket's upper end. 0 if there is
 * none. */
uint64_t hist_percentile(const struct hist_sum *, double q);
