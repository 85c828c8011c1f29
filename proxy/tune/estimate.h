/* estimate.h - how much memory a collection wants in Qdrant: computed from its configuration and number of
 * points, and read from Qdrant's own report where it gives one. Pure; any thread.
 *
 * needed: what must be in memory (heap). good: needed and the page cache that keeps it fast. Both as Qdrant
 * counts them in GET /collections/{c}/memory: vectors lie in files of 32 MiB, which count whole from their
 * first byte on, so that a small collection shows more than its vectors. Figures saturate at 2^64-1. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct cJSON;

struct estimate {
    uint64_t points;
    uint64_t needed, good;                            /* bytes */
    uint64_t vectors, index, quantized, payload, ids; /* parts of good */
    uint64_t building;   /* more, while an index is built: a second copy of the largest segment */
    /* No configuration tells these, so they are left out: what sparse vectors take, how many vectors a point of a multivector has beside one. */
    bool without_sparse, without_multi;
};

/* info: "result" of GET /collections/{c}, possibly with wishes written into it. points 0: as many as it says;
 * another number: as if all of them were indexed. payload: bytes a point, 0: none. false: no points_count or
 * no vectors in it. */
bool estimate_collection(const struct cJSON *info, uint64_t points, uint64_t payload, struct estimate *);

/* What one point more takes in the end: with its share of the index, of quantized vectors and ids; vectors:
 * of that, its vectors alone, wherever they lie. 0 where there are none. Without payload. */
void estimate_point(const struct cJSON *info, uint64_t *point, uint64_t *vectors);

struct memory_report {
    uint64_t needed, good, disk, cached; /* ram, ram + expected cache, on disk, resident page cache */
};
/* report: "result" of GET /collections/{c}/memory. false: it has no total. */
bool estimate_read_report(const struct cJSON *report, struct memory_report *);
