/* fingerprint.h - 128 bits that stand for a set of tokens: equal tokens, equal fingerprint. A value; any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct fingerprint {
    uint64_t hi, lo;
};

static inline bool fingerprint_eq(struct fingerprint a, struct fingerprint b)
{
    return a.hi == b.hi && a.lo == b.lo;
}
