#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/evhtp.h"

/* Server and client share the thread: the client's sockets do not block, and the loop turns until
 * something holds. */

enum { TURNS = 2000 }; /* of at most 1 ms */

static struct event_base *base;
static struct sockaddr_in address;
static struct control_listener *control;

static int listen_somewhere(void)
{
    socklen_t n = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &n), 0);
    return fd;
}

static int dial(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void turn(void)
{
    event_base_loop(base, EVLOOP_NONBLOCK);
    poll(NULL, 0, 1);
}

/* What the server sends until the text is there, or the end comes (wanted NULL). Heap. */
static char *receive(int fd, const char *wanted)
{
    char *text = mem_zalloc(1 << 20);
    size_t n = 0;
    for (unsigned i = 0; i < TURNS; i++) {
        turn();
        ssize_t got = recv(fd, text + n, (1 << 20) - 1 - n, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
            if (wanted)
                fail_msg("the connection ended (%zd, %s) before '%s': %s", got, strerror(errno), wanted, text);
            if (got < 0)
                fail_msg("the connection was reset after: %s", text);
            return text;
        }
        n += got > 0 ? (size_t)got : 0;
        if (wanted && strstr(text, wanted))
            return text;
    }
    fail_msg("'%s' did not come, only: %s", wanted ? wanted : "the end", text);
    return text;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void expect(int fd, const char *wanted)
{
    free(receive(fd, wanted));
}

static void expect_exactly(int fd, const char *wanted)
{
    char *text = receive(fd, NULL);
    assert_string_equal(text, wanted);
    free(text);
}

/* ---- acceptor ---- */

static int taken[64];
static unsigned n_taken;

static void take(int fd, const struct sockaddr *from, socklen_t n, void *arg)
{
    assert_ptr_equal(arg, &n_taken);
    if (from->sa_family == AF_INET) {
        assert_int_equal(n, sizeof(struct sockaddr_in));
        assert_int_equal(((const struct sockaddr_in *)from)->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    }
    taken[n_taken++] = fd;
}

static int start(void **state)
{
    base = event_base_new();
    n_taken = 0;
    return 0;
}

static int stop(void **state)
{
    while (n_taken)
        close(taken[--n_taken]);
    event_base_loop(base, EVLOOP_NONBLOCK); /* libevent frees what it deferred */
    event_base_free(base);
    return 0;
}

static void wait_taken(unsigned n)
{
    for (unsigned i = 0; i < TURNS && n_taken < n; i++)
        turn();
    assert_int_equal(n_taken, n);
}

static void an_accepted_socket_is_ours_alone(void **state)
{
    struct acceptor *a = acceptor_open(base, listen_somewhere(), NULL, take, &n_taken, NULL);
    int fd = dial();
    say(fd, "GET /ab");
    wait_taken(1);
    assert_true(fcntl(taken[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(taken[0], F_GETFD) & FD_CLOEXEC);
    say(fd, "c");
    char got[16] = "";
    for (unsigned i = 0; i < 20; i++)
        turn();
    assert_int_equal(recv(taken[0], got, sizeof got, 0), 8); /* nobody else has read any of it */
    assert_string_equal(got, "GET /abc");
    say(taken[0], "hello");
    expect(fd, "hello");
    close(fd);
    acceptor_close(&a);
    assert_null(a);
}

static void closing_hands_over_what_waits(void **state)
{
    struct acceptor *a = acceptor_open(base, listen_somewhere(), NULL, take, &n_taken, NULL);
    int fd[5];
    for (unsigned i = 0; i < 5; i++)
        fd[i] = dial();
    acceptor_close(&a);
    assert_int_equal(n_taken, 5);
    for (unsigned i = 0; i < 5; i++)
        close(fd[i]);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&address, sizeof address), -1);
    close(late);
}

static void a_unix_socket_is_accepted_too(void **state)
{
    char folder[] = "/tmp/quiver-evhtp-XXXXXX";
    struct sockaddr_un where = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(folder));
    snprintf(where.sun_path, sizeof where.sun_path, "%s/s", folder);
    int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listening, (struct sockaddr *)&where, sizeof where), 0);
    assert_int_equal(listen(listening, 4), 0);
    struct acceptor *a = acceptor_open(base, listening, NULL, take, &n_taken, NULL);
    assert_int_equal(connect(fd, (struct sockaddr *)&where, sizeof where), 0);
    wait_taken(1);
    close(fd);
    acceptor_close(&a);
    unlink(where.sun_path);
    rmdir(folder);
}

