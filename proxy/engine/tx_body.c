/* tx_body.c - request bodies that are held whole: searches and other reads, and the few small ones that name collections. */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "engine/tx_parts.h"

enum { EDITS_IN_PLACE = 24 }; /* up to so many edits go out as slices; more are put together first */
#define HOLD_RETRY (5 * MSEC)

/* Few slow bodies could keep all that limits.hold_total allows from everybody else: room is taken for a whole body when its head says how long
 * it will be. While others wait for room, who sends less than this gives it up. */
enum { SLOW_RATE = 64 * 1024 }; /* bytes a second, since the request began */
#define SLOW_GRACE (1 * SEC)

static void note_waiting(struct tx *tx, bool waits)
{
    if (tx->waits_for_room == waits)
        return;
    tx->waits_for_room = waits;
    atomic_fetch_add_explicit(&tx->worker->shared->n_wait_for_room, waits ? 1 : -1, memory_order_relaxed);
}

static bool account(struct tx *tx, size_t n)
{
    _Atomic uint64_t *held = &tx->worker->shared->n_held;
    if (atomic_fetch_add_explicit(held, n, memory_order_relaxed) + n > tx->snapshot->conf->process.hold_total) {
        atomic_fetch_sub_explicit(held, n, memory_order_relaxed);
        return false;
    }
    tx->n_held += n;
    note_waiting(tx, false);
    metrics_gauge_add(tx->worker->metrics, G_HELD_BYTES, (int64_t)n);
    return true;
}

static void unaccount(struct tx *tx, size_t n)
{
    atomic_fetch_sub_explicit(&tx->worker->shared->n_held, n, memory_order_relaxed);
    metrics_gauge_add(tx->worker->metrics, G_HELD_BYTES, -(int64_t)n);
    tx->n_held -= n;
}

bool tx_wants_hold(const struct tx *tx)
{
    if (tx->head.framing == HTTP_BODY_NONE || tx->own)
        return true;
    if (!(tx->route.op->flags & OP_HELD) && !chain_holds(tx))
        return false;
    /* What Qdrant would refuse as too large is streamed to it: the refusal is its own. */
    return tx->head.framing != HTTP_BODY_LENGTH || tx->head.length <= tx->snapshot->conf->process.hold_body;
}

/* No room within hold_total: reading pauses, for the queue's time at most. */
static enum hold_result wait_for_room(struct tx *tx)
{
    uint64_t now = tx->worker->loop.now;
    note_waiting(tx, true);
    uint64_t limit = tx->snapshot->conf->process.queue_timeout;
    if (now >= tx->began + limit) {
        tx->doom = DOOM_NO_MEMORY;
        return HOLD_DOOMED;
    }
    tx->hold_until = now + HOLD_RETRY;
    return HOLD_WAIT;
}

static enum hold_result doom(struct tx *tx)
{
    struct client *c = tx->client;
    tx->doom = c->body_bad ? DOOM_BODY_BAD : c->late ? DOOM_CLIENT_LATE : DOOM_CLIENT_GONE;
    return HOLD_DOOMED;
}

static enum hold_result hold_length(struct tx *tx)
{
    size_t n = (size_t)tx->head.length;
    if (!tx->n_held && n && !account(tx, n))
        return wait_for_room(tx);
    switch (client_body_whole(tx->client, &tx->body)) {
    case BODY_END:
        return HOLD_DONE;
    case BODY_WAIT:
        tx->hold_until = NEVER;
        return HOLD_WAIT;
    case BODY_SLICE:
    case BODY_BROKEN:
        break;
    }
    return doom(tx);
}

/* The pieces are put together in memory of our own, which doubles up to hold_body; what is over at the end is given back. */
static enum hold_result hold_chunks(struct tx *tx)
{
    size_t most = (size_t)tx->snapshot->conf->process.hold_body;
    for (;;) {
        struct str slice;
        switch (client_body(tx->client, &slice)) {
        case BODY_SLICE:
            if (tx->n_own_body + slice.n > most) {
                tx->doom = DOOM_BODY_BIG;
                tx->close_after = true;
                return HOLD_DOOMED;
            }
            if (tx->n_own_body + slice.n > tx->n_held) {
                size_t want = 2 * (tx->n_own_body + slice.n);
                if (!account(tx, (want < most ? want : most) - tx->n_held))
                    return wait_for_room(tx);
                tx->own_body = mem_realloc(tx->own_body, tx->n_held);
            }
            memcpy(tx->own_body + tx->n_own_body, slice.p, slice.n);
            tx->n_own_body += slice.n;
            client_body_used(tx->client, slice.n);
            break;
        case BODY_END:
            if (tx->n_own_body < tx->n_held) {
                unaccount(tx, tx->n_held - tx->n_own_body);
                tx->own_body = mem_realloc(tx->own_body, tx->n_held);
            }
            tx->body = (struct str){tx->own_body, tx->n_own_body};
            return HOLD_DONE;
        case BODY_WAIT:
            tx->hold_until = NEVER;
            return HOLD_WAIT;
        case BODY_BROKEN:
            return doom(tx);
        }
    }
}

