/* plan_undo.c - the way back. Qdrant merges a PATCH and takes no null, so that what was unset cannot be unset
 * again: its default is written instead, and the plan says so. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tune/doc.h"
#include "tune/plan.h"
#include "tune/plan_knobs.h"

/* Written for a limit that was not there. */
#define NO_LIMIT 4294967295.0
#define NO_LIMIT_LARGE 1e15 /* of bytes and points, which may be more than that */
#define SEGMENT_KB_A_THREAD 256000

static bool is_first(const cJSON *changes, const cJSON *change)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, changes) {
        if (one == change)
            return true;
        if (cJSON_Compare(doc_get(one, "at"), doc_get(change, "at"), true))
            return false;
    }
    return true;
}

static bool ends_in(const struct at *at, const char *key)
{
    return at->n && strcmp(at->key[at->n - 1], key) == 0;
}

/* Will strict mode be on after all was undone? */
static bool stays_strict(const cJSON *changes, const cJSON *info)
{
    static const struct at enabled = {{"strict_mode_config", "enabled"}, 2};
    const cJSON *one;
    cJSON_ArrayForEach(one, changes) {
        struct at at = at_of_json(doc_get(one, "at"));
        if (at.n == 2 && strcmp(at.key[0], "strict_mode_config") == 0 && ends_in(&at, "enabled"))
            return cJSON_IsTrue(doc_get(one, "is"));
    }
    return cJSON_IsTrue(at_fact(&enabled, info));
}

static cJSON *text_noted(struct plan *p, const char *path, const char *word, const char *why)
{
    plan_warn(p, "%s had been unset: %s was written (%s)", path, word, why);
    return cJSON_CreateString(word);
}

/* What to write for a value that had been unset; NULL: nothing can be. */
static cJSON *instead_of_unset(struct plan *p, const cJSON *changes, const struct at *at, const char *path)
{
    const struct knob *knob = knob_of(at);
    if (ends_in(at, "quantization_config"))
        return cJSON_CreateString("Disabled"); /* does unset it */
    if (ends_in(at, "on_disk")) {
        plan_warn(p, "%s had been unset: the default false was written", path);
        return cJSON_CreateBool(false);
    }
    if (ends_in(at, "memory"))
        return text_noted(p, path, "cached", "the default");
    if (!knob)
        return NULL;
    if (at->n == 4) { /* a vector's own value: what the collection has does the same */
        struct at whole = {{at->key[2], at->key[3]}, 2};
        const cJSON *inherited = at_fact(&whole, p->after);
        plan_warn(
            p, "%s had been unset: the collection's value was written; it no longer follows the collection",
            path);
        return inherited ? cJSON_Duplicate(inherited, true) : knob_fallback(knob);
    }
    if (knob->fallback) {
        if (strcmp(knob->fallback, "\"auto\"") != 0)
            plan_warn(p, "%s had been unset: the default %s was written", path, knob->fallback);
        return knob_fallback(knob);
    }
    if (ends_in(at, "max_segment_size")) {
        long threads = sysconf(_SC_NPROCESSORS_ONLN);
        double kb = SEGMENT_KB_A_THREAD * (double)(threads > 0 ? threads : 1);
        plan_warn(p,
                  "%s had been unset, and auto cannot be written: %.0f KB were (Qdrant's %d KB a thread, for "
                  "as many as this "
                  "machine has)",
                  path, kb, SEGMENT_KB_A_THREAD);
        return cJSON_CreateNumber(kb);
    }
    if (!stays_strict(changes, p->after)) {
        plan_warn(p, "%s had been unset and stays as it is: a limit cannot be unset, but strict mode is off",
                  path);
        return NULL;
    }
    double none = ends_in(at, "max_points_count") || strstr(path, "_size_bytes") ? NO_LIMIT_LARGE : NO_LIMIT;
    plan_warn(p, "%s had been unset: no limit cannot be written, %.0f was", path, none);
    return cJSON_CreateNumber(none);
}

/* Is what is there what quiver wrote? Any entry for that place may say so: of the later ones it is not known whether they arrived. */
static bool is_ours(const cJSON *changes, const cJSON *change, const cJSON *fact)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, changes)
        if (cJSON_Compare(doc_get(one, "at"), doc_get(change, "at"), true) && fact_equals(fact, doc_get(one, "wished")))
            return true;
    return false;
}

static void warn_of_others(struct plan *p, const cJSON *change, const char *path, const cJSON *fact)
{
    char *is = fact ? cJSON_PrintUnformatted(fact) : NULL, *wrote = cJSON_PrintUnformatted(doc_get(change, "wished"));
    plan_warn(p, "%.200s is %.100s now and quiver had written %.100s: what others set stays", path, is ? is : "unset", wrote ? wrote : "?");
    free(is);
    free(wrote);
}

static void undo(struct plan *p, const cJSON *changes, const cJSON *change)
{
    struct at at = at_of_json(doc_get(change, "at"));
    const cJSON *before = doc_get(change, "is"), *fact;
    const char *path = doc_text(doc_get(change, "path"));
    if (!at.n || (strcmp(at.key[0], "vectors") == 0 && (at.n < 3 || !info_vector(p->after, at.key[1])))) {
        plan_warn(p, "%s: the vector is no longer there", path ? path : "a change");
        return;
    }
    fact = at_fact(&at, p->after);
    if (doc_is_set(before) ? fact_equals(fact, before) : !fact)
        return;
    if (!is_ours(changes, change, fact)) {
        warn_of_others(p, change, path ? path : "a change", fact);
        return;
    }
    cJSON *written = doc_is_set(before) ? cJSON_Duplicate(before, true)
                                        : instead_of_unset(p, changes, &at, path ? path : "");
    if (!written)
        return;
    if (fact_equals(fact, written))
        cJSON_Delete(written);
    else
        plan_add(p, &at, written, NULL);
}

/* Qdrant replaces a quantization whole, all else is merged: so the order matters only for vectors that follow
 * the collection. */
void plan_undo(const cJSON *changes, const cJSON *info, struct plan *p)
{
    const cJSON *one;
    plan_begin(p, info);
    if (!cJSON_IsObject(doc_get(info, "config"))) {
        plan_warn(p, "Qdrant's answer has no config: nothing can be taken back");
        return;
    }
    for (unsigned own = 0; own < 2; own++)
        cJSON_ArrayForEach(one, changes) {
            struct at at = at_of_json(doc_get(one, "at"));
            if ((at.n && strcmp(at.key[0], "vectors") == 0) == (own == 1) && is_first(changes, one))
                undo(p, changes, one);
        }
}
