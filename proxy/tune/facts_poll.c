/* facts_poll.c - one round: look at "@names", GET /aliases of every upstream group, then GET /collections/{c} of those that are wanted
 * (wanted.h) and whose facts are not fresh, with .../memory where there is a memory_limit; publish if something differs. A round begins every
 * coherence.alias_poll, or at once when kicked; it asks for ROUND_MOST and leaves the rest to the next, so that many collections do not keep
 * a new map of aliases waiting. */
#include "tune/facts_poll.h"

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "engine/names.h"
#include "tune/ask.h"
#include "tune/doc.h"
#include "tune/estimate.h"
#include "tune/wanted.h"

enum {
    INBOX = 256,
    SETTLE_SHARE = 5, /* after a change of names collections are read anew, for a sixth of the time */
};
#define RETRY (250 * MSEC)    /* while Qdrant does not answer, or the state of "@names" cannot be looked up */
#define FRESH (30 * SEC)      /* facts about a collection; sooner when it is known to have changed */
#define APART (20 * MSEC)     /* rounds that were asked for come no closer than this, however many ask */
#define SAY_EVERY (60 * SEC)
#define ROUND_MOST (100 * MSEC)

/* What other threads tell of a collection. */
struct told {
    char *name;
    bool shown, changed; /* Qdrant has answered a client for it; its configuration may be another */
};

struct facts_poll {
    struct worker *worker;
    struct ask ask;
    struct timer timer;
    struct letter kick;
    _Atomic bool kicked, started, upstream_ok, good;
    uint64_t ended;                /* the last round */
    uint64_t said_full_at;
    uint64_t settle_at;            /* not before then are collections read because names have changed */
    bool running, again, unsettled, settles, any_answer, said_no_aliases, left;
    bool reloaded;                 /* not all have been looked at since */
    unsigned generation;           /* of the configuration */
    enum { ASKED_ALIASES, ASKED_COLLECTION, ASKED_MEMORY } asked; /* the running question: a reload may change the number of groups meanwhile */
    struct fact_collection *filling; /* the one whose memory is asked for */
    unsigned group, n_asked;       /* where the round is */
    uint64_t collections_began;    /* it has come to the collections; 0: not yet */
    struct wanted wanted;
    struct wanted_row *row;        /* the one that is asked for */
    struct facts *making, *current; /* current: of the last round; what was published says the same */
    uint64_t collection_asked, growth_ended; /* when the collection was asked about, and what its growth was then */
    pthread_mutex_t lock;          /* of what follows */
    struct told inbox[INBOX];
    unsigned n_inbox;
    bool lost_change;              /* a change did not go into the inbox: it may be of any */
    struct look look;              /* at "@names", before the map is fetched */
    struct task task;              /* it has ended */
    void (*publish)(struct facts *, void *arg);
    void *arg;
};

static void next_question(struct facts_poll *p);

static struct slots *slots_of_group(struct facts_poll *p, unsigned group)
{
    return ask_slots_of_control(p->worker, &p->worker->snapshot->conf->group[group]);
}

/* ---- what other threads tell ---- */

/* A client uses it. */
static void want(struct facts_poll *p, const struct told *told)
{
    struct wanted_row *row = wanted_find(&p->wanted, str_of(told->name));
    if (!row && !(row = wanted_add(&p->wanted, str_of(told->name), false)))
        return;
    if (row->idle || row->absent_at)
        wanted_change(&p->wanted, row);
    row->idle = false;
    row->shown = row->shown || told->shown;
}

static void take_told(struct facts_poll *p, const struct told *told)
{
    if (!told->changed) {
        want(p, told);
        return;
    }
    struct wanted_row *row = wanted_find(&p->wanted, str_of(told->name));
    if (row)
        wanted_change(&p->wanted, row);
}

