/* tx.c - a request's life from top to bottom. Each step looks at the world, does what can be done now and returns the next step,
 * or parks the transaction until its task is woken; woken early, twice or late it looks again and does no harm.
 * tx_run is the only place that runs a request. */
#include "engine/tx.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "engine/names.h"
#include "engine/reuse.h"
#include "engine/tx_facts.h"
#include "engine/tx_parts.h"
#include "qdrant/inflate.h"
#include "qdrant/reply.h"

enum {
    PROOF_BYTES = 64 * 1024,  /* answers to writes are small; a longer one is streamed and proves nothing */
};

#define NEW_MAP_WAIT (250 * MSEC)

static const struct {
    unsigned status;
    const char *why;
} dooms[] = {
#define X(id, status, why) {status, why},
    TX_DOOMS(X)
#undef X
};

const char *const tx_state_names[TX_COUNT] = {
#define X(id, name, help) #name,
    TX_STATES(X)
#undef X
};

static uint64_t now_of(const struct tx *tx)
{
    return tx->worker->loop.now;
}

static void wake(void *arg)
{
    struct tx *tx = arg;
    loop_wake(&tx->worker->loop, &tx->task);
}

static void enter(struct tx *tx, enum tx_state next)
{
    if (tx->own)
        tx_own_step(tx);
    tx->worker->in_state[tx->state]--;
    tx->worker->in_state[tx->state = next]++;
}

/* ---- begin ---- */

/* For the access log: the client may be gone when its line is written. */
static void note_peer(struct tx *tx)
{
    if (tx->snapshot->conf->process.access_on)
        snprintf(tx->peer, sizeof tx->peer, "%s", client_peer_text(tx->client));
}

void tx_begin(struct client *client, const struct http_head *head, void *worker)
{
    struct tx *tx = tx_new(worker);
    tx->client = client;
    client->owner = &tx->task;
    note_peer(tx);
    client_take_head(client, head, arena_alloc(&tx->arena, head->raw.n), &tx->head);
    loop_wake(&tx->worker->loop, &tx->task);
}

void tx_refused(struct client *client, const struct http_refusal *refusal, void *worker)
{
    struct tx *tx = tx_new(worker);
    tx->client = client;
    client->owner = &tx->task;
    tx->head = (struct http_head){.minor = 1};
    route_of(&tx->arena, STR(""), STR("/"), &tx->route);
    tx->close_after = true;
    tx->refusal = arena_copy(&tx->arena, str_of(refusal->why));
    note_peer(tx);
    tx_error(tx, refusal->status, "%s", refusal->why);
    metrics_refused(tx->worker->metrics, refusal->status);
    metrics_add(tx->worker->metrics, M_CLIENT_TIMEOUTS, refusal->status == 408);
    enter(tx, TX_REPLY);
    loop_wake(&tx->worker->loop, &tx->task);
}

enum verdict tx_error(struct tx *tx, unsigned status, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    blob_put(&tx->answer.blob);
    tx->answer = (struct answer){.status = status, .local = true, .whole = true, .extra = tx->answer.extra, .n_parts = 1};
    tx->answer.fields = STR("content-type: application/json\r\n");
    tx->answer.part[0] = reply_error_body(&tx->arena, str_of(text));
    if (status == 503)
        tx_add_extra(tx, STR("retry-after: 1\r\n"));
    return ANSWER;
}

/* ---- steps ---- */

/* When something is waited for, this long at most. */
static enum tx_state park(struct tx *tx, uint64_t until)
{
    timer_set(&tx->timer, until);
    return TX_PARKED;
}

