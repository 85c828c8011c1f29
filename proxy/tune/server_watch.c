/* server_watch.c - one round asks each server in turn: GET /telemetry gives its id, start and version; a server that does not tell them is
 * known by what it answers to GET /. A round begins every ROUND, or soon after a kick. */
#include "tune/server_watch.h"

#include <cjson/cJSON.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/log.h"
#include "base/mem.h"
#include "tune/ask.h"

#define ROUND (5 * SEC)
#define RETRY (100 * MSEC) /* while a server in doubt does not answer */
#define APART (10 * MSEC)

enum question { ASK_TELEMETRY, ASK_ROOT };

struct server_watch {
    struct worker *worker;
    struct ask ask;
    struct timer timer;
    struct letter kick;
    _Atomic bool kicked, started;
    bool running, again, unanswered;
    unsigned group, server;      /* where the round is */
    struct peer *peer;
    unsigned n_doubts;           /* of the peer when it was asked */
    uint64_t identity, ended;
    enum question question;
};

static void next_server(struct server_watch *s);

static void end_round(struct server_watch *s)
{
    s->running = false;
    s->ended = s->worker->loop.now;
    atomic_store(&s->started, true);
    timer_set(&s->timer, s->ended + (s->again ? APART : s->unanswered ? RETRY : ROUND));
}

static void begin_round(struct server_watch *s)
{
    if (s->running)
        return;
    s->running = true;
    s->again = s->unanswered = false;
    s->group = s->server = 0;
    next_server(s);
}

static void next_server(struct server_watch *s)
{
    const struct conf *conf = s->worker->snapshot->conf;
    while (s->group < conf->n_groups && s->server >= conf->group[s->group].n_servers) {
        s->group++;
        s->server = 0;
    }
    if (s->group >= conf->n_groups) {
        end_round(s);
        return;
    }
    const struct conf_server *server = &conf->group[s->group].server[s->server++];
    s->peer = peer_get(server->url, server->host, server->port);
    s->n_doubts = atomic_load(&s->peer->n_doubts);
    s->question = ASK_TELEMETRY;
    ask_start(&s->ask, slots_get("(control)", s->peer, 1, metrics_model("(control)")), "/telemetry");
}

static uint64_t mix(uint64_t sum, const cJSON *text)
{
    return cJSON_IsString(text) ? XXH3_64bits_withSeed(text->valuestring, strlen(text->valuestring), sum) : sum;
}

/* What GET / says is said by every server of that version: those of other addresses, in front of which another quiver may share our Redis,
 * are not taken for this one. */
static uint64_t mix_url(const struct peer *peer, uint64_t sum)
{
    return XXH3_64bits_withSeed(peer->url, strlen(peer->url), sum);
}

/* 0: the answer does not tell. */
static uint64_t read_telemetry(struct str body)
{
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    cJSON *result = cJSON_GetObjectItemCaseSensitive(doc, "result");
    cJSON *app = cJSON_GetObjectItemCaseSensitive(result, "app");
    cJSON *startup = cJSON_GetObjectItemCaseSensitive(app, "startup");
    uint64_t sum = 0;
    if (cJSON_IsString(startup)) {
        sum = mix(mix(mix(1, cJSON_GetObjectItemCaseSensitive(result, "id")), startup),
                  cJSON_GetObjectItemCaseSensitive(app, "version"));
        sum = sum ? sum : 1;
    }
    cJSON_Delete(doc);
    return sum;
}

static void cleared(struct server_watch *s)
{
    atomic_store(&s->peer->identity, s->identity);
    peer_clear(s->peer, s->n_doubts);
    next_server(s);
}

/* Another process than before: what was cached was its predecessor's. */
static void give_up_everything(struct server_watch *s)
{
    log_warn("upstream_changed", "upstream=%s why=\"it was restarted or exchanged: all that was cached is given up\"", s->peer->url);
    metrics_add(s->worker->metrics, M_UPSTREAM_CHANGED, 1);
    coherence_everything(s->worker->coherence, 0);
}

static void known(struct server_watch *s, uint64_t identity)
{
    uint64_t before = atomic_load(&s->peer->identity);
    s->identity = identity;
    if (before && before != identity)
        give_up_everything(s);
    cleared(s);
}

static void answered(struct ask *ask)
{
    struct server_watch *s = LIST_OF(server_watch, ask, ask);
    uint64_t identity = 0;
    if (!ask->status) {
        s->unanswered = true;
        fetch_finish(&ask->fetch);
        next_server(s);
        return;
    }
    if (s->question == ASK_TELEMETRY && ask->status == 200)
        identity = read_telemetry(ask->body);
    else if (s->question == ASK_ROOT)
        identity = XXH3_64bits_withSeed(ask->body.p, ask->body.n, mix_url(s->peer, ask->status)) | 1;
    fetch_finish(&ask->fetch);
    if (identity) {
        known(s, identity);
    } else {
        s->question = ASK_ROOT; /* no key for telemetry, or no Qdrant */
        ask_start(ask, s->ask.fetch.slots[0], "/");
    }
}

static void on_time(void *arg)
{
    begin_round(arg);
}

static void open_kick(struct letter *letter)
{
    struct server_watch *s = LIST_OF(server_watch, kick, letter);
    atomic_store(&s->kicked, false);
    if (s->running)
        s->again = true;
    else if (s->worker->loop.now < s->ended + APART || s->unanswered)
        timer_set(&s->timer, s->ended + (s->unanswered ? RETRY : APART));
    else
        begin_round(s);
}

void server_watch_kick(struct server_watch *s)
{
    if (!atomic_exchange(&s->kicked, true))
        loop_post(&s->worker->loop, &s->kick);
}

bool server_watch_started(const struct server_watch *s)
{
    return atomic_load(&s->started);
}

struct server_watch *server_watch_open(struct worker *control)
{
    struct server_watch *s = mem_zalloc(sizeof *s);
    s->worker = control;
    s->kick.open = open_kick;
    ask_init(&s->ask, control, answered);
    timer_init(&s->timer, &control->loop, on_time, s);
    timer_set(&s->timer, clock_usec());
    return s;
}

void server_watch_close(struct server_watch **slot)
{
    struct server_watch *s = *slot;
    *slot = NULL;
    timer_fini(&s->timer);
    ask_fini(&s->ask);
    free(s);
}
