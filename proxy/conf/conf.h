/* conf.h - the effective configuration as an immutable, counted snapshot.
 * Made by the main thread at start and on SIGHUP from files, environment and flags; each request pins the one
 * it began with. Nothing in it changes after conf_load; any thread may read it while it holds a reference. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"
#include "conf/opt.h"

enum { CONF_MODELS_MAX = 250, CONF_TABLES_MAX = 16 };
#define CONF_WORKERS_MAX 256 /* a macro: the option's table has it as text */

/* WHERE on the command line: PORT (127.0.0.1 and ::1, two addresses), ADDR:PORT, [IPv6]:PORT, unix:/path. */
struct conf_where {
    const char *text;                /* canonical: "127.0.0.1:6333", "[::1]:6333", "unix:/run/q.sock" */
    struct sockaddr_storage address;
    socklen_t n_address;
    bool optional;                   /* the ::1 half of a bare PORT: no IPv6 on the host is no error */
};

struct conf_server {                 /* http://HOST:PORT of an upstream group; no path */
    const char *url;                 /* canonical: "http://127.0.0.1:6334" */
    const char *host;                /* without brackets */
    uint16_t port;
};

struct conf_group {
    const char *name;
    struct conf_server *server;
    unsigned n_servers;
};

/* redis.url taken apart; on false: off. Either host and port, or path. Escapes are decoded.
 * What is not given is NULL. */
struct conf_redis {
    bool on;
    const char *host; /* a name or an address, without brackets */
    uint16_t port;
    const char *path; /* of a Unix socket */
    const char *user, *password;
    unsigned db;
};

/* Writes of a quiver that is cut off from a shared Redis for longer than coherence.forget. */
enum bump_failure { BUMP_FAILURE_CONTINUE, BUMP_FAILURE_FAIL };

/* quiver.yaml, the part that belongs to no plugin. Rows in conf/quiver_opts.c; dotted keys as commented. */
struct conf_process {
    struct opt_texts listen;          /* listen: WHERE or a list; default 6333 */
    const char *api;                  /* api, or api.listen: WHERE or off; default 8000 */
    const char *api_token;            /* api.token, or what is in api_token_file; NULL: loopback only; secret */
    const char *api_token_file;       /* api.token_file */
    const char *api_read_token;       /* api.read_token, or what is in api_read_token_file; secret */
    const char *api_read_token_file;  /* api.read_token_file */
    struct opt_texts api_hosts;       /* api.hosts: names that writes may come to, besides localhost and addresses */
    uint64_t workers;                 /* workers: 0 = one per core */
    const char *pid_file;             /* pid */
    struct conf_redis redis;          /* derived from redis_url */
    const char *redis_url;            /* redis.url: redis://..., unix:/path..., off (default) */
    bool redis_shared;                /* redis.shared: default true */
    uint64_t redis_budget;            /* redis.budget: what a look may cost before it is a miss, and facts that are on their way, 1 ms */
    uint64_t redis_connect_timeout;   /* redis.connect_timeout: 500 ms */
    uint64_t redis_max_entry;         /* redis.max_entry: bytes, 64 KiB */
    uint64_t quarantine;              /* coherence.quarantine: 60 s */
    uint64_t forget;                  /* coherence.forget: 30 s */
    unsigned on_bump_failure;         /* coherence.on_bump_failure (as enum bump_failure) */
    uint64_t alias_poll;              /* coherence.alias_poll: 5 s */
    const char *api_key;              /* upstream.api_key, or what is in api_key_file; secret */
    const char *api_key_file;         /* upstream.api_key_file */
    uint64_t connect_timeout;         /* upstream.connect_timeout: 1 s */
    uint64_t queue_timeout;           /* upstream.queue_timeout: 5 s */
    uint64_t read_timeout;            /* upstream.first_byte_timeout: 65 s, reads */
    uint64_t write_timeout;           /* upstream.write_timeout: the same for all others; 0 = none */
    uint64_t body_timeout;            /* upstream.body_timeout: 30 s between bytes of an answer */
    uint64_t idle_timeout;            /* upstream.idle_timeout: 4 s, below Qdrant's 5 */
    uint64_t resolve_interval;        /* upstream.resolve_interval: 30 s */
    uint64_t head_timeout;            /* limits.head_timeout: 10 s */
    uint64_t client_body_timeout;     /* limits.body_timeout: 30 s */
    uint64_t client_write_timeout;    /* limits.write_timeout: 30 s */
    uint64_t keep_alive;              /* limits.keep_alive: 75 s */
    uint64_t drain_timeout;           /* limits.drain_timeout: 30 s */
    uint64_t hold_body;               /* limits.hold_body: 32 MiB */
    uint64_t hold_total;              /* limits.hold_total: 256 MiB */
    uint64_t busy_poll;               /* busy_poll: usec awake after work; 0 */
    uint64_t max_connections;         /* limits.connections: clients, whole process; default 10000 */
    bool access_on;                   /* derived from log.access != off */
    const char *state_dir;            /* state_dir; NULL: see tune/history.h */
    uint64_t tune_interval;           /* tune.interval: 10 s */
    uint64_t tune_green_timeout;      /* tune.green_timeout: 1 h */
    const char *access_log;           /* log.access: off | stderr | /path */
    const char *query_log;            /* log.queries: the same */
    uint64_t query_slow;              /* log.slow: 100 ms */
    bool query_rewritten;             /* log.rewritten */
    double query_sample;              /* log.sample: part of all searches */
    uint64_t query_rate;              /* log.rate: lines a second */
    uint64_t digests;                 /* queries.digests: rows of GET /optimizations/queries/stats */
    unsigned log_level;               /* log.level: error warn info debug (as enum log_level) */
};

