/* tx_own.c - requests of quiver's own: begun without a client, their whole answer put together and handed over. */
#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "engine/tx_parts.h"

enum { OWN_ANSWER_MAX = 64 << 20 };

void tx_start_own(struct worker *w, struct tx_own *own, struct str head, struct str body)
{
    struct tx *tx = tx_new(w);
    struct http_refusal refusal;
    size_t scanned = 0, head_n;
    head = arena_copy(&tx->arena, head);
    ensure(http_parse_request(head.p, head.n, &scanned, &tx->head, &head_n, &refusal) == HTTP_DONE);
    ensure(tx->head.framing == HTTP_BODY_NONE || (tx->head.framing == HTTP_BODY_LENGTH && tx->head.length == body.n));
    own->gathered = NULL;
    own->n_gathered = own->cap = 0;
    own->running = tx;
    own->step_since = tx->began;
    for (unsigned s = 0; s < TX_COUNT; s++)
        own->step_usec[s] = NEVER;
    if (own->snapshot) {
        snapshot_put(&tx->snapshot);
        tx->snapshot = snapshot_get(own->snapshot);
        tx->model = &tx->snapshot->conf->model[0];
    }
    tx->own = own;
    tx->body = arena_copy(&tx->arena, body);
    loop_wake(&w->loop, &tx->task);
}

void tx_cancel_own(struct tx_own *own)
{
    struct tx *tx = own->running;
    if (!tx)
        return;
    free(own->gathered);
    own->gathered = NULL;
    own->running = NULL;
    tx->own = NULL;
    tx->doom = DOOM_CLIENT_GONE;
    loop_wake(&tx->worker->loop, &tx->task);
}

void tx_own_step(struct tx *tx)
{
    struct tx_own *own = tx->own;
    uint64_t now = clock_usec(), *usec = &own->step_usec[tx->state];
    *usec = (*usec == NEVER ? 0 : *usec) + (now - own->step_since);
    own->step_since = now;
}

bool tx_own_gather(struct tx_own *own, struct str piece)
{
    if (own->n_gathered + piece.n > OWN_ANSWER_MAX)
        return false;
    if (own->n_gathered + piece.n > own->cap) {
        own->cap = 2 * (own->n_gathered + piece.n);
        own->gathered = mem_realloc(own->gathered, own->cap);
    }
    if (piece.n)
        memcpy(own->gathered + own->n_gathered, piece.p, piece.n);
    own->n_gathered += piece.n;
    return true;
}

void tx_own_deliver(struct tx *tx)
{
    struct tx_own *own = tx->own;
    tx_own_step(tx);
    own->status = tx->answer.status ? tx->answer.status : 499;
    own->fields = tx->answer.local ? tx->answer.fields : tx->fetch.head.raw;
    own->body = (struct str){own->gathered, own->n_gathered};
    own->tx = tx;
    own->running = NULL;
    char *gathered = own->gathered;
    own->gathered = NULL;
    own->done(own); /* may free what it is embedded in */
    free(gathered);
}
