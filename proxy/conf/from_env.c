#include "conf/build.h"

static const char environment_name[] = "environment", command_line[] = "command line";

static bool set_word(struct build *b, struct opt_ref *ref, const char *text, const struct set_at *at)
{
    struct opt_scalar item = {str_of(text), true};
    return build_set(b, ref, &(struct opt_value){&item, 1, false, true}, at);
}

/* The group "default" as a whole, instead of what the files say. */
static bool replace_default_group(struct build *b, const char *const *urls, unsigned n,
                                  const struct set_at *at)
{
    struct group_build *group = build_group(b, STR("default"));
    if (!group)
        group = build_add_group(b, STR("default"), at);
    if (!group)
        return false;
    group->n = 0;
    group->at = *at;
    for (unsigned i = 0; i < n; i++)
        if (!build_add_server(b, group, urls[i], at))
            return false;
    return true;
}

static bool upstream_variable(struct build *b)
{
    enum { ROOM = BUILD_SERVERS_MAX + 1 };
    static const struct set_at at = {SET_ENVIRONMENT, environment_name, 0, "QUIVER_UPSTREAM"};
    const char *urls[ROOM];
    unsigned n = 0;
    struct str rest = str_of(files_env(b->sources->environment, at.key));
    while (rest.p && n < ROOM) {
        struct str one = str_trim(str_split(&rest, ','), " ");
        if (one.n == 0)
            return build_fail(b, &at,
                              "an empty item, expected http://HOST:PORT, more of them with commas between");
        urls[n++] = arena_copy(&b->scratch, one).p;
    }
    return n == 0 || replace_default_group(b, urls, n, &at);
}

static bool process_variables(struct build *b)
{
    for (unsigned k = 0; k < b->n_process; k++)
        for (size_t i = 0; i < b->process[k].table->n_opts; i++) {
            const struct opt *opt = &b->process[k].table->opts[i];
            const char *name =
                arena_printf(&b->scratch, "QUIVER_%s", opt_env_name(&b->scratch, str_of(opt->key)).p).p;
            const char *value = files_env(b->sources->environment, name);
            const char *brief = conf_short_env(opt->key);
            if (!value && brief)
                value = files_env(b->sources->environment, name = brief);
            struct set_at at = {SET_ENVIRONMENT, environment_name, 0, name};
            struct opt_ref ref = {&b->process[k], opt, &b->process[k].at[i]};
            if (value && !set_word(b, &ref, value, &at))
                return false;
        }
    return true;
}

/* The option that operators call KEY in MODEL_<KEY>_<MODEL>. */
static bool find_by_env_key(struct build *b, struct model_build *model, struct str key, struct opt_ref *out)
{
    for (unsigned k = 0; k < b->n_model_blocks; k++)
        for (size_t i = 0; i < model->block[k].table->n_opts; i++) {
            const struct opt *opt = &model->block[k].table->opts[i];
            const char *alias = conf_model_env_alias(opt->key);
            if (str_eq(key, opt_env_name(&b->scratch, str_of(opt->key))) ||
                (alias && str_eq(key, str_of(alias)))) {
                *out = (struct opt_ref){&model->block[k], opt, &model->block[k].at[i]};
                return true;
            }
        }
    return false;
}

/* text ends in _<MODEL>: the key before it, or nothing. */
static struct str key_before(struct str text, const struct model_build *model)
{
    struct str name = str_of(model->env_name);
    if (text.n < name.n + 2 || text.p[text.n - name.n - 1] != '_' ||
        !str_eq(str_slice(text.p + text.n - name.n, name.n), name))
        return STR_NONE;
    return str_slice(text.p, text.n - name.n - 1);
}

/* text begins with KEY_ for a key of two words or more: MODEL_CACHE_DIR is some other program's. */
static const char *key_at_front(struct build *b, struct str text)
{
    for (unsigned k = 0; k < b->n_model_blocks; k++)
        for (size_t i = 0; i < b->model[0]->block[k].table->n_opts; i++) {
            const struct opt *opt = &b->model[0]->block[k].table->opts[i];
            const char *alias = conf_model_env_alias(opt->key);
            struct str name = opt_env_name(&b->scratch, str_of(opt->key));
            if (alias && str_starts(text, str_of(alias)) && text.p[strlen(alias)] == '_')
                return opt->key;
            if (memchr(name.p, '_', name.n) && str_starts(text, name) && text.p[name.n] == '_')
                return opt->key;
        }
    return NULL;
}

static struct str model_names(struct build *b)
{
    struct str text = STR("");
    for (unsigned i = 0; i < b->n_models; i++)
        text = arena_printf(&b->scratch, "%.*s%s%s", STR_ARG(text), i ? ", " : "", b->model[i]->env_name);
    return text.n < 300 ? text : str_slice(text.p, 300);
}

