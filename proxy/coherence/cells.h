/* cells.h - tokens and holds within the process: a fixed table, a cell per name by its hash, shared by all
 * threads without locks. A collision invalidates too much, never too little. `now` is monotonic
 * microseconds, always an argument.
 *
 * Order is what makes it right. A write counts itself open before it changes the token, and changes the
 * token and sets the hold before it counts itself closed. A look reads the token first and asks afterwards
 * whether a write is open or a hold runs. So a look that is told "clear" saw a token that no write had
 * made stale before that look began. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coherence/name.h"

struct cells;

struct cells *cells_new(void);
void cells_free(struct cells **);

/* The tokens of n names, into tokens[n]; false: one of them is held (tokens are set all the same). */
bool cells_look(struct cells *, const struct name_id *, unsigned n, uint64_t now, uint64_t *tokens);

/* Every open needs exactly one close with the same names. held_until: until when
 * the names stay held, 0 for no longer. */
void cells_open(struct cells *, const struct name_id *, unsigned n);
void cells_close(struct cells *, const struct name_id *, unsigned n, uint64_t held_until);

/* For holds that end before their time: a new token, then held until exactly then. Whoever may raise or
 * lower a hold at the same time must see to the order (holds.c). */
void cells_release(struct cells *, struct name_id, uint64_t held_until);
bool cells_share(struct name_id, struct name_id); /* both names have the same cell */
