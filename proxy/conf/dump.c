#include <stdlib.h>

#include "conf/build.h"
#include "conf/value.h"

/* One key on its way out. */
struct row {
    struct str key, text;
    const char *comment; /* instead of the key and its value */
    bool done;
};

struct rows {
    struct row *row;
    unsigned n;
    struct arena *arena;
};

/* redis://user:password@host: the address without the password. */
static struct str without_password(struct arena *a, struct str url)
{
    const char *at = memrchr(url.p, '@', url.n);
    if (at)
        return arena_printf(a, "redis://(set)@%s", at + 1);
    struct str rest = url;
    return arena_printf(a, "%.*s?(set)", STR_ARG(str_split(&rest, '?')));
}

static bool has_password(const struct opt *opt, const struct conf_process *p)
{
    return strcmp(opt->key, "redis.url") == 0 && p->redis.password;
}

/* Where a secret came from: the row named as it is with _file behind may name a file. */
static const char *secret_comment(struct arena *a, const struct opt *opt, const struct conf *c)
{
    struct str file_key = arena_printf(a, "%s_file", opt->key);
    for (size_t i = 0; i < conf_process_table.n_opts; i++) {
        const struct opt *file = &conf_process_table.opts[i];
        const char *name = strrchr(file->key, '.');
        if (str_eq(file_key, str_of(file->key)) && opt_is_set(file, &c->process))
            return arena_printf(a, "(read from %s)", name ? name + 1 : file->key).p;
    }
    return "(set)";
}

static struct row row_of(struct arena *a, const struct opt *opt, const void *filled, const struct conf *c,
                         bool is_process)
{
    struct row row = {.key = str_of(opt->key)};
    if (opt->secret)
        row.comment = secret_comment(a, opt, c);
    else if (is_process && has_password(opt, &c->process))
        row.comment = arena_printf(a, "%s, a password is not printed: set it by QUIVER_REDIS",
                                   without_password(a, str_of(c->process.redis_url)).p).p;
    else
        row.text = opt_print(a, opt, filled);
    return row;
}

/* The set options of one table that belong into this file. */
static void collect(struct arena *a, const struct opt_table *table, const void *filled, enum conf_file file,
                    const struct conf *c, struct rows *rows)
{
    for (size_t i = 0; i < table->n_opts; i++) {
        const struct opt *opt = &table->opts[i];
        if (opt->file == file && opt_is_set(opt, filled))
            rows->row[rows->n++] = row_of(a, opt, filled, c, file == CONF_QUIVER);
    }
}

static void indent(FILE *out, unsigned depth)
{
    fprintf(out, "%*s", (int)(2 * depth), "");
}

/* A key with a value that has keys below it as well: its own value stands there as `listen`. */
static bool has_below(const struct rows *rows, struct str key)
{
    for (unsigned i = 0; i < rows->n; i++)
        if (rows->row[i].key.n > key.n && str_starts(rows->row[i].key, key) && rows->row[i].key.p[key.n] == '.')
            return true;
    return false;
}

/* Rows whose keys begin with prefix, those with a common next part under one line. */
static void emit(FILE *out, struct rows *rows, struct str prefix, unsigned depth)
{
    for (unsigned i = 0; i < rows->n; i++) {
        struct row *row = &rows->row[i];
        if (row->done || !str_starts(row->key, prefix))
            continue;
        struct str rest = str_slice(row->key.p + prefix.n, row->key.n - prefix.n),
                   part = str_split(&rest, '.');
        indent(out, depth);
        if (rest.p) {
            fprintf(out, "%.*s:\n", STR_ARG(part));
            emit(out, rows, str_slice(row->key.p, prefix.n + part.n + 1), depth + 1);
            continue;
        }
        if (!row->comment && has_below(rows, row->key)) {
            row->done = true;
            fprintf(out, "%.*s:\n", STR_ARG(part));
            indent(out, depth + 1);
            fprintf(out, "listen: %.*s\n", STR_ARG(row->text));
            emit(out, rows, arena_printf(rows->arena, "%.*s.", STR_ARG(row->key)), depth + 1);
            continue;
        }
        if (row->comment)
            fprintf(out, "# %.*s: %s\n", STR_ARG(part), row->comment);
        else
            fprintf(out, "%.*s: %.*s\n", STR_ARG(part), STR_ARG(row->text));
        row->done = true;
    }
}

static unsigned most_rows(const struct conf_sources *sources)
{
    size_t n = conf_process_table.n_opts + conf_model_table.n_opts;
    for (unsigned i = 0; i < sources->n_model_tables; i++)
        n += sources->model_table[i]->n_opts;
    for (unsigned i = 0; i < sources->n_process_tables; i++)
        n += sources->process_table[i]->n_opts;
    return (unsigned)n + 1;
}

static void dump_process(struct arena *a, const struct conf *c, const struct conf_sources *sources, FILE *out)
{
    struct rows rows = {arena_alloc(a, most_rows(sources) * sizeof(struct row)), 0, a};
    collect(a, &conf_process_table, &c->process, CONF_QUIVER, c, &rows);
    for (unsigned i = 0; i < sources->n_process_tables; i++)
        collect(a, sources->process_table[i], c->process_part[i], CONF_QUIVER, c, &rows);
    emit(out, &rows, STR(""), 0);
}

static void dump_groups(struct arena *a, const struct conf *c, FILE *out)
{
    fprintf(out, "upstreams:\n");
    for (unsigned i = 0; i < c->n_groups; i++) {
        fprintf(out, "  %s: [", value_quote(a, str_of(c->group[i].name)).p);
        for (unsigned k = 0; k < c->group[i].n_servers; k++)
            fprintf(out, "%s%s", k ? ", " : "", value_quote(a, str_of(c->group[i].server[k].url)).p);
        fprintf(out, "]\n");
    }
}

static void dump_models(struct arena *a, const struct conf *c, const struct conf_sources *sources,
                        enum conf_file file, FILE *out)
{
    bool any = false;
    for (unsigned m = 0; m < c->n_models; m++) {
        struct rows rows = {arena_alloc(a, most_rows(sources) * sizeof(struct row)), 0, a};
        collect(a, &conf_model_table, &c->model[m].base, file, c, &rows);
        for (unsigned i = 0; i < sources->n_model_tables; i++)
            collect(a, sources->model_table[i], c->model[m].part[i], file, c, &rows);
        if (rows.n == 0)
            continue;
        if (!any)
            fprintf(out, "%s:\n", files_top(file));
        any = true;
        fprintf(out, "  %s:\n", value_quote(a, str_of(c->model[m].name)).p);
        emit(out, &rows, STR(""), 2);
    }
}

void conf_dump(const struct conf *c, const struct conf_sources *sources, FILE *out)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    dump_process(&a, c, sources, out);
    dump_groups(&a, c, out);
    for (unsigned file = CONF_QUIVER + 1; file < CONF_FILE_COUNT; file++)
        dump_models(&a, c, sources, file, out);
    arena_fini(&a);
}
