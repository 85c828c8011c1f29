/* Jobs: who may begin, who is told, what is kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tune/doc.h"
#include "tune/jobs.h"

static unsigned n_ended;
static uint64_t last_ended;

static void ended(struct job_waiter *w, struct job *j)
{
    n_ended++;
    last_ended = j->id;
}

static void two_jobs_never_claim_one_model(void **state)
{
    struct jobs jobs;
    struct err err = {{0}};
    jobs_init(&jobs);
    struct job *a = jobs_begin(&jobs, "apply", "m", &err), *b = jobs_begin(&jobs, "apply", "x", &err);
    assert_non_null(a);
    assert_non_null(b);
    assert_null(jobs_begin(&jobs, "test", "m", &err));
    assert_non_null(strstr(err.text, "job 1 (apply of m)"));
    assert_null(jobs_begin(&jobs, "test", NULL, &err)); /* all: not while one runs */
    job_end(&jobs, a, true, NULL, "done");
    job_end(&jobs, b, false, NULL, "failed");
    struct job *all = jobs_begin(&jobs, "test", NULL, &err);
    assert_non_null(all);
    assert_null(jobs_begin(&jobs, "apply", "m", &err));
    assert_ptr_equal(jobs_running(&jobs, "m"), all);
    jobs_fini(&jobs);
}

static void a_job_of_several_models_claims_those_alone(void **state)
{
    static const char *const two[] = {"b", "c"}, *const others[] = {"a", "c"};
    struct jobs jobs;
    struct err err = {{0}};
    uint64_t busy;
    jobs_init(&jobs);
    struct job *several = jobs_begin_of(&jobs, "apply", two, 2, &busy, &err);
    assert_non_null(several);
    assert_ptr_equal(jobs_running(&jobs, "c"), several);
    assert_null(jobs_begin_of(&jobs, "apply", others, 2, &busy, &err));
    assert_int_equal(busy, several->id);
    assert_non_null(strstr(err.text, "job 1 (apply of b, c) is running"));
    assert_non_null(jobs_begin(&jobs, "apply", "a", &err));
    assert_null(jobs_begin(&jobs, "test", NULL, &err));
    cJSON *doc = job_json(several);
    assert_true(cJSON_IsNull(doc_get(doc, "model")));
    assert_int_equal(cJSON_GetArraySize(doc_get(doc, "models")), 2);
    cJSON_Delete(doc);
    jobs_fini(&jobs);
}

static void waiters_are_told_once_and_not_after_they_forgot(void **state)
{
    struct jobs jobs;
    struct err err;
    struct job_waiter one = {.ended = ended}, two = {.ended = ended};
    n_ended = 0;
    jobs_init(&jobs);
    struct job *a = jobs_begin(&jobs, "apply", NULL, &err);
    assert_true(job_wait(a, &one));
    assert_true(job_wait(a, &two));
    job_forget(&two);
    job_tell(a, 7, "half of %s", "it");
    assert_true(a->progress <= 1);
    job_end(&jobs, a, true, cJSON_Parse("{\"x\": 1}"), "all %d", 3);
    assert_int_equal(n_ended, 1);
    assert_int_equal(last_ended, a->id);
    assert_false(job_wait(a, &two));
    cJSON *doc = job_json(a);
    assert_string_equal(doc_text(doc_get(doc, "text")), "all 3");
    assert_string_equal(doc_text(doc_get(doc, "state")), "done");
    assert_int_equal(doc_at(doc, "result.x")->valueint, 1);
    cJSON_Delete(doc);
    jobs_fini(&jobs);
}

static void the_oldest_ended_ones_are_pushed_out(void **state)
{
    struct jobs jobs;
    struct err err;
    struct job_waiter w = {.ended = ended};
    jobs_init(&jobs);
    struct job *first = jobs_begin(&jobs, "apply", "runs", &err);
    for (unsigned i = 0; i < JOBS_KEPT + 20; i++)
        job_end(&jobs, jobs_begin(&jobs, "apply", "m", &err), true, NULL, "done");
    assert_true(jobs.all.n <= JOBS_KEPT);
    assert_ptr_equal(jobs_find(&jobs, 1), first);
    assert_null(jobs_find(&jobs, 2));
    cJSON *list = jobs_json(&jobs);
    assert_int_equal(doc_get(cJSON_GetArrayItem(doc_get(list, "jobs"), 0), "id")->valueint, JOBS_KEPT + 21);
    cJSON_Delete(list);
    assert_true(job_wait(first, &w));
    jobs_fini(&jobs);
    job_forget(&w); /* harmless */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_jobs_never_claim_one_model),
        cmocka_unit_test(a_job_of_several_models_claims_those_alone),
        cmocka_unit_test(waiters_are_told_once_and_not_after_they_forgot),
        cmocka_unit_test(the_oldest_ended_ones_are_pushed_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
