/* Plans, applying, rollback and enforcement against a server that keeps settings as Qdrant does. */
#include "fake_qdrant.h"

#include <signal.h>
#include <sys/resource.h>

#include "tune/watch.h"

#define ONE "indexing:\n  one: {index_params: {m: 32}, quantization: {type: scalar, always_ram: true}}\n"
#define ENFORCED ONE "tuning:\n  one: {enforce: enforce}\n"

struct asked {
    struct tune_answer answer;
    unsigned status;
    cJSON *doc;
};

static void answered(struct tune_answer *answer, unsigned status, cJSON *doc)
{
    struct asked *a = (struct asked *)answer;
    a->status = status;
    a->doc = doc;
}

/* The plan of the one model's first collection; *whole is the test's to delete. */
static const cJSON *plan(uint64_t points, cJSON **whole)
{
    struct asked a = {.answer = {.done = answered}};
    tune_plan(stage.tune, &(const char *){"one"}, 1, points, &a.answer);
    turn_until(a.status);
    assert_int_equal(a.status, 200);
    *whole = a.doc;
    return cJSON_GetArrayItem(doc_get(cJSON_GetArrayItem(doc_get(a.doc, "models"), 0), "collections"), 0);
}

static const struct job *wait_job(uint64_t id)
{
    const struct job *j = jobs_find(tune_jobs(stage.tune), id);
    assert_non_null(j);
    turn_until(j->state != JOB_RUNNING);
    return j;
}

static const struct job *apply(void)
{
    const char *one = "one";
    uint64_t id, busy;
    struct err err = {{0}};
    if (!tune_apply(stage.tune, &one, 1, &id, &busy, &err))
        fail_msg("%s", err.text);
    return wait_job(id);
}

/* NULL: all. */
static const struct job *rollback_of(const char *model)
{
    uint64_t id, busy;
    struct err err = {{0}};
    if (!tune_rollback(stage.tune, model, &id, &busy, &err))
        fail_msg("%s", err.text);
    return wait_job(id);
}

static const struct job *rollback(void)
{
    return rollback_of("one");
}

static const cJSON *result_of(const struct job *j)
{
    return cJSON_GetArrayItem(doc_get(cJSON_GetArrayItem(doc_get(j->result, "models"), 0), "collections"), 0);
}

/* The status of the model's first collection; *whole is the test's to delete. */
static const cJSON *status(cJSON **whole)
{
    *whole = tune_status(stage.tune, "one");
    return cJSON_GetArrayItem(doc_get(cJSON_GetArrayItem(doc_get(*whole, "models"), 0), "collections"), 0);
}

static int n_drift(void)
{
    cJSON *whole;
    int n = cJSON_GetArraySize(doc_get(status(&whole), "drift"));
    cJSON_Delete(whole);
    return n;
}

/* The first collection could not be read at the last look. */
static bool has_error(void)
{
    cJSON *whole;
    bool has = doc_get(status(&whole), "error") != NULL;
    cJSON_Delete(whole);
    return has;
}

/* The history as text. */
static const char *history(void)
{
    static char text[100000];
    FILE *f = fopen(stage.history, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = 0;
    if (f)
        fclose(f);
    return text;
}

static void a_plan_shows_what_differs_and_sends_nothing(void **state)
{
    cJSON *whole;
    stage_begin(ONE);
    fake_add("one");
    const cJSON *c = plan(0, &whole);
    assert_int_equal(cJSON_GetArraySize(doc_get(c, "changes")), 2);
    assert_int_equal(doc_at(c, "patch.hnsw_config.m")->valueint, 32);
    assert_true(cJSON_IsTrue(doc_get(c, "reindex")));
    assert_non_null(doc_at(c, "memory.needed"));
    cJSON_Delete(whole);
    assert_int_equal(fake_patches(), 0);
    assert_string_equal(history(), "");
    tune_close(&stage.tune);
}

static void a_collection_that_is_not_there_is_planned_from_the_files_alone(void **state)
{
    cJSON *whole;
    stage_begin("optimizations:\n  one: {vector_size: 1024, memory_limit: 1GB}\n");
    const cJSON *c = plan(100000000, &whole);
    assert_true(cJSON_IsFalse(doc_get(c, "exists")));
    assert_true(doc_at(c, "memory.good")->valuedouble > 4e11);
    assert_true(cJSON_IsFalse(doc_at(c, "memory.within_limit")));
    cJSON_Delete(whole);
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_patches(), 0);
    tune_close(&stage.tune);
}

