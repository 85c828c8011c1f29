#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "coherence/breaks.h"
#include "coherence/private.h"

static const uint64_t HELLO_BUDGET = 500 * MSEC;

#define WORKER_OF(op, member) \
    ((struct coherence_worker *)((char *)(op) - offsetof(struct coherence_worker, member)))

void worker_random(struct coherence_worker *w, uint64_t out[2])
{
    uint64_t block[3] = {w->random[0], w->random[1], ++w->n_random};
    XXH128_hash_t h = XXH3_128bits(block, sizeof block);
    out[0] = h.high64;
    out[1] = h.low64;
}

void worker_arm(struct coherence_worker *w, uint64_t at)
{
    if (at >= w->timer_at)
        return;
    w->timer_at = at;
    timer_set(&w->timer, at);
}

static void on_timer(void *arg)
{
    struct coherence_worker *w = arg;
    w->timer_at = NEVER;
    tell_timer(w, clock_usec());
    lease_tick(w, clock_usec());
}

void worker_unusable(struct coherence_worker *w, const char *why)
{
    if (w->usable || w->hellos) {
        char quoted[300];
        log_limited(LOG_LEVEL_WARN, clock_usec(), "redis_not_used", "reason=%s",
                    log_quote(quoted, sizeof quoted, str_of(why)));
    }
    w->usable = false;
    w->hellos = 0;
    redis_abandon(&w->secret_op);
    redis_abandon(&w->epoch_op);
    redis_abandon(&w->script_op);
    redis_abandon(&w->time_op);
    if (w->main)
        redis_reconnect(w->main, "it cannot be used as it is");
}

bool worker_current(struct coherence_worker *w)
{
    if (!w->usable || !redis_ready(w->main))
        return false;
    if (w->generation == atomic_load(&w->coherence->generation))
        return true;
    worker_unusable(w, "another worker met another Redis");
    return false;
}

void begin_generation(struct coherence_worker *w, const char *why)
{
    struct coherence *c = w->coherence;
    pthread_mutex_lock(&c->lock);
    if (atomic_load(&c->generation) == w->generation) {
        atomic_store(&c->alive, false);
        atomic_fetch_add(&c->generation, 1);
    }
    pthread_mutex_unlock(&c->lock);
    worker_unusable(w, why);
}

/* ---- after a connect: the secret, the token of everything, the script; then what was not told ---- */

static void hello_done(struct coherence_worker *w, const struct redis_value *v, bool good)
{
    if (!w->hellos)
        return;
    if (!good) {
        char why[200];
        struct str text = v ? redis_text(v) : STR("no answer");
        if (!text.p)
            text = STR("an answer of another kind than expected");
        snprintf(why, sizeof why, "%.*s", STR_ARG(text));
        worker_unusable(w, why);
        return;
    }
    if (--w->hellos)
        return;
    w->usable = true;
    if (!w->tales.n)
        w->gave_up = false; /* else the first thing it hears shows whether it takes writes again */
    tell_all(w);
    worker_arm(w, clock_usec());
}

static void secret_done(struct redis_op *op, const struct redis_value *v)
{
    struct coherence_worker *w = WORKER_OF(op, secret_op);
    struct coherence *c = w->coherence;
    bool good = v && redis_kind(v) == REDIS_IS_TEXT && redis_text(v).n == COHERENCE_SECRET;
    if (good) {
        pthread_mutex_lock(&c->lock);
        if (memcmp(c->secret, redis_text(v).p, COHERENCE_SECRET)) {
            memcpy(c->secret, redis_text(v).p, COHERENCE_SECRET);
            atomic_fetch_add_explicit(&c->secret_version, 1, memory_order_release);
        }
        pthread_mutex_unlock(&c->lock);
    }
    hello_done(w, v, good);
}

static void epoch_done(struct redis_op *op, const struct redis_value *v)
{
    struct coherence_worker *w = WORKER_OF(op, epoch_op);
    bool held;
    hello_done(w, v, v && redis_kind(v) == REDIS_IS_TEXT && token_parse(redis_text(v), &w->epoch, &held));
}

static void script_done(struct redis_op *op, const struct redis_value *v)
{
    struct coherence_worker *w = WORKER_OF(op, script_op);
    bool good = v && redis_kind(v) == REDIS_IS_TEXT && redis_text(v).n == sizeof w->script - 1;
    if (good)
        memcpy(w->script, redis_text(v).p, sizeof w->script - 1);
    hello_done(w, v, good);
}

