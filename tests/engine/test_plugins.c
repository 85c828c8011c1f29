/* The chain: who sees a request and its answer in which order, what waiting and ending do to a plugin. */
#include "stage.h"

/* A plugin that writes down what happens to it and does what it was told. Three of them: a, b, c. */
struct probe {
    enum verdict on_request, on_response; /* what the call returns; SUSPEND: until let_go */
    bool collects, let_go;
    unsigned n_done, n_cancelled, n_whole;
};
static struct probe probes[3];
static char trail[256];

static void note(const char *what, unsigned i)
{
    size_t n = strlen(trail);
    snprintf(trail + n, sizeof trail - n, "%s%s-%c", n ? " " : "", what, 'a' + (int)i);
}

static enum verdict probe_request(struct tx *tx, const struct plug *plug)
{
    struct probe *p = &probes[plug->index];
    note("in", plug->index);
    if (plug->type->tx_size)
        *(unsigned *)plug_tx(tx, plug) += 1;
    if (p->on_request == ANSWER)
        return tx_error(tx, 429, "slow down");
    return p->on_request;
}

static enum verdict probe_resume(struct tx *tx, const struct plug *plug)
{
    struct probe *p = &probes[plug->index];
    note("again", plug->index);
    if (p->collects) {
        p->n_whole += tx->collected;
        return tx->collected || tx->collect_failed ? CONTINUE : SUSPEND;
    }
    return p->let_go ? CONTINUE : SUSPEND;
}

static enum verdict probe_response(struct tx *tx, const struct plug *plug)
{
    struct probe *p = &probes[plug->index];
    note("out", plug->index);
    if (p->collects)
        return tx_collect(tx, 1000) ? SUSPEND : CONTINUE;
    return p->on_response;
}

static void probe_cancel(struct tx *tx, const struct plug *plug)
{
    probes[plug->index].n_cancelled++;
}

static void probe_done(struct tx *tx, const struct plug *plug)
{
    probes[plug->index].n_done++;
}

#define PROBE(letter, size)                                                                                    \
    {.name = letter, .summary = "", .tx_size = size, .request = probe_request, .resume = probe_resume, \
     .response = probe_response, .cancel = probe_cancel, .done = probe_done}
static const struct plugin a = PROBE("a", sizeof(unsigned)), b = PROBE("b", 0), c = PROBE("c", sizeof(unsigned));
static const struct plugin *const registry[] = {&a, &b, &c, NULL};

static struct stage *open_probes(void)
{
    memset(probes, 0, sizeof probes);
    trail[0] = 0;
    return stage_open(registry, "optimizations:\n  hermes: {}\n");
}

static struct asker *get(struct stage *s)
{
    return ask(s, "GET", "/", "", NULL);
}

static void an_answer_passes_back_in_reverse(void **state)
{
    struct stage *s = open_probes();
    struct asker *q = get(s);
    up_answers(up(s), 200, "", "{}");
    expect(q, 200, "{}");
    assert_string_equal(trail, "in-a in-b in-c out-c out-b out-a");
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(probes[i].n_done, 1);
    stage_close(&s);
}

static void who_answers_ends_the_way_in_and_those_before_see_the_answer(void **state)
{
    struct stage *s = open_probes();
    probes[1].on_request = ANSWER;
    struct asker *q = get(s);
    expect(q, 429, NULL);
    assert_string_equal(trail, "in-a in-b out-a");
    assert_int_equal(s->n_exchanges, 0);
    assert_int_equal(probes[1].n_done, 1);
    assert_int_equal(probes[2].n_done, 0);
    stage_close(&s);
}

static void a_suspended_plugin_is_asked_again_when_woken(void **state)
{
    struct stage *s = open_probes();
    probes[1].on_request = SUSPEND;
    struct asker *q = get(s);
    assert_int_equal(state_of(q), TX_REQUEST);
    loop_wake(&s->worker.loop, q->client.owner); /* too early: it goes on waiting */
    stage_run(s);
    assert_int_equal(state_of(q), TX_REQUEST);
    probes[1].let_go = true;
    loop_wake(&s->worker.loop, q->client.owner);
    stage_run(s);
    up_answers(up(s), 200, "", "{}");
    expect(q, 200, "{}");
    assert_string_equal(trail, "in-a in-b again-b again-b in-c out-c out-b out-a");
    stage_close(&s);
}

