/* lease.c - how the processes on one Redis know that all of them hear of each other's writes.
 *
 * Each is a member of the roster with a lease: until then, in Redis's own time, it lets no write go on that
 * Redis has not confirmed. "alive" in Redis lasts as long as the shortest lease, and without it nobody
 * serves or stores anything. So a member that is cut off waits until its last lease has surely passed; then
 * nobody answers from a cache any more, and its writes go on untold (it is detached) until it has told all
 * and joins again.
 *
 * A lease's end is always reckoned here, from the Redis time last heard, and sent as a point in time: a
 * script that a hung Redis runs late gives no more than was meant. Both clocks are taken to run equally
 * fast; one of Redis that is set back is noticed when a lease reaches further than it could.
 *
 * One worker keeps the lease, the first of the process that is open. Others touch what is here only when a
 * write goes on without Redis. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "coherence/breaks.h"
#include "coherence/private.h"

#define LEASE (750 * MSEC)      /* with LATE and MARGIN: a write waits below 0.9 s */
#define MARGIN (40 * MSEC)      /* between two clocks over one lease */
#define RENEW_EVERY (300 * MSEC)
#define ASK_EVERY (60 * MSEC)   /* while not all is well */
#define TICK (50 * MSEC)
#define LEASE_BUDGET (400 * MSEC)
#define FAREWELL (200 * MSEC)
#define CLOCK_GOOD_FOR (10 * SEC)

/* KEYS: roster, alive, token of everything, its holds, settle, the reign. ARGV: what to do, whose, until when, lease and
 * forget in ms, a fresh token, whether it is to become the one of everything, members that should be there.
 * A primary that becomes a replica and then the primary again is the same process, with what it had under its own name as it
 * was when it ceased to be one, or before; but its replication id is another: another reign, and everything is new. So is the
 * roster: leases that came with a copy were given by another, who may live and hear of its members' writes still.
 * join: the first one of a roster waits one lease before anybody answers, so that others who lost their place
 * can come back. If it was a member before, it knows them: they hold the rest up until they come or are
 * forgotten, and it waits for those only that came since it last heard. Until when is a value, not a time to live: a full Redis may evict
 * what has one (volatile-*). solo: there should be nobody else;
 * who is, crashed. Who is forgotten may have had something to tell: everything is new then. What a full Redis
 * refuses comes first, so that it changes nothing.
 * Answer: whether done (0: no such member; 2: and everything is new, by another reign), the time, alive, how many were
 * forgotten, members. */