static enum tx_state step_head(struct tx *tx)
{
    const struct conf *conf = tx->snapshot->conf;
    route_of(&tx->arena, tx->head.method, tx->head.path, &tx->route);
    tx->resolved = facts_resolve(tx->worker->facts, tx->route.collection);
    if (tx->resolved.p != tx->route.collection.p)
        tx->resolved = arena_copy(&tx->arena, tx->resolved); /* the facts may be replaced while this request waits */
    tx->model = conf_model_of(conf, tx->resolved);
    if (tx->model->index == 0 && tx->resolved.p != tx->route.collection.p)
        tx->model = conf_model_of(conf, tx->route.collection); /* a model may be named after the alias itself */
    if (tx->own && tx->own->model)
        tx->model = tx->own->model;
    tx->is_write = tx->route.is_write;
    tx->map = tx->worker->facts && tx->worker->facts->names_known ? tx->worker->facts->names : (struct fingerprint){0, 0};
    tx->identity = tx->route.op->class == CLASS_READ_CACHEABLE || (tx->is_write && !reply_ok_is_done(tx->route.op));
    tx->held = tx_wants_hold(tx);
    tx->chunked_up = !tx->held && tx->head.framing == HTTP_BODY_CHUNKED;
    return tx->held ? TX_BODY : TX_REQUEST;
}

static enum tx_state step_body(struct tx *tx)
{
    switch (tx_hold_body(tx)) {
    case HOLD_DONE:
        return TX_REQUEST;
    case HOLD_WAIT:
        return park(tx, tx->hold_until);
    case HOLD_DOOMED:
        break;
    }
    return TX_FAIL;
}

static enum tx_state step_request(struct tx *tx)
{
    while (tx->next_plug < chain.n) {
        const struct plug *plug = &chain.plug[tx->next_plug];
        enum verdict verdict = CONTINUE;
        tx->n_asked = tx->next_plug + 1;
        if (tx->suspended)
            verdict = plug->type->resume(tx, plug);
        else if (plug->type->request)
            verdict = plug->type->request(tx, plug);
        if (tx->doom)
            return TX_FAIL;
        tx->suspended = verdict == SUSPEND;
        if (verdict == SUSPEND)
            return park(tx, tx->suspend_until ? tx->suspend_until : NEVER);
        tx->suspend_until = 0;
        if (verdict == ANSWER) {
            tx->back_plug = tx->next_plug;
            return TX_RESPONSE;
        }
        tx->next_plug++;
    }
    tx->back_plug = tx->next_plug;
    return tx->is_write ? TX_OPEN : TX_FETCH;
}

static void hold_wake(void *arg)
{
    struct tx *tx = arg;
    tx->hold_wait = false;
    wake(tx);
}

/* Cut off from Redis for too long, and told to be strict (coherence.on_bump_failure: fail): others may answer without knowing of this write. */
static enum tx_state refuse_write(struct tx *tx)
{
    tx->proof = PROOF_REFUSED;
    tx_error(tx, 503, "quiver: Redis has not been reached for longer than coherence.forget, so other instances could not be told of this "
             "write (coherence.on_bump_failure: fail)");
    return TX_RESPONSE;
}

static enum tx_state step_open(struct tx *tx)
{
    if (!tx->opened) {
        struct coherence_names names = {0};
        if (coherence_refuses_writes(tx->worker->coherence))
            return refuse_write(tx);
        names_of_write(tx, &names);
        tx->opened = true;
        tx->numbered = true;
        foreign_begin(&tx->worker->shared->foreign, tx->map, tx->resolved);
        tx->hold_wait = !coherence_open(tx->worker->coherence, &tx->hold, &names, hold_wake, tx);
    }
    if (tx->hold_wait)
        return park(tx, NEVER);
    return coherence_refuses_writes(tx->worker->coherence) ? refuse_write(tx) : TX_FETCH;
}

static uint64_t either(uint64_t own, uint64_t general)
{
    return own ? own : general;
}

