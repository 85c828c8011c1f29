/* redis_resolve.h - the address of a host name, found by a thread of its own because getaddrinfo blocks.
 * Owner and thread: the loop that asked. */
#pragma once

#include "io/loop.h"

struct redis_resolve;

/* found is called once, by a letter: address is a literal ("10.0.0.7", "::1") or NULL, then why says what
 * went wrong. Both are good during the call only; the handle is gone with it. Of several addresses attempt
 * chooses one in turn. */
struct redis_resolve *redis_resolve_start(struct loop *, const char *host, unsigned attempt,
                                          void (*found)(void *arg, const char *address, const char *why),
                                              void *arg);
void redis_resolve_cancel(struct redis_resolve *); /* found is not called any more */
