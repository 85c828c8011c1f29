/* Any bytes as a configuration file.
 * Claims: a tree or one sentence that names the file; the tree is as yaml.h says: depth, lines, keys that are
 * there and differ, texts without NUL. */
#include "base/arena.h"
#include "conf/yaml.h"
#include "fuzz.h"

static void check_tree(const struct yaml *y, unsigned depth, unsigned n_lines)
{
    unsigned n = 0;
    CLAIM(depth <= YAML_DEPTH_MAX);
    CLAIM(y->line >= 1 && y->line <= n_lines);
    if (y->kind == YAML_SCALAR) {
        CLAIM(!y->first && y->text.p && strlen(y->text.p) == y->text.n);
        CLAIM(!yaml_is_null(y) || y->plain);
        return;
    }
    for (const struct yaml *child = y->first; child; child = child->next, n++) {
        check_tree(child, depth + 1, n_lines);
        if (y->kind == YAML_LIST)
            continue;
        CLAIM(child->key.p && child->key_line >= 1 && child->key_line <= n_lines);
        for (const struct yaml *other = child->next; other; other = other->next)
            CLAIM(!str_eq(child->key, other->key));
    }
    CLAIM(n == y->n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (n > 1 << 15)
        return 0;
    struct arena a;
    struct err err = {""};
    unsigned n_lines = 2; /* libyaml may mark the line behind the last one */
    char *copy = exact_copy(data, n);
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < n; i++) /* NEL, LS and PS end lines, too: counted by their last bytes */
        n_lines += memchr("\n\r\x85\xa8\xa9", copy[i], 5) != NULL;
    const struct yaml *tree = yaml_parse(&a, "fuzz.yaml", str_slice(copy, n), &err);
    if (tree) {
        CLAIM(tree->kind == YAML_MAP);
        check_tree(tree, 0, n_lines);
    } else {
        CLAIM(str_starts(str_of(err.text), STR("fuzz.yaml:")));
        CLAIM(strlen(err.text) > strlen("fuzz.yaml:1: "));
    }
    arena_fini(&a);
    free(copy);
    return 0;
}