static void open_inbox(struct facts_poll *p)
{
    struct told told[INBOX];
    pthread_mutex_lock(&p->lock); /* workers wait for it: what is in there is read afterwards */
    unsigned n = p->n_inbox;
    bool lost_change = p->lost_change;
    memcpy(told, p->inbox, n * sizeof *told);
    p->n_inbox = 0;
    p->lost_change = false;
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < n; i++) {
        take_told(p, &told[i]);
        free(told[i].name);
    }
    for (struct link *k = lost_change ? list_first(&p->wanted.rows) : NULL; k; k = list_next(&p->wanted.rows, k))
        LIST_OF(wanted_row, link, k)->changed = true;
}

static void tell(struct facts_poll *p, struct str name, bool shown, bool changed)
{
    if (!name.n || memchr(name.p, 0, name.n))
        return; /* not one collection */
    pthread_mutex_lock(&p->lock);
    if (p->n_inbox < INBOX)
        p->inbox[p->n_inbox++] = (struct told){mem_strndup(name.p, name.n), shown, changed};
    else
        p->lost_change = p->lost_change || changed;
    pthread_mutex_unlock(&p->lock);
    facts_poll_kick(p);
}

/* ---- a round ---- */

static void looked(struct task *task)
{
    struct facts_poll *p = LIST_OF(facts_poll, task, task);
    if (!p->running || p->look.result == LOOK_NONE)
        return;
    /* Held, or Redis away: the map is good for routing; what is cached waits for a better round. */
    p->making->names_known = p->look.result == LOOK_CLEAR && !p->look.map_held;
    p->making->names = p->look.map;
    look_cancel(&p->look);
    next_question(p);
}

static void wake_looked(void *arg)
{
    struct facts_poll *p = arg;
    loop_wake(&p->worker->loop, &p->task);
}

static void begin_round(struct facts_poll *p)
{
    struct coherence_names names = {0};
    if (p->running)
        return;
    p->running = true;
    p->again = p->unsettled = p->settles = p->any_answer = p->left = false;
    p->group = p->n_asked = 0;
    p->collections_began = 0;
    p->reloaded = p->reloaded || p->generation != p->worker->snapshot->conf->generation;
    p->generation = p->worker->snapshot->conf->generation;
    p->making = facts_new();
    p->making->asked_at = clock_usec();
    coherence_names_add(&names, STR("@names"));
    if (look_start(p->worker->coherence, &p->look, &names, NULL, wake_looked, p))
        wake_looked(p);
}

static bool same_sizes(const struct fact_collection *x, const struct fact_collection *y)
{
    const struct fact_memory *a = &x->memory, *b = &y->memory;
    return x->status == y->status && x->points == y->points && x->indexed == y->indexed && x->segments == y->segments &&
           a->known == b->known && a->measured == b->measured && a->good == b->good && a->point == b->point &&
           a->vectors == b->vectors && a->growth_ended == b->growth_ended && a->asked_at == b->asked_at;
}

static bool same_collection(const struct fact_collection *x, const struct fact_collection *y)
{
    return y && x->source == y->source && same_sizes(x, y) && fingerprint_eq(x->names, y->names) && x->n_shards == y->n_shards &&
           x->n_replicas == y->n_replicas && x->prevents_unoptimized == y->prevents_unoptimized && x->hides_points == y->hides_points && x->limits_ef == y->limits_ef &&
           x->limits_oversampling == y->limits_oversampling && x->forbids_exact == y->forbids_exact &&
           x->limits_rate == y->limits_rate && x->max_ef == y->max_ef && x->max_oversampling == y->max_oversampling;
}

static bool same_aliases(const struct facts *a, const struct facts *b)
{
    if (a->n_aliases != b->n_aliases)
        return false;
    for (unsigned i = 0; i < a->n_aliases; i++)
        if (!str_eq(a->alias[i].alias, b->alias[i].alias) || !str_eq(a->alias[i].collection, b->alias[i].collection))
            return false;
    return true;
}

static bool same_facts(const struct facts *a, const struct facts *b)
{
    if (!a || a->names_known != b->names_known || a->full != b->full || a->aliases_hidden != b->aliases_hidden ||
        !fingerprint_eq(a->names, b->names) || !same_aliases(a, b) || a->n_collections != b->n_collections)
        return false;
    for (unsigned i = 0; i < a->n_collections; i++)
        if (!same_collection(&a->collection[i], facts_collection(b, a->collection[i].name)))
            return false;
    return true;
}