static const char lease_script[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local roster, what, id = KEYS[1], ARGV[1], ARGV[2]\n"
    "local last, lease, forget = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])\n"
    "local fresh = ARGV[7] == '1'\n"
    "local mine = redis.call('ZSCORE', roster, id)\n"
    "if what == 'renew' and not mine then return {0, now, 0, 0} end\n"
    "local gone = redis.call('ZRANGEBYSCORE', roster, '-inf', now - forget)\n"
    "local n = redis.call('ZCARD', roster)\n"
    "if what == 'solo' then\n"
    "  gone = redis.call('ZRANGE', roster, 0, -1)\n"
    "end\n"
    "local n_gone = 0\n"
    "for _, m in ipairs(gone) do\n"
    "  if m ~= id and m ~= '?' .. id then n_gone = n_gone + 1 end\n"
    "end\n"
    "local info = redis.pcall('INFO', 'replication')\n"
    "local reign = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')\n"
    "local before = redis.call('GET', KEYS[6])\n"
    "local another = reign and before ~= reign\n"
    "if another then\n"
    "  redis.call('SET', KEYS[6], reign)\n"
    "  for _, m in ipairs(redis.call('ZRANGEBYSCORE', roster, now, '+inf')) do redis.call('ZADD', roster, now - 1, m) end\n"
    "end\n"
    "if fresh or another or n_gone > 0 then\n"
    "  local held = redis.call('ZCARD', KEYS[4]) > 0 and '1' or '0'\n"
    "  redis.call('SET', KEYS[3], held .. ARGV[6])\n"
    "end\n"
    "if what == 'join' and n == 0 then\n"
    "  redis.call('SET', KEYS[5], now + (#ARGV > 7 and lease / 2 or lease))\n"
    "end\n"
    "if what ~= 'leave' and (not mine or last > tonumber(mine)) then\n"
    "  redis.call('ZADD', roster, last, id)\n"
    "end\n"
    "for i = 8, n == 0 and #ARGV or 0 do\n"
    "  if ARGV[i] ~= id then redis.call('ZADD', roster, now - 1, '?' .. ARGV[i]) end\n"
    "end\n"
    "for _, m in ipairs(gone) do\n"
    "  if m ~= id then redis.call('ZREM', roster, m) end\n"
    "end\n"
    "if what == 'leave' then redis.call('ZREM', roster, id) end\n"
    "if what ~= 'renew' then redis.call('ZREM', roster, '?' .. id) end\n"
    "local first = redis.call('ZRANGE', roster, 0, 0, 'WITHSCORES')\n"
    "local most = redis.call('ZRANGE', roster, -1, -1, 'WITHSCORES')\n"
    "local ends = first[2] and tonumber(first[2]) or 0\n"
    "local alive = 0\n"
    "local settled = tonumber(redis.call('GET', KEYS[5]) or 0) <= now\n"
    "if ends > now and tonumber(most[2]) <= now + lease + 20 and settled then\n"
    "  redis.call('SET', KEYS[2], '1')\n"
    "  redis.call('PEXPIREAT', KEYS[2], ends)\n"
    "  alive = 1\n"
    "else\n"
    "  redis.call('DEL', KEYS[2])\n"
    "end\n"
    "local answer = {another and before and 2 or 1, now, alive, n_gone}\n"
    "for _, m in ipairs(redis.call('ZRANGE', roster, 0, 63)) do\n"
    "  answer[#answer + 1] = m\n"
    "end\n"
    "return answer\n";

enum lease_act { ACT_RENEW, ACT_JOIN, ACT_SOLO, ACT_LEAVE };
static const char *const act_word[] = {"renew", "join", "solo", "leave"};

/* ---- what any worker may ask ---- */

uint64_t lease_in_force(struct coherence_worker *w, uint64_t now)
{
    struct lease *lease = &w->coherence->lease;
    if (!w->shared)
        return 0;
    pthread_mutex_lock(&lease->lock);
    uint64_t until = now < lease->until ? lease->until : 0;
    pthread_mutex_unlock(&lease->lock);
    return until;
}

uint64_t lease_elsewhere(struct coherence_worker *w)
{
    struct lease *lease = &w->coherence->lease;
    if (!w->shared)
        return 0;
    pthread_mutex_lock(&lease->lock);
    uint64_t until = lease->elsewhere;
    pthread_mutex_unlock(&lease->lock);
    return until;
}

void lease_left(struct coherence *c)
{
    pthread_mutex_lock(&c->lease.lock);
    c->lease.elsewhere = c->lease.until;
    pthread_mutex_unlock(&c->lease.lock);
}

/* The generation changes under the lease's lock: after that the old Redis is asked for no lease (promise). */
void lease_moves(struct coherence *c)
{
    pthread_mutex_lock(&c->lease.lock);
    c->lease.elsewhere = c->lease.until;
    atomic_store(&c->alive, false);
    atomic_fetch_add(&c->generation, 1);
    pthread_mutex_unlock(&c->lease.lock);
}

static void detach(struct coherence_worker *w, const char *why)
{
    struct lease *lease = &w->coherence->lease;
    if (!lease->attached)
        return;
    lease->attached = false;
    w->stats.detaches++;
    log_limited(LOG_LEVEL_WARN, clock_usec(), "redis_detached", "reason=\"%s\"", why);
}

bool lease_passed(struct coherence_worker *w)
{
    struct lease *lease = &w->coherence->lease;
    if (!w->shared)
        return true;
    pthread_mutex_lock(&lease->lock);
    bool passed = clock_usec() >= lease->until;
    if (passed) {
        detach(w, "a write could not be told and goes on");
        lease->alone = true;
    }
    pthread_mutex_unlock(&lease->lock);
    return passed;
}

void lease_lost(struct coherence_worker *w)
{
    struct lease *lease = &w->coherence->lease;
    pthread_mutex_lock(&lease->lock);
    lease->alone = true;
    pthread_mutex_unlock(&lease->lock);
}

bool lease_allows(const struct coherence_worker *w, uint64_t now)
{
    struct coherence *c = w->coherence;
    if (BREAK_IGNORE_ALIVE)
        return true;
    return w->shared ? now < atomic_load(&c->good_until) : atomic_load(&c->present) == w->generation;
}

bool coherence_refuses_writes(const struct coherence_worker *w)
{
    const struct coherence *c = w->coherence;
    if (!w->on || !w->shared || !w->fail_writes)
        return false;
    uint64_t now = clock_usec(), good = atomic_load(&c->good_until);
    return good ? now > good + w->forget : now > c->born + WRITE_WAIT;
}

void coherence_gauges(struct coherence *c, uint64_t now, struct coherence_gauges *out)
{
    uint64_t good = atomic_load(&c->good_until);
    *out = (struct coherence_gauges){
        .attached = now < good,
        .alive = now < good && atomic_load(&c->alive),
        .members = atomic_load(&c->n_members),
        .untold = atomic_load(&c->n_untold),
        .detached_usec = good && now > good ? now - good : 0,
    };
    pthread_mutex_lock(&c->holds_lock);
    out->unproven = (unsigned)c->holds.n;
    pthread_mutex_unlock(&c->holds_lock);
}

/* ---- the keeper ---- */

bool is_keeper(struct coherence_worker *w)
{
    struct coherence *c = w->coherence;
    pthread_mutex_lock(&c->lock);
    bool keeper = list_first(&c->workers) == &w->link;
    pthread_mutex_unlock(&c->lock);
    return keeper;
}

/* Every worker has told this Redis what it knows, or has it on its list of what is untold. */
static bool all_retold(struct coherence *c)
{
    bool all = true;
    pthread_mutex_lock(&c->lock);
    unsigned generation = atomic_load(&c->generation);
    for (struct link *k = list_first(&c->workers); k; k = list_next(&c->workers, k))
        all = all && atomic_load(&LIST_OF(coherence_worker, link, k)->told_generation) == generation;
    pthread_mutex_unlock(&c->lock);
    return all;
}

/* The lease that is about to be asked for counts from now on, whether or not it is ever given. A write that
 * goes on without Redis counts itself untold first and looks at the lease then: so either it sees this one
 * and waits, or it is seen here. */
static bool promise(struct coherence_worker *w, enum lease_act act, uint64_t *now, uint64_t *was)
{
    struct coherence *c = w->coherence;
    struct lease *lease = &c->lease;
    pthread_mutex_lock(&lease->lock);
    *now = clock_usec();
    *was = lease->until;
    bool may = !atomic_load(&c->n_late) && w->generation == atomic_load(&c->generation) &&
               (act == ACT_RENEW ? lease->attached && *now < lease->until : !atomic_load(&c->n_untold));
    if (may) {
        lease->until = *now + LEASE + MARGIN;
        lease->attached = true;
        lease->alone_when_sent = lease->alone;
    }
    pthread_mutex_unlock(&lease->lock);
    return may;
}

static void take_back(struct coherence_worker *w, uint64_t until)
{
    struct lease *lease = &w->coherence->lease;
    pthread_mutex_lock(&lease->lock);
    lease->until = until;
    pthread_mutex_unlock(&lease->lock);
}

static void lease_done(struct redis_op *op, const struct redis_value *v);

static bool send_script(struct coherence_worker *w, enum lease_act act, uint64_t now, bool fresh)
{
    struct lease *lease = &w->coherence->lease;
    struct str argv[REDIS_ARGS_MAX];
    char key[5][KEY_MAX], id[40], end[24], span[24], forget[24], token[TOKEN_N * 2 + 1];
    uint64_t random[2] = {0, 0};
    unsigned argc = 0;
    if (!BREAK_COUNTER_TOKENS)
        worker_random(w, random);
    token_text(token, (struct fingerprint){random[0], random[1]});
    snprintf(id, sizeof id, "%016" PRIx64 "%016" PRIx64, w->coherence->id[0], w->coherence->id[1]);
    snprintf(end, sizeof end, "%" PRIu64, w->clock_msec + (now - w->clock_at + LEASE) / MSEC);
    snprintf(span, sizeof span, "%" PRIu64, LEASE / MSEC);
    snprintf(forget, sizeof forget, "%" PRIu64, w->forget / MSEC);
    snprintf(key[3], KEY_MAX, "%ssettle", w->prefix);
    snprintf(key[4], KEY_MAX, "%sreign", w->prefix);
    const struct str head[] = {
        STR("EVAL"), str_of(lease_script), STR("6"), STR("quiver:roster"), alive_key(w, key[0]),
        name_key(w, key[1], 't', w->coherence->everything),
        name_key(w, key[2], 'w', w->coherence->everything),
        str_of(key[3]), str_of(key[4]), str_of(act_word[act]), str_of(id), str_of(end), str_of(span), str_of(forget),
        str_of(token), fresh ? STR("1") : STR("0")};
    for (; argc < sizeof head / sizeof *head; argc++)
        argv[argc] = head[argc];
    for (unsigned i = 0; act == ACT_JOIN && i < lease->n_members && argc < REDIS_ARGS_MAX; i++)
        argv[argc++] = str_of(lease->member[i]);
    w->lease_act = act;
    w->lease_sent_at = now;
    return redis_send(w->main, &w->lease_op, argc, argv, LEASE_BUDGET, lease_done);
}

static void remember_members(struct coherence_worker *w, const struct redis_value *v)
{
    struct lease *lease = &w->coherence->lease;
    unsigned n = 0;
    for (unsigned i = 4; i < redis_count(v) && n < ROSTER_MAX; i++) {
        struct str id = redis_text(redis_item(v, i));
        if (id.n && id.p[0] == '?')
            id = str_slice(id.p + 1, id.n - 1);
        if (id.n && id.n < sizeof lease->member[n])
            snprintf(lease->member[n++], sizeof lease->member[0], "%.*s", STR_ARG(id));
    }
    lease->n_members = n;
    atomic_store(&w->coherence->n_members, redis_count(v) - 4);
}

static void joined(struct coherence_worker *w, uint64_t now, bool made_new)
{
    struct lease *lease = &w->coherence->lease;
    pthread_mutex_lock(&lease->lock);
    if (lease->attached && now < lease->until)
        lease->alone = false; /* what was sent when it was true has made everything new */
    pthread_mutex_unlock(&lease->lock);
    w->stats.joins++;
    log_info("redis_joined", "members=%u everything_new=%s", atomic_load(&w->coherence->n_members),
             made_new ? "true" : "false");
}

static void confirmed(struct coherence_worker *w, const struct redis_value *v, uint64_t now)
{
    struct coherence *c = w->coherence;
    struct lease *lease = &c->lease;
    uint64_t gone = (uint64_t)redis_number(redis_item(v, 3)), span = w->clock_span + MARGIN;
    remember_members(w, v);
    w->stats.forgotten += gone;
    bool made_new = gone > 0 || redis_number(redis_item(v, 0)) == 2 || (w->lease_act == ACT_JOIN && lease->alone_when_sent);
    w->stats.epochs += made_new;
    atomic_store(&c->alive, redis_number(redis_item(v, 2)) == 1);
    if (w->lease_act == ACT_RENEW)
        w->stats.renewals++;
    if (w->lease_act == ACT_JOIN)
        joined(w, now, made_new);
    lease->confirmed = w->generation;
    if (w->lease_act == ACT_SOLO)
        atomic_store(&c->present, w->generation);
    else if (span < LEASE)
        atomic_store(&c->good_until, w->lease_sent_at + LEASE - span);
    if (w->lease_act == ACT_RENEW && atomic_load(&c->alive))
        lease->next_at = w->lease_sent_at + RENEW_EVERY;
}

static void lease_done(struct redis_op *op, const struct redis_value *v)
{
    struct coherence_worker *w = (struct coherence_worker *)((char *)op - offsetof(struct coherence_worker,
                                                                                   lease_op));
    uint64_t now = clock_usec();
    bool good = v && redis_kind(v) == REDIS_IS_LIST && redis_count(v) >= 4;
    if (w->lease_act == ACT_LEAVE)
        return;
    w->coherence->lease.next_at = now + ASK_EVERY;
    if (v && !good) {
        char why[200];
        struct str text = redis_text(v);
        snprintf(why, sizeof why, "%.*s", text.p ? (int)text.n : 0, text.p ? text.p : "");
        worker_unusable(w, why);
    }
    if (!good || !worker_current(w))
        return;
    w->clock_msec = (uint64_t)redis_number(redis_item(v, 1));
    w->clock_at = now;
    if (redis_number(redis_item(v, 0)) > 0) {
        confirmed(w, v, now);
    } else {
        w->coherence->lease.confirmed = 0;
        begin_generation(w, "it has forgotten this process");
    }
    w->clock_span = now - w->lease_sent_at;
}

static void lapse(struct coherence_worker *w, uint64_t now)
{
    struct lease *lease = &w->coherence->lease;
    pthread_mutex_lock(&lease->lock);
    if (now >= lease->until)
        detach(w, "the lease ran out");
    pthread_mutex_unlock(&lease->lock);
}

static enum lease_act next_act(struct coherence_worker *w)
{
    struct lease *lease = &w->coherence->lease;
    if (!w->shared)
        return ACT_SOLO;
    pthread_mutex_lock(&lease->lock);
    bool attached = lease->attached;
    pthread_mutex_unlock(&lease->lock);
    return attached && lease->confirmed == w->generation ? ACT_RENEW : ACT_JOIN;
}

static void keep(struct coherence_worker *w)
{
    struct coherence *c = w->coherence;
    enum lease_act act = next_act(w);
    uint64_t now = clock_usec(), was;
    if (now - w->clock_at > CLOCK_GOOD_FOR) { /* it was not the keeper until now */
        if (!w->time_op.flight)
            ask_time(w);
        return;
    }
    if (act == ACT_SOLO) {
        if (atomic_load(&c->present) != w->generation && all_retold(c) && !atomic_load(&c->n_untold))
            send_script(w, act, clock_usec(), false);
        return;
    }
    if (act == ACT_JOIN && !all_retold(c))
        return;
    if (promise(w, act, &now, &was) && !send_script(w, act, now, act == ACT_JOIN && c->lease.alone_when_sent))
        take_back(w, was);
}

void lease_tick(struct coherence_worker *w, uint64_t now)
{
    if (!w->on)
        return;
    worker_arm(w, now + TICK);
    bool current = worker_current(w);
    if (current && w->tales.n)
        tell_all(w); /* what there was no room for */
    if (!is_keeper(w))
        return;
    lapse(w, now);
    if (current && !w->lease_op.flight && now >= w->coherence->lease.next_at)
        keep(w);
}

/* ---- the end ---- */

static bool all_told(void *arg)
{
    struct coherence_worker *w = arg;
    return !w->tales.n;
}

static bool has_left(void *arg)
{
    struct coherence_worker *w = arg;
    return !w->lease_op.flight;
}

void lease_end(struct coherence_worker *w)
{
    struct coherence *c = w->coherence;
    if (w->on && worker_current(w) && w->tales.n)
        redis_pump(w->main, all_told, w, FAREWELL);
    pthread_mutex_lock(&c->lock);
    list_remove(&c->workers, &w->link);
    bool last = !c->workers.n;
    c->unclean = c->unclean || w->tales.n;
    bool clean = last && !c->unclean && !atomic_load(&c->n_untold);
    pthread_mutex_unlock(&c->lock);
    if (!clean || !w->on || !worker_current(w) || c->lease.confirmed != w->generation)
        return;
    redis_abandon(&w->lease_op);
    if (send_script(w, ACT_LEAVE, clock_usec(), c->lease.alone))
        redis_pump(w->main, has_left, w, FAREWELL);
}
