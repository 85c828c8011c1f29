#include "tune/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tune/doc.h"
#include "tune/plan_knobs.h"

enum { VECTORS_MAX = 64 };

/* The wish with what index_type says about m. NULL: none. */
static cJSON *wish_of(const struct knob *knob, const struct conf_model_base *wish, const cJSON *fact)
{
    bool is_hnsw = strcmp(knob->section, "hnsw_config") == 0, is_m = is_hnsw && strcmp(knob->key, "m") == 0;
    cJSON *value;
    if (is_hnsw && wish->index_type == INDEX_FLAT)
        return is_m ? cJSON_CreateNumber(0) : NULL; /* no graph: how it would be built is of no account */
    value = knob_wish(knob, wish);
    if (!value && is_m && wish->index_type == INDEX_HNSW && cJSON_IsNumber(fact) && fact->valuedouble == 0)
        return knob_fallback(knob);
    return value;
}

/* Unset counts as what Qdrant takes then. */
static bool same(const struct knob *knob, const cJSON *fact, const cJSON *wished)
{
    cJSON *fallback = fact ? NULL : knob_fallback(knob);
    bool equal = fact_equals(fact ? fact : fallback, wished);
    cJSON_Delete(fallback);
    return equal;
}

static void compare(struct plan *p, const struct conf_model_base *wish, const struct knob *knob, struct at at,
                    const cJSON *inherited)
{
    cJSON *fact = at_fact(&at, p->after);
    const cJSON *effective = fact ? fact : inherited;
    cJSON *wished = wish_of(knob, wish, effective);
    if (!wished)
        return;
    if (same(knob, effective, wished)) {
        cJSON_Delete(wished);
        return;
    }
    if (!fact && !knob->fallback)
        plan_warn(p, "%s.%s is unset: once written it can be changed, but not unset again", knob->section,
                  knob->key);
    plan_add(p, &at, wished, NULL);
}

/* ---- quantization ---- */

static void set_text(cJSON *object, const char *key, const char *word, const char *fallback)
{
    const char *is = doc_text(doc_get(object, key));
    if (strcmp(is ? is : fallback, word) == 0)
        return;
    cJSON_DeleteItemFromObjectCaseSensitive(object, key);
    cJSON_AddStringToObject(object, key, word);
}

/* wished: a number of words; 0: unset. */
static void set_word(cJSON *object, const char *key, const char *const *words, unsigned wished, const char *fallback)
{
    if (wished)
        set_text(object, key, words[wished], fallback);
}

static void set_placement(cJSON *object, unsigned always_ram)
{
    const char *memory = doc_text(doc_get(object, "memory"));
    bool wished = always_ram == MAYBE_TRUE;
    bool is = memory ? strcmp(memory, "pinned") == 0 : cJSON_IsTrue(doc_get(object, "always_ram"));
    if (always_ram == MAYBE_UNSET || is == wished)
        return;
    if (memory) { /* it wins over always_ram */
        set_text(object, "memory", wished ? "pinned" : "cached", "");
        return;
    }
    cJSON_DeleteItemFromObjectCaseSensitive(object, "always_ram");
    cJSON_AddBoolToObject(object, "always_ram", wished);
}

/* A quantization's object with the wishes in it; is: the present one of that kind, or NULL. */
static cJSON *quantizer(const struct conf_model_base *wish, unsigned kind, const cJSON *is)
{
    cJSON *made = is ? cJSON_Duplicate(is, true) : cJSON_CreateObject();
    set_placement(made, wish->quantization_always_ram);
    switch (kind) {
    case QUANTIZATION_SCALAR:
        if (!doc_get(made, "type"))
            cJSON_AddStringToObject(made, "type", "int8");
        if (!isnan(wish->quantization_quantile)) {
            cJSON_DeleteItemFromObjectCaseSensitive(made, "quantile");
            cJSON_AddNumberToObject(made, "quantile", wish->quantization_quantile);
        }
        break;
    case QUANTIZATION_PRODUCT:
        set_word(made, "compression", conf_words_compression, wish->quantization_compression, "");
        if (!doc_get(made, "compression"))
            cJSON_AddStringToObject(made, "compression", "x16");
        break;
    case QUANTIZATION_BINARY:
        set_word(made, "encoding", conf_words_encoding, wish->quantization_encoding, "one_bit");
        set_word(made, "query_encoding", conf_words_query_encoding, wish->quantization_query_encoding, "default");
        break;
    case QUANTIZATION_TURBO: set_word(made, "bits", conf_words_turbo_bits, wish->quantization_bits, ""); break;
    }
    return made;
}

static bool wishes_quantization(const struct conf_model_base *wish)
{
    return wish->quantization_type != QUANTIZATION_UNSET || wish->quantization_always_ram != MAYBE_UNSET ||
           !isnan(wish->quantization_quantile) || wish->quantization_compression ||
           wish->quantization_encoding || wish->quantization_query_encoding || wish->quantization_bits;
}

