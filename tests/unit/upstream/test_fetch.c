/* One exchange over real sockets: framings, interim answers, what is no HTTP, cuts, deadlines, what is sent twice. */
#include "server.h"

#define GET "GET / HTTP/1.1\r\nHost: q\r\n\r\n"

/* One request on a connection of its own; the answer comes in pieces of at most `step` bytes; then the server closes if told to. */
static struct getter *answered(struct world *w, const char *answer, size_t step, bool closes, int *fd)
{
    struct getter *g = get(w, GET);
    *fd = serve(w);
    assert_string_equal(hears(w, *fd), GET);
    for (size_t at = 0; at < strlen(answer); at += step) {
        size_t n = strlen(answer) - at < step ? strlen(answer) - at : step;
        ssize_t sent = send(*fd, answer + at, n, MSG_NOSIGNAL); /* what is no HTTP is cut off early */
        (void)sent;
        world_turn(w);
    }
    if (closes)
        close(*fd);
    turn_until(w, g->over);
    return g;
}

static void every_framing_comes_whole_however_it_is_cut(void **state)
{
    static const struct {
        const char *answer, *body;
        bool closes, reused;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", false, true},
        {"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "", false, true},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: x\r\n\r\n", "hello", false, true},
        {"HTTP/1.1 200 OK\r\n\r\nhello", "hello", true, false},
        {"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello", false, false},
        {"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello", "hello", false, false},
        {"HTTP/1.1 204 No Content\r\n\r\n", "", false, true},
        {"HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n", "", false, true},
        {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", "hello",
         false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t step = 1; step < 200; step += step < 8 ? 1 : 60) {
            struct world *w = world_open(1);
            int fd;
            struct getter *g = answered(w, cases[i].answer, step, cases[i].closes, &fd);
            assert_int_equal(g->body_end, FETCH_END);
            assert_string_equal(g->body, cases[i].body);
            let_go(&g);
            assert_int_equal(atomic_load(&w->slots->n_open), cases[i].reused);
            if (!cases[i].closes)
                close(fd);
            world_close(&w);
        }
}

static void an_answer_to_head_has_no_body(void **state)
{
    struct world *w = world_open(1);
    struct getter *g = get(w, "HEAD / HTTP/1.1\r\nHost: q\r\n\r\n");
    int fd = serve(w);
    hears(w, fd);
    says(fd, "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n");
    turn_until(w, g->over);
    assert_int_equal(g->body_end, FETCH_END);
    let_go(&g);
    assert_int_equal(atomic_load(&w->slots->n_open), 1);
    close(fd);
    world_close(&w);
}

static void what_breaks_is_a_failure_and_its_connection_is_thrown_away(void **state)
{
    static const struct {
        const char *answer;
        enum fetch_failure failure;
        bool closes;
    } cases[] = {
        {"SSH-2.0-OpenSSH_9.2\r\n\r\n", FETCH_FAILED_BAD_ANSWER, false},
        {"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", FETCH_FAILED_BAD_ANSWER, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", FETCH_FAILED_BAD_ANSWER, false},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", FETCH_FAILED_BAD_ANSWER, false},
        {"HTTP/1.1 200 OK\nx: y\n\n", FETCH_FAILED_BAD_ANSWER, false},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", FETCH_FAILED_BAD_ANSWER, false},
        {"", FETCH_FAILED_DIED, true},
        {"HTTP/1.1 200", FETCH_FAILED_CUT, true},
        {"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel", FETCH_FAILED_CUT, true},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", FETCH_FAILED_CUT, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_open(1);
        int fd;
        struct getter *g = answered(w, cases[i].answer, 1000, cases[i].closes, &fd);
        assert_int_equal(g->body_end, FETCH_BROKEN);
        assert_int_equal(g->fetch.failure, cases[i].failure);
        let_go(&g);
        assert_int_equal(atomic_load(&w->slots->n_open), 0);
        if (!cases[i].closes)
            close(fd);
        world_close(&w);
    }
}

static void bytes_behind_an_answer_end_the_connection(void **state)
{
    struct world *w = world_open(1);
    int fd;
    struct getter *g = answered(w, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad", 1000, false, &fd);
    assert_string_equal(g->body, "hello");
    let_go(&g);
    assert_int_equal(atomic_load(&w->slots->n_open), 0);
    close(fd);
    world_close(&w);
}

/* A connection that served one exchange and lies idle. */
static int idle_connection(struct world *w)
{
    int fd;
    struct getter *g = answered(w, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 1000, false, &fd);
    let_go(&g);
    assert_int_equal(atomic_load(&w->slots->n_open), 1);
    return fd;
}

static void an_idle_connection_is_used_again_and_dies_of_unasked_bytes(void **state)
{
    struct world *w = world_open(2);
    int fd = idle_connection(w);
    struct getter *g = get(w, GET);
    assert_string_equal(hears(w, fd), GET);
    says(fd, "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    turn_until(w, g->over);
    let_go(&g);
    assert_true(nobody_connects(w));
    says(fd, "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
    turn_until(w, atomic_load(&w->slots->n_open) == 0);
    close(fd);
    world_close(&w);
}

static void a_read_on_a_connection_that_just_died_is_sent_once_more(void **state)
{
    struct world *w = world_open(1);
    int fd = idle_connection(w);
    struct getter *g = get(w, GET);
    assert_string_equal(hears(w, fd), GET);
    close(fd);
    turn_until(w, g->fetch.retried);
    fd = serve(w);
    assert_string_equal(hears(w, fd), GET);
    close(fd); /* twice is enough */
    turn_until(w, g->over);
    assert_int_equal(g->fetch.failure, FETCH_FAILED_DIED);
    let_go(&g);
    world_turn(w);
    assert_true(nobody_connects(w));
    world_close(&w);
}

static void nothing_is_sent_twice_after_a_byte_of_the_answer(void **state)
{
    static const char *const begins[] = {"H", "HTTP/1.1 103 Early Hints\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        struct world *w = world_open(1);
        int fd = idle_connection(w);
        struct getter *g = get(w, GET);
        hears(w, fd);
        says(fd, begins[i]);
        turn_until(w, g->fetch.first_byte_at);
        close(fd);
        turn_until(w, g->over);
        assert_false(g->fetch.retried);
        let_go(&g);
        assert_true(nobody_connects(w));
        world_close(&w);
    }
}

static void a_write_is_not_sent_twice_and_does_not_enter_a_closed_connection(void **state)
{
    struct world *w = world_open(1);
    int fd = idle_connection(w);
    struct getter *g = getter_new(w);
    g->fetch.may_retry = false;
    g->part[0] = STR("PUT / HTTP/1.1\r\nHost: q\r\ncontent-length: 0\r\n\r\n");
    shutdown(fd, SHUT_WR); /* not seen by the loop yet */
    fetch_start(&g->fetch, &w->slots, 1, 16, g->part, 1, false, false);
    getter_look(g);
    close(fd);
    fd = serve(w);
    assert_string_equal(hears(w, fd), g->part[0].p);
    close(fd);
    turn_until(w, g->over);
    assert_int_equal(g->fetch.failure, FETCH_FAILED_DIED);
    let_go(&g);
    assert_true(nobody_connects(w));
    world_close(&w);
}

static void an_early_answer_to_a_long_upload_is_heard_although_sending_fails(void **state)
{
    for (int round = 0; round < 5; round++) {
        struct world *w = world_open(1);
        struct getter *g = getter_new(w);
        static char piece[60000];
        g->fetch.may_retry = false;
        g->part[0] = STR("PUT / HTTP/1.1\r\nHost: q\r\ncontent-length: 100000000\r\n\r\n");
        fetch_start(&g->fetch, &w->slots, 1, 16, g->part, 1, true, false);
        getter_look(g);
        int fd = serve(w);
        bool said = false;
        for (uint64_t end = clock_usec() + 2 * SEC; !g->over && clock_usec() < end;) {
            world_turn(w);
            getter_look(g);
            if (fetch_takes_body(&g->fetch))
                fetch_send_slice(&g->fetch, (struct str){piece, sizeof piece}, false);
            if (g->fetch.any_sent && !said) {
                said = true;
                says(fd, "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig");
                close(fd); /* with unread bytes: a reset follows the answer */
            }
        }
        assert_true(g->over);
        if (g->body_end == FETCH_END) { /* the kernel may have thrown the answer away with the reset */
            assert_int_equal(g->fetch.head.status, 413);
            assert_string_equal(g->body, "big");
        }
        let_go(&g);
        assert_int_equal(atomic_load(&w->slots->n_open), 0);
        world_close(&w);
    }
}

static void each_wait_has_its_deadline(void **state)
{
    static const struct {
        const char *answer;
        struct fetch_limits limits;
        enum fetch_failure failure;
    } cases[] = {
        {NULL, {.first_byte = 30 * MSEC}, FETCH_FAILED_FIRST_BYTE},
        {"HTTP/1.1 200 OK\r\n", {.first_byte = 30 * MSEC}, FETCH_FAILED_FIRST_BYTE},
        {"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhel", {.body = 30 * MSEC}, FETCH_FAILED_BODY_TIMEOUT},
        {"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5", {.body = 30 * MSEC}, FETCH_FAILED_BODY_TIMEOUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_open(1);
        struct getter *g = getter_new(w);
        g->fetch.limits = cases[i].limits;
        g->part[0] = STR(GET);
        fetch_start(&g->fetch, &w->slots, 1, 16, g->part, 1, false, false);
        getter_look(g);
        int fd = serve(w);
        hears(w, fd);
        if (cases[i].answer)
            says(fd, cases[i].answer);
        turn_for(w, 5 * MSEC);
        assert_true(fetch_deadline(&g->fetch) != NEVER);
        for (uint64_t end = clock_usec() + SEC; !g->over && clock_usec() < end; usleep(500)) {
            world_turn(w);
            if (w->loop.now >= fetch_deadline(&g->fetch))
                getter_look(g);
        }
        assert_int_equal(g->fetch.failure, cases[i].failure);
        let_go(&g);
        close(fd);
        world_close(&w);
    }
}

static void a_whole_body_larger_than_a_buffer_comes_in_place(void **state)
{
    enum { N = 300 * 1024 };
    struct world *w = world_open(1);
    struct getter *g = getter_new(w);
    static char big[N + 100];
    int head = snprintf(big, sizeof big, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", N);
    for (int i = 0; i < N; i++)
        big[head + i] = (char)('a' + i % 23);
    g->part[0] = STR(GET);
    fetch_start(&g->fetch, &w->slots, 1, 16, g->part, 1, false, false);
    fetch_run(&g->fetch, w->loop.now);
    g->over = true; /* the test looks itself */
    int fd = serve(w);
    turn_until(w, fetch_run(&g->fetch, w->loop.now) == FETCH_WAITING);
    struct str whole;
    size_t sent = 0;
    enum fetch_body result = FETCH_WAIT;
    for (uint64_t end = clock_usec() + 3 * SEC; result == FETCH_WAIT && clock_usec() < end;) {
        if (sent < (size_t)head + N) {
            ssize_t n = send(fd, big + sent, (size_t)head + N - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
            sent += n > 0 ? (size_t)n : 0;
        }
        world_turn(w);
        if (fetch_run(&g->fetch, w->loop.now) == FETCH_ANSWERING)
            result = fetch_body_whole(&g->fetch, &whole);
    }
    assert_int_equal(result, FETCH_END);
    assert_int_equal(whole.n, N);
    assert_memory_equal(whole.p, big + head, N);
    fetch_body_used(&g->fetch, whole.n);
    let_go(&g);
    assert_int_equal(atomic_load(&w->slots->n_open), 1);
    close(fd);
    world_close(&w);
}

static void a_refused_connect_is_502(void **state)
{
    struct world *w = world_open(1);
    close(w->listener);
    struct getter *g = get(w, GET);
    turn_until(w, g->over);
    assert_int_equal(g->fetch.failure, FETCH_FAILED_CONNECT);
    assert_int_equal(fetch_failure_status(g->fetch.failure), 502);
    let_go(&g);
    assert_int_equal(atomic_load(&w->slots->n_open), 0);
    w->listener = listen_local(w->url);
    world_close(&w);
}

static void another_server_takes_over_from_one_that_refuses(void **state)
{
    struct world *w = world_open(4);
    char url[64];
    int gone = listen_local(url);
    close(gone);
    struct slots *both[2] = {slots_to(url, 4), w->slots};
    for (int i = 0; i < 20; i++) {
        struct getter *g = getter_new(w);
        g->part[0] = STR("GET / HTTP/1.1\r\nHost: q\r\nconnection: close\r\n\r\n");
        fetch_start(&g->fetch, both, 2, 16, g->part, 1, false, false);
        getter_look(g);
        turn_until(w, g->fetch.state == FETCH_WAITING);
        int fd = serve(w);
        hears(w, fd);
        says(fd, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
        turn_until(w, g->over);
        assert_string_equal(g->body, "ok");
        let_go(&g);
        close(fd);
    }
    assert_int_equal(atomic_load(&both[0]->n_open), 0);
    world_close(&w);
    atomic_store(&both[0]->worker[0].pool, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_framing_comes_whole_however_it_is_cut),
        cmocka_unit_test(an_answer_to_head_has_no_body),
        cmocka_unit_test(what_breaks_is_a_failure_and_its_connection_is_thrown_away),
        cmocka_unit_test(bytes_behind_an_answer_end_the_connection),
        cmocka_unit_test(an_idle_connection_is_used_again_and_dies_of_unasked_bytes),
        cmocka_unit_test(a_read_on_a_connection_that_just_died_is_sent_once_more),
        cmocka_unit_test(nothing_is_sent_twice_after_a_byte_of_the_answer),
        cmocka_unit_test(a_write_is_not_sent_twice_and_does_not_enter_a_closed_connection),
        cmocka_unit_test(an_early_answer_to_a_long_upload_is_heard_although_sending_fails),
        cmocka_unit_test(each_wait_has_its_deadline),
        cmocka_unit_test(a_whole_body_larger_than_a_buffer_comes_in_place),
        cmocka_unit_test(a_refused_connect_is_502),
        cmocka_unit_test(another_server_takes_over_from_one_that_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