/* Options that are one of some words: conf_words_...[], by the enum's number, NULL behind the last. */
enum conf_quantization {
    QUANTIZATION_UNSET,
    QUANTIZATION_NONE,
    QUANTIZATION_SCALAR,
    QUANTIZATION_PRODUCT,
    QUANTIZATION_BINARY,
    QUANTIZATION_TURBO,
};
enum conf_index_type { INDEX_UNSET, INDEX_HNSW, INDEX_FLAT };
enum conf_maybe { MAYBE_UNSET, MAYBE_FALSE, MAYBE_TRUE };
enum conf_compression { COMPRESSION_UNSET, COMPRESSION_X4, COMPRESSION_X8, COMPRESSION_X16, COMPRESSION_X32, COMPRESSION_X64 };
enum conf_encoding { ENCODING_UNSET, ENCODING_ONE_BIT, ENCODING_TWO_BITS, ENCODING_ONE_AND_HALF_BITS };
enum conf_query_encoding { QUERY_UNSET, QUERY_DEFAULT, QUERY_BINARY, QUERY_SCALAR4BITS, QUERY_SCALAR8BITS };
enum conf_turbo_bits { TURBO_UNSET, TURBO_BITS1, TURBO_BITS1_5, TURBO_BITS2, TURBO_BITS4 };
enum conf_enforce { ENFORCE_OFF, ENFORCE_OBSERVE, ENFORCE_ENFORCE };
extern const char *const conf_words_quantization[], *const conf_words_compression[], *const conf_words_encoding[],
    *const conf_words_query_encoding[], *const conf_words_turbo_bits[], *const conf_words_enforce[];

/* Per model, the part that belongs to no plugin. Rows in conf/model_opts.c. */
struct conf_model_base {
    /* optimizations: */
    struct opt_texts collections;     /* names and globs (*, ?); default: the model's own name */
    const char *upstream;             /* the group's name; default "default" */
    uint64_t vector_size;             /* 0 unset */
    const char *vector;               /* NULL: all vectors of the collection */
    /* indexing: what the operator wishes Qdrant to be; numbers are OPT_UNSET where there is no wish */
    unsigned index_type;              /* enum conf_index_type */
    uint64_t index_m, index_ef_construct, index_threads; /* index_params: {m, ef_construct, max_indexing_threads} */
    uint64_t full_scan_threshold, indexing_threshold; /* KB as Qdrant's */
    unsigned quantization_type;       /* enum conf_quantization */
    unsigned quantization_always_ram; /* enum conf_maybe */
    double quantization_quantile;     /* NAN unset */
    unsigned quantization_compression; /* enum conf_compression */
    unsigned quantization_encoding;   /* enum conf_encoding */
    unsigned quantization_query_encoding; /* enum conf_query_encoding */
    unsigned quantization_bits;       /* enum conf_turbo_bits */
    unsigned on_disk;                 /* enum conf_maybe */
    uint64_t segment_number, max_segment_size, optimizer_threads;
    unsigned strict_enabled, strict_allow_exact; /* enum conf_maybe */
    double strict_max_oversampling;   /* NAN unset */
    uint64_t strict_max_query_limit, strict_max_timeout, strict_max_hnsw_ef; /* 0 unset, as all of strict_mode */
    uint64_t strict_search_batch, strict_upsert_batch, strict_filter_conditions;
    uint64_t strict_read_rate, strict_write_rate, strict_max_points;
    unsigned strict_unindexed_retrieve, strict_unindexed_update; /* enum conf_maybe */
    uint64_t strict_condition_size, strict_vector_bytes, strict_payload_bytes, strict_payload_indexes;
    uint64_t strict_resident_percent;
    /* tuning: */
    unsigned enforce;                 /* enum conf_enforce; default observe */
    uint64_t batch_size;              /* 0 unset */
    uint64_t memory_limit;            /* bytes; 0 unset */
    uint64_t connections;             /* to each upstream server, over all workers; default 32 */
    uint64_t queue;                   /* requests that may wait, per worker; default 1024 */
    uint64_t queue_timeout;           /* 0 = upstream.queue_timeout */
    uint64_t read_timeout, write_timeout; /* first_byte_timeout, write_timeout; 0 = the process's */
    bool external_writes;             /* caching: others write to Qdrant past quiver */
    uint64_t target_p50;              /* target.p50, usec; 0 unset */
    uint64_t target_ops;              /* 0 unset */
    double target_hit_rate, target_recall; /* NAN unset */
};