static void time_done(struct redis_op *op, const struct redis_value *v)
{
    struct coherence_worker *w = WORKER_OF(op, time_op);
    uint64_t sec, usec;
    bool good = v && redis_count(v) == 2 && str_u64(redis_text(redis_item(v, 0)), UINT32_MAX, &sec) &&
                str_u64(redis_text(redis_item(v, 1)), SEC, &usec);
    if (good) {
        w->clock_at = clock_usec();
        w->clock_span = w->clock_at - w->hello_at;
        w->clock_msec = sec * 1000 + usec / 1000;
    }
    hello_done(w, v, good);
}

bool ask_time(struct coherence_worker *w)
{
    w->hello_at = clock_usec();
    return redis_send(w->main, &w->time_op, 1, (struct str[]){STR("TIME")}, HELLO_BUDGET, time_done);
}

/* A replica's copy is behind, and a Redis that evicts what has no TTL may lose a token: both would bring
 * old answers back. */
static bool fit(struct coherence_worker *w)
{
    const struct redis_info *info = redis_info(w->main);
    char unfit[sizeof w->unfit] = "";
    if (strcmp(info->role, "master"))
        snprintf(unfit, sizeof unfit, "role %s, expected a primary", info->role);
    else if (!strncmp(info->policy, "allkeys-", 8))
        snprintf(unfit, sizeof unfit, "maxmemory-policy %s", info->policy);
    if (unfit[0] && strcmp(unfit, w->unfit))
        log_error("redis_not_used",
                  "reason=\"%s\" expected=\"a primary with maxmemory-policy noeviction or volatile-*\"",
                  unfit);
    memcpy(w->unfit, unfit, sizeof unfit);
    return !unfit[0];
}

/* The process follows one Redis process: who meets another one begins a new generation, and all others
 * come along. */
static void adopt(struct coherence_worker *w)
{
    struct coherence *c = w->coherence;
    const char *run_id = redis_info(w->main)->run_id;
    pthread_mutex_lock(&c->lock);
    if (strcmp(c->run_id, run_id)) {
        snprintf(c->run_id, sizeof c->run_id, "%s", run_id);
        lease_moves(c);
    }
    w->generation = atomic_load(&c->generation);
    pthread_mutex_unlock(&c->lock);
    snprintf(w->prefix, sizeof w->prefix, "quiver:%s:", run_id);
    if (atomic_load(&w->told_generation) != w->generation)
        retell_state(w);
    atomic_store(&w->told_generation, w->generation);
}

static void say_hello(struct coherence_worker *w)
{
    char secret_key[KEY_MAX], epoch_key[KEY_MAX], token[TOKEN_N * 2 + 1];
    unsigned char secret[COHERENCE_SECRET];
    uint64_t fresh[2] = {0, 0};
    coherence_secret(w->coherence, secret);
    snprintf(secret_key, sizeof secret_key, "%ssecret", w->prefix);
    struct str epoch = name_key(w, epoch_key, 't', w->coherence->everything);
    if (!BREAK_COUNTER_TOKENS)
        worker_random(w, fresh);
    token_text(token, (struct fingerprint){fresh[0], fresh[1]});
    char plain[TOKEN_N * 2 + 2];
    snprintf(plain, sizeof plain, "0%s", token);
    struct str own = str_slice((const char *)secret, sizeof secret), key = str_of(secret_key);
    w->script[0] = 0;
    redis_send(w->main, NULL, 4, (struct str[]){STR("SET"), key, own, STR("NX")}, HELLO_BUDGET, NULL);
    redis_send(w->main, NULL, 4, (struct str[]){STR("SET"), epoch, str_of(plain), STR("NX")}, HELLO_BUDGET,
               NULL);
    w->hellos = 4;
    if (!redis_send(w->main, &w->secret_op, 2, (struct str[]){STR("GET"), key}, HELLO_BUDGET, secret_done) ||
        !redis_send(w->main, &w->epoch_op, 2, (struct str[]){STR("GET"), epoch}, HELLO_BUDGET, epoch_done) ||
        !redis_send(w->main, &w->script_op, 3, (struct str[]){STR("SCRIPT"), STR("LOAD"),
                                                              str_of(mark_script)}, HELLO_BUDGET,
                    script_done) ||
        !ask_time(w))
        worker_unusable(w, "too much under way");
}

