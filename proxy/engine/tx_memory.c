/* tx_memory.c - transactions come and go by the ten thousand a second: those that ended are kept and used again, with their timer and the
 * first bytes of their arena; what a burst has left behind goes back to the heap. */
#include <stdlib.h>

#include "base/mem.h"
#include "engine/tx_parts.h"

enum {
    SPARES_MAX = 64,
    ARENA_FIRST = 6 * 1024, /* most requests never ask the heap */
};

struct tx_memory { /* a transaction and the first bytes of its arena are one piece, used again and again */
    struct tx tx;
    char first[ARENA_FIRST];
};

static void late(void *arg)
{
    struct tx *tx = arg;
    loop_wake(&tx->worker->loop, &tx->task);
}

struct tx *tx_new(struct worker *w)
{
    struct tx *tx = w->spare;
    if (tx) {
        memcpy(&w->spare, tx->scratch, sizeof w->spare);
        if (--w->n_spare < w->n_idle_spare)
            w->n_idle_spare = w->n_spare;
    } else {
        tx = mem_zalloc(sizeof(struct tx_memory));
        timer_init(&tx->timer, &w->loop, late, tx);
    }
    /* tx->timer stays in the loop's heap from request to request: arming it again costs nothing. */
    tx->task = (struct task){.run = tx_run};
    tx->worker = w;
    tx->snapshot = snapshot_get(w->snapshot);
    tx->model = &tx->snapshot->conf->model[0];
    tx->client = NULL;
    tx->own = NULL;
    tx->state = TX_HEAD;
    tx->doom = DOOM_NONE;
    arena_init(&tx->arena, ((struct tx_memory *)tx)->first, ARENA_FIRST);
    tx->route = (struct route){.op = &ops[OP_UNKNOWN]};
    memset(&tx->resolved, 0, sizeof *tx - offsetof(struct tx, resolved));
    outq_reset(&tx->out);
    fetch_init(&tx->fetch, &w->upstream, &tx->arena, &tx->task);
    tx->began = clock_usec();
    tx->cache_word = "-";
    list_push(&w->running, &tx->link);
    w->in_state[TX_HEAD]++;
    return tx;
}

void tx_free(struct tx *tx)
{
    struct worker *w = tx->worker;
    loop_unwake(&w->loop, &tx->task);
    timer_set(&tx->timer, NEVER);
    tx_release_body(tx);
    blob_put(&tx->answer.blob);
    arena_fini(&tx->arena);
    snapshot_put(&tx->snapshot);
    list_remove(&w->running, &tx->link);
    w->in_state[tx->state]--;
    if (w->n_spare < SPARES_MAX) {
        memcpy(tx->scratch, &w->spare, sizeof w->spare);
        w->spare = tx;
        w->n_spare++;
        return;
    }
    timer_fini(&tx->timer);
    free(tx);
}

static void free_spare(struct worker *w)
{
    struct tx *tx = w->spare;
    memcpy(&w->spare, tx->scratch, sizeof w->spare);
    w->n_spare--;
    timer_fini(&tx->timer);
    free(tx);
}

void tx_free_spares(struct worker *w)
{
    while (w->spare)
        free_spare(w);
}

void tx_rest(struct worker *w)
{
    for (unsigned n = (w->n_idle_spare + 1) / 2; n > 0; n--)
        free_spare(w);
    w->n_idle_spare = w->n_spare;
}
