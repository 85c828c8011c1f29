#include "tune/plan_knobs.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tune/doc.h"
#include "tune/plan.h"

#define W(member) offsetof(struct conf_model_base, member)
#define HNSW "hnsw_config"
#define OPTIMIZERS "optimizers_config"
#define STRICT "strict_mode_config"

const struct knob knobs[] = {
    {HNSW, "m", KNOB_COUNT, W(index_m), true, "reindex", "16"},
    {HNSW, "ef_construct", KNOB_COUNT, W(index_ef_construct), true, "reindex", "100"},
    {HNSW, "max_indexing_threads", KNOB_COUNT, W(index_threads), true, "none", "0"},
    {HNSW, "full_scan_threshold", KNOB_COUNT, W(full_scan_threshold), true, "reindex", "10000"},
    {OPTIMIZERS, "indexing_threshold", KNOB_COUNT, W(indexing_threshold), false, "build", "10000"},
    {OPTIMIZERS, "default_segment_number", KNOB_COUNT, W(segment_number), false, "merge", "0"},
    {OPTIMIZERS, "max_segment_size", KNOB_COUNT, W(max_segment_size), false, "merge", NULL},
    {OPTIMIZERS, "max_optimization_threads", KNOB_COUNT, W(optimizer_threads), false, "none", "\"auto\""},
    {STRICT, "enabled", KNOB_MAYBE, W(strict_enabled), false, "none", "false"},
    {STRICT, "max_query_limit", KNOB_COUNT_ZERO, W(strict_max_query_limit), false, "none", NULL},
    {STRICT, "max_timeout", KNOB_COUNT_ZERO, W(strict_max_timeout), false, "none", NULL},
    {STRICT, "search_max_hnsw_ef", KNOB_COUNT_ZERO, W(strict_max_hnsw_ef), false, "none", NULL},
    {STRICT, "search_allow_exact", KNOB_MAYBE, W(strict_allow_exact), false, "none", "true"},
    {STRICT, "search_max_oversampling", KNOB_REAL, W(strict_max_oversampling), false, "none", NULL},
    {STRICT, "search_max_batchsize", KNOB_COUNT_ZERO, W(strict_search_batch), false, "none", NULL},
    {STRICT, "upsert_max_batchsize", KNOB_COUNT_ZERO, W(strict_upsert_batch), false, "none", NULL},
    {STRICT, "filter_max_conditions", KNOB_COUNT_ZERO, W(strict_filter_conditions), false, "none", NULL},
    {STRICT, "read_rate_limit", KNOB_COUNT_ZERO, W(strict_read_rate), false, "none", NULL},
    {STRICT, "write_rate_limit", KNOB_COUNT_ZERO, W(strict_write_rate), false, "none", NULL},
    {STRICT, "max_points_count", KNOB_COUNT_ZERO, W(strict_max_points), false, "none", NULL},
    {STRICT, "unindexed_filtering_retrieve", KNOB_MAYBE, W(strict_unindexed_retrieve), false, "none", "true"},
    {STRICT, "unindexed_filtering_update", KNOB_MAYBE, W(strict_unindexed_update), false, "none", "true"},
    {STRICT, "condition_max_size", KNOB_COUNT_ZERO, W(strict_condition_size), false, "none", NULL},
    {STRICT, "max_collection_vector_size_bytes", KNOB_COUNT_ZERO, W(strict_vector_bytes), false, "none", NULL},
    {STRICT, "max_collection_payload_size_bytes", KNOB_COUNT_ZERO, W(strict_payload_bytes), false, "none", NULL},
    {STRICT, "max_payload_index_count", KNOB_COUNT_ZERO, W(strict_payload_indexes), false, "none", NULL},
    {STRICT, "max_resident_memory_percent", KNOB_COUNT_ZERO, W(strict_resident_percent), false, "none", "100"},
};
const unsigned n_knobs = sizeof knobs / sizeof *knobs;

cJSON *knob_wish(const struct knob *knob, const struct conf_model_base *wish)
{
    const char *member = (const char *)wish + knob->offset;
    uint64_t count;
    double real;
    unsigned maybe;
    switch (knob->kind) {
    case KNOB_COUNT:
    case KNOB_COUNT_ZERO:
        memcpy(&count, member, sizeof count);
        return count == (knob->kind == KNOB_COUNT ? OPT_UNSET : 0) ? NULL : doc_bytes(count);
    case KNOB_REAL:
        memcpy(&real, member, sizeof real);
        return isnan(real) ? NULL : cJSON_CreateNumber(real);
    case KNOB_MAYBE:
        memcpy(&maybe, member, sizeof maybe);
        return maybe == MAYBE_UNSET ? NULL : cJSON_CreateBool(maybe == MAYBE_TRUE);
    }
    return NULL;
}

cJSON *knob_fallback(const struct knob *knob)
{
    return knob->fallback ? cJSON_Parse(knob->fallback) : NULL;
}

const struct knob *knob_of(const struct at *at)
{
    for (unsigned i = 0; at->n >= 2 && i < n_knobs; i++)
        if (strcmp(knobs[i].section, at->key[at->n - 2]) == 0 &&
            strcmp(knobs[i].key, at->key[at->n - 1]) == 0)
            return &knobs[i];
    return NULL;
}

/* ---- places ---- */

struct at at_of_json(const cJSON *array)
{
    struct at at = {.n = 0};
    const cJSON *one;
    cJSON_ArrayForEach(one, array)
        if (at.n < AT_MAX && cJSON_IsString(one))
            at.key[at.n++] = one->valuestring;
    return at;
}

cJSON *at_json(const struct at *at)
{
    return cJSON_CreateStringArray((const char **)at->key, (int)at->n);
}

