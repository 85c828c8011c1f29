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

/* The map of aliases was right while the write was on its way: it went to what the map says. An old one is fetched anew, for the next. One from
 * which aliases are hidden says of no name where it leads. */
static bool map_was_right(const struct tx *tx)
{
    const struct worker *w = tx->worker;
    bool known = w->facts && w->facts->names_known && !w->facts->aliases_hidden && (tx->hold.map.hi || tx->hold.map.lo);
    if (known && !fingerprint_eq(w->facts->names, tx->hold.map) && w->names_changed)
        w->names_changed(w->arg);
    return known && fingerprint_eq(w->facts->names, tx->hold.map);
}

/* One shard, one replica, as Qdrant said under the same map: a collection of that name may have been made anew since. */
static bool has_one_shard(const struct tx *tx, struct str collection)
{
    const struct fact_collection *fact = facts_collection(tx->worker->facts, collection);
    return fact && fact->n_shards == 1 && fact->n_replicas == 1 && fingerprint_eq(fact->names, tx->hold.map);
}

/* With several servers the others come to know a little later of collections and aliases: they agree by themselves. A change of aliases names no
 * collection in its path, so it may be one of any group. */
static uint64_t agreeing_takes(const struct tx *tx)
{
    const struct conf *conf = tx->snapshot->conf;
    bool several = false;
    for (unsigned g = 0; g < conf->n_groups; g++)
        several = several || (conf->group[g].n_servers > 1 && (g == tx->model->group || !tx->route.collection.n));
    return tx->route.op->flags & OP_NAMES && several ? 5 * SEC : 0;
}

/* An operation that knows no `wait` is over when it is answered; not so if it failed or took too long: then it may come yet. */
static bool is_over(const struct tx *tx)
{
    unsigned status = tx->answer.status;
    return tx->route.op->id != OP_UNKNOWN && !(tx->route.op->flags & OP_HAS_WAIT) && status < 500 && status != 202 && status != 408;
}

/* What was written to: to prove the write by it later, or to see that Qdrant is behind with it. Only the former needs a map that was right. */
void tx_name_written(struct tx *tx)
{
    struct write_hold *hold = &tx->hold;
    hold->collection = map_was_right(tx) ? facts_resolve(tx->worker->facts, tx->route.collection) : hold->acknowledged ? STR_NONE : tx->resolved;
    hold->place = conf_group_id(&tx->snapshot->conf->group[tx->model->group]);
    hold->by_alias = !str_eq(hold->collection, tx->route.collection);
}

/* What the answer proves. One that cannot be read (compressed all the same, or long) proves by its status alone that a write
 * which was waited for without a limit is done: Qdrant answers 200 to it only then. */
void tx_read_proof(struct tx *tx, struct str body)
{
    const struct fact_collection *fact = facts_collection(tx->worker->facts, tx->resolved);
    tx->proof = reply_write_proof(tx->route.op, tx->answer.status, body, &tx->hold.operation_id);
    if (tx->proof == PROOF_NONE && !body.p && tx->answer.status == 200 && waited(tx))
        tx->proof = PROOF_COMPLETED;
    if (tx->route.op->id == OP_UNKNOWN && (tx->answer.status == 405 || (tx->answer.status == 404 && tx->collected && !body.n)))
        tx->proof = PROOF_REFUSED; /* no such route: Qdrant has done nothing. Who knows the route says what is not found */
    if (is_over(tx))
        tx->proof = PROOF_COMPLETED;
    tx->hold.acknowledged = tx->answer.status == 200 && tx->hold.operation_id;
    tx_name_written(tx);
    bool one_shard = map_was_right(tx) && has_one_shard(tx, tx->hold.collection);
    tx->hold.linger = tx->proof == PROOF_COMPLETED ? agreeing_takes(tx) : 0;
    tx->hold.barrier = one_shard && !tx->hold.by_alias && tx->hold.operation_id; /* one without a number was in no queue */
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
    if (!others || !fact || fact->n_shards != 1 || tx->model->base.external_writes || !map_was_right(tx))
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
