#include "plugins/rewrite/rewrite.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "engine/tx.h"
#include "plugins/rewrite/options.h"

struct rewrite { /* per worker: the rules of the snapshot in use, made ready once */
    const struct conf *conf;
    struct rewrite_rules *rules; /* by model index */
};

static void *rewrite_open(struct worker *w)
{
    (void)w;
    return mem_zalloc(sizeof(struct rewrite));
}

static int my_table(void)
{
    for (unsigned i = 0; i < chain.n; i++)
        if (chain.plug[i].type == &rewrite_plugin)
            return chain.plug[i].model_table;
    return -1;
}

static void rewrite_configure(void *self, const struct conf *conf)
{
    struct rewrite *r = self;
    int table = my_table();
    free(r->rules);
    r->conf = conf;
    r->rules = mem_zalloc(conf->n_models * sizeof *r->rules);
    for (unsigned i = 0; i < conf->n_models; i++)
        rewrite_rules_build(conf->model[i].part[table], &r->rules[i]);
}

static void rewrite_close(void *self)
{
    struct rewrite *r = self;
    free(r->rules);
    free(r);
}

static const struct rewrite_rules *rules_of(struct tx *tx, const struct plug *plug)
{
    struct rewrite *r = plug_self(tx, plug);
    if (r->conf == tx->snapshot->conf)
        return &r->rules[tx->model->index];
    struct rewrite_rules *own = arena_alloc(&tx->arena, sizeof *own); /* began before a reload: its own snapshot's rules */
    rewrite_rules_build(plug_conf(tx, plug), own);
    return own;
}

static void lower(struct tx *tx, struct knob_rule *rule, double max)
{
    if (!isnan(rule->max_value) && rule->max_value <= max)
        return;
    rule->max_value = max;
    for (int digits = 15; digits <= 17; digits++) { /* the shortest that reads back the same */
        rule->max = arena_printf(&tx->arena, "%.*g", digits, max);
        if (strtod(rule->max.p, NULL) == max)
            break;
    }
    if (!isnan(rule->min_value) && rule->min_value > max) {
        rule->min_value = NAN;
        rule->min = STR_NONE;
    }
}

static void no_true(struct str *wish)
{
    if (str_eq(*wish, STR("true")))
        *wish = STR_NONE;
}

/* Strict mode refuses what is over its limits (qdrant-api: search_max_hnsw_ef, search_max_oversampling, search_allow_exact). */
static const struct rewrite_rules *within_strict_mode(struct tx *tx, const struct rewrite_rules *rules)
{
    const struct fact_collection *strict = facts_collection(tx->worker->facts, tx->resolved);
    if (!strict || !(strict->limits_ef || strict->limits_oversampling || strict->forbids_exact))
        return rules;
    struct rewrite_rules *own = arena_alloc(&tx->arena, sizeof *own);
    *own = *rules;
    if (strict->limits_ef)
        lower(tx, &own->knob[KNOB_HNSW_EF_], strict->max_ef);
    if (strict->limits_oversampling)
        lower(tx, &own->knob[KNOB_OVERSAMPLING_], strict->max_oversampling);
    if (strict->forbids_exact) {
        no_true(&own->knob[KNOB_EXACT_].set_default);
        no_true(&own->knob[KNOB_EXACT_].force);
    }
    return own;
}

static bool told_not_to(const struct tx *tx, const struct rewrite_process_conf *process)
{
    if (!process->enabled || (tx->own && tx->own->as_is))
        return true;
    if (!process->allow_header)
        return false;
    for (unsigned i = 0; i < tx->head.n_fields; i++)
        if (tx->head.field[i].id == HF_QUIVER_REWRITE && str_ieq(tx->head.field[i].value, STR("off")))
            return true;
    return false;
}

static enum verdict rewrite_request(struct tx *tx, const struct plug *plug)
{
    const struct rewrite_model_conf *own = plug_conf(tx, plug);
    if (!(tx->route.op->flags & OP_PARAMS) || !own->on || told_not_to(tx, plug_process_conf(tx, plug)))
        return CONTINUE;
    const struct rewrite_rules *rules = rules_of(tx, plug);
    if (!rules->any)
        return CONTINUE;
    const struct query_facts *q = tx_scan(tx, within_strict_mode(tx, rules));
    unsigned model = tx->model->metrics_id;
    if (!q->known || !tx_apply_edits(tx)) {
        metrics_model_add(tx->worker->metrics, model, MM_REWRITE_SKIPPED, 1);
        return CONTINUE;
    }
    if (q->n_edits) {
        tx->n_rewritten = q->n_changed;
        metrics_model_add(tx->worker->metrics, model, MM_REWRITES, 1);
        metrics_model_add(tx->worker->metrics, model, MM_REWRITTEN_KNOBS, q->n_changed);
    }
    return CONTINUE;
}

const struct plugin rewrite_plugin = {
    .name = "rewrite",
    .summary = "sets, forces and clamps search parameters per model",
    .model_options = &rewrite_model_table,
    .process_options = &rewrite_process_table,
    .open = rewrite_open,
    .configure = rewrite_configure,
    .close = rewrite_close,
    .request = rewrite_request,
};
