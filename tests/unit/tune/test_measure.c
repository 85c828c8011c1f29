/* The arithmetic of tests: percentiles, rates, recall, vectors to ask with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <math.h>

#include "tune/measure.h"

static struct measure of(const uint64_t *usec, size_t n)
{
    struct measure m = {.n = 0};
    for (size_t i = 0; i < n; i++)
        measure_add(&m, usec[i]);
    measure_sort(&m);
    return m;
}

static void percentiles_are_nearest_ranks(void **state)
{
    uint64_t twenty[20];
    (void)state;
    for (unsigned i = 0; i < 20; i++)
        twenty[i] = 20 - i; /* any order */
    struct measure m = of(twenty, 20);
    assert_int_equal(measure_percentile(&m, 0.50), 10);
    assert_int_equal(measure_percentile(&m, 0.95), 19);
    assert_int_equal(measure_percentile(&m, 0.99), 20);
    assert_int_equal(measure_percentile(&m, 0), 1);
    assert_int_equal(measure_percentile(&m, 1), 20);
    measure_free(&m);
}

static void one_request_is_every_percentile(void **state)
{
    struct measure m = of(&(uint64_t){7}, 1);
    (void)state;
    assert_int_equal(measure_percentile(&m, 0.5), 7);
    assert_int_equal(measure_percentile(&m, 0.99), 7);
    measure_free(&m);
}

static void a_latency_of_hours_does_not_wrap(void **state)
{
    struct measure m = of(&(uint64_t){UINT64_C(1) << 40}, 1);
    (void)state;
    assert_int_equal(measure_percentile(&m, 0.5), UINT32_MAX);
    measure_free(&m);
}

static void nothing_measured_is_no_figure(void **state)
{
    struct measure m = {.n = 0};
    (void)state;
    measure_sort(&m);
    assert_int_equal(measure_percentile(&m, 0.5), 0);
    assert_true(measure_ops(&m) == 0);
    assert_true(isnan(measure_hit_rate(&m)));
    assert_true(isnan(measure_recall(&m)));
}

static void rates_are_per_second_and_per_request(void **state)
{
    struct measure m = of((uint64_t[]){1, 2, 3, 4}, 4);
    (void)state;
    m.busy = 500000;
    m.hits = 3;
    assert_float_equal(measure_ops(&m), 8, 1e-9);
    assert_float_equal(measure_hit_rate(&m), 0.75, 1e-9);
    measure_free(&m);
}

static struct measure_top top(const char *body)
{
    return measure_top_of((struct str){body, strlen(body)});
}

static void recall_counts_the_exact_ones_that_were_found(void **state)
{
    struct measure m = {.n = 0};
    (void)state;
    struct measure_top exact = top("{\"result\":{\"points\":[{\"id\":1,\"score\":2},{\"id\":2},{\"id\":3},"
                                   "{\"version\":1,\"id\":\"5c56c793-69f3-4fbf-87e6-c4bf54c28c26\"}]}}");
    struct measure_top got = top("{\"result\":[{\"id\":\"5c56c793-69f3-4fbf-87e6-c4bf54c28c26\"},{\"id\":9},{\"id\":1}]}");
    assert_true(exact.known && got.known);
    measure_compare(&m, &exact, &got);
    assert_int_equal(m.wanted, 4);
    assert_int_equal(m.found, 2);
    measure_compare(&m, &exact, &exact);
    assert_float_equal(measure_recall(&m), 6.0 / 8, 1e-9);
}

static void ids_beyond_what_a_double_holds_are_told_apart(void **state)
{
    struct measure m = {.n = 0};
    (void)state;
    struct measure_top exact = top("{\"result\":[{\"id\":18446744073709551615}]}");
    struct measure_top got = top("{\"result\":[{\"id\":18446744073709551614}]}");
    measure_compare(&m, &exact, &got);
    assert_int_equal(m.found, 0);
    assert_int_equal(m.wanted, 1);
}

