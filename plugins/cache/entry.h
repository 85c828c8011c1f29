/* entry.h - a cached answer as bytes: the same in memory and in Redis. Header lines and body of Qdrant's own 200, the envelope's `time`
 * apart, so that a hit can write its own. A value inside a blob; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/blob.h"
#include "http/head.h"

struct entry {
    uint64_t stored_unix;     /* microseconds since 1970 */
    struct str fields;        /* end-to-end header lines, without date and length */
    struct str before, after; /* the body around the number of `time`; after is empty if the body has no envelope */
    struct str time;          /* Qdrant's own, with nine decimals; empty if there is no envelope */
};

/* Makes an entry of an answer; one reference. *changed: it had a `usage` report, which the entry has not: this answer itself goes out as
 * it came. */
struct blob *entry_make(const struct http_head *, struct str body, uint64_t stored_unix, bool *changed);

/* Reads one; false if the bytes are not an entry of this version (from Redis: never trusted). Slices lie in the bytes. */
bool entry_read(struct str bytes, struct entry *out);
