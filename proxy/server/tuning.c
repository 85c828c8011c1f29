#include "server/tuning.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tune/tune.h"

/* What runs for a question of the API: freed when it is answered or forgotten. */
struct running {
    struct tune_answer answer;
    struct job_waiter waiter;
    struct tuning_question *question;
};

static void deliver(struct running *r, unsigned status, cJSON *doc)
{
    struct tuning_question *q = r->question;
    q->running = NULL;
    free(r);
    q->done(q, status, doc);
}

static void answered(struct tune_answer *answer, unsigned status, cJSON *doc)
{
    deliver(LIST_OF(running, answer, answer), status, doc);
}

static void job_ended(struct job_waiter *waiter, struct job *job)
{
    deliver(LIST_OF(running, waiter, waiter), 200, job_json(job));
}

static struct running *run(struct tuning_question *q)
{
    struct running *r = mem_zalloc(sizeof *r);
    r->question = q;
    r->answer.done = answered;
    r->waiter.ended = job_ended;
    q->running = r;
    return r;
}

static void plan(void *arg, const char *model, uint64_t points, struct tuning_question *q)
{
    tune_plan(arg, &model, model != NULL, points, &run(q)->answer);
}

static void memory(void *arg, const char *model, struct tuning_question *q)
{
    tune_memory(arg, &model, model != NULL, &run(q)->answer);
}

static cJSON *status(void *arg, const char *model)
{
    return tune_status(arg, model);
}

static cJSON *last_test(void *arg, const char *model)
{
    const cJSON *test = tune_get_test(arg, model, false);
    return test ? cJSON_Duplicate(test, true) : NULL;
}

static bool apply(void *arg, const char *const *models, unsigned n, uint64_t *job, uint64_t *busy,
                  struct err *err)
{
    return tune_apply(arg, models, n, job, busy, err);
}

static bool rollback(void *arg, const char *model, uint64_t *job, uint64_t *busy, struct err *err)
{
    return tune_rollback(arg, model, job, busy, err);
}

static bool test(void *arg, const char *model, unsigned seconds, uint64_t *job, uint64_t *busy,
                 struct err *err)
{
    return tune_test(arg, model, seconds, job, busy, err);
}

static cJSON *job(void *arg, uint64_t id)
{
    const struct job *found = jobs_find(tune_jobs(arg), id);
    return found ? job_json(found) : NULL;
}

static cJSON *jobs(void *arg)
{
    return jobs_json(tune_jobs(arg));
}

static bool wait_for(void *arg, uint64_t id, struct tuning_question *q)
{
    struct job *found = jobs_find(tune_jobs(arg), id);
    if (!found || found->state != JOB_RUNNING)
        return false;
    return job_wait(found, &run(q)->waiter);
}

static void forget(void *arg, struct tuning_question *q)
{
    struct running *r = q->running;
    (void)arg;
    if (!r)
        return;
    q->running = NULL;
    tune_forget(&r->answer);
    job_forget(&r->waiter);
    free(r);
}

struct api_tuning tuning_of(struct tune *tune)
{
    return (struct api_tuning){
        .arg = tune,
        .plan = plan,
        .memory = memory,
        .status = status,
        .last_test = last_test,
        .apply = apply,
        .rollback = rollback,
        .test = test,
        .job = job,
        .jobs = jobs,
        .wait = wait_for,
        .forget = forget,
    };
}
