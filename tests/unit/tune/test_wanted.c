/* Whose turn is it to be asked for? */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "engine/facts.h"
#include "tune/wanted.h"

static struct wanted_row *add(struct wanted *w, const char *name)
{
    return wanted_add(w, str_of(name), false);
}

static void visits(struct wanted *w, const char *name)
{
    struct wanted_row *row = wanted_next(w);
    if (!name) {
        assert_null(row);
        return;
    }
    assert_non_null(row);
    assert_string_equal(row->name, name);
}

static void each_is_visited_once_a_round_the_newest_first(void **state)
{
    (void)state;
    struct wanted w;
    wanted_init(&w);
    visits(&w, NULL);
    add(&w, "a");
    add(&w, "b");
    visits(&w, "b");
    add(&w, "c"); /* while the round runs */
    visits(&w, "c");
    visits(&w, "a");
    visits(&w, NULL);
    for (unsigned i = 0; i < 3; i++)
        assert_non_null(wanted_next(&w));
    visits(&w, NULL);
    wanted_fini(&w);
}

static void who_has_changed_comes_first_but_once_a_round(void **state)
{
    (void)state;
    struct wanted w;
    wanted_init(&w);
    struct wanted_row *a = add(&w, "a"), *b = add(&w, "b");
    add(&w, "c");
    wanted_change(&w, a);
    visits(&w, "a");
    visits(&w, "c");
    a->changed = false;
    wanted_change(&w, a);
    assert_true(a->changed);
    wanted_change(&w, b);
    visits(&w, "b");
    visits(&w, NULL);
    wanted_change(&w, a);
    visits(&w, "a");
    wanted_fini(&w);
}

static void who_was_left_begins_the_next_round(void **state)
{
    (void)state;
    struct wanted w;
    wanted_init(&w);
    add(&w, "c");
    add(&w, "b");
    add(&w, "a");
    visits(&w, "a");
    wanted_leave(&w, wanted_next(&w));
    wanted_leave(&w, wanted_next(&w));
    visits(&w, NULL);
    visits(&w, "b");
    visits(&w, "c");
    visits(&w, "a");
    visits(&w, NULL);
    wanted_fini(&w);
}

static void a_dropped_one_gives_its_place_back(void **state)
{
    (void)state;
    struct wanted w;
    char name[32];
    wanted_init(&w);
    for (unsigned i = 0; i < FACTS_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "collection_%u", i);
        assert_non_null(add(&w, name));
    }
    assert_true(wanted_is_full(&w));
    assert_null(add(&w, "one more"));
    wanted_drop(&w, wanted_find(&w, STR("collection_17")));
    assert_null(wanted_find(&w, STR("collection_17")));
    assert_non_null(add(&w, "one more"));
    for (unsigned i = 0; i < FACTS_COLLECTIONS_MAX; i++) {
        snprintf(name, sizeof name, "collection_%u", i);
        assert_int_equal(wanted_find(&w, str_of(name)) != NULL, i != 17);
    }
    wanted_fini(&w);
}

static void names_that_qdrant_would_not_take_have_no_place(void **state)
{
    (void)state;
    struct wanted w;
    char name[WANTED_NAME_MAX + 2];
    wanted_init(&w);
    memset(name, 'a', sizeof name);
    assert_null(wanted_add(&w, STR(""), false));
    assert_null(wanted_add(&w, (struct str){"a\0b", 3}, false));
    assert_null(wanted_add(&w, (struct str){name, WANTED_NAME_MAX + 1}, false));
    assert_non_null(wanted_add(&w, (struct str){name, WANTED_NAME_MAX}, true));
    wanted_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_visited_once_a_round_the_newest_first),
        cmocka_unit_test(who_has_changed_comes_first_but_once_a_round),
        cmocka_unit_test(who_was_left_begins_the_next_round),
        cmocka_unit_test(a_dropped_one_gives_its_place_back),
        cmocka_unit_test(names_that_qdrant_would_not_take_have_no_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
