/* conf_case.h - for tests of conf: a folder with configuration files, an environment, a load, an error. One
 * case per test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "conf/conf.h"

/* Options of plugins, whose library stands above conf's: their tables without the plugins. */
#include "plugins/cache/options.c"
#undef M
#undef P
#include "plugins/coalesce/options.c"
#undef M
#undef P
#include "plugins/guard/options.c"
#undef M
#include "plugins/rewrite/options.c"
#undef M
#undef P

static const struct opt_table *const case_model_tables[] = {&rewrite_model_table, &cache_model_table, &coalesce_model_table,
                                                           &guard_model_table};
static const struct opt_table *const case_process_tables[] = {&rewrite_process_table, &cache_process_table};
static const char *const case_upstream[] = {"http://127.0.0.1:9"};

struct conf_case {
    char folder[64], path[128];
    char *environment[16];
    unsigned n_environment;
    struct conf_sources sources;
    struct conf *conf;
    struct err err;
};

static inline void case_init(struct conf_case *c)
{
    memset(c, 0, sizeof *c);
    strcpy(c->folder, "/tmp/quiver_conf_XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    c->sources = (struct conf_sources){
        .flags = {.path = c->folder,
                  .upstream = case_upstream,
                  .n_upstream = 1,
                  .cache = -1,
                  .rewrite = -1,
                  .workers = -1},
        .environment = c->environment,
        .model_table = case_model_tables,
        .n_model_tables = sizeof case_model_tables / sizeof *case_model_tables,
        .process_table = case_process_tables,
        .n_process_tables = 2,
    };
}

static inline void case_file(struct conf_case *c, const char *name, const char *text)
{
    snprintf(c->path, sizeof c->path, "%s/%s", c->folder, name);
    FILE *f = fopen(c->path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static inline void case_env(struct conf_case *c, const char *assignment)
{
    c->environment[c->n_environment++] = (char *)assignment;
}

static inline bool case_load(struct conf_case *c)
{
    conf_put(&c->conf);
    c->err.text[0] = 0;
    c->conf = conf_load(&c->sources, &c->err);
    return c->conf != NULL;
}

static inline void case_loads(struct conf_case *c)
{
    if (!case_load(c))
        fail_msg("refused: %s", c->err.text);
}

/* The error, with the folder cut off its front. */
static inline const char *case_refused(struct conf_case *c)
{
    assert_false(case_load(c));
    size_t n = strlen(c->folder);
    return strncmp(c->err.text, c->folder, n) == 0 && c->err.text[n] == '/' ? c->err.text + n + 1
                                                                            : c->err.text;
}

static inline void case_fini(struct conf_case *c)
{
    static const char *const names[] = {"quiver.yaml",
                                        "model-optimizations.yaml",
                                        "indexing-strategies.yaml",
                                        "caching-optimizations.yaml",
                                        "performance-tuning.yaml",
                                        "one.yaml",
                                        "key"};
    conf_put(&c->conf);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(c->path, sizeof c->path, "%s/%s", c->folder, names[i]);
        unlink(c->path);
    }
    rmdir(c->folder);
}

/* One text as -c FILE gives this error (without the folder). */
static inline void refuses(const char *text, const char *expected)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "one.yaml", text);
    c.sources.flags.path = c.path;
    const char *found = case_refused(&c);
    if (strcmp(found, expected) != 0)
        fail_msg("\nfound    %s\nexpected %s", found, expected);
    case_fini(&c);
}

/* The same, with this inside the message. */
static inline void refuses_with(const char *text, const char *part)
{
    struct conf_case c;
    case_init(&c);
    case_file(&c, "one.yaml", text);
    c.sources.flags.path = c.path;
    const char *found = case_refused(&c);
    if (!strstr(found, part))
        fail_msg("\nfound    %s\nexpected ...%s...", found, part);
    case_fini(&c);
}

static inline const struct conf_model *case_model(struct conf_case *c, const char *name)
{
    const struct conf_model *m = conf_model_named(c->conf, str_of(name));
    assert_non_null(m);
    return m;
}

static inline const struct rewrite_model_conf *case_rewrite(struct conf_case *c, const char *model)
{
    return case_model(c, model)->part[0];
}

static inline const struct cache_model_conf *case_cache(struct conf_case *c, const char *model)
{
    return case_model(c, model)->part[1];
}