static void say_full(struct facts_poll *p)
{
    if (p->said_full_at && p->worker->loop.now < p->said_full_at + SAY_EVERY)
        return;
    p->said_full_at = p->worker->loop.now;
    log_warn("facts_full", "collections=%u why=\"there is no room to know of further ones: they are not cached\"", (unsigned)FACTS_COLLECTIONS_MAX);
}

static void end_round(struct facts_poll *p)
{
    bool good = p->any_answer && p->making->names_known;
    uint64_t interval = good ? p->worker->snapshot->conf->process.alias_poll : RETRY;
    p->running = false;
    p->ended = p->worker->loop.now;
    if (p->settles)
        p->settle_at = p->ended + SETTLE_SHARE * (p->ended - p->making->asked_at);
    if (p->unsettled)
        interval = p->settle_at > p->ended + APART ? p->settle_at - p->ended : APART;
    atomic_store(&p->upstream_ok, p->any_answer);
    if (p->any_answer) {
        p->reloaded = p->reloaded && p->left;
        p->making->full = wanted_is_full(&p->wanted);
        if (p->making->full)
            say_full(p);
        if (!same_facts(p->current, p->making))
            p->publish(p->making, p->arg);
        facts_put(&p->current);
        p->current = facts_get(p->making);
    }
    facts_put(&p->making);
    atomic_store(&p->good, good);
    atomic_store(&p->started, true);
    timer_set(&p->timer, p->ended + (p->again || p->left ? APART : interval));
}

static void keep_fact(struct facts *f, const struct fact_collection *old)
{
    struct fact_collection *fact = facts_add(f, old->name);
    if (!fact)
        return;
    struct str name = fact->name;
    *fact = *old;
    fact->name = name;
}

static const struct conf_model *model_of(const struct facts_poll *p, struct str name)
{
    return names_model(p->worker->snapshot->conf, p->making, name);
}

/* Collections may have been made anew since it was read. The map of aliases is waited for, so it is published first; then they are read. */
static bool is_settled(struct facts_poll *p, const struct fact_collection *old)
{
    uint64_t now = p->worker->loop.now;
    if (!p->making->names_known || fingerprint_eq(old->names, p->making->names))
        return true;
    if (now < p->settle_at || !p->current->names_known || !fingerprint_eq(p->current->names, p->making->names)) {
        p->unsettled = true;
        return true;
    }
    p->settles = true;
    return false;
}

static bool has_new_limit(const struct facts_poll *p, const struct fact_collection *old)
{
    return p->reloaded && old->source == FACT_READ && !old->memory.known && model_of(p, old->name)->base.memory_limit;
}

/* What is known of it is young enough. */
static bool is_fresh(struct facts_poll *p, const struct wanted_row *row, const struct fact_collection *old)
{
    if (row->changed)
        return false;
    if (!old)
        return row->idle && p->worker->loop.now < row->absent_at + FRESH; /* it was not there, and is not missed */
    return old->source != FACT_FAILED && !old->hides_points && p->worker->loop.now <= old->read_at + FRESH && is_settled(p, old) &&
           !has_new_limit(p, old);
}

/* Qdrant does not have it, and has not answered a client as if it had for long: its place is free. */
static bool is_gone(const struct facts_poll *p, const struct wanted_row *row)
{
    return !row->idle && !row->changed && !row->shown && row->absent_at && p->worker->loop.now > row->absent_at + FRESH;
}

static void ask_of(struct facts_poll *p, const char *name, const char *more)
{
    char path[32 + 3 * WANTED_NAME_MAX], escaped[8 + 3 * WANTED_NAME_MAX];
    snprintf(path, sizeof path, "/collections/%s%s", str_escape(escaped, sizeof escaped, name), more);
    ask_start(&p->ask, slots_of_group(p, model_of(p, str_of(name))->group), path);
}

