/* The resolver, with a getaddrinfo of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netdb.h>

#include "base/clock.h"
#include "upstream/peer.h"

static _Atomic unsigned n_asked, msec_taken;
static _Atomic bool alternates; /* another address each round, of two; two names are asked for in each */

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **list)
{
    struct {
        struct addrinfo info;
        struct sockaddr_in address;
    } *found = calloc(1, sizeof *found);
    (void)host, (void)hints;
    found->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = {htonl(INADDR_LOOPBACK + (alternates ? n_asked / 2 % 2 : 0))}};
    found->info = (struct addrinfo){.ai_family = AF_INET, .ai_addr = (struct sockaddr *)&found->address, .ai_addrlen = sizeof found->address};
    *list = &found->info;
    n_asked++;
    usleep(1000 * msec_taken);
    return 0;
}

void freeaddrinfo(struct addrinfo *list)
{
    free(list);
}

/* How long it takes until names were asked for n times more. */
static uint64_t time_of(unsigned n)
{
    uint64_t began = clock_usec();
    for (unsigned until = n_asked + n; n_asked < until && clock_usec() < began + 20 * SEC;)
        usleep(1000);
    return clock_usec() - began;
}

static void names_are_asked_for_as_often_as_the_interval_says_and_that_can_change(void **state)
{
    struct sockaddr_storage address;
    socklen_t n;
    struct peer *peer = peer_get("http://qdrant.example:6333", "qdrant.example", 6333);
    resolver_set_interval(1 * SEC);
    resolver_start();
    time_of(1); /* peer_get has kicked it: the next round may come sooner */
    time_of(1);
    assert_true(peer_address(peer, &address, &n));
    assert_in_range(time_of(1), 700 * MSEC, 1700 * MSEC);
    resolver_set_interval(10 * MSEC);
    resolver_kick();
    time_of(2); /* after a kick there is a pause */
    assert_in_range(time_of(20), 150 * MSEC, 2 * SEC);
    resolver_stop();
}

static void a_name_that_changes_to_and_fro_costs_two_sets(void **state)
{
    struct peer *peer = peer_get("http://turns.example:6333", "turns.example", 6333);
    unsigned n = 0;
    alternates = true;
    resolver_set_interval(2 * MSEC);
    resolver_start();
    time_of(100);
    resolver_stop();
    alternates = false;
    for (struct peer_addresses *set = peer->sets; set; set = set->older)
        n++;
    assert_int_equal(n, 2);
}

static void the_end_does_not_wait_for_a_silent_name_server(void **state)
{
    msec_taken = 3000;
    resolver_start();
    time_of(1);
    uint64_t began = clock_usec();
    resolver_stop();
    assert_in_range(clock_usec() - began, 0, 1500 * MSEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_asked_for_as_often_as_the_interval_says_and_that_can_change),
        cmocka_unit_test(a_name_that_changes_to_and_fro_costs_two_sets),
        cmocka_unit_test(the_end_does_not_wait_for_a_silent_name_server), /* the last: its resolver goes on for a while */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
