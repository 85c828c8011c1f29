/* build.h - a configuration in the making: what was set, by whom and where, so that an error can name the
 * line. Private to conf/. Main thread; lives in one call of conf_load. */
#pragma once

#include "conf/claims.h"
#include "conf/conf.h"
#include "conf/files.h"
#include "conf/tables.h"
#include "conf/yaml.h"

struct conf_private {
    struct arena arena; /* everything that the snapshot points to */
    struct claims claims;
};

enum set_rank { SET_DEFAULT, SET_FILE, SET_ENVIRONMENT, SET_SWITCH, SET_FLAG };

struct set_at {
    enum set_rank rank;
    const char *where; /* "conf/quiver.yaml", "environment", "command line" */
    unsigned line;     /* 0: none */
    const char *key;   /* as it stands there: "caching.mixtral.cache_ttl", "QUIVER_API", "--api" */
};

enum { BUILD_GROUPS_MAX = 64, BUILD_SERVERS_MAX = 64 };

struct block { /* one struct being filled by one table */
    const struct opt_table *table;
    void *filled;
    struct set_at *at; /* one per option */
};

struct model_build {
    const char *name;
    const char *env_name;
    struct set_at at; /* where it was first named */
    struct block block[1 + CONF_TABLES_MAX]; /* [0] is conf_model_base */
};

struct group_build {
    const char *name;
    struct set_at at;
    struct conf_server server[BUILD_SERVERS_MAX];
    unsigned n;
};

struct build {
    struct arena scratch;   /* goes with the build */
    struct arena *arena;    /* the snapshot's */
    const struct conf_sources *sources;
    struct conf *conf;
    struct block process[1 + CONF_TABLES_MAX]; /* [0] is conf_process */
    unsigned n_process, n_model_blocks;
    struct model_build *model[CONF_MODELS_MAX]; /* [0] is "default" */
    unsigned n_models;
    struct group_build *group[BUILD_GROUPS_MAX];
    unsigned n_groups;
    struct err *err;
};

/* false, with "where:line: key: " before the sentence. */
bool build_fail(struct build *, const struct set_at *, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

struct model_build *build_model(struct build *, struct str name); /* NULL if there is none */
/* Finds or adds; NULL after an error. */
struct model_build *build_add_model(struct build *, struct str name, const struct set_at *);
struct group_build *build_group(struct build *, struct str name);
bool build_add_server(struct build *, struct group_build *, const char *url, const struct set_at *);
struct group_build *build_add_group(struct build *, struct str name, const struct set_at *); /* likewise */

struct opt_ref {
    struct block *block;
    const struct opt *opt;
    struct set_at *at;
};

bool build_find(struct block *, unsigned n_blocks, struct str key, struct opt_ref *out);
bool build_is_prefix(const struct block *, unsigned n_blocks, struct str key); /* "redis" of "redis.url" */
bool build_set(struct build *, struct opt_ref *, const struct opt_value *, const struct set_at *);

/* Sources in ascending right: each overrides the one before. */
bool build_from_files(struct build *, const struct conf_texts *);
bool build_from_environment(struct build *);
bool build_from_switches(struct build *);
bool build_from_flags(struct build *);

/* What remains when all is set: checks of tables, addresses, groups, claims; fills the snapshot. */
bool build_finish(struct build *);
