/* arena.h - memory that dies together: what a request derives lives in its arena and goes with it.
 * Advantage: no free() on any path, an allocation is an addition. Disadvantage: nothing goes back early, so nothing that grows
 * with a stream belongs here. One owner, one thread; no locks. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

#include "base/str.h"

struct arena_chunk;

struct arena {
    char *at, *end;
    struct arena_chunk *chunks; /* newest first; all heap */
};

/* first..first+n is memory of the owner's used before the heap is asked (may be NULL, 0). */
void arena_init(struct arena *, void *first, size_t n);
void arena_fini(struct arena *); /* frees all; the arena may be initialised again */

void *arena_alloc(struct arena *, size_t n);  /* 16-byte aligned, not zeroed, never NULL */
void *arena_zalloc(struct arena *, size_t n);
struct str arena_copy(struct arena *, struct str s);
struct str arena_printf(struct arena *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
