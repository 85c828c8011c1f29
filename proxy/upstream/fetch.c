#include "upstream/fetch.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/ensure.h"

enum { CONNECT_TRIES = 3 };

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

void fetch_init(struct fetch *f, struct pool_host *host, struct arena *arena, struct task *owner)
{
    f->host = host;
    f->arena = arena;
    f->owner = owner;
    f->state = FETCH_IDLE;
    f->failure = FETCH_FAILED_NONE;
    f->conn = NULL;
    f->chosen = NULL;
    f->pool = NULL;
    f->wait = (struct pool_wait){0};
    f->may_retry = f->retried = f->streams = f->stream_ended = f->any_sent = f->all_sent = f->head_method = false;
    f->n_connect_failures = 0;
    f->started = f->slot_at = f->connected_at = f->sent_at = f->first_byte_at = f->progress_at = 0;
    f->scanned = f->slice_left = 0;
    f->body_left = 0;
    f->head.n_fields = 0;
    f->head.status = 0;
    outq_reset(&f->out);
}

static enum fetch_state fail(struct fetch *f, enum fetch_failure why)
{
    f->failure = why;
    f->state = FETCH_FAILED;
    if (f->conn)
        pool_release(&f->conn, CONN_CLOSE);
    else if (f->pool)
        pool_leave(f->pool, &f->wait);
    switch (why) {
    case FETCH_FAILED_BAD_ANSWER:
        metrics_add(f->host->metrics, M_UPSTREAM_BAD_ANSWERS, 1);
        break;
    case FETCH_FAILED_CONNECT_TIMEOUT:
    case FETCH_FAILED_SEND_TIMEOUT:
    case FETCH_FAILED_FIRST_BYTE:
    case FETCH_FAILED_BODY_TIMEOUT:
        metrics_add(f->host->metrics, M_UPSTREAM_TIMEOUTS, 1);
        break;
    default:
        break;
    }
    return FETCH_FAILED;
}

/* The least loaded server that is not known to be down; all down: the least loaded. Ties go round by worker and time. */
static struct slots *choose(const struct fetch *f, uint64_t now)
{
    struct slots *best = NULL;
    unsigned best_load = 0;
    unsigned turn = (unsigned)(now >> 4) + f->host->worker;
    for (unsigned i = 0; i < f->n_slots; i++) {
        struct slots *s = f->slots[(i + turn) % f->n_slots];
        unsigned load = atomic_load_explicit(&s->n_open, memory_order_relaxed);
        load -= atomic_load_explicit(&s->worker[f->host->worker].n_idle, memory_order_relaxed);
        if (peer_is_down(s->peer, now))
            load += 1u << 24;
        if (!best || load < best_load) {
            best = s;
            best_load = load;
        }
    }
    return best;
}

static void queue_out(struct fetch *f)
{
    outq_reset(&f->out);
    for (unsigned i = 0; i < f->n_parts; i++)
        outq_add(&f->out, f->part[i]);
}

static enum fetch_state ask(struct fetch *f, uint64_t now, bool fresh)
{
    f->chosen = f->n_slots == 1 ? f->slots[0] : choose(f, now);
    f->pool = pool_of(f->host, f->chosen);
    switch (pool_ask(f->pool, &f->wait, f->queue_max, fresh, f->owner)) {
    case POOL_LENT:
    case POOL_WAIT:
        return f->state = FETCH_QUEUED;
    case POOL_FULL:
        metrics_model_add(f->host->metrics, f->chosen->metrics_id, MM_QUEUE_FULL, 1);
        return fail(f, FETCH_FAILED_QUEUE_FULL);
    case POOL_FAILED:
        break;
    }
    return fail(f, peer_n_addresses(f->chosen->peer) ? FETCH_FAILED_CONNECT : FETCH_FAILED_UNRESOLVED);
}

void fetch_start(struct fetch *f, struct slots *const *slots, unsigned n_slots, unsigned queue_max, struct str *part, unsigned n,
                 bool streams, bool head_method)
{
    ensure(n <= OUTQ_MAX && n_slots > 0);
    f->slots = slots;
    f->n_slots = n_slots;
    f->queue_max = queue_max;
    f->part = part;
    f->n_parts = n;
    f->streams = streams;
    f->head_method = head_method;
    f->started = f->host->loop->now;
    ask(f, f->started, false);
}

