#include "plugins/rewrite/options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define M struct rewrite_model_conf
#define SET_DEFAULT_ROW(id, path, kind)                                                   \
    OPT_KNOB(M, set_default[KNOB_##id##_], "search.default." path, CONF_OPTIMIZATIONS, kind, \
             "written into a search that does not say " path),
#define FORCE_ROW(id, path, kind)                                                \
    OPT_KNOB(M, force[KNOB_##id##_], "search.force." path, CONF_OPTIMIZATIONS, kind, \
             "written into every search, whatever it says"),
#define BOUND_ROWS(id, path, kind)                                                   \
    OPT_KNOB(M, min[KNOB_##id##_], "search.min." path, CONF_OPTIMIZATIONS, kind,     \
             "a client's smaller value is raised to it"),                            \
    OPT_KNOB(M, max[KNOB_##id##_], "search.max." path, CONF_OPTIMIZATIONS, kind,     \
             "a client's larger value is lowered to it"),

static const struct opt rewrite_model_options[] = {
    OPT_BOOL(M, on, "rewrite", CONF_OPTIMIZATIONS, "true", "false: this model's searches go on as they came"),
    KNOBS(SET_DEFAULT_ROW)
    KNOBS(FORCE_ROW)
    BOUND_ROWS(HNSW_EF, "hnsw_ef", KNOB_UINT)
    BOUND_ROWS(OVERSAMPLING, "quantization.oversampling", KNOB_REAL)
};

static const char *const paths[KNOB_COUNT] = {
#define X(id, path, kind) path,
    KNOBS(X)
#undef X
};

static double number(const char *text)
{
    return text ? strtod(text, NULL) : NAN;
}

/* Qdrant refuses less than 1 of both (hnsw_ef from version 1.19 on). */
static bool check_least(const char *set, unsigned knob, const char *text, char *out, size_t n)
{
    if ((knob != KNOB_HNSW_EF_ && knob != KNOB_OVERSAMPLING_) || !(number(text) < 1))
        return true;
    snprintf(out, n, "search.%s.%s: '%s' is too small, expected at least 1", set, paths[knob], text);
    return false;
}

static bool check_inside(const M *c, const char *set, unsigned knob, const char *text, char *out, size_t n)
{
    if (number(text) < number(c->min[knob]))
        snprintf(out, n, "search.%s.%s: '%s' is below search.min.%s, expected at least %s", set, paths[knob],
                 text, paths[knob], c->min[knob]);
    else if (number(text) > number(c->max[knob]))
        snprintf(out, n, "search.%s.%s: '%s' is above search.max.%s, expected at most %s", set, paths[knob],
                 text, paths[knob], c->max[knob]);
    else
        return true;
    return false;
}

static bool rewrite_check(void *filled, char *out, size_t n)
{
    const M *c = filled;
    for (unsigned k = 0; k < KNOB_COUNT; k++) {
        if (!check_least("default", k, c->set_default[k], out, n) ||
            !check_least("force", k, c->force[k], out, n) || !check_least("min", k, c->min[k], out, n) ||
            !check_least("max", k, c->max[k], out, n))
            return false;
        if (number(c->min[k]) > number(c->max[k])) {
            snprintf(out, n, "search.min.%s: '%s' is above search.max.%s, expected at most %s", paths[k],
                     c->min[k], paths[k], c->max[k]);
            return false;
        }
        if (!check_inside(c, "default", k, c->set_default[k], out, n) ||
            !check_inside(c, "force", k, c->force[k], out, n))
            return false;
    }
    return true;
}

const struct opt_table rewrite_model_table = {
    "rewrite", rewrite_model_options, sizeof rewrite_model_options / sizeof *rewrite_model_options,
    sizeof(M), rewrite_check,
};

#define P struct rewrite_process_conf

static const struct opt rewrite_process_options[] = {
    OPT_BOOL(P, enabled, "rewrite.enabled", CONF_QUIVER, "true",
             "set search parameters as the models' search: says"),
    OPT_BOOL(P, allow_header, "rewrite.allow_header", CONF_QUIVER, "false",
             "a request may turn it off for itself by X-Quiver-Rewrite: off"),
};

const struct opt_table rewrite_process_table = {
    "rewrite", rewrite_process_options, sizeof rewrite_process_options / sizeof *rewrite_process_options,
    sizeof(P), NULL,
};

void rewrite_rules_build(const M *c, struct rewrite_rules *out)
{
    memset(out, 0, sizeof *out);
    for (unsigned k = 0; k < KNOB_COUNT; k++) {
        out->knob[k] = (struct knob_rule){
            .set_default = str_of(c->set_default[k]), .force = str_of(c->force[k]),
            .min = str_of(c->min[k]), .max = str_of(c->max[k]),
            .min_value = number(c->min[k]), .max_value = number(c->max[k]),
        };
        out->any |= c->set_default[k] || c->force[k] || c->min[k] || c->max[k];
    }
}
