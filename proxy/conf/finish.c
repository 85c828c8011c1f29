#include <stdio.h>

#include "conf/build.h"
#include "conf/where.h"

enum { KEY_BYTES_MAX = 4096 };

/* Where a process option was set, for messages about it. */
static struct set_at at_of(struct build *b, const char *key)
{
    struct opt_ref ref;
    if (build_find(b->process, b->n_process, str_of(key), &ref) && ref.at->rank != SET_DEFAULT)
        return *ref.at;
    return (struct set_at){SET_DEFAULT, "default", 0, key};
}

/* A check's message "key: sentence" gets the place where that key was set, else the model's own; of "key, key: sentence" the first that was. */
static bool check_block(struct build *b, struct block *block, const struct set_at *otherwise)
{
    char text[300] = "";
    struct opt_ref ref;
    if (!block->table->check || block->table->check(block->filled, text, sizeof text))
        return true;
    struct str rest = str_of(text), keys = str_split(&rest, ':');
    if (!rest.p)
        return build_fail(b, otherwise, "%s", text);
    rest = str_trim(rest, " ");
    while (keys.p)
        if (build_find(block, 1, str_trim(str_split(&keys, ','), " "), &ref) && ref.at->rank != SET_DEFAULT)
            return build_fail(b, ref.at, "%.*s", STR_ARG(rest));
    return build_fail(b, otherwise, "%s", text);
}

static bool check_tables(struct build *b)
{
    static const struct set_at process = {SET_DEFAULT, "configuration", 0, "quiver.yaml"};
    for (unsigned i = 0; i < b->n_process; i++)
        if (!check_block(b, &b->process[i], &process))
            return false;
    for (unsigned m = 0; m < b->n_models; m++)
        for (unsigned i = 0; i < b->n_model_blocks; i++)
            if (!check_block(b, &b->model[m]->block[i], &b->model[m]->at))
                return false;
    return true;
}

static bool add_where(struct build *b, const char *text, const struct set_at *at, struct conf_where *to,
                      unsigned *n)
{
    struct conf_where where[2];
    struct err why;
    unsigned got;
    if (!where_parse(b->arena, text, where, &got, &why))
        return build_fail(b, at, "%s", why.text);
    for (unsigned k = 0; k < got; k++) {
        for (unsigned i = 0; i < *n; i++)
            if (where_overlaps(&where[k], &to[i]))
                return build_fail(b, at, "'%s' and '%s' are the same place, expected each once", to[i].text,
                                  where[k].text);
        to[(*n)++] = where[k];
    }
    return true;
}

static bool finish_listeners(struct build *b)
{
    struct conf *c = b->conf;
    const struct conf_process *p = &c->process;
    struct set_at at = at_of(b, "listen");
    c->listen = arena_zalloc(b->arena, 2 * (p->listen.n + 1) * sizeof *c->listen);
    for (unsigned i = 0; i < p->listen.n; i++)
        if (!add_where(b, p->listen.text[i], &at, c->listen, &c->n_listen))
            return false;
    c->api = arena_zalloc(b->arena, 2 * sizeof *c->api);
    at = at_of(b, "api");
    if (strcmp(p->api, "off") != 0 && !add_where(b, p->api, &at, c->api, &c->n_api))
        return false;
    for (unsigned i = 0; i < c->n_api; i++)
        for (unsigned k = 0; k < c->n_listen; k++)
            if (where_overlaps(&c->api[i], &c->listen[k]))
                return build_fail(b, &at, "'%s' is where clients connect ('%s'), expected another port",
                                  c->api[i].text, c->listen[k].text);
    return true;
}

static bool finish_redis(struct build *b)
{
    struct err why;
    struct set_at at = at_of(b, "redis.url");
    struct conf_process *p = &b->conf->process;
    return where_redis(b->arena, p->redis_url, &p->redis, &why) || build_fail(b, &at, "%s", why.text);
}

