/* shapes.h - the shapes of the filters that a worker has seen last (qdrant/filter.h): a search that comes again costs a hash of its
 * filter instead of a walk through it. Keeps hashes and shapes, no values. Owned by one worker; bounded: SHAPES_MAX of them. */
#pragma once

#include "base/arena.h"
#include "qdrant/query.h"

enum { SHAPES_MAX = 1024 };

struct shapes;

struct shapes *shapes_new(void);
void shapes_free(struct shapes **);

/* The shape of the filters that the scan found, whose body is still there; in the arena, never p == NULL. shapes NULL: nothing is
 * remembered. */
struct str shapes_of(struct shapes *, struct arena *, const struct query_facts *);
