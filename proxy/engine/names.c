#include "engine/names.h"

#include "engine/tx.h"
#include "qdrant/aliases.h"

/* The name, what it stands for, and all else that stands for the same. */
static void add_all(const struct facts *facts, struct coherence_names *names, struct str name)
{
    struct str resolved = facts_resolve(facts, name);
    coherence_names_add(names, name);
    coherence_names_add(names, resolved);
    for (unsigned i = 0; facts && i < facts->n_aliases; i++)
        if (str_eq(facts->alias[i].collection, resolved))
            coherence_names_add(names, facts->alias[i].alias);
}

void names_of_read(struct tx *tx, struct coherence_names *names)
{
    const struct query_facts *q = &tx->query;
    const struct facts *facts = tx->worker->facts;
    add_all(facts, names, tx->route.collection);
    coherence_names_add(names, tx->resolved); /* by the map that came first; another one by now, and tx_reuse_map_holds says no */
    for (unsigned i = 0; i < q->n_lookups; i++)
        add_all(facts, names, q->lookup[i]);
}

/* The name and what it stands for; an alias that goes with its collection, or comes to it, is changed as well. */
static void add_written(struct tx *tx, struct coherence_names *names, struct str name)
{
    const struct facts *facts = tx->worker->facts;
    if (tx->route.op->flags & OP_NAMES) {
        add_all(facts, names, name);
    } else {
        coherence_names_add(names, name);
        coherence_names_add(names, facts_resolve(facts, name));
    }
}

void names_of_write(struct tx *tx, struct coherence_names *names)
{
    const struct op *op = tx->route.op;
    struct str *name;
    unsigned n;
    if (tx->worker->facts && tx->worker->facts->aliases_hidden)
        names->all = true; /* what is read through an alias may have changed, and nobody knows which */
    if (tx->route.collection.n)
        add_written(tx, names, tx->route.collection);
    if (op->flags & OP_NAMES)
        coherence_names_add(names, STR("@names"));
    if (op->class == CLASS_ALIASES) {
        if (tx->held && !tx->head.first[HF_CONTENT_ENCODING] && aliases_names(&tx->arena, tx->body, &name, &n))
            for (unsigned i = 0; i < n; i++)
                add_written(tx, names, name[i]);
        else
            names->all = true;
    } else if (!tx->route.collection.n || tx->route.undecodable) {
        names->all = true; /* a write that names nothing may have changed anything */
    }
}
