#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

#include "base/ensure.h"
#include "base/writer.h"
#include "coherence/breaks.h"
#include "coherence/private.h"

static const uint64_t SETTLE_EVERY = 100 * MSEC, STORE_BUDGET = 1 * SEC;
enum {
    ENTRY_KEY_MAX = PREFIX_MAX + 256,
    MODEL_PART_MAX = 63,
    SMALL = 16 * 1024, /* bytes of an entry */
};
/* Tokens without a hold end some time, so that none is left for good; whoever reads then makes a new one. */
#define TOKEN_SECONDS "86400"
#define TOKEN_SECONDS_UNKNOWN "5"

/* KEYS: token. ARGV: seconds. A hold on it must not end with it. */
static const char lasting_script[] =
    "local token = redis.call('GET', KEYS[1])\n"
    "if token and string.sub(token, 1, 1) == '0' then\n"
    "  redis.call('SET', KEYS[1], token, 'EX', ARGV[1])\n"
    "end\n";

/* ---- tokens and keys as text ---- */

static void put_fingerprint(struct writer *to, struct fingerprint f)
{
    put_hex(to, f.hi, 16);
    put_hex(to, f.lo, 16);
}

void token_text(char out[static TOKEN_N * 2 + 1], struct fingerprint token)
{
    struct writer w = writer_on(out, TOKEN_N * 2);
    put_fingerprint(&w, token);
    *w.at = '\0';
}

