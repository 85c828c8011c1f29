/* Writers past quiver give themselves away by the numbers that our own writes get. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/foreign.h"

static struct foreign f;
static struct fingerprint map;

static uint64_t write_one(uint64_t id)
{
    foreign_begin(&f, map, STR("c"));
    return foreign_end(&f, STR("c"), id, 1);
}

static void our_own_numbers_follow_each_other(void **state)
{
    (void)state;
    foreign_init(&f);
    for (uint64_t id = 7; id < 20; id++)
        assert_int_equal(write_one(id), 0);
}

static void a_gap_is_somebody_elses(void **state)
{
    (void)state;
    foreign_init(&f);
    write_one(7);
    assert_int_equal(write_one(11), 3);
    assert_int_equal(write_one(12), 0);
}

static void failed_writes_of_ours_may_have_taken_numbers(void **state)
{
    (void)state;
    foreign_init(&f);
    write_one(7);
    write_one(0);
    assert_int_equal(write_one(9), 0);
    assert_int_equal(write_one(11), 1);
}

static void writes_that_overlap_say_nothing(void **state)
{
    (void)state;
    foreign_init(&f);
    write_one(7);
    foreign_begin(&f, map, STR("c"));
    foreign_begin(&f, map, STR("c"));
    assert_int_equal(foreign_end(&f, STR("c"), 9, 1), 0);
    assert_int_equal(foreign_end(&f, STR("c"), 8, 1), 0);
    assert_int_equal(write_one(10), 0);
    assert_int_equal(write_one(12), 1);
}

static void a_batch_may_take_any_number(void **state)
{
    (void)state;
    foreign_init(&f);
    write_one(7);
    foreign_begin(&f, map, STR("c"));
    assert_int_equal(foreign_end(&f, STR("c"), 60, 0), 0);
    assert_int_equal(write_one(61), 0);
}

static void numbers_under_another_map_of_aliases_are_not_compared(void **state)
{
    (void)state;
    foreign_init(&f);
    write_one(7);
    map.lo++;
    assert_int_equal(write_one(9), 0);
    assert_int_equal(write_one(11), 1);
    foreign_begin(&f, map, STR("c"));
    map.lo++;
    assert_int_equal(write_one(20), 0);
    assert_int_equal(write_one(30), 0); /* one from before is still under way */
    assert_int_equal(foreign_end(&f, STR("c"), 29, 1), 0);
    write_one(31);
    assert_int_equal(write_one(33), 1);
}

static void nor_are_those_around_a_write_that_went_astray(void **state)
{
    (void)state;
    foreign_init(&f);
    write_one(7);
    foreign_begin(&f, map, STR("elsewhere"));
    foreign_astray(&f);
    assert_int_equal(foreign_end(&f, STR("elsewhere"), 8, 1), 0);
    assert_int_equal(write_one(9), 0);
    assert_int_equal(write_one(11), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_numbers_follow_each_other), cmocka_unit_test(a_gap_is_somebody_elses),
        cmocka_unit_test(failed_writes_of_ours_may_have_taken_numbers), cmocka_unit_test(writes_that_overlap_say_nothing),
        cmocka_unit_test(a_batch_may_take_any_number), cmocka_unit_test(numbers_under_another_map_of_aliases_are_not_compared),
        cmocka_unit_test(nor_are_those_around_a_write_that_went_astray),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
