/* Requests of quiver's own: the same pipeline without a client, delivered whole, cancelled at any time. */
#include "stage.h"

static const char conf[] = "optimizations:\n  hermes: {cache_ttl: 60}\n";
#define DONE "{\"result\":{\"operation_id\":1,\"status\":\"completed\"},\"status\":\"ok\",\"time\":1.0}"

struct own {
    struct tx_own own;
    unsigned n_done, status;
    char body[1000];
};

static void done(struct tx_own *own)
{
    struct own *o = LIST_OF(own, own, own);
    o->n_done++;
    o->status = own->status;
    snprintf(o->body, sizeof o->body, "%.*s", STR_ARG(own->body));
}

static void start(struct stage *s, struct own *o, const char *method, const char *path, const char *body)
{
    char head[512];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: q\r\nContent-Length: %zu\r\n\r\n", method, path, strlen(body));
    *o = (struct own){.own = {.done = done}};
    tx_start_own(&s->worker, &o->own, (struct str){head, (size_t)n}, str_of(body));
    stage_run(s);
}

static void search(struct stage *s, struct own *o)
{
    start(s, o, "POST", "/collections/hermes/points/search", "{\"vector\":[1]}");
}

static void an_answer_is_delivered_whole_and_cached_like_any_other(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct own a, b;
    search(s, &a);
    assert_string_equal(up_body(up(s)), "{\"vector\":[1]}");
    up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{");
    assert_int_equal(a.n_done, 0);
    up_says(up(s), "}");
    assert_int_equal(a.n_done, 1);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "{}");
    search(s, &b);
    assert_int_equal(s->n_exchanges, 1);
    assert_string_equal(b.body, "{}");
    start(s, &b, "GET", "/telemetry", "");
    up_says(up(s), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    up_says(up(s), "2\r\nde\r\n0\r\n\r\n");
    assert_string_equal(b.body, "abcde");
    assert_true(up(s)->reused);
    stage_close(&s);
}

static void a_write_opens_and_closes(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct own o;
    s->watched = "hermes";
    start(s, &o, "PUT", "/collections/hermes/points?wait=true", "{}");
    expect_event(s, 0, "up held");
    up_answers(up(s), 200, "", DONE);
    assert_int_equal(o.status, 200);
    assert_false(stage_held(s, "hermes"));
    stage_close(&s);
}

static void failures_are_statuses(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct own o;
    search(s, &o);
    up_closes(up(s));
    assert_int_equal(o.status, 502);
    start(s, &o, "GET", "/telemetry", "");
    up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc");
    up_closes(up(s));
    assert_int_equal(o.n_done, 1);
    assert_int_equal(o.status, 502);
    start(s, &o, "GET", "/telemetry", "");
    stage_pass(s, 65 * SEC);
    assert_int_equal(o.status, 504);
    stage_close(&s);
}

static void the_time_in_each_step_is_told(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct own o;
    search(s, &o);
    up_answers(up(s), 200, "", "{}");
    for (unsigned step = 0; step < TX_COUNT; step++) {
        bool taken = step != TX_OPEN && step != TX_FAIL && step != TX_PROOF && step != TX_CLOSE && step != TX_RELAY;
        assert_int_equal(o.own.step_usec[step] != NEVER, taken);
    }
    search(s, &o); /* from the cache */
    assert_true(o.own.step_usec[TX_REQUEST] != NEVER);
    assert_true(o.own.step_usec[TX_FETCH] == NEVER);
    start(s, &o, "GET", "/telemetry", "");
    up_closes(up(s));
    assert_true(o.own.step_usec[TX_FAIL] != NEVER);
    stage_close(&s);
}

static void it_may_be_cancelled_at_any_time(void **state)
{
    static const char *const paths[] = {"/collections/hermes/points/search", "/collections/hermes/points?wait=true", "/telemetry"};
    static const char *const methods[] = {"POST", "PUT", "GET"};
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned place = 0; place < 5; place++)
            for (unsigned abort = 0; abort < 2; abort++) {
                struct stage *s = stage_open(NULL, conf);
                struct own o;
                s->hold_slots = place == 0;
                s->hold_connects = place == 1;
                start(s, &o, methods[kind], paths[kind], "{}");
                if (place == 3)
                    up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
                if (place == 4)
                    up_says(up(s), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n");
                if (abort) {
                    tx_abort_all(&s->worker);
                    assert_int_equal(o.n_done, 1);
                } else {
                    tx_cancel_own(&o.own);
                    tx_cancel_own(&o.own);
                    stage_run(s);
                    assert_int_equal(o.n_done, 0);
                    stage_pass(s, 31 * SEC); /* a write that was sent runs on until its answer is known, or late */
                    if (s->worker.running.n && up(s)->fetch)
                        up_closes(up(s));
                }
                stage_close(&s);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_is_delivered_whole_and_cached_like_any_other),
        cmocka_unit_test(a_write_opens_and_closes),
        cmocka_unit_test(failures_are_statuses),
        cmocka_unit_test(the_time_in_each_step_is_told),
        cmocka_unit_test(it_may_be_cancelled_at_any_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