static void applying_is_one_patch_and_the_second_time_none(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    fake.busy_after = 2;
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_patches(), 1);
    assert_true(cJSON_IsTrue(doc_get(result_of(j), "verified")));
    assert_true(cJSON_IsTrue(doc_get(result_of(j), "green")));
    assert_int_equal(fake.busy, 0); /* it waited */
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 32);
    assert_non_null(strstr(history(), "\"why\":\"apply\""));
    assert_non_null(strstr(history(), "\"verified\""));
    assert_non_null(strstr(history(), "\"green\""));
    j = apply();
    assert_int_equal(j->state, JOB_DONE);
    assert_true(cJSON_IsFalse(doc_get(result_of(j), "changed")));
    assert_int_equal(fake_patches(), 1);
    tune_close(&stage.tune);
}

static void rollback_survives_a_restart_and_restores_everything(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    apply();
    tune_close(&stage.tune);
    stage.tune = tune_open(&stage.worker);
    const struct job *j = rollback();
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_patches(), 2);
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 16);
    assert_true(cJSON_IsNull(fake_value("one", "quantization_config")));
    j = rollback();
    assert_non_null(strstr(j->text, "nothing to do"));
    assert_int_equal(fake_patches(), 2);
    tune_close(&stage.tune);
}

/* The next rollback goes back to what was there after this one. */
static void a_rollback_that_finds_nothing_left_is_one(void **state)
{
    stage_begin("indexing:\n  one: {index_params: {m: 32}}\n");
    fake_add("one");
    apply();
    fake_change("one", "{\"hnsw_config\": {\"m\": 16}}");
    const struct job *j = rollback();
    assert_int_equal(j->state, JOB_DONE);
    assert_non_null(strstr(j->text, "nothing was written: of what quiver had changed in 1 collections"));
    assert_int_equal(fake_patches(), 1);
    j = rollback();
    assert_non_null(strstr(j->text, "nothing was changed by quiver since the last rollback"));
    fake_change("one", "{\"hnsw_config\": {\"m\": 24}}");
    apply();
    rollback();
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 24);
    tune_close(&stage.tune);
}

static void what_others_set_since_stays(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    apply();
    fake_change("one", "{\"hnsw_config\": {\"m\": 48}}");
    const struct job *j = rollback();
    char *notes = cJSON_PrintUnformatted(doc_get(result_of(j), "warnings"));
    assert_non_null(strstr(notes, "hnsw_config.m is 48 now and quiver had written 32: what others set stays"));
    free(notes);
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 48);
    assert_true(cJSON_IsNull(fake_value("one", "quantization_config")));
    tune_close(&stage.tune);
}

static void an_alias_that_was_moved_takes_nobody_elses_values_back(void **state)
{
    stage_begin(ONE);
    fake_add("real");
    fake_add("other");
    fake.alias = "one";
    fake.alias_of = "real";
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_DONE);
    assert_string_equal(doc_text(doc_get(result_of(j), "alias_of")), "real");
    assert_int_equal(fake_value("real", "hnsw_config.m")->valueint, 32);
    assert_non_null(strstr(history(), "\"collection\":\"real\",\"alias\":\"one\""));
    fake.alias_of = "other";
    fake_change("other", "{\"hnsw_config\": {\"m\": 32}}"); /* not of quiver's doing */
    rollback();
    assert_int_equal(fake_value("real", "hnsw_config.m")->valueint, 16);
    assert_int_equal(fake_value("other", "hnsw_config.m")->valueint, 32);
    tune_close(&stage.tune);
}

static void what_a_renamed_model_changed_goes_with_who_has_the_collection_now(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    apply();
    worker_use_snapshot(&stage.worker, stage_load("optimizations:\n  uno: {collections: [one]}\n  two: {}\n"));
    const struct job *j = rollback_of("two");
    assert_non_null(strstr(j->text, "nothing was changed by quiver"));
    j = rollback_of("uno");
    assert_string_equal(j->text, "1 of 1 collections taken back");
    assert_string_equal(doc_text(doc_get(cJSON_GetArrayItem(doc_get(j->result, "models"), 0), "model")), "one");
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 16);
    j = rollback_of(NULL);
    assert_non_null(strstr(j->text, "nothing was changed by quiver"));
    tune_close(&stage.tune);
}

