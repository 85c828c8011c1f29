#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void assert_aligned(const void *p)
{
    assert_int_equal((uintptr_t)p % 16, 0);
}

static void the_owners_memory_is_used_first(void **state)
{
    _Alignas(16) char own[256];
    struct arena a;
    arena_init(&a, own, sizeof own);
    char *p = arena_alloc(&a, 100), *q = arena_alloc(&a, 100);
    assert_ptr_equal(p, own);
    assert_ptr_equal(q, own + 112);
    assert_null(a.chunks);
    char *r = arena_alloc(&a, 100); /* does not fit any more */
    assert_true(r < own || r >= own + sizeof own);
    assert_non_null(a.chunks);
    memset(r, 1, 100);
    arena_fini(&a);
}

static void odd_memory_of_the_owner_is_aligned(void **state)
{
    _Alignas(16) char own[64];
    struct arena a;
    arena_init(&a, own + 3, 40);
    char *p = arena_alloc(&a, 16);
    assert_ptr_equal(p, own + 16);
    p = arena_alloc(&a, 16); /* 11 bytes are left of the 40 */
    assert_true(p < own || p >= own + sizeof own);
    arena_fini(&a);
}

static void allocations_do_not_overlap(void **state)
{
    struct arena a;
    unsigned char *at[200];
    arena_init(&a, NULL, 0);
    for (size_t i = 0; i < 200; i++) {
        at[i] = arena_alloc(&a, i * 7);
        assert_aligned(at[i]);
        memset(at[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t k = 0; k < i * 7; k++)
            assert_int_equal(at[i][k], i);
    arena_fini(&a);
}

static void a_big_one_does_not_waste_the_current_chunk(void **state)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    char *p = arena_alloc(&a, 16);
    memset(arena_alloc(&a, 100000), 1, 100000);
    assert_ptr_equal(arena_alloc(&a, 16), p + 16);
    arena_fini(&a);
}

static void an_arena_can_be_used_again_after_its_end(void **state)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    arena_alloc(&a, 5000);
    arena_fini(&a);
    assert_null(a.chunks);
    arena_init(&a, NULL, 0);
    assert_non_null(arena_alloc(&a, 0));
    arena_fini(&a);
    arena_fini(&a);
}

static void zeroed_memory_is_zero(void **state)
{
    static const char zeros[300];
    struct arena a;
    char own[512];
    memset(own, 1, sizeof own);
    arena_init(&a, own, sizeof own);
    assert_memory_equal(arena_zalloc(&a, 300), zeros, 300);
    assert_memory_equal(arena_zalloc(&a, 300), zeros, 300);
    arena_fini(&a);
}

static void copies_and_printed_text_end_with_a_nul(void **state)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    struct str s = arena_copy(&a, STR("a\0b"));
    assert_int_equal(s.n, 3);
    assert_memory_equal(s.p, "a\0b", 4);
    s = arena_copy(&a, STR_NONE);
    assert_int_equal(s.n, 0);
    assert_string_equal(s.p, "");
    s = arena_printf(&a, "%d-%.*s", 42, STR_ARG(STR("xyz")));
    assert_string_equal(s.p, "42-xyz");
    assert_int_equal(s.n, 6);
    s = arena_printf(&a, "%05000d", 7);
    assert_int_equal(s.n, 5000);
    assert_int_equal(s.p[4999], '7');
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_owners_memory_is_used_first),
        cmocka_unit_test(odd_memory_of_the_owner_is_aligned),
        cmocka_unit_test(allocations_do_not_overlap),
        cmocka_unit_test(a_big_one_does_not_waste_the_current_chunk),
        cmocka_unit_test(an_arena_can_be_used_again_after_its_end),
        cmocka_unit_test(zeroed_memory_is_zero),
        cmocka_unit_test(copies_and_printed_text_end_with_a_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
