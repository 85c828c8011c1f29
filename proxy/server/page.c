#include "server/page.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "engine/worker.h"
#include "tune/tune.h"
#include "upstream/peer.h"

static struct {
    const struct worker *control;
    const struct tune *tune;
    bool (*ready)(struct str *why, void *arg);
} page;

static const struct conf *conf(void)
{
    return page.control->snapshot->conf;
}

static void emit_ready(struct metrics_out *out, void *arg)
{
    struct str why;
    metrics_emit(out, NULL, page.ready(&why, NULL));
}

/* Does a server before this one, in the order of the groups, have the same address? */
static bool is_repeated(unsigned group, unsigned server)
{
    const char *url = conf()->group[group].server[server].url;
    for (unsigned g = 0; g <= group; g++)
        for (unsigned s = 0; s < (g < group ? conf()->group[g].n_servers : server); s++)
            if (strcmp(conf()->group[g].server[s].url, url) == 0)
                return true;
    return false;
}

static void emit_upstreams(struct metrics_out *out, void *arg)
{
    for (unsigned g = 0; g < conf()->n_groups; g++)
        for (unsigned s = 0; s < conf()->group[g].n_servers; s++) {
            const struct conf_server *at = &conf()->group[g].server[s];
            if (!is_repeated(g, s))
                metrics_emit(out, at->url, peer_is_up(peer_get(at->url, at->host, at->port)));
        }
}

static void emit_digests(struct metrics_out *out, void *arg)
{
    unsigned max;
    if (page.control->digests)
        metrics_emit(out, NULL, digests_rows(page.control->digests, &max));
}

static void emit_digests_other(struct metrics_out *out, void *arg)
{
    if (page.control->digests)
        metrics_emit(out, NULL, (double)digests_other(page.control->digests));
}

static const struct {
    enum metrics_scraped id;
    void (*emit)(struct metrics_out *, void *arg);
} rows[] = {
    {MS_READY, emit_ready},
    {MS_UPSTREAM_UP, emit_upstreams},
    {MS_DIGESTS, emit_digests},
    {MS_DIGESTS_OTHER, emit_digests_other},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

/* ---- one value a model; NAN: it has none ---- */

static double target_p50(const struct conf_model *m)
{
    return m->base.target_p50 ? (double)m->base.target_p50 / SEC : NAN;
}

static double target_ops(const struct conf_model *m)
{
    return m->base.target_ops ? (double)m->base.target_ops : NAN;
}

static double target_hit_rate(const struct conf_model *m)
{
    return m->base.target_hit_rate;
}

static double pool_limit(const struct conf_model *m)
{
    return (double)m->base.connections * conf()->group[m->group].n_servers;
}

static double drift(const struct conf_model *m)
{
    unsigned n_drift, n_given_up;
    return tune_drift(page.tune, m->name, &n_drift, &n_given_up) ? n_drift : NAN;
}

static double given_up(const struct conf_model *m)
{
    unsigned n_drift, n_given_up;
    return tune_drift(page.tune, m->name, &n_drift, &n_given_up) ? n_given_up : NAN;
}

static const struct model_row {
    enum metrics_scraped id;
    double (*of)(const struct conf_model *);
} model_rows[] = {
    {MS_TARGET_P50, target_p50}, {MS_TARGET_OPS, target_ops}, {MS_TARGET_HIT_RATE, target_hit_rate},
    {MS_POOL_LIMIT, pool_limit}, {MS_DRIFT, drift},           {MS_GIVEN_UP, given_up},
};
enum { N_MODEL_ROWS = sizeof model_rows / sizeof *model_rows };

static void emit_models(struct metrics_out *out, void *arg)
{
    const struct model_row *row = arg;
    for (unsigned m = 0; m < conf()->n_models; m++) {
        const struct conf_model *model = &conf()->model[m];
        double value = row->of(model);
        if (!isnan(value))
            metrics_emit(out, model->name, value);
    }
}

void page_open(const struct worker *control, const struct tune *tune,
               bool (*ready)(struct str *why, void *arg))
{
    page.control = control;
    page.tune = tune;
    page.ready = ready;
    for (unsigned i = 0; i < N_ROWS; i++)
        metrics_scrape(rows[i].id, rows[i].emit, NULL);
    for (unsigned i = 0; i < N_MODEL_ROWS; i++)
        metrics_scrape(model_rows[i].id, emit_models, (void *)&model_rows[i]);
}

void page_close(void)
{
    for (unsigned i = 0; i < N_ROWS; i++)
        metrics_scrape(rows[i].id, NULL, NULL);
    for (unsigned i = 0; i < N_MODEL_ROWS; i++)
        metrics_scrape(model_rows[i].id, NULL, NULL);
}
