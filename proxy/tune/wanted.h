/* wanted.h - the collections that facts are wanted of, and in which order to ask. The list is the round: who has been visited goes to its end,
 * who is new or has changed to its begin, and the round is over when its first has been visited. Names are found by hash.
 * One owner, no locks, no clock of its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/str.h"

enum { WANTED_NAME_MAX = 255 }; /* bytes; Qdrant takes no longer ones */

struct wanted_row {
    struct link link, in_bucket;
    char *name;
    uint64_t hash, round;
    uint64_t absent_at; /* Qdrant did not have it then; 0: it was there, or has not been asked for */
    bool changed;       /* ask, whatever is known */
    bool idle;          /* no client has used it, a limit is all that there is */
    bool shown;         /* since it was asked for, Qdrant has answered a client as if it were there */
};

struct wanted {
    struct list rows, *bucket;
    unsigned n_buckets;
    uint64_t round;
    struct wanted_row *left; /* the first that this round has left to the next one */
};

void wanted_init(struct wanted *);
void wanted_fini(struct wanted *);

struct wanted_row *wanted_find(const struct wanted *, struct str name); /* NULL: it is not there */
/* Makes it, new and first in turn. NULL: no room (FACTS_COLLECTIONS_MAX), or no name that Qdrant would take. */
struct wanted_row *wanted_add(struct wanted *, struct str name, bool idle);
void wanted_drop(struct wanted *, struct wanted_row *);
bool wanted_is_full(const struct wanted *);

void wanted_change(struct wanted *, struct wanted_row *); /* it is to be asked for, and soon */

/* Whose turn it is: visited by this. NULL: the round is over, and another one begins with those who were left. */
struct wanted_row *wanted_next(struct wanted *);
void wanted_leave(struct wanted *, struct wanted_row *); /* visited in vain */
