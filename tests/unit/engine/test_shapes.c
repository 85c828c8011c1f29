#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "engine/shapes.h"

static struct query_facts facts_of(const char *one, const char *two)
{
    return (struct query_facts){.filter = {str_of(one), str_of(two)}, .n_filters = two ? 2 : one ? 1 : 0};
}

static void what_comes_again_has_the_same_shape(void **state)
{
    struct shapes *s = shapes_new();
    struct arena a;
    arena_init(&a, NULL, 0);
    for (unsigned round = 0; round < 3; round++)
        for (unsigned i = 0; i < 3 * SHAPES_MAX; i++) { /* more than are remembered */
            char filter[80], wanted[40];
            snprintf(filter, sizeof filter, "{\"must\":[{\"key\":\"f%u\",\"match\":{\"value\":%u}}]}", i % 1500, i);
            snprintf(wanted, sizeof wanted, "must[key=f%u match.value]", i % 1500);
            struct query_facts q = facts_of(filter, NULL);
            assert_true(str_eq(shapes_of(s, &a, &q), str_of(wanted)));
        }
    struct query_facts none = facts_of(NULL, NULL), two = facts_of("{\"must\":[{\"has_id\":[1]}]}", "{\"should\":[{\"has_id\":[2]}]}");
    assert_non_null(shapes_of(s, &a, &none).p);
    assert_int_equal(shapes_of(s, &a, &none).n, 0);
    for (unsigned i = 0; i < 2; i++)
        assert_true(str_eq(shapes_of(s, &a, &two), STR("must[has_id]; should[has_id]")));
    assert_true(str_eq(shapes_of(NULL, &a, &two), STR("must[has_id]; should[has_id]")));
    arena_fini(&a);
    shapes_free(&s);
    assert_null(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_comes_again_has_the_same_shape)};
    return cmocka_run_group_tests_name("engine/shapes", tests, NULL, NULL);
}