static void out_of_descriptors_it_pauses_instead_of_spinning(void **state)
{
    metrics_init(0, NULL);
    struct metrics *m = metrics_open("test");
    struct acceptor *a = acceptor_open(base, listen_somewhere(), m, take, &n_taken, NULL);
    struct rlimit limit, low;
    int fd = dial(), next = dup(0);
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    low = limit;
    low.rlim_cur = (rlim_t)next;
    setrlimit(RLIMIT_NOFILE, &low);
    for (unsigned i = 0; i < 50; i++)
        turn();
    uint64_t pauses = metrics_counter_sum(M_ACCEPT_PAUSES);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_in_range(pauses, 1, 3);
    wait_taken(1);
    close(fd);
    acceptor_close(&a);
    metrics_fini();
}

/* ---- control port ---- */

static struct control_request *held; /* /held is answered by the test */
static unsigned n_handled, n_gone;

static void gone(struct control_request *r)
{
    assert_true(r->gone);
    n_gone++;
}

static void handle(struct control_request *r, void *arg)
{
    char text[256];
    n_handled++;
    if (str_eq(r->path, STR("/held"))) {
        r->on_gone = gone;
        held = r;
        return;
    }
    if (str_eq(r->path, STR("/empty"))) {
        control_reply(&r, 204, NULL, STR_NONE, STR("X-A: 1\r\n"));
        return;
    }
    if (str_eq(r->path, STR("/big"))) {
        struct str big = {mem_zalloc(300000), 300000};
        memset((char *)big.p, 'x', big.n);
        control_reply(&r, 200, "text/plain", big, STR_NONE);
        free((char *)big.p);
        return;
    }
    struct str path = str_slice(r->path.p, r->path.n < 100 ? r->path.n : 100),
               query = str_slice(r->query.p, r->query.n < 60 ? r->query.n : 60);
    int n = snprintf(text, sizeof text, "%.*s %.*s ?%.*s %zu %.20s", STR_ARG(r->method), STR_ARG(path),
                     STR_ARG(query), r->body.n, r->body.n ? r->body.p : "");
    control_reply(&r, 200, "text/plain", str_slice(text, (size_t)n), STR_NONE);
    assert_null(r);
}

static int control_start(void **state)
{
    start(state);
    n_handled = n_gone = 0;
    held = NULL;
    control = control_open(base, listen_somewhere(), handle, NULL, NULL);
    assert_non_null(control);
    return 0;
}

static int control_stop(void **state)
{
    if (control)
        control_close(&control);
    return stop(state);
}

static void a_request_is_answered(void **state)
{
    int fd = dial();
    say(fd, "GET /a/b?c=d&e HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect_exactly(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 18\r\nConnection: close\r\n\r\n"
                       "GET /a/b ?c=d&e 0 ");
    close(fd);
}

static void every_cut_of_a_request_is_the_same_request(void **state)
{
    static const char request[] = "POST /abcdef?x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody";
    int fd = dial();
    for (size_t cut = 1; cut < sizeof request - 1; cut++) {
        send(fd, request, cut, 0);
        turn();
        send(fd, request + cut, sizeof request - 1 - cut, 0);
        expect(fd, "POST /abcdef ?x 4 body");
    }
    assert_int_equal(n_handled, sizeof request - 2);
    close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    int fd = dial();
    say(fd, "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nPUT /2 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n"
            "GET /3 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: x\r\n\r\n");
    char *text = receive(fd, NULL);
    char *one = strstr(text, "GET /1 ? 0"), *two = strstr(text, "PUT /2 ? 5 abcde"), *three = strstr(text, "GET /3 ? 0");
    assert_true(one && two && three && one < two && two < three);
    assert_null(strstr(text, "never"));
    free(text);
    close(fd);
}