/* A key travels in a header: printable ASCII without blanks. */
static bool check_key(struct build *b, const struct set_at *at, const char *key)
{
    for (const char *c = key; *c; c++)
        if (*c <= 0x20 || *c >= 0x7f)
            return build_fail(
                b, at, "a key with bytes that no header can carry, expected printable ASCII without blanks");
    return true;
}

/* Secrets that may be kept in a file of their own: the file's text becomes the key's value. */
static const struct {
    const char *key, *file_key;
    size_t value, file;
} secrets[] = {
#define SECRET(key, member) \
    {key, key "_file", offsetof(struct conf_process, member), offsetof(struct conf_process, member##_file)}
    SECRET("upstream.api_key", api_key),
    SECRET("api.token", api_token),
    SECRET("api.read_token", api_read_token),
#undef SECRET
};

static bool finish_secret(struct build *b, const char *key, const char *file_key, const char **value,
                          const char *path)
{
    struct set_at at = at_of(b, key), file = at_of(b, file_key);
    struct str text;
    struct err why;
    if (*value && !**value)
        return build_fail(b, &at, "empty, expected a key, or nothing at all");
    if (!path || (*value && at.rank > file.rank))
        return !*value || check_key(b, &at, *value);
    if (*value && at.rank == file.rank)
        return build_fail(b, &file, "set beside %s, expected one of the two", key);
    if (!files_slurp(&b->scratch, path, KEY_BYTES_MAX, &text, &why))
        return build_fail(b, &file, "%s", why.text);
    text = str_trim(text, " \t\r\n");
    if (text.n == 0)
        return build_fail(b, &file, "%s is empty, expected a key", path);
    if (memchr(text.p, 0, text.n))
        return build_fail(b, &file, "%s is not text, expected a key", path);
    *value = arena_copy(b->arena, text).p;
    return check_key(b, &file, *value);
}

static bool finish_secrets(struct build *b)
{
    char *p = (char *)&b->conf->process;
    for (unsigned i = 0; i < sizeof secrets / sizeof *secrets; i++)
        if (!finish_secret(b, secrets[i].key, secrets[i].file_key, (const char **)(p + secrets[i].value),
                           *(const char **)(p + secrets[i].file)))
            return false;
    return true;
}

static bool check_not_own(struct build *b, const struct group_build *group, const struct conf_server *server,
                          const struct conf_where *where, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (where_is_own(&where[i], server))
            return build_fail(b, &group->at, "'%s' is quiver's own listener '%s', expected Qdrant's address",
                              server->url, where[i].text);
    return true;
}

static bool finish_groups(struct build *b)
{
    struct conf *c = b->conf;
    c->group = arena_zalloc(b->arena, (b->n_groups + 1) * sizeof *c->group);
    for (unsigned i = 0; i < b->n_groups; i++) {
        const struct group_build *from = b->group[i];
        struct conf_group *to = &c->group[c->n_groups++];
        *to = (struct conf_group){from->name, arena_alloc(b->arena, from->n * sizeof *to->server), from->n};
        memcpy(to->server, from->server, from->n * sizeof *to->server);
        for (unsigned k = 0; k < from->n; k++)
            if (!check_not_own(b, from, &from->server[k], c->listen, c->n_listen) ||
                !check_not_own(b, from, &from->server[k], c->api, c->n_api))
                return false;
    }
    return c->n_groups > 0 ||
           err_set(b->err, "upstreams: no upstream is named anywhere, expected a line such as "
                           "\"upstreams: {default: http://127.0.0.1:6334}\" in quiver.yaml, or --upstream "
                           "http://127.0.0.1:6334");
}

static bool find_group(struct build *b, const struct model_build *model, const char *name, unsigned *out)
{
    struct str names = STR("");
    struct opt_ref ref;
    ref.at = NULL;
    for (unsigned i = 0; i < b->n_groups; i++) {
        names = arena_printf(&b->scratch, "%.*s%s%s", STR_ARG(names), i ? ", " : "", b->group[i]->name);
        if (strcmp(b->group[i]->name, name) == 0) {
            *out = i;
            return true;
        }
    }
    build_find((struct block *)model->block, 1, STR("upstream"), &ref);
    const struct set_at *at = ref.at->rank == SET_DEFAULT ? &model->at : ref.at;
    return build_fail(b, at,
                      "model %s needs the group '%s' of upstreams, which is not there; expected one of %.*s, "
                      "or that group in upstreams:",
                      model->name, name, (int)(names.n < 100 ? names.n : 100), names.p);
}

static bool finish_models(struct build *b)
{
    struct conf *c = b->conf;
    c->model = arena_zalloc(b->arena, b->n_models * sizeof *c->model);
    for (unsigned i = 0; i < b->n_models; i++) {
        struct model_build *from = b->model[i];
        struct conf_model *to = &c->model[c->n_models++];
        to->name = from->name;
        to->index = i;
        memcpy(&to->base, from->block[0].filled, sizeof to->base);
        for (unsigned k = 1; k < b->n_model_blocks; k++)
            to->part[k - 1] = from->block[k].filled;
        if (!to->base.collections.text && i > 0) {
            to->base.collections = (struct opt_texts){arena_alloc(b->arena, sizeof(char *)), 1};
            to->base.collections.text[0] = to->name;
        }
        if (!find_group(b, from, to->base.upstream, &to->group))
            return false;
    }
    return true;
}

static struct set_at claim_at(struct build *b, unsigned model)
{
    struct opt_ref ref;
    if (build_find(b->model[model]->block, 1, STR("collections"), &ref) && ref.at->rank != SET_DEFAULT)
        return *ref.at;
    return b->model[model]->at;
}

static bool fail_tie(struct build *b, const struct claim_tie *tie)
{
    struct set_at one = claim_at(b, tie->a->model), two = claim_at(b, tie->b->model);
    const struct claim *first = tie->a, *last = tie->b;
    if (first->model > last->model) {
        struct set_at at = one;
        one = two, two = at;
        first = tie->b, last = tie->a;
    }
    return build_fail(
        b, &two, "'%.*s' ties with '%.*s' of model %s (%s:%u), expected patterns of which one is longer",
        STR_ARG(last->pattern), STR_ARG(first->pattern), b->model[first->model]->name, one.where, one.line);
}

static bool finish_claims(struct build *b)
{
    struct conf *c = b->conf;
    struct claim_tie tie;
    unsigned n = 0, n_globs = 0;
    for (unsigned i = 0; i < c->n_models; i++)
        n += c->model[i].base.collections.n;
    struct claim *claim = arena_alloc(&b->scratch, (n + 1) * sizeof *claim);
    n = 0;
    for (unsigned i = 0; i < c->n_models; i++)
        for (unsigned k = 0; k < c->model[i].base.collections.n; k++) {
            struct str pattern = str_of(c->model[i].base.collections.text[k]);
            struct set_at at = claim_at(b, i);
            if (i == 0)
                return build_fail(
                    b, &at, "a pattern for the model default, expected none: it gets what no model claims");
            if (pattern.n > 255 || memchr(pattern.p, '/', pattern.n))
                return build_fail(b, &at,
                                  "'%.60s' is not a collection's name, expected up to 255 bytes without '/'",
                                  pattern.p);
            n_globs += glob_is(pattern);
            if (n_globs > CLAIM_GLOBS_MAX)
                return build_fail(b, &at, "too many patterns with * or ?, expected at most %d",
                                  CLAIM_GLOBS_MAX);
            claim[n++] = (struct claim){pattern, i, 0};
        }
    return claims_build(b->arena, &c->private_->claims, claim, n, &tie) || fail_tie(b, &tie);
}

bool build_finish(struct build *b)
{
    return check_tables(b) && finish_listeners(b) && finish_redis(b) && finish_secrets(b) &&
           finish_groups(b) && finish_models(b) && finish_claims(b);
}