static void only_the_best_ten_count(void **state)
{
    char body[1000] = "{\"result\":[";
    (void)state;
    for (int i = 0; i < 15; i++)
        snprintf(body + strlen(body), sizeof body - strlen(body), "%s{\"id\":%d}", i ? "," : "", i);
    strcat(body, "]}");
    assert_int_equal(top(body).n, MEASURE_TOP);
}

static void what_is_no_answer_is_not_compared(void **state)
{
    static const char *const odd[] = {"", "x", "{}", "{\"result\":5}", "{\"result\":[{\"score\":1}]}", "{\"result\":[{\"id\":1}"};
    struct measure_top exact = top("{\"result\":[{\"id\":1}]}");
    (void)state;
    for (unsigned i = 0; i < sizeof odd / sizeof *odd; i++) {
        struct measure m = {.n = 0};
        struct measure_top got = top(odd[i]);
        assert_false(got.known);
        measure_compare(&m, &exact, &got);
        assert_int_equal(m.wanted, 0);
    }
}

static void next_page(const char *body, const char *expected)
{
    struct str next = measure_next_page((struct str){body, strlen(body)});
    assert_int_equal(next.n, strlen(expected));
    assert_memory_equal(next.n ? next.p : "", expected, next.n);
}

static void the_next_page_is_taken_as_it_was_written(void **state)
{
    (void)state;
    next_page("{\"result\":{\"points\":[],\"next_page_offset\":18446744073709551615}}", "18446744073709551615");
    next_page("{\"result\":{\"next_page_offset\":\"ab\",\"points\":[]}}", "\"ab\"");
    next_page("{\"result\":{\"points\":[],\"next_page_offset\":null}}", "");
    next_page("{\"status\":{\"error\":\"x\"}}", "");
}

static void a_moved_vector_stays_near_and_is_the_same_each_time(void **state)
{
    double a[64], b[64], distance = 0, size = 0;
    (void)state;
    for (unsigned i = 0; i < 64; i++)
        a[i] = b[i] = i % 2 ? 0.5 : -0.25;
    measure_perturb(a, 64, 3);
    measure_perturb(b, 64, 3);
    assert_memory_equal(a, b, sizeof a);
    for (unsigned i = 0; i < 64; i++) {
        double was = i % 2 ? 0.5 : -0.25;
        distance += (a[i] - was) * (a[i] - was);
        size += was * was;
    }
    assert_true(distance > 0);
    assert_true(sqrt(distance) <= MEASURE_STEP * sqrt(size));
    measure_perturb(b, 64, 4);
    assert_memory_not_equal(a, b, sizeof a);
}

static void fixed_vectors_lie_in_the_cube(void **state)
{
    double a[1000], sum = 0;
    (void)state;
    measure_fixed(a, 1000, 0);
    for (unsigned i = 0; i < 1000; i++) {
        assert_true(a[i] > -1 && a[i] < 1);
        sum += a[i];
    }
    assert_true(fabs(sum) < 100); /* not all on one side */
}

static void a_vector_as_text_reads_back(void **state)
{
    char *text = measure_text((const double[]){0.25, -1, NAN, 1e-9}, 4);
    (void)state;
    assert_string_equal(text, "[0.25,-1,0,1e-09]");
    free(text);
    text = measure_text(NULL, 0);
    assert_string_equal(text, "[]");
    free(text);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_nearest_ranks),
        cmocka_unit_test(one_request_is_every_percentile),
        cmocka_unit_test(a_latency_of_hours_does_not_wrap),
        cmocka_unit_test(nothing_measured_is_no_figure),
        cmocka_unit_test(rates_are_per_second_and_per_request),
        cmocka_unit_test(recall_counts_the_exact_ones_that_were_found),
        cmocka_unit_test(ids_beyond_what_a_double_holds_are_told_apart),
        cmocka_unit_test(only_the_best_ten_count),
        cmocka_unit_test(what_is_no_answer_is_not_compared),
        cmocka_unit_test(the_next_page_is_taken_as_it_was_written),
        cmocka_unit_test(a_moved_vector_stays_near_and_is_the_same_each_time),
        cmocka_unit_test(fixed_vectors_lie_in_the_cube),
        cmocka_unit_test(a_vector_as_text_reads_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
