#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cjson/cJSON.h>
#include <cmocka.h>

#include "qdrant/reply.h"

static void an_error_has_qdrants_shape(void **state)
{
    struct arena a;
    arena_init(&a, NULL, 0);
    assert_true(str_eq(reply_error_body(&a, STR("pool \"x\" is full\n")),
                       STR("{\"status\":{\"error\":\"pool \\\"x\\\" is full\\n\"},\"time\":0.000000000}")));
    assert_true(
        str_eq(reply_error_body(&a, STR("")), STR("{\"status\":{\"error\":\"\"},\"time\":0.000000000}")));
    arena_fini(&a);
}

static void time_has_nine_decimals(void **state)
{
    static const struct {
        uint64_t nsec;
        const char *text;
    } rows[] = {{0, "0.000000000"},
                {42000, "0.000042000"},
                {1000000000, "1.000000000"},
                {UINT64_MAX, "18446744073.709551615"}};
    char out[32];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t n = reply_time(out, rows[i].nsec);
        assert_true(str_eq(str_slice(out, n), str_of(rows[i].text)));
    }
}

static void the_envelope_is_found(void **state)
{
    static const struct {
        const char *body, *time, *usage;
    } rows[] = {
        {"{\"result\":[],\"status\":\"ok\",\"time\":0.000012}", "0.000012", ""},
        {"{\"result\":[],\"status\":\"ok\",\"time\":8.542e-6}", "8.542e-6", ""},
        {"{\"result\":[],\"status\":\"ok\",\"time\":0.1,\"usage\":null}", "0.1", ",\"usage\":null"},
        {"{\"result\":[],\"status\":\"ok\",\"time\":0.1,\"usage\":{\"hardware\":{\"cpu\":1,\"time\":3}}}",
         "0.1", ",\"usage\":{\"hardware\":{\"cpu\":1,\"time\":3}}"},
        {"{\"result\":[],\"status\":\"ok\",\"time\":0.1,\"usage\":{\"a\":1,\"time\":3}}", "0.1",
         ",\"usage\":{\"a\":1,\"time\":3}"},
        {"{\"result\":{\"payload\":{\"a\":1,\"time\":5}},\"status\":\"ok\",\"time\":7}", "7", ""},
        {"{\"result\":\",\\\"time\\\":5}\",\"status\":\"ok\",\"time\":7}", "7", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct envelope e;
        struct str body = str_of(rows[i].body);
        assert_true(reply_envelope(body, &e));
        assert_true(str_eq(str_slice(body.p + e.time_at, e.time_n), str_of(rows[i].time)));
        assert_true(str_eq(str_slice(body.p + e.usage_at, e.usage_n), str_of(rows[i].usage)));
    }
}

static void other_bodies_have_no_envelope(void **state)
{
    static const char *const rows[] = {
        "",
        "{}",
        "ok",
        "{\"time\":1}",
        "{\"title\":\"qdrant - vector search engine\",\"version\":\"1.18.3\"}",
        "{\"result\":{\"a\":1,\"time\":5}}",
        "{\"result\":{\"a\":1,\"time\":5,\"usage\":{}}}",
        "{\"a\":1,\"time\":\"5\"}",
        "{\"a\":1,\"time\":}",
        "{\"a\":1,\"time\":5,\"more\":1}",
        "{\"a\":1,\"time\":5} ",
        "[\"a\",\"time\",5]",
        "{\"a\":1,\"time\":5,\"usage\":7}",
        "{\"result\":\"a,\\\"time\\\":5}",
        "{\"a\":1,\"time\":5,\"usage\":{}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct envelope e;
        if (reply_envelope(str_of(rows[i]), &e))
            fail_msg("found one in %s", rows[i]);
    }
}

/* The time that a JSON parser finds, and no other number, in every recorded answer that has one. */
static void an_answer_is_taken_apart_and_put_together(void **state)
{
    static const struct {
        const char *body, *again;
        bool had_usage;
    } rows[] = {
        {"{\"result\":[],\"status\":\"ok\",\"time\":8.542e-6}", "{\"result\":[],\"status\":\"ok\",\"time\":0.000008542}", false},
        {"{\"result\":[],\"time\":0.1,\"usage\":{\"cpu\":1}}", "{\"result\":[],\"time\":0.100000000}", true},
        {"{\"result\":[],\"time\":-1,\"usage\":{\"cpu\":1}}", "{\"result\":[],\"time\":-1,\"usage\":{\"cpu\":1}}", false},
        {"{\"result\":[]}", "{\"result\":[]}", false},
        {"", "", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reply_pieces p;
        char out[128];
        reply_take_apart(str_of(rows[i].body), &p);
        assert_ptr_equal(reply_put_together(out, &p), out + p.n);
        assert_true(str_eq(str_slice(out, p.n), str_of(rows[i].again)));
        assert_int_equal(p.had_usage, rows[i].had_usage);
    }
}

static void recorded_answers_have_the_envelope(void **state)
{
    FILE *f = fopen("../shared/golden/qdrant-1.18.3.jsonl", "r");
    char *line = NULL;
    size_t room = 0;
    unsigned n = 0;
    if (!f)
        skip();
    while (getline(&line, &room, f) > 0) {
        cJSON *exchange = cJSON_Parse(line);
        const cJSON *reply = cJSON_GetObjectItem(exchange, "response");
        const char *body = cJSON_GetStringValue(cJSON_GetObjectItem(reply, "body"));
        cJSON *parsed = body ? cJSON_Parse(body) : NULL;
        const cJSON *time = cJSON_GetObjectItemCaseSensitive(parsed, "time");
        struct envelope e;
        if (body) {
            assert_int_equal(reply_envelope(str_of(body), &e), time != NULL);
            if (time)
                assert_true(strtod(body + e.time_at, NULL) == time->valuedouble);
            n += time != NULL;
        }
        cJSON_Delete(parsed);
        cJSON_Delete(exchange);
    }
    assert_true(n > 50);
    free(line);
    fclose(f);
}

#define RESULT(r) "{\"result\":" r ",\"status\":\"ok\",\"time\":0.001}"

static void answers_to_writes_prove_what_they_prove(void **state)
{
    static const struct {
        enum op_id op;
        unsigned status;
        const char *body;
        enum write_proof proof;
        uint64_t id;
    } rows[] = {
        {OP_UPSERT, 200, RESULT("{\"operation_id\":7,\"status\":\"completed\"}"), PROOF_COMPLETED, 7},
        {OP_UPSERT, 200, RESULT("{\"operation_id\":7,\"status\":\"acknowledged\"}"), PROOF_NONE, 7},
        {OP_UPSERT, 200, RESULT("{\"operation_id\":7,\"status\":\"wait_timeout\"}"), PROOF_NONE, 7},
        {OP_UPSERT, 200, RESULT("{\"operation_id\":null,\"status\":\"completed\"}"), PROOF_COMPLETED, 0},
        {OP_UPSERT, 200, RESULT("{\"operation_id\":7}"), PROOF_NONE, 7},
        {OP_UPSERT, 200, RESULT("null"), PROOF_NONE, 0},
        {OP_UPSERT, 200, NULL, PROOF_NONE, 0},
        {OP_UPSERT, 200, "{\"result\":{\"operation_id\":7,\"status\":\"completed\"},\"sta", PROOF_NONE, 0},
        {OP_UPSERT, 200, "{\"status\":\"completed\"}", PROOF_NONE, 0},
        {OP_UPSERT, 202, NULL, PROOF_NONE, 0},
        {OP_UPSERT, 400, NULL, PROOF_REJECTED, 0},
        {OP_UPSERT, 401, NULL, PROOF_REFUSED, 0},
        {OP_UPSERT, 403, NULL, PROOF_REFUSED, 0},
        {OP_UPSERT, 408, NULL, PROOF_NONE, 0},
        {OP_UPSERT, 429, NULL, PROOF_REJECTED, 0},
        {OP_UPSERT, 500, NULL, PROOF_NONE, 0},
        {OP_POINTS_BATCH, 200,
         RESULT(
             "[{\"operation_id\":3,\"status\":\"completed\"},{\"operation_id\":4,\"status\":\"completed\"}]"),
         PROOF_COMPLETED, 4},
        {OP_POINTS_BATCH, 200,
         RESULT("[{\"operation_id\":3,\"status\":\"completed\"},{\"operation_id\":4,\"status\":"
                "\"acknowledged\"}]"),
         PROOF_NONE, 4},
        {OP_POINTS_BATCH, 200,
         RESULT("[{\"operation_id\":100,\"status\":\"acknowledged\"},{\"operation_id\":5,\"status\":"
                "\"acknowledged\"}]"),
         PROOF_NONE, 100},
        {OP_POINTS_BATCH, 200,
         RESULT("[{\"operation_id\":3,\"status\":\"acknowledged\"},{\"operation_id\":null,\"status\":"
                "\"acknowledged\"}]"),
         PROOF_NONE, 0},
        {OP_POINTS_BATCH, 200, RESULT("[{\"status\":\"acknowledged\"},{\"operation_id\":3}]"), PROOF_NONE, 0},
        {OP_POINTS_BATCH, 200, RESULT("[]"), PROOF_COMPLETED, 0},
        {OP_POINTS_BATCH, 200, RESULT("[7]"), PROOF_NONE, 0},
        {OP_CREATE_COLLECTION, 200, RESULT("true"), PROOF_COMPLETED, 0},
        {OP_DELETE_COLLECTION, 200, RESULT("false"), PROOF_COMPLETED, 0},
        {OP_CREATE_COLLECTION, 409, NULL, PROOF_REJECTED, 0},
        {OP_CREATE_INDEX, 200, RESULT("{\"operation_id\":9,\"status\":\"acknowledged\"}"), PROOF_NONE, 9},
        {OP_RECOVER_SNAPSHOT, 200, RESULT("true"), PROOF_COMPLETED, 0},
        {OP_RECOVER_SNAPSHOT, 202, NULL, PROOF_NONE, 0},
        {OP_UNKNOWN, 200, RESULT("true"), PROOF_NONE, 0},
        {OP_UNKNOWN, 200, RESULT("{\"operation_id\":1,\"status\":\"completed\"}"), PROOF_COMPLETED, 1},
        {OP_UNKNOWN, 200, RESULT("[]"), PROOF_NONE, 0},
        {OP_UNKNOWN, 404, NULL, PROOF_REJECTED, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint64_t id = 99;
        enum write_proof proof = reply_write_proof(&ops[rows[i].op], rows[i].status, str_of(rows[i].body),
                                                   &id);
        if (proof != rows[i].proof || id != rows[i].id)
            fail_msg("row %zu: proof %d, operation %llu", i, proof, (unsigned long long)id);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_has_qdrants_shape),
        cmocka_unit_test(time_has_nine_decimals),
        cmocka_unit_test(the_envelope_is_found),
        cmocka_unit_test(other_bodies_have_no_envelope),
        cmocka_unit_test(an_answer_is_taken_apart_and_put_together),
        cmocka_unit_test(recorded_answers_have_the_envelope),
        cmocka_unit_test(answers_to_writes_prove_what_they_prove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
