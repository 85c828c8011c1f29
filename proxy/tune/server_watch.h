/* server_watch.h - who are the upstream servers? A server that was restarted, upgraded or exchanged may hold other data under the same names:
 * while a peer is in doubt (upstream/peer.h) nothing of it is cached; this module reads who it is and clears it, and when it has become
 * another process everything that was cached is given up first (a new token for all names, here and in Redis).
 * Owner: the control thread; kick may be called by any thread. */
#pragma once

#include <stdbool.h>

#include "engine/worker.h"

struct server_watch;

struct server_watch *server_watch_open(struct worker *control);
void server_watch_close(struct server_watch **);
void server_watch_kick(struct server_watch *);          /* a peer is in doubt: ask now */
bool server_watch_started(const struct server_watch *); /* every server was asked once, whatever it said; any thread */