static enum tx_state step_fetch(struct tx *tx)
{
    const struct conf_process *process = &tx->snapshot->conf->process;
    const struct conf_model_base *base = &tx->model->base;
    const struct model_upstream *up = &tx->snapshot->upstream[tx->model->index];
    bool reads = str_eq(tx->head.method, STR("GET")) || str_eq(tx->head.method, STR("HEAD")) ||
                 tx->route.op->class == CLASS_READ_CACHEABLE || tx->route.op->class == CLASS_READ_UNCACHEABLE;
    bool patient = tx->is_write || !reads || tx->route.op->flags & OP_SLOW;
    unsigned n = 0;
    tx->up_part[n++] = tx_upstream_head(tx);
    if (tx->held) {
        const struct str *part;
        unsigned n_parts;
        tx_body_parts(tx, &part, &n_parts);
        ensure(n + n_parts <= OUTQ_MAX);
        for (unsigned i = 0; i < n_parts; i++)
            tx->up_part[n++] = part[i];
    }
    tx->fetch.limits = (struct fetch_limits){
        .queue = either(base->queue_timeout, process->queue_timeout),
        .connect = process->connect_timeout,
        .first_byte = patient ? either(base->write_timeout, process->write_timeout)
                              : either(base->read_timeout, process->read_timeout),
        .body = process->body_timeout,
    };
    tx->fetch.may_retry = tx->held && !tx->is_write &&
                          (tx->route.op->class == CLASS_READ_CACHEABLE || tx->route.op->class == CLASS_READ_UNCACHEABLE ||
                           str_eq(tx->head.method, STR("GET")) || str_eq(tx->head.method, STR("HEAD")));
    fetch_start(&tx->fetch, up->slots, up->n_slots, (unsigned)base->queue, tx->up_part, n, !tx->held, tx->head.is_head_method);
    return TX_FETCHED;
}

/* Moves the streamed request body from the client to the upstream as far as both sides allow. */
static enum fetch_state move_up(struct tx *tx)
{
    struct fetch *f = &tx->fetch;
    for (;;) {
        struct str slice;
        enum fetch_state state = fetch_run(f, now_of(tx));
        if (state != FETCH_SENDING || tx->held || !tx->client)
            return state;
        if (tx->pending_n) {
            if (!fetch_sent(f))
                return state;
            client_body_used(tx->client, tx->pending_n);
            tx->n_body_in += tx->pending_n;
            tx->pending_n = 0;
        }
        if (!fetch_takes_body(f))
            return state;
        switch (client_body(tx->client, &slice)) {
        case BODY_SLICE:
            fetch_send_slice(f, slice, tx->chunked_up);
            tx->pending_n = slice.n;
            break;
        case BODY_END:
            fetch_end_body(f, tx->chunked_up);
            break;
        case BODY_WAIT:
            return state;
        case BODY_BROKEN:
            tx->doom = tx->client->body_bad ? DOOM_BODY_BAD : tx->client->late ? DOOM_CLIENT_LATE : DOOM_CLIENT_GONE;
            return state;
        }
    }
}

static enum tx_state step_fetched(struct tx *tx)
{
    enum fetch_state state = move_up(tx);
    if (tx->doom || state == FETCH_FAILED)
        return TX_FAIL;
    if (state != FETCH_ANSWERING && state != FETCH_OVER)
        return park(tx, fetch_deadline(&tx->fetch));
    tx->pending_n = 0; /* an early answer: what was on its way up is not needed any more */
    tx->answer.status = tx->fetch.head.status;
    tx_want_facts(tx);
    return TX_RESPONSE;
}

/* The plugin that waits is told to stop; on the way back the one below it goes on. */
static void cancel_suspended(struct tx *tx)
{
    unsigned at = tx->state < TX_RESPONSE && tx->next_plug < chain.n ? tx->next_plug : tx->back_plug - 1;
    if (!tx->suspended)
        return;
    tx->suspended = false;
    if (chain.plug[at].type->cancel)
        chain.plug[at].type->cancel(tx, &chain.plug[at]);
    if (at < tx->back_plug)
        tx->back_plug = at;
}

/* The exchange with the upstream has failed: what the client is told. */
static void fetch_error(struct tx *tx)
{
    const struct fetch *f = &tx->fetch;
    ensure(f->state == FETCH_FAILED);
    const char *detail = f->failure == FETCH_FAILED_BAD_ANSWER ? f->refusal.why : "";
    tx_error(tx, fetch_failure_status(f->failure), "quiver: %s%s%s", fetch_failure_text(f->failure), *detail ? ": " : "", detail);
}

