/* The Redis connection against a real redis-server: commands, budgets, breaker, reconnect, passwords,
 * sockets, refusals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "io/redis.h"
#include "io/redis_server.h"

static unsigned port, other_port; /* free ones */

struct world {
    struct loop loop;
    struct redis_server server;
    struct redis *redis;
    unsigned n_ready, n_away;
    bool refuse;
};

static struct world world;

static bool on_ready(void *arg)
{
    struct world *w = arg;
    w->n_ready++;
    return !w->refuse;
}

static void on_away(void *arg)
{
    ((struct world *)arg)->n_away++;
}

static int open_world(void **state)
{
    if (!have_redis())
        skip();
    signal(SIGPIPE, SIG_IGN);
    world = (struct world){0};
    port = free_port();
    other_port = free_port();
    loop_init(&world.loop);
    *state = &world;
    return 0;
}

static int close_world(void **state)
{
    redis_close(&world.redis);
    redis_kill(&world.server);
    loop_fini(&world.loop);
    return 0;
}

static void open_redis(struct conf_redis target, unsigned max_ops)
{
    target.on = true;
    struct redis_conf conf = {.target = target, .name = "test", .connect_timeout = 300 * MSEC,
                              .max_ops = max_ops};
    world.redis = redis_open(&world.loop, &conf, on_ready, on_away, &world);
}

static struct conf_redis at_port(unsigned number)
{
    return (struct conf_redis){.host = "127.0.0.1", .port = (uint16_t)number};
}

static bool is_ready(void *arg)
{
    return redis_ready(world.redis);
}

static bool is_away(void *arg)
{
    return !redis_ready(world.redis);
}

struct call {
    struct redis_op op;
    bool done, failed;
    enum redis_kind kind;
    char text[64];
    uint64_t at;
};

static void on_done(struct redis_op *op, const struct redis_value *v)
{
    struct call *call = (struct call *)op; /* op is its first member */
    assert_false(call->done);
    call->done = true;
    call->at = clock_usec();
    call->failed = !v;
    if (!v)
        return;
    call->kind = redis_kind(v);
    snprintf(call->text, sizeof call->text, "%.*s", STR_ARG(redis_text(v)));
    if (call->kind == REDIS_IS_LIST)
        snprintf(call->text, sizeof call->text, "%u:%d", redis_count(v), redis_kind(redis_item(v, 1)));
    if (call->kind == REDIS_IS_NUMBER)
        snprintf(call->text, sizeof call->text, "%ld", (long)redis_number(v));
}

static bool call_done(void *arg)
{
    return ((struct call *)arg)->done;
}

static bool start(struct call *call, uint64_t budget, unsigned argc, const struct str *argv)
{
    *call = (struct call){0};
    return redis_send(world.redis, &call->op, argc, argv, budget, on_done);
}

#define CALL(call, budget, ...) \
    start(call, budget, sizeof((struct str[]){__VA_ARGS__}) / sizeof(struct str), (struct str[]){__VA_ARGS__})

static void up(const char *more)
{
    assert_true(redis_start(&world.server, port, more));
}

