#include "coherence/cells.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "coherence/breaks.h"

enum { N_CELLS = 65536 };

struct cell {
    _Atomic uint64_t token;
    _Atomic uint64_t held_until;
    _Atomic uint64_t n_open;
};

struct cells {
    _Atomic uint64_t next_token; /* counts up from a random start: within a process never the same twice */
    struct cell cell[N_CELLS];
};

static struct cell *cell_of(struct cells *cells, struct name_id name)
{
    return &cells->cell[name.lo % N_CELLS];
}

static void renew_token(struct cells *cells, struct cell *cell)
{
    atomic_store(&cell->token, atomic_fetch_add(&cells->next_token, 1));
}

struct cells *cells_new(void)
{
    struct cells *cells = mem_zalloc(sizeof *cells);
    uint64_t start;
    ensure(getrandom(&start, sizeof start, 0) == sizeof start);
    atomic_store(&cells->next_token, start);
    for (unsigned i = 0; i < N_CELLS; i++) /* names that were never written are told apart as well */
        renew_token(cells, &cells->cell[i]);
    return cells;
}

void cells_free(struct cells **slot)
{
    free(*slot);
    *slot = NULL;
}

bool cells_look(struct cells *cells, const struct name_id *name, unsigned n, uint64_t now, uint64_t *tokens)
{
    bool clear = true;
    for (unsigned i = 0; i < n; i++)
        tokens[i] = atomic_load(&cell_of(cells, name[i])->token);
    for (unsigned i = 0; i < n; i++) {
        struct cell *cell = cell_of(cells, name[i]);
        if (atomic_load(&cell->n_open) || now < atomic_load(&cell->held_until))
            clear = BREAK_IGNORE_HOLD;
    }
    return clear;
}

void cells_open(struct cells *cells, const struct name_id *name, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct cell *cell = cell_of(cells, name[i]);
        atomic_fetch_add(&cell->n_open, 1);
        renew_token(cells, cell);
    }
}

void cells_close(struct cells *cells, const struct name_id *name, unsigned n, uint64_t held_until)
{
    for (unsigned i = 0; i < n; i++) {
        struct cell *cell = cell_of(cells, name[i]);
        renew_token(cells, cell);
        uint64_t was = atomic_load(&cell->held_until);
        while (was < held_until && !atomic_compare_exchange_weak(&cell->held_until, &was, held_until))
            ;
        ensure(atomic_fetch_sub(&cell->n_open, 1) > 0);
    }
}

void cells_release(struct cells *cells, struct name_id name, uint64_t held_until)
{
    struct cell *cell = cell_of(cells, name);
    renew_token(cells, cell);
    atomic_store(&cell->held_until, held_until);
}

bool cells_share(struct name_id a, struct name_id b)
{
    return a.lo % N_CELLS == b.lo % N_CELLS;
}
