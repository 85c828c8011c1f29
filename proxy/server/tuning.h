/* tuning.h - ties the control API (api/tuning.h) to proxy/tune; neither knows the other.
 * Owner: the control thread. */
#pragma once

#include "api/tuning.h"

struct tune;

/* test: begins a test of a model (NULL: all) as a job of tune_jobs(), or NULL: there are none. */
struct api_tuning tuning_of(struct tune *, bool (*test)(void *arg, const char *model, uint64_t *job,
                                                        uint64_t *busy, struct err *));
