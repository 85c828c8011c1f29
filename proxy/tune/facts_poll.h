/* facts_poll.h - keeps the facts about Qdrant's collections (engine/facts.h): asks for aliases, and for status, sizes, memory, shards and strict
 * mode of the collections that clients use or that have a memory_limit, and hands each new state to the workers.
 * Owner: the control thread. What says so may be called by any thread; it takes a lock for a moment. */
#pragma once

#include <stdbool.h>

#include "engine/facts.h"
#include "engine/worker.h"

struct facts_poll;

/* publish() is called on the control thread; it takes references of its own to the facts for whom it hands them to. */
struct facts_poll *facts_poll_open(struct worker *control, void (*publish)(struct facts *, void *arg), void *arg);
void facts_poll_close(struct facts_poll **);

void facts_poll_kick(struct facts_poll *); /* aliases or collections may have changed: ask now. Any thread */
/* A collection's configuration may be another now. Any thread. */
void facts_poll_changed(struct facts_poll *, struct str collection);
/* A client uses this collection and nothing is known of it. shown: Qdrant has answered for it, so there is one. What is not there (404) and was
 * not shown is forgotten at once: names that somebody made up take no room. Any thread. */
void facts_poll_seen(struct facts_poll *, struct str collection, bool shown);

/* The first round has ended, whatever it found. Any thread. */
bool facts_poll_started(struct facts_poll *);
/* The last round brought an alias map that caches may go by. Any thread. */
bool facts_poll_good(struct facts_poll *);
/* Qdrant answered the last round. Any thread. */
bool facts_poll_upstream_ok(struct facts_poll *);
