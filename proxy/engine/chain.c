#include <stdlib.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "engine/plugin.h"
#include "engine/tx.h"

struct chain chain;

void chain_init(const struct plugin *const *registry)
{
    chain = (struct chain){0};
    for (unsigned i = 0; registry[i]; i++) {
        ensure(i < PLUGINS_MAX);
        struct plug *plug = &chain.plug[chain.n++];
        *plug = (struct plug){.type = registry[i], .index = i, .model_table = -1, .process_table = -1};
        if (plug->type->model_options) {
            plug->model_table = (int)chain.n_model_tables;
            chain.model_table[chain.n_model_tables++] = plug->type->model_options;
        }
        if (plug->type->process_options) {
            plug->process_table = (int)chain.n_process_tables;
            chain.process_table[chain.n_process_tables++] = plug->type->process_options;
        }
    }
}

void chain_open(struct worker *w)
{
    for (unsigned i = 0; i < chain.n; i++)
        w->self[i] = chain.plug[i].type->open ? chain.plug[i].type->open(w) : NULL;
}

void chain_configure(struct worker *w, const struct conf *conf)
{
    for (unsigned i = 0; i < chain.n; i++)
        if (chain.plug[i].type->configure)
            chain.plug[i].type->configure(w->self[i], conf);
}

void chain_figures(struct worker *w)
{
    for (unsigned i = 0; i < chain.n; i++)
        if (chain.plug[i].type->figures)
            chain.plug[i].type->figures(w->self[i], w->metrics);
}

bool chain_holds(const struct tx *tx)
{
    for (unsigned i = 0; i < chain.n; i++)
        if (chain.plug[i].type->holds && chain.plug[i].type->holds(tx, &chain.plug[i]))
            return true;
    return false;
}

void chain_close(struct worker *w)
{
    for (unsigned i = 0; i < chain.n; i++)
        if (chain.plug[i].type->close)
            chain.plug[i].type->close(w->self[i]);
}

const void *plug_conf(const struct tx *tx, const struct plug *plug)
{
    return plug->model_table < 0 ? NULL : tx->model->part[plug->model_table];
}

const void *plug_process_conf(const struct tx *tx, const struct plug *plug)
{
    return plug->process_table < 0 ? NULL : tx->snapshot->conf->process_part[plug->process_table];
}

void *plug_self(const struct tx *tx, const struct plug *plug)
{
    return tx->worker->self[plug->index];
}

void *plug_tx(struct tx *tx, const struct plug *plug)
{
    void **scratch = &tx->scratch[plug->index];
    if (!*scratch)
        *scratch = arena_zalloc(&tx->arena, plug->type->tx_size);
    return *scratch;
}
