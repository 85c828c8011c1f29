/* inflate.h - reads small compressed answers: what became of a write stands in the answer, and a server between may compress it although
 * quiver asks for none of that. No I/O. Any thread. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/str.h"

/* coding: the value of Content-Encoding, gzip or deflate (RFC 9110 §8.4.1). *plain lies in the arena, at most max bytes. False: another
 * coding, malformed or longer. */
bool inflate_small(struct arena *, struct str coding, struct str body, size_t max, struct str *plain);
