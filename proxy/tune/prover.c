#include "tune/prover.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"
#include "tune/ask.h"
#include "tune/doc.h"

#define LOOK_EVERY (50 * MSEC)  /* at the list of unproven writes: a lock and a few rows */
#define PAUSE_FIRST (50 * MSEC) /* between questions; doubles while nothing is proven */
#define PAUSE_MOST (1 * SEC)
#define STREAM (2 * SEC)        /* a hold that lives so long with writes joining it is a stream: said once a minute */
#define SAY_EVERY (60 * SEC)

struct prover {
    struct worker *worker;
    struct ask ask;
    struct timer timer;
    bool asking, asks_deferred;
    unsigned group, generation;       /* of the question under way; the configuration that this group is of */
    struct unproven_hold row[COHERENCE_UNPROVEN_MAX];
    unsigned n, deferred_at;          /* rows; which one's collection is asked for deferred points */
    bool applied[COHERENCE_UNPROVEN_MAX];               /* telemetry has shown it; deferred points are still to be asked */
    bool ending[COHERENCE_UNPROVEN_MAX];                /* it will run out without a proof; its collection is to be asked before */
    uint64_t pause, next_at;
    struct said {                     /* that a collection is not cached */
        uint64_t name, at;            /* the name's hash; when */
    } said[COHERENCE_UNPROVEN_MAX];
};

/* The group that it went to has gone with a reload: then it is that of none. */
static bool is_of_group(const struct prover *p, const struct unproven_hold *row)
{
    return row->place == conf_group_id(&p->worker->snapshot->conf->group[p->group]);
}

static struct slots *slots_of(struct prover *p)
{
    return ask_slots_of_control(p->worker, &p->worker->snapshot->conf->group[p->group]);
}

static bool provable(const struct unproven_hold *row)
{
    return row->acknowledged && row->operation_id && row->collection[0];
}

/* The first group from `from` on of which something is held: to be proven, or to see that Qdrant is behind with it. False: none. */
static bool next_group(struct prover *p, unsigned from)
{
    const struct conf *conf = p->worker->snapshot->conf;
    for (p->group = from; p->group < conf->n_groups; p->group++)
        for (unsigned i = 0; i < p->n; i++)
            if (p->row[i].collection[0] && is_of_group(p, &p->row[i]))
                return true;
    return false;
}

static void pause_for(struct prover *p, uint64_t usec)
{
    p->next_at = p->worker->loop.now + usec;
    p->asking = false;
    timer_set(&p->timer, p->worker->loop.now + LOOK_EVERY);
}

/* Once a minute for each collection; there are as many places as rows. */
static bool may_say(struct prover *p, const char *collection)
{
    uint64_t now = p->worker->loop.now, hash = XXH3_64bits(collection, strlen(collection));
    struct said *place = NULL;
    for (unsigned i = 0; i < COHERENCE_UNPROVEN_MAX; i++) {
        bool lately = p->said[i].at && now < p->said[i].at + SAY_EVERY;
        if (lately && p->said[i].name == hash)
            return false;
        if (!lately)
            place = &p->said[i];
    }
    if (place)
        *place = (struct said){hash, now};
    return place;
}

static void say_streams(struct prover *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        const struct unproven_hold *row = &p->row[i];
        char name[COHERENCE_COLLECTION_MAX + 16];
        if (row->n_writes < 2 || p->worker->loop.now < row->since + STREAM || !may_say(p, row->collection))
            continue;
        log_warn("not_cached", "collection=%s writes=%llu why=\"%s: what is read meanwhile is not cached\"",
                 log_quote(name, sizeof name, str_of(row->collection)), (unsigned long long)row->n_writes,
                 row->acknowledged ? "writes are streamed with wait=false" : "nobody knows whether these writes were done");
    }
}

