/* filter.h - what a filter asks for, without what it looks for: `must[key=city match.value] must_not[is_empty.key=name]`.
 * Qdrant's own words and the names of payload fields are kept, all values are erased: a word that Qdrant's filters do not have
 * could be one, and becomes `?`, as does the name of a field that does not look like a name. Equal conditions in a row are
 * written once, the members of an object stand in one order, and null is as good as absent: what differs in values only, has
 * one shape. Pure. Any thread. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

enum { FILTER_SHAPE_MAX = 400 }; /* a longer shape ends in "..." */

/* Text that grows up to its ceiling. */
struct filter_shape {
    char *text; /* FILTER_SHAPE_MAX bytes of the owner's */
    size_t n, last; /* last: where the last filter begins */
    bool cut;   /* there is no room for more; the text ends in "..." */
};

/* Appends the shape of a filter, the value as it is written, behind a "; " where something stands already; a filter like the last
 * one of the text, or an empty one, adds nothing. What is not JSON in every part is `?`. */
void filter_add(struct filter_shape *, struct str filter);
