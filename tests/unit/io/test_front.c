/* Client connections over socket pairs: heads and bodies however they are cut, pipelining, 100-continue, deadlines, orderly and hard ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"
#include "io/front.h"

struct world;

/* The owner of a request: reads the body as it was told to, then answers with "METHOD TARGET BODY". */
struct owner {
    struct task task;
    struct world *world;
    struct client *client;
    struct http_head head;
    char bytes[33 * 1024], text[20000], answer[21000];
    size_t n;
    struct outq out;
    bool answering, refused;
    unsigned status;
};

struct world {
    struct loop loop;
    struct front front;
    int fd; /* the client's end */
    bool whole, ignores_body, answers_late, keeps;
    int n_clients;
    int n_most; /* clients admitted */
    unsigned n_requests, n_broken, n_late;
    struct owner *owner; /* the one that runs */
    char got[200000];
    size_t n_got;
};

static void owner_free(struct owner *o)
{
    loop_unwake(&o->world->loop, &o->task);
    o->world->owner = NULL;
    free(o);
}

static void answer(struct owner *o)
{
    int n = o->refused ? snprintf(o->answer, sizeof o->answer, "HTTP/1.1 %u No\r\ncontent-length: 0\r\n\r\n", o->status)
                       : snprintf(o->answer, sizeof o->answer, "HTTP/1.1 200 OK\r\n\r\n%.*s %.*s %.*s|", STR_ARG(o->head.method),
                                  STR_ARG(o->head.target), (int)o->n, o->text);
    outq_reset(&o->out);
    outq_add(&o->out, (struct str){o->answer, (size_t)n});
    o->answering = true;
}

static enum body_result read_body(struct owner *o)
{
    struct str slice;
    enum body_result result;
    if (o->world->whole && o->head.framing == HTTP_BODY_LENGTH) {
        result = client_body_whole(o->client, &slice);
        if (result == BODY_END) {
            memcpy(o->text, slice.p, slice.n);
            o->n = slice.n;
        }
        return result;
    }
    while ((result = client_body(o->client, &slice)) == BODY_SLICE) {
        assert_true(o->n + slice.n < sizeof o->text);
        memcpy(o->text + o->n, slice.p, slice.n);
        o->n += slice.n;
        client_body_used(o->client, slice.n);
    }
    return result;
}

static void owner_run(struct task *task)
{
    struct owner *o = LIST_OF(owner, task, task);
    struct world *w = o->world;
    if (!o->answering && !w->ignores_body && !o->refused) {
        enum body_result result = read_body(o);
        if (result == BODY_WAIT)
            return;
        if (result == BODY_BROKEN) {
            w->n_broken++;
            w->n_late += o->client->late;
            client_abort(&o->client);
            owner_free(o);
            return;
        }
    }
    if (w->answers_late && !o->answering) {
        if (o->client->eof || o->client->dead) {
            w->n_broken++;
            client_abort(&o->client);
            owner_free(o);
        }
        return;
    }
    if (!o->answering)
        answer(o);
    switch (client_send(o->client, &o->out)) {
    case OUT_AGAIN:
        if (!o->client->late)
            return;
        w->n_late++;
        client_abort(&o->client);
        break;
    case OUT_DEAD:
        client_abort(&o->client);
        break;
    case OUT_SENT:
        client_next(&o->client, w->keeps && !o->refused);
        break;
    }
    owner_free(o);
}

static struct owner *owner_new(struct world *w, struct client *c)
{
    struct owner *o = mem_zalloc(sizeof *o);
    assert_null(w->owner); /* one request of a connection at a time */
    w->owner = o;
    o->task.run = owner_run;
    o->world = w;
    o->client = c;
    c->owner = &o->task;
    loop_wake(&w->loop, &o->task);
    return o;
}

static void request(struct client *c, const struct http_head *head, void *arg)
{
    struct world *w = arg;
    struct owner *o = owner_new(w, c);
    w->n_requests++;
    client_take_head(c, head, o->bytes, &o->head);
}

static void refused(struct client *c, const struct http_refusal *refusal, void *arg)
{
    struct owner *o = owner_new(arg, c);
    o->refused = true;
    o->status = refusal->status;
}

static bool admit(void *arg)
{
    struct world *w = arg;
    return w->n_clients < w->n_most;
}

static void count(int by, void *arg)
{
    struct world *w = arg;
    w->n_clients += by;
}

static void turn(struct world *w)
{
    loop_turn(&w->loop, 0);
    ssize_t n = recv(w->fd, w->got + w->n_got, sizeof w->got - 1 - w->n_got, MSG_DONTWAIT);
    if (n > 0)
        w->n_got += (size_t)n;
    w->got[w->n_got] = 0;
}

