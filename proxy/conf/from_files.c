#include "conf/build.h"

/* Where a walk through a file stands: which options may be met here, and how errors call the place. */
struct walk {
    struct build *b;
    const struct conf_text *text;
    struct block *block;   /* the options that fit here */
    unsigned n_blocks;
    enum conf_file map;    /* which map: CONF_QUIVER for process options */
    const char *path;      /* "caching.mixtral." */
};

static struct set_at at_of(const struct walk *w, const struct yaml *node, const char *path)
{
    return (struct set_at){SET_FILE, w->text->name, node->key_line ? node->key_line : node->line, path};
}

/* The nearest known key, for typing errors. */
static const char *nearest(const struct block *block, unsigned n_blocks, struct str key)
{
    const char *best = NULL;
    unsigned least = key.n < 6 ? 1 : key.n < 12 ? 2 : 3;
    for (unsigned k = 0; k < n_blocks; k++)
        for (size_t i = 0; i < block[k].table->n_opts; i++) {
            unsigned far = opt_distance(key, str_of(block[k].table->opts[i].key), least);
            if (far <= least && (!best || far < least)) {
                best = block[k].table->opts[i].key;
                least = far;
            }
        }
    return best;
}

/* The same among the maps of quiver's files. */
static const char *nearest_top(struct str key)
{
    if (opt_distance(key, STR("upstreams"), 2) <= 2)
        return "upstreams";
    for (unsigned i = CONF_QUIVER + 1; i < CONF_FILE_COUNT; i++)
        if (opt_distance(key, str_of(files_top(i)), 2) <= 2)
            return files_top(i);
    return NULL;
}

static bool has_prefix(const struct opt *opt, struct str prefix)
{
    return str_starts(str_of(opt->key), prefix) && opt->key[prefix.n] == '.';
}

/* "m, ef_construct": what may stand below a key. */
static struct str below(const struct walk *w, struct str key)
{
    struct str text = STR("");
    struct str last = STR_NONE;
    for (unsigned k = 0; k < w->n_blocks; k++)
        for (size_t i = 0; i < w->block[k].table->n_opts; i++) {
            const struct opt *opt = &w->block[k].table->opts[i];
            if (key.n && !has_prefix(opt, key))
                continue;
            struct str rest = str_of(opt->key + key.n + (key.n ? 1 : 0)), one = str_split(&rest, '.');
            if (!str_eq(one, last))
                text = arena_printf(&w->b->scratch, "%.*s%s%.*s", STR_ARG(text), text.n ? ", " : "",
                                    STR_ARG(one));
            last = one;
        }
    return text;
}

static bool unknown(const struct walk *w, struct str key, const struct set_at *at)
{
    struct opt_ref ref;
    struct build *b = w->b;
    if (memchr(key.p, '.', key.n) && build_find(w->block, w->n_blocks, key, &ref))
        return build_fail(b, at, "a key with dots, expected one mapping inside the other, as in %.*s: {...}",
                          (int)((const char *)memchr(key.p, '.', key.n) - key.p), key.p);
    const char *close = nearest(w->block, w->n_blocks, key);
    if (!close && w->map == CONF_QUIVER)
        close = nearest_top(key);
    if (close)
        return build_fail(b, at, "unknown key, did you mean %s?", close);
    if (w->map == CONF_QUIVER && build_find(b->model[0]->block, b->n_model_blocks, key, &ref))
        return build_fail(b, at, "a key of models, expected below a model's name in %s: of %s",
                          files_top(ref.opt->file), files_name(ref.opt->file));
    if (w->map != CONF_QUIVER && build_find(b->process, b->n_process, key, &ref))
        return build_fail(b, at, "a key of the whole process, expected in %s, not below a model",
                          files_name(CONF_QUIVER));
    const char *dot = memrchr(key.p, '.', key.n);
    struct str parent = dot ? str_slice(key.p, (size_t)(dot - key.p)) : STR("");
    struct str known = below(w, build_is_prefix(w->block, w->n_blocks, parent) ? parent : STR(""));
    return build_fail(b, at, "unknown key, expected one of %.*s%s", (int)(known.n < 300 ? known.n : 300), known.p,
                      known.n < 300 ? "" : "...");
}

