/* ops.h - Qdrant's REST operations as a table (ops.def): what a method and a path mean. No I/O.
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

/* ops.def: OP(id, name, method, pattern, class, body, flags)
 *   pattern: normalised path, "{c}" a collection, "{}" any segment, "**" the rest
 *   class:   how the cache and coherence see it; body: which shape qdrant/query.h scans */
enum op_class {
    CLASS_READ_CACHEABLE, /* RC in the notes */
    CLASS_READ_UNCACHEABLE,
    CLASS_WRITE_POINTS,
    CLASS_WRITE_COLLECTION, /* create, delete, PATCH, index, shards, ... of one collection */
    CLASS_ALIASES,          /* POST /collections/aliases */
    CLASS_SNAPSHOT_WRITE,   /* recover, upload: also replaces the collection's content */
    CLASS_SERVICE,          /* neither reads nor writes points */
};

enum op_body {
    BODY_NONE,
    BODY_SEARCH,
    BODY_SEARCH_BATCH,
    BODY_QUERY,
    BODY_QUERY_BATCH,
    BODY_PLAIN_READ,
    BODY_OPAQUE
};

enum op_flags {
    OP_PARAMS = 1, /* takes `params`: rewritten */
    OP_HELD = 2,   /* its request body is held whole */
    OP_SLOW = 4,   /* no first-byte deadline unless configured (snapshots, collection operations, writes) */
    /* also changes what others know of the collections: which there are, their aliases, shards, configuration
     * (@names) */
    OP_NAMES = 8,
    OP_HAS_WAIT = 16, /* knows the query parameter `wait` */
};

enum op_id {
    OP_UNKNOWN, /* no row matches: a GET, HEAD or OPTIONS is a service read, anything else a write: to the
                   collection that the path names, or to everything */
#define OP(id, ...) OP_##id,
#include "qdrant/ops.def"
#undef OP
    OP_COUNT
};

struct op {
    enum op_id id;
    const char *name; /* for logs and metrics: "search", "query_batch", "upsert", ... */
    const char *method, *pattern;
    enum op_class class;
    enum op_body body;
    unsigned flags;
};

extern const struct op ops[OP_COUNT]; /* ops[id].id == id */

struct route {
    const struct op *op;
    struct str path; /* normalised and decoded as Qdrant does: `//` merged, trailing `/` trimmed, segments
                        percent-decoded */
    struct str collection; /* decoded name; n == 0 if the path has none */
    bool is_write;         /* not known to be a read: opens and closes (coherence.md) */
    bool undecodable; /* the path cannot be decoded as Qdrant would (bad %, %2F in a name): pass on, never
                         cache */
};

/* Names the operation. Slices lie in raw_path where nothing had to be decoded, else in the arena. Never
 * fails: OP_UNKNOWN is an answer. OPTIONS and HEAD are never writes. */
void route_of(struct arena *, struct str method, struct str raw_path, struct route *out);

/* The value of a query parameter, decoded as serde_urlencoded would ('+' is a blank); false if absent.
 * *n_found counts all occurrences. */
bool query_param(struct arena *, struct str query, struct str name, struct str *value, unsigned *n_found);

/* The query string with its parameters (as written, empty ones dropped) in byte order, joined by '&': for
 * keys, where order means nothing. Slice of query, or arena. */
struct str query_canonical(struct arena *, struct str query);
