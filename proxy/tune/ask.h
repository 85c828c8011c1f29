/* ask.h - a question of quiver's own to Qdrant: one GET, the whole answer, bounded. Runs on the control thread's loop through the same
 * slots, connections and deadlines as clients' requests, with quiver's own name and key. */
#pragma once

#include "engine/worker.h"
#include "upstream/fetch.h"

struct ask {
    struct task task;
    struct worker *worker;
    struct timer timer;
    struct arena arena;
    struct fetch fetch;
    struct str part[1];
    bool running;
    unsigned status;     /* 0: no answer (fetch.failure says why) */
    struct str body;     /* valid during done() */
    char *own;           /* what body lies in: the answer may come in chunks */
    size_t n_own;
    void (*done)(struct ask *);
};

void ask_init(struct ask *, struct worker *, void (*done)(struct ask *));
void ask_fini(struct ask *); /* also while it runs */

/* path: raw, as it goes into the request line. slots: where to. Must not be running. done() comes from the loop, never from here. */
void ask_start(struct ask *, struct slots *, const char *path);
