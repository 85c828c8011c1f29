/* listen.h - listening sockets: one per worker and address with SO_REUSEPORT, so that the kernel spreads connections and a reload can keep
 * or drop each address by itself. Main thread. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "conf/conf.h"

/* Opens n sockets for one address: bound, listening, non-blocking. A probe without SO_REUSEPORT comes first, so that a port which another
 * process serves is an error and not shared; not beside_own, where it would meet a listener of this process that overlaps (one address and
 * all of the host's) and may go once these are there. Unix sockets: one, duplicated. False with err; fds are then all closed.
 * An optional address (::1 of a bare port) that the host does not have gives true with all fds -1. */
bool listen_open(const struct conf_where *, bool beside_own, int *fds, unsigned n, struct err *);

/* A unix socket's path goes with its listener. */
void listen_forget(const struct conf_where *);
