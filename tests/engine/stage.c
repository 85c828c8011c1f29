#include "stage.h"

#include <unistd.h>

#include "base/mem.h"
#include "plugins/cache/cache.h"
#include "plugins/rewrite/rewrite.h"
#include "upstream/peer.h"

struct stage *stage_now;

static const struct plugin *const usual[] = {&rewrite_plugin, &cache_plugin, NULL};

void text_add(struct text *t, const char *p, size_t n)
{
    if (!t->p)
        t->p = mem_alloc(TEXT_FIRST); /* once: the engine keeps slices of it */
    assert_true(t->n + n < TEXT_FIRST);
    if (n)
        memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

/* ---- the worker ---- */

static struct snapshot *load(struct stage *s, const char *yaml)
{
    struct err err = {{0}};
    FILE *f = fopen(s->file, "w");
    assert_non_null(f);
    fputs(yaml, f);
    fclose(f);
    struct conf *conf = conf_load(&s->sources, &err);
    if (!conf)
        fail_msg("configuration: %s", err.text);
    for (unsigned i = 0; i < conf->n_models; i++)
        conf->model[i].metrics_id = metrics_model(conf->model[i].name);
    return snapshot_new(conf);
}

static void names_changed(void *arg)
{
    struct stage *s = arg;
    s->n_names_changed++;
}

struct stage *stage_open(const struct plugin *const *plugins, const char *yaml)
{
    static const char *op_names[OP_COUNT];
    static bool metrics_ready;
    struct stage *s = mem_zalloc(sizeof *s);
    struct worker *w = &s->worker;
    if (!metrics_ready) {
        for (unsigned i = 0; i < OP_COUNT; i++)
            op_names[i] = ops[i].name;
        metrics_init(OP_COUNT, op_names);
        metrics_ready = true;
    }
    stage_now = s;
    strcpy(s->folder, "/tmp/quiver_engine_XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->file, sizeof s->file, "%s/one.yaml", s->folder);
    chain_init(plugins ? plugins : usual);
    s->upstream[0] = "http://127.0.0.1:9";
    s->sources = (struct conf_sources){
        .flags = {.path = s->file, .upstream = s->upstream, .n_upstream = 1, .cache = -1, .rewrite = -1, .workers = -1},
        .model_table = chain.model_table,
        .n_model_tables = chain.n_model_tables,
        .process_table = chain.process_table,
        .n_process_tables = chain.n_process_tables,
    };
    static char *const nothing[] = {NULL};
    s->sources.environment = nothing;
    struct snapshot *snapshot = load(s, yaml);
    w->n_workers = 1;
    w->shapes = shapes_new();
    w->name = "stage";
    w->shared = &s->shared;
    loop_init(&w->loop);
    list_init(&w->running);
    w->upstream.loop = &w->loop;
    w->metrics = w->upstream.metrics = metrics_open("stage");
    w->coherence_shared = coherence_new();
    w->coherence = coherence_worker_open(w->coherence_shared, &w->loop, snapshot->conf);
    chain_open(w);
    worker_use_snapshot(w, snapshot);
    w->names_changed = names_changed;
    w->arg = s;
    stage_facts(s, NULL, NULL);
    return s;
}

void stage_reload(struct stage *s, const char *yaml)
{
    worker_use_snapshot(&s->worker, load(s, yaml));
}

void stage_close(struct stage **slot)
{
    struct stage *s = *slot;
    struct worker *w = &s->worker;
    *slot = NULL;
    assert_null(list_first(&w->loop.ready));
    assert_int_equal(w->running.n, 0);
    assert_int_equal(s->shared.n_held, 0);
    for (unsigned i = 0; i < TX_COUNT; i++)
        assert_int_equal(w->in_state[i], 0);
    for (unsigned i = 0; i < s->n_exchanges; i++) {
        assert_null(s->exchange[i].fetch); /* a slot that nobody gives back */
        free(s->exchange[i].sent.p);
    }
    for (unsigned i = 0; i < s->n_askers; i++) {
        assert_true(s->asker[i]->done || s->asker[i]->was_reset);
        free(s->asker[i]->got.p);
        free(s->asker[i]);
    }
    chain_close(w);
    tx_free_spares(w);
    shapes_free(&w->shapes);
    coherence_worker_close(&w->coherence);
    coherence_free(&w->coherence_shared);
    facts_put(&w->facts);
    snapshot_put(&w->snapshot);
    loop_fini(&w->loop);
    unlink(s->file);
    rmdir(s->folder);
    free(s);
    stage_now = NULL;
}

void stage_run(struct stage *s)
{
    struct link *k;
    for (unsigned turns = 0; (k = list_pop(&s->worker.loop.ready)); turns++) {
        assert_true(turns < 10000); /* a request that wakes itself for ever */
        struct task *task = LIST_OF(task, link, k);
        task->run(task);
    }
}

void stage_pass(struct stage *s, uint64_t usec)
{
    struct worker *w = &s->worker;
    w->loop.now += usec;
    for (struct link *k = list_first(&w->running); k; k = list_next(&w->running, k)) {
        struct tx *tx = LIST_OF(tx, link, k);
        if (tx->timer.due <= w->loop.now) {
            tx->timer.due = NEVER;
            loop_wake(&w->loop, &tx->task);
        }
    }
    stage_run(s);
}

bool stage_held(struct stage *s, const char *collection)
{
    struct look look = {0};
    struct coherence_names names = {0};
    coherence_names_add(&names, str_of(collection));
    enum look_result result = look_cells(s->worker.coherence, &look, &names);
    look_cancel(&look);
    return result == LOOK_HELD;
}

void stage_event(struct stage *s, const char *what)
{
    if (s->n_events < EVENTS_MAX)
        snprintf(s->event[s->n_events++], sizeof s->event[0], "%s%s", what,
                 !s->watched ? "" : stage_held(s, s->watched) ? " held" : " clear");
}

void stage_facts(struct stage *s, const char *alias, const char *collection)
{
    struct facts *f = facts_new();
    f->asked_at = s->worker.loop.now;
    struct look look = {0};
    struct coherence_names names = {0};
    coherence_names_add(&names, STR("@names"));
    look_cells(s->worker.coherence, &look, &names);
    f->names = look.map;
    f->names_known = true;
    look_cancel(&look);
    if (alias) {
        f->alias = arena_alloc(&f->arena, sizeof *f->alias);
        f->alias[0] = (struct fact_alias){arena_copy(&f->arena, str_of(alias)), arena_copy(&f->arena, str_of(collection)), STR("default")};
        f->n_aliases = 1;
    }
    facts_add(f, STR("hermes"));
    facts_add(f, STR("chat")); /* where its aliases are hidden Qdrant answers for them as for collections */
    worker_use_facts(&s->worker, f);
    const struct model_upstream *up = &s->worker.snapshot->upstream[0];
    for (unsigned i = 0; i < up->n_slots; i++) /* and who the servers are */
        atomic_store(&up->slots[i]->peer->identity, 1);
}

void stage_facts_hidden(struct stage *s)
{
    stage_facts(s, NULL, NULL);
    s->worker.facts->aliases_hidden = true;
}

/* ---- clients ---- */

struct asker *ask_head(struct stage *s, const char *head)
{
    struct asker *a = mem_zalloc(sizeof *a);
    struct http_refusal refusal;
    struct http_head *parsed = &s->worker.front.scratch;
    size_t scanned = 0, head_n = 0;
    assert_true(s->n_askers < ASKERS_MAX);
    s->asker[s->n_askers++] = a;
    a->stage = s;
    a->room = SIZE_MAX;
    char *bytes = mem_strdup(head);
    if (http_parse_request(bytes, strlen(bytes), &scanned, parsed, &head_n, &refusal) == HTTP_DONE) {
        a->head.framing = parsed->framing;
        a->n_body = parsed->length;
        a->client.framing = parsed->framing;
        a->client.body_done = client_body_came(&a->client) && a->n_body == 0;
        tx_begin(&a->client, parsed, &s->worker);
    } else {
        tx_refused(&a->client, &refusal, &s->worker);
    }
    free(bytes); /* the engine has taken what it needs */
    stage_run(s);
    return a;
}

struct asker *ask(struct stage *s, const char *method, const char *path, const char *fields, const char *body)
{
    char head[4096];
    if (body)
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: q\r\n%sContent-Length: %zu\r\n\r\n", method, path, fields, strlen(body));
    else
        snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: q\r\n%s\r\n", method, path, fields);
    struct asker *a = ask_head(s, head);
    if (body)
        say(a, body);
    return a;
}

static void wake_owner(struct asker *a)
{
    if (a->client.owner)
        loop_wake(&a->stage->worker.loop, a->client.owner);
    stage_run(a->stage);
}

void say(struct asker *a, const char *piece)
{
    if (a->done || a->was_reset)
        return;
    size_t before = a->sent.n;
    assert_true(before == 0 || a->used == before || a->head.framing != HTTP_BODY_CHUNKED);
    text_add(&a->sent, piece, strlen(piece));
    wake_owner(a);
}

void say_end(struct asker *a)
{
    a->ended = true;
    wake_owner(a);
}

void hang_up(struct asker *a)
{
    a->client.eof = true;
    wake_owner(a);
}

void drop_dead(struct asker *a)
{
    a->client.dead = true;
    wake_owner(a);
}

void too_late(struct asker *a)
{
    a->client.late = true;
    wake_owner(a);
}

void take_more(struct asker *a, size_t n)
{
    a->room = n;
    wake_owner(a);
}

/* ---- the upstream ---- */

struct exchange *up(struct stage *s)
{
    assert_true(s->n_exchanges > 0);
    return &s->exchange[s->n_exchanges - 1];
}

static void wake_fetch(struct exchange *x)
{
    if (x->fetch)
        loop_wake(&x->stage->worker.loop, x->fetch->owner);
    stage_run(x->stage);
}

void lend(struct exchange *x)
{
    x->lent = true;
    wake_fetch(x);
}

void connect_up(struct exchange *x)
{
    x->connected = true;
    wake_fetch(x);
}

void up_says(struct exchange *x, const char *bytes)
{
    assert_non_null(x->fetch); /* nobody waits for this any more */
    text_add(&x->answer, bytes, strlen(bytes));
    wake_fetch(x);
}

void up_answers(struct exchange *x, unsigned status, const char *fields, const char *body)
{
    char text[8192];
    snprintf(text, sizeof text, "HTTP/1.1 %u X\r\ncontent-type: application/json\r\n%scontent-length: %zu\r\n\r\n%s", status, fields,
             strlen(body), body);
    up_says(x, text);
}

void up_closes(struct exchange *x)
{
    x->closed = true;
    wake_fetch(x);
}

void up_takes(struct exchange *x, size_t n)
{
    x->takes = n;
    wake_fetch(x);
}

const char *up_body(const struct exchange *x)
{
    const char *end = x->sent.p ? strstr(x->sent.p, "\r\n\r\n") : NULL;
    return end ? end + 4 : "";
}

/* ---- what came of it ---- */

unsigned status_of(const struct asker *a)
{
    return a->got.n > 12 ? (unsigned)atoi(a->got.p + 9) : 0;
}

const char *body_of(const struct asker *a)
{
    const char *end = a->got.p ? strstr(a->got.p, "\r\n\r\n") : NULL;
    return end ? end + 4 : "";
}

void expect(const struct asker *a, unsigned status, const char *body)
{
    if (status_of(a) != status)
        fail_msg("expected %u, got: %s", status, a->got.n ? a->got.p : "nothing");
    if (body && strcmp(body_of(a), body) != 0)
        fail_msg("\nexpected %s\ngot      %s", body, body_of(a));
}

void expect_event(struct stage *s, unsigned i, const char *what)
{
    if (i >= s->n_events || strcmp(s->event[i], what) != 0)
        fail_msg("event %u is \"%s\", expected \"%s\"", i, i < s->n_events ? s->event[i] : "(none)", what);
}

enum tx_state state_of(const struct asker *a)
{
    return a->client.owner ? LIST_OF(tx, task, a->client.owner)->state : TX_GONE;
}
