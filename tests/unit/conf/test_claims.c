#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "conf/claims.h"

static bool matches(const char *pattern, const char *name)
{
    return glob_matches(str_of(pattern), str_of(name));
}

static bool intersects(const char *a, const char *b)
{
    bool one = glob_intersects(str_of(a), str_of(b)), two = glob_intersects(str_of(b), str_of(a));
    assert_int_equal(one, two);
    return one;
}

static void a_star_takes_any_bytes_and_a_question_mark_one(void **state)
{
    assert_true(matches("*", ""));
    assert_true(matches("*", "anything"));
    assert_true(matches("mix*", "mix"));
    assert_true(matches("mix*", "mixtral"));
    assert_false(matches("mix*", "remix"));
    assert_true(matches("*-v?", "mixtral-v2"));
    assert_false(matches("*-v?", "mixtral-v"));
    assert_true(matches("a*b*c", "axxbyybzzc"));
    assert_false(matches("a*b*c", "axxbyybzz"));
    assert_false(matches("?", ""));
    assert_true(matches("**a**", "bab"));
}

static void two_globs_intersect_when_some_name_matches_both(void **state)
{
    assert_true(intersects("a*", "*b"));
    assert_true(intersects("a?c", "ab?"));
    assert_false(intersects("a*", "b*"));
    assert_false(intersects("*a", "*b"));
    assert_true(intersects("*", "*"));
    assert_true(intersects("a*c", "ab*"));
    assert_false(intersects("a?", "a??"));
    assert_true(intersects("a*?", "a?"));
    assert_false(intersects("x*y?z", "x*yaw"));
    assert_true(intersects("", "*"));
    assert_false(intersects("", "?"));
}

static struct claim claim_of(const char *pattern, unsigned model)
{
    return (struct claim){str_of(pattern), model, 0};
}

static void exact_beats_a_longer_glob_beats_a_shorter_one(void **state)
{
    struct arena a;
    struct claims c;
    struct claim_tie tie;
    arena_init(&a, NULL, 0);
    struct claim list[] = {claim_of("*", 1), claim_of("mix*", 2), claim_of("mixtral*", 3),
                           claim_of("mixtral-v2", 4)};
    assert_true(claims_build(&a, &c, list, 4, &tie));
    assert_int_equal(claims_find(&c, STR("mixtral-v2"), 0), 4);
    assert_int_equal(claims_find(&c, STR("mixtral-v1"), 0), 3);
    assert_int_equal(claims_find(&c, STR("mixed"), 0), 2);
    assert_int_equal(claims_find(&c, STR("other"), 0), 1);
    arena_fini(&a);
}

static void a_name_that_none_claims_is_the_default_models(void **state)
{
    struct arena a;
    struct claims c;
    struct claim_tie tie;
    arena_init(&a, NULL, 0);
    assert_true(claims_build(&a, &c, NULL, 0, &tie));
    assert_int_equal(claims_find(&c, STR("any"), 7), 7);
    assert_int_equal(claims_find(&c, STR(""), 7), 7);
    struct claim list[] = {claim_of("a?", 1)};
    assert_true(claims_build(&a, &c, list, 1, &tie));
    assert_int_equal(claims_find(&c, STR("a"), 0), 0);
    arena_fini(&a);
}

static bool ties(const char *a, const char *b)
{
    struct arena arena;
    struct claims c;
    struct claim_tie tie;
    struct claim list[] = {claim_of(a, 1), claim_of(b, 2)};
    arena_init(&arena, NULL, 0);
    bool built = claims_build(&arena, &c, list, 2, &tie);
    if (!built)
        assert_int_not_equal(tie.a->model, tie.b->model);
    arena_fini(&arena);
    return !built;
}

static void equal_length_globs_tie_only_when_they_can_meet(void **state)
{
    assert_true(ties("same", "same"));
    assert_true(ties("ab*", "*bc"));
    assert_true(ties("a*", "?a"));
    assert_false(ties("ab*", "cd*"));
    assert_false(ties("ab*", "abc*"));
    assert_false(ties("ab", "a*"));
}

static void a_model_may_claim_a_name_twice(void **state)
{
    struct arena a;
    struct claims c;
    struct claim_tie tie;
    arena_init(&a, NULL, 0);
    struct claim list[] = {claim_of("x", 1), claim_of("x", 1), claim_of("x*", 1), claim_of("*x", 1)};
    assert_true(claims_build(&a, &c, list, 4, &tie));
    assert_int_equal(claims_find(&c, STR("x"), 0), 1);
    arena_fini(&a);
}

static void a_thousand_exact_names_are_all_found(void **state)
{
    struct arena a;
    struct claims c;
    struct claim_tie tie;
    static struct claim list[1000];
    arena_init(&a, NULL, 0);
    for (unsigned i = 0; i < 1000; i++)
        list[i] = (struct claim){arena_printf(&a, "collection-%u", i), 1 + i % 200, 0};
    assert_true(claims_build(&a, &c, list, 1000, &tie));
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(claims_find(&c, list[i].pattern, 0), 1 + i % 200);
    assert_int_equal(claims_find(&c, STR("collection-1000"), 0), 0);
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_star_takes_any_bytes_and_a_question_mark_one),
        cmocka_unit_test(two_globs_intersect_when_some_name_matches_both),
        cmocka_unit_test(exact_beats_a_longer_glob_beats_a_shorter_one),
        cmocka_unit_test(a_name_that_none_claims_is_the_default_models),
        cmocka_unit_test(equal_length_globs_tie_only_when_they_can_meet),
        cmocka_unit_test(a_model_may_claim_a_name_twice),
        cmocka_unit_test(a_thousand_exact_names_are_all_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
