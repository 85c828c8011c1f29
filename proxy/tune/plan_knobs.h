/* plan_knobs.h - private to plan*.c: the table of Qdrant's settings that a model may wish for, and where they
 * lie in documents. */
#pragma once

#include <cjson/cJSON.h>
#include <stddef.h>

#include "conf/conf.h"
#include "tune/plan.h"

enum { AT_MAX = 4 };

/* Keys on the way in a PATCH; n 0: nowhere. */
struct at {
    const char *key[AT_MAX];
    unsigned n;
};

enum knob_kind {
    KNOB_COUNT,      /* uint64_t, OPT_UNSET */
    KNOB_COUNT_ZERO, /* uint64_t, 0 is unset */
    KNOB_REAL,       /* double, NAN */
    KNOB_MAYBE,      /* unsigned, enum conf_maybe */
};

struct knob {
    const char *section, *key;
    enum knob_kind kind;
    size_t offset;   /* in struct conf_model_base */
    bool per_vector; /* vectors may have a value of their own */
    const char *cost;
    const char *fallback; /* what Qdrant takes where it is unset, as JSON; NULL: no limit */
};

extern const struct knob knobs[];
extern const unsigned n_knobs;

cJSON *knob_wish(const struct knob *, const struct conf_model_base *); /* NULL: none */
cJSON *knob_fallback(const struct knob *);                             /* NULL: none */
const struct knob *knob_of(const struct at *);                         /* NULL: quantization, or placement */

struct at at_of_json(const cJSON *array);
cJSON *at_json(const struct at *);
cJSON *at_path(const struct at *);                          /* as a string */
cJSON *at_fact(const struct at *, const cJSON *info);       /* NULL: not there */
void at_put(const struct at *, cJSON *patch, cJSON *value); /* takes value */
/* Into a copy of info, as Qdrant will show it. */
void at_put_fact(const struct at *, cJSON *info, const cJSON *written);

/* Vectors of the collection: by name, "" for the unnamed one. */
const cJSON *info_vector(const cJSON *info, const char *name);
unsigned info_vectors(const cJSON *info, const char **names, unsigned max);

/* Does the fact say what was written? Objects: at least so much; "Disabled" and "auto" are unset. */
bool fact_equals(const cJSON *fact, const cJSON *written);

void plan_begin(struct plan *, const cJSON *info);
/* Takes written. cost NULL: the knob's. */
void plan_add(struct plan *, const struct at *, cJSON *written, const char *cost);
void plan_warn(struct plan *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
