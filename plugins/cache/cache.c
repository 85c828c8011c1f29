/* cache.c - a cacheable read's way: may it be cached at all (eligible) -> look at its names' tokens -> memory -> Redis -> miss, and on the
 * way back the answer is stored under the tokens that were looked up before it was asked for. */
#include "plugins/cache/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/writer.h"
#include "engine/names.h"
#include "engine/reuse.h"
#include "engine/tx.h"
#include "plugins/cache/entry.h"
#include "plugins/cache/options.h"
#include "plugins/cache/store.h"
#include "qdrant/reply.h"

enum { STATUS_ROOM = 128 }; /* for Age and Cache-Status */

/* The store belongs to the process: the first worker's instance makes it, the last one's frees it. */
static struct {
    pthread_mutex_t lock;
    struct store *store;
    unsigned n_users;
} process = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct cache { /* per worker */
    struct worker *worker;
    struct store *store;
    uint64_t date_second, n_evictions_told;
    struct told { /* what /metrics already has, by model */
        uint64_t entries, bytes, evictions;
    } told[STORE_MODELS];
    char date[48]; /* "date: ...\r\n" of that second */
};

enum stage { STAGE_NONE, STAGE_FACTS, STAGE_LOOKING, STAGE_MISS, STAGE_COLLECTING };

struct cache_tx {
    enum stage stage;
    bool may_store, refresh; /* refresh: the client wants a new answer (no-cache), which may be stored */
    uint64_t ttl;            /* how long an answer may be reused, microseconds */
};

static void *cache_open(struct worker *w)
{
    struct cache *c = mem_zalloc(sizeof *c);
    pthread_mutex_lock(&process.lock);
    if (process.n_users++ == 0)
        process.store = store_new(1 << 20); /* configure() says how large */
    c->store = process.store;
    pthread_mutex_unlock(&process.lock);
    c->worker = w;
    return c;
}

static const struct plug *my_plug(void)
{
    for (unsigned i = 0; i < chain.n; i++)
        if (chain.plug[i].type == &cache_plugin)
            return &chain.plug[i];
    return NULL;
}

static void cache_configure(void *self, const struct conf *conf)
{
    struct cache *c = self;
    const struct plug *plug = my_plug();
    const struct cache_process_conf *p = conf->process_part[plug->process_table];
    store_resize(c->store, p->memory);
    for (unsigned i = 0; i < conf->n_models; i++) {
        const struct cache_model_conf *m = conf->model[i].part[plug->model_table];
        store_set_share(c->store, conf->model[i].metrics_id, m->share >= 100 ? 0 : p->memory / 100 * m->share);
    }
}

static void cache_close(void *self)
{
    struct cache *c = self;
    pthread_mutex_lock(&process.lock);
    if (--process.n_users == 0)
        store_free(&process.store);
    pthread_mutex_unlock(&process.lock);
    free(c);
}

static void cache_figures(void *self, struct metrics *m)
{
    struct cache *c = self;
    struct store_stats stats;
    store_stats(c->store, &stats);
    metrics_gauge_set(m, G_CACHE_BYTES, (int64_t)stats.bytes);
    metrics_gauge_set(m, G_CACHE_ENTRIES, (int64_t)stats.entries);
    metrics_add(m, M_CACHE_EVICTIONS, stats.evictions - c->n_evictions_told);
    c->n_evictions_told = stats.evictions;
    const struct conf *conf = c->worker->snapshot->conf;
    for (unsigned i = 0; i < conf->n_models; i++) {
        unsigned model = conf->model[i].metrics_id;
        struct told *told = &c->told[model];
        store_model_stats(c->store, model, &stats);
        metrics_model_gauge_add(m, model, MG_CACHE_MODEL_ENTRIES, (int64_t)(stats.entries - told->entries));
        metrics_model_gauge_add(m, model, MG_CACHE_MODEL_BYTES, (int64_t)(stats.bytes - told->bytes));
        metrics_model_add(m, model, MM_CACHE_MODEL_EVICTIONS, stats.evictions - told->evictions);
        *told = (struct told){stats.entries, stats.bytes, stats.evictions};
    }
}

