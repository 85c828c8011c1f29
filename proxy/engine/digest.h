/* digest.h - what is asked, by shape: a row for each model, collection, operation, filter and set of parameters, values erased, with
 * counts and latencies. A table of names that all threads add to and nobody takes from (a free slot is claimed by compare and
 * exchange, nobody waits), and for each worker figures of its own, written by it alone, summed when read.
 * Bounded: once the table has all the rows it may have, new shapes are counted under one row, "other"; so is what has failed and
 * never succeeded, so that names that do not exist take no place. Emptied by exchange: the control thread makes a new one and sends
 * it to the workers by mail; the old one goes with its last reference. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/hist.h"
#include "base/str.h"
#include "qdrant/ops.h"

struct digests;

struct digest_key {
    unsigned model;     /* its number in metrics */
    const struct op *op;
    struct str collection;
    struct str filter;  /* its shape; p NULL: the body was not read */
    unsigned knobs;     /* query_facts.knobs */
};

enum digest_cache { DIGEST_UNASKED, DIGEST_MISS, DIGEST_HIT };

struct digest_sample {
    uint64_t usec, now;  /* how long it took; monotonic microseconds */
    bool ok;             /* answered with a status below 400 */
    enum digest_cache cache;
    bool coalesced, rewritten;
};

/* At most max rows (0: none at all, everything is "other"); n_workers: how many count. One reference. */
struct digests *digests_new(unsigned max, unsigned n_workers);
struct digests *digests_get(struct digests *);
void digests_put(struct digests **);

/* The worker's own thread; worker < n_workers. digests NULL: nothing is counted. */
void digests_count(struct digests *, unsigned worker, const struct digest_key *, const struct digest_sample *);

struct digest_sums {
    uint64_t count, errors, lookups, hits, coalesced, rewritten, slowest, last; /* last: monotonic microseconds */
    struct hist_sum usec;
};

struct digest_row {
    const struct digest_key *key; /* NULL: the row "other" */
    uint64_t first_unix;          /* when the row began, microseconds since 1970; 0 for "other" */
    struct digest_sums sums;
};

/* Any thread with a reference. The rows there are, "other" last, made one by one. */
void digests_each(const struct digests *, void (*see)(const struct digest_row *, void *arg), void *arg);
unsigned digests_rows(const struct digests *, unsigned *max); /* how many there are, and may be; without "other" */
uint64_t digests_other(const struct digests *);               /* queries counted as "other" */
uint64_t digests_since(const struct digests *);               /* counted from then on: microseconds since 1970 */
