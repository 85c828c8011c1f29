/* options.h - what may be answered from memory, for how long, and what that may cost. Filled by conf;
 * constant afterwards. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/opt.h"

struct cache_model_conf {
    bool on;
    uint64_t ttl;         /* usec */
    uint64_t share;       /* per cent of cache.memory */
    uint64_t external_ttl; /* usec; instead of ttl where external_writes is set */
    uint64_t max_entry;   /* bytes */
};

struct cache_process_conf {
    bool enabled;
    uint64_t memory;               /* bytes, whole process */
    bool rate_limited_collections; /* cache those whose strict mode limits reads */
};

extern const struct opt_table cache_model_table, cache_process_table;
