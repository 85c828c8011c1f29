/* batch.h - how much of a points/batch may add points. Pure; any thread. */
#pragma once

#include <stdint.h>

#include "base/str.h"

/* body: {"operations": [{"upsert": ...}, {"delete": ...}]}. The bytes of those operations that may add points or vectors; all of the body
 * where it cannot be read. */
uint64_t batch_bytes(struct str body);