enum hold_result tx_hold_body(struct tx *tx)
{
    if (tx->head.framing == HTTP_BODY_NONE || tx->own)
        return HOLD_DONE; /* there is none, or it came with the request */
    enum hold_result result = tx->head.framing == HTTP_BODY_LENGTH ? hold_length(tx) : hold_chunks(tx);
    if (result == HOLD_DONE)
        tx->n_body_in = tx->body.n;
    return result;
}

/* It has had SLOW_GRACE, and less of its body has come than SLOW_RATE brings. */
static bool is_slow(const struct tx *tx, uint64_t now)
{
    uint64_t took = now > tx->began ? now - tx->began : 0;
    size_t came = tx->head.framing == HTTP_BODY_LENGTH ? client_received(tx->client) : tx->n_own_body;
    return took > SLOW_GRACE && came < took / MSEC * SLOW_RATE / 1000;
}

void tx_shed_slow(struct worker *w)
{
    if (!atomic_load_explicit(&w->shared->n_wait_for_room, memory_order_relaxed))
        return;
    for (struct link *k = list_first(&w->running); k; k = list_next(&w->running, k)) {
        struct tx *tx = LIST_OF(tx, link, k);
        if (tx->state != TX_BODY || !tx->client || !tx->n_held || tx->waits_for_room || tx->doom || !is_slow(tx, w->loop.now))
            continue;
        tx->doom = DOOM_CLIENT_SLOW;
        loop_wake(&w->loop, &tx->task);
    }
}

void tx_release_body(struct tx *tx)
{
    note_waiting(tx, false);
    if (tx->n_held)
        unaccount(tx, tx->n_held);
    free(tx->own_body);
    free(tx->own_answer);
    tx->own_body = tx->own_answer = NULL;
}

const struct query_facts *tx_scan(struct tx *tx, const struct rewrite_rules *rules)
{
    if (tx->scanned)
        return &tx->query;
    tx->scanned = true;
    tx->query = (struct query_facts){.known = true};
    if (tx->route.op->body == BODY_NONE || tx->route.op->body == BODY_OPAQUE)
        return &tx->query;
    if (!tx->held || tx->head.first[HF_CONTENT_ENCODING]) {
        tx->query.known = false;
        tx->query.why = tx->held ? "the body is compressed" : "the body is too large to hold";
        return &tx->query;
    }
    query_scan(&tx->arena, tx->route.op, tx->body, rules, &tx->query);
    if (tx->query.known)
        tx->shape = shapes_of(tx->worker->shapes, &tx->arena, &tx->query);
    return &tx->query;
}

static size_t edited_length(const struct tx *tx)
{
    size_t n = tx->body.n;
    for (unsigned i = 0; i < tx->query.n_edits; i++)
        n += tx->query.edit[i].text.n - tx->query.edit[i].cut;
    return n;
}

bool tx_apply_edits(struct tx *tx)
{
    const struct query_facts *q = &tx->query;
    if (!q->n_edits || tx->n_parts)
        return true;
    bool together = q->n_edits > EDITS_IN_PLACE;
    size_t n_edited = edited_length(tx);
    if (n_edited > tx->snapshot->conf->process.hold_body) { /* Qdrant takes it as it is, and would refuse it longer */
        query_scan(&tx->arena, tx->route.op, tx->body, NULL, &tx->query);
        return false;
    }
    /* A batch of small searches grows many times over. Of the edits there are twice as many as were put into their growing list. */
    if (together && !account(tx, n_edited + 2 * q->n_edits * sizeof *q->edit)) {
        tx->doom = DOOM_NO_MEMORY;
        return false;
    }
    unsigned n = 0;
    size_t at = 0;
    tx->part = arena_alloc(&tx->arena, (together ? 1 : 2 * q->n_edits + 1) * sizeof *tx->part);
    char *whole = together ? arena_alloc(&tx->arena, n_edited) : NULL;
    char *end = whole;
    for (unsigned i = 0; i <= q->n_edits; i++) {
        bool last = i == q->n_edits;
        size_t until = last ? tx->body.n : q->edit[i].at;
        struct str piece[2] = {{tx->body.p + at, until - at}, last ? STR_NONE : q->edit[i].text};
        for (unsigned k = 0; k < 2; k++) {
            if (!piece[k].n)
                continue;
            if (together)
                end = (char *)memcpy(end, piece[k].p, piece[k].n) + piece[k].n;
            else
                tx->part[n++] = piece[k];
        }
        at = last ? until : until + q->edit[i].cut;
    }
    if (together)
        tx->part[n++] = (struct str){whole, (size_t)(end - whole)};
    tx->n_parts = n;
    return true;
}

void tx_body_parts(struct tx *tx, const struct str **part, unsigned *n)
{
    *part = tx->n_parts ? tx->part : &tx->body;
    *n = tx->n_parts ? tx->n_parts : tx->body.n > 0;
}
