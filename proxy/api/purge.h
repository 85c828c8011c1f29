/* purge.h - no answer from before is served from a cache again: of one model, or of all. As a write would do it, but that nothing is
 * written: new tokens, here and for all quivers of the same Redis. Owner: the control thread. */
#pragma once

#include "api/tree.h"
#include "coherence/coherence.h"
#include "conf/conf.h"
#include "engine/worker.h"

struct purge {
    struct write_hold hold;
    struct worker *worker;
    bool closing;
    void (*done)(struct purge *); /* once, from the loop: Redis has heard of it, or nobody who relies on it answers from a cache (coherence_open) */
    struct task task;
};

/* model NULL: everything. Embedded in who asks. *names: what goes, a list of names; "*" for everything, which also stands for a model with patterns. */
void purge_start(struct purge *, struct worker *, const struct conf_model *model, struct arena *, struct node **names);
/* The same for one collection, or what an alias stands for. */
void purge_start_collection(struct purge *, struct worker *, struct str collection, struct arena *, struct node **names);
void purge_stop(struct purge *); /* done() will not come; what was told stands */
