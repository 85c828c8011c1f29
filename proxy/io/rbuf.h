/* rbuf.h - receive buffers: one large recv into memory that is reused. A connection holds a buffer only while bytes lie in it, so an idle
 * one costs none. One pool a worker, last in first out (the warmest buffer again); no locks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum {
    /* A 4096-D search and its head fit: 92 KB, 107 KB where each number has 24 digits and signs. With what lies before it, one of the heap's
     * size classes (112 KB). */
    RBUF_BYTES = 110 * 1024,
    /* Kept for reuse; what is above goes back to the heap. Many: one that comes from the heap again lies elsewhere and touches other pages. */
    RBUF_POOL_MAX = 1024,
};

struct rbuf_pool {
    void *free; /* chained through their first bytes */
    unsigned n_free, n_idle; /* idle: the fewest that were free since the last rest */
};

struct rbuf {
    struct rbuf_pool *pool;
    char *base;        /* NULL: holds no memory */
    size_t cap;
    size_t start, end; /* bytes received and not yet consumed: base[start..end) */
};

void rbuf_pool_fini(struct rbuf_pool *);
void rbuf_pool_rest(struct rbuf_pool *); /* now and then: half of what nobody has needed since the last time goes back to the heap */

static inline struct str rbuf_bytes(const struct rbuf *b)
{
    return (struct str){b->base ? b->base + b->start : NULL, b->end - b->start};
}

/* Makes room to receive: at least one byte unless the buffer is full from its very start; returns the room. */
size_t rbuf_room(struct rbuf *);

/* Makes sure that `n` bytes counted from start fit; moves to a larger piece of memory if need be. */
void rbuf_reserve(struct rbuf *, size_t n);

/* n bytes from the start are done with; an empty buffer gives its memory back. */
void rbuf_consume(struct rbuf *, size_t n);
void rbuf_drop(struct rbuf *); /* all of it, memory too */

enum rbuf_result { RBUF_GOT, RBUF_FULL, RBUF_AGAIN, RBUF_EOF, RBUF_ERROR };

/* One recv of as much as there is room for. RBUF_GOT: *drained says that the socket had no more. */
enum rbuf_result rbuf_recv(struct rbuf *, int fd, bool *drained);
