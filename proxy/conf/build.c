#include "conf/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "conf/where.h"

bool build_fail(struct build *b, const struct set_at *at, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (at->line)
        return err_set(b->err, "%s:%u: %s: %s", at->where, at->line, at->key, text);
    return err_set(b->err, "%s: %s: %s", at->where, at->key, text);
}

bool build_find(struct block *block, unsigned n_blocks, struct str key, struct opt_ref *out)
{
    for (unsigned k = 0; k < n_blocks; k++)
        for (size_t i = 0; i < block[k].table->n_opts; i++)
            if (str_eq(key, str_of(block[k].table->opts[i].key))) {
                *out = (struct opt_ref){&block[k], &block[k].table->opts[i], &block[k].at[i]};
                return true;
            }
    return false;
}

bool build_is_prefix(const struct block *block, unsigned n_blocks, struct str key)
{
    for (unsigned k = 0; k < n_blocks; k++)
        for (size_t i = 0; i < block[k].table->n_opts; i++) {
            struct str whole = str_of(block[k].table->opts[i].key);
            if (whole.n > key.n && str_starts(whole, key) && whole.p[key.n] == '.')
                return true;
        }
    return false;
}

bool build_set(struct build *b, struct opt_ref *ref, const struct opt_value *value, const struct set_at *at)
{
    struct err why;
    if (ref->at->rank == at->rank && at->rank == SET_FILE)
        return build_fail(b, at, "already set at %s:%u (%s), expected one place only", ref->at->where,
                          ref->at->line, ref->at->key);
    if (!opt_set(b->arena, ref->opt, ref->block->filled, value, &why))
        return build_fail(b, at, "%s", why.text);
    *ref->at = *at;
    return true;
}

static bool is_name(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!letter && c != '_' && c != '-' && c != '.')
            return false;
    }
    return name.n > 0 && name.n <= 64;
}

struct model_build *build_model(struct build *b, struct str name)
{
    for (unsigned i = 0; i < b->n_models; i++)
        if (str_eq(name, str_of(b->model[i]->name)))
            return b->model[i];
    return NULL;
}

static struct block block_new(struct build *b, const struct opt_table *table, void *filled)
{
    opt_defaults(b->arena, table, filled);
    return (struct block){table, filled, arena_zalloc(&b->scratch, table->n_opts * sizeof(struct set_at))};
}

struct model_build *build_add_model(struct build *b, struct str name, const struct set_at *at)
{
    struct model_build *model = build_model(b, name);
    if (model)
        return model;
    if (!is_name(name)) {
        build_fail(b, at, "not a model's name, expected up to 64 letters, digits, '_', '-' and '.'");
        return NULL;
    }
    if (b->n_models == CONF_MODELS_MAX) {
        build_fail(b, at, "one model too many, expected at most %d", CONF_MODELS_MAX);
        return NULL;
    }
    model = arena_zalloc(&b->scratch, sizeof *model);
    model->name = arena_copy(b->arena, name).p;
    model->env_name = opt_env_name(&b->scratch, name).p;
    model->at = *at;
    b->model[b->n_models++] = model;
    for (unsigned i = 0; i < b->n_model_blocks; i++) {
        const struct opt_table *table = i ? b->sources->model_table[i - 1] : &conf_model_table;
        model->block[i] = block_new(b, table, arena_alloc(b->arena, table->size));
    }
    return model;
}

struct group_build *build_group(struct build *b, struct str name)
{
    for (unsigned i = 0; i < b->n_groups; i++)
        if (str_eq(name, str_of(b->group[i]->name)))
            return b->group[i];
    return NULL;
}

struct group_build *build_add_group(struct build *b, struct str name, const struct set_at *at)
{
    if (!is_name(name)) {
        build_fail(b, at, "not a group's name, expected up to 64 letters, digits, '_', '-' and '.'");
        return NULL;
    }
    if (b->n_groups == BUILD_GROUPS_MAX) {
        build_fail(b, at, "one group too many, expected at most %d", BUILD_GROUPS_MAX);
        return NULL;
    }
    struct group_build *group = arena_zalloc(&b->scratch, sizeof *group);
    group->name = arena_copy(b->arena, name).p;
    group->at = *at;
    b->group[b->n_groups++] = group;
    return group;
}

bool build_add_server(struct build *b, struct group_build *group, const char *url, const struct set_at *at)
{
    struct err why;
    struct conf_server *server = &group->server[group->n];
    if (group->n == BUILD_SERVERS_MAX)
        return build_fail(b, at, "one server too many, expected at most %d in a group", BUILD_SERVERS_MAX);
    if (!where_server(b->arena, url, server, &why))
        return build_fail(b, at, "%s", why.text);
    for (unsigned i = 0; i < group->n; i++)
        if (strcmp(group->server[i].url, server->url) == 0)
            return build_fail(b, at, "'%s' is named twice in group %s, expected each server once",
                              server->url, group->name);
    group->n++;
    return true;
}

static void init(struct build *b)
{
    static const struct set_at built_in = {SET_DEFAULT, "configuration", 0, "default"};
    arena_init(&b->scratch, NULL, 0);
    b->n_process = 1 + b->sources->n_process_tables;
    b->n_model_blocks = 1 + b->sources->n_model_tables;
    for (unsigned i = 0; i < b->n_process; i++) {
        const struct opt_table *table = i ? b->sources->process_table[i - 1] : &conf_process_table;
        void *filled = i ? arena_alloc(b->arena, table->size) : &b->conf->process;
        b->process[i] = block_new(b, table, filled);
        if (i)
            b->conf->process_part[i - 1] = filled;
    }
    build_add_model(b, STR("default"), &built_in);
}

struct conf *conf_load(const struct conf_sources *sources, struct err *err)
{
    struct conf *conf = mem_zalloc(sizeof *conf);
    struct conf_texts texts;
    conf->n_refs = 1;
    conf->private_ = mem_zalloc(sizeof *conf->private_);
    arena_init(&conf->private_->arena, NULL, 0);
    ensure(sources->n_model_tables <= CONF_TABLES_MAX && sources->n_process_tables <= CONF_TABLES_MAX);
    struct build b = {.arena = &conf->private_->arena, .sources = sources, .conf = conf, .err = err};
    init(&b);
    bool ok = files_read(&b.scratch, sources->flags.path, sources->environment, &texts, err) &&
              build_from_files(&b, &texts) && build_from_environment(&b) && build_from_switches(&b) &&
              build_from_flags(&b) && build_finish(&b);
    arena_fini(&b.scratch);
    if (!ok)
        conf_put(&conf);
    return conf;
}

struct conf *conf_get(struct conf *conf)
{
    conf->n_refs++;
    return conf;
}

void conf_put(struct conf **at)
{
    struct conf *conf = *at;
    *at = NULL;
    if (!conf || --conf->n_refs > 0)
        return;
    arena_fini(&conf->private_->arena);
    free(conf->private_);
    free(conf);
}

const struct conf_model *conf_model_of(const struct conf *conf, struct str collection)
{
    return &conf->model[claims_find(&conf->private_->claims, collection, 0)];
}

uint64_t conf_group_id(const struct conf_group *group)
{
    return XXH3_64bits(group->name, strlen(group->name)) | 1;
}

const struct conf_model *conf_model_named(const struct conf *conf, struct str model)
{
    for (unsigned i = 0; i < conf->n_models; i++)
        if (str_eq(model, str_of(conf->model[i].name)))
            return &conf->model[i];
    return NULL;
}
