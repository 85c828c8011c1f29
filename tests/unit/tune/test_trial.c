/* Tests of models against a server that answers, refuses and dies. */
#include "fake_qdrant.h"

#include "tune/trial.h"

#define TWO "optimizations: {one: {vector_size: 8}, two: {}}\n"

static uint64_t begin(const char *model)
{
    uint64_t id, busy;
    struct err err = {{0}};
    if (!tune_test(stage.tune, model, 1, &id, &busy, &err))
        fail_msg("%s", err.text);
    return id;
}

static const struct job *run(const char *model)
{
    const struct job *j = jobs_find(tune_jobs(stage.tune), begin(model));
    turn_until(j->state != JOB_RUNNING);
    return j;
}

static const cJSON *nth(const struct job *j, int n)
{
    return cJSON_GetArrayItem(doc_get(j->result, "models"), n);
}

static void both_runs_are_measured_and_kept(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    const struct job *j = run("one");
    const cJSON *one = nth(j, 0);
    assert_int_equal(j->state, JOB_DONE);
    assert_true(doc_at(one, "baseline.requests")->valuedouble >= 100);
    assert_true(doc_at(one, "baseline.recall")->valuedouble == 0.75);
    assert_true(doc_at(one, "optimised.cold.recall")->valuedouble == 0.75);
    assert_true(cJSON_IsNull(doc_get(one, "met"))); /* it has no targets */
    assert_true(doc_get(one, "queries")->valuedouble == 4);
    tune_close(&stage.tune);
    stage.tune = tune_open(&stage.worker);
    const cJSON *kept = tune_get_test(stage.tune, "one", true);
    assert_true(doc_at(kept, "baseline.requests")->valuedouble >= 100);
    assert_true(cJSON_IsTrue(doc_get(kept, "before_apply")));
    tune_close(&stage.tune);
}

static void it_ends_in_its_time(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    uint64_t began = clock_usec();
    run("one");
    assert_true(clock_usec() - began < 5 * SEC); /* of one second, on a busy machine */
    tune_close(&stage.tune);
}

static void a_collection_that_is_not_there_is_an_error_of_its_model_alone(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    const struct job *j = run(NULL);
    assert_int_equal(j->state, JOB_DONE);
    assert_non_null(strstr(j->text, "1 of 2 models"));
    assert_null(doc_get(nth(j, 0), "error"));
    assert_non_null(strstr(doc_text(doc_get(nth(j, 1), "error")), "'two' does not exist"));
    j = run("two");
    assert_int_equal(j->state, JOB_FAILED);
    tune_close(&stage.tune);
}

static void a_refused_search_gives_up_its_model_alone(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    fake_add("two");
    static const unsigned refusals[] = {403, 500};
    for (unsigned k = 0; k < 2; k++) {
        char number[8];
        fake.refuse_search = refusals[k];
        snprintf(number, sizeof number, "%u", refusals[k]);
        const struct job *j = run(NULL);
        assert_int_equal(j->state, JOB_FAILED); /* nothing was measured */
        for (int i = 0; i < 2; i++) {
            const char *error = doc_text(doc_get(nth(j, i), "error"));
            assert_non_null(strstr(error, number));
            assert_non_null(strstr(error, "the fake says no"));
        }
    }
    tune_close(&stage.tune);
}

static void without_exact_searches_only_recall_is_unknown(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    fake.refuse_exact = 400;
    const struct job *j = run("one");
    assert_int_equal(j->state, JOB_DONE);
    assert_true(cJSON_IsNull(doc_at(nth(j, 0), "baseline.recall")));
    assert_non_null(strstr(doc_text(cJSON_GetArrayItem(doc_get(nth(j, 0), "warnings"), 0)), "recall is not known"));
    tune_close(&stage.tune);
}

static const char *warning(const struct job *j, int model)
{
    return doc_text(cJSON_GetArrayItem(doc_get(nth(j, model), "warnings"), 0));
}

static void exact_searches_that_take_too_long_cost_recall_alone(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    fake_add("two");
    fake.slow = "one";
    fake.slow_exact_alone = true;
    fake.slow_usec = 4000000; /* of a test of one second */
    const struct job *j = run(NULL);
    assert_int_equal(j->state, JOB_DONE);
    assert_non_null(strstr(j->text, "2 of 2 models"));
    assert_non_null(strstr(warning(j, 0), "recall is not known: an exact search takes longer than 1.0 s"));
    assert_true(cJSON_IsNull(doc_at(nth(j, 0), "optimised.cold.recall")));
    assert_true(doc_at(nth(j, 0), "baseline.requests")->valuedouble > 0);
    assert_true(doc_at(nth(j, 1), "baseline.recall")->valuedouble == 0.75);
    fake.slow_usec = 250000; /* the share of exact searches is 0.2 s: two of the four are asked */
    j = run("one");
    assert_non_null(strstr(warning(j, 0), "recall is that of 2 of 4 vectors"));
    assert_true(doc_at(nth(j, 0), "baseline.recall")->valuedouble == 0.75);
    tune_close(&stage.tune);
}

static void what_one_model_waits_for_too_long_is_its_error_alone(void **state)
{
    stage_begin(TWO "tuning: {one: {first_byte_timeout: 50ms}}\n");
    fake_add("one");
    fake_add("two");
    fake.slow = "one";
    fake.slow_usec = 200000;
    const struct job *j = run(NULL);
    assert_int_equal(j->state, JOB_DONE);
    assert_non_null(strstr(doc_text(doc_get(nth(j, 0), "error")), "504"));
    assert_null(doc_get(nth(j, 1), "error"));
    assert_null(strstr(j->text, "stopped answering"));
    tune_close(&stage.tune);
}

