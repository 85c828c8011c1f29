/* How much of a points/batch may add points. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "plugins/guard/batch.h"

static void operations_that_may_add_points_count_with_their_length(void **state)
{
    static const struct {
        const char *body;
        size_t n;
    } cases[] = {
        {"{\"operations\":[]}", 0},
        {"{\"operations\":[{\"delete\":{\"points\":[1,2]}}]}", 0},
        {"{\"operations\":[{\"upsert\":{\"points\":[]}}]}", 13},
        {"{\"operations\": [ {\"clear_payload\":{\"points\":[1]}}, {\"update_vectors\": [1,2,3] } ] }", 7},
        {"{\"operations\":[{\"upsert\":[1]},{\"delete\":[2]},{\"upsert\":[3]}]}", 6},
        {"{\"ordering\":1,\"operations\":[{\"new_in_2030\":[1]}]}", 3},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        if (batch_bytes(str_of(cases[i].body)) != cases[i].n)
            fail_msg("%s: %llu, expected %zu", cases[i].body, (unsigned long long)batch_bytes(str_of(cases[i].body)), cases[i].n);
}

static void what_cannot_be_read_counts_whole(void **state)
{
    static const char *const bodies[] = {
        "",
        "[]",
        "{\"operations\":{\"delete\":1}}",
        "{\"operations\":[{\"delete\":1}",
        "{\"operations\":[{\"delete\":1}]} x",
        "{\"operations\":[1]}",
        "{\"op\\u0065rations\":[{\"upsert\":1}]}",
    };
    for (unsigned i = 0; i < sizeof bodies / sizeof *bodies; i++)
        if (batch_bytes(str_of(bodies[i])) != strlen(bodies[i]))
            fail_msg("%s: %llu", bodies[i], (unsigned long long)batch_bytes(str_of(bodies[i])));
}

static void an_operation_named_with_escapes_counts(void **state)
{
    assert_int_equal(batch_bytes(STR("{\"operations\":[{\"ups\\u0065rt\":[1]}]}")), 3);
    assert_int_equal(batch_bytes(STR("{\"operations\":[{\"del\\u0065te\":[1]}]}")), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_that_may_add_points_count_with_their_length),
        cmocka_unit_test(what_cannot_be_read_counts_whole),
        cmocka_unit_test(an_operation_named_with_escapes_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
