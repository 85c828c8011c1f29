/* guard.c - Qdrant's figures, what was let through since they were read, and this upsert: are the three more than memory_limit?
 * The body is on its way and is not read: its length stands for what is in it (README.md). */
#include "plugins/guard/guard.h"

#include "base/log.h"
#include "engine/tx.h"
#include "plugins/guard/batch.h"
#include "plugins/guard/options.h"

#define FACTS_WAIT (250 * MSEC) /* for figures of a collection that is new to quiver, or before the first refusal in a second */
#define SAY_EVERY (60 * SEC)
#define ASK_EVERY SEC
enum { LOOK_INTO_BATCH = 256 * 1024 };

struct guard_tx {
    struct growth_slot *slot; /* NULL: nothing is counted */
    uint64_t n_bytes;
    uint64_t asked_at; /* it had new figures asked for, and waits for them before it is refused */
};

static bool adds_points(const struct tx *tx)
{
    enum op_id id = tx->route.op->id;
    return id == OP_UPSERT || id == OP_UPDATE_VECTORS || id == OP_POINTS_BATCH;
}

static bool is_on(const struct tx *tx, const struct plug *plug)
{
    const struct guard_model_conf *conf = plug_conf(tx, plug);
    return adds_points(tx) && tx->model->base.memory_limit && conf->policy != GUARD_OFF;
}

/* A small batch is looked into, since it may only delete. */
static bool guard_holds(const struct tx *tx, const struct plug *plug)
{
    return tx->route.op->id == OP_POINTS_BATCH && is_on(tx, plug) && tx->head.framing == HTTP_BODY_LENGTH &&
           tx->head.length <= LOOK_INTO_BATCH;
}

static uint64_t bytes_of(const struct tx *tx)
{
    if (tx->route.op->id == OP_POINTS_BATCH && tx->held && !tx->head.first[HF_CONTENT_ENCODING])
        return batch_bytes(tx->body);
    return tx->head.framing == HTTP_BODY_LENGTH ? tx->head.length : 0; /* chunked: counted when it is over */
}

/* n_bytes of JSON as memory: its vectors are not longer there than in the text, and what comes to a vector comes in proportion. */
static uint64_t memory_of(const struct fact_memory *known, uint64_t n_bytes)
{
    unsigned __int128 memory = n_bytes;
    if (known->vectors)
        memory = memory * known->point / known->vectors;
    return memory > UINT64_MAX / 4 ? UINT64_MAX / 4 : (uint64_t)memory;
}

static void say(const struct tx *tx, struct growth_slot *slot, uint64_t comes_to, bool refused)
{
    char collection[300], model[300];
    if (!growth_turn(&slot->said_at, tx->worker->loop.now, SAY_EVERY))
        return;
    log_warn("memory_limit", "model=%s collection=%s limit=%llu comes_to=%llu outcome=%s",
             log_quote(model, sizeof model, str_of(tx->model->name)), log_quote(collection, sizeof collection, tx->resolved),
             (unsigned long long)tx->model->base.memory_limit, (unsigned long long)comes_to, refused ? "refused" : "warned");
}

static enum verdict over(struct tx *tx, const struct plug *plug, struct growth_slot *slot, const struct fact_memory *known,
                         uint64_t comes_to)
{
    const struct guard_model_conf *conf = plug_conf(tx, plug);
    unsigned long long limit = tx->model->base.memory_limit;
    bool refused = conf->policy == GUARD_REFUSE;
    say(tx, slot, comes_to, refused);
    metrics_model_add(tx->worker->metrics, tx->model->metrics_id, refused ? MM_MEMORY_REFUSED : MM_MEMORY_WARNED, 1);
    tx_add_extra(tx, arena_printf(&tx->arena, "x-quiver-memory: %s; limit=%llu; is=%llu; comes-to=%llu\r\n",
                                  refused ? "refused" : "warned", limit, (unsigned long long)known->good,
                                  (unsigned long long)comes_to));
    if (!refused)
        return CONTINUE;
    return tx_error(tx, 507, "quiver: collection `%.*s` takes %llu bytes of memory (%s) and would come to about %llu, more than the %llu of "
                    "memory_limit of model '%s' (memory_policy: refuse)",
                    (int)(tx->resolved.n < 200 ? tx->resolved.n : 200), tx->resolved.p, (unsigned long long)known->good,
                    known->measured ? "measured" : "estimated", (unsigned long long)comes_to, limit, tx->model->name);
}