static unsigned kind_of(const cJSON *config)
{
    for (unsigned k = QUANTIZATION_SCALAR; k <= QUANTIZATION_TURBO; k++)
        if (cJSON_IsObject(doc_get(config, conf_words_quantization[k])))
            return k;
    return QUANTIZATION_NONE;
}

/* NULL: as it should be. */
static cJSON *quantization_wish(struct plan *p, const struct conf_model_base *wish, const cJSON *fact)
{
    unsigned kind = wish->quantization_type, is = kind_of(fact);
    if (!wishes_quantization(wish))
        return NULL;
    if (kind == QUANTIZATION_UNSET && is == QUANTIZATION_NONE) {
        plan_warn(
            p, "quantization has settings but no type, and the collection is not quantized: expected a type");
        return NULL;
    }
    if (kind == QUANTIZATION_UNSET)
        kind = is;
    if (kind == QUANTIZATION_NONE)
        return is == QUANTIZATION_NONE ? NULL : cJSON_CreateString("Disabled");
    const cJSON *present = doc_get(fact, conf_words_quantization[kind]);
    cJSON *inner = quantizer(wish, kind, is == kind ? present : NULL);
    if (is == kind && fact_equals(present, inner)) {
        cJSON_Delete(inner);
        return NULL;
    }
    cJSON *outer = cJSON_CreateObject();
    cJSON_AddItemToObject(outer, conf_words_quantization[kind], inner);
    return outer;
}

static void compare_quantization(struct plan *p, const struct conf_model_base *wish, struct at at,
                                 const cJSON *inherited)
{
    const cJSON *fact = at_fact(&at, p->after);
    cJSON *wished = quantization_wish(p, wish, fact ? fact : inherited);
    if (wished && !fact && inherited &&
        cJSON_IsString(wished)) { /* "Disabled" there means: as the collection */
        plan_warn(p,
                  "vector '%s' takes the collection's quantization and cannot be without while that is there",
                  at.key[1]);
        cJSON_Delete(wished);
    } else if (wished) {
        plan_add(p, &at, wished, "reindex");
    }
}

/* ---- placement of the vectors ---- */

static void compare_placement(struct plan *p, const struct conf_model_base *wish, const char *name)
{
    const cJSON *vector = info_vector(p->after, name);
    const char *memory = doc_text(doc_get(vector, "memory"));
    bool wished = wish->on_disk == MAYBE_TRUE;
    bool is = memory ? strcmp(memory, "cold") == 0 : cJSON_IsTrue(doc_get(vector, "on_disk"));
    if (wish->on_disk == MAYBE_UNSET || is == wished)
        return;
    struct at at = {{"vectors", name, memory ? "memory" : "on_disk"}, 3};
    plan_add(p, &at, memory ? cJSON_CreateString(wished ? "cold" : "cached") : cJSON_CreateBool(wished),
             "reindex");
}

/* ---- whole ---- */

static void check_size(struct plan *p, const struct conf_model_base *wish, const char *const *names,
                       unsigned n)
{
    uint64_t size = 0;
    if (!wish->vector_size)
        return;
    for (unsigned i = 0; i < n; i++)
        if (doc_u64(doc_get(info_vector(p->after, names[i]), "size"), &size) && size == wish->vector_size)
            return;
    if (n)
        plan_warn(p,
                  "vector_size is %llu, the collection's vectors have %llu: the model or the collection is "
                  "another one; "
                  "a size is never changed",
                  (unsigned long long)wish->vector_size, (unsigned long long)size);
}

/* The vectors that are meant; false: the model names one that is not there. */
static bool meant_vectors(struct plan *p, const struct conf_model_base *wish, const char **names, unsigned *n)
{
    if (!wish->vector) {
        *n = info_vectors(p->after, names, VECTORS_MAX);
        return true;
    }
    names[0] = wish->vector;
    *n = 1;
    if (info_vector(p->after, wish->vector))
        return true;
    plan_warn(p, "the model's vector '%s' is not in the collection", wish->vector);
    *n = 0;
    return false;
}

static bool has_own(const cJSON *info, const char *name, const char *section, const char *key)
{
    const cJSON *own = doc_get(info_vector(info, name), section);
    return doc_is_set(key ? doc_get(own, key) : own);
}