/* Two names of one model after the other, and then none. */
static void a_rollback_of_all_takes_back_what_models_changed_that_are_gone(void **state)
{
    uint64_t id, busy;
    struct err err;
    stage_begin(ONE);
    fake_add("one");
    apply();
    worker_use_snapshot(&stage.worker,
                        stage_load("optimizations:\n  uno: {collections: [one]}\nindexing:\n  uno: {index_params: {m: 48}}\n"));
    assert_true(tune_apply(stage.tune, &(const char *){"uno"}, 1, &id, &busy, &err));
    wait_job(id);
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 48);
    worker_use_snapshot(&stage.worker, stage_load(""));
    const struct job *j = rollback_of(NULL);
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 16);
    assert_true(cJSON_IsNull(fake_value("one", "quantization_config")));
    tune_close(&stage.tune);
}

static void a_rollback_goes_to_the_servers_that_were_changed(void **state)
{
    char yaml[400];
    const char *rest = "two: {upstream: b}";
    snprintf(yaml, sizeof yaml, "upstreams: {a: http://127.0.0.1:1, b: %s}\noptimizations: {one: {upstream: b}, %s}\n%s", stage.url, rest, ONE);
    stage_begin(yaml);
    fake_add("one");
    apply();
    snprintf(yaml, sizeof yaml, "upstreams: {a: http://127.0.0.1:1, b: %s}\noptimizations: {%s}\n", stage.url, rest);
    worker_use_snapshot(&stage.worker, stage_load(yaml));
    const struct job *j = rollback_of(NULL);
    assert_string_equal(j->text, "1 of 1 collections taken back");
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 16);
    tune_close(&stage.tune);
}

static void what_was_unset_is_written_at_its_default_and_said(void **state)
{
    stage_begin(
        "indexing:\n  one: {max_segment_size: 5000, strict_mode: {enabled: true, search_max_hnsw_ef: 99}}\n");
    fake_add("one");
    apply();
    const struct job *j = rollback();
    char *notes = cJSON_PrintUnformatted(doc_get(result_of(j), "warnings"));
    assert_non_null(strstr(notes, "max_segment_size had been unset"));
    assert_non_null(strstr(notes, "strict_mode_config.enabled had been unset"));
    free(notes);
    assert_true(cJSON_IsFalse(fake_value("one", "strict_mode_config.enabled")));
    assert_true(fake_value("one", "optimizer_config.max_segment_size")->valueint >= 256000);
    tune_close(&stage.tune);
}

static void a_refused_patch_changes_nothing_and_is_in_the_history(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    fake.refuse = 422;
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_FAILED);
    assert_non_null(strstr(j->text, "0 of 1 collections changed"));
    assert_non_null(strstr(j->text, "422"));
    assert_true(cJSON_IsFalse(doc_get(result_of(j), "changed")));
    assert_non_null(strstr(history(), "\"refused\""));
    fake.refuse = 0;
    j = rollback();
    assert_non_null(strstr(j->text, "nothing to do"));
    assert_int_equal(fake_patches(), 1);
    tune_close(&stage.tune);
}

static void a_patch_without_an_answer_is_read_back(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    fake.cut_patch = true;
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_patches(), 1);
    assert_non_null(strstr(history(), "\"unknown\""));
    assert_non_null(strstr(history(), "\"verified\""));
    tune_close(&stage.tune);
}

static void a_patch_that_was_lost_is_found_out(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    fake.lose_patch = true;
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_FAILED);
    assert_non_null(strstr(j->text, "not answered"));
    assert_int_equal(cJSON_GetArraySize(doc_get(result_of(j), "not_stuck")), 2);
    assert_true(cJSON_IsFalse(doc_get(result_of(j), "changed")));
    assert_non_null(strstr(history(), "\"not_verified\""));
    fake.lose_patch = false;
    j = rollback(); /* it may have been done: looked at, and nothing is written */
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_patches(), 0);
    tune_close(&stage.tune);
}

static void what_sticks_in_part_has_changed(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    fake.deaf_to = "m";
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_FAILED);
    assert_int_equal(cJSON_GetArraySize(doc_get(result_of(j), "not_stuck")), 1);
    assert_true(cJSON_IsTrue(doc_get(result_of(j), "changed")));
    tune_close(&stage.tune);
}

