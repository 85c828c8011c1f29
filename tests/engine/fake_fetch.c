/* fake_fetch.c - upstream/fetch.h over the exchanges' memory: no sockets, no pool; slots, connections and bytes come from the test. */
#include "stage.h"

static const struct {
    unsigned status;
    const char *why;
} failures[] = {
#define X(id, status, why) {status, why},
    FETCH_FAILURES(X)
#undef X
};

const char *fetch_failure_text(enum fetch_failure f)
{
    return failures[f].why;
}

unsigned fetch_failure_status(enum fetch_failure f)
{
    return failures[f].status;
}

static struct exchange *exchange_of(const struct fetch *f)
{
    return (struct exchange *)f->pool;
}

void fetch_init(struct fetch *f, struct pool_host *host, struct arena *arena, struct task *owner)
{
    memset(f, 0, sizeof *f);
    f->host = host;
    f->arena = arena;
    f->owner = owner;
}

void fetch_start(struct fetch *f, struct slots *const *slots, unsigned n_slots, unsigned queue_max, struct str *part, unsigned n,
                 bool streams, bool head_method)
{
    struct stage *s = stage_now;
    assert_true(s->n_exchanges < EXCHANGES_MAX);
    struct exchange *x = &s->exchange[s->n_exchanges++];
    *x = (struct exchange){.stage = s, .fetch = f, .lent = !s->hold_slots, .connected = !s->hold_connects, .takes = SIZE_MAX};
    f->pool = (struct pool *)x;
    f->streams = streams;
    f->head_method = head_method;
    f->started = f->progress_at = f->host->loop->now;
    outq_reset(&f->out);
    for (unsigned i = 0; i < n; i++)
        outq_add(&f->out, part[i]);
    f->state = FETCH_QUEUED;
}

static enum fetch_state fetch_fails(struct fetch *f, enum fetch_failure why)
{
    f->failure = why;
    return f->state = FETCH_FAILED;
}

static bool late(const struct fetch *f, uint64_t since, uint64_t limit, uint64_t now)
{
    return limit && now >= since + limit;
}

static void send_out(struct fetch *f, uint64_t now)
{
    struct exchange *x = exchange_of(f);
    while (f->out.left && x->takes) {
        struct iovec *v = &f->out.v[f->out.at];
        size_t n = v->iov_len < x->takes ? v->iov_len : x->takes;
        if (!f->any_sent)
            stage_event(x->stage, "up");
        f->any_sent = true;
        f->progress_at = now;
        text_add(&x->sent, v->iov_base, n);
        x->takes -= n;
        f->out.left -= n;
        v->iov_base = (char *)v->iov_base + n;
        v->iov_len -= n;
        f->out.at += v->iov_len == 0;
    }
}

static enum fetch_state read_head(struct fetch *f, uint64_t now)
{
    struct exchange *x = exchange_of(f);
    size_t head_n = 0;
    struct http_head *seen = &f->host->scratch;
    enum http_result result = HTTP_MORE;
    if (x->answer.n > x->at)
        result = http_parse_response(x->answer.p + x->at, x->answer.n - x->at, &f->scanned, f->head_method, seen, &head_n, &f->refusal);
    if (result == HTTP_REFUSED)
        return fetch_fails(f, FETCH_FAILED_BAD_ANSWER);
    if (result == HTTP_MORE)
        return x->closed ? fetch_fails(f, x->answer.n ? FETCH_FAILED_CUT : FETCH_FAILED_DIED) : f->state;
    http_head_copy(&f->head, seen, arena_alloc(f->arena, seen->raw.n));
    x->at += head_n;
    f->body_left = f->head.length;
    f->progress_at = now;
    chunk_init(&f->chunk);
    bool none = f->head.framing == HTTP_BODY_NONE || (f->head.framing == HTTP_BODY_LENGTH && !f->body_left);
    return f->state = none ? FETCH_OVER : FETCH_ANSWERING;
}

static enum fetch_state step(struct fetch *f, uint64_t now)
{
    struct exchange *x = exchange_of(f);
    switch (f->state) {
    case FETCH_QUEUED:
        if (x->lent)
            return f->progress_at = now, f->state = FETCH_CONNECTING;
        return late(f, f->started, f->limits.queue, now) ? fetch_fails(f, FETCH_FAILED_QUEUE_TIMEOUT) : f->state;
    case FETCH_CONNECTING:
        if (x->closed)
            return fetch_fails(f, FETCH_FAILED_CONNECT);
        if (x->connected)
            return f->state = FETCH_SENDING;
        return late(f, f->progress_at, f->limits.connect, now) ? fetch_fails(f, FETCH_FAILED_CONNECT_TIMEOUT) : f->state;
    case FETCH_SENDING:
        send_out(f, now);
        f->all_sent = !f->out.left && (!f->streams || f->stream_ended);
        if (f->all_sent || x->closed || x->answer.n > x->at)
            return f->state = FETCH_WAITING;
        return f->out.left && late(f, f->progress_at, f->limits.body, now) ? fetch_fails(f, FETCH_FAILED_SEND_TIMEOUT) : f->state;
    case FETCH_WAITING:
        if (read_head(f, now) == FETCH_WAITING && late(f, f->progress_at, f->limits.first_byte, now))
            return fetch_fails(f, FETCH_FAILED_FIRST_BYTE);
        return f->state;
    default:
        return f->state;
    }
}

