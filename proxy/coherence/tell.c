#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "coherence/breaks.h"
#include "coherence/private.h"

const uint64_t WRITE_WAIT = 900 * MSEC; /* with what a busy loop adds: below 1 s */
#define LATE (100 * MSEC) /* who waits longer for its open stops the renewing of leases */

#ifdef QUIVER_BREAK_COUNTER_TOKENS
#define COUNTER_TOKEN \
    "  if ARGV[1] ~= '' then\n" \
    "    local old = redis.call('GET', KEYS[i])\n" \
    "    token = string.format('%032x', (old and tonumber(string.sub(old, -8), 16) or 0) + 1)\n" \
    "  end\n"
#else
#define COUNTER_TOKEN
#endif

/* KEYS: token, holds of each name; then the tokens of everything and of "@names", which are told back. ARGV: new token ('' keeps the old one), how long a hold lasts in ms (0:
 * none), whose, whose is over ('' nobody's). A token's first character tells whether a hold is on the name. Without a hold
 * there is no need for one until somebody reads: no token is as good an end of all answers as a new one, and names that somebody
 * made up leave nothing behind. Those of everything and of "@names" are there always.
 * While there is a hold neither key has a TTL: one that had could be evicted, and the hold with it; so one that ran out is only
 * noticed when somebody asks (settle, in look.c), or by who made it (coherence_unproven). The SET comes first: a full Redis refuses it before
 * anything has changed. */
