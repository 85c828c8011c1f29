#include "server/cli_show.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "tune/doc.h"

enum { BAR = 30 };

static const char *text_at(const cJSON *object, const char *path, const char *otherwise)
{
    const char *text = doc_text(doc_at(object, path));
    return text ? text : otherwise;
}

/* 17.2 GB: powers of ten, as memory_limit: "8GB" is written. */
static const char *bytes(const cJSON *item, char buf[32])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double n = cJSON_IsNumber(item) ? item->valuedouble : 0;
    unsigned unit = 0;
    for (; n >= 1000 && unit + 1 < sizeof units / sizeof *units; unit++)
        n /= 1000;
    snprintf(buf, 32, n < 10 && unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
    return buf;
}

static void value(const cJSON *item, char *buf, size_t n)
{
    char *text = doc_is_set(item) ? cJSON_PrintUnformatted(item) : NULL;
    snprintf(buf, n, "%s", text ? text : "unset");
    free(text);
}

static void show_changes(const cJSON *changes, FILE *f)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, changes) {
        char is[200], wished[200];
        value(doc_get(one, "is"), is, sizeof is);
        value(doc_get(one, "wished"), wished, sizeof wished);
        fprintf(f, "    %-42s %s -> %s   (%s)\n", text_at(one, "path", "?"), is, wished,
                text_at(one, "cost", "?"));
    }
}

static void show_list(const cJSON *list, const char *mark, FILE *f)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, list)
        if (cJSON_IsString(one))
            fprintf(f, "    %s %s\n", mark, one->valuestring);
}

static void show_memory(const cJSON *memory, FILE *f)
{
    char needed[32], good[32], limit[32];
    uint64_t points = 0;
    if (!memory)
        return;
    doc_u64(doc_get(memory, "points"), &points);
    fprintf(f, "    memory for %llu points: %s needed, %s good", (unsigned long long)points,
            bytes(doc_get(memory, "needed"), needed), bytes(doc_get(memory, "good"), good));
    if (doc_is_set(doc_get(memory, "limit")))
        fprintf(f, ", limit %s%s", bytes(doc_get(memory, "limit"), limit),
                cJSON_IsTrue(doc_get(memory, "within_limit")) ? "" : ": BROKEN");
    fprintf(f, "\n");
}

static void head_line(const char *model, const cJSON *collection, FILE *f)
{
    const char *name = text_at(collection, "collection", "?");
    fprintf(f, strcmp(model, name) == 0 ? "%s" : "%s / %s", model, name);
}

static void plan_of(const char *model, const cJSON *c, FILE *f)
{
    const char *error = text_at(c, "error", NULL);
    char *patch = doc_is_set(doc_get(c, "patch")) ? cJSON_PrintUnformatted(doc_get(c, "patch")) : NULL;
    head_line(model, c, f);
    if (error)
        fprintf(f, ": %s\n", error);
    else if (!cJSON_IsTrue(doc_get(c, "exists")))
        fprintf(f, ": not there\n");
    else if (!patch)
        fprintf(f, ": as it should be (%s)\n", text_at(c, "status", "?"));
    else
        fprintf(f, ": %d differ (%s)%s\n", cJSON_GetArraySize(doc_get(c, "changes")),
                text_at(c, "status", "?"),
                cJSON_IsTrue(doc_get(c, "reindex")) ? ", the index is built anew" : "");
    show_changes(doc_get(c, "changes"), f);
    if (patch)
        fprintf(f, "    PATCH %s\n", patch);
    show_list(doc_get(c, "warnings"), "!", f);
    show_memory(doc_get(c, "memory"), f);
    free(patch);
}

static void each_collection(const cJSON *doc, void (*show)(const char *, const cJSON *, FILE *), FILE *f)
{
    const cJSON *model, *one;
    cJSON_ArrayForEach(model, doc_get(doc, "models"))
        cJSON_ArrayForEach(one, doc_get(model, "collections"))
            show(text_at(model, "model", "?"), one, f);
}

void show_plan(const cJSON *doc, FILE *f)
{
    each_collection(doc, plan_of, f);
}

static void deed_of(const char *model, const cJSON *c, FILE *f)
{
    const char *error = text_at(c, "error", NULL);
    bool changed = cJSON_IsTrue(doc_get(c, "changed"));
    head_line(model, c, f);
    fprintf(f, ": %s%s%s\n",
            changed                               ? "written"
            : cJSON_IsFalse(doc_get(c, "exists")) ? "not there"
            : error                               ? "not written"
                                                  : "as it should be",
            changed && cJSON_IsTrue(doc_get(c, "verified")) ? ", read back" : "",
            cJSON_IsTrue(doc_get(c, "green")) ? ", green" : "");
    show_changes(doc_get(c, "changes"), f);
    show_list(doc_get(c, "not_stuck"), "does not stick:", f);
    show_list(doc_get(c, "warnings"), "!", f);
    if (error)
        fprintf(f, "    failed: %s\n", error);
}

