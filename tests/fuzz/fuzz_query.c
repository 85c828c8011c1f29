/* Any bytes as the body of a read. First byte: bits 0-3 choose among the operations with a body that is
 * scanned, bits 4-7 the rules.
 * Claims: edits ascend, do not overlap and lie inside; without rules there are none; the edited body is JSON
 * to cJSON if the body was; scanned again, the edited body is understood as before and stays as it is; shapes of filters stay below
 * their ceiling, hold nothing but signs of their own, words and names, and take in an equal filter without growing. */
#include <cjson/cJSON.h>
#include <ctype.h>
#include <math.h>

#include "base/arena.h"
#include "base/json_scan.h"
#include "fuzz.h"
#include "qdrant/filter.h"
#include "qdrant/query.h"

static void set_bounds(struct knob_rule *rule, const char *min, const char *max)
{
    rule->min = str_of(min);
    rule->max = str_of(max);
    rule->min_value = strtod(min, NULL);
    rule->max_value = strtod(max, NULL);
}

static void make_rules(struct rewrite_rules *rules, unsigned choice)
{
    *rules = (struct rewrite_rules){.any = choice != 0};
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        rules->knob[k].min_value = rules->knob[k].max_value = NAN;
    if (choice & 1)
        rules->knob[KNOB_HNSW_EF_].set_default = STR("64");
    if (choice & 2)
        set_bounds(&rules->knob[KNOB_HNSW_EF_], "32", "128");
    if (choice & 4)
        rules->knob[KNOB_EXACT_].force = STR("false");
    if (choice & 8) {
        rules->knob[KNOB_RESCORE_].set_default = STR("true");
        set_bounds(&rules->knob[KNOB_OVERSAMPLING_], "1.5", "4");
    }
}

static const struct op *choose_op(unsigned choice)
{
    const struct op *scanned[16];
    unsigned n = 0;
    for (unsigned i = 0; i < OP_COUNT && n < 16; i++)
        if (ops[i].body != BODY_NONE && ops[i].body != BODY_OPAQUE)
            scanned[n++] = &ops[i];
    return scanned[choice % n];
}

static bool is_json(struct str text)
{
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(text.p, text.n, &end, false);
    bool good = tree != NULL;
    cJSON_Delete(tree);
    while (good && end < text.p + text.n)
        good = strchr(" \t\r\n", *end) && *end++;
    return good;
}

static void check_facts(const struct query_facts *f, struct str body)
{
    size_t at = 0;
    CLAIM(f->known || f->n_edits == 0);
    CLAIM(f->known || f->why);
    for (unsigned i = 0; i < f->n_edits; i++) {
        CLAIM(f->edit[i].at >= at && f->edit[i].at <= body.n && f->edit[i].cut <= body.n - f->edit[i].at);
        at = f->edit[i].at + f->edit[i].cut;
    }
    for (unsigned i = 0; i < f->n_lookups; i++)
        CLAIM(f->lookup[i].p);
}

static void check_text(struct str text)
{
    for (size_t i = 0; i < text.n;) {
        unsigned n = utf8_length(text.p + i, text.n - i);
        CLAIM(n > 0);
        CLAIM(n > 1 || isalnum((unsigned char)text.p[i]) || strchr(" []=.,;?_-", text.p[i]));
        i += n;
    }
}

static void check_filters(const struct query_facts *f, struct str body)
{
    struct filter_shape shape = {.text = malloc(FILTER_SHAPE_MAX)};
    CLAIM(f->n_filters <= QUERY_FILTERS_MAX);
    for (unsigned i = 0; i < f->n_filters; i++) {
        CLAIM(f->filter[i].p >= body.p && f->filter[i].p + f->filter[i].n <= body.p + body.n);
        filter_add(&shape, f->filter[i]);
        CLAIM(shape.n <= FILTER_SHAPE_MAX);
        size_t before = shape.n;
        if (i == 0)
            filter_add(&shape, f->filter[i]);
        CLAIM(shape.n == before);
    }
    check_text((struct str){shape.text, shape.n});
    free(shape.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n == 0 || n > 1 << 15)
        return 0;
    const struct op *op = choose_op(data[0] & 15);
    struct rewrite_rules rules;
    struct query_facts plain, facts, again;
    struct arena a;
    char *copy = exact_copy(data + 1, n - 1);
    struct str body = {copy, n - 1};
    arena_init(&a, NULL, 0);
    make_rules(&rules, data[0] >> 4);

    query_scan(&a, op, body, NULL, &plain);
    check_facts(&plain, body);
    CLAIM(plain.n_edits == 0);
    check_filters(&plain, body);
    query_scan(&a, op, body, &rules, &facts);
    check_facts(&facts, body);
    CLAIM(plain.n_lookups == facts.n_lookups || !facts.known);

    struct str edited = query_edited(&a, body, &facts);
    char *exact = exact_copy(edited.p, edited.n);
    struct str text = {exact, edited.n};
    CLAIM(!facts.known || !is_json(body) || is_json(text));
    query_scan(&a, op, text, &rules, &again);
    check_facts(&again, text);
    CLAIM(again.known == facts.known && again.n_lookups == facts.n_lookups);
    CLAIM(str_eq(query_edited(&a, text, &again), text));
    arena_fini(&a);
    free(exact);
    free(copy);
    return 0;
}