static void http_1_0_closes_unless_it_asks_to_stay(void **state)
{
    int fd = dial();
    say(fd, "GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    expect(fd, "Connection: keep-alive\r\n\r\nGET /1");
    say(fd, "GET /2 HTTP/1.0\r\n\r\n");
    char *text = receive(fd, NULL);
    assert_non_null(strstr(text, "Connection: close\r\n\r\nGET /2"));
    free(text);
    close(fd);
}

static void head_gets_a_length_and_no_body(void **state)
{
    int fd = dial();
    say(fd, "HEAD /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /empty HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    expect_exactly(fd, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 12\r\n\r\n"
                       "HTTP/1.1 204 No Content\r\nConnection: close\r\nX-A: 1\r\n\r\n");
    close(fd);
}

static void a_large_answer_comes_whole(void **state)
{
    int fd = dial();
    for (unsigned i = 0; i < 3; i++) {
        say(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
        size_t n = 0;
        char buf[65536];
        for (unsigned t = 0; t < TURNS && n < 300000; t++) {
            turn();
            ssize_t got = recv(fd, buf, sizeof buf, MSG_DONTWAIT);
            n += got > 0 ? (size_t)got : 0;
        }
        assert_int_equal(n, 300000 + strlen("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                            "Content-Length: 300000\r\n\r\n"));
    }
    close(fd);
}

static void what_is_malformed_is_refused_by_us_and_closed(void **state)
{
    static const struct {
        const char *bytes, *status;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nabcde", "HTTP/1.1 400 "},
        {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 3\r\n\r\nabcde", "HTTP/1.1 400 "},
        {"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 "},
        {"GET /a\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "HTTP/1.1 505 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 501 "},
        {"PURGE / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 501 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 33554433\r\n\r\nabc", "HTTP/1.1 413 "},
        {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
        {"\x16\x03\x01\x02", "HTTP/1.1 400 "},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial();
        say(fd, rows[i].bytes);
        if (i == sizeof rows / sizeof *rows - 1)
            say(fd, "\r\n\r\n");
        char *text = receive(fd, NULL);
        if (strncmp(text, rows[i].status, strlen(rows[i].status)) != 0)
            fail_msg("row %u: wanted '%s', got '%s'", i, rows[i].status, text);
        assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
        free(text);
        close(fd);
    }
    assert_int_equal(n_handled, 0);
}

/* Sends all of it and turns the loop until it must have been read. */
static void say_all(int fd, const char *bytes, size_t n)
{
    size_t sent = 0, turns = TURNS + n / 4096;
    for (size_t i = 0; i < turns; i++) {
        ssize_t some = sent < n ? send(fd, bytes + sent, n - sent, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
        sent += some > 0 ? (size_t)some : 0;
        event_base_loop(base, EVLOOP_NONBLOCK);
    }
    assert_int_equal(sent, n);
}

static void a_long_path_target_or_head_is_refused(void **state)
{
    static const struct {
        const char *before, *after, *status;
        size_t n;
    } rows[] = {
        {"GET /", " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", CONTROL_PATH_MAX - 1},
        {"GET /", " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 414 ", CONTROL_PATH_MAX},
        {"GET /?", " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 200 ", CONTROL_TARGET_MAX - 2},
        {"GET /?", " HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 414 ", CONTROL_TARGET_MAX - 1},
        {"GET / HTTP/1.1\r\nHost: x\r\nX: ", "\r\n\r\n", "HTTP/1.1 200 ", CONTROL_FIELD_BYTES_MAX - 100},
        {"GET / HTTP/1.1\r\nHost: x\r\nX: ", "\r\n\r\n", "HTTP/1.1 431 ", CONTROL_FIELD_BYTES_MAX},
        {"GET / HTTP/1.1\r\nHost: x\r\nX: ", "", "HTTP/1.1 431 ", 200000},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = dial();
        char *filler = mem_alloc(rows[i].n);
        memset(filler, 'a', rows[i].n);
        say(fd, rows[i].before);
        say_all(fd, filler, rows[i].n);
        say(fd, rows[i].after);
        free(filler);
        expect(fd, rows[i].status);
        close(fd);
    }
}

static void more_fields_than_may_be_passed_on_are_refused(void **state)
{
    int fd = dial();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 1; i < CONTROL_FIELDS_MAX; i++)
        say(fd, "X: a\r\n");
    say(fd, "\r\n");
    expect(fd, "HTTP/1.1 200 ");
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (unsigned i = 1; i < CONTROL_FIELDS_MAX + 1; i++)
        say(fd, "X: a\r\n");
    say(fd, "\r\n");
    expect(fd, "HTTP/1.1 431 ");
    close(fd);
}

static void large_bodies_have_a_limit_together(void **state)
{
    enum { N = CONTROL_HELD_MAX / CONTROL_BODY_MAX + 1, LACKS = 1000 };
    int fd[N];
    char *bytes = mem_zalloc(CONTROL_BODY_MAX);
    for (unsigned i = 0; i < N - 1; i++) { /* none is whole */
        fd[i] = dial();
        say(fd[i], "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 33554432\r\n\r\n");
        say_all(fd[i], bytes, CONTROL_BODY_MAX - LACKS);
    }
    fd[N - 1] = dial();
    say(fd[N - 1], "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    say_all(fd[N - 1], bytes, 999999);
    expect(fd[N - 1], "HTTP/1.1 503 ");
    int small = dial();
    say(small, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
    expect(small, "POST /p ? 3 abc");
    say_all(fd[0], bytes, LACKS);
    expect(fd[0], "POST /p ? 33554432 ");
    int again = dial(); /* there is room now */
    say(again, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    say_all(again, bytes, 1000000);
    expect(again, "POST /p ? 1000000 ");
    for (unsigned i = 0; i < N; i++)
        close(fd[i]);
    close(small);
    close(again);
    free(bytes);
}

static void a_client_too_many_hears_so(void **state)
{
    static int fd[CONTROL_CLIENTS_MAX];
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++) {
        fd[i] = dial();
        if (i % 32 == 31)
            turn();
    }
    int late = dial();
    say(late, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    char *text = receive(late, NULL);
    assert_memory_equal(text, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(text, "\r\nRetry-After: 1\r\n"));
    free(text);
    close(late);
    say(fd[0], "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    expect(fd[0], "HTTP/1.1 200 ");
    for (unsigned i = 0; i < CONTROL_CLIENTS_MAX; i++)
        close(fd[i]);
}

static void a_client_that_waits_is_told_to_go_on(void **state)
{
    int fd = dial();
    say(fd, "POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    expect(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    say(fd, "ok");
    expect(fd, "POST /p ? 2 ok");
    close(fd);
}

static void an_answer_may_come_later(void **state)
{
    int fd = dial();
    say(fd, "GET /held HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n");
    for (unsigned i = 0; i < TURNS && !held; i++)
        turn();
    for (unsigned i = 0; i < 20; i++)
        turn();
    assert_int_equal(n_handled, 1);
    control_reply(&held, 503, "text/plain", STR("later"), STR("Retry-After: 1\r\n"));
    char *text = receive(fd, "GET /next");
    assert_non_null(strstr(text, "HTTP/1.1 503 Service Unavailable\r\n"));
    assert_non_null(strstr(text, "Retry-After: 1\r\n\r\nlater"));
    free(text);
    close(fd);
}

static void a_handler_hears_that_its_client_has_gone(void **state)
{
    struct linger reset = {.l_onoff = 1};
    for (unsigned hard = 0; hard < 2; hard++) {
        int fd = dial();
        held = NULL;
        say(fd, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
        for (unsigned i = 0; i < TURNS && !held; i++)
            turn();
        if (hard)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(fd);
        for (unsigned i = 0; i < TURNS && n_gone <= hard; i++)
            turn();
        assert_int_equal(n_gone, hard + 1);
        control_reply(&held, 200, NULL, STR_NONE, STR_NONE);
    }
}

static void closing_lets_open_requests_go(void **state)
{
    int fd = dial(), idle = dial();
    say(fd, "GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    for (unsigned i = 0; i < TURNS && !held; i++)
        turn();
    control_close(&control);
    assert_int_equal(n_gone, 1);
    control_reply(&held, 200, NULL, STR_NONE, STR_NONE);
    expect_exactly(fd, "");
    close(fd);
    close(idle);
}

static void any_path_reaches_the_handler_unchanged(void **state)
{
    int fd = dial();
    for (unsigned c = 0x21; c < 0x7f; c++) {
        char request[64], wanted[64];
        if (c == '?' || c == '#')
            continue;
        snprintf(request, sizeof request, "GET /%c//%c%c.%c HTTP/1.1\r\nHost: x\r\n\r\n", c, c, c, c);
        snprintf(wanted, sizeof wanted, "GET /%c//%c%c.%c ? 0", c, c, c, c);
        say(fd, request);
        char *text = receive(fd, "\r\n\r\n");
        if (!strstr(text, wanted)) {
            fprintf(stderr, "%c: %s\n", c, text);
            close(fd); /* refused by the head's policy: fine, as long as we answered */
            assert_non_null(strstr(text, "HTTP/1.1 400 "));
            fd = dial();
        }
        free(text);
    }
    close(fd);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)
#define CONTROL(f) cmocka_unit_test_setup_teardown(f, control_start, control_stop)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(an_accepted_socket_is_ours_alone),
        TEST(closing_hands_over_what_waits),
        TEST(a_unix_socket_is_accepted_too),
        TEST(out_of_descriptors_it_pauses_instead_of_spinning),
        CONTROL(a_request_is_answered),
        CONTROL(every_cut_of_a_request_is_the_same_request),
        CONTROL(pipelined_requests_are_answered_in_order),
        CONTROL(http_1_0_closes_unless_it_asks_to_stay),
        CONTROL(head_gets_a_length_and_no_body),
        CONTROL(a_large_answer_comes_whole),
        CONTROL(what_is_malformed_is_refused_by_us_and_closed),
        CONTROL(a_long_path_target_or_head_is_refused),
        CONTROL(more_fields_than_may_be_passed_on_are_refused),
        CONTROL(large_bodies_have_a_limit_together),
        CONTROL(a_client_too_many_hears_so),
        CONTROL(a_client_that_waits_is_told_to_go_on),
        CONTROL(an_answer_may_come_later),
        CONTROL(a_handler_hears_that_its_client_has_gone),
        CONTROL(closing_lets_open_requests_go),
        CONTROL(any_path_reaches_the_handler_unchanged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