static enum tx_state step_fail(struct tx *tx)
{
    struct fetch *f = &tx->fetch;
    if (tx->opened && !f->any_sent)
        tx->proof = PROOF_REFUSED; /* nothing reached the upstream */
    if (tx->doom == DOOM_NONE) {
        fetch_error(tx);
        tx->collects = false;
    } else if (tx->doom == DOOM_BODY_BIG) {
        tx_error(tx, 400, "%s (%llu bytes).", dooms[tx->doom].why, (unsigned long long)tx->snapshot->conf->process.hold_body);
    } else {
        tx_error(tx, dooms[tx->doom].status, "quiver: %s", dooms[tx->doom].why);
    }
    bool gone = tx->doom == DOOM_CLIENT_GONE;
    fetch_finish(f);
    tx->pending_n = 0; /* what was on its way up is not needed any more */
    if (gone) {
        metrics_add(tx->worker->metrics, M_CLIENT_GONE, 1);
        if (tx->client)
            client_abort(&tx->client);
        return TX_CLOSE;
    }
    bool late = tx->doom == DOOM_CLIENT_LATE || tx->doom == DOOM_CLIENT_SLOW;
    metrics_add(tx->worker->metrics, M_CLIENT_TIMEOUTS, late);
    if (late || tx->doom == DOOM_BODY_BAD)
        tx->close_after = true;
    tx->doom = DOOM_NONE;
    return TX_RESPONSE;
}

/* A chunked answer is put together in memory of our own. What turns out too long goes on as a stream: its begin is there already. */
static enum fetch_body collect_chunks(struct tx *tx)
{
    for (;;) {
        struct str slice;
        enum fetch_body result = fetch_body(&tx->fetch, &slice);
        if (result == FETCH_END)
            tx->whole = (struct str){tx->own_answer, tx->n_own_answer};
        if (result != FETCH_SLICE)
            return result;
        tx->own_answer = mem_realloc(tx->own_answer, tx->n_own_answer + slice.n);
        memcpy(tx->own_answer + tx->n_own_answer, slice.p, slice.n);
        tx->n_own_answer += slice.n;
        fetch_body_used(&tx->fetch, slice.n);
        if (tx->n_own_answer > tx->collect_max)
            return FETCH_SLICE;
    }
}

/* A plugin has asked for the whole answer: true while it is still coming. */
static bool collect(struct tx *tx)
{
    if (!tx->collects || tx->collected || tx->collect_failed)
        return false;
    bool chunked = tx->fetch.head.framing == HTTP_BODY_CHUNKED;
    switch (chunked ? collect_chunks(tx) : fetch_body_whole(&tx->fetch, &tx->whole)) {
    case FETCH_END:
        tx->collected = true;
        return false;
    case FETCH_BROKEN:
    case FETCH_SLICE:
        tx->collect_failed = true;
        return false;
    case FETCH_WAIT:
        break;
    }
    return true;
}

static enum tx_state step_response(struct tx *tx)
{
    if (collect(tx))
        return park(tx, fetch_deadline(&tx->fetch));
    if (tx->collects && tx->collect_failed && tx->fetch.state == FETCH_FAILED && !tx->answer.local) {
        cancel_suspended(tx);
        return TX_FAIL;
    }
    while (tx->back_plug > 0) {
        const struct plug *plug = &chain.plug[tx->back_plug - 1];
        enum verdict verdict = CONTINUE;
        tx->asks_whole = false;
        if (tx->suspended)
            verdict = plug->type->resume(tx, plug);
        else if (plug->type->response)
            verdict = plug->type->response(tx, plug);
        tx->suspended = verdict == SUSPEND;
        if (verdict == SUSPEND && collect(tx))
            return park(tx, fetch_deadline(&tx->fetch));
        if (verdict == SUSPEND) { /* what it asked for is there already, or it waits for something else */
            bool at_once = tx->asks_whole;
            tx->asks_whole = false;
            return at_once ? TX_RESPONSE : park(tx, NEVER);
        }
        tx->back_plug--;
    }
    return tx->opened ? TX_PROOF : TX_REPLY;
}