static void expect(struct facts_poll *p, struct str name)
{
    struct str collection = facts_resolve(p->making, name);
    if (!wanted_find(&p->wanted, collection))
        wanted_add(&p->wanted, collection, true);
}

/* Before the first write to it: a limit that is already exceeded must hold for that one too. */
static void expect_limited(struct facts_poll *p)
{
    const struct conf *conf = p->worker->snapshot->conf;
    for (unsigned m = 1; m < conf->n_models; m++) {
        const struct conf_model_base *base = &conf->model[m].base;
        for (unsigned i = 0; base->memory_limit && i < base->collections.n; i++)
            if (!strpbrk(base->collections.text[i], "*?"))
                expect(p, str_of(base->collections.text[i]));
    }
}

/* The next that is to be asked for; what is known of those between goes into the new facts as it is. NULL: none is left. */
static struct wanted_row *next_row(struct facts_poll *p)
{
    bool over_time = p->n_asked && clock_usec() > p->collections_began + ROUND_MOST;
    struct wanted_row *row;
    while ((row = wanted_next(&p->wanted))) {
        const struct fact_collection *old = facts_collection(p->current, str_of(row->name));
        if (is_gone(p, row)) {
            wanted_drop(&p->wanted, row);
            continue;
        }
        bool fresh = is_fresh(p, row, old);
        if (!fresh && !over_time)
            return row;
        if (!fresh) {
            wanted_leave(&p->wanted, row);
            p->left = true;
        }
        if (old)
            keep_fact(p->making, old);
    }
    return NULL;
}

static void nobody_waits(void *arg)
{
    (void)arg;
}

/* What was kept under that name must not come back: it gets a new token, at once here, and in Redis before anybody of this process asks it
 * again. */
static void renew_token(struct facts_poll *p, struct str name)
{
    struct write_hold hold;
    struct coherence_names names = {0};
    coherence_names_add(&names, name);
    coherence_open(p->worker->coherence, &hold, &names, nobody_waits, NULL);
    coherence_close(&hold, PROOF_COMPLETED, nobody_waits, NULL);
    coherence_cancel(&hold);
}

/* Aliases that were changed past quiver: nothing else has ended what was kept under them, and they may be changed back. */
static void renew_moved(struct facts_poll *p)
{
    const struct facts *old = p->current, *new = p->making;
    if (!old || !old->names_known || !new->names_known || !fingerprint_eq(old->names, new->names) || same_aliases(old, new))
        return;
    for (unsigned i = 0; i < new->n_aliases; i++)
        if (!str_eq(facts_resolve(old, new->alias[i].alias), new->alias[i].collection))
            renew_token(p, new->alias[i].alias);
    for (unsigned i = 0; i < old->n_aliases; i++)
        if (str_eq(facts_resolve(new, old->alias[i].alias), old->alias[i].alias))
            renew_token(p, old->alias[i].alias);
}

static void next_question(struct facts_poll *p)
{
    const struct conf *conf = p->worker->snapshot->conf;
    if (p->group < conf->n_groups) {
        p->asked = ASKED_ALIASES;
        ask_start(&p->ask, slots_of_group(p, p->group), "/aliases");
        return;
    }
    if (!p->collections_began) {
        p->collections_began = clock_usec();
        renew_moved(p);
        expect_limited(p);
    }
    p->row = p->any_answer ? next_row(p) : NULL;
    if (!p->row) {
        end_round(p);
        return;
    }
    p->n_asked++;
    p->row->changed = false;
    p->asked = ASKED_COLLECTION;
    p->collection_asked = clock_usec();
    p->growth_ended = growth_ended(growth_of(&p->worker->shared->growth, str_of(p->row->name)));
    ask_of(p, p->row->name, "");
}

static struct str keep(struct facts *f, const char *text)
{
    return arena_copy(&f->arena, str_of(text));
}

static struct fact_alias *room_for_aliases(struct facts *f, unsigned more)
{
    struct fact_alias *all = arena_alloc(&f->arena, (f->n_aliases + more + 1) * sizeof *all);
    if (f->n_aliases)
        memcpy(all, f->alias, f->n_aliases * sizeof *all);
    f->alias = all;
    return all + f->n_aliases;
}

