/* guard.c - Qdrant's figures, what was let through since they were read, and this upsert: are the three more than memory_limit?
 * The body is on its way and is not read: its length stands for what is in it (README.md). */
#include "plugins/guard/guard.h"

#include "base/log.h"
#include "engine/tx.h"
#include "engine/tx_facts.h"
#include "plugins/guard/batch.h"
#include "plugins/guard/options.h"

/* From the first judgement on, however long the body took to come: for figures of a collection that is new to quiver, or before a refusal
 * that they may not uphold. */
#define FACTS_WAIT (500 * MSEC)
#define LOOK_AGAIN (50 * MSEC)
#define SAY_EVERY (60 * SEC)
#define ASK_EVERY SEC
#define ASK_EVERY_IN_NEED (200 * MSEC) /* while upserts wait for it */
enum { LOOK_INTO_BATCH = 256 * 1024, POINT_TEXT = 21 };

struct guard_tx {
    uint64_t since;           /* its first judgement */
    struct growth_slot *slot; /* NULL: nothing is counted */
    uint64_t n_bytes;
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

/* n_bytes of JSON as memory: as many points as fit into the text, each at least {"id":1,"vector":[]}, and vectors that are as long there as
 * in memory. Payload counts with its length. */
static uint64_t memory_of(const struct fact_memory *known, uint64_t n_bytes)
{
    unsigned __int128 memory = n_bytes;
    if (known->point > known->vectors + POINT_TEXT)
        memory = memory * known->point / (known->vectors + POINT_TEXT);
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

/* Woken by new facts; looks again soon, since whose turn it was to ask may not have asked for this one. */
static enum verdict wait_for_facts(struct tx *tx, const struct guard_tx *mine)
{
    tx_ask_facts(tx, false);
    uint64_t soon = tx->worker->loop.now + LOOK_AGAIN, last = mine->since + FACTS_WAIT;
    tx->awaits_facts = true;
    tx->suspend_until = soon < last ? soon : last;
    return SUSPEND;
}

static bool may_wait(const struct tx *tx, const struct guard_tx *mine)
{
    return tx->worker->loop.now < mine->since + FACTS_WAIT;
}

static void ask_anew(const struct tx *tx, struct growth_slot *slot, uint64_t interval)
{
    if (tx->worker->collection_changed && growth_turn(&slot->asked_at, tx->worker->loop.now, interval))
        tx->worker->collection_changed(tx->resolved, tx->worker->arg);
}

/* Over by figures that are old, or only by what was let through since: Qdrant may have made less of it. */
static bool is_uncertain(const struct tx *tx, const struct guard_tx *mine, const struct fact_memory *known, uint64_t n_bytes)
{
    bool old = known->asked_at + ASK_EVERY < mine->since;
    return known->asked_at < mine->since && (old || known->good + memory_of(known, n_bytes) <= tx->model->base.memory_limit);
}

static enum verdict judge(struct tx *tx, const struct plug *plug, struct guard_tx *mine, const struct fact_memory *known)
{
    const struct guard_model_conf *conf = plug_conf(tx, plug);
    struct growth_slot *slot = growth_of(&tx->worker->shared->growth, tx->resolved);
    uint64_t limit = tx->model->base.memory_limit, said = bytes_of(tx);
    uint64_t n = said <= limit ? said : limit + 1; /* a client may say any length: more than all is all */
    uint64_t grown = memory_of(known, growth_begin(slot, n) - known->growth_ended), comes_to = known->good + grown;
    bool over_it = comes_to > limit && (n || tx->head.framing == HTTP_BODY_CHUNKED);
    enum verdict verdict = CONTINUE;
    if (over_it && conf->policy == GUARD_REFUSE && is_uncertain(tx, mine, known, n) && may_wait(tx, mine)) {
        ask_anew(tx, slot, ASK_EVERY_IN_NEED);
        verdict = wait_for_facts(tx, mine);
    } else {
        if (comes_to > limit || grown > (limit - known->good) / 4) /* the nearer, the younger the figures should be */
            ask_anew(tx, slot, ASK_EVERY);
        if (over_it)
            verdict = over(tx, plug, slot, known, comes_to);
    }
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
    struct guard_tx *mine = plug_tx(tx, plug);
    const struct fact_collection *fact = facts_collection(tx->worker->facts, tx->resolved);
    if (!mine->since)
        mine->since = tx->worker->loop.now;
    if (fact && fact->memory.known)
        return judge(tx, plug, mine, &fact->memory);
    return conf->policy == GUARD_REFUSE && may_wait(tx, mine) ? wait_for_facts(tx, mine) : CONTINUE;
}

static enum verdict guard_resume(struct tx *tx, const struct plug *plug)
{
    tx->awaits_facts = false;
    return guard_request(tx, plug);
}

static void guard_done(struct tx *tx, const struct plug *plug)
{
    struct guard_tx *mine = tx->scratch[plug->index];
    if (!mine || !mine->slot)
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
