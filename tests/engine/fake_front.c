/* fake_front.c - the client_* functions of io/front.h over the askers' memory. */
#include "stage.h"

static struct asker *asker_of(const struct client *c)
{
    return (struct asker *)c;
}

void client_take_head(struct client *c, const struct http_head *from, char *bytes, struct http_head *to)
{
    http_head_copy(to, from, bytes);
}

static bool all_used(const struct asker *a)
{
    return a->head.framing == HTTP_BODY_NONE || (a->head.framing == HTTP_BODY_CHUNKED ? a->ended && a->used == a->sent.n : a->used == a->n_body);
}

enum body_result client_body(struct client *c, struct str *slice)
{
    struct asker *a = asker_of(c);
    c->body_done = all_used(a);
    if (c->body_done)
        return BODY_END;
    *slice = (struct str){a->sent.p + a->used, a->sent.n - a->used};
    if (slice->n)
        return BODY_SLICE;
    return c->eof || c->dead || c->late || c->body_bad ? BODY_BROKEN : BODY_WAIT;
}

void client_body_used(struct client *c, size_t n)
{
    struct asker *a = asker_of(c);
    a->used += n;
    assert_true(a->used <= a->sent.n);
    c->body_done = all_used(a);
}

enum body_result client_body_whole(struct client *c, struct str *whole)
{
    struct asker *a = asker_of(c);
    if (a->sent.n < a->n_body)
        return c->eof || c->dead || c->late ? BODY_BROKEN : BODY_WAIT;
    *whole = (struct str){a->sent.p, (size_t)a->n_body};
    return BODY_END;
}

bool client_body_came(const struct client *c)
{
    const struct asker *a = asker_of(c);
    return a->head.framing == HTTP_BODY_NONE || (a->head.framing == HTTP_BODY_CHUNKED ? all_used(a) : a->sent.n >= a->n_body);
}

enum out_result client_send(struct client *c, struct outq *q)
{
    struct asker *a = asker_of(c);
    if (c->dead)
        return OUT_DEAD;
    if (!a->got.n && a->room && q->left)
        stage_event(a->stage, "down");
    while (q->left) {
        struct iovec *v = &q->v[q->at];
        size_t n = v->iov_len < a->room ? v->iov_len : a->room;
        text_add(&a->got, v->iov_base, n);
        a->room -= n;
        q->left -= n;
        v->iov_base = (char *)v->iov_base + n;
        v->iov_len -= n;
        if (v->iov_len)
            return OUT_AGAIN;
        q->at++;
    }
    outq_reset(q);
    return OUT_SENT;
}

static void leave(struct client **slot)
{
    struct asker *a = asker_of(*slot);
    *slot = NULL;
    assert_false(a->done || a->was_reset); /* the engine lets go of a client once */
    a->client.owner = NULL;
    free(a->sent.p); /* the front's buffer: what still points into it is a fault that a sanitizer sees */
    a->sent = (struct text){0};
}

void client_next(struct client **slot, bool keep)
{
    struct asker *a = asker_of(*slot);
    bool came = client_body_came(&a->client);
    leave(slot);
    a->done = true;
    a->kept = keep && came;
}

void client_abort(struct client **slot)
{
    struct asker *a = asker_of(*slot);
    leave(slot);
    a->was_reset = true;
}

const char *client_peer_text(struct client *c)
{
    return "10.0.0.1";
}