cJSON *at_path(const struct at *at)
{
    char path[600];
    size_t n = 0;
    path[0] = 0;
    for (unsigned i = 0; i < at->n && n < sizeof path; i++)
        n += (size_t)snprintf(path + n, sizeof path - n, "%s%s", i ? "." : "",
                              at->key[i][0] ? at->key[i] : "\"\"");
    return cJSON_CreateString(path);
}

static bool is_unnamed(const cJSON *vectors)
{
    return cJSON_IsNumber(doc_get(vectors, "size"));
}

const cJSON *info_vector(const cJSON *info, const char *name)
{
    const cJSON *vectors = doc_at(info, "config.params.vectors");
    if (is_unnamed(vectors))
        return name[0] ? NULL : vectors;
    const cJSON *vector = doc_get(vectors, name);
    return cJSON_IsObject(vector) ? vector : NULL;
}

unsigned info_vectors(const cJSON *info, const char **names, unsigned max)
{
    const cJSON *vectors = doc_at(info, "config.params.vectors"), *one;
    unsigned n = 0;
    if (is_unnamed(vectors)) {
        names[0] = "";
        return 1;
    }
    cJSON_ArrayForEach(one, vectors)
        if (n < max && one->string && cJSON_IsObject(one))
            names[n++] = one->string;
    return n;
}

/* Reading and PATCH spell one section differently. */
static const char *shown_as(const char *section)
{
    return strcmp(section, OPTIMIZERS) == 0 ? "optimizer_config" : section;
}

cJSON *at_fact(const struct at *at, const cJSON *info)
{
    const cJSON *here = doc_get(info, "config");
    unsigned i = 0;
    if (at->n >= 2 && strcmp(at->key[0], "vectors") == 0) {
        here = info_vector(info, at->key[1]);
        i = 2;
    }
    for (; here && i < at->n; i++)
        here = doc_get(here, i == 0 ? shown_as(at->key[i]) : at->key[i]);
    return doc_is_set(here) ? (cJSON *)here : NULL;
}

static void put_under(cJSON *object, const struct at *at, unsigned from, const char *first, cJSON *value)
{
    for (unsigned i = from; i + 1 < at->n; i++) {
        const char *key = i == from ? first : at->key[i];
        cJSON *inner = doc_get(object, key);
        if (!cJSON_IsObject(inner)) {
            cJSON_DeleteItemFromObjectCaseSensitive(object, key);
            inner = cJSON_AddObjectToObject(object, key);
        }
        object = inner;
    }
    const char *last = from + 1 == at->n ? first : at->key[at->n - 1];
    cJSON_DeleteItemFromObjectCaseSensitive(object, last);
    cJSON_AddItemToObject(object, last, value);
}

void at_put(const struct at *at, cJSON *patch, cJSON *value)
{
    put_under(patch, at, 0, at->key[0], value);
}

static bool means_unset(const cJSON *written)
{
    const char *word = doc_text(written);
    return word && (strcmp(word, "Disabled") == 0 || strcmp(word, "auto") == 0);
}

void at_put_fact(const struct at *at, cJSON *info, const cJSON *written)
{
    cJSON *value = means_unset(written) ? cJSON_CreateNull() : cJSON_Duplicate(written, true);
    if (at->n >= 3 && strcmp(at->key[0], "vectors") == 0)
        put_under((cJSON *)info_vector(info, at->key[1]), at, 2, at->key[2], value);
    else
        put_under(doc_get(info, "config"), at, 0, shown_as(at->key[0]), value);
}

bool fact_equals(const cJSON *fact, const cJSON *written)
{
    const cJSON *one;
    if (means_unset(written))
        return !doc_is_set(fact) || means_unset(fact);
    if (!cJSON_IsObject(written))
        return cJSON_Compare(fact, written, true);
    if (!cJSON_IsObject(fact))
        return false;
    cJSON_ArrayForEach(one, written) {
        if (doc_is_set(one) && !fact_equals(doc_get(fact, one->string), one))
            return false;
    }
    return true;
}

/* ---- a plan grows ---- */

void plan_begin(struct plan *p, const cJSON *info)
{
    *p = (struct plan){.changes = cJSON_CreateArray(), .warnings = cJSON_CreateArray()};
    p->after = cJSON_Duplicate(info, true);
}

void plan_add(struct plan *p, const struct at *at, cJSON *written, const char *cost)
{
    const struct knob *knob = knob_of(at);
    const cJSON *fact = at_fact(at, p->after);
    cJSON *change = cJSON_CreateObject();
    if (!cost)
        cost = knob ? knob->cost : "reindex";
    /* A threshold that goes up leaves the indexes that are there. */
    if (strcmp(cost, "build") == 0 && cJSON_IsNumber(fact) && cJSON_IsNumber(written) &&
        (written->valuedouble > fact->valuedouble || written->valuedouble == 0))
        cost = "none";
    cJSON_AddItemToObject(change, "path", at_path(at));
    cJSON_AddItemToObject(change, "at", at_json(at));
    cJSON_AddItemToObject(change, "is", fact ? cJSON_Duplicate(fact, true) : cJSON_CreateNull());
    cJSON_AddItemToObject(change, "wished", cJSON_Duplicate(written, true));
    cJSON_AddStringToObject(change, "cost", cost);
    cJSON_AddItemToArray(p->changes, change);
    p->reindex = p->reindex || strcmp(cost, "reindex") == 0;
    if (!p->patch)
        p->patch = cJSON_CreateObject();
    at_put_fact(at, p->after, written);
    at_put(at, p->patch, written);
}

void plan_warn(struct plan *p, const char *fmt, ...)
{
    char text[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    cJSON_AddItemToArray(p->warnings, cJSON_CreateString(text));
}