static void a_plugin_may_wait_on_the_way_back_too(void **state)
{
    struct stage *s = open_probes();
    probes[1].on_response = SUSPEND;
    struct asker *q = get(s);
    up_answers(up(s), 200, "", "{}");
    assert_int_equal(state_of(q), TX_RESPONSE);
    probes[1].let_go = true;
    loop_wake(&s->worker.loop, q->client.owner);
    stage_run(s);
    expect(q, 200, "{}");
    assert_string_equal(trail, "in-a in-b in-c out-c out-b again-b out-a");
    stage_close(&s);
}

static void a_client_that_leaves_cancels_who_waits(void **state)
{
    struct stage *s = open_probes();
    probes[1].on_request = SUSPEND;
    struct asker *q = get(s);
    hang_up(q);
    assert_true(q->was_reset);
    assert_int_equal(probes[1].n_cancelled, 1);
    assert_int_equal(probes[0].n_cancelled + probes[2].n_cancelled, 0);
    assert_int_equal(probes[0].n_done, 1);
    assert_int_equal(probes[1].n_done, 1);
    assert_int_equal(probes[2].n_done, 0);
    assert_int_equal(s->n_exchanges, 0);
    stage_close(&s);
}

static void two_plugins_may_want_the_whole_answer(void **state)
{
    for (unsigned at_once = 0; at_once < 2; at_once++) {
        struct stage *s = open_probes();
        probes[0].collects = probes[2].collects = true;
        struct asker *q = get(s);
        if (at_once) {
            up_answers(up(s), 200, "", "hello");
        } else {
            up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe");
            assert_int_equal(state_of(q), TX_RESPONSE);
            up_says(up(s), "llo");
        }
        expect(q, 200, "hello");
        assert_int_equal(probes[0].n_whole, 1);
        assert_int_equal(probes[2].n_whole, 1);
        assert_true(up(s)->reused);
        stage_close(&s);
    }
}

static void an_answer_cut_while_collected_reaches_the_others_as_an_error(void **state)
{
    struct stage *s = open_probes();
    probes[1].collects = true;
    struct asker *q = get(s);
    up_says(up(s), "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe");
    up_closes(up(s));
    expect(q, 502, NULL);
    assert_string_equal(trail, "in-a in-b in-c out-c out-b out-a");
    assert_int_equal(probes[1].n_cancelled, 1);
    stage_close(&s);
}

static void what_is_collected_of_a_chunked_answer_goes_out_whole(void **state)
{
    struct stage *s = open_probes();
    probes[1].collects = true;
    struct asker *q = get(s);
    up_says(up(s), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n");
    assert_int_equal(state_of(q), TX_RESPONSE);
    up_says(up(s), "2\r\nde\r\n0\r\n\r\n");
    assert_string_equal(body_of(q), "5\r\nabcde\r\n0\r\n\r\n");
    assert_true(up(s)->reused);
    struct asker *old = ask_head(s, "GET / HTTP/1.0\r\n\r\n");
    up_says(up(s), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    expect(old, 200, "abcde");
    stage_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_passes_back_in_reverse),
        cmocka_unit_test(who_answers_ends_the_way_in_and_those_before_see_the_answer),
        cmocka_unit_test(a_suspended_plugin_is_asked_again_when_woken),
        cmocka_unit_test(a_plugin_may_wait_on_the_way_back_too),
        cmocka_unit_test(a_client_that_leaves_cancels_who_waits),
        cmocka_unit_test(two_plugins_may_want_the_whole_answer),
        cmocka_unit_test(an_answer_cut_while_collected_reaches_the_others_as_an_error),
        cmocka_unit_test(what_is_collected_of_a_chunked_answer_goes_out_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
