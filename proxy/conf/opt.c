#include "conf/opt.h"

#include <math.h>
#include <stdio.h>

#include "base/ensure.h"
#include "conf/value.h"
#include "conf/yaml.h"

enum { SHOWN_MAX = 48, KNOB_UINT_MAX = 1000000000 };

/* What a kind is called and what would be right: the same words in every error and in the reference. */
struct kind_text {
    const char *name, *a_name, *expected;
};

static const struct kind_text kinds[] = {
    [OPT_KIND_BOOL] = {"true or false", "true or false", "true or false"},
    [OPT_KIND_UINT] = {"whole number", "a whole number", "one such as 16"},
    [OPT_KIND_REAL] = {"number", "a number", "one such as 0.95"},
    [OPT_KIND_USEC] = {"duration", "a duration", "one such as 250ms, 30s or 5m (a plain number is seconds)"},
    [OPT_KIND_BYTES] = {"size", "a size", "one such as 64MiB or 8GB (a plain number is bytes)"},
    [OPT_KIND_ENUM] = {"word", "one of the words", NULL},
    [OPT_KIND_TEXT] = {"text", "text", "text on one line"},
    [OPT_KIND_TEXTS] = {"list of text", "text", "text or a list of text"},
    [OPT_KIND_KNOB] = {"value", "a value", NULL},
};

static const struct kind_text knobs[] = {
    {"whole number", "a whole number", "one such as 64"},
    {"true or false", "true or false", "true or false"},
    {"number", "a number", "one such as 1.5"},
};

static const struct kind_text *kind_of(const struct opt *opt)
{
    return opt->kind == OPT_KIND_KNOB ? &knobs[opt->knob_kind] : &kinds[opt->kind];
}

const char *opt_kind_name(const struct opt *opt)
{
    return kind_of(opt)->name;
}

/* The found text as a message may show it: cut, and never a secret. */
#define SHOWN(opt, text)                       \
    (int)((opt)->secret          ? 8           \
          : (text).n < SHOWN_MAX ? (text).n    \
                                 : SHOWN_MAX), \
        (opt)->secret ? "(secret)" : (text).p

static struct str words_of(struct arena *a, const struct opt *opt)
{
    struct str text = STR("");
    for (const char *const *word = opt->words; *word; word++)
        text = arena_printf(a, "%.*s%s%s", STR_ARG(text), text.n ? ", " : "", *word);
    return text;
}

static bool wrong(struct arena *a, const struct opt *opt, struct opt_scalar found, struct err *err)
{
    const struct kind_text *kind = kind_of(opt);
    if (opt->kind == OPT_KIND_ENUM)
        return err_set(err, "'%.*s' is not a known word, expected one of %s", SHOWN(opt, found.text),
                       words_of(a, opt).p);
    if (!found.plain)
        return err_set(err, "'%.*s' in quotes is text, expected %s, %s, without quotes",
                       SHOWN(opt, found.text), kind->a_name, kind->expected);
    if (kind->name == kind->expected) /* true or false */
        return err_set(err, "'%.*s' is not %s, expected one of these two words", SHOWN(opt, found.text),
                       kind->name);
    return err_set(err, "'%.*s' is not %s, expected %s", SHOWN(opt, found.text), kind->a_name,
                   kind->expected);
}

union number {
    uint64_t u;
    double real;
};

/* Numbers of all kinds: plain ones without quotes, those with a unit either way. */
static bool parse_number(const struct opt *opt, struct opt_scalar s, union number *out)
{
    bool has_unit = false;
    switch (opt->kind) {
    case OPT_KIND_UINT:
        return s.plain && value_uint(s.text, &out->u);
    case OPT_KIND_REAL:
        return s.plain && value_real(s.text, &out->real);
    case OPT_KIND_USEC:
        return value_usec(s.text, &has_unit, &out->u) && (s.plain || has_unit);
    default:
        return value_bytes(s.text, &has_unit, &out->u) && (s.plain || has_unit);
    }
}

static bool outside(const struct opt *opt, union number value, const char *bound, bool is_max)
{
    union number limit;
    if (!bound)
        return false;
    ensure(parse_number(opt, (struct opt_scalar){str_of(bound), true}, &limit));
    if (opt->kind == OPT_KIND_REAL)
        return is_max ? value.real > limit.real : value.real < limit.real;
    return is_max ? value.u > limit.u : value.u < limit.u;
}