static bool hex64(const char *p, uint64_t *out)
{
    *out = 0;
    for (unsigned i = 0; i < 16; i++) {
        char c = p[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
        *out = *out << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return true;
}

bool token_parse(struct str text, struct fingerprint *out, bool *held)
{
    if (text.n != TOKEN_N * 2 + 1 || (text.p[0] != '0' && text.p[0] != '1'))
        return false;
    *held = text.p[0] == '1';
    return hex64(text.p + 1, &out->hi) && hex64(text.p + 17, &out->lo);
}

struct str name_key(const struct coherence_worker *w, char out[static KEY_MAX], char kind,
                    struct name_id name)
{
    struct writer to = writer_on(out, KEY_MAX);
    put(&to, str_of(w->prefix));
    put(&to, str_slice(&kind, 1));
    put(&to, STR(":"));
    put_fingerprint(&to, (struct fingerprint){name.hi, name.lo});
    return writer_text(&to);
}

struct str alive_key(const struct coherence_worker *w, char out[static KEY_MAX])
{
    struct writer to = writer_on(out, KEY_MAX);
    put(&to, str_of(w->prefix));
    put(&to, STR("alive"));
    return writer_text(&to);
}

static struct str entry_key(const struct coherence_worker *w, char out[static ENTRY_KEY_MAX],
                            const struct look_entry *entry,
                            struct fingerprint f)
{
    struct writer to = writer_on(out, ENTRY_KEY_MAX);
    put(&to, str_of(w->prefix));
    put(&to, STR("e:"));
    put(&to, str_slice(entry->model.p, entry->model.n < MODEL_PART_MAX ? entry->model.n : MODEL_PART_MAX));
    put(&to, STR(":"));
    put(&to, entry->key);
    put(&to, STR(":"));
    put_fingerprint(&to, f);
    return writer_text(&to);
}

static struct fingerprint digest(const void *p, size_t n)
{
    XXH128_hash_t h = XXH3_128bits(p, n);
    return (struct fingerprint){h.high64, h.low64};
}

static struct known_token *known_of(struct coherence_worker *w, struct name_id name)
{
    return &w->known[name.lo % KNOWN_TOKENS];
}

static struct known_token *known_as(struct coherence_worker *w, struct name_id name)
{
    struct known_token *known = known_of(w, name);
    if (known->name.hi != name.hi || known->name.lo != name.lo)
        *known = (struct known_token){.name = name};
    return known;
}

/* ---- looks ---- */

struct fingerprint map_cells_of(struct coherence *c, uint64_t now)
{
    const struct name_id name[] = {c->everything, c->map};
    uint64_t tokens[2];
    bool known = cells_look(c->cells, name, 2, now, tokens);
    return known ? digest(tokens, sizeof tokens) : (struct fingerprint){0, 0};
}

struct fingerprint map_of(struct fingerprint cells, struct fingerprint everything, struct fingerprint names)
{
    struct fingerprint map[] = {cells, everything, names};
    return digest(map, sizeof map);
}

enum look_result look_cells(struct coherence_worker *w, struct look *look,
                            const struct coherence_names *names)
{
    struct coherence *c = w->coherence;
    uint64_t tokens[COHERENCE_NAMES_MAX + 1], map[2];
    *look = (struct look){.worker = w, .alone = !w->on || !w->shared, .n = 1};
    look->name[0] = c->everything;
    for (unsigned i = 0; i < names->n; i++)
        look->name[look->n++] = name_id_of(names->name[i]);
    look->name[look->n] = c->map;
    bool clear = cells_look(c->cells, look->name, look->n, w->loop->now, tokens);
    look->map_held = !cells_look(c->cells, &c->map, 1, w->loop->now, &map[1]);
    map[0] = tokens[0];
    look->fingerprint = digest(tokens, look->n * sizeof *tokens);
    look->map = look->map_cells = digest(map, sizeof map);
    look->result = clear && !names->all ? LOOK_CLEAR : LOOK_HELD;
    w->stats.held += look->result == LOOK_HELD;
    return look->result;
}

static void look_stop(struct look *look)
{
    redis_abandon(&look->tokens_op);
    redis_abandon(&look->entry_op);
    if (look->worker)
        list_remove(&look->worker->looking, &look->link);
    look->wake = NULL;
}

static void look_finish(struct look *look, enum look_result result)
{
    void (*wake)(void *) = look->wake;
    look->result = result;
    look_stop(look);
    if (!look->has_redis)
        blob_put(&look->entry);
    look->worker->stats.held += result == LOOK_HELD;
    if (wake)
        wake(look->arg);
}

/* Redis cannot be asked: the cells alone decide if they may. */
static enum look_result without_redis(struct look *look)
{
    look->has_redis = false;
    look->worker->stats.away++;
    return look->alone ? LOOK_CLEAR : LOOK_AWAY;
}

static bool askable(struct coherence_worker *w)
{
    return worker_current(w) && !atomic_load(&w->coherence->n_untold) && lease_allows(w, clock_usec());
}

static void tokens_done(struct redis_op *op, const struct redis_value *v);
static void entry_done(struct redis_op *op, const struct redis_value *v);

static uint64_t budget_left(const struct look *look)
{
    uint64_t now = clock_usec();
    return now < look->due ? look->due - now : 1;
}

static bool ask_tokens(struct look *look)
{
    struct str argv[COHERENCE_NAMES_MAX + 4] = {STR("MGET")};
    char keys[COHERENCE_NAMES_MAX + 3][KEY_MAX];
    unsigned argc = 1;
    for (unsigned i = 0; i <= look->n; i++)
        argv[argc++] = name_key(look->worker, keys[i], 't', look->name[i]);
    argv[argc++] = alive_key(look->worker, keys[look->n + 1]);
    return redis_send(look->worker->main, &look->tokens_op, argc, argv, budget_left(look), tokens_done);
}

/* An entry of the collection that was asked for. */
static void saw_entry(const struct look *look, size_t n)
{
    if (look->n > 1)
        known_as(look->worker, look->name[1])->small = n <= SMALL;
}

/* One connection for all saves a system call a side; but a token must not wait behind 100 KB. */
static bool ask_entry(struct look *look, struct fingerprint f)
{
    struct coherence_worker *w = look->worker;
    char key[ENTRY_KEY_MAX];
    struct str argv[] = {STR("GET"), entry_key(w, key, &look->wanted, f)};
    bool small = look->n > 1 && known_as(w, look->name[1])->small;
    look->guess = f;
    look->guessed = redis_send(small ? w->main : w->stores, &look->entry_op, 2, argv, budget_left(look), entry_done);
    redis_may_be_large(&look->entry_op);
    return look->guessed;
}

/* What was asked under other tokens, or has even come: on a connection of its own it may be here before the tokens are. */
static void drop_guess(struct look *look)
{
    redis_abandon(&look->entry_op);
    blob_put(&look->entry);
    look->guessed = false;
}

/* The fingerprint that these names had when last seen; false if one is not known. */
static bool guess_of(struct look *look, struct fingerprint *out)
{
    struct fingerprint tokens[COHERENCE_NAMES_MAX + 1];
    tokens[0] = look->worker->epoch;
    for (unsigned i = 1; i < look->n; i++) {
        const struct known_token *known = known_of(look->worker, look->name[i]);
        if (known->name.hi != look->name[i].hi || known->name.lo != look->name[i].lo)
            return false;
        tokens[i] = known->token;
    }
    *out = digest(tokens, look->n * sizeof *tokens);
    return true;
}

/* Somebody's hold is on this name. Nothing in Redis ends it by itself, so ask, now and then, whether its
 * time is over. */
static void settle(struct look *look, unsigned i)
{
    struct known_token *known = known_as(look->worker, look->name[i]);
    uint64_t now = clock_usec();
    if (now < known->settle_at)
        return;
    known->token = (struct fingerprint){0, 0};
    known->settle_at = now + SETTLE_EVERY;
    struct mark mark = {.name = &look->name[i], .n = 1, .token = "", .whole = true};
    mark_send(look->worker, NULL, &mark, NULL);
}

/* Names without a token get one; then all are asked for once more. */
static bool ensure_tokens(struct look *look, const struct redis_value *v)
{
    struct coherence_worker *w = look->worker;
    if (look->ensured)
        return false;
    look->ensured = true;
    for (unsigned i = 0; i <= look->n; i++) {
        if (redis_kind(redis_item(v, i)) != REDIS_IS_NIL)
            continue;
        char key[KEY_MAX], token[TOKEN_N * 2 + 2] = "0";
        uint64_t fresh[2] = {0, 0};
        if (!BREAK_COUNTER_TOKENS)
            worker_random(w, fresh);
        token_text(token + 1, (struct fingerprint){fresh[0], fresh[1]});
        /* the one of "@names" stays: it is part of no entry, and of every map */
        struct str argv[] = {STR("SET"), name_key(w, key, 't', look->name[i]), str_of(token), STR("NX"), STR("EX"),
                             look->unknown ? STR(TOKEN_SECONDS_UNKNOWN) : STR(TOKEN_SECONDS)};
        redis_send(w->main, NULL, i < look->n ? 6 : 4, argv, budget_left(look), NULL);
    }
    drop_guess(look);
    return ask_tokens(look);
}

enum tokens_are {
    TOKENS_GOOD,
    TOKENS_HELD,
    TOKENS_MISSING, /* of a name that nobody has asked for since the last write to it */
    TOKENS_SILENT,  /* some member of the roster has no lease */
    TOKENS_WRONG,
};

static enum tokens_are read_tokens(struct look *look, const struct redis_value *v, struct fingerprint *tokens)
{
    enum tokens_are are = TOKENS_GOOD;
    if (redis_count(v) != look->n + 2)
        return TOKENS_WRONG;
    for (unsigned i = 0; i <= look->n; i++) {
        const struct redis_value *item = redis_item(v, i);
        bool held = false;
        if (redis_kind(item) == REDIS_IS_NIL && i > 0) {
            are = are == TOKENS_GOOD ? TOKENS_MISSING : are;
            continue;
        }
        if (redis_kind(item) != REDIS_IS_TEXT || !token_parse(redis_text(item), &tokens[i], &held))
            return TOKENS_WRONG;
        if (held)
            settle(look, i);
        if (held && i == look->n)
            look->map_held = true;
        else if (held && !BREAK_IGNORE_HOLD)
            are = TOKENS_HELD;
    }
    bool silent = look->worker->shared && !BREAK_IGNORE_ALIVE &&
                  redis_kind(redis_item(v, look->n + 1)) == REDIS_IS_NIL;
    return silent ? TOKENS_SILENT : are;
}

/* It may have been made when nobody knew of such a collection. */
static void make_lasting(struct coherence_worker *w, struct name_id name)
{
    char key[KEY_MAX];
    struct str argv[] = {STR("EVAL"), str_of(lasting_script), STR("1"), name_key(w, key, 't', name), STR(TOKEN_SECONDS)};
    redis_send(w->main, NULL, sizeof argv / sizeof *argv, argv, STORE_BUDGET, NULL);
}

static void remember_tokens(struct look *look, const struct fingerprint *tokens)
{
    look->worker->epoch = tokens[0];
    for (unsigned i = 1; i < look->n; i++) {
        struct known_token *known = known_as(look->worker, look->name[i]);
        known->token = tokens[i];
        known->settle_at = 0;
        if (!look->unknown && !known->lasting)
            make_lasting(look->worker, look->name[i]);
        known->lasting = known->lasting || !look->unknown;
    }
}

static void tokens_done(struct redis_op *op, const struct redis_value *v)
{
    struct look *look = (struct look *)((char *)op - offsetof(struct look, tokens_op));
    struct coherence_worker *w = look->worker;
    struct fingerprint tokens[COHERENCE_NAMES_MAX + 2];
    if (!v) {
        look_finish(look, without_redis(look));
        return;
    }
    switch (read_tokens(look, v, tokens)) {
    case TOKENS_WRONG:
        begin_generation(w, "its tokens are gone");
        look_finish(look, without_redis(look));
        return;
    case TOKENS_SILENT:
        look_finish(look, without_redis(look));
        return;
    case TOKENS_HELD:
        look_finish(look, LOOK_HELD);
        return;
    case TOKENS_MISSING:
        if (!ensure_tokens(look, v))
            look_finish(look, without_redis(look));
        return;
    case TOKENS_GOOD:
        break;
    }
    remember_tokens(look, tokens);
    look->redis_fingerprint = digest(tokens, look->n * sizeof *tokens);
    look->has_redis = true;
    if (!look->alone) {
        struct fingerprint both[] = {look->fingerprint, look->redis_fingerprint};
        look->fingerprint = digest(both, sizeof both);
        look->map = map_of(look->map_cells, tokens[0], tokens[look->n]);
    }
    bool right = look->guessed && fingerprint_eq(look->guess, look->redis_fingerprint);
    w->stats.guesses_right += right;
    if (right && look->entry_op.flight)
        return; /* it is still on its way */
    if (!right)
        drop_guess(look);
    if (right || !look->wanted.key.p || !ask_entry(look, look->redis_fingerprint))
        look_finish(look, LOOK_CLEAR);
}

static void entry_done(struct redis_op *op, const struct redis_value *v)
{
    struct look *look = (struct look *)((char *)op - offsetof(struct look, entry_op));
    if (v && redis_kind(v) == REDIS_IS_TEXT)
        look->entry = blob_copy(redis_text(v));
    if (!v || look->entry)
        saw_entry(look, v ? look->entry->n : SIZE_MAX);
    if (!look->tokens_op.flight)
        look_finish(look, LOOK_CLEAR);
}

static void begin_wait(struct look *look, void (*wake)(void *), void *arg)
{
    look->result = LOOK_NONE;
    look->wake = wake;
    look->arg = arg;
    list_push(&look->worker->looking, &look->link);
}

bool look_redis(struct look *look, const struct look_entry *wanted, void (*wake)(void *), void *arg)
{
    struct coherence_worker *w = look->worker;
    struct fingerprint guess;
    ensure(look->result == LOOK_CLEAR && !look->has_redis);
    if (!w->on)
        return true;
    w->stats.looks++;
    look->due = clock_usec() + w->budget;
    look->generation = w->generation;
    look->wanted = wanted ? *wanted : (struct look_entry){STR_NONE, STR_NONE};
    if (!askable(w) || !ask_tokens(look)) {
        look->result = without_redis(look);
        return true;
    }
    if (wanted && guess_of(look, &guess))
        w->stats.guesses += ask_entry(look, guess);
    begin_wait(look, wake, arg);
    return false;
}

bool look_start(struct coherence_worker *w, struct look *look, const struct coherence_names *names,
                const struct look_entry *wanted, void (*wake)(void *), void *arg)
{
    return look_cells(w, look, names) != LOOK_CLEAR || look_redis(look, wanted, wake, arg);
}

void look_cancel(struct look *look)
{
    look_stop(look);
    blob_put(&look->entry);
}

void look_fail_all(struct coherence_worker *w)
{
    struct link *k;
    while ((k = list_first(&w->looking))) {
        struct look *look = LIST_OF(look, link, k);
        look_finish(look, look->has_redis ? LOOK_CLEAR : without_redis(look));
    }
}

bool coherence_store(struct coherence_worker *w, const struct look *look, const struct look_entry *entry,
                     struct str bytes,
                     uint64_t ttl_usec)
{
    char key[ENTRY_KEY_MAX], ttl[24];
    uint64_t dice[2];
    if (look->result != LOOK_CLEAR || !look->has_redis || look->generation != w->generation || !w->stores ||
        !redis_ready(w->stores))
        return false;
    worker_random(w, dice);
    uint64_t msec = (ttl_usec - ttl_usec / 1000 * (dice[0] % 100)) / MSEC;
    snprintf(ttl, sizeof ttl, "%" PRIu64, msec ? msec : 1);
    struct str argv[] = {STR("SET"), entry_key(w, key, entry, look->redis_fingerprint), bytes, STR("PX"),
                         str_of(ttl)};
    saw_entry(look, bytes.n);
    bool sent = redis_send(w->stores, NULL, 5, argv, STORE_BUDGET, NULL);
    w->stats.stores += sent;
    w->stats.stores_dropped += !sent;
    return sent;
}
