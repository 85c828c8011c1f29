/* blob.h - immutable bytes with a count of owners: cached answers, shared by whoever sends them.
 * Any thread may hold one; the count is atomic, the bytes do not change after blob_new's caller has filled them. */
#pragma once

#include <stddef.h>

#include "base/str.h"

struct blob {
    _Atomic unsigned n_refs;
    size_t n;
    char bytes[];
};

struct blob *blob_new(size_t n);       /* one reference, bytes not set */
struct blob *blob_copy(struct str s);  /* one reference, a copy of s */
struct blob *blob_get(struct blob *);  /* one more reference; returns its argument */
void blob_put(struct blob **);         /* gives one back and clears the pointer; NULL inside is fine */

static inline struct str blob_str(const struct blob *b)
{
    return (struct str){b->bytes, b->n};
}
