#include "io/redis.h"

#include <arpa/inet.h>
#include <hiredis/async.h>
#include <hiredis/hiredis.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/ensure.h"
#include "base/log.h"
#include "base/mem.h"
#include "io/redis_resolve.h"

enum { TIMEOUTS_IN_ROW = 5 };
#define SILENT (1 * SEC) /* without an answer: also one that may be large should have come */
static const uint64_t BACKOFF_MIN = 50 * MSEC, BACKOFF_MAX = 800 * MSEC, /* with jitter: 1 s at most */
                      RETRY_UNFIT = 5 * SEC, SETTLED = 1 * SEC;

enum link_state {
    LINK_WAITING,    /* until retry_at */
    LINK_RESOLVING,
    LINK_CONNECTING, /* and shaking hands, until connect_due */
    LINK_READY,
};

/* A command under way, as hiredis knows it: it can be forgotten by its owner but not taken back. */
struct redis_flight {
    struct link link;
    struct redis *redis;
    struct redis_op *op; /* NULL: nobody waits any more */
    uint64_t budget, due;
    size_t n_bytes;
    bool flushed, may_be_large;
};

/* One connection's ties to the event loop. It dies in hiredis' cleanup hook, which may be later than redis
 * forgets it. */
struct wire {
    struct redis *redis; /* NULL: forgotten */
    redisAsyncContext *ac;
    struct loop *loop;
    struct event read_event, write_event;
    struct task flush;
    bool reading, writing, connected;
};

struct redis {
    struct loop *loop;
    struct redis_conf conf;
    char *host, *path, *user, *password, *name;
    bool (*ready_hook)(void *arg);
    void (*away_hook)(void *arg);
    void *arg;
    enum link_state state;
    struct wire *wire;
    struct redis_resolve *resolve;
    struct timer timer;
    uint64_t timer_at, connect_due, retry_at, backoff, ready_at, answered_at;
    struct list flights; /* oldest first */
    size_t n_bytes;      /* of the flights */
    unsigned timeouts_in_row, attempt;
    const char *doomed;  /* why redis_reconnect was asked for; NULL: it was not */
    bool flushing;
    uint64_t random;
    struct redis_info info;
    struct redis_stats stats;
    char fault[256], said[256];
};

/* ---- replies ---- */

static const redisReply *real(const struct redis_value *v)
{
    return (const redisReply *)(const void *)v;
}

enum redis_kind redis_kind(const struct redis_value *v)
{
    switch (real(v)->type) {
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        return REDIS_IS_TEXT;
    case REDIS_REPLY_INTEGER:
        return REDIS_IS_NUMBER;
    case REDIS_REPLY_ARRAY:
        return REDIS_IS_LIST;
    case REDIS_REPLY_NIL:
        return REDIS_IS_NIL;
    default:
        return REDIS_IS_ERROR;
    }
}

struct str redis_text(const struct redis_value *v)
{
    enum redis_kind kind = redis_kind(v);
    if (kind != REDIS_IS_TEXT && kind != REDIS_IS_ERROR)
        return STR_NONE;
    return str_slice(real(v)->str, (size_t)real(v)->len);
}

int64_t redis_number(const struct redis_value *v)
{
    return redis_kind(v) == REDIS_IS_NUMBER ? real(v)->integer : 0;
}

unsigned redis_count(const struct redis_value *v)
{
    return redis_kind(v) == REDIS_IS_LIST ? (unsigned)real(v)->elements : 0;
}

const struct redis_value *redis_item(const struct redis_value *v, unsigned i)
{
    ensure(i < redis_count(v));
    return (const struct redis_value *)(const void *)real(v)->element[i];
}

/* ---- time ---- */

static void arm(struct redis *redis, uint64_t at)
{
    if (at >= redis->timer_at)
        return;
    redis->timer_at = at;
    timer_set(&redis->timer, at);
}