static enum verdict bypass(struct tx *tx, enum metrics_model_counter why, const char *detail)
{
    metrics_model_add(tx->worker->metrics, tx->model->metrics_id, why, 1);
    tx->cache_word = "bypass";
    struct writer w = writer_on(arena_alloc(&tx->arena, STATUS_ROOM), STATUS_ROOM);
    put(&w, STR("Cache-Status: quiver; fwd=bypass; detail="));
    put(&w, str_of(detail));
    put(&w, STR("\r\n"));
    tx_add_extra(tx, writer_text(&w));
    return CONTINUE;
}

/* Qdrant counts reads of one of these collections against a limit: answers from a cache would not be counted. */
static bool rate_limited(const struct tx *tx)
{
    const struct facts *facts = tx->worker->facts;
    const struct fact_collection *strict = facts_collection(facts, tx->resolved);
    for (unsigned i = 0; !(strict && strict->limits_rate) && i < tx->query.n_lookups; i++)
        strict = facts_collection(facts, facts_resolve(facts, tx->query.lookup[i]));
    return strict && strict->limits_rate;
}

static struct store_key store_key(struct tx *tx)
{
    const struct key_text *key = tx_reuse_key(tx);
    return (struct store_key){key->hash.hi, key->hash.lo, key->n_body, key->op};
}

/* ---- answers ---- */

