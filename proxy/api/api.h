/* api.h - the control port: health, metrics, the control API and GraphQL. Its routes are a table in routes.c.
 * Owner: the control thread, whose event_base it is. Workers never wait for it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/str.h"

struct event_base;
struct api;
struct api_tuning;
struct conf;
struct worker;

struct api_hooks {
    /* May requests be sent here? If not, *why is a sentence for the answer's body (valid until the next
     * call). NULL: always. */
    bool (*ready)(struct str *why, void *arg);
    void *arg;
    /* Writes a configuration as YAML, without secrets; NULL: not available. */
    void (*dump)(const struct conf *, FILE *out, void *arg);
    /* Sets a switch of a model (a key of its settings; key and value last as long as the process) until the process ends and has the
     * configuration made anew. Returns the switch's number: it is in configurations whose n_switched is as high. NULL: not available. */
    unsigned (*set_switch)(const char *model, const char *key, const char *value, void *arg);
    /* Has queries counted anew (engine/digest.h); NULL: not available. */
    void (*reset_queries)(void *arg);
    struct worker *worker; /* the control thread's; NULL (tests): only health and metrics are answered */
    const struct api_tuning *tuning; /* tuning.h; NULL: nothing of tuning is answered */
};

/* Takes the descriptors (bound, listening, non-blocking; n_fds may be 0). NULL with err if one cannot be
 * used; all are closed then. What the hooks point to lives until api_close. */
struct api *api_open(struct event_base *, const int *listen_fds, unsigned n_fds, const struct api_hooks *, struct err *);
void api_close(struct api **); /* what runs is stopped */