static bool set_number(struct arena *a, const struct opt *opt, void *field, struct opt_scalar s,
                       struct err *err)
{
    union number value;
    if (!parse_number(opt, s, &value))
        return wrong(a, opt, s, err);
    bool exempt = opt->unset_zero && opt->kind != OPT_KIND_REAL && value.u == 0;
    if (!exempt && outside(opt, value, opt->min, false))
        return err_set(err, "'%.*s' is too small, expected at least %s", SHOWN(opt, s.text), opt->min);
    if (outside(opt, value, opt->max, true))
        return err_set(err, "'%.*s' is too large, expected at most %s", SHOWN(opt, s.text), opt->max);
    if (opt->kind == OPT_KIND_REAL)
        *(double *)field = value.real;
    else
        *(uint64_t *)field = value.u;
    return true;
}

static bool set_bool(struct arena *a, const struct opt *opt, void *field, struct opt_scalar s, bool is_word,
                     struct err *err)
{
    if (is_word && (str_eq(s.text, STR("on")) || str_eq(s.text, STR("off")))) {
        *(bool *)field = s.text.n == 2;
        return true;
    }
    return (s.plain && value_bool(s.text, field)) || wrong(a, opt, s, err);
}

static bool set_enum(struct arena *a, const struct opt *opt, void *field, struct opt_scalar s,
                     struct err *err)
{
    for (unsigned i = 0; opt->words[i]; i++)
        if (str_ieq(s.text, str_of(opt->words[i]))) {
            *(unsigned *)field = i;
            return true;
        }
    return wrong(a, opt, s, err);
}

static bool set_knob(struct arena *a, const struct opt *opt, void *field, struct opt_scalar s,
                     struct err *err)
{
    bool as_bool, ok;
    uint64_t as_uint;
    double as_real;
    switch (opt->knob_kind) {
    case 0:
        ok = value_uint(s.text, &as_uint) && as_uint <= KNOB_UINT_MAX;
        break;
    case 1:
        ok = value_bool(s.text, &as_bool);
        break;
    default:
        ok = value_real(s.text, &as_real) && as_real <= KNOB_UINT_MAX;
        break;
    }
    if (!ok || !s.plain)
        return wrong(a, opt, s, err);
    *(const char **)field = arena_copy(a, s.text).p;
    return true;
}

static bool is_null(struct opt_scalar s)
{
    return yaml_is_null(&(struct yaml){.kind = YAML_SCALAR, .plain = s.plain, .text = s.text});
}

static bool set_texts(struct arena *a, const struct opt *opt, struct opt_texts *field,
                      const struct opt_value *v, struct err *err)
{
    struct opt_texts list = {0};
    size_t room = v->n;
    if (v->n == 0)
        return err_set(err, "an empty list, expected %s; leave the key out for its default", kinds[opt->kind].expected);
    for (unsigned i = 0; v->is_word && i < v->n; i++)
        for (size_t k = 0; k < v->item[i].text.n; k++)
            room += v->item[i].text.p[k] == ',';
    list.text = arena_alloc(a, (room + 1) * sizeof *list.text);
    for (unsigned i = 0; i < v->n; i++) {
        struct str rest = v->item[i].text;
        do {
            struct str one = v->is_word ? str_trim(str_split(&rest, ','), " ") : rest;
            if (one.n == 0 || is_null(v->item[i]))
                return err_set(err, "an empty item, expected %s", kinds[opt->kind].expected);
            list.text[list.n++] = arena_copy(a, one).p;
        } while (v->is_word && rest.p);
    }
    *field = list;
    return true;
}

bool opt_set(struct arena *a, const struct opt *opt, void *filled, const struct opt_value *v, struct err *err)
{
    void *field = (char *)filled + opt->offset;
    if (opt->kind == OPT_KIND_TEXTS)
        return set_texts(a, opt, field, v, err);
    if (v->is_list || v->n != 1)
        return err_set(err, "a list, expected %s", kind_of(opt)->a_name);
    struct opt_scalar s = v->item[0];
    if (is_null(s))
        return err_set(err, "no value, expected %s; leave the key out for its default", kind_of(opt)->a_name);
    switch (opt->kind) {
    case OPT_KIND_BOOL:
        return set_bool(a, opt, field, s, v->is_word, err);
    case OPT_KIND_ENUM:
        return set_enum(a, opt, field, s, err);
    case OPT_KIND_KNOB:
        return set_knob(a, opt, field, s, err);
    case OPT_KIND_TEXT:
        if (s.text.n == 0)
            return err_set(err, "an empty text, expected %s", kinds[opt->kind].expected);
        *(const char **)field = arena_copy(a, s.text).p;
        return true;
    default:
        return set_number(a, opt, field, s, err);
    }
}

