/* value.h - numbers, durations and sizes from text and back, strictly: no signs, no leading zeros, no 0x, no
 * 1_000, no yes. All return false for anything else. No I/O. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

bool value_bool(struct str, bool *out);          /* true, false */
bool value_uint(struct str, uint64_t *out);      /* 0, 16; below 2^63 */
bool value_real(struct str, double *out);        /* 0.95, 2; no exponent */
bool value_usec(struct str, bool *has_unit,
                uint64_t *out); /* 250us, 2ms, 1.5s, 5m, 1h, 2d; a plain number is seconds */
bool value_bytes(struct str, bool *has_unit,
                 uint64_t *out); /* 512, 512B, 8GB = 8 * 10^9, 8GiB = 8 * 2^30, also K, M, T */

struct str value_print_usec(struct arena *, uint64_t);  /* in the largest unit that keeps it whole */
struct str value_print_bytes(struct arena *, uint64_t);
struct str value_print_real(struct arena *, double);    /* the shortest that reads back equal */
struct str value_quote(struct arena *, struct str);     /* as a YAML scalar in double quotes */