static int by_name(const void *x, const void *y)
{
    const struct fact_alias *a = x, *b = y;
    return str_order(&a->alias, &b->alias);
}

static const char *group_name(const struct facts_poll *p)
{
    return p->worker->snapshot->conf->group[p->group].name;
}

/* Its servers do not list them now: requests go on by what was known last. */
static void keep_aliases(struct facts_poll *p)
{
    const struct facts *old = p->current;
    struct str group = str_of(group_name(p));
    struct fact_alias *to = room_for_aliases(p->making, old ? old->n_aliases : 0);
    for (unsigned i = 0; old && i < old->n_aliases; i++)
        if (str_eq(old->alias[i].group, group)) {
            struct arena *arena = &p->making->arena;
            *to++ = (struct fact_alias){arena_copy(arena, old->alias[i].alias), arena_copy(arena, old->alias[i].collection), arena_copy(arena, group)};
            p->making->n_aliases++;
        }
}

/* Qdrant lists them in another order each time; answers are found by the names in ours. False: that is no such list. */
static bool take_aliases(struct facts_poll *p, struct str body)
{
    struct facts *f = p->making;
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    cJSON *list = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(doc, "result"), "aliases");
    cJSON *one;
    bool is_list = cJSON_IsArray(list);
    struct str group = keep(f, group_name(p));
    struct fact_alias *first = room_for_aliases(f, (unsigned)cJSON_GetArraySize(list)), *to = first;
    cJSON_ArrayForEach(one, list)
    {
        cJSON *alias = cJSON_GetObjectItemCaseSensitive(one, "alias_name");
        cJSON *collection = cJSON_GetObjectItemCaseSensitive(one, "collection_name");
        if (cJSON_IsString(alias) && cJSON_IsString(collection))
            *to++ = (struct fact_alias){keep(f, alias->valuestring), keep(f, collection->valuestring), group};
    }
    f->n_aliases += (unsigned)(to - first);
    qsort(first, (size_t)(to - first), sizeof *first, by_name);
    cJSON_Delete(doc);
    return is_list;
}

static bool number(cJSON *object, const char *key, double *out)
{
    cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item))
        return false;
    *out = item->valuedouble;
    return true;
}

static void take_strict_mode(struct fact_collection *fact, cJSON *strict)
{
    double rate;
    if (!cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(strict, "enabled")))
        return;
    fact->limits_ef = number(strict, "search_max_hnsw_ef", &fact->max_ef);
    fact->limits_oversampling = number(strict, "search_max_oversampling", &fact->max_oversampling);
    fact->forbids_exact = cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(strict, "search_allow_exact"));
    fact->limits_rate = number(strict, "read_rate_limit", &rate);
}

static void take_sizes(struct fact_collection *fact, const cJSON *info)
{
    const char *word = doc_text(doc_get(info, "status"));
    for (unsigned s = 0; word && s < FACT_STATUS_COUNT; s++)
        if (strcmp(word, fact_status_names[s]) == 0)
            fact->status = s;
    doc_u64(doc_get(info, "points_count"), &fact->points);
    doc_u64(doc_get(info, "indexed_vectors_count"), &fact->indexed);
    doc_u64(doc_get(info, "segments_count"), &fact->segments);
}

static void take_estimate(struct facts_poll *p, struct fact_memory *memory, const cJSON *info)
{
    struct estimate e;
    memory->growth_ended = p->growth_ended;
    memory->asked_at = p->collection_asked;
    memory->known = estimate_collection(info, 0, 0, &e);
    memory->good = e.good;
    estimate_point(info, &memory->point, &memory->vectors);
}