void show_deed(const cJSON *result, FILE *f)
{
    each_collection(result, deed_of, f);
}

/* ---- tests ---- */

static void cell(const cJSON *row, const char *key, double scale, const char *format, FILE *f)
{
    const cJSON *item = doc_get(row, key);
    if (cJSON_IsNumber(item))
        fprintf(f, format, item->valuedouble * scale);
    else
        fprintf(f, " %9s", "-");
}

static void run_row(const char *model, const char *name, const cJSON *run, FILE *f)
{
    if (!run)
        return;
    fprintf(f, "%-12s %-16s", model, name);
    cell(run, "ops", 1, " %9.0f", f);
    cell(run, "p50_us", 1e-3, " %9.2f", f);
    cell(run, "p95_us", 1e-3, " %9.2f", f);
    cell(run, "p99_us", 1e-3, " %9.2f", f);
    cell(run, "hit_rate", 100, " %9.1f", f);
    cell(run, "recall", 1, " %9.4f", f);
    fprintf(f, "\n");
}

/* "targets met", or what was missed and by how much. */
static void judgement(const cJSON *model, FILE *f)
{
    static const struct {
        const char *key, *name, *format;
        double scale;
    } kinds[] = {
        {"p50_us", "p50", "%.2f ms, wanted below %.2f", 1e-3},
        {"ops", "ops/s", "%.0f, wanted %.0f", 1},
        {"hit_rate", "hit rate", "%.3f, wanted %.3f", 1},
        {"recall", "recall", "%.4f, wanted %.4f", 1},
    };
    const cJSON *targets = doc_get(model, "targets");
    const char *sep = "targets MISSED: ";
    if (cJSON_IsTrue(doc_get(model, "met")))
        fprintf(f, "%-12s targets met\n", "");
    if (!cJSON_IsFalse(doc_get(model, "met")))
        return;
    fprintf(f, "%-12s ", "");
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const cJSON *one = doc_get(targets, kinds[i].key);
        if (!cJSON_IsFalse(doc_get(one, "met")))
            continue;
        fprintf(f, "%s%s ", sep, kinds[i].name);
        fprintf(f, kinds[i].format, doc_get(one, "is")->valuedouble * kinds[i].scale,
                doc_get(one, "target")->valuedouble * kinds[i].scale);
        sep = "; ";
    }
    fprintf(f, "\n");
}

void show_test(const cJSON *result, FILE *f)
{
    const cJSON *model;
    fprintf(f, "%-12s %-16s %9s %9s %9s %9s %9s %9s\n", "model", "run", "ops/s", "p50 ms", "p95 ms", "p99 ms",
            "hits %", "recall");
    cJSON_ArrayForEach(model, doc_get(result, "models")) {
        const char *name = text_at(model, "model", "?");
        run_row(name, "baseline", doc_get(model, "baseline"), f);
        run_row("", "optimised, cold", doc_at(model, "optimised.cold"), f);
        run_row("", "optimised, warm", doc_at(model, "optimised.warm"), f);
        if (cJSON_IsFalse(doc_at(model, "first_baseline.before_apply")) ||
            cJSON_IsFalse(doc_get(model, "before_apply")))
            run_row("", "first baseline", doc_at(model, "first_baseline.baseline"), f);
        judgement(model, f);
        show_list(doc_get(model, "warnings"), "!", f);
        if (text_at(model, "error", NULL))
            fprintf(f, "%-12s could not be tested: %s\n", name, text_at(model, "error", ""));
    }
}

void show_progress(const cJSON *job, FILE *f, int tty, char last[256])
{
    const cJSON *item = doc_get(job, "progress");
    double progress = cJSON_IsNumber(item) ? item->valuedouble : 0;
    const char *text = text_at(job, "text", "");
    char line[256], bar[BAR + 1];
    for (int i = 0; i < BAR; i++)
        bar[i] = i < progress * BAR ? '#' : '.';
    bar[BAR] = 0;
    snprintf(line, sizeof line, "%3.0f %% %.200s", progress * 100, text);
    if (strcmp(line, last) == 0)
        return;
    snprintf(last, 256, "%s", line);
    if (tty)
        fprintf(f, "\r\033[K[%s] %.90s", bar, line);
    else
        fprintf(f, "%s\n", line);
    fflush(f);
}