static void commands_are_answered_in_every_kind(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    struct call call;
    assert_false(CALL(&call, SEC, STR("PING"))); /* not ready yet: not sent */
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    assert_int_equal(strlen(redis_info(world.redis)->run_id), 40);
    assert_string_equal(redis_info(world.redis)->role, "master");
    assert_string_equal(redis_info(world.redis)->policy, "noeviction");
    assert_string_equal(redis_fault(world.redis), "");
    assert_true(CALL(&call, SEC, STR("SET"), STR("k"), STR("a\0b\r\n")));
    assert_false(call.done); /* never before it returned */
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_string_equal(call.text, "OK");
    CALL(&call, SEC, STR("STRLEN"), STR("k"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_string_equal(call.text, "5");
    CALL(&call, SEC, STR("MGET"), STR("k"), STR("none"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    char expected[8];
    snprintf(expected, sizeof expected, "2:%d", REDIS_IS_NIL);
    assert_string_equal(call.text, expected);
    CALL(&call, SEC, STR("NOSUCH"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_int_equal(call.kind, REDIS_IS_ERROR);
}

static void big_values_go_through(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    size_t n = 6u << 20;
    char *bytes = calloc(1, n);
    struct call set, len;
    assert_true(CALL(&set, 5 * SEC, STR("SET"), STR("big"), str_slice(bytes, n)));
    assert_true(CALL(&len, 5 * SEC, STR("STRLEN"), STR("big")));
    free(bytes);
    assert_true(run_until(&world.loop, call_done, &len, 5000));
    assert_string_equal(len.text, "6291456");
    assert_true(CALL(&len, 5 * SEC, STR("GET"), STR("big")));
    assert_true(run_until(&world.loop, call_done, &len, 5000));
    assert_false(len.failed);
}

static void a_command_over_its_budget_fails_and_its_late_answer_is_dropped(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    kill(world.server.pid, SIGSTOP);
    struct call late, next;
    uint64_t begin = clock_usec();
    assert_true(CALL(&late, 20 * MSEC, STR("PING")));
    assert_true(run_until(&world.loop, call_done, &late, 1000));
    assert_true(late.failed);
    assert_in_range(late.at - begin, 20 * MSEC, 200 * MSEC);
    kill(world.server.pid, SIGCONT);
    assert_true(CALL(&next, SEC, STR("ECHO"), STR("next")));
    assert_true(run_until(&world.loop, call_done, &next, 2000));
    assert_string_equal(next.text, "next");
    assert_int_equal(redis_stats(world.redis)->timeouts, 1);
    assert_int_equal(world.n_away, 0);
}

static void an_abandoned_command_never_calls(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    struct call *gone = malloc(sizeof *gone), next;
    start(gone, SEC, 1, (struct str[]){STR("PING")});
    redis_abandon(&gone->op);
    redis_abandon(&gone->op);
    free(gone);
    CALL(&next, SEC, STR("PING"));
    assert_true(run_until(&world.loop, call_done, &next, 2000));
    assert_string_equal(next.text, "PONG");
}

static void five_timeouts_in_a_row_open_the_breaker(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    kill(world.server.pid, SIGSTOP);
    struct call call[6];
    uint64_t begin = clock_usec();
    for (unsigned i = 0; i < 5; i++)
        assert_true(CALL(&call[i], 2 * MSEC, STR("PING")));
    assert_true(CALL(&call[5], SEC, STR("PING")));
    assert_true(run_until(&world.loop, is_away, NULL, 1000));
    assert_true(clock_usec() - begin < 102 * MSEC);
    assert_int_equal(world.n_away, 1);
    assert_true(call[5].done && call[5].failed); /* what is in flight fails at once */
    assert_int_equal(redis_stats(world.redis)->breaker_opens, 1);
    struct call refused;
    assert_false(CALL(&refused, SEC, STR("PING")));
    run_for(&world.loop, 500); /* probes go unanswered */
    assert_false(redis_ready(world.redis));
    kill(world.server.pid, SIGCONT);
    assert_true(run_until(&world.loop, is_ready, NULL, 3000));
}

static void large_answers_that_take_long_open_no_breaker(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    kill(world.server.pid, SIGSTOP);
    struct call call[6];
    for (unsigned i = 0; i < 5; i++) {
        assert_true(CALL(&call[i], 2 * MSEC, STR("PING")));
        redis_may_be_large(&call[i].op);
    }
    run_for(&world.loop, 50);
    assert_true(call[4].done && call[4].failed);
    assert_true(redis_ready(world.redis));
    run_for(&world.loop, 1000); /* nothing at all is answered any more */
    for (unsigned i = 0; i < 5; i++) {
        assert_true(CALL(&call[i], 2 * MSEC, STR("PING")));
        redis_may_be_large(&call[i].op);
    }
    assert_true(run_until(&world.loop, is_away, NULL, 1000));
    kill(world.server.pid, SIGCONT);
}

static void what_is_in_flight_is_bounded(void **state)
{
    up("");
    open_redis(at_port(port), 4);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    struct call call[5];
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(CALL(&call[i], SEC, STR("PING")), i < 4);
    assert_int_equal(redis_stats(world.redis)->refused, 1);
    assert_true(run_until(&world.loop, call_done, &call[3], 2000));
}

static void bytes_in_flight_are_bounded_too(void **state)
{
    static char big[10000];
    struct redis_conf conf = {.target = at_port(port), .name = "test", .connect_timeout = 300 * MSEC, .max_bytes = 64 << 10};
    up("");
    world.redis = redis_open(&world.loop, &conf, on_ready, on_away, &world);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    kill(world.server.pid, SIGSTOP);
    unsigned n_sent = 0;
    for (unsigned i = 0; i < 1000; i++) { /* what nobody waits for counts as well */
        struct str argv[] = {STR("SET"), STR("k"), {big, sizeof big}};
        n_sent += redis_send(world.redis, NULL, 3, argv, SEC, NULL);
        run_for(&world.loop, 0);
    }
    assert_int_equal(n_sent, 6);
    assert_int_equal(redis_stats(world.redis)->refused, 994);
    kill(world.server.pid, SIGCONT);
    struct call call;
    run_for(&world.loop, 300);
    assert_true(CALL(&call, SEC, STR("PING")));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_false(call.failed);
}

static void it_comes_back_after_a_restart(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    char before[48];
    snprintf(before, sizeof before, "%s", redis_info(world.redis)->run_id);
    struct call call;
    kill(world.server.pid, SIGSTOP);
    assert_true(CALL(&call, 10 * SEC, STR("PING")));
    redis_kill(&world.server);
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_true(call.failed);
    assert_true(run_until(&world.loop, is_away, NULL, 2000));
    run_for(&world.loop, 1500);
    up("");
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    assert_string_not_equal(before, redis_info(world.redis)->run_id);
    assert_int_equal(world.n_ready, 2);
    assert_int_equal(world.n_away, 1);
}

static void nobody_listening_is_retried_until_somebody_does(void **state)
{
    open_redis(at_port(other_port), 0);
    run_for(&world.loop, 400);
    assert_false(redis_ready(world.redis));
    assert_true(redis_stats(world.redis)->connect_failures >= 2);
    assert_non_null(strstr(redis_fault(world.redis), "cannot connect"));
    assert_true(redis_start(&world.server, other_port, ""));
    assert_true(run_until(&world.loop, is_ready, NULL, 2500));
}

/* Twelve that lose the same server at the same moment ask for it again at different ones: 50 ms, give or take a quarter. */
static void probes_come_with_jitter(void **state)
{
    enum { N = 12 };
    struct redis *redis[N];
    struct redis_conf conf = {.target = at_port(other_port), .name = "test", .connect_timeout = 300 * MSEC};
    uint64_t first = 0, last = 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)other_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 64), 0);
    for (unsigned i = 0; i < N; i++)
        redis[i] = redis_open(&world.loop, &conf, NULL, NULL, NULL);
    for (unsigned n = 0; n < 2 * N;) { /* each comes, is hung up on, and comes again */
        int peer = accept(fd, NULL, NULL);
        if (peer < 0) {
            run_for(&world.loop, 1);
            continue;
        }
        close(peer);
        n++;
        last = clock_usec();
        first = n == N + 1 ? last : first;
    }
    assert_true(last - first > 8 * MSEC); /* one in 20,000 runs would be closer by chance */
    for (unsigned i = 0; i < N; i++)
        redis_close(&redis[i]);
    close(fd);
}

static void a_listener_that_never_answers_costs_the_connect_timeout(void **state)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)other_port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 8), 0);
    open_redis(at_port(other_port), 0);
    run_for(&world.loop, 600);
    assert_false(redis_ready(world.redis));
    assert_non_null(strstr(redis_fault(world.redis), "redis.connect_timeout"));
    close(fd);
}