static enum verdict wait_for_facts(struct tx *tx)
{
    tx->awaits_facts = true;
    tx->suspend_until = tx->began + FACTS_WAIT;
    return SUSPEND;
}

static bool may_wait(const struct tx *tx)
{
    return tx->worker->loop.now < tx->began + FACTS_WAIT;
}

/* The nearer to the limit, the younger the figures should be. True: they were asked for just now. */
static bool ask_anew(const struct tx *tx, struct growth_slot *slot)
{
    if (!tx->worker->collection_changed || !growth_turn(&slot->asked_at, tx->worker->loop.now, ASK_EVERY))
        return false;
    tx->worker->collection_changed(tx->resolved, tx->worker->arg);
    return true;
}

static enum verdict judge(struct tx *tx, const struct plug *plug, const struct fact_collection *fact)
{
    const struct guard_model_conf *conf = plug_conf(tx, plug);
    const struct fact_memory *known = &fact->memory;
    struct guard_tx *mine = plug_tx(tx, plug);
    struct growth_slot *slot = growth_of(&tx->worker->shared->growth, tx->resolved);
    uint64_t limit = tx->model->base.memory_limit, n = bytes_of(tx);
    uint64_t grown = memory_of(known, growth_begin(slot, n) - known->growth_ended), comes_to = known->good + grown;
    bool over_it = comes_to > limit && (n || tx->head.framing == HTTP_BODY_CHUNKED), waits = false;
    if (comes_to > limit || grown > (limit - known->good) / 4) {
        bool asked = ask_anew(tx, slot);
        if (asked)
            mine->asked_at = tx->worker->loop.now;
        waits = over_it && conf->policy == GUARD_REFUSE && mine->asked_at >= fact->read_at && mine->asked_at && may_wait(tx);
    }
    enum verdict verdict = waits ? wait_for_facts(tx) : over_it ? over(tx, plug, slot, known, comes_to) : CONTINUE;
    if (verdict != CONTINUE) {
        growth_undo(slot, n);
        return verdict;
    }
    mine->slot = slot;
    mine->n_bytes = n;
    return CONTINUE;
}

static enum verdict guard_request(struct tx *tx, const struct plug *plug)
{
    const struct guard_model_conf *conf = plug_conf(tx, plug);
    if (!is_on(tx, plug))
        return CONTINUE;
    const struct fact_collection *fact = facts_collection(tx->worker->facts, tx->resolved);
    if (fact && fact->memory.known)
        return judge(tx, plug, fact);
    return conf->policy == GUARD_REFUSE && may_wait(tx) ? wait_for_facts(tx) : CONTINUE;
}

static enum verdict guard_resume(struct tx *tx, const struct plug *plug)
{
    tx->awaits_facts = false;
    return guard_request(tx, plug);
}

static void guard_done(struct tx *tx, const struct plug *plug)
{
    struct guard_tx *mine = plug_tx(tx, plug);
    if (!mine->slot)
        return;
    if (tx->n_body_in > mine->n_bytes && tx->head.framing == HTTP_BODY_CHUNKED) {
        growth_begin(mine->slot, tx->n_body_in - mine->n_bytes);
        mine->n_bytes = tx->n_body_in;
    }
    growth_end(mine->slot, mine->n_bytes);
}

const struct plugin guard_plugin = {
    .name = "guard",
    .summary = "warns of upserts that would break memory_limit, or refuses them",
    .model_options = &guard_model_table,
    .tx_size = sizeof(struct guard_tx),
    .holds = guard_holds,
    .request = guard_request,
    .resume = guard_resume,
    .done = guard_done,
};
