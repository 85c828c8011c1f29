#include "engine/names.h"

#include "engine/tx.h"
#include "qdrant/aliases.h"

static const struct str any_name = {"@any", 4};

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
    if (facts && facts->aliases_hidden)
        coherence_names_add(names, any_name);
}

const struct conf_model *names_model(const struct conf *conf, const struct facts *facts, struct str collection)
{
    const struct conf_model *model = conf_model_of(conf, collection);
    for (unsigned i = 0; model->index == 0 && facts && i < facts->n_aliases; i++)
        if (str_eq(facts->alias[i].collection, collection))
            model = conf_model_of(conf, facts->alias[i].alias);
    return model;
}

const struct conf_model *names_model_of_read(const struct tx *tx, unsigned n)
{
    const struct facts *facts = tx->worker->facts;
    if (n == 0)
        return tx->model;
    if (n > tx->query.n_lookups)
        return NULL;
    return names_model(tx->snapshot->conf, facts, facts_resolve(facts, tx->query.lookup[n - 1]));
}

void names_add_written(const struct facts *facts, struct coherence_names *names, struct str name)
{
    coherence_names_add(names, any_name);
    coherence_names_add(names, name);
    coherence_names_add(names, facts_resolve(facts, name));
}

/* An alias that goes with its collection, or comes to it, is changed as well. */
static void add_written(struct tx *tx, struct coherence_names *names, struct str name)
{
    names_add_written(tx->worker->facts, names, name);
    if (tx->route.op->flags & OP_NAMES)
        add_all(tx->worker->facts, names, name);
}

void names_of_write(struct tx *tx, struct coherence_names *names)
{
    const struct op *op = tx->route.op;
    struct str *name;
    unsigned n;
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
