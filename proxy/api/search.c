#include "api/search.h"

#include <stdlib.h>

#include "api/auth.h"
#include "api/routes.h"
#include "base/json_scan.h"
#include "base/mem.h"
#include "http/head.h"
#include "qdrant/reply.h"

enum { LIMIT_DEFAULT = 10, LIMIT_MAX = 10000 };

/* ---- the request ---- */

struct str search_probe(struct arena *a, const struct conf_model *model)
{
    uint64_t size = model->base.vector_size, seed = 0x9e3779b97f4a7c15;
    if (!size)
        return STR_NONE;
    char *out = arena_alloc(a, 7 * size + 3);
    size_t n = 0;
    for (uint64_t i = 0; i < size; i++) { /* three decimals in (-1, 1): the same in every process */
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        unsigned thousandths = (unsigned)(seed >> 33) % 1000;
        out[n++] = i ? ',' : '[';
        if (seed & 1)
            out[n++] = '-';
        memcpy(out + n, "0.", 2);
        out[n + 2] = (char)('0' + thousandths / 100);
        out[n + 3] = (char)('0' + thousandths / 10 % 10);
        out[n + 4] = (char)('0' + thousandths % 10);
        n += 5;
    }
    out[n++] = ']';
    return str_slice(out, n);
}

void search_vector(struct text *body, const struct conf_model *model, struct str using, struct str vector)
{
    const char *own = model->base.vector;
    struct str name = using.p ? using : own ? str_of(own) : STR_NONE;
    text_add(body, STR("\"vector\":"));
    if (name.p) {
        text_add(body, STR("{\"name\":"));
        text_quote(body, name);
        text_add(body, STR(",\"vector\":"));
    }
    text_add(body, vector);
    text_add(body, name.p ? STR("}") : STR(""));
}

/* Which of Qdrant's operations this body is for. */
static const char *operation_of(struct str body)
{
    struct json j = {body.p, body.p + body.n};
    struct str key, value;
    bool first = true, escaped, bad = false, query = false;
    if (!body.n || !json_enter(&j, '{'))
        return "search";
    while (json_key(&j, &first, &key, &escaped, &bad)) {
        if (str_eq(key, STR("vector")))
            return "search";
        query |= str_eq(key, STR("query")) || str_eq(key, STR("prefetch"));
        if (!json_skip(&j, TREE_DEPTH_MAX, &value))
            break;
    }
    return query ? "query" : "search";
}

static void delivered(struct tx_own *own)
{
    struct search *s = (struct search *)((char *)own - offsetof(struct search, own));
    s->done(s);
}

/* What a caller says to quiver itself: whether to use the cache, whether to rewrite. */
static struct str own_wishes(struct arena *a, const struct http_head *h)
{
    struct str lines = STR("");
    for (unsigned i = 0; i < h->n_fields; i++)
        if (h->field[i].id == HF_CACHE_CONTROL || h->field[i].id == HF_QUIVER_REWRITE)
            lines = arena_printf(a, "%.*s%.*s", STR_ARG(lines), STR_ARG(h->field[i].line));
    return lines;
}

void search_start(struct search *s, struct call *call, const struct conf_model *model, struct str body)
{
    struct arena *a = &call->arena;
    char name[3 * COHERENCE_COLLECTION_MAX];
    const char *host = call->snapshot->upstream[model->index].slots[0]->peer->url + strlen("http://");
    s->own = (struct tx_own){.done = delivered};
    s->arena = a;
    s->began = clock_usec();
    struct str credentials = auth_upstream_lines(a, &call->conf->process, call->request->head, call->right);
    struct str wishes = own_wishes(a, call->request->head);
    struct str head = arena_printf(a,
                                   "POST /collections/%s/points/%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: "
                                   "quiver-control/%s\r\n"
                                   "Content-Type: application/json\r\nContent-Length: %zu\r\n%.*s%.*s\r\n",
                                   str_escape(name, sizeof name, model_collection(model)), operation_of(body),
                                   host, QUIVER_VERSION, body.n, STR_ARG(wishes), STR_ARG(credentials));
    tx_start_own(call->api->hooks.worker, &s->own, head, body);
}

void search_stop(struct search *s)
{
    tx_cancel_own(&s->own);
}

/* ---- the answer ---- */

struct str search_body(struct search *s, struct arena *a)
{
    struct reply_pieces p;
    reply_take_apart(s->own.body, &p);
    char *out = arena_alloc(a, p.n);
    reply_put_together(out, &p);
    return str_slice(out, p.n);
}