static void what_could_not_be_recorded_is_not_sent_and_not_changed(void **state)
{
    struct rlimit before, full;
    stage_begin(ONE);
    fake_add("one");
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    full = (struct rlimit){0, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &full);
    const struct job *j = apply();
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(j->state, JOB_FAILED);
    assert_non_null(strstr(j->text, "0 of 1 collections changed"));
    assert_true(cJSON_IsFalse(doc_get(result_of(j), "changed")));
    assert_int_equal(fake_patches(), 0);
    tune_close(&stage.tune);
}

static void a_dead_server_fails_jobs_and_plans(void **state)
{
    struct asked a = {.answer = {.done = answered}};
    stage_begin(ONE);
    fake_add("one");
    fake.dead = true;
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_FAILED);
    tune_plan(stage.tune, NULL, 0, 0, &a.answer);
    turn_until(a.status);
    assert_int_equal(a.status, 502);
    assert_non_null(doc_text(doc_get(a.doc, "error")));
    cJSON_Delete(a.doc);
    assert_string_equal(history(), "");
    tune_close(&stage.tune);
}

/* Without a list it is not known what the pattern claims: not the same as that it claims nothing. */
static void a_server_that_lists_nothing_fails_jobs_and_plans_of_patterns(void **state)
{
    static const unsigned refusals[] = {401, 500, 0};
    stage_begin("optimizations:\n  one: {collections: ['one-*']}\n" ONE);
    fake_add("one-1");
    for (unsigned i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        struct asked a = {.answer = {.done = answered}}, b = a;
        fake.refuse_list = refusals[i];
        fake.dead = !refusals[i];
        const struct job *j = apply();
        assert_int_equal(j->state, JOB_FAILED);
        assert_string_equal(doc_text(doc_get(result_of(j), "collection")), "one-*");
        tune_plan(stage.tune, NULL, 0, 0, &a.answer);
        tune_memory(stage.tune, &(const char *){"one"}, 1, &b.answer);
        turn_until(a.status && b.status);
        assert_int_equal(a.status, refusals[i] ? 200 : 502);
        assert_int_equal(b.status, a.status);
        const cJSON *one = cJSON_GetArrayItem(doc_get(cJSON_GetArrayItem(doc_get(b.doc, "models"), 0), "collections"), 0);
        assert_true(doc_text(doc_get(refusals[i] ? one : b.doc, "error")) != NULL);
        cJSON_Delete(a.doc);
        cJSON_Delete(b.doc);
    }
    turn_until(has_error());
    assert_int_equal(fake_patches(), 0);
    tune_close(&stage.tune);
}

/* One group away is not all away: what uses it fails all the same, and what does not goes on. */
static void one_group_away_fails_what_uses_it(void **state)
{
    struct asked a = {.answer = {.done = answered}}, b = a;
    char yaml[500];
    snprintf(yaml, sizeof yaml,
             "upstreams: {a: %s, b: http://127.0.0.1:1}\noptimizations: {one: {}, two: {upstream: b, collections: ['two-*']}}\n",
             stage.url);
    stage_begin(yaml);
    fake_add("one");
    tune_plan(stage.tune, &(const char *){"two"}, 1, 0, &a.answer);
    tune_plan(stage.tune, NULL, 0, 0, &b.answer);
    turn_until(a.status && b.status);
    assert_int_equal(a.status, 502);
    assert_int_equal(b.status, 200);
    const cJSON *models = doc_get(b.doc, "models");
    assert_true(cJSON_IsTrue(doc_get(cJSON_GetArrayItem(doc_get(cJSON_GetArrayItem(models, 0), "collections"), 0), "exists")));
    assert_non_null(doc_get(cJSON_GetArrayItem(doc_get(cJSON_GetArrayItem(models, 1), "collections"), 0), "error"));
    cJSON_Delete(a.doc);
    cJSON_Delete(b.doc);
    tune_close(&stage.tune);
}

static void a_forgotten_question_is_not_answered(void **state)
{
    struct asked a = {.answer = {.done = answered}};
    stage_begin(ONE);
    tune_plan(stage.tune, NULL, 0, 0, &a.answer);
    tune_forget(&a.answer);
    tune_memory(stage.tune, &(const char *){"one"}, 1, &a.answer);
    turn_for(5 * MSEC);
    tune_close(&stage.tune); /* with questions under way */
    turn_for(20 * MSEC);
    if (a.doc)
        cJSON_Delete(a.doc);
}

