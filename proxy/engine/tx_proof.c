/* tx_proof.c - what the answer to a write proves (coherence.md "close"). */
#include "base/log.h"
#include "engine/tx_parts.h"
#include "qdrant/reply.h"

/* wait=true, and no timeout that could have ended the wait. */
static bool waited(struct tx *tx)
{
    struct str value;
    unsigned n;
    return tx->route.op->flags & OP_HAS_WAIT && query_param(&tx->arena, tx->head.query, STR("wait"), &value, &n) && n == 1 &&
           str_eq(value, STR("true")) && !query_param(&tx->arena, tx->head.query, STR("timeout"), &value, &n);
}

/* What the answer proves. One that cannot be read (compressed, as official clients ask for; or long) proves by its status alone that a write
 * which was waited for without a limit is done: Qdrant answers 200 to it only then. */
void tx_read_proof(struct tx *tx, struct str body)
{
    const struct fact_collection *fact = facts_collection(tx->worker->facts, tx->resolved);
    bool one_shard = fact && fact->n_shards == 1 && fact->n_replicas == 1;
    tx->proof = reply_write_proof(tx->route.op, tx->answer.status, body, &tx->hold.operation_id);
    if (tx->proof == PROOF_NONE && !body.p && tx->answer.status == 200 && waited(tx))
        tx->proof = PROOF_COMPLETED;
    if (tx->route.op->id == OP_UNKNOWN && tx->answer.status == 404)
        tx->proof = PROOF_REFUSED; /* no such route: Qdrant has done nothing */
    /* An operation that knows no `wait` is over when it is answered, whatever the answer says. */
    if (tx->route.op->id != OP_UNKNOWN && !(tx->route.op->flags & OP_HAS_WAIT) && tx->answer.status != 202)
        tx->proof = PROOF_COMPLETED;
    tx->hold.collection = tx->resolved;
    tx->hold.acknowledged = tx->answer.status == 200 && tx->hold.operation_id;
    tx->hold.barrier = one_shard;
    tx->hold.rejection_is_final = one_shard && waited(tx);
    if (fact && fact->prevents_unoptimized && tx->proof == PROOF_COMPLETED && tx->hold.acknowledged)
        tx->proof = PROOF_NONE; /* applied, but hidden until it is indexed: the prover waits for that */
}

void tx_look_for_others(struct tx *tx)
{
    struct worker *w = tx->worker;
    const struct fact_collection *fact = facts_collection(w->facts, tx->resolved);
    bool batch = tx->route.op->id == OP_POINTS_BATCH || tx->route.op->class != CLASS_WRITE_POINTS;
    tx->numbered = false;
    uint64_t others = foreign_end(&w->shared->foreign, tx->resolved, tx->hold.operation_id, batch ? 0 : 1);
    struct coherence_gauges gauges;
    char name[300];
    if (!others || !fact || fact->n_shards != 1 || tx->model->base.external_writes)
        return;
    coherence_gauges(w->coherence_shared, w->loop.now, &gauges);
    if (gauges.members > 1)
        return; /* other instances write too, and say so in Redis */
    metrics_add(w->metrics, M_FOREIGN_WRITES, others);
    log_limited(LOG_LEVEL_WARN, w->loop.now, "external_writes",
                "collection=%s writes=%llu why=\"a gap in the numbers of our own writes: somebody writes past quiver; set external_writes "
                "for this model\"",
                log_quote(name, sizeof name, tx->resolved), (unsigned long long)others);
}
