/* writer.h - text put together in memory of a known size, without a format string: what is written for every request. Too small a memory
 * breaks an invariant: who writes knows how much. Any thread; owns nothing. */
#pragma once

#include <stdint.h>

#include "base/ensure.h"
#include "base/str.h"

struct writer {
    char *start, *at, *end;
};

static inline struct writer writer_on(char *memory, size_t n)
{
    return (struct writer){memory, memory, memory + n};
}

static inline struct str writer_text(const struct writer *w) /* what was written; lies in the writer's memory */
{
    return (struct str){w->start, (size_t)(w->at - w->start)};
}

static inline void put(struct writer *w, struct str s)
{
    ensure(s.n <= (size_t)(w->end - w->at));
    if (s.n)
        memcpy(w->at, s.p, s.n);
    w->at += s.n;
}

void put_number(struct writer *, uint64_t);                      /* decimal */
void put_padded(struct writer *, uint64_t, unsigned n_digits);   /* decimal, zeros in front; the value has no more digits than that */
void put_hex(struct writer *, uint64_t, unsigned n_digits);      /* lower case, zeros in front; higher digits are left out */
