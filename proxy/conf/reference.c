#include "base/ensure.h"
#include "conf/build.h"

/* Markdown: a cell must not hold the bar that ends it. */
static void cell(FILE *out, const char *text)
{
    for (; *text; text++)
        fprintf(out, *text == '|' ? "\\|" : "%c", *text);
}

static void bounds(FILE *out, const struct opt *opt)
{
    if (opt->kind == OPT_KIND_ENUM)
        for (const char *const *word = opt->words; *word; word++)
            fprintf(out, "%s`%s`", word == opt->words ? "" : ", ", *word);
    else if (opt->min || opt->max)
        fprintf(out, "%s, %s%s%s%s", opt_kind_name(opt), opt->min ? opt->min : "",
                opt->min && opt->max ? " to " : "", opt->max ? (opt->min ? "" : "at most ") : " or more",
                opt->max ? opt->max : "");
    else
        fprintf(out, "%s", opt_kind_name(opt));
}

static const char *default_of(const struct opt *opt)
{
    if (opt->kind == OPT_KIND_ENUM && !opt->fallback)
        return opt->words[0];
    return opt->fallback;
}

/* The variable that sets it: for models with the model's name behind. */
static void variable(FILE *out, struct arena *a, const struct opt *opt)
{
    const char *name = opt_env_name(a, str_of(opt->key)).p;
    const char *brief = conf_short_env(opt->key), *alias = conf_model_env_alias(opt->key);
    if (opt->file == CONF_QUIVER)
        fprintf(out, "`%s`", brief ? brief : arena_printf(a, "QUIVER_%s", name).p);
    else
        fprintf(out, "`MODEL_%s_`", alias ? alias : name);
}

static void rows_of(FILE *out, struct arena *a, const struct opt_table *table, enum conf_file file)
{
    for (size_t i = 0; i < table->n_opts; i++) {
        const struct opt *opt = &table->opts[i];
        if (opt->file != file)
            continue;
        fprintf(out, "| `%s` | ", opt->key);
        bounds(out, opt);
        fprintf(out, default_of(opt) ? " | `%s` | " : " | | ", default_of(opt));
        variable(out, a, opt);
        fprintf(out, " | ");
        cell(out, opt->help);
        fprintf(out, " |\n");
    }
}

/* ---- what to type when something is worse than before ---- */

static const struct rollback {
    const char *title, *symptom, *command, *keys, *undoes;
} rollbacks[] = {
#define ROLLBACK(...) {__VA_ARGS__},
#include "conf/rollback.def"
#undef ROLLBACK
};

/* Is the option below the key, or in the file that the key with its colon names? */
static bool is_below(const struct opt *opt, struct str key)
{
    struct str name = str_of(opt->key);
    if (key.p[key.n - 1] == ':')
        return opt->file != CONF_QUIVER && str_eq(str_of(files_top(opt->file)), str_slice(key.p, key.n - 1));
    return opt->file != CONF_QUIVER && name.n >= key.n && memcmp(name.p, key.p, key.n) == 0 &&
           (name.n == key.n || name.p[key.n] == '.');
}

/* `index_params.*` for all that begins so; said once. */
static void key_of(FILE *out, const struct opt *opt, struct str *last)
{
    struct str rest = str_of(opt->key), first = str_split(&rest, '.');
    if (last->n == first.n && memcmp(last->p, first.p, first.n) == 0)
        return;
    *last = first;
    fprintf(out, "`%.*s%s` ", STR_ARG(first), rest.p ? ".*" : "");
}

static void keys_of(FILE *out, const struct conf_sources *sources, const char *keys)
{
    struct str rest = str_of(keys), last = STR_NONE;
    while (rest.n) {
        struct str key = str_split(&rest, ' ');
        bool any = false;
        for (unsigned t = 0; t <= sources->n_model_tables; t++) {
            const struct opt_table *table = t ? sources->model_table[t - 1] : &conf_model_table;
            for (size_t i = 0; i < table->n_opts; i++)
                if (is_below(&table->opts[i], key)) {
                    key_of(out, &table->opts[i], &last);
                    any = true;
                }
        }
        ensure(any); /* rollback.def names an option that is not there */
    }
}

void conf_rollback_reference(const struct conf_sources *sources, FILE *out)
{
    fprintf(out, "| case | symptom | command | what it undoes |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof rollbacks / sizeof *rollbacks; i++) {
        const struct rollback *r = &rollbacks[i];
        fprintf(out, "| %s | %s | `%s` | ", r->title, r->symptom, r->command);
        keys_of(out, sources, r->keys);
        fprintf(out, "%s%s |\n", *r->keys ? "— " : "", r->undoes);
    }
}

void conf_reference(const struct conf_sources *sources, FILE *out)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    for (unsigned file = 0; file < CONF_FILE_COUNT; file++) {
        bool models = file != CONF_QUIVER;
        fprintf(out, "### %s\n\n", files_name(file));
        if (models)
            fprintf(out, "Below `%s:`, for each model; the variable ends in the model's name.\n\n",
                    files_top(file));
        fprintf(out, "| key | what it takes | default | variable | what it does |\n|---|---|---|---|---|\n");
        rows_of(out, &a, models ? &conf_model_table : &conf_process_table, file);
        for (unsigned i = 0; i < (models ? sources->n_model_tables : sources->n_process_tables); i++)
            rows_of(out, &a, models ? sources->model_table[i] : sources->process_table[i], file);
        fprintf(out, "\n");
    }
    arena_fini(&a);
}
