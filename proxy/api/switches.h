/* switches.h - what can be turned on and off for a model while quiver runs. A switch is a setting of the model that wins over files and
 * environment until the process ends or the model goes from the files; it takes effect with a configuration of its own, as a reload does. Owner: the control thread. */
#pragma once

#include "api/call.h"

enum { N_SWITCHES = 5 };

struct switch_values {
    const char *word[N_SWITCHES]; /* as it would stand in a file; NULL: left as it is */
    unsigned n;
};

/* Members of an object, by their names in JSON or in GraphQL; null is as good as absent. False with what was found, where, and what would be
 * right. */
bool switches_read(const struct node *object, bool graphql, struct switch_values *, struct err *);

/* Embedded in who asks; done() comes from the loop, once. */
struct switching {
    /* 200: in effect. Else *why says what is known: 404 the model is gone, 409 another switch came at the same time, 503 no configuration
     * came into effect since. */
    void (*done)(struct switching *, unsigned status, const struct err *why);
    /* private */
    struct worker *worker;
    struct timer timer;
    const char *model;
    struct switch_values values;
    unsigned number; /* of the last one */
    uint64_t until;
};
/* False: switches are not available, done() will not come. model lives until then. */
bool switching_start(struct switching *, struct api *, const char *model, const struct switch_values *);
void switching_stop(struct switching *);

/* All switches of the model as they are now: {cache: true, ..., enforce: "observe"}. */
struct cJSON *switches_doc(const struct conf_model *);
/* The same into each model of a status. */
void switches_into_status(const struct conf *, struct cJSON *status);
