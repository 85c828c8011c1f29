/* coalesce.c - a read may follow an equal one that has not been sent yet, always: what is sent later sees at least what was there now. It may
 * follow one already sent only if its own look gives the leader's tokens and no hold: then no write came between. A leader that is lost
 * hands its place to its first follower; an answer too large to hold, or for the leader alone, sends all followers on their own way. */
#include "plugins/coalesce/coalesce.h"

#include <stdlib.h>

#include "base/mem.h"
#include "engine/reuse.h"
#include "engine/tx.h"
#include "plugins/coalesce/options.h"

enum { BUCKETS = 1024 };

#define STAGES(X) \
    X(NONE) X(LOOKING) X(LEADING) X(SHARING) X(FOLLOWING) X(PROMOTED) X(DISMISSED) X(SERVED)
enum stage {
#define X(id) STAGE_##id,
    STAGES(X)
#undef X
};

struct flight { /* embedded in its leader's scratch */
    struct link link;        /* in a bucket, while it can be joined */
    struct list followers;
};

struct coalesce_tx {
    struct tx *tx;
    enum stage stage;
    struct flight flight;    /* leading */
    struct link link;        /* following: in the leader's followers */
    struct coalesce_tx *leader;
    uint64_t until;          /* a follower's own deadline */
    struct answer shared;    /* delivered to a follower; its blob is the follower's */
};

struct coalesce { /* per worker */
    struct list bucket[BUCKETS];
};

static void *coalesce_open(struct worker *w)
{
    struct coalesce *c = mem_zalloc(sizeof *c);
    (void)w;
    for (unsigned i = 0; i < BUCKETS; i++)
        list_init(&c->bucket[i]);
    return c;
}

static struct list *bucket_of(struct coalesce *c, const struct reuse *r)
{
    return &c->bucket[r->sketch % BUCKETS];
}

/* Two keys are made only if both look alike: most reads have no equal, and are spared a hash of their whole body. */
static bool is_equal(struct tx *leader, struct tx *tx)
{
    bool has_body = tx_body_there(leader) || leader->reuse->keyed;
    return leader->reuse->sketch == tx->reuse->sketch && has_body && key_eq(tx_reuse_key(leader), tx_reuse_key(tx));
}

static struct coalesce_tx *leader_of(struct coalesce *c, struct tx *tx)
{
    struct list *bucket = bucket_of(c, tx->reuse);
    for (struct link *k = list_first(bucket); k; k = list_next(bucket, k)) {
        struct coalesce_tx *leader = LIST_OF(coalesce_tx, flight, LIST_OF(flight, link, k));
        if (is_equal(leader->tx, tx))
            return leader;
    }
    return NULL;
}

static void close_flight(struct coalesce *c, struct coalesce_tx *ct)
{
    list_remove(bucket_of(c, ct->tx->reuse), &ct->flight.link);
}

static void lead(struct coalesce *c, struct coalesce_tx *ct)
{
    ct->stage = STAGE_LEADING;
    list_push(bucket_of(c, ct->tx->reuse), &ct->flight.link);
}

/* ---- joining ---- */

static bool may_join(const struct coalesce_tx *leader, struct tx *tx)
{
    if (!leader->tx->fetch.any_sent)
        return true;
    const struct reuse *mine = tx->reuse, *theirs = leader->tx->reuse;
    return mine->looked && theirs->looked && tx_reuse_map_holds(tx) && mine->look.result == LOOK_CLEAR && theirs->look.result == LOOK_CLEAR &&
           fingerprint_eq(mine->look.fingerprint, theirs->look.fingerprint) && !mine->external;
}

static uint64_t own_deadline(const struct tx *tx)
{
    const struct conf_process *p = &tx->snapshot->conf->process;
    uint64_t queue = tx->model->base.queue_timeout ? tx->model->base.queue_timeout : p->queue_timeout;
    uint64_t read = tx->model->base.read_timeout ? tx->model->base.read_timeout : p->read_timeout;
    return read ? tx->worker->loop.now + queue + read : NEVER;
}