/* A write must not go into a connection that the server has just closed: one look into the socket tells, and writes are rare. */
static bool surely_open(const struct uconn *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

static enum fetch_state step_queued(struct fetch *f, uint64_t now)
{
    if (f->wait.failed)
        return fail(f, peer_n_addresses(f->chosen->peer) ? FETCH_FAILED_CONNECT : FETCH_FAILED_UNRESOLVED);
    if (!f->wait.conn) {
        if (f->limits.queue && now >= f->started + f->limits.queue) {
            metrics_model_add(f->host->metrics, f->chosen->metrics_id, MM_QUEUE_TIMEOUT, 1);
            return fail(f, FETCH_FAILED_QUEUE_TIMEOUT);
        }
        return f->state;
    }
    f->conn = f->wait.conn;
    f->wait.conn = NULL;
    if (!f->may_retry && !f->conn->connecting && !surely_open(f->conn)) {
        pool_release(&f->conn, CONN_CLOSE);
        return ask(f, now, false);
    }
    if (!f->slot_at) {
        f->slot_at = now;
        metrics_model_hist(f->host->metrics, f->chosen->metrics_id, MH_QUEUE_WAIT, now - f->started);
    }
    f->progress_at = now;
    queue_out(f);
    return f->state = FETCH_CONNECTING;
}

static enum fetch_state step_connecting(struct fetch *f, uint64_t now)
{
    if (uconn_connected(f->conn)) {
        f->connected_at = f->progress_at = now;
        return f->state = FETCH_SENDING;
    }
    bool late = f->limits.connect && now >= f->conn->since + f->limits.connect;
    if (!f->conn->dead && !late)
        return f->state;
    metrics_add(f->host->metrics, M_UPSTREAM_CONNECT_FAILURES, 1);
    peer_failed(f->chosen->peer, now);
    unsigned choices = f->n_slots + peer_n_addresses(f->chosen->peer) - 1;
    if (++f->n_connect_failures < CONNECT_TRIES && f->n_connect_failures < choices) {
        pool_release(&f->conn, CONN_CLOSE); /* nothing was sent: another address or another server may have it */
        return ask(f, now, false);
    }
    return fail(f, late ? FETCH_FAILED_CONNECT_TIMEOUT : FETCH_FAILED_CONNECT);
}

static bool fetch_replayable(const struct fetch *f)
{
    return f->may_retry && !f->retried && !f->streams && f->conn->n_served > 0 && !f->first_byte_at;
}

/* The connection ended before the answer's head was there. */
static enum fetch_state died(struct fetch *f, uint64_t now)
{
    peer_doubt(f->chosen->peer);
    if (!fetch_replayable(f))
        return fail(f, f->conn->in.end == f->conn->in.start ? FETCH_FAILED_DIED : FETCH_FAILED_CUT);
    f->retried = true;
    f->any_sent = f->all_sent = false;
    f->scanned = 0;
    pool_release(&f->conn, CONN_CLOSE);
    metrics_add(f->host->metrics, M_UPSTREAM_RETRIES, 1);
    return ask(f, now, true);
}

static bool send_some(struct fetch *f, uint64_t now)
{
    size_t moved = 0;
    if (!f->out.left)
        return true;
    enum out_result result = outq_send(&f->out, f->conn->fd, &moved);
    if (moved) {
        f->any_sent = true;
        f->progress_at = now;
        metrics_add(f->host->metrics, M_UPSTREAM_BYTES_OUT, moved);
    }
    uconn_want_write(f->conn, result == OUT_AGAIN);
    if (result == OUT_DEAD) { /* the answer may be there all the same: what was received decides */
        outq_reset(&f->out);
        f->stream_ended = true;
        uconn_died(f->conn);
    }
    return result != OUT_AGAIN;
}

static enum fetch_state step_sending(struct fetch *f, uint64_t now)
{
    bool flushed = send_some(f, now);
    if (f->conn->dead || f->conn->eof)
        return f->state = FETCH_WAITING;
    if (flushed && (!f->streams || f->stream_ended)) {
        f->all_sent = true;
        f->sent_at = f->progress_at = now;
        loop_expect(f->host->loop, f->conn->pool->usual);
        return f->state = FETCH_WAITING;
    }
    if (f->conn->in.end != f->conn->in.start) /* an answer before the request was out */
        return f->state = FETCH_WAITING;
    if (!flushed && f->limits.body && now >= f->progress_at + f->limits.body)
        return fail(f, FETCH_FAILED_SEND_TIMEOUT);
    return f->state;
}

static void begin_body(struct fetch *f)
{
    f->body_left = f->head.length;
    if (f->head.framing == HTTP_BODY_CHUNKED)
        chunk_init(&f->chunk);
    f->state = f->head.framing == HTTP_BODY_NONE || (f->head.framing == HTTP_BODY_LENGTH && !f->body_left) ? FETCH_OVER
                                                                                                           : FETCH_ANSWERING;
}

static void note_usual(struct pool *pool, uint64_t usec)
{
    pool->usual = pool->usual ? (7 * pool->usual + usec) / 8 : usec;
}

static enum fetch_state step_waiting(struct fetch *f, uint64_t now)
{
    struct http_head *seen = &f->host->scratch;
    for (;;) {
        struct str bytes = rbuf_bytes(&f->conn->in);
        size_t head_n = 0;
        enum http_result result = bytes.n ? http_parse_response(bytes.p, bytes.n, &f->scanned, f->head_method, seen, &head_n,
                                                                &f->refusal)
                                          : HTTP_MORE;
        if (bytes.n && !f->first_byte_at) {
            f->first_byte_at = now;
            metrics_model_hist(f->host->metrics, f->chosen->metrics_id, MH_FIRST_BYTE, now - f->connected_at);
            if (f->all_sent)
                note_usual(f->conn->pool, now - f->sent_at);
        }
        if (result == HTTP_REFUSED)
            return fail(f, FETCH_FAILED_BAD_ANSWER);
        if (result == HTTP_DONE && seen->status < 200) { /* an interim answer: ours to swallow */
            rbuf_consume(&f->conn->in, head_n);
            f->scanned = 0;
            continue;
        }
        if (result == HTTP_DONE) {
            http_head_copy(&f->head, seen, arena_alloc(f->arena, seen->raw.n));
            rbuf_consume(&f->conn->in, head_n);
            f->progress_at = now;
            begin_body(f);
            return f->state;
        }
        break;
    }
    if (f->conn->eof || f->conn->dead)
        return died(f, now);
    if (!f->all_sent) { /* part of an answer came early: go on sending meanwhile */
        if (f->conn->in.end == f->conn->in.start)
            return f->state = FETCH_SENDING;
        send_some(f, now);
    }
    if (f->limits.first_byte && now >= f->progress_at + f->limits.first_byte)
        return fail(f, FETCH_FAILED_FIRST_BYTE);
    return f->state;
}

enum fetch_state fetch_run(struct fetch *f, uint64_t now)
{
    for (;;) {
        enum fetch_state was = f->state;
        switch (was) {
        case FETCH_QUEUED:
            step_queued(f, now);
            break;
        case FETCH_CONNECTING:
            step_connecting(f, now);
            break;
        case FETCH_SENDING:
            step_sending(f, now);
            break;
        case FETCH_WAITING:
            step_waiting(f, now);
            break;
        case FETCH_IDLE:
        case FETCH_ANSWERING:
        case FETCH_OVER:
        case FETCH_FAILED:
            return was;
        }
        if (f->state == was && !(was == FETCH_QUEUED && f->wait.conn))
            return was;
    }
}

static uint64_t after(uint64_t since, uint64_t limit)
{
    return limit ? since + limit : NEVER;
}

uint64_t fetch_deadline(const struct fetch *f)
{
    switch (f->state) {
    case FETCH_QUEUED:
        return after(f->started, f->limits.queue);
    case FETCH_CONNECTING:
        return after(f->conn->since, f->limits.connect);
    case FETCH_SENDING:
        return f->out.left ? after(f->progress_at, f->limits.body) : NEVER;
    case FETCH_WAITING:
        return after(f->progress_at, f->limits.first_byte);
    case FETCH_ANSWERING:
        return after(f->progress_at, f->limits.body);
    case FETCH_IDLE:
    case FETCH_OVER:
    case FETCH_FAILED:
        break;
    }
    return NEVER;
}

bool fetch_takes_body(const struct fetch *f)
{
    return f->state == FETCH_SENDING && !f->out.left && !f->stream_ended;
}

bool fetch_sent(const struct fetch *f)
{
    return f->out.left == 0;
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

/* Nothing is there to decode: wait for more, or see that no more will come. */
static enum fetch_body want_more(struct fetch *f)
{
    uint64_t now = f->host->loop->now;
    if (f->conn->eof || f->conn->dead) {
        if (f->head.framing == HTTP_BODY_UNTIL_CLOSE && f->conn->eof) {
            f->state = FETCH_OVER;
            return FETCH_END;
        }
        peer_doubt(f->chosen->peer);
        fail(f, FETCH_FAILED_CUT);
        return FETCH_BROKEN;
    }
    if (f->limits.body && now >= f->progress_at + f->limits.body) {
        fail(f, FETCH_FAILED_BODY_TIMEOUT);
        return FETCH_BROKEN;
    }
    uconn_resume_read(f->conn);
    return FETCH_WAIT;
}

static enum fetch_body next_chunk(struct fetch *f, struct str *slice)
{
    for (;;) {
        struct str bytes = rbuf_bytes(&f->conn->in);
        size_t used = 0;
        if (f->slice_left) {
            *slice = (struct str){bytes.p, f->slice_left};
            return FETCH_SLICE;
        }
        if (!bytes.n)
            return want_more(f);
        switch (chunk_decode(&f->chunk, bytes, &used, slice)) {
        case CHUNK_DATA:
            f->conn->in.start += used - slice->n;
            f->slice_left = slice->n;
            return FETCH_SLICE;
        case CHUNK_MORE:
            rbuf_consume(&f->conn->in, used);
            continue;
        case CHUNK_END:
            rbuf_consume(&f->conn->in, used);
            f->state = FETCH_OVER;
            return FETCH_END;
        case CHUNK_BAD:
            strcpy(f->refusal.why, "the answer's chunked body is malformed");
            fail(f, FETCH_FAILED_BAD_ANSWER);
            return FETCH_BROKEN;
        }
    }
}

enum fetch_body fetch_body(struct fetch *f, struct str *slice)
{
    if (f->state == FETCH_OVER)
        return FETCH_END;
    if (f->state != FETCH_ANSWERING)
        return FETCH_BROKEN;
    if (f->head.framing == HTTP_BODY_CHUNKED)
        return next_chunk(f, slice);
    *slice = rbuf_bytes(&f->conn->in);
    if (!slice->n)
        return want_more(f);
    if (f->head.framing == HTTP_BODY_LENGTH && slice->n > f->body_left)
        slice->n = (size_t)f->body_left;
    return FETCH_SLICE;
}

void fetch_body_used(struct fetch *f, size_t n)
{
    rbuf_consume(&f->conn->in, n);
    f->progress_at = f->host->loop->now;
    metrics_add(f->host->metrics, M_UPSTREAM_BYTES_IN, n);
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
    if (f->state == FETCH_OVER) {
        *whole = STR("");
        return FETCH_END;
    }
    ensure(f->head.framing == HTTP_BODY_LENGTH);
    size_t have = f->conn->in.end - f->conn->in.start;
    if (have < f->body_left) {
        rbuf_reserve(&f->conn->in, (size_t)f->body_left);
        if (have != f->slice_left) { /* progress since the last look */
            f->slice_left = have;
            f->progress_at = f->host->loop->now;
        }
        return want_more(f);
    }
    *whole = (struct str){f->conn->in.base + f->conn->in.start, (size_t)f->body_left};
    return FETCH_END;
}

void fetch_finish(struct fetch *f)
{
    if (f->conn) {
        bool clean = f->state == FETCH_OVER && f->all_sent && f->head.keep_alive && f->head.framing != HTTP_BODY_UNTIL_CLOSE;
        pool_release(&f->conn, clean ? CONN_REUSE : CONN_CLOSE);
    } else if (f->pool) {
        pool_leave(f->pool, &f->wait);
    }
    f->pool = NULL;
    if (f->state != FETCH_FAILED)
        f->state = FETCH_OVER;
}
