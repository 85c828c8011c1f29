#include "tune/report.h"

#include <string.h>

#include "tune/doc.h"
#include "tune/estimate.h"
#include "tune/plan.h"
#include "tune/survey.h"

/* What Qdrant makes of a new collection; the forecast for one that is not there yet. */
static cJSON *new_collection(const struct conf_model_base *wish)
{
    cJSON *info = cJSON_Parse(
        "{\"points_count\": 0, \"indexed_vectors_count\": 0, \"segments_count\": 2, \"config\": {\"params\": "
        "{\"vectors\": {}, \"on_disk_payload\": true}, \"hnsw_config\": {\"m\": 16, \"ef_construct\": 100, "
        "\"full_scan_threshold\": 10000}, \"optimizer_config\": {}, \"quantization_config\": null}}");
    cJSON *vectors = doc_at(info, "config.params.vectors");
    if (wish->vector)
        vectors = cJSON_AddObjectToObject(vectors, wish->vector);
    cJSON_AddItemToObject(vectors, "size", doc_bytes(wish->vector_size));
    return info;
}

static void add_or_null(cJSON *object, const char *key, bool there, cJSON *item)
{
    cJSON_AddItemToObject(object, key, there ? item : cJSON_CreateNull());
    if (!there)
        cJSON_Delete(item);
}

static void add_limit(cJSON *object, uint64_t limit, uint64_t needs)
{
    add_or_null(object, "limit", limit != 0, doc_bytes(limit));
    add_or_null(object, "within_limit", limit != 0, cJSON_CreateBool(needs <= limit));
}

static cJSON *estimate_json(const struct estimate *e, uint64_t limit)
{
    cJSON *doc = cJSON_CreateObject(), *parts;
    cJSON_AddItemToObject(doc, "points", doc_bytes(e->points));
    cJSON_AddItemToObject(doc, "needed", doc_bytes(e->needed));
    cJSON_AddItemToObject(doc, "good", doc_bytes(e->good));
    cJSON_AddItemToObject(doc, "building", doc_bytes(e->building));
    add_limit(doc, limit, e->good);
    parts = cJSON_AddObjectToObject(doc, "parts");
    cJSON_AddItemToObject(parts, "vectors", doc_bytes(e->vectors));
    cJSON_AddItemToObject(parts, "index", doc_bytes(e->index));
    cJSON_AddItemToObject(parts, "quantized", doc_bytes(e->quantized));
    cJSON_AddItemToObject(parts, "payload", doc_bytes(e->payload));
    cJSON_AddItemToObject(parts, "ids", doc_bytes(e->ids));
    return doc;
}

/* A figure that may be far too small says so. */
static void warn_of_estimate(cJSON *warnings, const struct estimate *e)
{
    if (e->without_sparse)
        cJSON_AddItemToArray(warnings, cJSON_CreateString("the estimate of memory leaves sparse vectors out: how large they are stands in no configuration"));
    if (e->without_multi)
        cJSON_AddItemToArray(warnings, cJSON_CreateString("the estimate of memory counts one vector a point, where a multivector has several"));
}

static void plan_there(cJSON *one, const struct survey_entry *e, uint64_t points)
{
    struct plan p;
    struct estimate estimate;
    const char *status = doc_text(doc_get(e->info, "status"));
    uint64_t n = 0;
    plan_make(&e->model->base, e->info, &p);
    doc_u64(doc_get(e->info, "points_count"), &n);
    cJSON_AddStringToObject(one, "status", status ? status : "unknown");
    cJSON_AddItemToObject(one, "points", doc_bytes(n));
    if (estimate_collection(p.after, points, 0, &estimate)) {
        cJSON_AddItemToObject(one, "memory", estimate_json(&estimate, e->model->base.memory_limit));
        warn_of_estimate(p.warnings, &estimate);
    }
    cJSON_AddItemToObject(one, "changes", p.changes);
    cJSON_AddItemToObject(one, "patch", p.patch ? p.patch : cJSON_CreateNull());
    cJSON_AddItemToObject(one, "warnings", p.warnings);
    cJSON_AddBoolToObject(one, "reindex", p.reindex);
    p.changes = p.patch = p.warnings = NULL;
    plan_fini(&p);
}