static struct str date_line(struct cache *c)
{
    uint64_t second = clock_unix_usec() / SEC;
    if (second != c->date_second) {
        struct tm tm;
        time_t t = (time_t)second;
        gmtime_r(&t, &tm);
        strftime(c->date, sizeof c->date, "date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
        c->date_second = second;
    }
    return str_of(c->date);
}

/* The blob becomes the transaction's. False: it is no entry. */
static bool answer_from(struct tx *tx, struct cache *c, struct blob *blob, uint64_t ttl_left, struct str detail)
{
    struct entry entry;
    char *own = arena_alloc(&tx->arena, 32);
    if (!entry_read(blob_str(blob), &entry)) {
        blob_put(&blob);
        return false;
    }
    uint64_t now = clock_unix_usec();
    uint64_t age = now > entry.stored_unix ? (now - entry.stored_unix) / SEC : 0;
    metrics_model_hist(tx->worker->metrics, tx->model->metrics_id, MH_CACHE_AGE, now > entry.stored_unix ? now - entry.stored_unix : 0);
    struct str date = date_line(c);
    char *fields = arena_alloc(&tx->arena, entry.fields.n + date.n);
    memcpy(fields, entry.fields.p, entry.fields.n);
    memcpy(fields + entry.fields.n, date.p, date.n);
    tx->answer = (struct answer){.status = 200, .local = true, .whole = true, .blob = blob};
    tx->answer.fields = (struct str){fields, entry.fields.n + date.n};
    tx->answer.part[0] = entry.before;
    tx->answer.part[1] = entry.time.n ? (struct str){own, reply_time(own, (clock_usec() - tx->began) * 1000)} : STR_NONE;
    tx->answer.part[2] = entry.after;
    tx->answer.n_parts = 3;
    struct writer w = writer_on(arena_alloc(&tx->arena, STATUS_ROOM), STATUS_ROOM);
    put(&w, STR("Age: "));
    put_number(&w, age);
    put(&w, STR("\r\nCache-Status: quiver; hit; ttl="));
    put_number(&w, ttl_left / SEC);
    put(&w, detail);
    put(&w, STR("\r\n"));
    tx_add_extra(tx, writer_text(&w));
    tx->cache_word = "hit";
    return true;
}

static uint64_t lesser(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How long an answer may be reused: the least time of the models whose collections it is made of, shorter where others write past quiver.
 * What the credentials allow comes on top (reuse->longest). While the body is there. */
static uint64_t lifetime(const struct tx *tx, const struct plug *plug)
{
    const struct conf_model *model;
    uint64_t ttl = NEVER;
    for (unsigned i = 0; (model = names_model_of_read(tx, i)); i++) {
        const struct cache_model_conf *m = model->part[plug->model_table];
        ttl = lesser(ttl, m->ttl ? m->ttl : NEVER); /* 0: its own answers are not cached */
        ttl = lesser(ttl, model->base.external_writes ? m->external_ttl : NEVER);
    }
    return ttl;
}

static bool hit_memory(struct tx *tx, struct cache *c, struct reuse *r, uint64_t ttl)
{
    struct store_hit hit;
    struct store_key key = store_key(tx);
    uint64_t now = tx->worker->loop.now;
    unsigned model = tx->model->metrics_id;
    enum store_miss found = store_get(c->store, &key, r->look.fingerprint, now, &hit);
    metrics_add(tx->worker->metrics, M_CACHE_BUSY, found == STORE_BUSY);
    uint64_t age = found == STORE_HIT && now > hit.stored_at ? now - hit.stored_at : 0;
    if (found == STORE_HIT && (age > r->oldest || age >= ttl)) { /* too old for this client, or for what a reload says */
        found = STORE_OUTDATED;
        blob_put(&hit.blob);
    }
    if (found != STORE_HIT || !answer_from(tx, c, hit.blob, lesser(hit.expires_at - now, ttl - age), STR(""))) {
        metrics_model_add(tx->worker->metrics, model, MM_CACHE_MISSES_MEMORY, 1);
        return false;
    }
    metrics_model_add(tx->worker->metrics, model, MM_CACHE_HITS_MEMORY, 1);
    return true;
}

/* What Redis had goes into memory too, for the rest of its time. */
static bool hit_redis(struct tx *tx, struct cache *c, struct reuse *r, uint64_t ttl)
{
    struct entry entry;
    struct blob *blob = r->look.entry;
    unsigned model = tx->model->metrics_id;
    uint64_t now_unix = clock_unix_usec(), now = tx->worker->loop.now;
    r->look.entry = NULL;
    bool fits = blob && entry_read(blob_str(blob), &entry);
    uint64_t age = fits && now_unix > entry.stored_unix ? now_unix - entry.stored_unix : 0;
    if (!fits || age >= ttl || age > r->oldest) {
        blob_put(&blob);
        metrics_model_add(tx->worker->metrics, model, MM_CACHE_MISSES_REDIS, 1);
        return false;
    }
    struct store_key key = store_key(tx);
    store_put(c->store, &key, r->look.fingerprint, model, blob, now > age ? now - age : 0, now, lesser(ttl - age, r->longest));
    answer_from(tx, c, blob, ttl - age, STR("; detail=redis"));
    tx->from_redis = true;
    metrics_model_add(tx->worker->metrics, model, MM_CACHE_HITS_REDIS, 1);
    return true;
}

static enum verdict miss(struct tx *tx, struct cache_tx *ct, bool may_store)
{
    ct->may_store = may_store;
    ct->stage = STAGE_MISS;
    tx->cache_word = "miss";
    return CONTINUE;
}

/* Neither has it, as was seen without taking it out. */
static enum verdict missed(struct tx *tx, struct cache_tx *ct)
{
    unsigned model = tx->model->metrics_id;
    metrics_model_add(tx->worker->metrics, model, MM_CACHE_MISSES_MEMORY, !ct->refresh);
    metrics_model_add(tx->worker->metrics, model, MM_CACHE_MISSES_REDIS, !ct->refresh && tx->reuse->look.has_redis);
    return miss(tx, ct, true);
}

/* ---- the way in ---- */

static void woken(void *arg)
{
    struct tx *tx = arg;
    loop_wake(&tx->worker->loop, &tx->task);
}

/* There is an answer; but does its collection hide points, are its reads counted? That is on its way since Qdrant first answered for it, and is
 * waited for as long as a look may take. */
static enum verdict await_facts(struct tx *tx, struct cache_tx *ct)
{
    uint64_t until = tx->began + tx->snapshot->conf->process.redis_budget;
    tx->awaits_facts = tx->worker->loop.now < until;
    if (!tx->awaits_facts)
        return bypass(tx, MM_CACHE_BYPASS_OTHER, "facts");
    tx_ask_facts(tx, true);
    ct->stage = STAGE_FACTS;
    tx->suspend_until = until;
    return SUSPEND;
}

/* The look is finished. */
static enum verdict looked(struct tx *tx, const struct plug *plug, struct cache_tx *ct)
{
    struct cache *c = plug_self(tx, plug);
    struct reuse *r = tx->reuse;
    r->looked = true;
    switch (r->look.result) {
    case LOOK_CLEAR:
        if (!tx_reuse_map_holds(tx))
            return bypass(tx, MM_CACHE_BYPASS_ALIASES, "aliases");
        if (r->facts != TX_FACTS_KNOWN)
            return r->look.entry ? await_facts(tx, ct) : missed(tx, ct);
        if (!ct->refresh && !r->look.alone && hit_memory(tx, c, r, ct->ttl))
            return ANSWER;
        if (!ct->refresh && r->look.has_redis && hit_redis(tx, c, r, ct->ttl))
            return ANSWER;
        return miss(tx, ct, true);
    case LOOK_HELD:
        return bypass(tx, MM_CACHE_BYPASS_HELD, "held");
    case LOOK_AWAY:
    case LOOK_NONE:
        break;
    }
    return miss(tx, ct, r->look.alone);
}

static enum verdict cache_request(struct tx *tx, const struct plug *plug)
{
    const struct cache_process_conf *p = plug_process_conf(tx, plug);
    const struct cache_model_conf *m = plug_conf(tx, plug);
    if (tx->route.op->class != CLASS_READ_CACHEABLE || !p->enabled || !m->on || !m->ttl)
        return CONTINUE;
    struct reuse *r = tx_reuse(tx);
    if (r->unfit)
        return bypass(tx, r->why, r->unfit);
    if (rate_limited(tx) && !p->rate_limited_collections)
        return bypass(tx, MM_CACHE_BYPASS_LIMIT, "rate-limit");
    if (r->facts == TX_FACTS_UNKNOWN)
        return bypass(tx, MM_CACHE_BYPASS_OTHER, "facts");
    struct cache *c = plug_self(tx, plug);
    struct cache_tx *ct = plug_tx(tx, plug);
    ct->ttl = lifetime(tx, plug);
    if (ct->stage == STAGE_NONE)
        metrics_model_add(tx->worker->metrics, tx->model->metrics_id, MM_CACHE_LOOKUPS, 1);
    ct->refresh = r->oldest == 0;
    bool known = r->facts == TX_FACTS_KNOWN;
    if (known && r->look.alone && !ct->refresh && hit_memory(tx, c, r, ct->ttl))
        return ANSWER;
    struct store_key key = store_key(tx);
    bool in_memory = !(known && r->look.alone) && store_has(c->store, &key, tx->worker->loop.now);
    if (!known && in_memory && !ct->refresh)
        return await_facts(tx, ct);
    ct->stage = STAGE_LOOKING;
    if (look_redis(&r->look, ct->refresh || in_memory ? NULL : &r->entry, woken, tx))
        return looked(tx, plug, ct);
    return SUSPEND;
}

/* ---- the way back ---- */

static enum verdict unstored(struct tx *tx, enum metrics_model_counter why)
{
    metrics_model_add(tx->worker->metrics, tx->model->metrics_id, why, 1);
    tx_add_extra(tx, tx->collapsed ? STR("Cache-Status: quiver; fwd=uri-miss; collapsed\r\n")
                                   : STR("Cache-Status: quiver; fwd=uri-miss\r\n"));
    return CONTINUE;
}

static bool worth_keeping(const struct tx *tx)
{
    return !tx->answer.local && tx->answer.status == 200 && tx_reuse_is_anyones(tx);
}

static enum verdict cache_response(struct tx *tx, const struct plug *plug)
{
    struct cache_tx *ct = tx->scratch[plug->index];
    const struct cache_model_conf *m = plug_conf(tx, plug);
    if (!ct || ct->stage != STAGE_MISS)
        return CONTINUE;
    if (!ct->may_store || !worth_keeping(tx))
        return unstored(tx, ct->may_store ? MM_CACHE_UNSTORED_STATUS : MM_CACHE_UNSTORED_AWAY);
    if (!tx_collect(tx, m->max_entry))
        return unstored(tx, MM_CACHE_UNSTORED_LARGE);
    ct->stage = STAGE_COLLECTING;
    return SUSPEND;
}

/* A 200 that is no whole JSON object, or that reports an error, is nothing to repeat. */
static bool is_answer(struct str body)
{
    body = str_trim(body, " \t\r\n");
    return body.n > 1 && body.p[0] == '{' && body.p[body.n - 1] == '}' && !str_starts(body, STR("{\"status\":{\"error\""));
}

static enum verdict store_answer(struct tx *tx, const struct plug *plug, struct cache_tx *ct)
{
    struct cache *c = plug_self(tx, plug);
    struct reuse *r = tx->reuse;
    unsigned model = tx->model->metrics_id;
    uint64_t now = tx->worker->loop.now;
    struct entry entry;
    bool changed;
    struct blob *blob = entry_make(&tx->fetch.head, tx->whole, clock_unix_usec(), &changed);
    struct store_key key = store_key(tx);
    uint64_t ttl = lesser(ct->ttl, r->longest);
    bool in_memory = store_put(c->store, &key, r->look.fingerprint, model, blob, now, now, ttl);
    bool in_redis = r->look.has_redis && blob->n <= tx->snapshot->conf->process.redis_max_entry &&
                    coherence_store(tx->worker->coherence, &r->look, &r->entry, blob_str(blob), ttl);
    metrics_model_add(tx->worker->metrics, model, MM_CACHE_STORES_MEMORY, in_memory);
    metrics_model_add(tx->worker->metrics, model, MM_CACHE_STORES_REDIS, in_redis);
    if (changed) {
        blob_put(&blob);
    } else {
        entry_read(blob_str(blob), &entry);
        tx->answer.blob = blob; /* the answer goes out in the form that hits will have */
        tx->answer.whole = true;
        tx->answer.part[0] = entry.before;
        tx->answer.part[1] = entry.time;
        tx->answer.part[2] = entry.after;
        tx->answer.n_parts = 3;
    }
    tx_add_extra(tx, !(in_memory || in_redis) ? STR("Cache-Status: quiver; fwd=uri-miss\r\n")
                     : ct->refresh            ? STR("Cache-Status: quiver; fwd=request; stored\r\n")
                                              : STR("Cache-Status: quiver; fwd=uri-miss; stored\r\n"));
    return CONTINUE;
}

static enum verdict cache_resume(struct tx *tx, const struct plug *plug)
{
    struct cache_tx *ct = plug_tx(tx, plug);
    if (ct->stage == STAGE_FACTS) {
        tx->awaits_facts = false;
        tx_reuse_anew(tx);
        return cache_request(tx, plug);
    }
    if (ct->stage == STAGE_LOOKING)
        return tx->reuse->look.result == LOOK_NONE ? SUSPEND : looked(tx, plug, ct);
    if (ct->stage == STAGE_COLLECTING && !tx->collected && !tx->collect_failed)
        return SUSPEND;
    ct->stage = STAGE_NONE;
    return tx->collected && is_answer(tx->whole) ? store_answer(tx, plug, ct) : unstored(tx, MM_CACHE_UNSTORED_STATUS);
}

static void cache_cancel(struct tx *tx, const struct plug *plug)
{
    (void)plug;
    tx_reuse_end(tx);
}

const struct plugin cache_plugin = {
    .name = "cache",
    .summary = "answers repeated reads from memory and Redis, never with something stale",
    .model_options = &cache_model_table,
    .process_options = &cache_process_table,
    .open = cache_open,
    .configure = cache_configure,
    .close = cache_close,
    .figures = cache_figures,
    .tx_size = sizeof(struct cache_tx),
    .request = cache_request,
    .resume = cache_resume,
    .response = cache_response,
    .cancel = cache_cancel,
};