static uint64_t jitter(struct redis *redis, uint64_t usec) /* 75 to 125 % */
{
    redis->random = redis->random * 6364136223846793005u + 1442695040888963407u;
    return usec * 3 / 4 + (redis->random >> 33) % (usec / 2 + 1);
}

static void retry_in(struct redis *redis, uint64_t usec)
{
    redis->state = LINK_WAITING;
    redis->retry_at = clock_usec() + usec;
    arm(redis, redis->retry_at);
}

static void retry_later(struct redis *redis)
{
    retry_in(redis, jitter(redis, redis->backoff));
    redis->backoff = redis->backoff * 2 < BACKOFF_MAX ? redis->backoff * 2 : BACKOFF_MAX;
}

/* A fault is said when it is news, not on each of the attempts that meet it again. */
static void fault(struct redis *redis, const char *what, const char *detail)
{
    snprintf(redis->fault, sizeof redis->fault, "%s%s%s", what, detail[0] ? ": " : "", detail);
    if (!strcmp(redis->fault, redis->said))
        return;
    memcpy(redis->said, redis->fault, sizeof redis->said);
    char quoted[300];
    log_warn("redis_away", "connection=%s reason=%s", redis->name, log_quote(quoted, sizeof quoted,
                                                                             str_of(redis->fault)));
}

/* ---- the wire: hiredis' hooks ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct wire *wire = arg;
    (void)fd, (void)what;
    redisAsyncHandleRead(wire->ac); /* may free the wire */
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct wire *wire = arg;
    (void)fd, (void)what;
    redisAsyncHandleWrite(wire->ac); /* may free the wire */
}

static void wire_add_read(void *arg)
{
    struct wire *wire = arg;
    if (!wire->reading)
        event_add(&wire->read_event, NULL);
    wire->reading = true;
}

static void wire_del_read(void *arg)
{
    struct wire *wire = arg;
    if (wire->reading)
        event_del(&wire->read_event);
    wire->reading = false;
}

/* Commands of a turn go out together at its end, without asking epoll first; only what the socket would
 * not take waits for it. */
static void wire_add_write(void *arg)
{
    struct wire *wire = arg;
    if (wire->connected && wire->redis && !wire->redis->flushing && !wire->writing) {
        loop_wake(wire->loop, &wire->flush);
        return;
    }
    if (!wire->writing)
        event_add(&wire->write_event, NULL);
    wire->writing = true;
}

static void wire_del_write(void *arg)
{
    struct wire *wire = arg;
    if (wire->writing)
        event_del(&wire->write_event);
    wire->writing = false;
}

static void stamp_flights(struct redis *redis)
{
    uint64_t now = clock_usec();
    for (struct link *k =
         list_last(&redis->flights); k; k = k->prev == &redis->flights.head ? NULL : k->prev) {
        struct redis_flight *flight = LIST_OF(redis_flight, link, k);
        if (flight->flushed)
            break;
        flight->flushed = true;
        flight->due = now + flight->budget;
        arm(redis, flight->due);
    }
}

static void wire_flush(struct task *task)
{
    struct wire *wire = (struct wire *)((char *)task - offsetof(struct wire, flush));
    /* who forgot its wire in a callback has lost it by the end of that callback */
    struct redis *redis = wire->redis;
    stamp_flights(redis);
    redis->flushing = true;
    redisAsyncHandleWrite(wire->ac); /* may free the wire */
    redis->flushing = false;
}

static void lost(struct redis *redis, const char *why);

/* The context dies now: every callback of its commands has run. */
static void wire_cleanup(void *arg)
{
    struct wire *wire = arg;
    event_del(&wire->read_event);
    event_del(&wire->write_event);
    loop_unwake(wire->loop, &wire->flush);
    struct redis *redis = wire->redis;
    char why[160];
    snprintf(why, sizeof why, "%s", wire->ac->c.errstr);
    free(wire);
    if (redis)
        lost(redis, why);
}

static void connected(const redisAsyncContext *ac, int status)
{
    struct wire *wire = ac->data;
    if (status == REDIS_OK) /* on failure the cleanup hook follows and does the rest */
        wire->connected = true;
}