static enum verdict join_or_lead(struct tx *tx, const struct plug *plug, struct coalesce_tx *ct)
{
    struct coalesce *c = plug_self(tx, plug);
    struct coalesce_tx *leader = leader_of(c, tx);
    if (!leader) {
        lead(c, ct);
        return CONTINUE;
    }
    if (!may_join(leader, tx))
        return CONTINUE; /* goes by itself; who comes later may still follow the one that leads */
    ct->stage = STAGE_FOLLOWING;
    ct->leader = leader;
    ct->until = tx->suspend_until = own_deadline(tx);
    list_push(&leader->flight.followers, &ct->link);
    return SUSPEND;
}

static void woken(void *arg)
{
    struct tx *tx = arg;
    loop_wake(&tx->worker->loop, &tx->task);
}

static enum verdict coalesce_request(struct tx *tx, const struct plug *plug)
{
    const struct coalesce_model_conf *m = plug_conf(tx, plug);
    if (tx->route.op->class != CLASS_READ_CACHEABLE || !m->on)
        return CONTINUE;
    struct reuse *r = tx_reuse(tx);
    if (r->unfit || r->oldest == 0)
        return CONTINUE;
    struct coalesce_tx *ct = plug_tx(tx, plug);
    ct->tx = tx;
    list_init(&ct->flight.followers);
    if (r->looked || r->look.alone) { /* the cells are all there is to ask */
        r->looked = true;
        return join_or_lead(tx, plug, ct);
    }
    ct->stage = STAGE_LOOKING;
    if (!look_redis(&r->look, NULL, woken, tx))
        return SUSPEND;
    r->looked = true;
    return join_or_lead(tx, plug, ct);
}

/* ---- the leader's end ---- */

static void dismiss(struct coalesce_tx *follower, enum stage stage)
{
    follower->leader = NULL;
    follower->stage = stage;
    woken(follower->tx);
}

/* The first follower takes the lead and the others with it. */
static void hand_over(struct coalesce *c, struct coalesce_tx *ct)
{
    struct link *k = list_pop(&ct->flight.followers);
    close_flight(c, ct);
    if (!k)
        return;
    struct coalesce_tx *next = LIST_OF(coalesce_tx, link, k);
    while ((k = list_pop(&ct->flight.followers))) {
        LIST_OF(coalesce_tx, link, k)->leader = next;
        list_push(&next->flight.followers, k);
    }
    dismiss(next, STAGE_PROMOTED);
    list_push(bucket_of(c, next->tx->reuse), &next->flight.link);
}

static void dismiss_all(struct coalesce *c, struct coalesce_tx *ct)
{
    struct link *k;
    close_flight(c, ct);
    while ((k = list_pop(&ct->flight.followers)))
        dismiss(LIST_OF(coalesce_tx, link, k), STAGE_DISMISSED);
}

/* Head lines and body in one blob, of which every follower holds a reference. */
static void share(struct tx *tx, struct coalesce *c, struct coalesce_tx *ct)
{
    const struct http_head *h = &tx->fetch.head;
    size_t n_fields = 0;
    struct link *k;
    for (unsigned i = 0; i < h->n_fields; i++)
        n_fields += h->field[i].hop || h->field[i].id == HF_CONTENT_LENGTH ? 0 : h->field[i].line.n;
    struct blob *blob = blob_new(n_fields + tx->whole.n);
    char *at = blob->bytes;
    for (unsigned i = 0; i < h->n_fields; i++)
        if (!h->field[i].hop && h->field[i].id != HF_CONTENT_LENGTH)
            at = (char *)memcpy(at, h->field[i].line.p, h->field[i].line.n) + h->field[i].line.n;
    memcpy(at, tx->whole.p, tx->whole.n);
    close_flight(c, ct);
    while ((k = list_pop(&ct->flight.followers))) {
        struct coalesce_tx *follower = LIST_OF(coalesce_tx, link, k);
        follower->shared = (struct answer){.status = tx->answer.status, .local = true, .whole = true, .blob = blob_get(blob)};
        follower->shared.fields = (struct str){blob->bytes, n_fields};
        follower->shared.part[0] = (struct str){blob->bytes + n_fields, tx->whole.n};
        follower->shared.n_parts = 1;
        dismiss(follower, STAGE_SERVED);
    }
    blob_put(&blob);
}

