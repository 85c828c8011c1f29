#include "io/front.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/mem.h"

enum {
    LINGER_BYTES = 64 << 20,  /* how much of an unwanted body is read away after an answer */
};
#define LOOK_USEC (500 * MSEC) /* how often one is asked whether it has hung up behind what it pipelined */
#define LINGER_USEC (2 * SEC)       /* without a byte */
#define LINGER_MOST_USEC (10 * SEC) /* in all */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_late(void *arg);
static void work(struct task *task);

void front_init(struct front *f, struct loop *loop, const struct front_hooks *hooks)
{
    f->loop = loop;
    f->hooks = *hooks;
    f->buffers = (struct rbuf_pool){0};
    f->draining = false;
    list_init(&f->clients);
}

static void client_free(struct client *c)
{
    struct front *f = c->front;
    event_del(&c->read_event);
    event_del(&c->write_event);
    timer_fini(&c->timer);
    loop_unwake(f->loop, &c->work);
    rbuf_drop(&c->in);
    close(c->fd);
    list_remove(&f->clients, &c->link);
    free(c);
    f->hooks.count(-1, f->hooks.arg);
}

void front_fini(struct front *f)
{
    struct link *k;
    while ((k = list_first(&f->clients)))
        client_free(LIST_OF(client, link, k));
    rbuf_pool_fini(&f->buffers);
}

static void set_reading(struct client *c, bool on)
{
    if (c->reading == on)
        return;
    c->reading = on;
    ensure((on ? event_add(&c->read_event, NULL) : event_del(&c->read_event)) == 0);
}

static void set_writing(struct client *c, bool on)
{
    if (c->writing == on)
        return;
    c->writing = on;
    ensure((on ? event_add(&c->write_event, NULL) : event_del(&c->write_event)) == 0);
}

void front_accept(struct front *f, int fd, const struct sockaddr *address, socklen_t n)
{
    if (f->draining || !f->hooks.admit(f->hooks.arg)) {
        close(fd);
        return;
    }
    struct client *c = mem_zalloc(sizeof *c);
    c->front = f;
    c->fd = fd;
    c->in.pool = &f->buffers;
    c->work.run = work;
    memcpy(&c->peer, address, n < sizeof c->peer ? n : sizeof c->peer);
    if (address->sa_family != AF_UNIX) {
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    ensure(event_assign(&c->read_event, f->loop->base, fd, EV_READ | EV_PERSIST, on_readable, c) == 0);
    ensure(event_assign(&c->write_event, f->loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, c) == 0);
    timer_init(&c->timer, f->loop, on_late, c);
    loop_touch(f->loop);
    timer_set(&c->timer, f->loop->now + f->limits.head); /* who connects and says nothing has a head's time */
    list_push(&f->clients, &c->link);
    f->hooks.count(1, f->hooks.arg);
    set_reading(c, true);
}

void front_drain(struct front *f)
{
    f->draining = true;
    for (struct link *k = list_first(&f->clients), *next; k; k = next) {
        next = list_next(&f->clients, k);
        struct client *c = LIST_OF(client, link, k);
        char byte;
        if (c->state == CLIENT_HEAD) /* half a head is nothing that runs */
            client_free(c);
        else if (c->state == CLIENT_IDLE && c->in.end == c->in.start && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) <= 0)
            client_free(c);
    }
}

static void wake_owner(struct client *c)
{
    if (c->owner)
        loop_wake(c->front->loop, c->owner);
}

/* What the kernel took of a lingering connection is thrown away; true while it may go on. */
static bool linger(struct client *c, enum rbuf_result got)
{
    if (got != RBUF_GOT && got != RBUF_AGAIN)
        return false;
    uint64_t until = c->front->loop->now + LINGER_USEC;
    c->linger_bytes += c->in.end - c->in.start;
    rbuf_drop(&c->in);
    timer_set(&c->timer, until < c->linger_until ? until : c->linger_until);
    return c->linger_bytes <= LINGER_BYTES;
}