static void take_hidden(struct facts_poll *p, struct fact_collection *fact, const char *name, cJSON *info)
{
    const struct fact_collection *old = facts_collection(p->current, str_of(name));
    cJSON *optimizer = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(info, "config"), "optimizer_config");
    double deferred;
    bool none = number(cJSON_GetObjectItemCaseSensitive(info, "update_queue"), "deferred_points", &deferred) && deferred == 0;
    fact->prevents_unoptimized = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(optimizer, "prevent_unoptimized"));
    fact->hides_points = fact->prevents_unoptimized && !none;
    if (fact->prevents_unoptimized && none && (!old || old->source != FACT_READ || old->hides_points))
        renew_token(p, str_of(name)); /* kept while points were hidden */
}

/* What is known of a collection by the way in which Qdrant answered for it. */
static struct fact_collection *add_fact(struct facts_poll *p, const char *name, enum fact_source source)
{
    struct fact_collection *fact = facts_add(p->making, str_of(name));
    if (!fact)
        return NULL;
    fact->source = source;
    fact->read_at = p->worker->loop.now;
    fact->names = p->making->names_known ? p->making->names : (struct fingerprint){0, 0};
    return fact;
}

static struct fact_collection *take_collection(struct facts_poll *p, const char *name, struct str body)
{
    struct fact_collection *fact = add_fact(p, name, FACT_READ);
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    cJSON *info = cJSON_GetObjectItemCaseSensitive(doc, "result");
    cJSON *config = cJSON_GetObjectItemCaseSensitive(info, "config");
    cJSON *params = cJSON_GetObjectItemCaseSensitive(config, "params");
    double shards, replicas;
    if (fact) {
        const cJSON *sharding = cJSON_GetObjectItemCaseSensitive(params, "sharding_method");
        bool by_key = cJSON_IsString(sharding) && strcmp(sharding->valuestring, "custom") == 0; /* so many for each key */
        if (!by_key && number(params, "shard_number", &shards) && shards > 0 && shards < 1e6)
            fact->n_shards = (unsigned)shards;
        if (number(params, "replication_factor", &replicas) && replicas > 0 && replicas < 1e6)
            fact->n_replicas = (unsigned)replicas;
        take_hidden(p, fact, name, info);
        take_strict_mode(fact, cJSON_GetObjectItemCaseSensitive(config, "strict_mode_config"));
        take_sizes(fact, info);
        if (model_of(p, fact->name)->base.memory_limit)
            take_estimate(p, &fact->memory, info);
    }
    cJSON_Delete(doc);
    return fact;
}

/* Servers before 1.18 have no such report: then the estimate stays. */
static void take_memory(struct fact_memory *memory, struct str body)
{
    struct memory_report report;
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    if (estimate_read_report(doc_get(doc, "result"), &report)) {
        memory->measured = true;
        memory->good = report.good;
    }
    cJSON_Delete(doc);
}

/* Who refuses, or knows no such question, tells nothing at any time; an error is asked again. */
static bool has_failed(unsigned status)
{
    return !status || status == 408 || status == 429 || (status >= 500 && status != 501);
}

/* Not there: its place is free, unless clients have got answers for it meanwhile. */
static void take_absence(struct facts_poll *p, struct wanted_row *row)
{
    row->absent_at = p->worker->loop.now;
    if (row->shown) {
        row->shown = false;
        add_fact(p, row->name, FACT_ABSENT);
    } else if (!row->idle) {
        wanted_drop(&p->wanted, row);
    }
}

static void answered_collection(struct facts_poll *p, const struct ask *ask)
{
    struct wanted_row *row = p->row;
    const struct fact_collection *old = facts_collection(p->current, str_of(row->name));
    p->filling = NULL;
    if (ask->status == 404) {
        take_absence(p, row);
        return;
    }
    row->absent_at = 0;
    row->shown = false;
    if (ask->status == 200) {
        p->filling = take_collection(p, row->name, ask->body);
    } else if (!has_failed(ask->status)) {
        add_fact(p, row->name, FACT_REFUSED);
    } else {
        row->changed = true; /* it may be another by now all the same */
        if (old)
            keep_fact(p->making, old);
        else
            add_fact(p, row->name, FACT_FAILED);
    }
}