static void plan_not_there(cJSON *one, const struct survey_entry *e, uint64_t points)
{
    struct plan p;
    struct estimate estimate;
    cJSON *info = new_collection(&e->model->base);
    cJSON_AddArrayToObject(one, "changes");
    cJSON_AddNullToObject(one, "patch");
    cJSON_AddFalseToObject(one, "reindex");
    cJSON_AddArrayToObject(one, "warnings");
    plan_make(&e->model->base, info, &p);
    if (e->model->base.vector_size && estimate_collection(p.after, points, 0, &estimate) && points)
        cJSON_AddItemToObject(one, "memory", estimate_json(&estimate, e->model->base.memory_limit));
    plan_fini(&p);
    cJSON_Delete(info);
}

/* Every chosen model is there, also without collections; entries come in their order. */
static cJSON *by_model(const struct survey *s,
                       void (*entry)(cJSON *one, const struct survey_entry *, uint64_t), uint64_t points)
{
    cJSON *doc = cJSON_CreateObject(), *models = cJSON_AddArrayToObject(doc, "models");
    for (unsigned m = 0; m < s->snapshot->conf->n_models; m++) {
        const struct conf_model *model = &s->snapshot->conf->model[m];
        if (!s->chosen[m])
            continue;
        cJSON *object = cJSON_CreateObject();
        cJSON_AddItemToArray(models, object);
        cJSON_AddStringToObject(object, "model", model->name);
        add_or_null(object, "limit", model->base.memory_limit != 0, doc_bytes(model->base.memory_limit));
        cJSON *list = cJSON_AddArrayToObject(object, "collections");
        for (unsigned i = 0; i < s->n; i++) {
            if (s->entry[i].model != model)
                continue;
            cJSON *one = cJSON_CreateObject();
            cJSON_AddItemToArray(list, one);
            cJSON_AddStringToObject(one, "collection", s->entry[i].collection);
            cJSON_AddBoolToObject(one, "exists", s->entry[i].exists);
            if (s->entry[i].error[0])
                cJSON_AddStringToObject(one, "error", s->entry[i].error);
            else
                entry(one, &s->entry[i], points);
        }
    }
    return doc;
}

static void plan_entry(cJSON *one, const struct survey_entry *e, uint64_t points)
{
    if (e->exists)
        plan_there(one, e, points);
    else
        plan_not_there(one, e, points);
}

static void memory_entry(cJSON *one, const struct survey_entry *e, uint64_t points)
{
    struct estimate estimate;
    struct memory_report report = {0};
    bool measured = estimate_read_report(e->memory, &report);
    if (!e->exists || !estimate_collection(e->info, 0, 0, &estimate))
        return;
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "needed", doc_bytes(report.needed));
    cJSON_AddItemToObject(object, "good", doc_bytes(report.good));
    cJSON_AddItemToObject(object, "disk", doc_bytes(report.disk));
    cJSON_AddItemToObject(object, "cached", doc_bytes(report.cached));
    cJSON_AddItemToObject(one, "points", doc_bytes(estimate.points));
    add_or_null(one, "measured", measured, object);
    object = cJSON_AddObjectToObject(one, "estimated");
    cJSON_AddItemToObject(object, "needed", doc_bytes(estimate.needed));
    cJSON_AddItemToObject(object, "good", doc_bytes(estimate.good));
    add_limit(one, e->model->base.memory_limit, measured ? report.good : estimate.good);
    warn_of_estimate(cJSON_AddArrayToObject(one, "warnings"), &estimate);
}

cJSON *report_plan(const struct survey *s, uint64_t points)
{
    return by_model(s, plan_entry, points);
}

cJSON *report_memory(const struct survey *s)
{
    return by_model(s, memory_entry, 0);
}