static bool main_ready(void *arg)
{
    struct coherence_worker *w = arg;
    if (!fit(w))
        return false;
    adopt(w);
    say_hello(w);
    return true;
}

static void main_away(void *arg)
{
    struct coherence_worker *w = arg;
    w->usable = false;
    w->hellos = 0;
    w->away_since = clock_usec();
}

/* ---- life ---- */

static void open_redis(struct coherence_worker *w, const struct conf *conf)
{
    struct redis_conf main = {.target = conf->process.redis, .name = "quiver",
                              .connect_timeout = w->connect_timeout};
    struct redis_conf stores = {.target = conf->process.redis, .name = "quiver-stores",
                                .connect_timeout = w->connect_timeout,
                                .max_ops = 256, .max_bytes = 8u << 20};
    w->away_since = clock_usec();
    w->main = redis_open(w->loop, &main, main_ready, main_away, w);
    w->stores = redis_open(w->loop, &stores, NULL, NULL, w);
}

static void close_redis(struct coherence_worker *w)
{
    w->usable = false;
    w->hellos = 0;
    redis_close(&w->main);
    redis_close(&w->stores);
    look_fail_all(w);
}

static const char *url_of(const struct conf *conf)
{
    return conf->process.redis.on && conf->process.redis_url ? conf->process.redis_url : "";
}

void coherence_worker_configure(struct coherence_worker *w, const struct conf *conf)
{
    const struct conf_process *p = &conf->process;
    bool same = w->url && !strcmp(w->url, url_of(conf)) && w->connect_timeout == p->redis_connect_timeout;
    bool sharing_changed = w->url && w->on && w->shared != p->redis_shared;
    w->quarantine = p->quarantine;
    w->hold_usec = p->quarantine > HOLD_MIN ? p->quarantine : HOLD_MIN;
    w->budget = p->redis_budget;
    w->shared = p->redis_shared;
    w->forget = p->forget ? p->forget : 30 * SEC;
    w->fail_writes = p->on_bump_failure == BUMP_FAILURE_FAIL;
    w->connect_timeout = p->redis_connect_timeout;
    if (same && sharing_changed)
        coherence_everything(w, 0); /* what was kept alone lies under tokens of the cells, which others do not change: after a time with
                                     * others it would be found again */
    if (same)
        return;
    bool moved = w->url != NULL; /* the one we come to has not heard of what was written meanwhile */
    close_redis(w);
    free(w->url);
    w->url = mem_strdup(url_of(conf));
    w->on = p->redis.on;
    if (w->on) {
        open_redis(w, conf);
        worker_arm(w, clock_usec());
        if (moved)
            coherence_everything(w, 0);
    } else {
        lease_left(w->coherence);
        tell_forget(w);
    }
}

struct coherence_worker *coherence_worker_open(struct coherence *c, struct loop *loop,
                                               const struct conf *conf)
{
    struct coherence_worker *w = mem_zalloc(sizeof *w);
    w->coherence = c;
    w->loop = loop;
    w->timer_at = NEVER;
    ensure(getrandom(w->random, sizeof w->random, 0) == sizeof w->random);
    list_init(&w->running);
    list_init(&w->looking);
    list_init(&w->tales);
    timer_init(&w->timer, loop, on_timer, w);
    w->known = mem_zalloc(KNOWN_TOKENS * sizeof *w->known);
    pthread_mutex_lock(&c->lock);
    list_push(&c->workers, &w->link);
    pthread_mutex_unlock(&c->lock);
    coherence_worker_configure(w, conf);
    return w;
}

void coherence_worker_close(struct coherence_worker **slot)
{
    struct coherence_worker *w = *slot;
    *slot = NULL;
    if (!w)
        return;
    ensure(!w->running.n && !w->looking.n);
    lease_end(w);
    close_redis(w);
    tell_forget(w);
    timer_fini(&w->timer);
    free(w->known);
    free(w->url);
    free(w);
}

const struct coherence_stats *coherence_worker_stats(const struct coherence_worker *w)
{
    return &w->stats;
}

const struct redis_stats *coherence_redis_stats(const struct coherence_worker *w, unsigned which)
{
    const struct redis *redis = which ? w->stores : w->main;
    return redis ? redis_stats(redis) : NULL;
}

bool coherence_redis_ready(const struct coherence_worker *w)
{
    const struct coherence *c = w->coherence;
    return w->main && w->usable && redis_ready(w->main) && lease_allows(w, clock_usec()) &&
           (!w->shared || atomic_load(&c->alive));
}