/* Forgets the connection and frees it; inside a callback hiredis frees it when that callback has returned. */
static void drop(struct redis *redis)
{
    struct wire *wire = redis->wire;
    redis->wire = NULL;
    if (!wire)
        return;
    wire->redis = NULL;
    redisAsyncFree(wire->ac);
}

static void went_away(struct redis *redis, bool was_ready)
{
    redis->timeouts_in_row = 0;
    redis->doomed = NULL;
    redis->stats.losses++;
    if (!was_ready)
        return;
    if (clock_usec() - redis->ready_at >= SETTLED)
        redis->backoff = BACKOFF_MIN;
    if (redis->away_hook)
        redis->away_hook(redis->arg);
}

/* hiredis found the connection dead. */
static void lost(struct redis *redis, const char *why)
{
    bool was_ready = redis->state == LINK_READY;
    redis->wire = NULL;
    if (!was_ready)
        redis->stats.connect_failures++;
    fault(redis, was_ready ? "connection lost" : "cannot connect", why);
    retry_later(redis);
    went_away(redis, was_ready);
}

/* We found it not worth keeping. */
static void give_up(struct redis *redis, const char *why, const char *detail, uint64_t wait)
{
    bool was_ready = redis->state == LINK_READY;
    fault(redis, why, detail);
    if (!was_ready)
        redis->stats.connect_failures++;
    if (wait)
        retry_in(redis, jitter(redis, wait));
    else
        retry_later(redis);
    drop(redis);
    went_away(redis, was_ready);
}

/* ---- the handshake ---- */

static void greeted(redisAsyncContext *ac, void *reply, void *what)
{
    struct wire *wire = ac->data;
    const redisReply *r = reply;
    if (!r || r->type != REDIS_REPLY_ERROR || !wire->redis)
        return;
    char why[200];
    snprintf(why, sizeof why, "%.*s", (int)r->len, r->str);
    bool loading = !strncmp(why, "LOADING", 7);
    give_up(wire->redis, (const char *)what, why, loading ? 0 : RETRY_UNFIT);
}

/* One "field:value" line of INFO. */
static void info_field(struct str info, struct str field, char *out, size_t n)
{
    out[0] = 0;
    for (struct str rest = info, line; rest.p;) {
        line = str_trim(str_split(&rest, '\n'), "\r");
        if (line.n > field.n && str_starts(line, field) && line.p[field.n] == ':') {
            snprintf(out, n, "%.*s", (int)(line.n - field.n - 1), line.p + field.n + 1);
            return;
        }
    }
}

static void become_ready(struct redis *redis)
{
    redis->state = LINK_READY;
    redis->ready_at = redis->answered_at = clock_usec();
    redis->fault[0] = redis->said[0] = 0;
    redis->stats.connects++;
    if (redis->ready_hook && !redis->ready_hook(redis->arg)) {
        redis->state = LINK_CONNECTING; /* its owner was never told that it is usable, so no away either */
        give_up(redis, "not fit to be used", "", RETRY_UNFIT);
        return;
    }
    log_info("redis_ready", "connection=%s run_id=%.8s", redis->name, redis->info.run_id);
}

static void informed(redisAsyncContext *ac, void *reply, void *arg)
{
    struct wire *wire = ac->data;
    struct redis *redis = wire->redis;
    const redisReply *r = reply;
    (void)arg;
    if (!r || !redis)
        return;
    if (r->type != REDIS_REPLY_STRING) {
        give_up(redis,
                "INFO was refused, and without it a restarted Redis cannot be told from the old one; allow it by ACL",
                r->type == REDIS_REPLY_ERROR ? r->str : "", RETRY_UNFIT);
        return;
    }
    struct str text = str_slice(r->str, (size_t)r->len);
    struct redis_info *info = &redis->info;
    char loading[4];
    info_field(text, STR("run_id"), info->run_id, sizeof info->run_id);
    info_field(text, STR("role"), info->role, sizeof info->role);
    info_field(text, STR("maxmemory_policy"), info->policy, sizeof info->policy);
    info_field(text, STR("loading"), loading, sizeof loading);
    if (!strcmp(loading, "1"))
        give_up(redis, "Redis is loading its data", "", 0);
    else if (!info->run_id[0] || !info->role[0] || !info->policy[0])
        give_up(redis, "INFO lacks run_id, role or maxmemory_policy: not a Redis that can be used", "",
                RETRY_UNFIT);
    else
        become_ready(redis);
}

