#include "tune/external_poll.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/names.h"
#include "tune/ask.h"
#include "tune/doc.h"

struct watched {
    char name[COHERENCE_COLLECTION_MAX];
    uint64_t sum;            /* over the shards' op_num; 0: never read */
    bool moved;
};

struct external_poll {
    struct worker *worker;
    struct ask ask;
    struct timer timer;
    struct task task;        /* a renewal went on */
    unsigned group, renewing;
    struct write_hold hold;
    enum { RENEW_NONE, RENEW_OPEN, RENEW_CLOSE } renewal;
    struct watched *watched;
    unsigned n, cap;
};

static void next_group(struct external_poll *p);

static bool is_watched(const struct external_poll *p, struct str name, unsigned group)
{
    const struct conf_model *model = names_model(p->worker->snapshot->conf, p->worker->facts, name);
    return model->base.external_writes && model->group == group;
}

static bool group_is_watched(const struct external_poll *p)
{
    const struct facts *facts = p->worker->facts;
    for (unsigned i = 0; facts && i < facts->n_collections; i++)
        if (is_watched(p, facts->collection[i].name, p->group))
            return true;
    return false;
}

static void end_round(struct external_poll *p)
{
    timer_set(&p->timer, p->worker->loop.now + p->worker->snapshot->conf->process.alias_poll);
}

static void wake(void *arg)
{
    struct external_poll *p = arg;
    loop_wake(&p->worker->loop, &p->task);
}

/* One collection after the other: open, close as done, next. */
static void renew(struct task *task)
{
    struct external_poll *p = LIST_OF(external_poll, task, task);
    for (;;) {
        if (p->renewal == RENEW_OPEN) {
            p->renewal = RENEW_CLOSE;
            if (!coherence_close(&p->hold, PROOF_COMPLETED, wake, p))
                return;
        }
        if (p->renewal == RENEW_CLOSE)
            p->watched[p->renewing++].moved = false;
        p->renewal = RENEW_NONE;
        while (p->renewing < p->n && !p->watched[p->renewing].moved)
            p->renewing++;
        if (p->renewing >= p->n)
            break;
        struct coherence_names names = {0};
        names_add_written(p->worker->facts, &names, str_of(p->watched[p->renewing].name));
        p->renewal = RENEW_OPEN;
        if (!coherence_open(p->worker->coherence, &p->hold, &names, wake, p))
            return;
    }
    p->group++;
    next_group(p);
}

static struct watched *watched_of(struct external_poll *p, const char *name)
{
    for (unsigned i = 0; i < p->n; i++)
        if (strcmp(p->watched[i].name, name) == 0)
            return &p->watched[i];
    if (strlen(name) >= COHERENCE_COLLECTION_MAX)
        return NULL;
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 16;
        p->watched = mem_realloc(p->watched, p->cap * sizeof *p->watched);
    }
    struct watched *w = &p->watched[p->n++];
    *w = (struct watched){.sum = 0};
    strcpy(w->name, name);
    return w;
}

static uint64_t sum_of(const cJSON *collection)
{
    const cJSON *shard;
    uint64_t sum = 1;
    cJSON_ArrayForEach(shard, doc_get(collection, "shards"))
    {
        const cJSON *op_num = doc_at(shard, "local.update_queue.op_num");
        sum += cJSON_IsNumber(op_num) && op_num->valuedouble > 0 ? (uint64_t)op_num->valuedouble : 0;
    }
    return sum;
}

static void answered(struct ask *ask)
{
    struct external_poll *p = LIST_OF(external_poll, ask, ask);
    cJSON *doc = ask->status == 200 ? cJSON_ParseWithLength(ask->body.p, ask->body.n) : NULL;
    const cJSON *one;
    cJSON_ArrayForEach(one, doc_at(doc, "result.collections.collections"))
    {
        const cJSON *id = doc_get(one, "id");
        struct watched *w = cJSON_IsString(id) && is_watched(p, str_of(id->valuestring), p->group) ? watched_of(p, id->valuestring) : NULL;
        uint64_t sum = w ? sum_of(one) : 0;
        if (w && sum != w->sum) {
            w->moved = w->sum != 0;
            w->sum = sum;
        }
    }
    cJSON_Delete(doc);
    fetch_finish(&ask->fetch);
    p->renewing = 0;
    p->renewal = RENEW_NONE;
    loop_wake(&p->worker->loop, &p->task);
}

static void next_group(struct external_poll *p)
{
    const struct conf *conf = p->worker->snapshot->conf;
    while (p->group < conf->n_groups && !group_is_watched(p))
        p->group++;
    if (p->group >= conf->n_groups) {
        end_round(p);
        return;
    }
    ask_start(&p->ask, ask_slots_of_control(p->worker, &conf->group[p->group]), "/telemetry?details_level=3");
}

static void on_time(void *arg)
{
    struct external_poll *p = arg;
    p->group = 0;
    next_group(p);
}

struct external_poll *external_poll_open(struct worker *control)
{
    struct external_poll *p = mem_zalloc(sizeof *p);
    p->worker = control;
    p->task.run = renew;
    ask_init(&p->ask, control, answered);
    timer_init(&p->timer, &control->loop, on_time, p);
    timer_set(&p->timer, clock_usec() + control->snapshot->conf->process.alias_poll);
    return p;
}

void external_poll_close(struct external_poll **slot)
{
    struct external_poll *p = *slot;
    *slot = NULL;
    coherence_cancel(&p->hold);
    loop_unwake(&p->worker->loop, &p->task);
    timer_fini(&p->timer);
    ask_fini(&p->ask);
    free(p->watched);
    free(p);
}
