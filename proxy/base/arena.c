#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"

enum { CHUNK_BYTES = 4096, ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    _Alignas(ALIGN) char bytes[];
};

static char *aligned(char *p)
{
    return (char *)(((uintptr_t)p + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
}

void arena_init(struct arena *a, void *first, size_t n)
{
    *a = (struct arena){.at = first, .end = first ? (char *)first + n : NULL};
}

void arena_fini(struct arena *a)
{
    for (struct arena_chunk *chunk = a->chunks, *next; chunk; chunk = next) {
        next = chunk->next;
        free(chunk);
    }
    *a = (struct arena){0};
}

void *arena_alloc(struct arena *a, size_t n)
{
    char *p = aligned(a->at);
    if (a->at && n <= (size_t)(a->end - a->at) && p + n <= a->end) {
        a->at = p + n;
        return p;
    }
    ensure(n < SIZE_MAX / 2);
    size_t bytes = n > CHUNK_BYTES / 4 ? n : CHUNK_BYTES;
    struct arena_chunk *chunk = mem_alloc(sizeof *chunk + bytes);
    chunk->next = a->chunks;
    a->chunks = chunk;
    if (bytes == n && n > CHUNK_BYTES / 4)
        return chunk->bytes; /* a big one gets a chunk of its own; the current one goes on */
    a->at = chunk->bytes + n;
    a->end = chunk->bytes + bytes;
    return chunk->bytes;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    return memset(arena_alloc(a, n), 0, n);
}

struct str arena_copy(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return (struct str){p, s.n};
}

struct str arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    ensure(n >= 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return (struct str){p, (size_t)n};
}