static bool seen_end(struct world *w)
{
    char byte;
    return recv(w->fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

#define turn_until(w, condition)                                      \
    do {                                                              \
        for (uint64_t end_ = clock_usec() + 3 * SEC; !(condition);) { \
            assert_true(clock_usec() < end_);                         \
            turn(w);                                                  \
        }                                                             \
    } while (0)

static struct world *world_open(void)
{
    struct world *w = mem_zalloc(sizeof *w);
    w->n_most = 2;
    struct front_hooks hooks = {.request = request, .refused = refused, .admit = admit, .count = count, .arg = w};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fds[2];
    loop_init(&w->loop);
    front_init(&w->front, &w->loop, &hooks);
    w->front.limits = (struct front_limits){.head = 2 * SEC, .body = 2 * SEC, .write = 2 * SEC, .keep_alive = 2 * SEC};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    w->fd = fds[1];
    w->keeps = true;
    front_accept(&w->front, fds[0], (struct sockaddr *)&name, sizeof name.sun_family);
    return w;
}

static void world_close(struct world **slot)
{
    struct world *w = *slot;
    *slot = NULL;
    close(w->fd);
    if (w->owner) {
        client_abort(&w->owner->client);
        owner_free(w->owner);
    }
    front_fini(&w->front);
    assert_int_equal(w->n_clients, 0);
    loop_fini(&w->loop);
    free(w);
}

static void say(struct world *w, const char *bytes, size_t n)
{
    assert_int_equal(send(w->fd, bytes, n, MSG_NOSIGNAL), n);
}

static void says(struct world *w, const char *bytes)
{
    say(w, bytes, strlen(bytes));
}

/* Sends in two pieces cut at `at`, with turns of the loop between. */
static void says_cut(struct world *w, const char *bytes, size_t at)
{
    say(w, bytes, at);
    turn(w);
    turn(w);
    says(w, bytes + at);
}

#define OK(text) "HTTP/1.1 200 OK\r\n\r\n" text "|"

static void heads_and_bodies_arrive_at_every_cut(void **state)
{
    static const char *const requests[] = {
        "GET /a HTTP/1.1\r\nHost: q\r\n\r\n",
        "POST /a HTTP/1.1\r\nHost: q\r\nContent-Length: 5\r\n\r\nhello",
        "POST /a HTTP/1.1\r\nHost: q\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=\"y\"\r\nllo\r\n0\r\nT: x\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: q\r\n\r\nPOST /b HTTP/1.1\r\nHost: q\r\nContent-Length: 2\r\n\r\nhiGET /c HTTP/1.1\r\nHost: q\r\n\r\n",
    };
    static const char *const answers[] = {OK("GET /a "), OK("POST /a hello"), OK("POST /a hello"),
                                          OK("GET /a ") OK("POST /b hi") OK("GET /c ")};
    for (size_t i = 0; i < 4; i++)
        for (size_t at = 0; at <= strlen(requests[i]); at++)
            for (int whole = 0; whole < 2; whole++) {
                struct world *w = world_open();
                w->whole = whole;
                says_cut(w, requests[i], at);
                turn_until(w, w->n_got >= strlen(answers[i]));
                assert_string_equal(w->got, answers[i]);
                says(w, "GET /z HTTP/1.1\r\nHost: q\r\n\r\n"); /* the connection goes on, clean */
                turn_until(w, w->n_got >= strlen(answers[i]) + strlen(OK("GET /z ")));
                assert_string_equal(w->got + strlen(answers[i]), OK("GET /z "));
                world_close(&w);
            }
}

static void a_head_may_drip_byte_by_byte(void **state)
{
    const char *text = "POST /a HTTP/1.1\r\nHost: q\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    struct world *w = world_open();
    for (const char *p = text; *p; p++) {
        say(w, p, 1);
        turn(w);
    }
    turn_until(w, w->n_got >= strlen(OK("POST /a hello")));
    assert_string_equal(w->got, OK("POST /a hello"));
    world_close(&w);
}

static void many_pipelined_requests_are_answered_in_order(void **state)
{
    enum { N = 500 };
    static char text[N * 40], expected[N * 40];
    size_t n = 0, m = 0;
    for (int i = 0; i < N; i++) {
        n += (size_t)sprintf(text + n, "GET /%d HTTP/1.1\r\nHost: q\r\n\r\n", i);
        m += (size_t)sprintf(expected + m, "HTTP/1.1 200 OK\r\n\r\nGET /%d |", i);
    }
    struct world *w = world_open();
    say(w, text, n);
    turn_until(w, w->n_got >= m);
    assert_string_equal(w->got, expected);
    assert_int_equal(w->n_requests, N);
    world_close(&w);
}

static void a_100_continue_is_sent_when_the_body_is_asked_for_and_not_before(void **state)
{
    const char *head = "POST /a HTTP/1.1\r\nHost: q\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    for (int whole = 0; whole < 2; whole++) {
        struct world *w = world_open();
        w->whole = whole;
        says(w, head);
        turn_until(w, w->n_got >= 25);
        assert_string_equal(w->got, "HTTP/1.1 100 Continue\r\n\r\n");
        says(w, "hello");
        turn_until(w, w->n_got >= 25 + strlen(OK("POST /a hello")));
        assert_string_equal(w->got + 25, OK("POST /a hello"));
        world_close(&w);
    }
    struct world *w = world_open();
    w->ignores_body = true; /* answered at once: no 100 */
    says(w, head);
    turn_until(w, w->n_got >= strlen(OK("POST /a ")));
    assert_string_equal(w->got, OK("POST /a "));
    turn_until(w, seen_end(w)); /* the body may or may not come: the connection cannot go on */
    world_close(&w);
}

static void bad_heads_and_bodies_are_refused_and_end_the_connection(void **state)
{
    static const struct {
        const char *text, *answer;
    } cases[] = {
        {"GET /a HTTP/1.1\r\n\r\n", "HTTP/1.1 400 No"},
        {"GET /a HTTP/2.0\r\nHost: q\r\n\r\n", "HTTP/1.1 505 No"},
        {"\x16\x03\x01\x02", "HTTP/1.1 400 No"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = world_open();
        says(w, cases[i].text);
        says(w, "GET /smuggled HTTP/1.1\r\nHost: q\r\n\r\n");
        turn_until(w, seen_end(w));
        assert_memory_equal(w->got, cases[i].answer, strlen(cases[i].answer));
        assert_int_equal(w->n_requests, 0);
        world_close(&w);
    }
    struct world *w = world_open();
    says(w, "POST /a HTTP/1.1\r\nHost: q\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n");
    turn_until(w, w->n_broken == 1 && w->n_clients == 0);
    world_close(&w);
}

static void an_answer_before_the_body_is_over_closes_in_order(void **state)
{
    struct world *w = world_open();
    static char junk[100000];
    w->ignores_body = true;
    says(w, "POST /a HTTP/1.1\r\nHost: q\r\nContent-Length: 1000000\r\n\r\nbegin");
    turn_until(w, w->n_got >= strlen(OK("POST /a ")));
    for (int i = 0; i < 20; i++) { /* the client goes on sending: nothing breaks, its answer stays readable */
        ssize_t n = send(w->fd, junk, sizeof junk, MSG_DONTWAIT | MSG_NOSIGNAL);
        assert_true(n > 0 || errno == EAGAIN);
        turn(w);
    }
    assert_int_equal(w->n_clients, 1);
    assert_true(seen_end(w));
    close(w->fd);
    turn_until(w, w->n_clients == 0);
    w->fd = open("/dev/null", O_RDONLY);
    assert_int_equal(w->n_requests, 1);
    world_close(&w);
}

static void deadlines(void **state)
{
    struct world *w = world_open(); /* a connection that says nothing; one head that stops; a body that stops; an idle connection */
    world_close(&w);
    for (int i = 0; i < 5; i++) {
        w = world_open();
        w->front.limits = (struct front_limits){.head = 40 * MSEC, .body = 40 * MSEC, .write = 40 * MSEC, .keep_alive = 40 * MSEC};
        uint64_t since = clock_usec();
        struct client *c = LIST_OF(client, link, list_first(&w->front.clients));
        timer_set(&c->timer, since + 40 * MSEC);
        switch (i) {
        case 0:
            break;
        case 1:
            says(w, "GET / HT");
            turn_until(w, w->n_got > 0);
            assert_memory_equal(w->got, "HTTP/1.1 408", 12);
            break;
        case 2:
            says(w, "POST /a HTTP/1.1\r\nHost: q\r\nContent-Length: 5\r\n\r\nhe");
            turn_until(w, w->n_broken);
            assert_int_equal(w->n_late, 1);
            break;
        case 3:
            says(w, "GET / HTTP/1.1\r\nHost: q\r\n\r\n");
            turn_until(w, w->n_got > 0);
            break;
        case 4:
            w->answers_late = true; /* a request that runs long has no deadline of the front's */
            says(w, "GET / HTTP/1.1\r\nHost: q\r\n\r\n");
            turn_until(w, w->owner);
            for (uint64_t end = clock_usec() + 100 * MSEC; clock_usec() < end; usleep(500))
                turn(w);
            assert_int_equal(w->n_late, 0);
            assert_non_null(w->owner);
            world_close(&w);
            continue;
        }
        turn_until(w, seen_end(w) || w->n_clients == 0);
        assert_true(clock_usec() - since >= 39 * MSEC);
        world_close(&w);
    }
}

static void a_body_that_drips_has_as_long_as_it_needs(void **state)
{
    struct world *w = world_open();
    w->whole = true;
    w->front.limits.body = 40 * MSEC;
    says(w, "POST /a HTTP/1.1\r\nHost: q\r\nContent-Length: 5\r\n\r\n");
    for (int i = 0; i < 5; i++) {
        for (uint64_t end = clock_usec() + 20 * MSEC; clock_usec() < end; usleep(500))
            turn(w);
        say(w, "hello" + i, 1);
    }
    turn_until(w, w->n_got >= strlen(OK("POST /a hello")));
    assert_string_equal(w->got, OK("POST /a hello"));
    world_close(&w);
}

static void a_hang_up_is_told_while_the_request_runs(void **state)
{
    struct world *w = world_open();
    w->answers_late = true;
    says(w, "POST /a HTTP/1.1\r\nHost: q\r\nContent-Length: 2\r\n\r\nhi");
    turn_until(w, w->owner);
    shutdown(w->fd, SHUT_RDWR);
    turn_until(w, w->n_broken == 1);
    assert_int_equal(w->n_clients, 0);
    world_close(&w);
}

static void a_reader_that_takes_nothing_is_cut(void **state)
{
    struct world *w = world_open();
    static char big[4 << 20];
    w->front.limits.write = 40 * MSEC;
    w->answers_late = true;
    says(w, "GET / HTTP/1.1\r\nHost: q\r\n\r\n");
    turn_until(w, w->owner);
    struct owner *o = w->owner;
    o->answering = true;
    outq_reset(&o->out);
    outq_add(&o->out, (struct str){big, sizeof big});
    loop_wake(&w->loop, &o->task);
    int mine = w->fd;
    w->fd = open("/dev/null", O_RDONLY); /* turn() reads nothing of it */
    turn_until(w, w->n_late == 1);
    assert_int_equal(w->n_clients, 0);
    close(mine);
    world_close(&w);
}

static void a_drain_closes_idle_connections_and_answers_what_has_come(void **state)
{
    struct world *w = world_open();
    front_drain(&w->front);
    assert_int_equal(w->n_clients, 0);
    world_close(&w);
    w = world_open();
    says(w, "GET /a HTTP/1.1\r\nHost: q\r\n\r\n"); /* in the socket, not read yet */
    front_drain(&w->front);
    turn_until(w, w->n_got >= strlen(OK("GET /a ")));
    assert_string_equal(w->got, OK("GET /a "));
    turn_until(w, seen_end(w));
    world_close(&w);
    w = world_open();
    w->answers_late = true;
    says(w, "GET /a HTTP/1.1\r\nHost: q\r\n\r\n");
    turn_until(w, w->owner);
    front_drain(&w->front);
    w->answers_late = false;
    loop_wake(&w->loop, &w->owner->task);
    turn_until(w, seen_end(w));
    assert_string_equal(w->got, OK("GET /a "));
    world_close(&w);
}

static void more_clients_than_allowed_are_closed_at_once(void **state)
{
    struct world *w = world_open();
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    w->n_most = 1;
    int fds[2];
    char byte;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    front_accept(&w->front, fds[0], (struct sockaddr *)&name, sizeof name.sun_family);
    assert_int_equal(recv(fds[1], &byte, 1, MSG_DONTWAIT), 0);
    assert_int_equal(w->n_clients, 1);
    close(fds[1]);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_and_bodies_arrive_at_every_cut),
        cmocka_unit_test(a_head_may_drip_byte_by_byte),
        cmocka_unit_test(many_pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_100_continue_is_sent_when_the_body_is_asked_for_and_not_before),
        cmocka_unit_test(bad_heads_and_bodies_are_refused_and_end_the_connection),
        cmocka_unit_test(an_answer_before_the_body_is_over_closes_in_order),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(a_body_that_drips_has_as_long_as_it_needs),
        cmocka_unit_test(a_hang_up_is_told_while_the_request_runs),
        cmocka_unit_test(a_reader_that_takes_nothing_is_cut),
        cmocka_unit_test(a_drain_closes_idle_connections_and_answers_what_has_come),
        cmocka_unit_test(more_clients_than_allowed_are_closed_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