static bool say(struct wire *wire, redisCallbackFn *heard, const char *what, unsigned argc,
                const char *const *argv)
{
    const char *words[4];
    size_t n[4];
    for (unsigned i = 0; i < argc; i++)
        words[i] = argv[i], n[i] = strlen(argv[i]);
    return redisAsyncCommandArgv(wire->ac, heard, (void *)(uintptr_t)what, (int)argc, words, n) == REDIS_OK;
}

static void shake_hands(struct redis *redis)
{
    struct wire *wire = redis->wire;
    if (redis->password) {
        const char *with_user[] = {"AUTH", redis->user, redis->password}, *alone[] = {"AUTH",
                                                                                      redis->password};
        say(wire, greeted, "AUTH was refused", redis->user ? 3 : 2, redis->user ? with_user : alone);
    }
    if (redis->conf.target.db) {
        char db[16];
        snprintf(db, sizeof db, "%u", redis->conf.target.db);
        say(wire, greeted, "SELECT was refused", 2, (const char *[]){"SELECT", db});
    }
    /* a courtesy: an ACL may refuse it */
    say(wire, NULL, NULL, 3, (const char *[]){"CLIENT", "SETNAME", redis->name});
    say(wire, informed, NULL, 1, (const char *[]){"INFO"});
}

/* ---- connecting ---- */

static void attach(struct redis *redis, redisAsyncContext *ac)
{
    struct wire *wire = mem_zalloc(sizeof *wire);
    *wire = (struct wire){.redis = redis, .ac = ac, .loop = redis->loop, .flush = {.run = wire_flush}};
    ensure(event_assign(&wire->read_event, redis->loop->base, ac->c.fd, EV_READ | EV_PERSIST, on_readable,
                        wire) == 0);
    ensure(event_assign(&wire->write_event, redis->loop->base, ac->c.fd, EV_WRITE | EV_PERSIST, on_writable,
                        wire) == 0);
    ac->data = wire;
    ac->ev.data = wire;
    ac->ev.addRead = wire_add_read;
    ac->ev.delRead = wire_del_read;
    ac->ev.addWrite = wire_add_write;
    ac->ev.delWrite = wire_del_write;
    ac->ev.cleanup = wire_cleanup;
    redis->wire = wire;
    redisAsyncSetConnectCallback(ac, connected);
    if (!redis->path)
        redisEnableKeepAlive(&ac->c);
}

static void connect_to(struct redis *redis, const char *address)
{
    redis->state = LINK_CONNECTING;
    redis->connect_due = clock_usec() + redis->conf.connect_timeout;
    arm(redis, redis->connect_due);
    redisAsyncContext *ac =
        redis->path ? redisAsyncConnectUnix(redis->path) : redisAsyncConnect(address,
                                                                             redis->conf.target.port);
    if (ac && !ac->err) {
        attach(redis, ac);
        shake_hands(redis);
        return;
    }
    char why[160];
    snprintf(why, sizeof why, "%s", ac ? ac->errstr : "out of memory");
    if (ac)
        redisAsyncFree(ac);
    redis->stats.connect_failures++;
    fault(redis, "cannot connect", why);
    retry_later(redis);
}

static void resolved(void *arg, const char *address, const char *why)
{
    struct redis *redis = arg;
    redis->resolve = NULL;
    if (address) {
        connect_to(redis, address);
        return;
    }
    redis->stats.connect_failures++;
    fault(redis, "cannot resolve its host", why);
    retry_later(redis);
}

