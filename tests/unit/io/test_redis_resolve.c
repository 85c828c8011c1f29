/* Looking up a name where no thread can be had, with a pthread_create of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>

#include "base/clock.h"
#include "io/redis_resolve.h"

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
    (void)thread, (void)attr, (void)run, (void)arg;
    return EAGAIN;
}

static char told[200];
static unsigned n_told;

static void found(void *arg, const char *address, const char *why)
{
    (void)arg;
    assert_null(address);
    strncpy(told, why, sizeof told - 1);
    n_told++;
}

static void without_a_thread_the_name_is_not_found_and_that_is_said_later(void **state)
{
    struct loop loop;
    loop_init(&loop);
    redis_resolve_start(&loop, "redis.example", 0, found, NULL);
    assert_int_equal(n_told, 0);
    loop_turn(&loop, clock_usec() + SEC);
    assert_int_equal(n_told, 1);
    assert_non_null(strstr(told, "redis.example: no thread"));
    redis_resolve_cancel(redis_resolve_start(&loop, "redis.example", 0, found, NULL));
    loop_turn(&loop, clock_usec() + 10 * MSEC);
    assert_int_equal(n_told, 1);
    loop_fini(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_thread_the_name_is_not_found_and_that_is_said_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
