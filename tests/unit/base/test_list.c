#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/list.h"

struct member {
    int value;
    struct link on_list;
};

static struct member *member_of(struct link *k)
{
    return LIST_OF(member, on_list, k);
}

/* The values of the list from its first to its last, forwards and backwards, and their number, are
 * want[0..n). */
static void assert_values(struct list *l, const int *want, size_t n)
{
    size_t i = 0;
    assert_int_equal(l->n, n);
    for (struct link *k = list_first(l); k; k = list_next(l, k)) {
        assert_true(i < n);
        assert_int_equal(member_of(k)->value, want[i++]);
    }
    assert_int_equal(i, n);
    struct link *k = l->head.prev;
    for (; k != &l->head; k = k->prev)
        assert_int_equal(member_of(k)->value, want[--i]);
    assert_int_equal(i, 0);
}

static void an_empty_list_has_no_ends(void **state)
{
    struct list l;
    list_init(&l);
    assert_null(list_first(&l));
    assert_null(list_last(&l));
    assert_null(list_pop(&l));
    assert_int_equal(l.n, 0);
}

static void members_stay_in_order(void **state)
{
    struct list l;
    struct member m[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&l);
    list_push(&l, &m[1].on_list);
    list_push(&l, &m[3].on_list);
    list_push_front(&l, &m[0].on_list);
    list_insert_after(&l, &m[1].on_list, &m[2].on_list);
    assert_values(&l, (int[]){0, 1, 2, 3}, 4);
    assert_ptr_equal(list_last(&l), &m[3].on_list);
    assert_ptr_equal(list_pop(&l), &m[0].on_list);
    list_remove(&l, &m[2].on_list);
    assert_values(&l, (int[]){1, 3}, 2);
    assert_false(link_used(&m[2].on_list));
    assert_true(link_used(&m[1].on_list));
}

static void removing_twice_is_harmless(void **state)
{
    struct list l;
    struct member a = {.value = 1}, b = {.value = 2};
    list_init(&l);
    list_push(&l, &a.on_list);
    list_push(&l, &b.on_list);
    list_remove(&l, &a.on_list);
    list_remove(&l, &a.on_list);
    assert_values(&l, (int[]){2}, 1);
    list_remove(&l, &b.on_list);
    assert_values(&l, NULL, 0);
}

static void a_member_can_move_from_list_to_list(void **state)
{
    struct list from, to;
    struct member m[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
    list_init(&from);
    list_init(&to);
    for (int i = 0; i < 3; i++)
        list_push(&from, &m[i].on_list);
    for (struct link *k; (k = list_pop(&from));)
        list_push_front(&to, k);
    assert_values(&from, NULL, 0);
    assert_values(&to, (int[]){2, 1, 0}, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_list_has_no_ends),
        cmocka_unit_test(members_stay_in_order),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(a_member_can_move_from_list_to_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