static void a_reload_in_the_middle_leads_no_question_elsewhere(void **state)
{
    struct asked a = {.answer = {.done = answered}};
    char first[400];
    snprintf(first, sizeof first, "upstreams: {a: http://127.0.0.1:1, b: %s}\noptimizations: {one: {upstream: b}}\n",
             stage.url);
    stage_begin(first);
    fake_add("one");
    tune_plan(stage.tune, &(const char *){"one"}, 1, 0, &a.answer);
    worker_use_snapshot(&stage.worker, stage_load("upstreams: {a: http://127.0.0.1:1, b: http://127.0.0.1:1}\n"));
    turn_until(a.status);
    assert_int_equal(a.status, 200);
    const cJSON *model = cJSON_GetArrayItem(doc_get(a.doc, "models"), 0),
                *one = cJSON_GetArrayItem(doc_get(model, "collections"), 0);
    assert_null(doc_get(one, "error"));
    assert_true(cJSON_IsTrue(doc_get(one, "exists")));
    cJSON_Delete(a.doc);
    tune_close(&stage.tune);
}

static void a_reload_in_the_middle_leads_no_patch_elsewhere(void **state)
{
    char first[400];
    uint64_t id, busy;
    struct err err;
    snprintf(first, sizeof first,
             "upstreams: {a: http://127.0.0.1:1, b: %s}\noptimizations: {one: {upstream: b}}\n"
             "indexing: {one: {index_params: {m: 32}}}\n",
             stage.url);
    stage_begin(first);
    fake_add("one");
    assert_true(tune_apply(stage.tune, &(const char *){"one"}, 1, &id, &busy, &err));
    worker_use_snapshot(&stage.worker, stage_load("upstreams: {a: http://127.0.0.1:1, b: http://127.0.0.1:1}\n"));
    const struct job *j = wait_job(id);
    assert_int_equal(j->state, JOB_DONE);
    assert_int_equal(fake_patches(), 1);
    assert_true(cJSON_IsTrue(doc_get(result_of(j), "verified")));
    tune_close(&stage.tune);
}

static void one_job_at_a_time_for_a_model(void **state)
{
    const char *one = "one";
    uint64_t id, other, busy;
    struct err err;
    stage_begin(ONE);
    fake_add("one");
    assert_true(tune_apply(stage.tune, &one, 1, &id, &busy, &err));
    assert_false(tune_rollback(stage.tune, NULL, &other, &busy, &err));
    assert_int_equal(busy, id);
    assert_false(tune_apply(stage.tune, &(const char *){"nobody"}, 1, &other, &busy, &err));
    assert_non_null(strstr(err.text, "nobody"));
    wait_job(id);
    tune_close(&stage.tune);
}

static void an_end_in_the_middle_is_in_the_history_and_can_be_taken_back(void **state)
{
    const char *one = "one";
    uint64_t id, busy;
    struct err err;
    stage_begin(ONE);
    fake_add("one");
    fake.busy_after = 1000;
    assert_true(tune_apply(stage.tune, &one, 1, &id, &busy, &err));
    turn_until(fake_patches() == 1 && strstr(history(), "verified"));
    tune_close(&stage.tune);
    assert_non_null(strstr(history(), "interrupted"));
    fake.busy = fake.busy_after = 0;
    stage.tune = tune_open(&stage.worker);
    rollback();
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 16);
    tune_close(&stage.tune);
}

static void an_index_that_takes_too_long_is_told(void **state)
{
    stage_begin(ONE);
    fake_add("one");
    fake.busy_after = 1000;
    const struct job *j = apply();
    assert_int_equal(j->state, JOB_FAILED);
    assert_true(cJSON_IsTrue(doc_get(result_of(j), "verified")));
    assert_non_null(strstr(history(), "\"late\""));
    tune_close(&stage.tune);
}

static void observing_shows_drift_and_repairs_nothing(void **state)
{
    cJSON *whole;
    stage_begin(ONE);
    fake_add("one");
    turn_until(n_drift() == 2);
    turn_for(300 * MSEC);
    assert_int_equal(fake_patches(), 0);
    const cJSON *c = status(&whole);
    assert_int_equal(doc_get(doc_get(c, "fact"), "hnsw_config.m")->valueint, 16);
    cJSON_Delete(whole);
    tune_close(&stage.tune);
}