static bool model_variable(struct build *b, const char *variable)
{
    const char *equals = strchr(variable, '=');
    struct str text = {variable + 6, (size_t)(equals - variable) - 6};
    struct set_at at = {SET_ENVIRONMENT, environment_name, 0,
                        arena_copy(&b->scratch, str_slice(variable, text.n + 6)).p};
    struct model_build *best = NULL, *named = NULL, *twin = NULL;
    struct opt_ref ref = {0}, one;
    text.p = at.key + 6; /* NUL-terminated */
    for (unsigned i = 0; i < b->n_models; i++) {
        struct model_build *model = b->model[i];
        struct str key = key_before(text, model);
        if (!key.n)
            continue;
        if (!named || strlen(model->env_name) > strlen(named->env_name))
            named = model;
        if (!find_by_env_key(b, model, key, &one) ||
            (best && strlen(model->env_name) < strlen(best->env_name)))
            continue;
        twin = best && strcmp(best->env_name, model->env_name) == 0 ? best : NULL;
        best = model;
        ref = one;
    }
    if (twin)
        return build_fail(b, &at, "means model %s as well as %s, expected to be set in the files", twin->name,
                          best->name);
    if (best)
        return set_word(b, &ref, equals + 1, &at);
    if (named)
        return build_fail(b, &at, "'%.*s' is no key of models, expected one such as MODEL_CACHE_TTL_%s",
                          STR_ARG(key_before(text, named)), named->env_name);
    if (key_at_front(b, text))
        return build_fail(b, &at, "names %s but no model, expected its end to be one of %.*s",
                          key_at_front(b, text), STR_ARG(model_names(b)));
    return true; /* some other program's */
}

bool build_from_environment(struct build *b)
{
    if (!upstream_variable(b) || !process_variables(b))
        return false;
    for (char *const *e = b->sources->environment; e && *e; e++) {
        const char *equals = strchr(*e, '=');
        if (strncmp(*e, "MODEL_", 6) == 0 && equals && equals > *e + 6 && equals[1] && !model_variable(b, *e))
            return false;
    }
    return true;
}

bool build_from_switches(struct build *b)
{
    for (unsigned i = 0; i < b->sources->n_switches; i++) {
        const struct conf_switch *s = &b->sources->switches[i];
        struct model_build *model = build_model(b, str_of(s->model));
        struct set_at at = {SET_SWITCH, "switch", 0, arena_printf(&b->scratch, "%s.%s", s->model, s->key).p};
        struct opt_ref ref;
        if (!model)
            continue;
        if (!build_find(model->block, b->n_model_blocks, str_of(s->key), &ref))
            return build_fail(b, &at, "no key of models, expected one that has a table");
        if (!set_word(b, &ref, s->value, &at))
            return false;
    }
    return true;
}

static bool flag_word(struct build *b, const char *key, const char *flag, const char *value)
{
    struct opt_ref ref;
    struct set_at at = {SET_FLAG, command_line, 0, flag};
    if (!value)
        return true;
    if (!build_find(b->process, b->n_process, str_of(key), &ref))
        return build_fail(b, &at, "sets %s, which this build does not have", key);
    return set_word(b, &ref, value, &at);
}

static bool listen_flags(struct build *b)
{
    const struct conf_flags *flags = &b->sources->flags;
    struct set_at at = {SET_FLAG, command_line, 0, "--listen"};
    struct opt_ref ref;
    struct opt_scalar *item = arena_alloc(&b->scratch, (flags->n_listen + 1) * sizeof *item);
    if (flags->n_listen == 0)
        return true;
    for (unsigned i = 0; i < flags->n_listen; i++)
        item[i] = (struct opt_scalar){str_of(flags->listen[i]), true};
    return build_find(b->process, b->n_process, STR("listen"), &ref) &&
           build_set(b, &ref, &(struct opt_value){item, flags->n_listen, true, false}, &at);
}

bool build_from_flags(struct build *b)
{
    const struct conf_flags *flags = &b->sources->flags;
    static const char *const words[] = {"off", "on"};
    struct set_at at = {SET_FLAG, command_line, 0, "--upstream"};
    const char *workers = flags->workers < 0 ? NULL : arena_printf(&b->scratch, "%d", flags->workers).p;
    if (flags->n_upstream && !replace_default_group(b, flags->upstream, flags->n_upstream, &at))
        return false;
    return listen_flags(b) && flag_word(b, "api", "--api", flags->api) &&
           flag_word(b, "redis.url", "--redis", flags->redis) &&
           flag_word(b, "cache.enabled", "--cache", flags->cache < 0 ? NULL : words[flags->cache > 0]) &&
           flag_word(b, "rewrite.enabled", "--rewrite",
                     flags->rewrite < 0 ? NULL : words[flags->rewrite > 0]) &&
           flag_word(b, "workers", "--workers", workers) && flag_word(b, "pid", "--pid", flags->pid_file);
}