static void password_database_and_name_are_said(void **state)
{
    up("--requirepass secret");
    struct conf_redis target = at_port(port);
    target.password = "secret";
    target.db = 3;
    open_redis(target, 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    struct call call;
    CALL(&call, SEC, STR("CLIENT"), STR("GETNAME"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_string_equal(call.text, "test");
    CALL(&call, SEC, STR("SET"), STR("a"), STR("b"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    CALL(&call, SEC, STR("INFO"), STR("keyspace"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_non_null(strstr(call.text, "db3:"));
}

static void a_wrong_password_is_said_and_not_retried_fast(void **state)
{
    up("--requirepass secret");
    struct conf_redis target = at_port(port);
    target.password = "wrong";
    open_redis(target, 0);
    run_for(&world.loop, 800);
    assert_false(redis_ready(world.redis));
    assert_non_null(strstr(redis_fault(world.redis), "AUTH was refused"));
    assert_int_equal(redis_stats(world.redis)->connect_failures, 1);
}

static void a_user_of_an_acl_may_log_in_and_one_without_info_is_refused(void **state)
{
    up("");
    redis_say(&world.server, "ACL SETUSER quiver on >pw ~* +@all", NULL, 0);
    redis_say(&world.server, "ACL SETUSER blind on >pw ~* +@all -info", NULL, 0);
    struct conf_redis target = at_port(port);
    target.user = "quiver";
    target.password = "pw";
    open_redis(target, 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    redis_close(&world.redis);
    target.user = "blind";
    open_redis(target, 0);
    run_for(&world.loop, 300);
    assert_false(redis_ready(world.redis));
    assert_non_null(strstr(redis_fault(world.redis), "INFO was refused"));
}

static void a_unix_socket_works(void **state)
{
    char path[80], more[120];
    snprintf(path, sizeof path, "/tmp/quiver-test-%d.sock", (int)getpid());
    snprintf(more, sizeof more, "--unixsocket %s", path);
    up(more);
    open_redis((struct conf_redis){.path = path}, 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    struct call call;
    CALL(&call, SEC, STR("PING"));
    assert_true(run_until(&world.loop, call_done, &call, 2000));
    assert_string_equal(call.text, "PONG");
    unlink(path);
}

static void a_host_name_is_resolved_off_the_loop(void **state)
{
    up("");
    struct conf_redis target = at_port(port);
    target.host = "localhost";
    open_redis(target, 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 3000));
    redis_close(&world.redis);
    target.host = "no-such-host.invalid";
    open_redis(target, 0);
    run_for(&world.loop, 300);
    assert_false(redis_ready(world.redis));
    redis_close(&world.redis); /* perhaps while the resolver runs */
    run_for(&world.loop, 50);
}

static void an_owner_may_refuse_what_it_is_connected_to(void **state)
{
    up("");
    world.refuse = true;
    open_redis(at_port(port), 0);
    run_for(&world.loop, 500);
    assert_int_equal(world.n_ready, 1);
    assert_int_equal(world.n_away, 0);
    assert_false(redis_ready(world.redis));
}

static void reconnect_is_an_event_and_fails_what_is_in_flight(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    struct call call;
    CALL(&call, SEC, STR("PING"));
    redis_reconnect(world.redis, "the test wants it");
    assert_false(call.done);
    assert_false(redis_ready(world.redis));
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    assert_true(call.done);
    assert_int_equal(world.n_away, 1);
}

static void a_killed_connection_is_made_again(void **state)
{
    up("");
    open_redis(at_port(port), 0);
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
    redis_say(&world.server, "CLIENT KILL TYPE normal", NULL, 0);
    assert_true(run_until(&world.loop, is_away, NULL, 2000));
    assert_true(run_until(&world.loop, is_ready, NULL, 2000));
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_A_WORLD(commands_are_answered_in_every_kind),
        IN_A_WORLD(big_values_go_through),
        IN_A_WORLD(a_command_over_its_budget_fails_and_its_late_answer_is_dropped),
        IN_A_WORLD(an_abandoned_command_never_calls),
        IN_A_WORLD(five_timeouts_in_a_row_open_the_breaker),
        IN_A_WORLD(large_answers_that_take_long_open_no_breaker),
        IN_A_WORLD(what_is_in_flight_is_bounded),
        IN_A_WORLD(bytes_in_flight_are_bounded_too),
        IN_A_WORLD(it_comes_back_after_a_restart),
        IN_A_WORLD(nobody_listening_is_retried_until_somebody_does),
        IN_A_WORLD(probes_come_with_jitter),
        IN_A_WORLD(a_listener_that_never_answers_costs_the_connect_timeout),
        IN_A_WORLD(password_database_and_name_are_said),
        IN_A_WORLD(a_wrong_password_is_said_and_not_retried_fast),
        IN_A_WORLD(a_user_of_an_acl_may_log_in_and_one_without_info_is_refused),
        IN_A_WORLD(a_unix_socket_works),
        IN_A_WORLD(a_host_name_is_resolved_off_the_loop),
        IN_A_WORLD(an_owner_may_refuse_what_it_is_connected_to),
        IN_A_WORLD(reconnect_is_an_event_and_fails_what_is_in_flight),
        IN_A_WORLD(a_killed_connection_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