static enum tx_state step_proof(struct tx *tx)
{
    struct fetch *f = &tx->fetch;
    struct str body = STR_NONE;
    if (tx->answer.local)
        return TX_CLOSE;
    if (f->head.framing == HTTP_BODY_CHUNKED || f->head.length <= PROOF_BYTES) {
        tx->collects = f->head.framing == HTTP_BODY_CHUNKED || f->head.framing == HTTP_BODY_LENGTH;
        tx->collect_max = PROOF_BYTES;
    }
    if (collect(tx))
        return park(tx, fetch_deadline(f));
    if (tx->collect_failed && f->state == FETCH_FAILED)
        return TX_FAIL;
    body = tx->collected ? tx->whole : STR_NONE;
    if (f->head.first[HF_CONTENT_ENCODING] &&
        !inflate_small(&tx->arena, http_value(&f->head, HF_CONTENT_ENCODING), body, PROOF_BYTES, &body))
        body = STR_NONE;
    tx_read_proof(tx, body);
    return TX_CLOSE;
}

/* Collections or aliases may have changed: the next request is to find its model by the new map. Bounded, for Qdrant may not answer. */
static bool await_new_map(struct tx *tx)
{
    struct worker *w = tx->worker;
    uint64_t now = now_of(tx);
    if (!tx->opened || !(tx->route.op->flags & OP_NAMES) || !w->names_changed || !w->facts)
        return false;
    if (tx->answer.status / 100 != 2 || !tx->client) { /* nobody waits, or nothing changed as far as one knows */
        w->names_changed(w->arg);
        return false;
    }
    if (!tx->changed_at) {
        tx->changed_at = now;
        tx->facts_until = now + NEW_MAP_WAIT;
        tx->awaits_facts = true;
        w->names_changed(w->arg);
    }
    tx->awaits_facts = w->facts->asked_at <= tx->changed_at && now < tx->facts_until;
    return tx->awaits_facts;
}

static enum tx_state step_close(struct tx *tx)
{
    if (tx->opened && !tx->closing) {
        tx->closing = true;
        if (!tx->hold.collection.n) /* no answer was read */
            tx_name_written(tx);
        if (!fingerprint_eq(tx->map, tx->hold.map))
            foreign_astray(&tx->worker->shared->foreign);
        tx_look_for_others(tx);
        tx->hold_wait = !coherence_close(&tx->hold, tx->proof, hold_wake, tx);
    }
    if (tx->hold_wait)
        return park(tx, NEVER);
    if (await_new_map(tx))
        return park(tx, tx->facts_until);
    if (tx->opened && tx->route.op->class != CLASS_WRITE_POINTS && tx->worker->collection_changed)
        tx->worker->collection_changed(tx->resolved, tx->worker->arg);
    return tx->client || tx->own ? TX_REPLY : TX_DONE;
}

static enum tx_state step_reply(struct tx *tx)
{
    if (!tx->client)
        return tx->own ? TX_GATHER : TX_DONE;
    outq_reset(&tx->out);
    outq_add(&tx->out, tx_client_head(tx));
    tx->first_out = now_of(tx);
    if (tx->answer.whole && !tx->head.is_head_method)
        for (unsigned i = 0; i < tx->answer.n_parts; i++) {
            outq_add(&tx->out, tx->answer.part[i]);
            tx->n_body_out += tx->answer.part[i].n;
        }
    if (!tx->answer.whole && tx->n_own_answer) { /* collected in vain, or left as it was: what is there goes first */
        if (tx->chunked_down)
            outq_add(&tx->out, arena_printf(&tx->arena, "%zx\r\n", tx->n_own_answer));
        outq_add(&tx->out, (struct str){tx->own_answer, tx->n_own_answer});
        if (tx->chunked_down)
            outq_add(&tx->out, STR("\r\n"));
        tx->n_body_out += tx->n_own_answer;
    }
    if (tx->answer.local || tx->answer.blob) { /* its bytes are not needed: the connection serves others while this client reads */
        if (tx->collected && tx->fetch.state == FETCH_ANSWERING)
            fetch_body_used(&tx->fetch, tx->whole.n);
        fetch_finish(&tx->fetch);
    }
    return TX_RELAY;
}

