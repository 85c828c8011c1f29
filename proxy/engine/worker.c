#include "engine/worker.h"

#include "engine/plugin.h"
#include "qdrant/ops.h"

/* A worker's share of the connection limit; rounded up, so that the sum is never below what was configured. */
static uint64_t share(uint64_t total, uint64_t n)
{
    return n ? (total + n - 1) / n : total;
}

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
        .max_clients = share(p->max_connections, w->n_workers),
    };
    w->upstream.idle_timeout = p->idle_timeout;
    if (w->coherence)
        coherence_worker_configure(w->coherence, snapshot->conf);
    chain_configure(w, snapshot->conf);
}

void worker_use_facts(struct worker *w, struct facts *facts)
{
    facts_put(&w->facts);
    w->facts = facts;
}
