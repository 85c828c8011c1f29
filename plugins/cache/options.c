#include "plugins/cache/options.h"

#define M struct cache_model_conf
#define P struct cache_process_conf

static const struct opt cache_model_options[] = {
    OPT_BOOL(M, on, "cache", CONF_CACHING, "true", "answer repeated reads from memory"),
    OPT_USEC(M, ttl, "cache_ttl", CONF_CACHING, "60s", "1ms", "30d", "how long an answer may be reused"),
    OPT_UINT(M, share, "cache_share", CONF_CACHING, "100", "1", "100",
             "the part of cache.memory that it may fill, in per cent"),
    OPT_USEC(M, external_ttl, "external_writes_ttl", CONF_CACHING, "5s", "1ms", "30d",
             "with external_writes: the longest that an answer may be reused"),
    OPT_BYTES(M, max_entry, "cache_max_entry", CONF_CACHING, "1MiB", "1KiB", "64MiB",
              "larger answers are not kept"),
};

const struct opt_table cache_model_table = {
    "cache", cache_model_options, sizeof cache_model_options / sizeof *cache_model_options, sizeof(M), NULL,
};

static const struct opt cache_process_options[] = {
    OPT_BOOL(P, enabled, "cache.enabled", CONF_QUIVER, "true",
             "false: nothing is answered from memory or Redis, for no model"),
    OPT_BYTES(P, memory, "cache.memory", CONF_QUIVER, "256MiB", "1MiB", "1TiB",
              "memory for answers, whole process"),
    OPT_BOOL(P, rate_limited_collections, "cache.rate_limited_collections", CONF_QUIVER, "false",
             "also cache collections whose strict mode limits reads: hits do not count against that limit"),
};

const struct opt_table cache_process_table = {
    "cache", cache_process_options, sizeof cache_process_options / sizeof *cache_process_options, sizeof(P),
    NULL,
};
