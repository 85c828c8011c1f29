/* tuning.h - ties the control API (api/tuning.h) to proxy/tune; neither knows the other.
 * Owner: the control thread. */
#pragma once

#include "api/tuning.h"

struct tune;

struct api_tuning tuning_of(struct tune *);