unsigned search_status(const struct search *s)
{
    return s->own.status == 499 ? 503 : s->own.status;
}

static struct node *step(struct arena *a, uint64_t from, uint64_t to)
{
    return from && to >= from ? node_uint(a, to - from) : node_text(a, STR_NONE);
}

/* By the names of a request's life (engine/tx.c). */
static struct node *steps_node(struct arena *a, const struct search *s)
{
    struct node *out = node_object(a);
    for (unsigned i = 0; i < TX_COUNT; i++)
        node_add(out, str_of(tx_state_names[i]),
                 s->own.step_usec[i] == NEVER ? node_text(a, STR_NONE) : node_uint(a, s->own.step_usec[i]));
    node_add(out, STR("total"), step(a, s->own.tx->began, clock_usec()));
    return out;
}

/* The part of them that was spent with the upstream. */
static struct node *upstream_node(struct arena *a, const struct fetch *f)
{
    struct node *out = node_object(a);
    node_add(out, STR("queue"), step(a, f->started, f->slot_at));
    node_add(out, STR("connect"), step(a, f->slot_at, f->connected_at));
    node_add(out, STR("send"), step(a, f->connected_at, f->sent_at));
    node_add(out, STR("first_byte"), step(a, f->sent_at, f->first_byte_at));
    return out;
}

/* Cache-Status and the like, as the answer would carry them to a client. */
static struct str extra_value(const struct tx *tx, struct str name)
{
    struct str rest = tx->answer.extra;
    while (rest.n) {
        struct str line = str_trim(str_split(&rest, '\n'), "\r");
        const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;
        if (colon && str_ieq(str_slice(line.p, (size_t)(colon - line.p)), name))
            return str_trim(str_slice(colon + 1, (size_t)(line.p + line.n - colon) - 1), " ");
    }
    return STR_NONE;
}

static struct node *params_text(struct arena *a, struct str json)
{
    return json.n ? node_raw(a, arena_copy(a, json)) : node_text(a, STR_NONE);
}

struct node *search_what_was_done(struct search *s, struct arena *a)
{
    const struct tx *tx = s->own.tx;
    struct node *out = node_object(a), *params = node_object(a);
    struct str status = extra_value(tx, STR("cache-status"));
    node_add(out, STR("operation"), node_text(a, str_of(tx->route.op->name)));
    node_add(out, STR("collection"), node_text(a, arena_copy(a, tx->resolved)));
    node_add(params, STR("before"), params_text(a, tx->query.params_before));
    node_add(params, STR("after"),
             params_text(a, tx->query.params_after.n ? tx->query.params_after : tx->query.params_before));
    node_add(out, STR("params"), params);
    node_add(out, STR("parameters_changed"), node_uint(a, tx->query.n_changed));
    node_add(out, STR("cache"), node_text(a, str_of(tx->cache_word)));
    node_add(out, STR("cache_status"),
             status.n ? node_text(a, arena_copy(a, status)) : node_text(a, STR_NONE));
    node_add(out, STR("coalesced"), node_bool(a, tx->collapsed));
    node_add(
        out, STR("upstream"),
        node_text(a, tx->fetch.started && tx->fetch.chosen ? str_of(tx->fetch.chosen->peer->url) : STR_NONE));
    node_add(out, STR("upstream_us"), upstream_node(a, &tx->fetch));
    node_add(out, STR("steps_us"), steps_node(a, s));
    return out;
}

/* ---- routes ---- */

struct search_call {
    struct search search;
    struct call *call;
    bool explain;
};

static void stop(struct call *call)
{
    struct search_call *sc = call->work;
    search_stop(&sc->search);
}

static struct str cache_lines(struct search *s, struct arena *a)
{
    struct str status = extra_value(s->own.tx, STR("cache-status")),
               after = extra_value(s->own.tx, STR("retry-after"));
    struct str lines = STR("");
    if (status.n)
        lines = arena_printf(a, "Cache-Status: %.*s\r\n", STR_ARG(status));
    if (after.n)
        lines = arena_printf(a, "%.*sRetry-After: %.*s\r\n", STR_ARG(lines), STR_ARG(after));
    return lines;
}