const char mark_script[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local hold = tonumber(ARGV[2])\n"
    "for i = 1, #KEYS - 2, 2 do\n"
    "  local token = ARGV[1]\n"
    "  if token == '' then\n"
    "    local old = redis.call('GET', KEYS[i])\n"
    "    token = old and string.sub(old, 2)\n"
    "  end\n"
    COUNTER_TOKEN
    "  if token then\n"
    "    redis.call('SET', KEYS[i], '1' .. token)\n"
    "    redis.call('ZREMRANGEBYSCORE', KEYS[i + 1], '-inf', now)\n"
    "    if hold > 0 then\n"
    "      redis.call('ZADD', KEYS[i + 1], now + hold, ARGV[3])\n"
    "    end\n"
    "    if ARGV[4] ~= '' then\n"
    "      redis.call('ZREM', KEYS[i + 1], ARGV[4])\n"
    "    end\n"
    "    if redis.call('ZCARD', KEYS[i + 1]) == 0 then\n"
    "      if KEYS[i] == KEYS[#KEYS - 1] or KEYS[i] == KEYS[#KEYS] then\n"
    "        redis.call('SET', KEYS[i], '0' .. token)\n"
    "      else\n"
    "        redis.call('DEL', KEYS[i])\n"
    "      end\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return redis.call('MGET', KEYS[#KEYS - 1], KEYS[#KEYS])\n";

/* An id as text, "" for none. */
static struct str id_text(char out[static 40], const uint64_t *id)
{
    if (!id || !(id[0] | id[1]))
        return STR("");
    return str_slice(out, (size_t)snprintf(out, 40, "%016" PRIx64 "%016" PRIx64, id[0], id[1]));
}

bool mark_send(struct coherence_worker *w, struct redis_op *op, const struct mark *mark,
               void (*done)(struct redis_op *, const struct redis_value *))
{
    struct str argv[REDIS_ARGS_MAX];
    char keys[2 * COHERENCE_NAMES_MAX + 2][KEY_MAX], n_keys[8], hold[24], id[40], drop[40];
    unsigned argc = 0;
    bool whole = mark->whole || !w->script[0];
    argv[argc++] = whole ? STR("EVAL") : STR("EVALSHA");
    argv[argc++] = str_of(whole ? mark_script : w->script);
    snprintf(n_keys, sizeof n_keys, "%u", 2 * mark->n + 2);
    argv[argc++] = str_of(n_keys);
    for (unsigned i = 0; i < mark->n; i++) {
        argv[argc++] = name_key(w, keys[2 * i], 't', mark->name[i]);
        argv[argc++] = name_key(w, keys[2 * i + 1], 'w', mark->name[i]);
    }
    argv[argc++] = name_key(w, keys[2 * mark->n], 't', w->coherence->everything);
    argv[argc++] = name_key(w, keys[2 * mark->n + 1], 't', w->coherence->map);
    snprintf(hold, sizeof hold, "%" PRIu64, mark->hold_msec);
    argv[argc++] = str_of(mark->token);
    argv[argc++] = str_of(hold);
    argv[argc++] = id_text(id, mark->id);
    argv[argc++] = id_text(drop, mark->drop);
    return redis_send(w->main, op, argc, argv, WRITE_WAIT, done);
}

/* ---- tales ---- */

static void tale_free(struct tale *tale)
{
    struct coherence_worker *w = tale->worker;
    redis_abandon(&tale->op);
    list_remove(&w->tales, &tale->link);
    if (tale->counted)
        atomic_fetch_sub(&w->coherence->n_untold, 1);
    if (tale->waiter)
        tale->waiter->tale = NULL;
    free(tale);
}

/* From here on no look of this process asks Redis until it has heard this. */
static void tale_untold(struct tale *tale)
{
    if (!tale->counted)
        atomic_fetch_add(&tale->worker->coherence->n_untold, 1);
    tale->counted = true;
}

static void wait_over(struct write_hold *hold, bool told);
static void heard(struct write_hold *hold);

static bool tale_send(struct tale *tale, bool whole);

static bool is_known(struct fingerprint map)
{
    return map.hi || map.lo;
}

/* Where Redis has a word in the state of "@names" it comes with the answer to the mark. */
static void see_cells(struct write_hold *hold, struct fingerprint *map)
{
    struct coherence_worker *w = hold->worker;
    hold->map_cells = map_cells_of(w->coherence, clock_usec());
    *map = w->on && w->shared ? (struct fingerprint){0, 0} : hold->map_cells;
}

static void see_map(struct write_hold *hold, const struct redis_value *v)
{
    struct fingerprint token[2], *map = hold->closing ? &hold->map_after : &hold->map;
    bool held, known = hold->worker->shared && is_known(hold->map_cells);
    for (unsigned i = 0; i < 2; i++)
        known = known && token_parse(redis_text(redis_item(v, i)), &token[i], &held) && !held;
    if (known)
        *map = map_of(hold->map_cells, token[0], token[1]);
}

static void tale_done(struct redis_op *op, const struct redis_value *v)
{
    struct tale *tale = (struct tale *)((char *)op - offsetof(struct tale, op));
    struct coherence_worker *w = tale->worker;
    if (v && redis_count(v) == 2) {
        struct write_hold *hold = tale->waiter;
        w->gave_up = false;
        if (hold && hold->wake) /* the open's own word, or the close's: not that of a renewal in between */
            see_map(hold, v);
        tale_free(tale);
        if (hold)
            heard(hold);
        return;
    }
    if (v && str_starts(redis_text(v), STR("NOSCRIPT")) && tale_send(tale, true))
        return;
    tale_untold(tale);
    if (v) {
        char why[200];
        snprintf(why, sizeof why, "%.*s", STR_ARG(redis_text(v)));
        /* who cannot write must not be believed either: a full or read-only Redis still answers reads */
        worker_unusable(w, why);
    } else if (w->usable && redis_ready(w->main)) {
        worker_unusable(w, "no answer to a write's mark");
    }
}

static bool tale_send(struct tale *tale, bool whole)
{
    struct coherence_worker *w = tale->worker;
    if (!worker_current(w))
        return false;
    uint64_t now = clock_usec(), fresh[2];
    uint64_t hold = tale->until > now ? (tale->until - now + MSEC - 1) / MSEC : 0;
    char token[TOKEN_N * 2 + 1];
    worker_random(w, fresh);
    struct fingerprint f = {fresh[0], fresh[1]};
    token_text(token, f);
    struct mark mark = {.name = tale->name, .n = tale->n, .token = token, .id = tale->id, .drop = tale->drop,
                        .hold_msec = hold, .whole = whole};
    if (!mark_send(w, &tale->op, &mark, tale_done))
        return false;
    if (tale->n == 1 && tale->name[0].hi == w->coherence->everything.hi &&
        tale->name[0].lo == w->coherence->everything.lo)
        w->epoch = f;
    return true;
}

/* More than can be remembered: what was not told becomes one tale about everything. */
static void tell_everything(struct coherence_worker *w)
{
    uint64_t until = 0;
    for (struct link *k = list_first(&w->tales), *next; k; k = next) {
        next = list_next(&w->tales, k);
        struct tale *tale = LIST_OF(tale, link, k);
        if (tale->op.flight)
            continue;
        until = tale->until > until ? tale->until : until;
        tale_free(tale);
    }
    w->stats.overflows++;
    struct tale *tale = mem_zalloc(sizeof *tale + sizeof *tale->name);
    tale->worker = w;
    tale->until = until;
    tale->n = 1;
    tale->name[0] = w->coherence->everything;
    worker_random(w, tale->id);
    list_push(&w->tales, &tale->link);
    tale_untold(tale);
}

/* What a tale is about: a hold until then, or none; another that is over, or none. */
struct about {
    const uint64_t *id, *drop;
    uint64_t until;
};

/* waiter may be NULL. Sends it if that is possible now. */
static struct tale *tale_new(struct coherence_worker *w, struct write_hold *waiter,
                             const struct name_id *name, unsigned n, struct about about)
{
    if (w->tales.n >= TALES_MAX)
        tell_everything(w);
    struct tale *tale = mem_zalloc(sizeof *tale + n * sizeof *name);
    tale->worker = w;
    tale->waiter = waiter;
    tale->until = about.until;
    tale->n = n;
    memcpy(tale->name, name, n * sizeof *name);
    if (about.id)
        memcpy(tale->id, about.id, sizeof tale->id);
    if (about.drop)
        memcpy(tale->drop, about.drop, sizeof tale->drop);
    list_push(&w->tales, &tale->link);
    if (!tale_send(tale, false))
        tale_untold(tale);
    return tale;
}

void tell_all(struct coherence_worker *w)
{
    for (struct link *k = list_first(&w->tales); k; k = list_next(&w->tales, k)) {
        struct tale *tale = LIST_OF(tale, link, k);
        if (!tale->op.flight && !tale_send(tale, false))
            return;
    }
}

/* ---- what this Redis has never heard ---- */

/* Not told before it is confirmed, however soon it is sent: nobody may rely on a Redis that lacks it. */
static void retell(struct coherence_worker *w, const struct held *held)
{
    tale_untold(tale_new(w, NULL, held->name, held->n, (struct about){.id = held->id, .until = held->until}));
}

/* Until Redis has heard these it holds too much or as long as before: nobody has to wait for them. */
void tell_held(struct coherence_worker *w, const struct held *held)
{
    if (w->on)
        tale_new(w, NULL, held->name, held->n, (struct about){.id = held->id, .until = held->until});
}

void tell_released(struct coherence_worker *w, const struct held *held)
{
    if (w->on)
        tale_new(w, NULL, held->name, held->n, (struct about){.drop = held->id});
}

static struct about running(const struct write_hold *hold, uint64_t now)
{
    return (struct about){.id = hold->id, .until = now + hold->worker->hold_usec};
}

void retell_state(struct coherence_worker *w)
{
    uint64_t now = clock_usec();
    for (struct link *k = list_first(&w->running); k; k = list_next(&w->running, k)) {
        struct write_hold *hold = LIST_OF(write_hold, link, k);
        if (!hold->tale)
            hold->tale = tale_new(w, hold, hold->name, hold->n, running(hold, now));
        tale_untold(hold->tale);
        hold->heard = false;
    }
    if (is_keeper(w))
        holds_each(w, retell);
}

/* ---- writes ---- */

/* The close has been told, or is remembered as untold: now the process may forget that the write runs. */
static void finish_close(struct write_hold *hold)
{
    struct coherence_worker *w = hold->worker;
    if (hold->tale) {
        tale_untold(hold->tale);
        hold->tale->waiter = NULL;
        hold->tale = NULL;
    }
    holds_close(w, hold->name, hold->n, hold->row);
    if (hold->by_alias && write_hold_stays(hold))
        holds_settle(w, hold->row, fingerprint_eq(hold->map, hold->map_after));
    list_remove(&w->running, &hold->link);
    hold->open = hold->closing = false;
}

static void not_late(struct write_hold *hold)
{
    if (hold->late)
        atomic_fetch_sub(&hold->worker->coherence->n_late, 1);
    hold->late = false;
}

static void stop_waiting(struct write_hold *hold)
{
    not_late(hold);
    hold->heard = false;
    hold->waited += clock_usec() - hold->waits_since;
    hold->waits_until = NEVER;
    hold->wake = NULL;
    if (hold->tale)
        tale_untold(hold->tale);
    if (hold->closing)
        finish_close(hold);
}

static void wait_over(struct write_hold *hold, bool told)
{
    void (*wake)(void *) = hold->wake;
    void *arg = hold->arg;
    hold->told = told;
    if (!wake)
        return; /* it went on long ago */
    if (!told) {
        hold->worker->gave_up = true;
        hold->worker->stats.given_up++;
    }
    stop_waiting(hold);
    wake(arg);
}

/* Until when others may rely on a Redis that this process has left: for another, or for none. */
static uint64_t relied_on_until(struct coherence_worker *w, uint64_t now)
{
    uint64_t elsewhere = lease_elsewhere(w), last = w->on ? 0 : lease_in_force(w, now);
    return elsewhere > last ? elsewhere : last;
}

static void wait_for_others(struct write_hold *hold, uint64_t until)
{
    not_late(hold);
    hold->heard = true;
    hold->waits_until = until;
    worker_arm(hold->worker, until);
}

/* There is nothing more to tell. But who relies on a Redis that this process has left has not heard of it: an open waits for the
 * end of that. */
static void heard(struct write_hold *hold)
{
    uint64_t now = clock_usec(), until = hold->wake && !hold->closing ? relied_on_until(hold->worker, now) : 0;
    if (now >= until)
        wait_over(hold, true);
    else
        wait_for_others(hold, until);
}

/* Without Redis: the process counts it as untold first, then sees that no lease is in force. A close needs no
 * more: its open was told, so others are held still, or nobody serves anything. */
static bool may_go_on(struct write_hold *hold)
{
    if (hold->tale) /* else it became a part of a tale about everything, which is counted */
        tale_untold(hold->tale);
    return hold->closing || lease_passed(hold->worker);
}

/* Until when to wait for hold->tale: for an open as long as others may rely on this process, else what is
 * left of its second, if that is worth it. */
static uint64_t patience(const struct write_hold *hold, uint64_t now)
{
    struct coherence_worker *w = hold->worker;
    uint64_t until = hold->closing ? 0 : lease_in_force(w, now);
    if (until || w->gave_up || hold->waited >= WRITE_WAIT)
        return until;
    until = now + WRITE_WAIT - hold->waited;
    return w->usable || until < w->away_since + WRITE_WAIT ? until : w->away_since + WRITE_WAIT;
}

static void begin_wait(struct write_hold *hold, uint64_t now, void (*wake)(void *), void *arg)
{
    hold->waits_since = now;
    hold->wake = wake;
    hold->arg = arg;
}

/* Waits for hold->tale if that is needed or worth it; false: no. */
static bool wait_for_tale(struct write_hold *hold, void (*wake)(void *), void *arg)
{
    struct coherence_worker *w = hold->worker;
    uint64_t now = clock_usec(), until = patience(hold, now);
    if (until <= now && may_go_on(hold)) {
        w->stats.given_up++;
        hold->told = false;
        return false;
    }
    begin_wait(hold, now, wake, arg);
    if (!hold->closing && w->shared)
        worker_arm(w, now + LATE);
    hold->waits_until = until;
    worker_arm(w, until);
    return true;
}

bool coherence_open(struct coherence_worker *w, struct write_hold *hold, const struct coherence_names *names,
                    void (*wake)(void *), void *arg)
{
    struct coherence *c = w->coherence;
    *hold = (struct write_hold){.worker = w, .open = true, .told = true, .waits_until = NEVER,
                                 .opened = clock_usec()};
    hold->name[0] = c->everything;
    for (unsigned i = 0; !names->all && i < names->n; i++)
        hold->name[i] = name_id_of(names->name[i]);
    hold->n = names->all || !names->n ? 1 : names->n;
    worker_random(w, hold->id);
    list_push(&w->running, &hold->link);
    w->stats.opens++;
    hold->renew_at = NEVER;
    if (BREAK_NO_OPEN)
        return true;
    cells_open(c->cells, hold->name, hold->n);
    see_cells(hold, &hold->map);
    uint64_t now = clock_usec(), relied_on = w->on ? 0 : relied_on_until(w, now);
    hold->renew_at = now + w->hold_usec / 3; /* also without Redis: one may come */
    if (now < relied_on) {
        begin_wait(hold, now, wake, arg);
        wait_for_others(hold, relied_on);
        return false;
    }
    if (!w->on)
        return true;
    worker_arm(w, hold->renew_at);
    hold->tale = tale_new(w, hold, hold->name, hold->n, running(hold, now));
    return !wait_for_tale(hold, wake, arg);
}

static bool is_done(const struct write_hold *hold, enum write_proof proof)
{
    return proof == PROOF_COMPLETED || proof == PROOF_REFUSED ||
           (proof == PROOF_REJECTED && hold->rejection_is_final);
}

/* The hold goes on without its write: as a row of those without a proof. */
static void keep_hold(struct write_hold *hold, uint64_t usec, struct held *held)
{
    struct coherence_worker *w = hold->worker;
    uint64_t now = w->loop->now;
    struct hold_of of = {hold->name, hold->n, hold->collection, hold->place, hold->operation_id, hold->acknowledged, hold->by_alias};
    holds_add(w, &of, now, now + usec, held);
    memcpy(hold->row, held->id, sizeof hold->row);
    if (held->n == hold->n && !memcmp(held->name, hold->name, held->n * sizeof *held->name))
        return;
    cells_open(w->coherence->cells, held->name, held->n);
    cells_close(w->coherence->cells, held->name, held->n, held->until);
    tell_held(w, held);
    *held = (struct held){.id = {hold->id[0], hold->id[1]}, .until = held->until};
}

/* What its close tells: the hold of the row that it joined, if any, in place of its own. */
static struct about closing(const struct write_hold *hold, const struct held *held)
{
    bool same = held->id[0] == hold->id[0] && held->id[1] == hold->id[1];
    return (struct about){.id = held->id, .until = held->until, .drop = same ? NULL : hold->id};
}

/* Records the outcome; what is left is telling Redis. */
static void begin_close(struct write_hold *hold, enum write_proof proof)
{
    struct coherence_worker *w = hold->worker;
    struct held held = {.until = 0};
    bool done = is_done(hold, proof) || BREAK_NO_CLOSE;
    if (BREAK_NO_OPEN)
        cells_open(w->coherence->cells, hold->name, hold->n);
    w->stats.closes++;
    w->stats.unproven += !done;
    see_cells(hold, &hold->map_after);
    uint64_t usec = done ? hold->linger : w->quarantine;
    if (usec)
        keep_hold(hold, usec, &held);
    if (proof == PROOF_COMPLETED && hold->barrier && hold->collection.n)
        holds_barrier(w, hold->collection, hold->place, hold->opened);
    if (hold->wake)
        stop_waiting(hold); /* its open: the answer came first */
    hold->closing = true;
    if (hold->tale && !hold->tale->op.flight) {
        tale_free(hold->tale); /* what the close tells says it all */
    } else if (hold->tale) {
        hold->tale->waiter = NULL;
        hold->tale = NULL;
    }
    hold->told = true;
    if (w->on)
        hold->tale = tale_new(w, hold, hold->name, hold->n, closing(hold, &held));
}

bool coherence_close(struct write_hold *hold, enum write_proof proof, void (*wake)(void *), void *arg)
{
    if (!hold->open)
        return true;
    ensure(!hold->closing);
    begin_close(hold, proof);
    if (hold->tale && wait_for_tale(hold, wake, arg))
        return false;
    finish_close(hold);
    return true;
}

void coherence_cancel(struct write_hold *hold)
{
    if (!hold->open)
        return;
    if (hold->closing) {
        stop_waiting(hold);
        return;
    }
    begin_close(hold, PROOF_NONE);
    finish_close(hold);
}

bool coherence_everything(struct coherence_worker *w, uint64_t hold_usec)
{
    struct coherence *c = w->coherence;
    uint64_t now = clock_usec();
    struct held held = {.n = 1, .name = {c->everything}};
    struct hold_of of = {.name = &c->everything, .n = 1, .collection = STR("")};
    w->stats.epochs++;
    cells_open(c->cells, &c->everything, 1);
    if (hold_usec)
        holds_add(w, &of, now, now + hold_usec, &held);
    cells_close(c->cells, &c->everything, 1, held.until);
    if (!w->on)
        return true;
    retell(w, &held);
    return worker_current(w);
}

static void look_at_clock(struct write_hold *hold, uint64_t now)
{
    struct coherence_worker *w = hold->worker;
    if (hold->heard) {
        heard(hold);
        return;
    }
    if (!hold->closing && w->shared && !hold->late) {
        if (now < hold->waits_since + LATE) {
            worker_arm(w, hold->waits_since + LATE);
        } else {
            hold->late = true;
            atomic_fetch_add(&w->coherence->n_late, 1);
            w->stats.late++;
        }
    }
    if (now >= hold->waits_until && may_go_on(hold)) {
        wait_over(hold, false);
        return;
    }
    if (now >= hold->waits_until) /* renewed since it began to wait */
        hold->waits_until = lease_in_force(w, now);
    worker_arm(w, hold->waits_until);
}

void tell_timer(struct coherence_worker *w, uint64_t now)
{
    for (struct link *k = list_first(&w->running), *next; k; k = next) {
        next = list_next(&w->running, k);
        struct write_hold *hold = LIST_OF(write_hold, link, k);
        if (w->on && now >= hold->renew_at) {
            hold->renew_at = now + w->hold_usec / 3;
            if (!hold->tale)
                hold->tale = tale_new(w, hold, hold->name, hold->n, running(hold, now));
        }
        if (w->on)
            worker_arm(w, hold->renew_at);
        if (hold->wake)
            look_at_clock(hold, now);
    }
}

void tell_forget(struct coherence_worker *w)
{
    if (w->tales.n || w->running.n)
        lease_lost(w);
    for (struct link *k = list_first(&w->running), *next; k; k = next) {
        next = list_next(&w->running, k);
        struct write_hold *hold = LIST_OF(write_hold, link, k);
        if (hold->tale)
            tale_free(hold->tale);
        heard(hold);
    }
    struct link *k;
    while ((k = list_first(&w->tales)))
        tale_free(LIST_OF(tale, link, k));
}
