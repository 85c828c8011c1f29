/* measure.h - the arithmetic of tests: latencies, recall, vectors to ask with. Pure; the same input gives the
 * same figures in every process. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum { MEASURE_TOP = 10 }; /* recall is taken at so many */

/* What one kind of request came to; add by measure_add, give back by measure_free. */
struct measure {
    uint32_t *usec;         /* a latency per request, in the order of their ends until they are sorted */
    size_t n, cap;
    uint64_t busy;          /* usec during which they ran */
    uint64_t hits;          /* answered from the cache */
    uint64_t found, wanted; /* neighbours, of the exact ones, in those answers that could be compared */
};

void measure_add(struct measure *, uint64_t usec);
void measure_free(struct measure *);
void measure_sort(struct measure *);

/* The smallest latency that `share` (0..1) of the requests stay at or below (nearest rank); 0 without any.
 * Sorted. */
uint64_t measure_percentile(const struct measure *, double share);
double measure_ops(const struct measure *);      /* requests per second; 0 without time */
double measure_hit_rate(const struct measure *); /* NAN without requests */
double measure_recall(const struct measure *);   /* NAN when nothing was compared */

/* The points of an answer, best first. */
struct measure_top {
    uint64_t id[MEASURE_TOP]; /* hashes of the ids' texts */
    unsigned n;
    bool known;
};

/* Reads {"result": {"points": [{"id": ...}]}}, or {"result": [...]}; known stays false when this is none. */
struct measure_top measure_top_of(struct str body);
/* Counts how many of the exact ones were found. */
void measure_compare(struct measure *, const struct measure_top *exact, const struct measure_top *got);

/* A scroll's next_page_offset as it was written; STR_NONE: it was the last page. */
struct str measure_next_page(struct str body);

/* Moves each component by at most MEASURE_STEP of the vector's mean size. */
#define MEASURE_STEP 0.1
void measure_perturb(double *vector, size_t n, uint64_t seed);
void measure_fixed(double *vector, size_t n, uint64_t seed); /* components in (-1, 1) */
char *measure_text(const double *vector, size_t n);          /* "[0.1,-0.25]"; heap */
