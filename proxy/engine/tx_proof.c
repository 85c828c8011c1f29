/* tx_proof.c - what the answer to a write proves (coherence.md "close"). */
#include "engine/tx_parts.h"

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