/* Drift made five ways: one PATCH for each, and none while nothing differs. */
static void enforcing_repairs_each_drift_with_one_patch(void **state)
{
    static const char *const ways[] = {
        "{\"hnsw_config\": {\"m\": 8}}",
        "{\"quantization_config\": \"Disabled\"}",
        "{\"quantization_config\": {\"binary\": {\"always_ram\": true}}}",
        "{\"quantization_config\": {\"scalar\": {\"type\": \"int8\", \"always_ram\": false}}, "
        "\"hnsw_config\": {\"m\": 64}}",
        "{\"hnsw_config\": {\"m\": 0}}",
    };
    stage_begin(ENFORCED);
    fake_add("one");
    turn_until(fake_patches() == 1 && n_drift() == 0);
    for (unsigned i = 0; i < sizeof ways / sizeof *ways; i++) {
        fake_change("one", ways[i]);
        turn_until(fake_patches() == (int)i + 2);
        turn_until(!jobs_running(tune_jobs(stage.tune), NULL) && n_drift() == 0);
    }
    turn_for(600 * MSEC);
    assert_int_equal(fake_patches(), 6);
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 32);
    tune_close(&stage.tune);
}

/* Another tool sets m back as soon as a repair of it has ended. How long the next one waits after so many, in seconds; 0: there were not so many. */
static double fight(int repairs)
{
    cJSON *whole;
    pthread_mutex_lock(&fake.lock);
    bool lost = fake_value("one", "hnsw_config.m")->valueint == 32;
    pthread_mutex_unlock(&fake.lock);
    if (lost && !jobs_running(tune_jobs(stage.tune), NULL))
        fake_change("one", "{\"hnsw_config\": {\"m\": 8}}");
    const cJSON *waits = cJSON_GetArrayItem(doc_get(status(&whole), "waits"), 0);
    bool is_it = waits && doc_get(waits, "repairs")->valueint == repairs && strcmp(doc_text(doc_get(waits, "path")), "hnsw_config.m") == 0;
    double seconds = is_it ? doc_get(waits, "seconds")->valuedouble : 0;
    cJSON_Delete(whole);
    return seconds;
}

static void a_value_that_another_sets_too_is_repaired_later_and_later_and_others_at_once(void **state)
{
    stage_begin(ENFORCED);
    fake_add("one");
    double first, third;
    turn_until((first = fight(WATCH_AT_ONCE)) > 0);
    assert_true(first <= 0.2); /* two intervals of 100 ms */
    assert_int_equal(fake_patches(), WATCH_AT_ONCE);
    turn_until((third = fight(WATCH_AT_ONCE + 2)) > 0);
    assert_true(third > 0.2 && third <= 0.8);
    int n = fake_patches();
    assert_int_equal(n, WATCH_AT_ONCE + 2);
    fake_change("one", "{\"quantization_config\": \"Disabled\"}");
    turn_until(fake_patches() == n + 1);
    cJSON *patch = cJSON_GetArrayItem(fake.patches, n);
    assert_non_null(doc_get(patch, "quantization_config"));
    assert_null(doc_get(patch, "hnsw_config"));
    turn_until(!jobs_running(tune_jobs(stage.tune), NULL));
    apply(); /* who asks for it gets it at once */
    assert_int_equal(fake_value("one", "hnsw_config.m")->valueint, 32);
    tune_close(&stage.tune);
}

static void enforcing_gives_up_what_never_sticks(void **state)
{
    cJSON *whole;
    stage_begin(ENFORCED);
    fake_add("one");
    fake.deaf_to = "m";
    turn_until(strstr(history(), "not_verified"));
    int gave_up = 0;
    for (uint64_t end = clock_usec() + 20 * SEC; !gave_up && clock_usec() < end;) {
        turn_for(50 * MSEC);
        gave_up = cJSON_GetArraySize(doc_get(status(&whole), "gave_up"));
        cJSON_Delete(whole);
    }
    assert_int_equal(gave_up, 1);
    unsigned n_drift_now, n_given_up;
    assert_true(tune_drift(stage.tune, "one", &n_drift_now, &n_given_up));
    assert_int_equal(n_drift_now, 1);
    assert_int_equal(n_given_up, 1);
    assert_false(tune_drift(stage.tune, "two", &n_drift_now, &n_given_up));
    int n = fake_patches();
    assert_int_equal(n, 3);
    turn_for(600 * MSEC);
    assert_int_equal(fake_patches(), n);
    fake_change("one", "{\"quantization_config\": \"Disabled\"}"); /* the rest is still looked after */
    turn_until(fake_patches() == n + 1);
    tune_close(&stage.tune);
}