/* Bytes that wait in the kernel hide an end behind them from recv, and to have the loop watch for it costs a turn for each of them. */
static void look_behind(struct client *c)
{
    struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
    poll(&p, 1, 0);
    c->dead = p.revents & (POLLERR | POLLHUP);
    c->eof = (p.revents & POLLRDHUP) && client_body_came(c); /* the rest of a body is read before its end is */
    c->looks = !c->dead && !c->eof;
    if (c->looks)
        timer_set(&c->timer, c->front->loop->now + LOOK_USEC);
    else
        wake_owner(c);
}

/* While a request is with its owner nothing is received: pipelined requests wait in the kernel. But a hang-up is seen at once, or soon. */
static void watch_hang_up(struct client *c)
{
    char byte;
    ssize_t n = recv(c->fd, &byte, 1, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    set_reading(c, false);
    c->eof = n == 0;
    c->dead = n < 0;
    if (n <= 0)
        wake_owner(c);
    else if (!c->writing) /* who is being written to shows it there */
        look_behind(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    bool drained = true;
    (void)what;
    loop_touch(c->front->loop);
    if (c->state == CLIENT_BUSY && !c->waits_for_body) {
        watch_hang_up(c);
        return;
    }
    enum rbuf_result got = rbuf_recv(&c->in, (int)fd, &drained);
    if (c->state == CLIENT_LINGER) {
        if (!linger(c, got))
            client_free(c);
        return;
    }
    switch (got) {
    case RBUF_GOT:
        if (c->state == CLIENT_BUSY) {
            timer_set(&c->timer, c->front->loop->now + c->front->limits.body);
            wake_owner(c);
        } else {
            loop_wake(c->front->loop, &c->work);
        }
        return;
    case RBUF_AGAIN:
        return;
    case RBUF_FULL:
        set_reading(c, false);
        return;
    case RBUF_EOF:
        c->eof = true;
        break;
    case RBUF_ERROR:
        c->dead = true;
        break;
    }
    set_reading(c, false);
    if (c->state == CLIENT_BUSY)
        wake_owner(c);
    else
        client_free(c);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct client *c = arg;
    (void)fd, (void)what;
    set_writing(c, false);
    wake_owner(c);
}

static void refuse(struct client *c, unsigned status, const char *why)
{
    struct http_refusal refusal = {.status = status};
    strncpy(refusal.why, why, sizeof refusal.why - 1);
    c->state = CLIENT_BUSY;
    c->body_done = false;
    c->framing = HTTP_BODY_UNTIL_CLOSE; /* whatever follows cannot be told apart */
    timer_set(&c->timer, NEVER);
    c->front->hooks.refused(c, &refusal, c->front->hooks.arg);
}

static void on_late(void *arg)
{
    struct client *c = arg;
    switch (c->state) {
    case CLIENT_HEAD:
        refuse(c, 408, "the request's head did not arrive in time");
        return;
    case CLIENT_BUSY:
        if (c->looks) {
            look_behind(c);
            return;
        }
        c->late = true;
        wake_owner(c);
        return;
    case CLIENT_IDLE:
    case CLIENT_LINGER:
        client_free(c);
        return;
    }
}

static void begin_body(struct client *c, const struct http_head *head)
{
    c->framing = head->framing;
    c->body_left = head->framing == HTTP_BODY_LENGTH ? head->length : 0;
    c->body_bad = false;
    c->must_continue = head->expect_continue;
    c->waits_for_body = false;
    c->slice_left = 0;
    c->body_done = head->framing == HTTP_BODY_NONE || (head->framing == HTTP_BODY_LENGTH && head->length == 0);
    if (head->framing == HTTP_BODY_CHUNKED)
        chunk_init(&c->chunk);
}

/* Looks for the next request in what was received. */
static void work(struct task *task)
{
    struct client *c = LIST_OF(client, work, task);
    struct front *f = c->front;
    struct str bytes = rbuf_bytes(&c->in);
    struct http_refusal refusal;
    size_t head_n = 0;
    if (c->state != CLIENT_IDLE && c->state != CLIENT_HEAD)
        return;
    if (bytes.n == 0) {
        if (f->draining)
            client_free(c);
        return;
    }
    if (c->state == CLIENT_IDLE) {
        c->state = CLIENT_HEAD;
        timer_set(&c->timer, f->loop->now + f->limits.head);
    }
    switch (http_parse_request(bytes.p, bytes.n, &c->scanned, &f->scratch, &head_n, &refusal)) {
    case HTTP_MORE:
        set_reading(c, true);
        return;
    case HTTP_REFUSED:
        refuse(c, refusal.status, refusal.why);
        return;
    case HTTP_DONE:
        break;
    }
    c->state = CLIENT_BUSY;
    c->scanned = 0;
    c->n_requests++;
    c->in.start += head_n; /* its memory stays: the owner takes the head before anything else is received */
    begin_body(c, &f->scratch);
    timer_set(&c->timer, NEVER);
    f->hooks.request(c, &f->scratch, f->hooks.arg);
}

void client_take_head(struct client *c, const struct http_head *from, char *bytes, struct http_head *to)
{
    http_head_copy(to, from, bytes);
    if (c->in.start == c->in.end)
        rbuf_drop(&c->in);
}

/* The owner wants more of the body than there is. */
static enum body_result wait_for_body(struct client *c)
{
    if (c->eof || c->dead || c->late)
        return BODY_BROKEN;
    if (c->must_continue) {
        struct outq q = {0};
        size_t moved;
        c->must_continue = false;
        outq_add(&q, STR("HTTP/1.1 100 Continue\r\n\r\n"));
        if (outq_send(&q, c->fd, &moved) != OUT_SENT && moved) { /* a part of it would spoil the answer */
            c->dead = true;
            return BODY_BROKEN;
        } /* nothing went, so the socket is full of earlier answers: the client does not wait for these 25 bytes */
    }
    if (!c->waits_for_body) {
        c->waits_for_body = true;
        c->looks = false;
        timer_set(&c->timer, c->front->loop->now + c->front->limits.body);
    }
    set_reading(c, true);
    return BODY_WAIT;
}

static void waited_for_body(struct client *c)
{
    if (c->waits_for_body)
        timer_set(&c->timer, NEVER);
    c->waits_for_body = false;
}

static void body_over(struct client *c)
{
    c->body_done = true;
    c->must_continue = false;
    waited_for_body(c);
}

static enum body_result next_chunk(struct client *c, struct str *slice)
{
    for (;;) {
        struct str bytes = rbuf_bytes(&c->in);
        size_t used = 0;
        if (c->slice_left) { /* decoded, not all used yet */
            *slice = (struct str){bytes.p, c->slice_left};
            return BODY_SLICE;
        }
        if (bytes.n == 0)
            return wait_for_body(c);
        switch (chunk_decode(&c->chunk, bytes, &used, slice)) {
        case CHUNK_DATA:
            /* The slice stays in the buffer until it is used: what lies before it may go. */
            c->in.start += used - slice->n;
            c->slice_left = slice->n;
            waited_for_body(c);
            return BODY_SLICE;
        case CHUNK_MORE:
            rbuf_consume(&c->in, used);
            continue;
        case CHUNK_END:
            rbuf_consume(&c->in, used);
            body_over(c);
            return BODY_END;
        case CHUNK_BAD:
            c->body_bad = true;
            return BODY_BROKEN;
        }
    }
}

enum body_result client_body(struct client *c, struct str *slice)
{
    if (c->body_done)
        return BODY_END;
    if (c->body_bad)
        return BODY_BROKEN;
    if (c->framing == HTTP_BODY_CHUNKED)
        return next_chunk(c, slice);
    *slice = rbuf_bytes(&c->in);
    if (slice->n == 0)
        return wait_for_body(c);
    if (slice->n > c->body_left)
        slice->n = c->body_left;
    waited_for_body(c);
    return BODY_SLICE;
}

void client_body_used(struct client *c, size_t n)
{
    rbuf_consume(&c->in, n);
    if (c->framing == HTTP_BODY_LENGTH) {
        c->body_left -= n;
        if (c->body_left == 0)
            body_over(c);
    } else {
        c->slice_left -= n;
    }
}

enum body_result client_body_whole(struct client *c, struct str *whole)
{
    size_t n = (size_t)c->body_left;
    ensure(c->framing == HTTP_BODY_LENGTH);
    if (c->in.end - c->in.start < n) {
        rbuf_reserve(&c->in, n);
        return wait_for_body(c);
    }
    *whole = (struct str){c->in.base + c->in.start, n};
    waited_for_body(c);
    c->must_continue = false;
    return BODY_END;
}

enum out_result client_send(struct client *c, struct outq *q)
{
    size_t n;
    if (c->dead)
        return OUT_DEAD;
    waited_for_body(c); /* an answer goes out: nobody waits for the rest of the request */
    c->looks = false;
    enum out_result result = outq_send(q, c->fd, &n);
    if (result == OUT_AGAIN) {
        if (n || !c->writing)
            timer_set(&c->timer, c->front->loop->now + c->front->limits.write);
        set_writing(c, true);
    } else if (c->writing || c->timer.due != NEVER) {
        set_writing(c, false);
        timer_set(&c->timer, NEVER);
    }
    return result;
}

static void close_in_order(struct client *c)
{
    c->state = CLIENT_LINGER;
    c->linger_bytes = 0;
    rbuf_drop(&c->in);
    if (c->eof || c->dead || shutdown(c->fd, SHUT_WR) != 0) {
        client_free(c);
        return;
    }
    set_writing(c, false);
    set_reading(c, true);
    c->linger_until = c->front->loop->now + LINGER_MOST_USEC;
    timer_set(&c->timer, c->front->loop->now + LINGER_USEC);
}

bool client_body_came(const struct client *c)
{
    return c->body_done || (c->framing == HTTP_BODY_LENGTH && c->in.end - c->in.start >= c->body_left);
}

void client_next(struct client **slot, bool keep)
{
    struct client *c = *slot;
    *slot = NULL;
    c->owner = NULL;
    if (!c->body_done && client_body_came(c)) {
        rbuf_consume(&c->in, (size_t)c->body_left); /* a held body was answered from its place */
        c->body_done = true;
    }
    /* Who has shut down its side is taken to have hung up: what it pipelined behind is not answered. */
    if (!keep || !c->body_done || c->dead || c->eof || c->front->draining) {
        close_in_order(c);
        return;
    }
    c->state = CLIENT_IDLE;
    c->scanned = 0;
    c->late = c->looks = false;
    timer_set(&c->timer, c->front->loop->now + c->front->limits.keep_alive);
    set_reading(c, true);
    if (c->in.start != c->in.end)
        loop_wake(c->front->loop, &c->work);
}

void client_abort(struct client **slot)
{
    struct client *c = *slot;
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    *slot = NULL;
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    client_free(c);
}

const char *client_peer_text(struct client *c)
{
    if (c->peer_text[0])
        return c->peer_text;
    const void *at = NULL;
    if (c->peer.ss_family == AF_INET)
        at = &((struct sockaddr_in *)&c->peer)->sin_addr;
    else if (c->peer.ss_family == AF_INET6)
        at = &((struct sockaddr_in6 *)&c->peer)->sin6_addr;
    if (!at || !inet_ntop(c->peer.ss_family, at, c->peer_text, sizeof c->peer_text))
        strcpy(c->peer_text, "unix");
    return c->peer_text;
}