static void on_time(void *arg)
{
    struct prover *p = arg;
    if (p->asking)
        return;
    struct coherence_gauges gauges;
    coherence_gauges(p->worker->coherence_shared, p->worker->loop.now, &gauges);
    metrics_gauge_set(p->worker->metrics, G_COHERENCE_UNPROVEN, gauges.unproven);
    p->n = gauges.unproven ? coherence_unproven(p->worker->coherence, p->row) : 0;
    if (!p->n)
        p->pause = PAUSE_FIRST;
    say_streams(p);
    memset(p->applied, 0, sizeof p->applied);
    memset(p->ending, 0, sizeof p->ending);
    if (!p->n || p->worker->loop.now < p->next_at || !next_group(p, 0)) {
        timer_set(&p->timer, p->worker->loop.now + LOOK_EVERY);
        return;
    }
    p->asking = true;
    p->generation = p->worker->snapshot->conf->generation;
    p->asks_deferred = false;
    ask_start(&p->ask, slots_of(p), "/telemetry?details_level=3");
}

/* The least op_num over the collection's shards; 0 if one of them cannot be seen from here. */
static uint64_t least_op_num(const cJSON *collection)
{
    const cJSON *shard;
    uint64_t least = 0;
    bool first = true;
    cJSON_ArrayForEach(shard, doc_get(collection, "shards"))
    {
        const cJSON *op_num = doc_at(shard, "local.update_queue.op_num");
        if (!cJSON_IsNumber(op_num) || cJSON_GetArraySize(doc_get(shard, "remote")) > 0)
            return 0; /* a replica elsewhere may lag behind */
        uint64_t n = op_num->valuedouble > 0 ? (uint64_t)op_num->valuedouble : 0;
        least = first || n < least ? n : least;
        first = false;
    }
    return least;
}

/* Updates wait in a shard's queue. (0 proves nothing: the one in progress is not counted.) */
static bool queue_is_long(const cJSON *collection)
{
    const cJSON *shard;
    cJSON_ArrayForEach(shard, doc_get(collection, "shards"))
    {
        const cJSON *length = doc_at(shard, "local.update_queue.length");
        if (cJSON_IsNumber(length) && length->valuedouble > 0)
            return true;
    }
    return false;
}

/* Not applied, and Qdrant says that it is behind: the hold must not run out meanwhile. */
static void keep_held(struct prover *p, const cJSON *collection, const char *name)
{
    uint64_t until = p->worker->loop.now + p->worker->snapshot->conf->process.quarantine;
    for (unsigned i = 0; queue_is_long(collection) && i < p->n; i++)
        if (strcmp(p->row[i].collection, name) == 0 && is_of_group(p, &p->row[i]))
            coherence_prolong(p->worker->coherence, &p->row[i], until);
}

static bool hides_unindexed(const cJSON *collection)
{
    return cJSON_IsTrue(doc_at(collection, "config.optimizer_config.prevent_unoptimized"));
}

static void read_telemetry(struct prover *p, struct str body)
{
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    const cJSON *one;
    cJSON_ArrayForEach(one, doc_at(doc, "result.collections.collections"))
    {
        const cJSON *id = doc_get(one, "id");
        uint64_t reached = cJSON_IsString(id) ? least_op_num(one) : 0;
        for (unsigned i = 0; reached && i < p->n; i++) {
            if (!provable(&p->row[i]) || strcmp(p->row[i].collection, id->valuestring) || p->row[i].operation_id > reached ||
                !is_of_group(p, &p->row[i]))
                continue;
            if (hides_unindexed(one))
                p->applied[i] = true;
            else if (coherence_prove(p->worker->coherence, &p->row[i]))
                p->pause = PAUSE_FIRST;
        }
        if (cJSON_IsString(id))
            keep_held(p, one, id->valuestring); /* what was proven just now is gone from the list and stays so */
    }
    cJSON_Delete(doc);
}

static bool may_hide(const struct prover *p, const struct unproven_hold *row)
{
    const struct fact_collection *fact = facts_collection(p->worker->facts, str_of(row->collection));
    return fact && fact->prevents_unoptimized;
}

/* Nothing will have proven these when they run out. Where points are hidden until they are indexed time alone proves nothing, and where
 * telemetry tells nothing the collection itself may tell that it is behind. */
static void note_ending(struct prover *p, bool refused)
{
    uint64_t soon = p->worker->loop.now + p->worker->snapshot->conf->process.quarantine / 2;
    for (unsigned i = 0; i < p->n; i++) {
        const struct unproven_hold *row = &p->row[i];
        p->ending[i] = row->collection[0] && row->until < soon && is_of_group(p, row) && (refused || may_hide(p, row));
    }
}