/* Who knows no such list has no aliases; who refuses it, or fails, or says something else, may have some. */
static void answered_aliases(struct facts_poll *p, const struct ask *ask)
{
    static const unsigned hiding[] = {0, 401, 403, 408, 429};
    bool hidden = ask->status >= 500;
    for (unsigned i = 0; i < sizeof hiding / sizeof *hiding; i++)
        hidden = hidden || ask->status == hiding[i];
    p->any_answer = p->any_answer || ask->status;
    bool listed = ask->status == 200 && take_aliases(p, ask->body);
    hidden = hidden || (ask->status == 200 && !listed);
    if (hidden)
        keep_aliases(p);
    p->making->aliases_hidden = p->making->aliases_hidden || hidden;
    if (ask->status && !listed && !p->said_no_aliases)
        log_warn("no_aliases", "status=%u why=\"the upstream does not list its aliases to quiver: %s\"", ask->status,
                 hidden ? "each write ends all that is cached (upstream.api_key may be missing)" : "it has none");
    p->said_no_aliases = p->said_no_aliases || (ask->status && !listed);
}

static void answered(struct ask *ask)
{
    struct facts_poll *p = LIST_OF(facts_poll, ask, ask);
    bool ask_memory = false;
    switch (p->asked) {
    case ASKED_ALIASES:
        answered_aliases(p, ask);
        p->group++;
        break;
    case ASKED_COLLECTION:
        answered_collection(p, ask);
        ask_memory = p->filling && p->filling->memory.known;
        break;
    case ASKED_MEMORY:
        if (ask->status == 200)
            take_memory(&p->filling->memory, ask->body);
        break;
    }
    fetch_finish(&ask->fetch);
    if (ask_memory) {
        p->asked = ASKED_MEMORY;
        ask_of(p, p->row->name, "/memory");
        return;
    }
    next_question(p);
}

static void on_time(void *arg)
{
    begin_round(arg);
}

static void open_kick(struct letter *letter)
{
    struct facts_poll *p = LIST_OF(facts_poll, kick, letter);
    atomic_store(&p->kicked, false);
    open_inbox(p);
    if (p->running)
        p->again = true;
    else if (clock_usec() < p->ended + APART)
        timer_set(&p->timer, p->ended + APART);
    else
        begin_round(p);
}

void facts_poll_kick(struct facts_poll *p)
{
    if (!atomic_exchange(&p->kicked, true))
        loop_post(&p->worker->loop, &p->kick);
}

void facts_poll_seen(struct facts_poll *p, struct str collection, bool shown)
{
    tell(p, collection, shown, false);
}

void facts_poll_changed(struct facts_poll *p, struct str collection)
{
    tell(p, collection, false, true);
}

bool facts_poll_started(struct facts_poll *p)
{
    return atomic_load(&p->started);
}

bool facts_poll_good(struct facts_poll *p)
{
    return atomic_load(&p->good);
}

bool facts_poll_upstream_ok(struct facts_poll *p)
{
    return atomic_load(&p->upstream_ok);
}

struct facts_poll *facts_poll_open(struct worker *control, void (*publish)(struct facts *, void *arg), void *arg)
{
    struct facts_poll *p = mem_zalloc(sizeof *p);
    p->worker = control;
    p->publish = publish;
    p->arg = arg;
    p->kick.open = open_kick;
    p->task.run = looked;
    pthread_mutex_init(&p->lock, NULL);
    wanted_init(&p->wanted);
    ask_init(&p->ask, control, answered);
    timer_init(&p->timer, &control->loop, on_time, p);
    timer_set(&p->timer, clock_usec());
    return p;
}

void facts_poll_close(struct facts_poll **slot)
{
    struct facts_poll *p = *slot;
    *slot = NULL;
    timer_fini(&p->timer);
    loop_unwake(&p->worker->loop, &p->task);
    look_cancel(&p->look);
    ask_fini(&p->ask);
    facts_put(&p->making);
    facts_put(&p->current);
    for (unsigned i = 0; i < p->n_inbox; i++)
        free(p->inbox[i].name);
    wanted_fini(&p->wanted);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