static bool set_leaf(const struct walk *w, struct opt_ref *ref, const struct yaml *node,
                     const struct set_at *at)
{
    struct opt_scalar *item = arena_alloc(&w->b->scratch, (node->n + 1) * sizeof *item);
    struct opt_value value = {item, 1, node->kind == YAML_LIST, false};
    if (w->map != CONF_QUIVER && w->map != CONF_OPTIMIZATIONS && ref->opt->file != w->map)
        return build_fail(w->b, at, "belongs into %s: of %s, found in %s:", files_top(ref->opt->file),
                          files_name(ref->opt->file), files_top(w->map));
    if (node->kind == YAML_MAP)
        return build_fail(w->b, at, "a mapping, expected a %s", opt_kind_name(ref->opt));
    item[0] = (struct opt_scalar){node->text, node->plain};
    if (node->kind == YAML_LIST) {
        value.n = 0;
        for (const struct yaml *child = node->first; child; child = child->next) {
            if (child->kind != YAML_SCALAR)
                return build_fail(w->b, at, "a list of something else than text, expected a %s",
                                  opt_kind_name(ref->opt));
            item[value.n++] = (struct opt_scalar){child->text, child->plain};
        }
    }
    return build_set(w->b, ref, &value, at);
}

/* One key of a mapping of options: sets it, or goes down. prefix: "redis." inside redis: */
static bool walk_key(const struct walk *w, struct str prefix, const struct yaml *node)
{
    struct opt_ref ref;
    struct str key = arena_printf(&w->b->scratch, "%.*s%.*s", STR_ARG(prefix), STR_ARG(node->key));
    struct set_at at = at_of(w, node, arena_printf(&w->b->scratch, "%s%s", w->path, key.p).p);
    bool dotted = memchr(node->key.p, '.', node->key.n) != NULL;
    if (!dotted && build_find(w->block, w->n_blocks, key, &ref) &&
        !(node->kind == YAML_MAP && build_is_prefix(w->block, w->n_blocks, key)))
        return set_leaf(w, &ref, node, &at);
    /* A key with a value and keys below it: inside a mapping its own value is `listen`. */
    if (prefix.n && str_eq(node->key, STR("listen")) &&
        build_find(w->block, w->n_blocks, str_slice(prefix.p, prefix.n - 1), &ref))
        return set_leaf(w, &ref, node, &at);
    if (dotted || !build_is_prefix(w->block, w->n_blocks, key))
        return unknown(w, key, &at);
    if (node->kind != YAML_MAP && !yaml_is_null(node))
        return build_fail(w->b, &at, "a %s, expected a mapping with %s",
                          node->kind == YAML_LIST ? "list" : "single value", below(w, key).p);
    struct str inner = arena_printf(&w->b->scratch, "%s.", key.p);
    for (const struct yaml *child = node->first; child; child = child->next)
        if (!walk_key(w, inner, child))
            return false;
    return true;
}

static bool walk_models(struct build *b, const struct conf_text *text, enum conf_file map,
                        const struct yaml *top)
{
    struct walk w = {.b = b, .text = text, .n_blocks = b->n_model_blocks, .map = map};
    struct set_at at = at_of(&w, top, files_top(map));
    if (top->kind != YAML_MAP && !yaml_is_null(top))
        return build_fail(b, &at, "not a mapping, expected models and their keys, as in mixtral: {...}");
    for (const struct yaml *node = top->first; node; node = node->next) {
        const char *path = arena_printf(&b->scratch, "%s.%.*s", files_top(map), STR_ARG(node->key)).p;
        at = at_of(&w, node, path);
        struct model_build *model = build_add_model(b, node->key, &at);
        if (!model)
            return false;
        if (node->kind != YAML_MAP && !yaml_is_null(node))
            return build_fail(b, &at, "not a mapping, expected keys of the model, as in {vector_size: 4096}");
        w.block = model->block;
        w.path = arena_printf(&b->scratch, "%s.", path).p;
        for (const struct yaml *child = node->first; child; child = child->next)
            if (!walk_key(&w, STR(""), child))
                return false;
    }
    return true;
}

