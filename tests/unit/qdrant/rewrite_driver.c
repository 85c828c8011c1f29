/* rewrite_driver.c - query_scan() behind a pipe, for tests in other languages. Standard input holds any
 * number of <operation> <n rules> <n body bytes>\n <knob> <default|force|min|max> <text>\n      n rules times
 *     <body bytes>
 * and standard output gets for each
 *     <known> <uncacheable> <nodes> <edits> <lookups> <n bytes>\n
 *     <bytes: the edited body, then each lookup's name behind a NUL> */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "qdrant/query.h"

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "rewrite_driver: %s\n", what);
    exit(1);
}

static const struct op *op_named(const char *name)
{
    for (unsigned i = 0; i < OP_COUNT; i++)
        if (strcmp(ops[i].name, name) == 0)
            return &ops[i];
    die("no such operation");
}

static struct knob_rule *rule_named(struct rewrite_rules *rules, const char *name)
{
    static const char *const names[] = {
#define X(id, path, kind) path,
        KNOBS(X)
#undef X
    };
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        if (strcmp(names[k], name) == 0)
            return &rules->knob[k];
    die("no such knob");
}

static void read_rules(struct arena *a, unsigned n, struct rewrite_rules *rules)
{
    char knob[64], which[16], text[64];
    *rules = (struct rewrite_rules){.any = n > 0};
    for (unsigned k = 0; k < KNOB_COUNT; k++)
        rules->knob[k].min_value = rules->knob[k].max_value = NAN;
    for (; n; n--) {
        if (scanf("%63s %15s %63s", knob, which, text) != 3)
            die("a rule is cut short");
        struct knob_rule *rule = rule_named(rules, knob);
        struct str value = arena_copy(a, str_of(text));
        if (strcmp(which, "default") == 0) {
            rule->set_default = value;
        } else if (strcmp(which, "force") == 0) {
            rule->force = value;
        } else if (strcmp(which, "min") == 0) {
            rule->min = value;
            rule->min_value = atof(text);
        } else if (strcmp(which, "max") == 0) {
            rule->max = value;
            rule->max_value = atof(text);
        } else {
            die("a rule is none of default, force, min, max");
        }
    }
}

static void answer(struct arena *a, const struct op *op, struct str body, const struct rewrite_rules *rules)
{
    struct query_facts facts;
    query_scan(a, op, body, rules, &facts);
    struct str out = query_edited(a, body, &facts);
    size_t n = out.n;
    for (unsigned i = 0; i < facts.n_lookups; i++)
        n += 1 + facts.lookup[i].n;
    printf("%d %d %u %u %u %zu\n", facts.known, facts.uncacheable, facts.n_nodes, facts.n_edits,
           facts.n_lookups, n);
    fwrite(out.p, 1, out.n, stdout);
    for (unsigned i = 0; i < facts.n_lookups; i++) {
        putchar('\0');
        fwrite(facts.lookup[i].p, 1, facts.lookup[i].n, stdout);
    }
}

int main(void)
{
    char name[64];
    unsigned n_rules;
    size_t n_body;
    while (scanf("%63s %u %zu", name, &n_rules, &n_body) == 3) {
        struct arena arena;
        struct rewrite_rules rules;
        arena_init(&arena, NULL, 0);
        read_rules(&arena, n_rules, &rules);
        if (getchar() != '\n')
            die("no line feed before the body");
        char *body = mem_alloc(n_body); /* of exactly that size, so that a sanitizer sees a byte too far */
        if (fread(body, 1, n_body, stdin) != n_body)
            die("a body is cut short");
        answer(&arena, op_named(name), str_slice(body, n_body), &rules);
        free(body);
        arena_fini(&arena);
    }
    return feof(stdin) ? 0 : 1;
}
