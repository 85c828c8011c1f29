/* tx_head.c - the heads that quiver writes. What a peer said goes on line by line, unchanged, but for what belongs to one connection only. */
#include "base/writer.h"
#include "engine/tx_parts.h"

static void put_length(struct writer *w, uint64_t n)
{
    put(w, STR("content-length: "));
    put_number(w, n);
    put(w, STR("\r\n"));
}

/* X-Forwarded-For: what came, in one line, and the client; set where none came. A client on a unix socket has no address. */
static void put_forwarded_for(struct writer *w, const struct tx *tx, const char *peer)
{
    const struct http_head *h = &tx->head;
    bool any = false;
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (h->field[i].id != HF_X_FORWARDED_FOR || h->field[i].value.n == 0)
            continue;
        put(w, any ? STR(", ") : STR("X-Forwarded-For: "));
        put(w, h->field[i].value);
        any = true;
    }
    if (peer) {
        put(w, any ? STR(", ") : STR("X-Forwarded-For: "));
        put(w, str_of(peer));
    }
    if (any || peer)
        put(w, STR("\r\n"));
}

/* Forwarded (RFC 7239) is appended to where it came; IPv6 is quoted and bracketed. */
static void put_forwarded(struct writer *w, const struct tx *tx, const char *peer)
{
    const struct http_head *h = &tx->head;
    bool any = false;
    for (unsigned i = 0; i < h->n_fields; i++) {
        if (h->field[i].id != HF_FORWARDED)
            continue;
        put(w, any ? STR(", ") : STR("Forwarded: "));
        put(w, h->field[i].value);
        any = true;
    }
    bool v6 = peer && strchr(peer, ':');
    put(w, !peer ? STR(", for=unknown") : v6 ? STR(", for=\"[") : STR(", for="));
    put(w, str_of(peer));
    put(w, v6 ? STR("]\"\r\n") : STR("\r\n"));
}

static bool goes_upstream(const struct tx *tx, const struct http_field *f)
{
    switch (f->id) {
    case HF_CONTENT_LENGTH:
    case HF_EXPECT:
    case HF_X_FORWARDED_FOR:
    case HF_FORWARDED:
        return false;
    case HF_ACCEPT_ENCODING:
        return !tx->identity && !f->hop;
    default:
        return !f->hop;
    }
}

static uint64_t body_length(struct tx *tx)
{
    const struct str *part;
    unsigned n;
    uint64_t total = 0;
    if (!tx->held)
        return tx->head.length;
    tx_body_parts(tx, &part, &n);
    for (unsigned i = 0; i < n; i++)
        total += part[i].n;
    return total;
}

struct str tx_upstream_head(struct tx *tx)
{
    const struct http_head *h = &tx->head;
    const char *peer = tx->client ? client_peer_text(tx->client) : NULL;
    if (peer && strcmp(peer, "unix") == 0)
        peer = NULL;
    struct str host = str_of(tx->snapshot->upstream[tx->model->index].slots[0]->peer->url);
    size_t room = h->raw.n + host.n + 512;
    struct writer w = writer_on(arena_alloc(&tx->arena, room), room);
    put(&w, h->method);
    put(&w, STR(" "));
    put(&w, h->target);
    put(&w, STR(" HTTP/1.1\r\n"));
    if (!h->first[HF_HOST]) {
        put(&w, STR("Host: "));
        put(&w, (struct str){host.p + strlen("http://"), host.n - strlen("http://")});
        put(&w, STR("\r\n"));
    }
    for (unsigned i = 0; i < h->n_fields; i++)
        if (goes_upstream(tx, &h->field[i]))
            put(&w, h->field[i].line);
    put_forwarded_for(&w, tx, peer);
    if (h->first[HF_FORWARDED])
        put_forwarded(&w, tx, peer);
    if (tx->identity)
        put(&w, STR("Accept-Encoding: identity\r\n"));
    if (tx->chunked_up)
        put(&w, STR("Transfer-Encoding: chunked\r\n"));
    else if (h->framing != HTTP_BODY_NONE)
        put_length(&w, body_length(tx));
    put(&w, STR("\r\n"));
    return writer_text(&w);
}

/* How the client is to find the end of the body, and whether its connection goes on. */
static void frame(struct tx *tx, bool *has_length)
{
    bool no_body = tx->head.is_head_method || (!tx->answer.local && tx->fetch.head.framing == HTTP_BODY_NONE);
    *has_length = tx->answer.whole || (!tx->answer.local && tx->fetch.head.framing == HTTP_BODY_LENGTH) || no_body;
    tx->chunked_down = !*has_length && tx->head.minor == 1;
    bool never_kept = tx->worker->front.limits.keep_alive == 0; /* it would be closed at once: the client is to know */
    if (!tx->head.keep_alive || never_kept || tx->worker->draining || (!*has_length && !tx->chunked_down))
        tx->close_after = true;
    if (!client_body_came(tx->client))
        tx->close_after = true; /* answered before the request was read */
}

struct str tx_client_head(struct tx *tx)
{
    struct answer *a = &tx->answer;
    const struct http_head *h = &tx->fetch.head;
    bool replaced = !a->local && a->whole, has_length;
    uint64_t length = 0;
    frame(tx, &has_length);
    for (unsigned i = 0; i < a->n_parts; i++)
        length += a->part[i].n;
    size_t room = (a->local ? a->fields.n : h->raw.n) + a->extra.n + 256;
    struct writer w = writer_on(arena_alloc(&tx->arena, room), room);
    put(&w, STR("HTTP/1.1 "));
    put_number(&w, a->status);
    put(&w, STR(" "));
    put(&w, a->local ? str_of(http_reason(a->status)) : h->reason);
    put(&w, STR("\r\n"));
    if (a->local) {
        put(&w, a->fields);
    } else {
        for (unsigned i = 0; i < h->n_fields; i++)
            if (!h->field[i].hop && !(h->field[i].id == HF_CONTENT_LENGTH && replaced))
                put(&w, h->field[i].line);
    }
    put(&w, a->extra);
    if (a->whole)
        put_length(&w, length);
    else if (tx->chunked_down)
        put(&w, STR("Transfer-Encoding: chunked\r\n"));
    if (tx->close_after)
        put(&w, STR("Connection: close\r\n"));
    else if (tx->head.minor == 0)
        put(&w, STR("Connection: keep-alive\r\n"));
    put(&w, STR("\r\n"));
    return writer_text(&w);
}
