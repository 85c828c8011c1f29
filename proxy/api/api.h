/* api.h - the control port's routes: /healthz, /readyz, /metrics. Rows in api.c.
 * Owner: the thread that runs the event_base. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct event_base;
struct api;

struct api_hooks {
    /* May requests be sent here? If not, *why is a sentence for the answer's body (valid until the next
     * call). NULL: always. */
    bool (*ready)(struct str *why, void *arg);
    void *arg;
};

/* Takes the descriptors (bound, listening, non-blocking; n_fds may be 0). NULL with err if one cannot be
 * used; all are closed then. */
struct api *api_open(struct event_base *, const int *listen_fds, unsigned n_fds, const struct api_hooks *, struct err *);
void api_close(struct api **);
