/* auth.h - who may use the control API. Pure: looks at a head and the configuration. Any thread. */
#pragma once

#include "api/routes.h"
#include "http/head.h"

/* What the head shows. is_local: the peer is this host. A token is shown as `Authorization: Bearer T` or
 * `X-Quiver-Token: T`. */
enum api_right auth_right(const struct conf_process *, const struct http_head *, bool is_local);

/* May one with this right use what needs that access? If not: the status to refuse with (401 or 403) and a
 * sentence; else 0. */
unsigned auth_refusal(enum api_right, enum api_access, const struct conf_process *, const char **why);

/* Is a change asked for by a page of another origin, or under a name that may have been rebound? NULL: it is
 * not; else a sentence. */
const char *auth_foreign(const struct conf_process *, const struct http_head *);

/* The header lines that a search carries to Qdrant: the caller's own api-key and Authorization (but one that
 * has a token of quiver's); quiver's key if there are none and a token was shown. */
struct str auth_upstream_lines(struct arena *, const struct conf_process *, const struct http_head *,
                               enum api_right);
