/* Is a collection found among many, and do few take little room? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/facts.h"

static void each_collection_is_found_by_its_name(void **state)
{
    (void)state;
    struct facts *f = facts_new();
    char name[32];
    for (unsigned i = 0; i < FACTS_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "collection_%u", i);
        struct fact_collection *fact = facts_add(f, str_of(name));
        assert_non_null(fact);
        fact->points = i;
    }
    assert_null(facts_add(f, STR("one more")));
    for (unsigned i = 0; i < FACTS_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "collection_%u", i);
        assert_int_equal(facts_collection(f, str_of(name))->points, i);
    }
    assert_null(facts_collection(f, STR("one more")));
    facts_put(&f);
}

static void few_take_little_room(void **state)
{
    (void)state;
    struct facts *f = facts_new();
    assert_null(facts_collection(f, STR("a")));
    assert_int_equal(f->room, 0);
    assert_non_null(facts_add(f, STR("a")));
    assert_null(facts_add(f, STR("a"))); /* it is there */
    assert_non_null(facts_add(f, STR("b")));
    assert_int_equal(f->n_collections, 2);
    assert_true(f->room <= 16);
    facts_put(&f);
}

static void nothing_is_known_without_facts(void **state)
{
    (void)state;
    assert_null(facts_collection(NULL, STR("a")));
    assert_true(str_eq(facts_resolve(NULL, STR("a")), STR("a")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_collection_is_found_by_its_name),
        cmocka_unit_test(few_take_little_room),
        cmocka_unit_test(nothing_is_known_without_facts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
