#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/metrics.h"
#include "base/metrics_private.h"

struct metrics_out {
    FILE *file;
    const char *family;         /* its HELP and TYPE are written */
    const char *name, *label;   /* of the row that is scraped now */
};

struct row {
    const char *name, *labels, *help;
};
struct scraped_row {
    const char *name, *type, *label, *help;
};

static const struct row counter_rows[M_COUNT] = {
#define COUNTER(id, name, labels, help) [M_##id] = {name, labels, help},
#include "base/metrics.def"
};
static const struct row gauge_rows[G_COUNT] = {
#define GAUGE(id, name, labels, help) [G_##id] = {name, labels, help},
#include "base/metrics.def"
};
static const struct row model_counter_rows[MM_COUNT] = {
#define MODEL_COUNTER(id, name, labels, help) [MM_##id] = {name, labels, help},
#include "base/metrics.def"
};
static const struct row model_gauge_rows[MG_COUNT] = {
#define MODEL_GAUGE(id, name, labels, help) [MG_##id] = {name, labels, help},
#include "base/metrics.def"
};
static const struct row model_hist_rows[MH_COUNT] = {
#define MODEL_HIST(id, name, help) [MH_##id] = {name, "", help},
#include "base/metrics.def"
};
static const struct scraped_row derived_rows[MD_COUNT] = {
#define DERIVED(id, name, type, help) [MD_##id] = {name, type, "", help},
#include "base/metrics.def"
};
static const struct scraped_row scraped_rows[MS_COUNT] = {
#define SCRAPED(id, name, type, label, help) [MS_##id] = {name, type, label, help},
#include "base/metrics.def"
};

static struct {
    pthread_mutex_t lock; /* one renders at a time; scrapers do not change meanwhile */
    struct metrics_scraper scraper[MS_COUNT];
} page = {.lock = PTHREAD_MUTEX_INITIALIZER};

void metrics_scrape(enum metrics_scraped id, void (*fn)(struct metrics_out *, void *arg), void *arg)
{
    pthread_mutex_lock(&page.lock);
    page.scraper[id] = (struct metrics_scraper){fn, arg};
    pthread_mutex_unlock(&page.lock);
}