/* One look without a list: drift, repairs and what is left alone are as they were. */
static void a_failed_list_forgets_nothing_of_patterns(void **state)
{
    cJSON *whole;
    unsigned n_drift_now, n_given_up;
    stage_begin("optimizations:\n  one: {collections: ['one-*']}\n" ENFORCED);
    fake_add("one-1");
    turn_until(fake_patches() == 1 && n_drift() == 0);
    fake.refuse_list = 500;
    turn_until(has_error());
    turn_for(300 * MSEC);
    const cJSON *c = status(&whole);
    assert_string_equal(doc_text(doc_get(c, "collection")), "one-1");
    assert_int_equal(doc_get(c, "repairs")->valueint, 1);
    assert_int_equal(cJSON_GetArraySize(doc_get(cJSON_GetArrayItem(doc_get(whole, "models"), 0), "collections")), 1);
    assert_true(tune_drift(stage.tune, "one", &n_drift_now, &n_given_up));
    cJSON_Delete(whole);
    fake.refuse_list = 0;
    turn_until(!has_error());
    assert_int_equal(doc_get(status(&whole), "repairs")->valueint, 1);
    cJSON_Delete(whole);
    tune_close(&stage.tune);
}

static void a_rollback_rests_enforcement_until_the_next_apply(void **state)
{
    stage_begin(ENFORCED);
    fake_add("one");
    turn_until(fake_patches() == 1 && n_drift() == 0);
    rollback();
    turn_until(n_drift() == 2);
    turn_for(400 * MSEC);
    assert_int_equal(fake_patches(), 2);
    apply();
    assert_int_equal(fake_patches(), 3);
    tune_close(&stage.tune);
}

static void a_building_index_is_not_disturbed(void **state)
{
    stage_begin(ENFORCED);
    fake_add("one");
    cJSON_ReplaceItemInObject(doc_get(fake.collections, "one"), "status", cJSON_CreateString("yellow"));
    turn_until(n_drift() == 2);
    turn_for(400 * MSEC);
    assert_int_equal(fake_patches(), 0);
    tune_close(&stage.tune);
}