static enum verdict coalesce_response(struct tx *tx, const struct plug *plug)
{
    struct coalesce *c = plug_self(tx, plug);
    struct coalesce_tx *ct = tx->scratch[plug->index];
    const struct coalesce_model_conf *m = plug_conf(tx, plug);
    if (!ct || ct->stage != STAGE_LEADING)
        return CONTINUE;
    if (!list_first(&ct->flight.followers)) {
        close_flight(c, ct);
        ct->stage = STAGE_NONE;
        return CONTINUE;
    }
    if (tx->answer.local) { /* the leader failed, for reasons that may be its own */
        hand_over(c, ct);
        ct->stage = STAGE_NONE;
        return CONTINUE;
    }
    if (!tx_reuse_is_anyones(tx) || !tx_collect(tx, m->max_answer)) {
        dismiss_all(c, ct);
        ct->stage = STAGE_NONE;
        return CONTINUE;
    }
    ct->stage = STAGE_SHARING;
    return SUSPEND;
}

/* ---- waking ---- */

static enum verdict serve(struct tx *tx, struct coalesce_tx *ct)
{
    struct str extra = tx->answer.extra;
    tx->answer = ct->shared;
    tx->answer.extra = extra;
    ct->shared.blob = NULL;
    tx->collapsed = true;
    metrics_model_add(tx->worker->metrics, tx->model->metrics_id, MM_COALESCED, 1);
    return ANSWER;
}

static enum verdict coalesce_resume(struct tx *tx, const struct plug *plug)
{
    struct coalesce *c = plug_self(tx, plug);
    struct coalesce_tx *ct = plug_tx(tx, plug);
    switch (ct->stage) {
    case STAGE_LOOKING:
        if (tx->reuse->look.result == LOOK_NONE)
            return SUSPEND;
        tx->reuse->looked = true;
        return join_or_lead(tx, plug, ct);
    case STAGE_FOLLOWING:
        if (tx->worker->loop.now < ct->until)
            return SUSPEND;
        list_remove(&ct->leader->flight.followers, &ct->link);
        ct->stage = STAGE_NONE;
        return tx_error(tx, 504, "quiver: an equal request was followed, and the upstream did not answer it in time");
    case STAGE_SERVED:
        return serve(tx, ct);
    case STAGE_PROMOTED:
        ct->stage = STAGE_LEADING;
        return CONTINUE;
    case STAGE_SHARING:
        if (tx->collected)
            share(tx, c, ct);
        else if (tx->collect_failed)
            dismiss_all(c, ct);
        else
            return SUSPEND;
        break;
    case STAGE_NONE:
    case STAGE_LEADING:
    case STAGE_DISMISSED:
        break;
    }
    ct->stage = STAGE_NONE;
    return CONTINUE;
}

/* However a transaction ends: nobody keeps pointing at it. */
static void coalesce_end(struct tx *tx, const struct plug *plug)
{
    struct coalesce_tx *ct = tx->scratch[plug->index];
    if (!ct)
        return;
    if (ct->stage == STAGE_LEADING || ct->stage == STAGE_SHARING || ct->stage == STAGE_PROMOTED)
        hand_over(plug_self(tx, plug), ct);
    if (ct->leader)
        list_remove(&ct->leader->flight.followers, &ct->link);
    ct->leader = NULL;
    blob_put(&ct->shared.blob);
    ct->stage = STAGE_NONE;
}

const struct plugin coalesce_plugin = {
    .name = "coalesce",
    .summary = "equal reads that run at the same time go to Qdrant once",
    .model_options = &coalesce_model_table,
    .open = coalesce_open,
    .close = free,
    .tx_size = sizeof(struct coalesce_tx),
    .request = coalesce_request,
    .resume = coalesce_resume,
    .response = coalesce_response,
    .cancel = coalesce_end,
    .done = coalesce_end,
};
