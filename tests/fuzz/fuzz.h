/* fuzz.h - what the fuzz targets share. A target claims something about any bytes; CLAIM ends the process
 * when it is not so. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "base/str.h"

#define CLAIM(what) ensure(what)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* A heap copy of exactly n bytes, so that the sanitizer sees a read beyond them. free() it. */
static inline char *exact_copy(const void *p, size_t n)
{
    char *copy = mem_alloc(n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

/* part lies wholly in whole, or is no slice at all. */
static inline int lies_in(struct str part, struct str whole)
{
    return !part.p || (part.p >= whole.p && part.n <= whole.n && part.p + part.n <= whole.p + whole.n);
}