static void compare_index(struct plan *p, const struct conf_model_base *wish, const char **names, unsigned n)
{
    struct at whole = {{"quantization_config"}, 1};
    for (unsigned i = 0; i < n_knobs; i++) {
        struct at at = {{knobs[i].section, knobs[i].key}, 2};
        const cJSON *inherited = wish->vector ? at_fact(&at, p->after) : NULL;
        if (!knobs[i].per_vector || !wish->vector)
            compare(p, wish, &knobs[i], at, NULL);
        for (unsigned v = 0; knobs[i].per_vector && v < n; v++)
            if (wish->vector || has_own(p->after, names[v], knobs[i].section, knobs[i].key))
                compare(p, wish, &knobs[i],
                        (struct at){{"vectors", names[v], knobs[i].section, knobs[i].key}, 4}, inherited);
    }
    if (!wish->vector)
        compare_quantization(p, wish, whole, NULL);
    for (unsigned v = 0; v < n; v++)
        if (wish->vector || has_own(p->after, names[v], "quantization_config", NULL))
            compare_quantization(p, wish, (struct at){{"vectors", names[v], "quantization_config"}, 3},
                                 wish->vector ? at_fact(&whole, p->after) : NULL);
}

void plan_make(const struct conf_model_base *wish, const cJSON *info, struct plan *p)
{
    const char *names[VECTORS_MAX];
    unsigned n = 0;
    const cJSON *said;
    plan_begin(p, info);
    if (!cJSON_IsObject(doc_get(info, "config"))) {
        plan_warn(p, "Qdrant's answer has no config: nothing can be compared");
        return;
    }
    if (meant_vectors(p, wish, names, &n))
        check_size(p, wish, names, n);
    compare_index(p, wish, names, n);
    for (unsigned v = 0; v < n; v++)
        compare_placement(p, wish, names[v]);
    if (wish->index_type == INDEX_FLAT && wish->index_m != OPT_UNSET && wish->index_m != 0)
        plan_warn(p, "index_type flat has no graph: index_params.m is of no account");
    cJSON_ArrayForEach(said, doc_get(info, "warnings"))
        cJSON_AddItemToArray(p->warnings, cJSON_Duplicate(said, true));
}

void plan_fini(struct plan *p)
{
    cJSON_Delete(p->changes);
    cJSON_Delete(p->patch);
    cJSON_Delete(p->warnings);
    cJSON_Delete(p->after);
    *p = (struct plan){0};
}

void plan_write(const cJSON *change, cJSON *patch)
{
    struct at at = at_of_json(doc_get(change, "at"));
    at_put(&at, patch, cJSON_Duplicate(doc_get(change, "wished"), true));
}

bool plan_holds(const cJSON *change, const cJSON *info)
{
    struct at at = at_of_json(doc_get(change, "at"));
    const struct knob *knob = knob_of(&at);
    const cJSON *fact = at_fact(&at, info), *written = doc_get(change, "wished");
    return knob && !fact ? same(knob, NULL, written) : fact_equals(fact, written);
}

/* ---- for reports ---- */

cJSON *plan_wishes(const struct conf_model_base *wish)
{
    cJSON *out = cJSON_CreateObject(), *value;
    char path[100];
    for (unsigned i = 0; i < n_knobs; i++) {
        value = wish_of(&knobs[i], wish, NULL);
        snprintf(path, sizeof path, "%s.%s", knobs[i].section, knobs[i].key);
        if (value)
            cJSON_AddItemToObject(out, path, value);
    }
    if (wish->quantization_type == QUANTIZATION_NONE) {
        cJSON_AddStringToObject(out, "quantization_config", "Disabled");
    } else if (wish->quantization_type != QUANTIZATION_UNSET) {
        cJSON *outer = cJSON_AddObjectToObject(out, "quantization_config");
        cJSON_AddItemToObject(outer, conf_words_quantization[wish->quantization_type],
                              quantizer(wish, wish->quantization_type, NULL));
    }
    if (wish->on_disk != MAYBE_UNSET)
        cJSON_AddBoolToObject(out, "on_disk", wish->on_disk == MAYBE_TRUE);
    if (wish->vector_size)
        cJSON_AddItemToObject(out, "size", doc_bytes(wish->vector_size));
    return out;
}

cJSON *plan_facts(const struct conf_model_base *wish, const cJSON *info)
{
    cJSON *out = cJSON_CreateObject(), *wished = plan_wishes(wish), *one;
    const char *names[VECTORS_MAX];
    unsigned n = info_vectors(info, names, VECTORS_MAX);
    const char *name = wish->vector ? wish->vector : n ? names[0] : "";
    cJSON_ArrayForEach(one, wished) {
        char section[64];
        const char *dot = strchr(one->string, '.');
        snprintf(section, sizeof section, "%.*s", (int)(dot ? dot - one->string : (long)strlen(one->string)),
                 one->string);
        struct at own = {{"vectors", name, section, dot ? dot + 1 : NULL}, dot ? 4 : 3};
        struct at whole = {{section, dot ? dot + 1 : NULL}, dot ? 2 : 1};
        const cJSON *fact = at_fact(&own, info);
        if (!fact)
            fact = at_fact(&whole, info);
        cJSON_AddItemToObject(out, one->string, fact ? cJSON_Duplicate(fact, true) : cJSON_CreateNull());
    }
    cJSON_Delete(wished);
    return out;
}