static void start(struct redis *redis)
{
    unsigned char literal[16];
    if (redis->path || inet_pton(AF_INET, redis->host, literal) == 1 || inet_pton(AF_INET6, redis->host,
                                                                                  literal) == 1) {
        connect_to(redis, redis->host);
        return;
    }
    redis->state = LINK_RESOLVING;
    redis->resolve = redis_resolve_start(redis->loop, redis->host, redis->attempt++, resolved, redis);
}

/* ---- commands ---- */

static void flight_end(struct redis_flight *flight)
{
    struct redis *redis = flight->redis;
    list_remove(&redis->flights, &flight->link);
    redis->n_bytes -= flight->n_bytes;
    if (flight->op)
        flight->op->flight = NULL;
    free(flight);
}

static void landed(redisAsyncContext *ac, void *reply, void *arg)
{
    struct redis_flight *flight = arg;
    struct redis_op *op = flight->op;
    struct redis *redis = flight->redis;
    (void)ac;
    flight_end(flight);
    redis->answered_at = clock_usec();
    if (reply && ((redisReply *)reply)->type == REDIS_REPLY_ERROR)
        redis->stats.failures++;
    if (!op)
        return;
    if (reply)
        redis->timeouts_in_row = 0; /* a late answer does not count: the budget is what must be kept */
    else
        redis->stats.failures++;
    op->done(op, (const struct redis_value *)reply);
}

bool redis_send(struct redis *redis, struct redis_op *op, unsigned argc, const struct str *argv,
                uint64_t budget,
                void (*done)(struct redis_op *, const struct redis_value *))
{
    ensure(argc <= REDIS_ARGS_MAX && !(op && op->flight));
    const char *words[REDIS_ARGS_MAX];
    size_t n[REDIS_ARGS_MAX], n_bytes = 0;
    for (unsigned i = 0; i < argc; i++) {
        words[i] = argv[i].n ? argv[i].p : "";
        n[i] = argv[i].n;
        n_bytes += n[i];
    }
    if (!redis_ready(redis) || redis->flights.n >= redis->conf.max_ops ||
        redis->n_bytes + n_bytes > redis->conf.max_bytes) {
        redis->stats.refused++;
        return false;
    }
    struct redis_flight *flight = mem_zalloc(sizeof *flight);
    *flight = (struct redis_flight){.redis = redis, .op = op, .budget = budget, .due = clock_usec() + budget,
                                    .n_bytes = n_bytes};
    list_push(&redis->flights, &flight->link);
    redis->n_bytes += n_bytes;
    if (op)
        *op = (struct redis_op){.flight = flight, .done = done};
    if (redisAsyncCommandArgv(redis->wire->ac, landed, flight, (int)argc, words, n) != REDIS_OK) {
        flight_end(flight);
        redis->stats.refused++;
        return false;
    }
    arm(redis, flight->due);
    redis->stats.ops++;
    return true;
}

void redis_abandon(struct redis_op *op)
{
    if (op->flight)
        op->flight->op = NULL;
    op->flight = NULL;
}

void redis_may_be_large(struct redis_op *op)
{
    if (op->flight)
        op->flight->may_be_large = true;
}

void redis_pump(struct redis *redis, bool (*done)(void *arg), void *arg, uint64_t usec)
{
    uint64_t end = clock_usec() + usec;
    while (redis_ready(redis) && !done(arg) && clock_usec() < end) {
        struct wire *wire = redis->wire;
        struct pollfd readable = {.fd = wire->ac->c.fd, .events = POLLIN};
        loop_unwake(redis->loop, &wire->flush);
        wire_flush(&wire->flush);
        if (redis->wire == wire && poll(&readable, 1, 5) > 0)
            redisAsyncHandleRead(wire->ac);
    }
}

/* ---- the timer ---- */

