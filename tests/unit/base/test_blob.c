#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/blob.h"

static void a_blob_keeps_a_copy(void **state)
{
    char text[] = "answer\0bytes";
    struct blob *b = blob_copy(str_slice(text, sizeof text));
    memset(text, 'x', sizeof text);
    assert_int_equal(blob_str(b).n, 13);
    assert_memory_equal(blob_str(b).p, "answer\0bytes", 13);
    blob_put(&b);
    assert_null(b);
}

static void a_blob_may_be_empty(void **state)
{
    struct blob *b = blob_copy(STR_NONE);
    assert_int_equal(blob_str(b).n, 0);
    blob_put(&b);
    blob_put(&b); /* nothing inside any more */
    assert_null(b);
}

static void the_last_owner_frees_it(void **state)
{
    struct blob *b = blob_new(3), *also = blob_get(b);
    assert_ptr_equal(b, also);
    memcpy(b->bytes, "abc", 3);
    blob_put(&b);
    assert_null(b);
    assert_memory_equal(blob_str(also).p, "abc", 3);
    blob_put(&also); /* the leak check of the sanitizer sees whether this was the end */
}

static void *get_and_put(void *arg)
{
    struct blob *mine = arg;
    for (int i = 0; i < 20000; i++) {
        struct blob *again = blob_get(mine);
        blob_put(&again);
    }
    blob_put(&mine);
    return NULL;
}

static void threads_may_share_it(void **state)
{
    struct blob *b = blob_copy(STR("shared"));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_and_put, blob_get(b)), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(b->n_refs, 1);
    blob_put(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_blob_keeps_a_copy),
        cmocka_unit_test(a_blob_may_be_empty),
        cmocka_unit_test(the_last_owner_frees_it),
        cmocka_unit_test(threads_may_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
