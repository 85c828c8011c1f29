/* facts_poll.h - keeps the facts about Qdrant's collections: fetches aliases and strict modes and hands each new state to the workers.
 * Owner: the control thread. facts_poll_kick and facts_poll_seen may be called by any thread. */
#pragma once

#include <stdbool.h>

#include "engine/facts.h"
#include "engine/worker.h"

struct facts_poll;

/* publish() is called on the control thread with a reference of its own for every worker that wants one. */
struct facts_poll *facts_poll_open(struct worker *control, void (*publish)(struct facts *, void *arg), void *arg);
void facts_poll_close(struct facts_poll **);

void facts_poll_kick(struct facts_poll *);                       /* aliases or collections may have changed: ask now */
void facts_poll_changed(struct facts_poll *, struct str collection); /* its configuration may be another now */
void facts_poll_seen(struct facts_poll *, struct str collection); /* a collection whose strict mode matters */

/* The first round has ended, whatever it found. Any thread. */
bool facts_poll_started(struct facts_poll *);
/* The last round brought an alias map that caches may go by. Any thread. */
bool facts_poll_good(struct facts_poll *);
/* Qdrant answered the last round. Any thread. */
bool facts_poll_upstream_ok(struct facts_poll *);
