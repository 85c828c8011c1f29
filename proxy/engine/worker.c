#include "engine/worker.h"

#include "engine/plugin.h"
#include "engine/tx.h"
#include "qdrant/ops.h"

void worker_use_snapshot(struct worker *w, struct snapshot *snapshot)
{
    const struct conf_process *p = &snapshot->conf->process;
    snapshot_put(&w->snapshot);
    w->snapshot = snapshot;
    w->front.limits = (struct front_limits){
        .head = p->head_timeout,
        .body = p->client_body_timeout,
        .write = p->client_write_timeout,
        .keep_alive = p->keep_alive,
    };
    w->upstream.idle_timeout = p->idle_timeout;
    w->loop.busy_poll = p->busy_poll;
    if (w->coherence)
        coherence_worker_configure(w->coherence, snapshot->conf);
    chain_configure(w, snapshot->conf);
}

void worker_use_digests(struct worker *w, struct digests *digests)
{
    digests_put(&w->digests);
    w->digests = digests;
}

void worker_use_facts(struct worker *w, struct facts *facts)
{
    facts_put(&w->facts);
    w->facts = facts;
    for (struct link *k = list_first(&w->running); k; k = list_next(&w->running, k)) {
        struct tx *tx = LIST_OF(tx, link, k);
        if (tx->awaits_facts)
            loop_wake(&w->loop, &tx->task);
    }
}
