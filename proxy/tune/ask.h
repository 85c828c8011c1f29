/* ask.h - a question of quiver's own to Qdrant: one exchange, the whole answer, bounded. Runs on the control
 * thread's loop through the same slots, connections and deadlines as clients' requests, with quiver's own
 * name and key. It knows nothing of coherence: what changes a collection goes through the pipeline instead
 * (engine/tx.h, tx_start_own). */
#pragma once

#include "engine/worker.h"
#include "upstream/fetch.h"

struct ask {
    struct task task;
    struct worker *worker;
    struct timer timer;
    struct arena arena;
    struct fetch fetch;
    struct str part[2];
    bool running;
    unsigned status; /* 0: no answer (fetch.failure says why) */
    struct str body; /* valid during done() */
    char *own;       /* what body lies in: the answer may come in chunks */
    size_t n_own;
    void (*done)(struct ask *);
};

void ask_init(struct ask *, struct worker *, void (*done)(struct ask *));
void ask_fini(struct ask *); /* also while it runs */

/* path: raw, as it goes into the request line. slots: where to. Must not be running. done() comes from the
 * loop, never from here. */
void ask_start(struct ask *, struct slots *, const char *path); /* GET; 2 s */

/* The same for any method; body is copied, n 0: none; usec: for the answer to begin and for each pause in it.
 * Only a GET is sent twice when its connection had just died. */
void ask_send(struct ask *, struct slots *, const char *method, const char *path, struct str body,
              uint64_t usec);

/* The head of a request of quiver's own: with its name and, if the configuration has one, its key. path: raw; more: further lines, CRLF each. */
struct str ask_head(struct arena *, const struct conf *, const char *method, const char *path, const char *host, size_t n_body, const char *more);

/* Where questions to this group of upstreams go now: its first server that is not known to be down. The group
 * is one of the configuration that the question began with: numbers of groups mean others after a reload.
 * Connections of their own, so that a slow answer about one collection holds up nothing else. */
struct slots *ask_slots(struct worker *, const struct conf_group *);
/* The same for what is asked again and again: facts, proofs, other writers. */
struct slots *ask_slots_of_control(struct worker *, const struct conf_group *);

/* Why there was no answer (status 0), as a sentence. */
const char *ask_why(const struct ask *);