static void put_family(struct metrics_out *out, const char *name, const char *type, const char *help)
{
    if (out->family && strcmp(out->family, name) == 0)
        return;
    out->family = name;
    fprintf(out->file, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_escaped(FILE *file, const char *value)
{
    for (; *value; value++) {
        if (*value == '\n') {
            fputs("\\n", file);
            continue;
        }
        if (*value == '"' || *value == '\\')
            putc('\\', file);
        putc(*value, file);
    }
}

/* name{model="x",labels   - and no closing brace */
static void put_model(FILE *file, const char *name, const char *suffix, const char *model, const char *labels)
{
    fprintf(file, "%s%s{model=\"", name, suffix);
    put_escaped(file, model);
    fprintf(file, "\"%s%s", *labels ? "," : "", labels);
}

static void put_process(struct metrics_out *out)
{
    for (unsigned i = 0; i < M_COUNT; i++) {
        const struct row *r = &counter_rows[i];
        put_family(out, r->name, "counter", r->help);
        fprintf(out->file, *r->labels ? "%s{%s} %llu\n" : "%s%s %llu\n", r->name, r->labels,
                (unsigned long long)metrics_counter_sum(i));
    }
    for (unsigned i = 0; i < G_COUNT; i++) {
        const struct row *r = &gauge_rows[i];
        put_family(out, r->name, "gauge", r->help);
        fprintf(out->file, *r->labels ? "%s{%s} %lld\n" : "%s%s %lld\n", r->name, r->labels,
                (long long)metrics_gauge_sum(i));
    }
}

static void put_models(struct metrics_out *out)
{
    unsigned n = metrics_n_models();
    for (unsigned i = 0; i < MM_COUNT; i++) {
        const struct row *r = &model_counter_rows[i];
        put_family(out, r->name, "counter", r->help);
        for (unsigned model = 0; model < n; model++) {
            put_model(out->file, r->name, "", metrics_model_name(model), r->labels);
            fprintf(out->file, "} %llu\n", (unsigned long long)metrics_model_sum(model, i));
        }
    }
    for (unsigned i = 0; i < MG_COUNT; i++) {
        const struct row *r = &model_gauge_rows[i];
        put_family(out, r->name, "gauge", r->help);
        for (unsigned model = 0; model < n; model++) {
            put_model(out->file, r->name, "", metrics_model_name(model), r->labels);
            fprintf(out->file, "} %lld\n", (long long)metrics_model_gauge_sum(model, i));
        }
    }
}

static void put_hist(FILE *file, const char *name, const char *model, const struct hist_sum *sum)
{
    uint64_t n = 0;
    for (unsigned i = 0; i <= HIST_BOUNDS; i++) {
        n += sum->le[i];
        put_model(file, name, "_bucket", model, "");
        fprintf(file, ",le=\"%s\"} %llu\n", i < HIST_BOUNDS ? hist_bound_text[i] : "+Inf",
                (unsigned long long)n);
    }
    put_model(file, name, "_sum", model, "");
    fprintf(file, "} %llu.%06llu\n", (unsigned long long)(sum->sum_usec / 1000000),
            (unsigned long long)(sum->sum_usec % 1000000));
    put_model(file, name, "_count", model, "");
    fprintf(file, "} %llu\n", (unsigned long long)n);
}

static void put_hists(struct metrics_out *out)
{
    unsigned n = metrics_n_models();
    for (unsigned i = 0; i < MH_COUNT; i++) {
        put_family(out, model_hist_rows[i].name, "histogram", model_hist_rows[i].help);
        for (unsigned model = 0; model < n; model++) {
            struct hist_sum sum = {0};
            metrics_model_hist_sum(model, i, &sum);
            put_hist(out->file, model_hist_rows[i].name, metrics_model_name(model), &sum);
        }
    }
}

static void put_statuses(FILE *file, unsigned model, unsigned op, const uint64_t sum[static METRICS_STATUSES])
{
    for (unsigned i = 0; i < METRICS_STATUSES; i++) {
        if (!sum[i])
            continue;
        put_model(file, derived_rows[MD_REQUESTS].name, "", metrics_model_name(model), "operation=\"");
        put_escaped(file, metrics_op_name(op));
        if (i < METRICS_STATUSES - 1)
            fprintf(file, "\",status=\"%u\"} %llu\n", i + 100, (unsigned long long)sum[i]);
        else
            fprintf(file, "\",status=\"none\"} %llu\n", (unsigned long long)sum[i]);
    }
}

static void put_requests(struct metrics_out *out)
{
    const struct scraped_row *r = &derived_rows[MD_REQUESTS];
    unsigned n = metrics_n_models();
    put_family(out, r->name, r->type, r->help);
    for (unsigned model = 0; model < n; model++)
        for (unsigned op = 0; op < metrics_n_ops(); op++) {
            uint64_t sum[METRICS_STATUSES] = {0};
            if (metrics_statuses_sum(model, op, sum))
                put_statuses(out->file, model, op, sum);
        }
}

static void put_hit_rates(struct metrics_out *out)
{
    const struct scraped_row *r = &derived_rows[MD_HIT_RATE];
    unsigned n = metrics_n_models();
    put_family(out, r->name, r->type, r->help);
    fprintf(out->file, "%s %.6g\n", r->name, metrics_hit_rate(METRICS_MODELS_MAX));
    for (unsigned model = 0; model < n; model++) {
        put_model(out->file, r->name, "", metrics_model_name(model), "");
        fprintf(out->file, "} %.6g\n", metrics_hit_rate(model));
    }
}

void metrics_emit(struct metrics_out *out, const char *label, double value)
{
    bool whole = value > -9e15 && value < 9e15 && value == (double)(int64_t)value;
    fputs(out->name, out->file);
    if (*out->label) {
        fprintf(out->file, "{%s=\"", out->label);
        put_escaped(out->file, label ? label : "");
        fputs("\"}", out->file);
    }
    fprintf(out->file, whole ? " %.0f\n" : " %.9g\n", value);
}

static void put_scraped(struct metrics_out *out)
{
    for (unsigned i = 0; i < MS_COUNT; i++) {
        const struct scraped_row *r = &scraped_rows[i];
        const struct metrics_scraper *s = &page.scraper[i];
        if (!s->fn)
            continue;
        put_family(out, r->name, r->type, r->help);
        out->name = r->name;
        out->label = r->label;
        s->fn(out, s->arg);
    }
}

void metrics_render(FILE *file)
{
    struct metrics_out out = {.file = file};
    pthread_mutex_lock(&page.lock);
    metrics_process_refresh();
    put_requests(&out);
    put_hists(&out);
    put_models(&out);
    put_hit_rates(&out);
    put_process(&out);
    put_scraped(&out);
    pthread_mutex_unlock(&page.lock);
}