static void next_question(struct prover *p)
{
    if (next_group(p, p->group + 1)) {
        ask_start(&p->ask, slots_of(p), "/telemetry?details_level=3");
        return;
    }
    uint64_t most = p->worker->snapshot->conf->process.quarantine / 4; /* a hold is made longer before it ends */
    most = most < PAUSE_MOST ? most : PAUSE_MOST;
    pause_for(p, p->pause < most ? p->pause : most);
    p->pause = p->pause < PAUSE_MOST ? 2 * p->pause : PAUSE_MOST;
}

/* What may be applied but hidden: asked for one collection at a time. */
static void ask_deferred(struct prover *p)
{
    char path[32 + 3 * COHERENCE_COLLECTION_MAX], name[3 * COHERENCE_COLLECTION_MAX];
    while (p->deferred_at < p->n && !p->applied[p->deferred_at] && !p->ending[p->deferred_at])
        p->deferred_at++;
    if (p->deferred_at >= p->n) {
        p->asks_deferred = false;
        next_question(p);
        return;
    }
    snprintf(path, sizeof path, "/collections/%s", str_escape(name, sizeof name, p->row[p->deferred_at].collection));
    p->asks_deferred = true;
    ask_start(&p->ask, slots_of(p), path);
}

/* What a collection says of its queue; *n_waiting: updates, 0 if it does not say. */
static bool none_deferred(struct str body, double *n_waiting)
{
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    const cJSON *deferred = doc_at(doc, "result.update_queue.deferred_points"), *length = doc_at(doc, "result.update_queue.length");
    bool none = cJSON_IsNumber(deferred) && deferred->valuedouble == 0;
    *n_waiting = cJSON_IsNumber(length) ? length->valuedouble : 0;
    cJSON_Delete(doc);
    return none;
}

/* none: no points are deferred. Those that are may appear at any time without a further write. */
static void judge(struct prover *p, unsigned at, bool none, bool behind)
{
    struct unproven_hold *row = &p->row[at];
    if (none && p->applied[at])
        coherence_prove(p->worker->coherence, row);
    else if (behind || (!none && (p->applied[at] || may_hide(p, row))))
        coherence_prolong(p->worker->coherence, row, p->worker->loop.now + p->worker->snapshot->conf->process.quarantine);
    p->applied[at] = p->ending[at] = false;
}

static void answered_collection(struct prover *p, const struct ask *ask)
{
    double n_waiting = 0;
    bool none = ask->status == 200 && none_deferred(ask->body, &n_waiting);
    judge(p, p->deferred_at++, none, n_waiting > 0);
    for (; !ask->status && p->deferred_at < p->n; p->deferred_at++) /* it does not answer: the others would take as long */
        if (p->applied[p->deferred_at] || p->ending[p->deferred_at])
            judge(p, p->deferred_at, false, false);
}

static void answered(struct ask *ask)
{
    struct prover *p = LIST_OF(prover, ask, ask);
    if (p->generation != p->worker->snapshot->conf->generation) { /* a reload: group p->group may be another now */
        fetch_finish(&ask->fetch);
        pause_for(p, PAUSE_FIRST);
        return;
    }
    if (p->asks_deferred) {
        answered_collection(p, ask);
    } else {
        if (ask->status == 200)
            read_telemetry(p, ask->body);
        note_ending(p, ask->status && ask->status != 200);
        p->deferred_at = 0;
    }
    fetch_finish(&ask->fetch);
    ask_deferred(p);
}

struct prover *prover_open(struct worker *control)
{
    struct prover *p = mem_zalloc(sizeof *p);
    p->worker = control;
    p->pause = PAUSE_FIRST;
    ask_init(&p->ask, control, answered);
    timer_init(&p->timer, &control->loop, on_time, p);
    timer_set(&p->timer, clock_usec() + LOOK_EVERY);
    return p;
}

void prover_close(struct prover **slot)
{
    struct prover *p = *slot;
    *slot = NULL;
    timer_fini(&p->timer);
    ask_fini(&p->ask);
    free(p);
}
