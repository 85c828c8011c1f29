/* What was let through and is not in Qdrant's figures yet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "engine/growth.h"

static void what_ended_before_the_figures_were_asked_for_is_in_them(void **state)
{
    static struct growth g;
    struct growth_slot *s = growth_of(&g, STR("c"));
    assert_ptr_equal(s, growth_of(&g, STR("c")));
    growth_begin(s, 100);
    growth_end(s, 100);
    growth_begin(s, 50); /* under way while they are asked for */
    uint64_t asked = growth_ended(s);
    growth_end(s, 50);
    assert_int_equal(growth_begin(s, 7) - asked, 57);
}

static void what_was_not_let_through_does_not_count(void **state)
{
    static struct growth g;
    struct growth_slot *s = growth_of(&g, STR("c"));
    growth_begin(s, 100);
    growth_undo(s, 100);
    assert_int_equal(growth_begin(s, 7), 7);
}

static void it_is_one_callers_turn_in_every_interval(void **state)
{
    _Atomic uint64_t last = 0;
    assert_true(growth_turn(&last, 1000, 60));
    assert_false(growth_turn(&last, 1059, 60));
    assert_true(growth_turn(&last, 1060, 60));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_ended_before_the_figures_were_asked_for_is_in_them),
        cmocka_unit_test(what_was_not_let_through_does_not_count),
        cmocka_unit_test(it_is_one_callers_turn_in_every_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
