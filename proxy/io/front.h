/* front.h - client connections of one worker: accepted sockets, heads, bodies, deadlines, orderly ends.
 * front knows HTTP's framing and nothing of what a request means; it hands each request to its owner (engine/tx.c) and gets the
 * connection back by client_next or client_abort. Callbacks of the loop receive bytes, record, and wake the owner's task. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/list.h"
#include "http/chunk.h"
#include "http/head.h"
#include "io/loop.h"
#include "io/outq.h"
#include "io/rbuf.h"

struct front;
struct client;

struct front_limits { /* microseconds */
    uint64_t head, body, write, keep_alive;
};

struct front_hooks {
    /* A whole head has come; the client is the owner's until client_next or client_abort. `head` is scratch: take it with client_take_head. */
    void (*request)(struct client *, const struct http_head *head, void *arg);
    /* A head was refused: the owner answers and closes. */
    void (*refused)(struct client *, const struct http_refusal *, void *arg);
    bool (*admit)(void *arg);         /* may one more be opened? If so it is counted: count(-1) gives it back */
    void (*count)(int by, void *arg); /* connections opened (+1) and closed (-1) */
    void *arg;
};

enum client_state {
    CLIENT_IDLE,   /* between requests: keep-alive deadline */
    CLIENT_HEAD,   /* part of a head is there: head deadline */
    CLIENT_BUSY,   /* a request is with its owner */
    CLIENT_LINGER, /* answered and shut down; reads what still comes, so that no reset destroys the answer */
};

struct client {
    struct link link;
    struct front *front;
    int fd;
    enum client_state state;
    bool reading, writing;        /* which events are armed */
    bool eof, dead, late;         /* said to the owner: hung up; socket failed; a client's deadline has passed */
    struct event read_event, write_event;
    struct rbuf in;
    size_t scanned;
    struct timer timer;
    struct task work;             /* the next pipelined request, outside of anybody's call */
    struct task *owner;           /* woken on each event while CLIENT_BUSY */
    enum http_framing framing;    /* of the request's body */
    uint64_t body_left;           /* HTTP_BODY_LENGTH */
    size_t slice_left;            /* HTTP_BODY_CHUNKED: decoded and not used yet */
    struct chunk_decoder chunk;
    bool body_done, body_bad, must_continue, waits_for_body;
    bool looks;                   /* the timer is for looking whether it has hung up, no deadline */
    uint64_t n_requests, linger_until; /* when lingering ends at the latest */
    size_t linger_bytes;
    struct sockaddr_storage peer;
    char peer_text[64];           /* "127.0.0.1", "::1" or "unix" */
};

struct front {
    struct loop *loop;
    struct front_limits limits;
    struct front_hooks hooks;
    struct rbuf_pool buffers;
    struct list clients;
    bool draining;                /* no further request on any connection */
    struct http_head scratch;
};

void front_init(struct front *, struct loop *, const struct front_hooks *);
void front_fini(struct front *); /* closes what is left */
void front_accept(struct front *, int fd, const struct sockaddr *, socklen_t); /* takes fd */
void front_drain(struct front *); /* idle connections close now, busy ones and those with a request in the socket after their answer */

/* Copies the head's bytes and slices to memory of the caller's: `bytes` has room for head->raw.n. Then the input is free to move. */
void client_take_head(struct client *, const struct http_head *from, char *bytes, struct http_head *to);

enum body_result { BODY_SLICE, BODY_WAIT, BODY_END, BODY_BROKEN };

/* The next piece of the request's body, decoded; stays valid until client_body_used. BODY_WAIT: the owner is woken when there is more.
 * Sends "100 Continue" when it is asked to wait for a body whose client waits for that. */
enum body_result client_body(struct client *, struct str *slice);
void client_body_used(struct client *, size_t n);

/* A body with a length can be held in place: asks for room for all of it, then BODY_END comes with the whole body as *slice.
 * BODY_WAIT until then. Only for HTTP_BODY_LENGTH; the caller has checked the length against its ceiling. */
enum body_result client_body_whole(struct client *, struct str *whole);

/* Sends; OUT_AGAIN arms the write deadline and wakes the owner when there is room. */
enum out_result client_send(struct client *, struct outq *);

/* Bytes that were received and not used yet. */
static inline size_t client_received(const struct client *c)
{
    return c->in.end - c->in.start;
}

/* Is the whole of the request's body here, used or not? */
bool client_body_came(const struct client *);

/* The answer is out. Goes on with the next request, or closes in order if keep is false or the request's body was not read to its end. */
void client_next(struct client **, bool keep);
void client_abort(struct client **); /* at once and visibly: a reset */

const char *client_peer_text(struct client *);
