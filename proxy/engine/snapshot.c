#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/worker.h"
#include "upstream/peer.h"

struct snapshot *snapshot_new(struct conf *conf)
{
    struct snapshot *s = mem_zalloc(sizeof *s);
    atomic_init(&s->n_refs, 1);
    s->conf = conf;
    s->upstream = mem_zalloc(conf->n_models * sizeof *s->upstream);
    for (unsigned i = 0; i < conf->n_models; i++) {
        const struct conf_model *model = &conf->model[i];
        const struct conf_group *group = &conf->group[model->group];
        struct model_upstream *up = &s->upstream[i];
        up->slots = mem_zalloc(group->n_servers * sizeof *up->slots);
        up->n_slots = group->n_servers;
        for (unsigned k = 0; k < group->n_servers; k++) {
            const struct conf_server *server = &group->server[k];
            up->slots[k] = slots_get(model->name, peer_get(server->url, server->host, server->port),
                                     (unsigned)model->base.connections, model->metrics_id);
        }
    }
    return s;
}

struct snapshot *snapshot_get(struct snapshot *s)
{
    atomic_fetch_add_explicit(&s->n_refs, 1, memory_order_relaxed);
    return s;
}

void snapshot_put(struct snapshot **slot)
{
    struct snapshot *s = *slot;
    *slot = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->n_refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < s->conf->n_models; i++)
        free(s->upstream[i].slots);
    free(s->upstream);
    conf_put(&s->conf);
    free(s);
}
