/* exchange.h - what the load and the canned upstream agree on: the bodies of a run, one JSON body a line of a file, and
 * the one answer that belongs to each. Both sides read the same lines, so either can tell a wrong byte of the other.
 * A body is known again by the first bytes of its vector, which no proxy touches. One thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct body {
    const char *text;
    size_t n;
};

struct bodies {
    size_t n;
    struct body *at;
    struct {
        uint64_t mark;
        uint32_t at; /* index + 1; 0: free */
    } *slot;
    size_t n_slots; /* a power of two */
};

/* What a head of n bytes says of the body behind it; false: nothing. */
bool head_length(const char *head, size_t n, uint64_t *length);

/* Reads the file whole and keeps it; ends the process with a message if it cannot, or if two bodies could not be told
 * apart. */
void bodies_read(struct bodies *, const char *path);

/* The index of the body that begins as this text does, or -1. */
int bodies_find(const struct bodies *, const char *text, size_t n);

/* The answer's body for a request's body, at least n_least bytes long, in Qdrant's shape; malloc'ed. `time` is its last
 * member and ANSWER_TIME bytes wide. */
enum { ANSWER_TIME = 11 };
char *answer_make(const struct body *, size_t n_least, size_t *n);

/* The same bytes; but `time` may be another, as a cache's own is, so long as it has the same form. */
bool answer_same(const char *got, size_t n_got, const char *want, size_t n_want);
