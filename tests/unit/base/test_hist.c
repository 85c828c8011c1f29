#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hist.h"

static struct hist_sum one(uint64_t usec)
{
    struct hist h = {0};
    struct hist_sum sum = {0};
    hist_record(&h, usec);
    hist_merge(&sum, &h);
    return sum;
}

static void a_value_is_found_again_within_a_sixteenth(void **state)
{
    for (uint64_t v = 0; v < UINT64_C(1) << 31; v += 1 + v / 37) {
        struct hist_sum sum = one(v);
        uint64_t p = hist_percentile(&sum, 0.5);
        assert_true(p >= v && p <= v + v / 16);
    }
}

static void bounds_are_inclusive_and_exact(void **state)
{
    for (unsigned i = 0; i < HIST_BOUNDS; i++) {
        struct hist_sum at = one(hist_bound_usec[i]), above = one(hist_bound_usec[i] + 1);
        assert_int_equal(at.le[i], 1);
        assert_int_equal(above.le[i + 1], 1);
    }
    assert_int_equal(one(0).le[0], 1);
}

static void every_value_is_in_the_first_bucket_that_holds_it(void **state)
{
    for (uint64_t v = 0; v < 70000000; v += 1 + v / 53) {
        unsigned i = 0;
        while (i < HIST_BOUNDS && v > hist_bound_usec[i])
            i++;
        assert_int_equal(one(v).le[i], 1);
    }
}

static void huge_values_share_the_last_bucket(void **state)
{
    struct hist_sum sum = one(UINT64_MAX / 2);
    assert_int_equal(sum.le[HIST_BOUNDS], 1);
    assert_int_equal(sum.fine[HIST_FINE - 1], 1);
    assert_true(sum.sum_usec == UINT64_MAX / 2);
}

static void percentiles_of_merged_histograms(void **state)
{
    struct hist a = {0}, b = {0};
    struct hist_sum sum = {0};
    assert_int_equal(hist_percentile(&sum, 0.5), 0);
    for (unsigned i = 1; i <= 90; i++)
        hist_record(&a, 10);
    for (unsigned i = 1; i <= 10; i++)
        hist_record(&b, 1000);
    hist_merge(&sum, &a);
    hist_merge(&sum, &b);
    assert_int_equal(sum.n, 100);
    assert_int_equal(sum.sum_usec, 10900);
    assert_int_equal(hist_percentile(&sum, 0), 10);
    assert_int_equal(hist_percentile(&sum, 0.9), 10);
    assert_in_range(hist_percentile(&sum, 0.91), 1000, 1063);
    assert_in_range(hist_percentile(&sum, 1), 1000, 1063);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_found_again_within_a_sixteenth),
        cmocka_unit_test(bounds_are_inclusive_and_exact),
        cmocka_unit_test(every_value_is_in_the_first_bucket_that_holds_it),
        cmocka_unit_test(huge_values_share_the_last_bucket),
        cmocka_unit_test(percentiles_of_merged_histograms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