enum fetch_state fetch_run(struct fetch *f, uint64_t now)
{
    enum fetch_state was;
    do {
        was = f->state;
        step(f, now);
    } while (f->state != was);
    return was;
}

uint64_t fetch_deadline(const struct fetch *f)
{
    uint64_t limit = 0, since = f->progress_at;
    switch (f->state) {
    case FETCH_QUEUED:
        since = f->started;
        limit = f->limits.queue;
        break;
    case FETCH_CONNECTING:
        limit = f->limits.connect;
        break;
    case FETCH_SENDING:
        limit = f->out.left ? f->limits.body : 0;
        break;
    case FETCH_WAITING:
        limit = f->limits.first_byte;
        break;
    case FETCH_ANSWERING:
        limit = f->limits.body;
        break;
    default:
        break;
    }
    return limit ? since + limit : NEVER;
}

bool fetch_takes_body(const struct fetch *f)
{
    return f->state == FETCH_SENDING && !f->out.left && !f->stream_ended;
}

bool fetch_sent(const struct fetch *f)
{
    return !f->out.left;
}

void fetch_send_slice(struct fetch *f, struct str slice, bool chunked)
{
    outq_reset(&f->out);
    if (chunked)
        outq_add(&f->out, (struct str){f->chunk_size, chunk_line(f->chunk_size, slice.n)});
    outq_add(&f->out, slice);
    if (chunked)
        outq_add(&f->out, STR("\r\n"));
}

void fetch_end_body(struct fetch *f, bool chunked)
{
    f->stream_ended = true;
    outq_reset(&f->out);
    if (chunked)
        outq_add(&f->out, CHUNK_LAST);
}

static enum fetch_body want_more(struct fetch *f)
{
    struct exchange *x = exchange_of(f);
    if (x->closed && f->head.framing == HTTP_BODY_UNTIL_CLOSE)
        return f->state = FETCH_OVER, FETCH_END;
    if (x->closed || late(f, f->progress_at, f->limits.body, f->host->loop->now)) {
        fetch_fails(f, x->closed ? FETCH_FAILED_CUT : FETCH_FAILED_BODY_TIMEOUT);
        return FETCH_BROKEN;
    }
    return FETCH_WAIT;
}

static enum fetch_body next_chunk(struct fetch *f, struct str *slice)
{
    struct exchange *x = exchange_of(f);
    for (;;) {
        size_t used = 0;
        if (f->slice_left)
            return *slice = (struct str){x->answer.p + x->at, f->slice_left}, FETCH_SLICE;
        if (x->answer.n == x->at)
            return want_more(f);
        switch (chunk_decode(&f->chunk, (struct str){x->answer.p + x->at, x->answer.n - x->at}, &used, slice)) {
        case CHUNK_DATA:
            x->at += used - slice->n;
            f->slice_left = slice->n;
            return FETCH_SLICE;
        case CHUNK_MORE:
            x->at += used;
            continue;
        case CHUNK_END:
            x->at += used;
            return f->state = FETCH_OVER, FETCH_END;
        case CHUNK_BAD:
            fetch_fails(f, FETCH_FAILED_BAD_ANSWER);
            return FETCH_BROKEN;
        }
    }
}

enum fetch_body fetch_body(struct fetch *f, struct str *slice)
{
    struct exchange *x = exchange_of(f);
    if (f->state == FETCH_OVER)
        return FETCH_END;
    if (f->state != FETCH_ANSWERING)
        return FETCH_BROKEN;
    if (f->head.framing == HTTP_BODY_CHUNKED)
        return next_chunk(f, slice);
    *slice = (struct str){x->answer.p + x->at, x->answer.n - x->at};
    if (!slice->n)
        return want_more(f);
    if (f->head.framing == HTTP_BODY_LENGTH && slice->n > f->body_left)
        slice->n = (size_t)f->body_left;
    return FETCH_SLICE;
}

void fetch_body_used(struct fetch *f, size_t n)
{
    exchange_of(f)->at += n;
    f->progress_at = f->host->loop->now;
    if (f->head.framing == HTTP_BODY_CHUNKED) {
        f->slice_left -= n;
    } else if (f->head.framing == HTTP_BODY_LENGTH) {
        f->body_left -= n;
        if (!f->body_left)
            f->state = FETCH_OVER;
    }
}

enum fetch_body fetch_body_whole(struct fetch *f, struct str *whole)
{
    struct exchange *x = exchange_of(f);
    if (f->state == FETCH_OVER)
        return *whole = STR(""), FETCH_END;
    assert_int_equal(f->head.framing, HTTP_BODY_LENGTH);
    if (x->answer.n - x->at < f->body_left)
        return want_more(f);
    *whole = (struct str){x->answer.p + x->at, (size_t)f->body_left};
    return FETCH_END;
}

void fetch_finish(struct fetch *f)
{
    struct exchange *x = exchange_of(f);
    if (x && x->fetch) {
        x->reused = f->state == FETCH_OVER && f->all_sent && f->head.keep_alive && f->head.framing != HTTP_BODY_UNTIL_CLOSE;
        x->fetch = NULL;
        free(x->answer.p); /* the connection's buffer */
        x->answer = (struct text){0};
        stage_event(x->stage, x->reused ? "given back" : "closed");
    }
    f->pool = NULL;
    if (f->state != FETCH_FAILED)
        f->state = FETCH_OVER;
}