struct conf_model {
    const char *name;                 /* model[0] is "default": what no model claims */
    unsigned index;                   /* in conf.model */
    unsigned group;                   /* index in conf.group */
    unsigned metrics_id;              /* set by the owner after conf_load, before any other thread sees it */
    struct conf_model_base base;
    void *part[CONF_TABLES_MAX];      /* part[i]: the struct filled by conf_sources.model_table[i] */
};

struct conf {
    _Atomic unsigned n_refs;
    unsigned generation;              /* 1, 2, ...: set by the owner */
    unsigned n_switched;              /* how many switches had ever been made when it was loaded: set by the owner */
    struct conf_process process;
    void *process_part[CONF_TABLES_MAX]; /* filled by conf_sources.process_table[i] */
    struct conf_where *listen;
    unsigned n_listen;
    struct conf_where *api;           /* n_api 0: off */
    unsigned n_api;
    struct conf_group *group;
    unsigned n_groups;
    struct conf_model *model;
    unsigned n_models;
    /* private: arena, route tables */
    struct conf_private *private_;
};

/* Flags of the command line; NULL, 0 or -1 where not given. */
struct conf_flags {
    const char *path;                 /* -c */
    const char *const *listen; unsigned n_listen;
    const char *api;
    const char *const *upstream; unsigned n_upstream;
    const char *redis;
    int cache, rewrite;               /* -1 not given, 0 off, 1 on: cache.enabled and rewrite.enabled */
    int workers;                      /* -1 not given */
    const char *pid_file;
};

/* A setting of one model that was made while the process runs. */
struct conf_switch {
    const char *model, *key, *value;
};

struct conf_sources {
    struct conf_flags flags;
    char *const *environment;         /* environ */
    /* over files and environment; those of models that are not there are passed over */
    const struct conf_switch *switches; unsigned n_switches;
    /* plugins' tables, per model and for the whole process */
    const struct opt_table *const *model_table; unsigned n_model_tables;
    const struct opt_table *const *process_table; unsigned n_process_tables;
};

/* Reads, merges (flags over switches over environment over files), checks. NULL with "file:line: key: what was found, what
 * would be right" in err. One reference for the caller. */
struct conf *conf_load(const struct conf_sources *, struct err *);
struct conf *conf_get(struct conf *);
void conf_put(struct conf **);

/* The model whose collection patterns claim this name: exact beats longer glob beats shorter; model[0] if
 * none. Never NULL; no allocation. */
const struct conf_model *conf_model_of(const struct conf *, struct str collection);
/* The same number for a group of that name in every configuration; never 0. */
uint64_t conf_group_id(const struct conf_group *);
const struct conf_model *conf_model_named(const struct conf *, struct str model); /* NULL if there is none */

/* The effective configuration as YAML that -c FILE accepts (one document; secrets as "(set)" in a comment,
 * not as values). */
void conf_dump(const struct conf *, const struct conf_sources *, FILE *out);

/* The reference of all options as Markdown tables, from the tables (for conf/README.md and the test that
 * keeps it true). */
void conf_reference(const struct conf_sources *, FILE *out);
/* Likewise: what to type when something is worse than before (rollback.def), and the keys that it undoes. */
void conf_rollback_reference(const struct conf_sources *, FILE *out);