static void a_server_that_says_503_has_not_stopped_answering(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    fake_add("two");
    fake.refuse_search = 503;
    const struct job *j = run(NULL);
    assert_null(strstr(j->text, "stopped answering"));
    for (int i = 0; i < 2; i++) /* each was tried */
        assert_non_null(strstr(doc_text(doc_get(nth(j, i), "error")), "503"));
    tune_close(&stage.tune);
}

static void points_without_the_vector_are_not_read_for_ever(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    fake.no_vectors = true;
    const struct job *j = run("one");
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake.pages, 4 * TRIAL_QUERIES);
    assert_string_equal(warning(j, 0), "no stored vector was found: asked with fixed ones");
    assert_string_equal(doc_text(doc_get(nth(j, 0), "from")), "fixed");
    tune_close(&stage.tune);
}

/* Numbers of models and groups mean others after a reload. */
static void a_reload_in_the_middle_leads_no_search_elsewhere(void **state)
{
    char first[400];
    snprintf(first, sizeof first, "upstreams: {a: http://127.0.0.1:1, b: %s}\noptimizations: {one: {vector_size: 8, upstream: b}}\n", stage.url);
    stage_begin(first);
    fake_add("one");
    const struct job *j = jobs_find(tune_jobs(stage.tune), begin("one"));
    turn_until(fake.searches > 10);
    worker_use_snapshot(&stage.worker, stage_load("upstreams: {a: http://127.0.0.1:1, b: http://127.0.0.1:1}\n"));
    turn_until(j->state != JOB_RUNNING);
    assert_int_equal(j->state, JOB_DONE);
    assert_null(doc_get(nth(j, 0), "error"));
    tune_close(&stage.tune);
}

static void a_server_that_dies_ends_the_test(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    fake_add("two");
    fake.dead_after = 40;
    const struct job *j = run(NULL);
    assert_int_equal(j->state, JOB_FAILED);
    assert_non_null(strstr(j->text, "stopped answering"));
    assert_non_null(doc_get(nth(j, 0), "error"));
    assert_non_null(strstr(doc_text(doc_get(nth(j, 1), "error")), "not tried"));
    assert_null(tune_get_test(stage.tune, "one", false));
    tune_close(&stage.tune);
}

static void a_dead_server_fails_the_test_at_once(void **state)
{
    stage_begin(TWO);
    fake.dead = true;
    const struct job *j = run(NULL);
    assert_int_equal(j->state, JOB_FAILED);
    assert_non_null(strstr(j->text, "did not answer"));
    tune_close(&stage.tune);
}

static void a_test_runs_alone(void **state)
{
    uint64_t id, busy, first;
    struct err err = {{0}};
    const char *two = "two";
    stage_begin(TWO);
    fake_add("one");
    first = begin("one");
    assert_false(tune_test(stage.tune, "two", 1, &id, &busy, &err));
    assert_int_equal(busy, first);
    assert_non_null(strstr(err.text, "test of one"));
    assert_false(tune_apply(stage.tune, &two, 1, &id, &busy, &err));
    assert_int_equal(busy, first);
    turn_until(jobs_find(tune_jobs(stage.tune), first)->state != JOB_RUNNING);
    assert_true(tune_apply(stage.tune, &two, 1, &id, &busy, &err));
    assert_false(tune_test(stage.tune, "one", 1, &first, &busy, &err));
    assert_int_equal(busy, id);
    turn_until(jobs_find(tune_jobs(stage.tune), id)->state != JOB_RUNNING);
    tune_close(&stage.tune);
}

static void an_end_in_the_middle_leaves_nothing_behind(void **state)
{
    stage_begin(TWO);
    fake_add("one");
    begin("one");
    turn_until(fake.searches > 10);
    tune_close(&stage.tune);
    unsigned had = fake.searches;
    turn_for(100 * MSEC);
    assert_true(fake.searches <= had + TRIAL_LANES);
}

static void no_such_model_is_an_error(void **state)
{
    uint64_t id, busy = 1;
    struct err err = {{0}};
    stage_begin(TWO);
    assert_false(tune_test(stage.tune, "three", 0, &id, &busy, &err));
    assert_int_equal(busy, 0);
    assert_non_null(strstr(err.text, "three"));
    tune_close(&stage.tune);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_runs_are_measured_and_kept),
        cmocka_unit_test(it_ends_in_its_time),
        cmocka_unit_test(a_collection_that_is_not_there_is_an_error_of_its_model_alone),
        cmocka_unit_test(a_refused_search_gives_up_its_model_alone),
        cmocka_unit_test(without_exact_searches_only_recall_is_unknown),
        cmocka_unit_test(exact_searches_that_take_too_long_cost_recall_alone),
        cmocka_unit_test(what_one_model_waits_for_too_long_is_its_error_alone),
        cmocka_unit_test(a_server_that_says_503_has_not_stopped_answering),
        cmocka_unit_test(points_without_the_vector_are_not_read_for_ever),
        cmocka_unit_test(a_reload_in_the_middle_leads_no_search_elsewhere),
        cmocka_unit_test(a_server_that_dies_ends_the_test),
        cmocka_unit_test(a_dead_server_fails_the_test_at_once),
        cmocka_unit_test(a_test_runs_alone),
        cmocka_unit_test(an_end_in_the_middle_leaves_nothing_behind),
        cmocka_unit_test(no_such_model_is_an_error),
    };
    stage_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    turn_for(50 * MSEC);
    stage_end();
    cJSON_Delete(fake.collections);
    cJSON_Delete(fake.patches);
    return failed;
}
