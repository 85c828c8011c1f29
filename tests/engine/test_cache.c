/* What is answered from memory, when a write opens and closes, and what a reload changes. */
#include "stage.h"

static const char conf[] = "optimizations:\n"
                           "  hermes: {cache_ttl: 60, cache_max_entry: 1KiB, search: {default: {hnsw_ef: 64}}}\n";
#define SEARCH "/collections/hermes/points/search"
#define ANSWER_1 "{\"result\":[{\"id\":1}],\"status\":\"ok\",\"time\":0.000100000}"
#define ANSWER_2 "{\"result\":[{\"id\":2}],\"status\":\"ok\",\"time\":0.000200000}"

static struct asker *search(struct stage *s, const char *fields)
{
    return ask(s, "POST", SEARCH, fields, "{\"vector\":[1,2],\"limit\":3}");
}

static void a_hit_follows_a_miss(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *a = search(s, "");
    assert_string_equal(up_body(up(s)), "{\"params\":{\"hnsw_ef\":64},\"vector\":[1,2],\"limit\":3}");
    assert_non_null(strstr(up(s)->sent.p, "Accept-Encoding: identity\r\n"));
    up_answers(up(s), 200, "", ANSWER_1);
    expect(a, 200, ANSWER_1);
    assert_non_null(strstr(a->got.p, "Cache-Status: quiver; fwd=uri-miss; stored\r\n"));
    assert_true(a->kept);
    assert_true(up(s)->reused); /* the connection was not lost by reading the whole answer */
    struct asker *b = search(s, "");
    assert_int_equal(s->n_exchanges, 1);
    expect(b, 200, NULL);
    assert_non_null(strstr(b->got.p, "Cache-Status: quiver; hit; ttl="));
    assert_non_null(strstr(body_of(b), "{\"result\":[{\"id\":1}],\"status\":\"ok\",\"time\":0.0"));
    stage_close(&s);
}

static void an_entry_ends_at_its_ttl(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    stage_pass(s, 60 * SEC - 1);
    search(s, "");
    assert_int_equal(s->n_exchanges, 1);
    stage_pass(s, 1);
    struct asker *c = search(s, "");
    assert_int_equal(s->n_exchanges, 2);
    up_answers(up(s), 200, "", ANSWER_2);
    expect(c, 200, ANSWER_2);
    stage_close(&s);
}

static void other_credentials_are_other_entries(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    search(s, "api-key: one\r\n");
    up_answers(up(s), 200, "", ANSWER_1);
    search(s, "api-key: two\r\n");
    assert_int_equal(s->n_exchanges, 2);
    up_answers(up(s), 403, "", "{}");
    search(s, "api-key: one\r\n");
    assert_int_equal(s->n_exchanges, 2);
    stage_close(&s);
}

static void errors_are_not_stored(void **state)
{
    static const unsigned statuses[] = {400, 404, 500, 503, 206, 204};
    for (unsigned i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a = search(s, "");
        if (statuses[i] == 204)
            up_says(up(s), "HTTP/1.1 204 No Content\r\n\r\n");
        else
            up_answers(up(s), statuses[i], "", "{\"status\":{\"error\":\"x\"}}");
        expect(a, statuses[i], NULL);
        struct asker *b = search(s, "");
        assert_int_equal(s->n_exchanges, 2);
        up_answers(up(s), 200, "", ANSWER_1);
        expect(b, 200, ANSWER_1);
        stage_close(&s);
    }
}

static void what_is_too_large_streams_and_is_not_stored(void **state)
{
    char big[3000];
    memset(big, 'x', sizeof big - 1);
    big[0] = big[sizeof big - 2] = '"';
    big[sizeof big - 1] = 0;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct stage *s = stage_open(NULL, conf);
        char head[200], *text = malloc(4000);
        struct asker *a = search(s, "");
        if (chunked)
            snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        else
            snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\ncontent-length: %zu\r\n\r\n", strlen(big));
        up_says(up(s), head);
        if (chunked) { /* in two chunks of 1499 and 1500 bytes */
            snprintf(text, 4000, "5db\r\n%.1499s\r\n5dc\r\n%s\r\n0\r\n\r\n", big, big + 1499);
            up_says(up(s), text);
            assert_non_null(strstr(a->got.p, "Transfer-Encoding: chunked"));
            assert_string_equal(body_of(a), text);
        } else {
            up_says(up(s), big);
            expect(a, 200, big);
        }
        assert_true(a->kept);
        assert_true(up(s)->reused);
        search(s, "");
        assert_int_equal(s->n_exchanges, 2);
        up_answers(up(s), 200, "", ANSWER_1);
        free(text);
        stage_close(&s);
    }
}

