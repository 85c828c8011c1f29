/* aliases.h - which collections and aliases a POST /collections/aliases speaks of. No I/O. Any thread. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* Every string in the body that is a value, decoded, each once: a superset of the names that the actions
 * change, because Qdrant's parser also takes an action's fields as an array in order. *names: arena. False if
 * the body is not JSON, nests deeper than 64, or holds over 4096 different strings or one of over 8 KB: then
 * it may speak of any name. */
bool aliases_names(struct arena *, struct str body, struct str **names, unsigned *n);