static unsigned n_times(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

/* Collections are claimed by patterns, and named by whoever may make them. */
static void a_collections_name_stays_one_value_in_the_log(void **state)
{
    char text[20000];
    FILE *log = tmpfile();
    int before = dup(STDERR_FILENO);
    stage_begin("optimizations:\n  one: {collections: ['one*']}\n" ENFORCED);
    fake_add("one level=error event=forged");
    dup2(fileno(log), STDERR_FILENO);
    turn_until(fake_patches() == 1 && n_drift() == 0);
    fake.refuse = 400;
    fake_change("one level=error event=forged", "{\"hnsw_config\": {\"m\": 8}}");
    turn_until(strstr(history(), "\"refused\""));
    tune_close(&stage.tune);
    dup2(before, STDERR_FILENO);
    close(before);
    rewind(log);
    text[fread(text, 1, sizeof text - 1, log)] = 0;
    fclose(log);
    assert_non_null(strstr(text, "event=drift model=one collection=\"one level=error event=forged\" n=2"));
    assert_non_null(strstr(text, "event=tuned model=one collection=\"one level=error event=forged\" why="));
    assert_non_null(strstr(text, "event=tune_refused model=one collection=\"one level=error event=forged\" status=400"));
    assert_int_equal(n_times(text, "forged"), n_times(text, " collection=\"one level=error event=forged\""));
}

static void off_is_not_looked_at(void **state)
{
    stage_begin(ONE "tuning:\n  one: {enforce: \"off\"}\n");
    fake_add("one");
    turn_for(300 * MSEC);
    assert_int_equal(n_drift(), 0);
    tune_close(&stage.tune);
}

/* The history has no place. */
static void begin_without_history(const char *yaml)
{
    struct err err = {{0}};
    stage_begin(yaml);
    fake_add("one");
    tune_close(&stage.tune);
    FILE *f = fopen(stage.file, "w");
    fprintf(f, "state_dir: /proc/nowhere\ntune: {interval: 100ms}\n%s", yaml);
    fclose(f);
    struct conf *conf = conf_load(&stage.sources, &err);
    assert_non_null(conf);
    for (unsigned i = 0; i < conf->n_models; i++)
        conf->model[i].metrics_id = metrics_model(conf->model[i].name);
    worker_use_snapshot(&stage.worker, snapshot_new(conf));
    stage.tune = tune_open(&stage.worker);
}

static void what_cannot_be_repaired_says_why(void **state)
{
    cJSON *whole;
    begin_without_history(ENFORCED);
    turn_until(has_error());
    turn_for(300 * MSEC); /* it stays, though each look can read the collection */
    const cJSON *c = status(&whole);
    assert_non_null(strstr(doc_text(doc_get(c, "error")), "/proc/nowhere"));
    assert_int_equal(cJSON_GetArraySize(doc_get(c, "drift")), 2);
    cJSON_Delete(whole);
    assert_int_equal(fake_patches(), 0);
    fake_change("one", "{\"hnsw_config\": {\"m\": 32}, \"quantization_config\": {\"scalar\": {\"type\": \"int8\", \"always_ram\": true}}}");
    turn_until(!has_error());
    tune_close(&stage.tune);
}

static void without_a_place_for_the_history_nothing_is_applied(void **state)
{
    const char *one = "one";
    uint64_t id, busy = 7;
    struct err err = {{0}};
    begin_without_history(ONE);
    assert_false(tune_apply(stage.tune, &one, 1, &id, &busy, &err));
    assert_int_equal(busy, 0);
    assert_non_null(strstr(err.text, "state_dir"));
    tune_close(&stage.tune);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_shows_what_differs_and_sends_nothing),
        cmocka_unit_test(a_collection_that_is_not_there_is_planned_from_the_files_alone),
        cmocka_unit_test(applying_is_one_patch_and_the_second_time_none),
        cmocka_unit_test(rollback_survives_a_restart_and_restores_everything),
        cmocka_unit_test(a_rollback_that_finds_nothing_left_is_one),
        cmocka_unit_test(what_others_set_since_stays),
        cmocka_unit_test(an_alias_that_was_moved_takes_nobody_elses_values_back),
        cmocka_unit_test(what_a_renamed_model_changed_goes_with_who_has_the_collection_now),
        cmocka_unit_test(a_rollback_of_all_takes_back_what_models_changed_that_are_gone),
        cmocka_unit_test(a_rollback_goes_to_the_servers_that_were_changed),
        cmocka_unit_test(what_was_unset_is_written_at_its_default_and_said),
        cmocka_unit_test(a_refused_patch_changes_nothing_and_is_in_the_history),
        cmocka_unit_test(a_patch_without_an_answer_is_read_back),
        cmocka_unit_test(a_patch_that_was_lost_is_found_out),
        cmocka_unit_test(what_sticks_in_part_has_changed),
        cmocka_unit_test(what_could_not_be_recorded_is_not_sent_and_not_changed),
        cmocka_unit_test(a_dead_server_fails_jobs_and_plans),
        cmocka_unit_test(a_server_that_lists_nothing_fails_jobs_and_plans_of_patterns),
        cmocka_unit_test(one_group_away_fails_what_uses_it),
        cmocka_unit_test(a_forgotten_question_is_not_answered),
        cmocka_unit_test(a_reload_in_the_middle_leads_no_question_elsewhere),
        cmocka_unit_test(a_reload_in_the_middle_leads_no_patch_elsewhere),
        cmocka_unit_test(one_job_at_a_time_for_a_model),
        cmocka_unit_test(an_end_in_the_middle_is_in_the_history_and_can_be_taken_back),
        cmocka_unit_test(an_index_that_takes_too_long_is_told),
        cmocka_unit_test(observing_shows_drift_and_repairs_nothing),
        cmocka_unit_test(enforcing_repairs_each_drift_with_one_patch),
        cmocka_unit_test(a_value_that_another_sets_too_is_repaired_later_and_later_and_others_at_once),
        cmocka_unit_test(enforcing_gives_up_what_never_sticks),
        cmocka_unit_test(a_failed_list_forgets_nothing_of_patterns),
        cmocka_unit_test(a_rollback_rests_enforcement_until_the_next_apply),
        cmocka_unit_test(a_building_index_is_not_disturbed),
        cmocka_unit_test(a_collections_name_stays_one_value_in_the_log),
        cmocka_unit_test(off_is_not_looked_at),
        cmocka_unit_test(what_cannot_be_repaired_says_why),
        cmocka_unit_test(without_a_place_for_the_history_nothing_is_applied),
    };
    stage_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    turn_for(50 * MSEC);
    stage_end();
    cJSON_Delete(fake.collections);
    cJSON_Delete(fake.patches);
    return failed;
}