static void an_answer_cut_while_it_is_collected_is_502_and_a_stalled_one_504(void **state)
{
    static const char *const heads[] = {"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"res",
                                        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n20\r\n{\"res"};
    for (unsigned i = 0; i < 4; i++) {
        struct stage *s = stage_open(NULL, conf);
        struct asker *a = search(s, "");
        up_says(up(s), heads[i / 2]);
        assert_int_equal(state_of(a), TX_RESPONSE);
        if (i % 2) {
            stage_pass(s, 31 * SEC);
            expect(a, 504, NULL);
        } else {
            up_closes(up(s));
            expect(a, 502, NULL);
        }
        assert_false(up(s)->reused);
        assert_true(a->kept);
        struct asker *b = search(s, "");
        up_answers(up(s), 200, "", ANSWER_1);
        expect(b, 200, ANSWER_1);
        stage_close(&s);
    }
}

static void a_write_is_held_from_its_first_byte_up_to_its_first_byte_down(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    s->watched = "hermes";
    struct asker *w = ask(s, "PUT", "/collections/hermes/points?wait=true", "", "{\"points\":[]}");
    expect_event(s, 0, "up held");
    up_answers(up(s), 200, "", "{\"result\":{\"operation_id\":1,\"status\":\"completed\"},\"status\":\"ok\",\"time\":1.0}");
    expect_event(s, 1, "down clear");
    expect(w, 200, NULL);
    assert_true(up(s)->reused);
    stage_close(&s);
}

static void an_unproven_write_stays_held_for_the_quarantine(void **state)
{
    static const char *const bodies[] = {"{\"result\":{\"operation_id\":1,\"status\":\"acknowledged\"},\"status\":\"ok\",\"time\":1.0}",
                                         "not json", ""};
    for (unsigned i = 0; i < 3; i++) {
        struct stage *s = stage_open(NULL, conf);
        s->watched = "hermes";
        struct asker *w = ask(s, "PUT", "/collections/hermes/points", "", "{\"points\":[]}");
        up_answers(up(s), 200, "", bodies[i]);
        expect(w, 200, bodies[i]);
        expect_event(s, 1, "down held");
        stage_pass(s, 60 * SEC - 1);
        assert_true(stage_held(s, "hermes"));
        stage_pass(s, 1);
        assert_false(stage_held(s, "hermes"));
        stage_close(&s);
    }
}

static void while_a_write_runs_nothing_is_served_or_stored_and_old_answers_end(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *before = search(s, ""); /* sent before the write, answered after it */
    struct exchange *slow = up(s);
    ask(s, "PUT", "/collections/hermes/points?wait=true", "", "{}");
    struct exchange *write = up(s);
    struct asker *during = search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    assert_non_null(strstr(during->got.p, "Cache-Status: quiver; fwd=bypass; detail=held\r\n"));
    up_answers(write, 200, "", "{\"result\":{\"operation_id\":1,\"status\":\"completed\"},\"status\":\"ok\",\"time\":1.0}");
    up_answers(slow, 200, "", ANSWER_1);
    expect(before, 200, ANSWER_1);
    search(s, ""); /* what was read before the write is not found */
    assert_int_equal(s->n_exchanges, 4);
    up_answers(up(s), 200, "", ANSWER_2);
    search(s, "");
    assert_int_equal(s->n_exchanges, 4);
    stage_close(&s);
}

static void a_write_through_an_alias_ends_answers_by_either_name(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    stage_facts(s, "chat", "hermes");
    search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    struct asker *by_alias = ask(s, "POST", "/collections/chat/points/search", "", "{\"vector\":[1,2],\"limit\":3}");
    assert_non_null(strstr(up_body(up(s)), "\"hnsw_ef\":64")); /* the alias gets its collection's settings */
    up_answers(up(s), 200, "", ANSWER_1);
    expect(by_alias, 200, ANSWER_1);
    ask(s, "PUT", "/collections/chat/points?wait=true", "", "{}");
    up_answers(up(s), 200, "", "{\"result\":{\"operation_id\":1,\"status\":\"completed\"},\"status\":\"ok\",\"time\":1.0}");
    search(s, "");
    up_answers(up(s), 200, "", ANSWER_2);
    assert_int_equal(s->n_exchanges, 4);
    stage_close(&s);
}

static struct asker *search_by_alias(struct stage *s)
{
    return ask(s, "POST", "/collections/chat/points/search", "", "{\"vector\":[1,2],\"limit\":3}");
}

static void what_was_read_while_aliases_were_hidden_ends_with_a_write_while_they_are_known(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    stage_facts_hidden(s);
    search_by_alias(s);
    up_answers(up(s), 200, "", ANSWER_1);
    search_by_alias(s);
    assert_int_equal(s->n_exchanges, 1);
    stage_facts(s, "chat", "hermes");
    ask(s, "PUT", "/collections/hermes/points?wait=true", "", "{}");
    up_answers(up(s), 200, "", "{\"result\":{\"operation_id\":1,\"status\":\"completed\"},\"status\":\"ok\",\"time\":1.0}");
    stage_facts_hidden(s);
    struct asker *a = search_by_alias(s);
    assert_int_equal(s->n_exchanges, 3);
    up_answers(up(s), 200, "", ANSWER_2);
    expect(a, 200, ANSWER_2);
    stage_close(&s);
}

static void an_unproven_write_holds_all_of_those_alone_who_do_not_know_the_aliases(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    stage_facts(s, "chat", "hermes");
    search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    ask(s, "PUT", "/collections/other/points", "", "{}");
    up_answers(up(s), 200, "", "{\"result\":{\"operation_id\":1,\"status\":\"acknowledged\"},\"status\":\"ok\",\"time\":1.0}");
    search(s, "");
    assert_int_equal(s->n_exchanges, 2);
    stage_facts_hidden(s);
    struct asker *a = search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    assert_non_null(strstr(a->got.p, "detail=held"));
    stage_close(&s);
}

static void a_changed_alias_map_makes_reads_uncached_until_it_is_known(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    struct asker *w = ask(s, "POST", "/collections/aliases", "", "{\"actions\":[{\"create_alias\":{\"collection_name\":\"hermes\",\"alias_name\":\"chat\"}}]}");
    assert_true(stage_held(s, "@names") && stage_held(s, "chat") && stage_held(s, "hermes"));
    up_answers(up(s), 200, "", "{\"result\":true,\"status\":\"ok\",\"time\":0.1}");
    assert_int_equal(state_of(w), TX_CLOSE); /* waits for the new map, but not for ever */
    stage_pass(s, 300 * MSEC);
    expect(w, 200, NULL);
    assert_int_equal(s->n_names_changed, 1);
    struct asker *a = search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    assert_non_null(strstr(a->got.p, "detail=aliases"));
    stage_facts(s, "chat", "hermes");
    search(s, "");
    up_answers(up(s), 200, "", ANSWER_1);
    search(s, "");
    assert_int_equal(s->n_exchanges, 3);
    stage_close(&s);
}

static void a_request_keeps_the_configuration_it_began_with(void **state)
{
    struct stage *s = stage_open(NULL, conf);
    char head[] = "POST " SEARCH " HTTP/1.1\r\nHost: q\r\nContent-Length: 24\r\n\r\n";
    struct asker *a = ask_head(s, head);
    say(a, "{\"vector\":[1],");
    stage_reload(s, "optimizations:\n  hermes: {cache_ttl: 60, search: {default: {hnsw_ef: 99}}}\n");
    say(a, "\"limit\":3}");
    assert_string_equal(up_body(up(s)), "{\"params\":{\"hnsw_ef\":64},\"vector\":[1],\"limit\":3}");
    up_answers(up(s), 200, "", ANSWER_1);
    expect(a, 200, ANSWER_1);
    struct asker *b = ask(s, "POST", SEARCH, "", "{\"vector\":[1],\"limit\":3}");
    assert_string_equal(up_body(up(s)), "{\"params\":{\"hnsw_ef\":99},\"vector\":[1],\"limit\":3}");
    up_answers(up(s), 200, "", ANSWER_2);
    expect(b, 200, ANSWER_2);
    stage_close(&s);
}

static void what_a_client_says_of_caching_is_honoured(void **state)
{
    static const struct {
        const char *fields;
        bool asks;
    } cases[] = {{"Cache-Control: no-cache\r\n", true}, {"Cache-Control: no-store\r\n", true}, {"Pragma: no-cache\r\n", true},
                 {"Range: bytes=0-1\r\n", true}, {"If-None-Match: \"x\"\r\n", true}, {"Cache-Control: max-age=100\r\n", false},
                 {"Accept-Encoding: gzip\r\n", false}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct stage *s = stage_open(NULL, conf);
        search(s, "");
        up_answers(up(s), 200, "", ANSWER_1);
        search(s, cases[i].fields);
        assert_int_equal(s->n_exchanges, cases[i].asks ? 2 : 1);
        if (cases[i].asks)
            up_answers(up(s), 200, "", ANSWER_2);
        stage_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_follows_a_miss),
        cmocka_unit_test(an_entry_ends_at_its_ttl),
        cmocka_unit_test(other_credentials_are_other_entries),
        cmocka_unit_test(errors_are_not_stored),
        cmocka_unit_test(what_is_too_large_streams_and_is_not_stored),
        cmocka_unit_test(an_answer_cut_while_it_is_collected_is_502_and_a_stalled_one_504),
        cmocka_unit_test(a_write_is_held_from_its_first_byte_up_to_its_first_byte_down),
        cmocka_unit_test(an_unproven_write_stays_held_for_the_quarantine),
        cmocka_unit_test(while_a_write_runs_nothing_is_served_or_stored_and_old_answers_end),
        cmocka_unit_test(a_write_through_an_alias_ends_answers_by_either_name),
        cmocka_unit_test(what_was_read_while_aliases_were_hidden_ends_with_a_write_while_they_are_known),
        cmocka_unit_test(an_unproven_write_holds_all_of_those_alone_who_do_not_know_the_aliases),
        cmocka_unit_test(a_changed_alias_map_makes_reads_uncached_until_it_is_known),
        cmocka_unit_test(a_request_keeps_the_configuration_it_began_with),
        cmocka_unit_test(what_a_client_says_of_caching_is_honoured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
