/* json_find.h - the one loop that reads every byte of a vector: where is the next quote or bracket? As wide as the processor allows, chosen
 * at run time; the narrow twins say the same (tests hold them to it). Any thread. */
#pragma once

#include <stdbool.h>

/* The first of `"` `[` `]` `{` `}` in [at, end), or end. */
const char *json_find_structural(const char *at, const char *end);

/* The first of `"` and `\` in [at, end), or end. */
const char *json_find_quote(const char *at, const char *end);

/* All ways to find structural bytes, the plain one first; ends in a NULL name. For tests and measuring. */
struct json_finder {
    const char *name;
    const char *(*structural)(const char *at, const char *end);
    bool (*can)(void); /* whether this processor has it */
};
extern const struct json_finder json_finders[];