static void expire_flights(struct redis *redis, uint64_t now)
{
    /* done() may not send or close, so the list only loses its abandoned members' ops: walking it is safe. */
    for (struct link *k = list_first(&redis->flights), *next; k; k = next) {
        next = list_next(&redis->flights, k);
        struct redis_flight *flight = LIST_OF(redis_flight, link, k);
        struct redis_op *op = flight->op;
        if (!op)
            continue;
        if (now < flight->due) {
            arm(redis, flight->due);
            continue;
        }
        flight->op = NULL;
        op->flight = NULL;
        redis->stats.timeouts++;
        redis->timeouts_in_row += !flight->may_be_large || now > redis->answered_at + SILENT;
        op->done(op, NULL);
    }
}

static void on_timer(void *arg)
{
    struct redis *redis = arg;
    uint64_t now = clock_usec();
    redis->timer_at = NEVER;
    expire_flights(redis, now);
    if (redis->doomed) {
        give_up(redis, redis->doomed, "", 0);
    } else if (redis->timeouts_in_row >= TIMEOUTS_IN_ROW && redis->state == LINK_READY) {
        redis->stats.breaker_opens++;
        give_up(redis, "five commands in a row took longer than redis.budget allows", "", 0);
    } else if (redis->state == LINK_CONNECTING) {
        if (now >= redis->connect_due)
            give_up(redis, "no answer within redis.connect_timeout", "", 0);
        else
            arm(redis, redis->connect_due);
    } else if (redis->state == LINK_WAITING) {
        if (now >= redis->retry_at)
            start(redis);
        else
            arm(redis, redis->retry_at);
    }
}

/* ---- life ---- */

static char *copy(const char *z)
{
    return z ? mem_strdup(z) : NULL;
}

struct redis *redis_open(struct loop *loop, const struct redis_conf *conf, bool (*ready)(void *arg),
                         void (*away)(void *arg), void *arg)
{
    struct redis *redis = mem_zalloc(sizeof *redis);
    *redis = (struct redis){.loop = loop, .conf = *conf, .host = copy(conf->target.host),
                            .path = copy(conf->target.path),
                            .user = copy(conf->target.user), .password = copy(conf->target.password),
                            .name = mem_strdup(conf->name), .ready_hook = ready, .away_hook = away,
                                .arg = arg,
                            .timer_at = NEVER, .backoff = BACKOFF_MIN};
    if (!redis->conf.max_ops)
        redis->conf.max_ops = 1024;
    if (!redis->conf.max_bytes)
        redis->conf.max_bytes = 16u << 20;
    list_init(&redis->flights);
    ensure(getrandom(&redis->random, sizeof redis->random, 0) == sizeof redis->random);
    timer_init(&redis->timer, loop, on_timer, redis);
    retry_in(redis, 0);
    return redis;
}

void redis_close(struct redis **slot)
{
    struct redis *redis = *slot;
    *slot = NULL;
    if (!redis)
        return;
    for (struct link *k = list_first(&redis->flights); k; k = list_next(&redis->flights, k))
        if (LIST_OF(redis_flight, link, k)->op)
            redis_abandon(LIST_OF(redis_flight, link, k)->op);
    if (redis->resolve)
        redis_resolve_cancel(redis->resolve);
    drop(redis);
    ensure(!redis->flights.n);
    timer_fini(&redis->timer);
    char *texts[] = {redis->host, redis->path, redis->user, redis->password, redis->name};
    for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++)
        free(texts[i]);
    free(redis);
}

bool redis_ready(const struct redis *redis)
{
    return redis->state == LINK_READY && !redis->doomed;
}

const struct redis_info *redis_info(const struct redis *redis)
{
    return &redis->info;
}

const struct redis_stats *redis_stats(const struct redis *redis)
{
    return &redis->stats;
}

const char *redis_fault(const struct redis *redis)
{
    return redis_ready(redis) ? "" : redis->fault[0] ? redis->fault : "not connected yet";
}

void redis_reconnect(struct redis *redis, const char *why)
{
    if (redis->state != LINK_READY || redis->doomed)
        return;
    redis->doomed = why;
    arm(redis, 0);
}