static enum tx_state step_gather(struct tx *tx)
{
    struct tx_own *own = tx->own;
    struct str slice;
    if (!own)
        return TX_DONE; /* cancelled meanwhile */
    for (unsigned i = 0; tx->answer.whole && i < tx->answer.n_parts; i++)
        tx_own_gather(own, tx->answer.part[i]);
    if (!tx->answer.whole && tx->n_own_answer && !own->n_gathered)
        tx_own_gather(own, (struct str){tx->own_answer, tx->n_own_answer});
    while (!tx->answer.whole) {
        switch (fetch_body(&tx->fetch, &slice)) {
        case FETCH_SLICE:
            if (!tx_own_gather(own, slice))
                tx->answer.status = 502;
            fetch_body_used(&tx->fetch, slice.n);
            continue;
        case FETCH_WAIT:
            return park(tx, fetch_deadline(&tx->fetch));
        case FETCH_BROKEN:
            tx->answer.status = fetch_failure_status(tx->fetch.failure);
            break;
        case FETCH_END:
            break;
        }
        break;
    }
    return TX_DONE;
}

/* The next piece of the upstream's body goes into the queue; false if the answer cannot be completed. *ended: there is no more. */
static bool take_piece(struct tx *tx, bool *ended)
{
    struct str slice;
    *ended = false;
    switch (fetch_body(&tx->fetch, &slice)) {
    case FETCH_SLICE:
        if (tx->chunked_down)
            outq_add(&tx->out, (struct str){tx->chunk_size, chunk_line(tx->chunk_size, slice.n)});
        outq_add(&tx->out, slice);
        if (tx->chunked_down)
            outq_add(&tx->out, STR("\r\n"));
        tx->pending_n = slice.n;
        tx->n_body_out += slice.n;
        return true;
    case FETCH_END:
        *ended = true;
        if (tx->chunked_down && !tx->relay_ended)
            outq_add(&tx->out, CHUNK_LAST);
        tx->relay_ended = true;
        return true;
    case FETCH_WAIT:
        return true;
    case FETCH_BROKEN:
        break;
    }
    return false;
}

static enum tx_state cut_off(struct tx *tx)
{
    tx->cut = true;
    if (tx->client)
        client_abort(&tx->client);
    return TX_DONE;
}

/* The answer cannot be completed. Once bytes have left, a visible cut is the only honest end. */
static enum tx_state spoiled(struct tx *tx)
{
    if (tx->any_out)
        return cut_off(tx);
    fetch_error(tx);
    tx->n_body_out = 0;
    return TX_REPLY;
}

static enum tx_state step_relay(struct tx *tx)
{
    bool streams = !tx->answer.whole;
    for (;;) {
        bool ended = !streams;
        if (streams && !tx->pending_n && !take_piece(tx, &ended))
            return spoiled(tx);
        if (tx->out.left) {
            tx->any_out = true;
            switch (client_send(tx->client, &tx->out)) {
            case OUT_AGAIN:
                if (!tx->client->late)
                    return park(tx, NEVER);
                metrics_add(tx->worker->metrics, M_CLIENT_TIMEOUTS, 1);
                return cut_off(tx);
            case OUT_DEAD:
                metrics_add(tx->worker->metrics, M_CLIENT_GONE, 1);
                return cut_off(tx);
            case OUT_SENT:
                break;
            }
        } else if (!ended && !tx->pending_n) {
            return park(tx, fetch_deadline(&tx->fetch));
        }
        if (tx->pending_n) {
            fetch_body_used(&tx->fetch, tx->pending_n);
            tx->pending_n = 0;
        }
        if (ended)
            return TX_DONE;
    }
}

