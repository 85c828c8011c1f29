/* plan.h - what is (GET /collections/{c}) beside what is wished (a model's settings): the differences and the
 * one PATCH that removes them. And the way back: the PATCH that restores what changes of quiver's had
 * replaced. An equal PATCH is never made: it would stop index builds that run (their work is lost). Pure; any
 * thread. */
#pragma once

#include <stdbool.h>

#include "conf/conf.h"

struct cJSON;

struct plan {
    /* [{path, at, is, wished, cost}]: path for readers; at: the keys on the way in the PATCH, ["vectors", "",
     * "on_disk"]; is null where unset; wished as it is written: quantization that goes is "Disabled". cost:
     * "none", "build" (of what is not indexed yet), "merge" (of segments), "reindex" (of all) */
    struct cJSON *changes;
    struct cJSON *patch;    /* the body; NULL: nothing differs */
    struct cJSON *warnings; /* sentences: contradictions that no PATCH can remove, and values that cannot be
                               unset again */
    struct cJSON *after;    /* info as it will be */
    bool reindex;
};

/* info: "result" of GET /collections/{c}. */
void plan_make(const struct conf_model_base *wish, const struct cJSON *info, struct plan *);
void plan_fini(struct plan *);

/* Undoes changes, as plan_make made them: the first entry for a path says what was there, any of them what quiver wrote. What is neither
 * somebody else has set: it stays, and plan->warnings says so. Where a value was unset, Qdrant's default is written; the warnings say that too. */
void plan_undo(const struct cJSON *changes, const struct cJSON *info, struct plan *);

/* Puts one change into a PATCH. */
void plan_write(const struct cJSON *change, struct cJSON *patch);

/* Is this change a fact in info? */
bool plan_holds(const struct cJSON *change, const struct cJSON *info);

/* What the model wishes for and what is there instead, {path: value}, without names of vectors. Never NULL.
 */
struct cJSON *plan_wishes(const struct conf_model_base *wish);
struct cJSON *plan_facts(const struct conf_model_base *wish, const struct cJSON *info);
