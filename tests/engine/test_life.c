/* How a request ends: clients that leave in every state, deadlines, early answers, what may be sent twice. */
#include "stage.h"

static const char conf[] = "optimizations:\n  hermes: {cache_ttl: 60}\n";
static const char slow_redis[] = "redis: {url: \"unix:/nonexistent/quiver.sock\"}\n"
                                 "optimizations:\n  hermes: {cache_ttl: 60}\n";
#define SEARCH "/collections/hermes/points/search"
#define POINTS "/collections/hermes/points?wait=true"
#define DONE "{\"result\":{\"operation_id\":1,\"status\":\"completed\"},\"status\":\"ok\",\"time\":1.0}"

enum kind { READ, WRITE, UPLOAD };

static struct asker *begin(struct stage *s, enum kind kind)
{
    static const char *const heads[] = {
        [READ] = "POST " SEARCH " HTTP/1.1\r\nHost: q\r\nContent-Length: 14\r\n\r\n",
        [WRITE] = "PUT /collections/hermes/points HTTP/1.1\r\nHost: q\r\nContent-Length: 14\r\n\r\n",
        [UPLOAD] = "POST /collections/hermes/snapshots/upload HTTP/1.1\r\nHost: q\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    return ask_head(s, heads[kind]);
}

static void finish_body(struct asker *a, enum kind kind)
{
    say(a, "{\"vector\":[1]}");
    if (kind == UPLOAD)
        say_end(a);
}

/* The places where a request waits, and the way there. False: this kind of request never waits there. */
enum place { BODY, OPENING, QUEUED, CONNECTING, SENDING, WAITING, HALF_HEAD, HALF_SHORT_BODY, HALF_LONG_BODY, CLIENT_SLOW, PLACES };

static const char *const place_names[] = {"body", "open", "queued", "connecting", "sending", "waiting", "half a head",
                                          "half a short answer", "half a long answer", "a slow client"};

static bool go_to(struct stage *s, enum kind kind, enum place place, struct asker **out)
{
    if (place == OPENING && kind == READ)
        return false;
    s->hold_slots = place == QUEUED;
    s->hold_connects = place == CONNECTING || place == SENDING;
    struct asker *a = *out = begin(s, kind);
    if (place == BODY) {
        if (kind == UPLOAD)
            say(a, "{\"ve");
        return true;
    }
    if (place == OPENING) {
        finish_body(a, kind);
        return state_of(a) == TX_OPEN;
    }
    if (place == SENDING)
        up_takes(kind == READ ? (finish_body(a, kind), up(s)) : up(s), 10);
    if (place == SENDING && kind == READ) {
        connect_up(up(s));
        return true;
    }
    if (place == SENDING) {
        connect_up(up(s));
        finish_body(a, kind);
        return true;
    }
    finish_body(a, kind);
    if (place == CLIENT_SLOW)
        a->room = 20;
    if (place == HALF_HEAD)
        up_says(up(s), "HTTP/1.1 200 O");
    if (place == HALF_SHORT_BODY || place == CLIENT_SLOW)
        up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n12345");
    if (place == HALF_LONG_BODY)
        up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n12345");
    if (place == CLIENT_SLOW)
        up_says(up(s), "67890");
    return true;
}

/* Nothing may stay behind (stage_close looks), and the hold stays exactly where Qdrant may have got something it has not reported done. */
static void leaves(enum kind kind, enum place place, void (*end)(struct asker *))
{
    struct stage *s = stage_open(NULL, place == OPENING ? slow_redis : conf);
    struct asker *a = NULL;
    if (!go_to(s, kind, place, &a)) {
        if (a) {
            drop_dead(a);
            stage_run(s);
        }
        stage_close(&s);
        return;
    }
    bool sent = s->n_exchanges && up(s)->sent.n > 0;
    bool all_sent = sent && up(s)->fetch && up(s)->fetch->all_sent;
    end(a);
    bool lives_on = kind != READ && all_sent && up(s)->fetch && !a->client.owner;
    if (kind == WRITE && (place == WAITING || place == HALF_HEAD || place == HALF_SHORT_BODY))
        assert_true(lives_on); /* only the answer tells what became of it */
    if (lives_on) {
        assert_true(stage_held(s, "hermes"));
        if (place == HALF_SHORT_BODY)
            up_says(up(s), "67890");
        else if (place == HALF_HEAD)
            up_says(up(s), "K\r\ncontent-length: 75\r\n\r\n" DONE);
        else
            up_answers(up(s), 200, "", DONE);
    }
    if (a->client.owner) /* a reply on its way to a client that has only stopped sending: it breaks when the socket does */
        drop_dead(a);
    if (place == OPENING && kind != READ) { /* the close waits for Redis, a second at most */
        for (int i = 0; i < 300 && s->worker.running.n; i++) {
            loop_turn(&s->worker.loop, clock_usec() + 10 * MSEC);
            stage_run(s);
        }
    }
    assert_true(a->was_reset || a->done);
    /* Of an upload the status alone is proof. */
    bool proven = kind == UPLOAD ? place >= HALF_SHORT_BODY : lives_on && place != HALF_SHORT_BODY;
    bool held = kind != READ && sent && !proven;
    if (stage_held(s, "hermes") != held)
        fail_msg("kind %d leaves at %s: held is %d", kind, place_names[place], !held);
    stage_close(&s);
}

static void a_client_may_leave_at_any_time(void **state)
{
    for (enum kind kind = READ; kind <= UPLOAD; kind++)
        for (enum place place = BODY; place < PLACES; place++) {
            leaves(kind, place, hang_up);
            leaves(kind, place, drop_dead);
        }
}

static void the_thread_may_end_at_any_time(void **state)
{
    for (enum kind kind = READ; kind <= UPLOAD; kind++)
        for (enum place place = BODY; place < PLACES; place++) {
            struct stage *s = stage_open(NULL, place == OPENING ? slow_redis : conf);
            struct asker *a = NULL;
            go_to(s, kind, place, &a);
            tx_abort_all(&s->worker);
            stage_close(&s);
        }
}

static void a_body_that_stops_is_408_and_nothing_of_it_is_whole(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = begin(s, READ);
    too_late(a);
    expect(a, 408, NULL);
    assert_false(a->kept);
    assert_int_equal(s->n_exchanges, 0);
    struct asker *b = begin(s, UPLOAD);
    say(b, "abc");
    assert_string_equal(up_body(up(s)), "3\r\nabc\r\n");
    too_late(b);
    expect(b, 408, NULL);
    assert_false(b->kept);
    assert_false(up(s)->reused);
    assert_string_equal(up_body(up(s)), "3\r\nabc\r\n"); /* no last chunk */
    assert_true(stage_held(s, "hermes"));
    stage_close(&s);
}

static void a_malformed_chunked_body_is_400(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = begin(s, UPLOAD);
    say(a, "abc");
    a->client.body_bad = true;
    hang_up(a); /* both at once: there is nobody to tell */
    assert_true(a->was_reset);
    struct asker *b = begin(s, UPLOAD);
    b->client.body_bad = true;
    loop_wake(&s->worker.loop, b->client.owner);
    stage_run(s);
    expect(b, 400, NULL);
    assert_false(b->kept);
    stage_close(&s);
}

static void each_wait_has_its_deadline(void **state)
{
    static const struct {
        enum place place;
        uint64_t limit;
        unsigned status;
    } waits[] = {{QUEUED, 5 * SEC, 503}, {CONNECTING, 1 * SEC, 504}, {SENDING, 30 * SEC, 504}, {WAITING, 65 * SEC, 504},
                 {HALF_HEAD, 65 * SEC, 504}, {HALF_SHORT_BODY, 30 * SEC, 504}};
    for (unsigned i = 0; i < sizeof waits / sizeof *waits; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a;
        go_to(s, READ, waits[i].place, &a);
        stage_pass(s, waits[i].limit - 1);
        assert_int_equal(status_of(a), 0);
        stage_pass(s, 1);
        expect(a, waits[i].status, NULL);
        assert_non_null(strstr(body_of(a), "{\"status\":{\"error\":\"quiver: "));
        assert_true(a->kept);
        if (waits[i].status == 503)
            assert_non_null(strstr(a->got.p, "retry-after: 1\r\n"));
        stage_close(&s);
    }
}

static void a_write_waits_without_limit_and_stays_held_when_its_answer_breaks(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    s->watched = "hermes";
    struct asker *a = begin(s, WRITE);
    finish_body(a, WRITE);
    stage_pass(s, 3600 * SEC);
    assert_int_equal(state_of(a), TX_FETCHED);
    up_closes(up(s));
    expect(a, 502, NULL);
    expect_event(s, 2, "down held");
    assert_false(up(s)->fetch != NULL);
    stage_close(&s);
}

static void a_write_that_was_never_sent_leaves_no_hold(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    s->watched = "hermes";
    s->hold_slots = true;
    struct asker *a = begin(s, WRITE);
    finish_body(a, WRITE);
    assert_true(stage_held(s, "hermes"));
    stage_pass(s, 5 * SEC);
    expect(a, 503, NULL);
    assert_false(stage_held(s, "hermes"));
    stage_close(&s);
}

static void an_answer_that_comes_before_the_body_goes_out_at_once(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = begin(s, UPLOAD);
    say(a, "abc");
    up_answers(up(s), 413, "", "{\"status\":{\"error\":\"too large\"}}");
    expect(a, 413, "{\"status\":{\"error\":\"too large\"}}");
    assert_non_null(strstr(a->got.p, "Connection: close\r\n"));
    assert_false(a->kept);
    assert_false(up(s)->reused);
    stage_close(&s);
}

static void a_streamed_answer_that_is_cut_is_cut_visibly(void **state)
{
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n12345",
                                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n"};
    for (unsigned i = 0; i < 2; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a = ask(s, "GET", "/dashboard/x.js", "", NULL);
        up_says(up(s), heads[i]);
        assert_non_null(strstr(body_of(a), "12345"));
        up_closes(up(s));
        assert_true(a->was_reset);
        assert_null(strstr(body_of(a), "0\r\n\r\n"));
        stage_close(&s);
    }
}

static void an_upload_that_fails_on_its_way_is_answered(void **state)
{
    static const unsigned statuses[] = {504, 502, 408};
    for (unsigned i = 0; i < 3; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a = begin(s, UPLOAD);
        up_takes(up(s), 1);
        say(a, "abcdefgh"); /* its chunk is in the queue, one byte of it went */
        if (i == 0)
            stage_pass(s, 30 * SEC);
        else if (i == 1)
            up_closes(up(s));
        else
            too_late(a);
        if (i == 2) /* the front's deadline does not run while quiver itself does not read */
            stage_pass(s, 30 * SEC);
        expect(a, statuses[i], NULL);
        assert_false(a->kept);
        assert_true(stage_held(s, "hermes"));
        stage_close(&s);
    }
}

static void facts_may_change_while_a_request_waits(void **state)
{
    struct stage *s = stage_open(NULL, "optimizations:\n  hermes: {search: {default: {hnsw_ef: 64}}}\n");
    stage_facts(s, "chat", "hermes");
    struct asker *a = ask_head(s, "POST /collections/chat/points/search HTTP/1.1\r\nHost: q\r\nContent-Length: 24\r\n\r\n");
    stage_facts(s, "chat", "mixtral"); /* the old map is freed */
    say(a, "{\"vector\":[1],\"limit\":3}");
    assert_non_null(strstr(up_body(up(s)), "hnsw_ef"));
    up_answers(up(s), 200, "", "{}");
    expect(a, 200, "{}");
    stage_close(&s);
}

static void only_held_reads_may_be_sent_twice(void **state)
{
    static const struct {
        const char *method, *path, *body;
        bool may;
    } cases[] = {{"POST", SEARCH, "{}", true},
                 {"GET", "/collections/hermes", NULL, true},
                 {"GET", "/telemetry", NULL, true},
                 {"HEAD", "/dashboard/", NULL, true},
                 {"PUT", POINTS, "{}", false},
                 {"POST", "/collections/aliases", "{\"actions\":[]}", false},
                 {"DELETE", "/collections/hermes", NULL, false},
                 {"POST", "/collections/hermes/snapshots", NULL, false},
                 {"POST", "/unheard/of", "{}", false},
                 {"DELETE", "/unheard/of", NULL, false}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a = ask(s, cases[i].method, cases[i].path, "", cases[i].body);
        if (up(s)->fetch->may_retry != cases[i].may)
            fail_msg("%s %s: may_retry is %d", cases[i].method, cases[i].path, !cases[i].may);
        up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
        stage_pass(s, 300 * MSEC); /* what changes names waits for the new map */
        expect(a, 200, "");
        stage_close(&s);
    }
}

static void a_chunked_answer_for_an_http_1_0_client_ends_with_its_connection(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = ask_head(s, "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_non_null(strstr(up(s)->sent.p, "GET /metrics HTTP/1.1\r\n"));
    assert_non_null(strstr(up(s)->sent.p, "Host: 127.0.0.1:9\r\n"));
    up_says(up(s), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    expect(a, 200, "abc");
    assert_null(strstr(a->got.p, "ransfer-"));
    assert_false(a->kept);
    struct asker *b = ask_head(s, "GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    up_answers(up(s), 200, "", "abc");
    expect(b, 200, "abc");
    assert_true(b->kept);
    assert_non_null(strstr(b->got.p, "Connection: keep-alive\r\n"));
    stage_close(&s);
}

static void answers_without_a_body_have_none(void **state)
{
    static const struct {
        const char *method, *answer, *has;
    } cases[] = {{"HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n", "content-length: 10\r\n"},
                 {"HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", NULL},
                 {"GET", "HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\ncontent-length: 10\r\n\r\n", "etag"},
                 {"GET", "HTTP/1.1 204 No Content\r\n\r\n", NULL}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a = ask(s, cases[i].method, "/dashboard/", "", NULL);
        up_says(up(s), cases[i].answer);
        assert_string_equal(body_of(a), "");
        assert_non_null(strstr(a->got.p, "\r\n\r\n"));
        if (cases[i].has)
            assert_non_null(strstr(a->got.p, cases[i].has));
        assert_true(a->kept);
        assert_true(up(s)->reused);
        stage_close(&s);
    }
}

static void held_bodies_are_counted_and_wait_for_room(void **state)
{
    struct stage *s = stage_open(NULL, "limits: {hold_body: 64KiB, hold_total: 1MiB}\n");
    s->shared.n_held = (1 << 20) - 10;
    struct asker *a = begin(s, READ);
    finish_body(a, READ);
    assert_int_equal(state_of(a), TX_BODY);
    stage_pass(s, 1 * SEC);
    s->shared.n_held = 0;
    stage_pass(s, 10 * MSEC);
    assert_int_equal(state_of(a), TX_FETCHED);
    assert_int_equal(s->shared.n_held, 14);
    up_answers(up(s), 200, "", "{}");
    expect(a, 200, "{}");
    s->shared.n_held = (1 << 20) - 10;
    struct asker *b = begin(s, READ);
    for (int i = 0; i < 600; i++)
        stage_pass(s, 10 * MSEC);
    expect(b, 503, NULL);
    assert_non_null(strstr(b->got.p, "Connection: close\r\n")); /* its body was not read */
    assert_false(b->kept);
    s->shared.n_held = 0;
    stage_close(&s);
}

static void nothing_is_left_of_the_request_before_in_reused_memory(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = ask(s, "POST", SEARCH, "Cache-Control: no-store\r\n", "{\"vector\":[1]}");
    up_answers(up(s), 200, "", "{}");
    expect(a, 200, "{}");
    struct asker *b = ask(s, "GET", "/healthz", "", NULL);
    up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    expect(b, 200, "ok");
    assert_null(strstr(b->got.p, "Cache-Status"));
    struct asker *c = ask_head(s, "BAD\r\n\r\n");
    expect(c, 400, NULL);
    assert_false(c->kept);
    struct asker *d = ask(s, "GET", "/healthz", "", NULL);
    up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    expect(d, 200, "ok");
    assert_true(d->kept);
    stage_close(&s);
}

static void a_draining_worker_closes_after_each_answer(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = ask(s, "GET", "/", "", NULL);
    s->worker.draining = true;
    up_answers(up(s), 200, "", "{}");
    expect(a, 200, "{}");
    assert_non_null(strstr(a->got.p, "Connection: close\r\n"));
    assert_false(a->kept);
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_may_leave_at_any_time),
        cmocka_unit_test(the_thread_may_end_at_any_time),
        cmocka_unit_test(a_body_that_stops_is_408_and_nothing_of_it_is_whole),
        cmocka_unit_test(a_malformed_chunked_body_is_400),
        cmocka_unit_test(each_wait_has_its_deadline),
        cmocka_unit_test(a_write_waits_without_limit_and_stays_held_when_its_answer_breaks),
        cmocka_unit_test(a_write_that_was_never_sent_leaves_no_hold),
        cmocka_unit_test(an_answer_that_comes_before_the_body_goes_out_at_once),
        cmocka_unit_test(a_streamed_answer_that_is_cut_is_cut_visibly),
        cmocka_unit_test(an_upload_that_fails_on_its_way_is_answered),
        cmocka_unit_test(facts_may_change_while_a_request_waits),
        cmocka_unit_test(only_held_reads_may_be_sent_twice),
        cmocka_unit_test(a_chunked_answer_for_an_http_1_0_client_ends_with_its_connection),
        cmocka_unit_test(answers_without_a_body_have_none),
        cmocka_unit_test(held_bodies_are_counted_and_wait_for_room),
        cmocka_unit_test(nothing_is_left_of_the_request_before_in_reused_memory),
        cmocka_unit_test(a_draining_worker_closes_after_each_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