static enum tx_state step_done(struct tx *tx)
{
    for (unsigned i = 0; i < tx->n_asked; i++)
        if (chain.plug[i].type->done)
            chain.plug[i].type->done(tx, &chain.plug[i]);
    tx_reuse_end(tx);
    fetch_finish(&tx->fetch);
    if (tx->opened && !tx->closing)
        coherence_cancel(&tx->hold);
    if (tx->numbered)
        foreign_end(&tx->worker->shared->foreign, tx->resolved, 0, 0);
    tx_record(tx);
    if (tx->own)
        tx_own_deliver(tx);
    if (tx->client)
        client_next(&tx->client, !tx->close_after);
    return TX_GONE;
}

/* ---- the engine ---- */

static const struct {
    enum tx_state (*run)(struct tx *);
} steps[TX_COUNT] = {
#define X(id, name, help) {step_##name},
    TX_STATES(X)
#undef X
};

/* May the request go on although its client is gone? A write whose last byte was sent does: only its answer tells what became of it. */
static bool outlives_client(const struct tx *tx)
{
    return tx->is_write && tx->state == TX_FETCHED && tx->fetch.all_sent && tx->route.op->class != CLASS_SNAPSHOT_WRITE;
}

/* Nobody is left to answer: a write goes on until it is closed, a read ends here and gives its place back. */
static void leave_client(struct tx *tx)
{
    metrics_add(tx->worker->metrics, M_CLIENT_GONE, 1);
    client_abort(&tx->client);
    if (tx->opened || tx->state != TX_RESPONSE)
        return;
    cancel_suspended(tx);
    enter(tx, TX_DONE);
}

/* What the client's side says comes first: it may have ended the request. */
static void look_at_client(struct tx *tx)
{
    struct client *c = tx->client;
    if (!c || tx->doom)
        return;
    if ((c->eof || c->dead) && tx->state < TX_RELAY && tx->state != TX_FAIL) {
        if (tx->state > TX_FAIL || outlives_client(tx))
            leave_client(tx);
        else
            tx->doom = DOOM_CLIENT_GONE;
    } else if (c->late && tx->state < TX_FAIL) {
        tx->doom = DOOM_CLIENT_LATE;
    } else if (tx->state == TX_RELAY && c->dead) {
        tx->cut = true;
    }
}

void tx_run(struct task *task)
{
    struct tx *tx = LIST_OF(tx, task, task);
    look_at_client(tx);
    for (;;) {
        if (tx->doom && tx->state < TX_FAIL) {
            if (tx->suspended)
                cancel_suspended(tx);
            tx->hold_wait = false; /* of an open: the close that follows ends its waiting */
            enter(tx, TX_FAIL);
        }
        enum tx_state next = tx->cut && tx->state == TX_RELAY ? cut_off(tx) : steps[tx->state].run(tx);
        if (next == TX_PARKED)
            return;
        if (next == TX_GONE) {
            tx_free(tx);
            return;
        }
        enter(tx, next);
    }
}

void tx_abort_all(struct worker *w)
{
    struct link *k;
    while ((k = list_first(&w->running))) {
        struct tx *tx = LIST_OF(tx, link, k);
        if (tx->suspended)
            cancel_suspended(tx);
        if (tx->opened)
            coherence_cancel(&tx->hold);
        tx->closing = true;
        cut_off(tx);
        step_done(tx);
        tx_free(tx);
    }
}

/* ---- for plugins ---- */

bool tx_collect(struct tx *tx, size_t max)
{
    struct fetch *f = &tx->fetch;
    if (tx->collected || tx->collect_failed) { /* another plugin has asked before */
        tx->asks_whole = tx->collected && tx->whole.n <= max;
        return tx->asks_whole;
    }
    bool fits = f->head.framing == HTTP_BODY_CHUNKED || (f->head.framing == HTTP_BODY_LENGTH && f->head.length <= max);
    if (tx->answer.local || !fits)
        return false;
    tx->collects = tx->asks_whole = true;
    tx->collect_max = max;
    return true;
}

void tx_add_extra(struct tx *tx, struct str line)
{
    struct str *extra = &tx->answer.extra;
    *extra = extra->n ? arena_printf(&tx->arena, "%.*s%.*s", STR_ARG(*extra), STR_ARG(line)) : line;
}