static bool add_server(struct build *b, struct group_build *group, const struct yaml *node, struct set_at at)
{
    at.line = node->line;
    if (node->kind != YAML_SCALAR)
        return build_fail(b, &at, "not a server's address, expected http://HOST:PORT");
    return build_add_server(b, group, node->text.p, &at);
}

/* default: URL, default: [URL, ...] or default: {servers: [URL, ...]} */
static bool walk_group(struct build *b, struct group_build *group, const struct yaml *node, struct set_at at)
{
    if (node->kind == YAML_MAP) {
        const struct yaml *servers = node->first;
        if (!servers || servers->next || !str_eq(servers->key, STR("servers")) || servers->kind == YAML_MAP)
            return build_fail(
                b, &at, "not a group, expected an address, a list of them, or {servers: [http://HOST:PORT]}");
        node = servers;
    }
    if (node->kind == YAML_SCALAR)
        return add_server(b, group, node, at);
    for (const struct yaml *child = node->first; child; child = child->next)
        if (!add_server(b, group, child, at))
            return false;
    return group->n > 0 || build_fail(b, &at, "a group without servers, expected http://HOST:PORT");
}

static bool walk_upstreams(struct build *b, const struct conf_text *text, const struct yaml *top)
{
    struct walk w = {.b = b, .text = text};
    struct set_at at = at_of(&w, top, "upstreams");
    if (yaml_is_null(top))
        return true;
    if (top->kind != YAML_MAP)
        return build_fail(b, &at, "not a mapping, expected groups, as in {default: http://127.0.0.1:6334}");
    for (const struct yaml *node = top->first; node; node = node->next) {
        at = at_of(&w, node, arena_printf(&b->scratch, "upstreams.%.*s", STR_ARG(node->key)).p);
        struct group_build *group = build_add_group(b, node->key, &at);
        if (!group || !walk_group(b, group, node, at))
            return false;
    }
    return true;
}

static bool top_of(struct str key, enum conf_file *out)
{
    for (unsigned i = CONF_QUIVER + 1; i < CONF_FILE_COUNT; i++)
        if (str_eq(key, str_of(files_top(i)))) {
            *out = i;
            return true;
        }
    return false;
}

static bool walk_top(const struct walk *w, const struct yaml *node)
{
    enum conf_file map = CONF_QUIVER;
    bool is_map = top_of(node->key, &map);
    struct set_at at = at_of(w, node, node->key.p);
    if (!w->text->is_whole && is_map && map != w->text->file)
        return build_fail(w->b, &at, "found in %s, expected in %s", files_name(w->text->file),
                          files_name(map));
    if (!w->text->is_whole && !is_map && w->text->file != CONF_QUIVER)
        return build_fail(w->b, &at,
                          "found in %s, expected %s: only; what concerns the whole process belongs into %s",
                          files_name(w->text->file), files_top(w->text->file), files_name(CONF_QUIVER));
    if (is_map)
        return walk_models(w->b, w->text, map, node);
    if (str_eq(node->key, STR("upstreams")))
        return walk_upstreams(w->b, w->text, node);
    return walk_key(w, STR(""), node);
}

bool build_from_files(struct build *b, const struct conf_texts *texts)
{
    for (unsigned i = 0; i < texts->n; i++) {
        const struct conf_text *text = &texts->text[i];
        struct yaml *root = yaml_parse(&b->scratch, text->name, text->text, b->err);
        struct walk w = {b, text, b->process, b->n_process, CONF_QUIVER, ""};
        if (!root)
            return false;
        for (const struct yaml *node = root->first; node; node = node->next)
            if (!walk_top(&w, node))
                return false;
    }
    return true;
}