static void answered(struct search *s)
{
    struct search_call *sc = (struct search_call *)s;
    struct call *call = sc->call;
    struct arena *a = &call->arena;
    unsigned status = search_status(s);
    struct str body = search_body(s, a), lines = cache_lines(s, a);
    if (!body.n && status >= 400)
        body = reply_error_body(a, STR("the request was cut off"));
    if (!sc->explain || status != 200) {
        call_reply(call, status, "application/json", body, lines);
        return;
    }
    struct node *out = node_object(a);
    node_add(out, STR("model"), node_text(a, str_of(call->model->name)));
    node_add(out, STR("answer"), node_raw(a, body));
    node_add(out, STR("optimization"), search_what_was_done(s, a));
    call_reply_node(call, status, out, lines);
}

static void begin(struct call *call, struct str body, bool explain)
{
    struct search_call *sc = arena_zalloc(&call->arena, sizeof *sc);
    sc->call = call;
    sc->explain = explain;
    sc->search.done = answered;
    call->work = sc;
    call->abandon = stop;
    search_start(&sc->search, call, call->model, body);
}

static void begin_with_vector(struct call *call, struct str using, struct str vector, uint64_t limit, bool explain)
{
    struct text body = {0};
    text_add(&body, STR("{"));
    search_vector(&body, call->model, using, vector);
    text_add(&body, arena_printf(&call->arena, ",\"limit\":%llu}", (unsigned long long)limit));
    begin(call, (struct str){body.p, body.n}, explain);
    text_free(&body);
}

static void begin_probe(struct call *call, struct str using, uint64_t limit, bool explain)
{
    struct str vector = search_probe(&call->arena, call->model);
    if (!vector.n)
        return call_error(call, 400, SEARCH_NO_PROBE, call->model->name);
    begin_with_vector(call, using, vector, limit, explain);
}

/* "0.1, 0.2" or "[0.1,0.2]" -> "[0.1,0.2]"; false when the call has been answered. */
static bool vector_of(struct call *call, struct str given, struct str *out)
{
    struct str rest = str_trim(given, " ");
    char *text = arena_alloc(&call->arena, given.n + 3);
    size_t n = 0;
    if (rest.n >= 2 && rest.p[0] == '[' && rest.p[rest.n - 1] == ']')
        rest = str_slice(rest.p + 1, rest.n - 2);
    for (unsigned i = 1; rest.p; i++) {
        struct str one = str_trim(str_split(&rest, ','), " ");
        if (!json_is_number(one)) {
            call_error(call, 400, "vector: number %u is '%.*s', expected numbers such as 0.1,0.2,0.3", i,
                       (int)(one.n < 40 ? one.n : 40), one.n ? one.p : "");
            return false;
        }
        text[n++] = i > 1 ? ',' : '[';
        memcpy(text + n, one.p, one.n);
        n += one.n;
    }
    text[n++] = ']';
    *out = str_slice(text, n);
    return true;
}

void api_search_get(struct call *call)
{
    struct str limit_text, vector, using;
    uint64_t limit = LIMIT_DEFAULT;
    bool bad, has_limit = call_query(call, "limit", &limit_text, &bad);
    if (bad)
        return;
    if (has_limit && (!str_u64(limit_text, LIMIT_MAX, &limit) || !limit))
        return call_error(call, 400, "limit: found '%.*s', expected a whole number from 1 to %d",
                          (int)(limit_text.n < 40 ? limit_text.n : 40), limit_text.n ? limit_text.p : "",
                          LIMIT_MAX);
    call_query(call, "using", &using, &bad);
    if (bad)
        return;
    if (!call_query(call, "vector", &vector, &bad)) {
        if (!bad)
            begin_probe(call, using, limit, false);
        return;
    }
    if (vector_of(call, vector, &vector))
        begin_with_vector(call, using, vector, limit, false);
}

/* A body that is there must be an object; it goes on as it is. */
static void search_with_body(struct call *call, bool explain)
{
    struct err err;
    struct arena scratch;
    struct str body = call->request->body;
    if (!str_trim(body, " \t\r\n").n)
        return begin_probe(call, STR_NONE, LIMIT_DEFAULT, explain);
    arena_init(&scratch, NULL, 0);
    struct node *read = tree_read(&scratch, body, &err);
    enum node_kind kind = read ? read->kind : NODE_NULL;
    arena_fini(&scratch);
    if (!read)
        call_error(call, 400, "the body is not JSON: %s", err.text);
    else if (kind != NODE_OBJECT)
        call_error(call, 400,
                   "line 1, column 1: the body is %s, expected an object such as "
                   "{\"vector\":[0.1,0.2],\"limit\":10}",
                   node_kind_name(kind));
    else
        begin(call, body, explain);
}

void api_search_post(struct call *call)
{
    search_with_body(call, false);
}

void api_search_optimized(struct call *call)
{
    search_with_body(call, true);
}