static bool is_counted(const struct opt *opt)
{
    return opt->kind == OPT_KIND_UINT || opt->kind == OPT_KIND_USEC || opt->kind == OPT_KIND_BYTES;
}

void opt_defaults(struct arena *a, const struct opt_table *table, void *filled)
{
    memset(filled, 0, table->size);
    for (size_t i = 0; i < table->n_opts; i++) {
        const struct opt *opt = &table->opts[i];
        struct opt_scalar fallback = {str_of(opt->fallback), true};
        if (opt->fallback)
            ensure(opt_set(a, opt, filled, &(struct opt_value){&fallback, 1, false, false}, NULL));
        else if (opt->kind == OPT_KIND_REAL)
            *(double *)((char *)filled + opt->offset) = NAN;
        else if (is_counted(opt) && !opt->unset_zero)
            *(uint64_t *)((char *)filled + opt->offset) = OPT_UNSET;
    }
}

bool opt_is_set(const struct opt *opt, const void *filled)
{
    const void *field = (const char *)filled + opt->offset;
    switch (opt->kind) {
    case OPT_KIND_REAL:
        return !isnan(*(const double *)field);
    case OPT_KIND_TEXT:
    case OPT_KIND_KNOB:
        return *(const char *const *)field != NULL;
    case OPT_KIND_TEXTS:
        return ((const struct opt_texts *)field)->text != NULL;
    case OPT_KIND_ENUM:
        return !opt->unset_zero || *(const unsigned *)field != 0;
    case OPT_KIND_BOOL:
        return true;
    default:
        return *(const uint64_t *)field != (opt->unset_zero ? 0 : OPT_UNSET);
    }
}

static struct str print_texts(struct arena *a, const struct opt_texts *list)
{
    struct str text = STR("");
    if (list->n == 1)
        return value_quote(a, str_of(list->text[0]));
    for (unsigned i = 0; i < list->n; i++)
        text = arena_printf(a, "%.*s%s%s", STR_ARG(text), i ? ", " : "",
                            value_quote(a, str_of(list->text[i])).p);
    return arena_printf(a, "[%.*s]", STR_ARG(text));
}

struct str opt_print(struct arena *a, const struct opt *opt, const void *filled)
{
    const void *field = (const char *)filled + opt->offset;
    switch (opt->kind) {
    case OPT_KIND_BOOL:
        return *(const bool *)field ? STR("true") : STR("false");
    case OPT_KIND_REAL:
        return value_print_real(a, *(const double *)field);
    case OPT_KIND_USEC:
        return value_print_usec(a, *(const uint64_t *)field);
    case OPT_KIND_BYTES:
        return value_print_bytes(a, *(const uint64_t *)field);
    case OPT_KIND_ENUM:
        return str_of(opt->words[*(const unsigned *)field]);
    case OPT_KIND_KNOB:
        return str_of(*(const char *const *)field);
    case OPT_KIND_TEXT:
        return value_quote(a, str_of(*(const char *const *)field));
    case OPT_KIND_TEXTS:
        return print_texts(a, field);
    default:
        return arena_printf(a, "%llu", (unsigned long long)*(const uint64_t *)field);
    }
}

struct str opt_env_name(struct arena *a, struct str key)
{
    struct str name = arena_copy(a, key);
    for (char *c = (char *)name.p; c < name.p + name.n; c++)
        *c = *c >= 'a' && *c <= 'z'                                 ? *c - 32
             : (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ? *c
                                                                    : '_';
    return name;
}

unsigned opt_distance(struct str a, struct str b, unsigned most)
{
    enum { LONGEST = 64 };
    unsigned row[LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return most + 1;
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned best = diagonal + (a.p[i - 1] != b.p[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.n] < most + 1 ? row[b.n] : most + 1;
}
