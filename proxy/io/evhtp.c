#include "io/evhtp.h"

#include <errno.h>
#include <evhtp.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/chunk.h"
#include "qdrant/reply.h"

static const struct timeval accept_pause = {.tv_usec = 100000};

/* ---- listening: shared by both uses ---- */

enum { SPARE_PART = 8, SPARE_MAX = 1024 }; /* one in so many descriptors is kept from clients, this many at most */

/* evhtp with a listening socket; accepting pauses when the process is out of descriptors. */
struct listening {
    evhtp_t *htp;
    struct event *pause;      /* runs while accepting pauses for want of descriptors */
    int fd_max;               /* it pauses as well when a new one would be greater: the lowest free one is what the kernel takes */
    struct metrics *metrics;
};

static void listening_pause(struct listening *l, const char *why)
{
    char quoted[128];
    evconnlistener_disable(l->htp->server);
    event_add(l->pause, &accept_pause);
    metrics_add(l->metrics, M_ACCEPT_PAUSES, 1);
    log_limited(LOG_LEVEL_WARN, clock_usec(), "accept_paused", "msec=100 error=%s",
                log_quote(quoted, sizeof quoted, str_of(why)));
}

static void listening_again(evutil_socket_t fd, short what, void *arg)
{
    struct listening *l = arg;
    int next = fcntl(evconnlistener_get_fd(l->htp->server), F_DUPFD_CLOEXEC, 0);
    bool room = next >= 0 && next <= l->fd_max;
    if (next >= 0)
        close(next);
    if (room)
        evconnlistener_enable(l->htp->server);
    else
        event_add(l->pause, &accept_pause);
}

/* libevent hands over the listener's argument, which is libevhtp's htp. */
static void listening_failed(struct evconnlistener *server, void *htp)
{
    listening_pause(((evhtp_t *)htp)->arg, strerror(errno));
}

static void listening_fini(struct listening *l)
{
    if (l->htp)
        evhtp_unbind_socket(l->htp);
    evhtp_free(l->htp);
    if (l->pause)
        event_free(l->pause);
}

static bool listening_init(struct listening *l, struct event_base *base, int fd, evhtp_post_accept_cb accepted,
                           void *arg, struct err *err)
{
    *l = (struct listening){.htp = evhtp_new(base, l), .fd_max = INT_MAX};
    l->pause = evtimer_new(base, listening_again, l);
    if (l->htp)
        evhtp_set_post_accept_cb(l->htp, accepted, arg);
    if (!l->htp || !l->pause || evhtp_accept_socket(l->htp, fd, 0) != 0) { /* 0: it listens already */
        close(fd);
        listening_fini(l);
        return err_set(err, "the event library cannot listen on descriptor %d", fd);
    }
    evhtp_set_bev_flags(l->htp, BEV_OPT_CLOSE_ON_FREE);
    evhtp_disable_flag(l->htp, EVHTP_FLAG_ENABLE_100_CONT);
    evconnlistener_set_error_cb(l->htp->server, listening_failed);
    return true;
}

/* ---- acceptor ---- */

struct acceptor {
    struct listening listening;
    void (*accepted)(int fd, const struct sockaddr *, socklen_t, void *arg);
    void *arg;
};

/* libevhtp keeps the address but not its length; a local client's address says nothing, so its family is
 * enough. */
static socklen_t address_length(const struct sockaddr *a)
{
    return a->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
           : a->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                      : sizeof(sa_family_t);
}

static void set_options(int fd, const struct sockaddr *address)
{
    int on = 1;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* What clients may have: were they to take all descriptors, none of them could be served, for there would be none to Qdrant. */
static int clients_fd_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    rlim_t spare = limit.rlim_cur / SPARE_PART;
    return (int)(limit.rlim_cur - (spare < SPARE_MAX ? spare : SPARE_MAX)) - 1;
}

/* Takes the socket away from libevhtp, which then frees its own part because of the result. */
static evhtp_res acceptor_take(evhtp_connection_t *conn, void *arg)
{
    struct acceptor *a = arg;
    struct bufferevent *bev = evhtp_connection_take_ownership(conn);
    int fd = bufferevent_getfd(bev);
    bufferevent_setfd(bev, -1);
    bufferevent_free(bev);
    set_options(fd, conn->saddr);
    a->accepted(fd, conn->saddr, address_length(conn->saddr), a->arg);
    if (fd >= a->listening.fd_max)
        listening_pause(&a->listening, "clients have all descriptors but those kept for Qdrant");
    return EVHTP_RES_ERROR;
}

struct acceptor *acceptor_open(struct event_base *base, int listen_fd, struct metrics *m,
                               void (*accepted)(int fd, const struct sockaddr *, socklen_t, void *arg), void *arg,
                               struct err *err)
{
    struct acceptor *a = mem_zalloc(sizeof *a);
    if (!listening_init(&a->listening, base, listen_fd, acceptor_take, a, err)) {
        free(a);
        return NULL;
    }
    a->listening.metrics = m;
    a->listening.fd_max = clients_fd_max();
    a->accepted = accepted;
    a->arg = arg;
    return a;
}

void acceptor_close(struct acceptor **closing)
{
    struct acceptor *a = *closing;
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    *closing = NULL;
    int listen_fd = evconnlistener_get_fd(a->listening.htp->server);
    for (int fd; (fd = accept4(listen_fd, (struct sockaddr *)&address, &n, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;
         n = sizeof address) {
        set_options(fd, (struct sockaddr *)&address);
        a->accepted(fd, (struct sockaddr *)&address, n, a->arg);
    }
    listening_fini(&a->listening);
    free(a);
}

/* ---- control port ---- */

enum {
    AHEAD_MAX = 64 * 1024,         /* bytes read ahead of an answer */
    SMALL_MAX = 64 * 1024,         /* a request of so many bytes never has to pay for the large ones of others */
    LINGER_MAX = CONTROL_HELD_MAX, /* bytes thrown away after the last answer */
    REFUSED_MAX = 64,              /* connections beyond CONTROL_CLIENTS_MAX that hear so; more are closed at once */
};

static const struct http_limits head_max = {.target = CONTROL_TARGET_MAX, .head = CONTROL_TARGET_MAX + HTTP_HEAD_MAX};

static const struct timeval idle_limit = {.tv_sec = 75}, head_limit = {.tv_sec = 10},
                            body_limit = {.tv_sec = 30}, write_limit = {.tv_sec = 30},
                            linger_limit = {.tv_sec = 2};

enum control_state {
    CONTROL_HEAD,   /* between requests, or a part of a head is there */
    CONTROL_BODY,   /* the head is there and checked */
    CONTROL_BUSY,   /* the whole request is with libevhtp and then with the handler */
    CONTROL_REPLY,  /* answered through libevhtp, which says when all is written */
    CONTROL_LAST,   /* refused here: the answer is being written, libevhtp has no request */
    CONTROL_LINGER, /* shut down: reads until the client closes, so that no reset destroys the answer */
};

/* One connection. Two ends: libevhtp's (conn) and the handler's (out); the one that goes last frees it. */
struct control_client {
    struct link link;
    struct control_listener *listener; /* NULL once that is closed */
    evhtp_connection_t *conn;          /* NULL once libevhtp has freed it */
    evhtp_request_t *evhtp_request;    /* NULL unless BUSY or REPLY */
    bufferevent_data_cb evhtp_read, evhtp_write;
    enum control_state state;
    bool out;                          /* the request is with the handler */
    bool is_local;                     /* the peer's address is loopback, or it has none */
    bool pinned;                       /* do not free: a caller up the stack uses it */
    bool head_begun;                   /* the deadline in force is that of a head */
    struct evbuffer *in, *body;        /* received and not used; decoded */
    struct event *deadline, *work;     /* work: runs what must not run inside libevhtp */
    size_t scanned, n_lingered, n_held; /* n_held: its part of the listener's */
    struct chunk_decoder chunk;
    char *raw_head;
    struct http_head head;
    struct control_request request;
};

struct control_listener {
    struct listening listening;
    struct list clients;
    size_t n_held;                     /* bytes of requests, those under way too */
    void (*handle)(struct control_request *, void *arg);
    void *arg;
};

static void client_count(struct control_client *c, size_t n)
{
    if (c->listener)
        c->listener->n_held += n - c->n_held;
    c->n_held = n;
}

static void client_free_if_alone(struct control_client *c)
{
    if (c->conn || c->out || c->pinned)
        return;
    client_count(c, 0);
    if (c->listener)
        list_remove(&c->listener->clients, &c->link);
    evbuffer_free(c->in);
    evbuffer_free(c->body);
    event_free(c->deadline);
    event_free(c->work);
    free(c->raw_head);
    free(c);
}

static evhtp_res conn_freed(evhtp_connection_t *conn, void *arg)
{
    struct control_client *c = arg;
    if (conn->request)
        evhtp_unset_all_hooks(&conn->request->hooks); /* it is freed after this, and we may be gone then */
    c->conn = NULL;
    c->evhtp_request = NULL;
    event_del(c->deadline);
    event_del(c->work);
    client_free_if_alone(c);
    return EVHTP_RES_OK;
}

/* Whatever state it is in. The client may be freed. */
static void client_end(struct control_client *c)
{
    if (c->conn)
        evhtp_connection_free(c->conn);
}

static void client_gone(struct control_client *c)
{
    bool tell = c->out && !c->request.gone;
    c->request.gone = true;
    c->pinned = true;
    client_end(c);
    if (tell && c->request.on_gone)
        c->request.on_gone(&c->request); /* which may reply at once */
    c->pinned = false;
    client_free_if_alone(c);
}

static struct bufferevent *bev_of(struct control_client *c)
{
    return evhtp_connection_get_bev(c->conn);
}

/* ---- answers ---- */

static void write_head(struct bufferevent *bev, const struct http_head *request, unsigned status,
                       const char *content_type, size_t n_body, bool keep, struct str headers)
{
    struct evbuffer *out = bufferevent_get_output(bev);
    const char *phrase = http_reason(status);
    evbuffer_add_printf(out, "HTTP/1.1 %u %s\r\n", status, phrase);
    if (content_type)
        evbuffer_add_printf(out, "Content-Type: %s\r\n", content_type);
    if (status != 204 && status != 304)
        evbuffer_add_printf(out, "Content-Length: %zu\r\n", n_body);
    if (!keep)
        evbuffer_add_printf(out, "Connection: close\r\n");
    else if (request && request->minor == 0)
        evbuffer_add_printf(out, "Connection: keep-alive\r\n");
    if (headers.n)
        evbuffer_add(out, headers.p, headers.n);
    evbuffer_add(out, "\r\n", 2);
}

/* The last words on a connection whose bytes cannot be understood, or are too many: in the shape of Qdrant's errors, as all others. */
static void client_refuse(struct control_client *c, unsigned status, const char *why)
{
    struct bufferevent *bev = bev_of(c);
    struct arena a;
    arena_init(&a, NULL, 0);
    struct str body = reply_error_body(&a, str_of(why));
    c->state = CONTROL_LAST;
    evbuffer_drain(c->in, evbuffer_get_length(c->in));
    evbuffer_drain(c->body, evbuffer_get_length(c->body));
    client_count(c, 0);
    write_head(bev, NULL, status, "application/json", body.n, false, status == 503 ? STR("Retry-After: 1\r\n") : STR_NONE);
    bufferevent_write(bev, body.p, body.n);
    arena_fini(&a);
    bufferevent_disable(bev, EV_READ);
    event_add(c->deadline, &write_limit);
}

static struct control_client *client_of(struct control_request *r)
{
    return (struct control_client *)((char *)r - offsetof(struct control_client, request));
}

void control_reply(struct control_request **request, unsigned status, const char *content_type, struct str body,
                   struct str headers)
{
    struct control_client *c = client_of(*request);
    *request = NULL;
    c->out = false;
    if (!c->conn) {
        client_free_if_alone(c);
        return;
    }
    struct bufferevent *bev = bev_of(c);
    bool keep = c->head.keep_alive && c->listener;
    write_head(bev, &c->head, status, content_type, body.n, keep, headers);
    if (!c->head.is_head_method && status != 204 && status != 304)
        bufferevent_write(bev, body.p, body.n);
    if (!keep)
        evhtp_request_disable_flag(c->evhtp_request, EVHTP_REQ_FLAG_KEEPALIVE);
    c->state = CONTROL_REPLY;
    event_add(c->deadline, &write_limit);
    bufferevent_disable(bev, EV_READ); /* else libevhtp misses the request's end if the output is empty already */
    evhtp_send_reply_end(c->evhtp_request);
    evhtp_request_resume(c->evhtp_request);
}

/* All is written, libevhtp is done with the request. We are inside libevhtp: the next request waits for
 * the work event. */
static evhtp_res request_freed(evhtp_request_t *request, void *arg)
{
    struct control_client *c = arg;
    c->evhtp_request = NULL;
    if (c->state == CONTROL_REPLY) {
        c->state = CONTROL_HEAD;
        event_add(c->deadline, &idle_limit);
        event_active(c->work, EV_TIMEOUT, 0);
    }
    return EVHTP_RES_OK;
}

/* ---- requests ---- */

/* libevhtp's callback for all paths, inside its parser: the handler runs later, from the work event. */
static void request_parsed(evhtp_request_t *request, void *arg)
{
    struct control_client *c = request->conn->hooks->on_connection_fini_arg;
    c->evhtp_request = request;
    evhtp_request_set_hook(request, evhtp_hook_on_request_fini, (evhtp_hook)request_freed, c);
    evhtp_request_pause(request);
}

static bool method_known(struct str method)
{
    static const char *const known[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
        if (str_eq(method, str_of(known[i])))
            return true;
    return false;
}

/* The whole request is there: a head of our own making goes to libevhtp's parser. */
static void client_dispatch(struct control_client *c)
{
    struct bufferevent *bev = bev_of(c);
    struct evbuffer *input = bufferevent_get_input(bev);
    c->state = CONTROL_BUSY;
    event_del(c->deadline);
    evbuffer_unfreeze(input, 0);
    evbuffer_add_printf(input, "%.*s %.*s HTTP/1.1\r\nConnection: %s\r\n\r\n", STR_ARG(c->head.method),
                        STR_ARG(c->head.path), c->head.keep_alive ? "keep-alive" : "close");
    evbuffer_freeze(input, 0);
    c->pinned = true;
    c->evhtp_read(bev, c->conn);
    c->pinned = false;
    if (!c->evhtp_request) { /* it found something wrong with a head that we found right */
        client_end(c);
        client_free_if_alone(c);
        return;
    }
    evbuffer_drain(input, evbuffer_get_length(input));
    event_active(c->work, EV_TIMEOUT, 0);
}

static void client_handle(struct control_client *c)
{
    size_t n = evbuffer_get_length(c->body);
    c->request = (struct control_request){.method = c->head.method,
                                          .path = c->head.path,
                                          .query = c->head.query,
                                          .body = {(const char *)evbuffer_pullup(c->body, -1), n},
                                          .head = &c->head,
                                          .is_local = c->is_local};
    c->out = true;
    bufferevent_enable(bev_of(c), EV_READ); /* to see it hang up; what comes is kept for later */
    c->listener->handle(&c->request, c->listener->arg);
}

static const char body_too_large[] = "the body is larger than 32 MiB";

static void body_begin(struct control_client *c)
{
    const struct http_head *h = &c->head;
    if (!method_known(h->method))
        return client_refuse(c, 501, "the method is none of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    if (h->path.n > CONTROL_PATH_MAX)
        return client_refuse(c, 414, "the path is longer than 4096 bytes");
    if (h->n_fields > CONTROL_FIELDS_MAX || h->raw.n - h->target.n > CONTROL_FIELD_BYTES_MAX)
        return client_refuse(c, 431, "the head has more than 64 fields, or more than 16 KiB beside its target");
    if (h->framing == HTTP_BODY_LENGTH && h->length > CONTROL_BODY_MAX)
        return client_refuse(c, 413, body_too_large);
    c->state = CONTROL_BODY;
    chunk_init(&c->chunk);
    if (h->expect_continue && evbuffer_get_length(c->in) == 0 && (h->framing != HTTP_BODY_LENGTH || h->length))
        bufferevent_write(bev_of(c), "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* True if a whole head was taken off the input. */
static bool head_read(struct control_client *c)
{
    size_t n = evbuffer_get_length(c->in), n_head = 0;
    struct http_refusal refusal;
    if (n == 0)
        return false;
    if (n > head_max.head + 1)
        n = head_max.head + 1;
    const char *bytes = (const char *)evbuffer_pullup(c->in, (ev_ssize_t)n);
    enum http_result result = http_parse_request_within(&head_max, bytes, n, &c->scanned, &c->head, &n_head, &refusal);
    if (result == HTTP_MORE) {
        if (!c->head_begun)
            event_add(c->deadline, &head_limit); /* from the first byte: drops do not move it */
        c->head_begun = true;
        return false;
    }
    c->head_begun = false;
    if (result == HTTP_REFUSED) {
        client_refuse(c, refusal.status, refusal.why);
        return false;
    }
    /* Its slices are to outlive the buffer: parsed again where it stays. */
    free(c->raw_head);
    c->raw_head = mem_strndup(bytes, n_head);
    c->scanned = 0;
    http_parse_request_within(&head_max, c->raw_head, n_head, &c->scanned, &c->head, &n_head, &refusal);
    c->scanned = 0;
    evbuffer_drain(c->in, n_head);
    body_begin(c);
    return c->state == CONTROL_BODY;
}

static bool chunks_read(struct control_client *c)
{
    while (evbuffer_get_length(c->in)) {
        struct str data = STR_NONE, in = {(const char *)evbuffer_pullup(c->in, -1), evbuffer_get_length(c->in)};
        size_t used = 0;
        enum chunk_result result = chunk_decode(&c->chunk, in, &used, &data);
        if (result == CHUNK_DATA)
            evbuffer_add(c->body, data.p, data.n);
        evbuffer_drain(c->in, used);
        if (result == CHUNK_END)
            return true;
        if (result == CHUNK_BAD || evbuffer_get_length(c->body) > CONTROL_BODY_MAX) {
            bool bad = result == CHUNK_BAD;
            client_refuse(c, bad ? 400 : 413,
                          bad ? "the chunked body is malformed" : body_too_large);
            return false;
        }
    }
    return false;
}

/* True if the body is whole. */
static bool body_read(struct control_client *c)
{
    bool whole;
    if (c->head.framing == HTTP_BODY_CHUNKED) {
        whole = chunks_read(c);
    } else {
        size_t length = c->head.framing == HTTP_BODY_LENGTH ? (size_t)c->head.length : 0;
        evbuffer_remove_buffer(c->in, c->body, length - evbuffer_get_length(c->body));
        whole = evbuffer_get_length(c->body) == length;
    }
    if (!whole && c->state == CONTROL_BODY)
        event_add(c->deadline, &body_limit);
    return whole;
}

/* As far as the bytes go. */
static void client_advance(struct control_client *c)
{
    if (c->state == CONTROL_HEAD && !head_read(c))
        return;
    if (c->state == CONTROL_BODY && body_read(c))
        client_dispatch(c);
}

/* Its request has been answered: the bytes of it go. */
static void request_over(struct control_client *c)
{
    evbuffer_drain(c->body, evbuffer_get_length(c->body));
    free(c->raw_head);
    c->raw_head = NULL;
    client_count(c, evbuffer_get_length(c->in));
}

static void client_work(evutil_socket_t fd, short what, void *arg)
{
    struct control_client *c = arg;
    if (c->state == CONTROL_BUSY) {
        client_handle(c);
    } else {
        request_over(c);
        client_advance(c);
    }
}

static void client_late(evutil_socket_t fd, short what, void *arg)
{
    struct control_client *c = arg;
    if (c->state == CONTROL_HEAD && evbuffer_get_length(c->in))
        client_refuse(c, 408, "the head did not come within 10 seconds");
    else if (c->state == CONTROL_BODY)
        client_refuse(c, 408, "nothing of the body came for 30 seconds");
    else
        client_end(c);
}

/* ---- the connection's own callbacks: libevhtp's stand behind them ---- */

static void client_readable(struct bufferevent *bev, void *arg)
{
    struct control_client *c = arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    if (c->state == CONTROL_LINGER) {
        c->n_lingered += evbuffer_get_length(input);
        evbuffer_drain(input, evbuffer_get_length(input));
        if (c->n_lingered > LINGER_MAX)
            client_end(c);
        return;
    }
    client_count(c, c->n_held + evbuffer_get_length(input));
    evbuffer_add_buffer(c->in, input);
    bool comes = c->state == CONTROL_HEAD || c->state == CONTROL_BODY;
    if (comes && c->n_held > SMALL_MAX && c->listener->n_held > CONTROL_HELD_MAX)
        return client_refuse(c, 503, "the requests of all clients together are larger than 128 MiB, try again");
    if (c->state == CONTROL_BUSY && evbuffer_get_length(c->in) > AHEAD_MAX)
        bufferevent_disable(bev, EV_READ); /* libevhtp arms it again after the answer */
    client_advance(c);
}

static void client_written(struct bufferevent *bev, void *arg)
{
    struct control_client *c = arg;
    if (c->state == CONTROL_REPLY) {
        c->evhtp_write(bev, c->conn); /* frees request or connection */
        return;
    }
    if (c->state != CONTROL_LAST)
        return;
    c->state = CONTROL_LINGER;
    shutdown(bufferevent_getfd(bev), SHUT_WR);
    bufferevent_enable(bev, EV_READ);
    event_add(c->deadline, &linger_limit);
}

static void client_event(struct bufferevent *bev, short what, void *arg)
{
    client_gone(arg);
}

static bool is_loopback(const struct sockaddr *peer)
{
    const struct in6_addr *six = &((const struct sockaddr_in6 *)peer)->sin6_addr;
    if (peer->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)peer)->sin_addr.s_addr) >> 24 == 127;
    if (peer->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(six) || (IN6_IS_ADDR_V4MAPPED(six) && six->s6_addr[12] == 127);
    return peer->sa_family == AF_UNIX;
}

static evhtp_res client_accepted(evhtp_connection_t *conn, void *arg)
{
    struct control_listener *l = arg;
    struct bufferevent *bev = evhtp_connection_get_bev(conn);
    bufferevent_event_cb evhtp_event;
    void *evhtp_arg;
    if (l->clients.n >= CONTROL_CLIENTS_MAX + REFUSED_MAX)
        return EVHTP_RES_ERROR;
    struct control_client *c = mem_zalloc(sizeof *c);
    c->listener = l;
    c->conn = conn;
    c->in = evbuffer_new();
    c->body = evbuffer_new();
    c->deadline = evtimer_new(conn->evbase, client_late, c);
    c->work = evtimer_new(conn->evbase, client_work, c);
    list_push(&l->clients, &c->link);
    c->is_local = is_loopback(conn->saddr);
    set_options(bufferevent_getfd(bev), conn->saddr);
    evhtp_connection_set_hook(conn, evhtp_hook_on_connection_fini, (evhtp_hook)conn_freed, c);
    bufferevent_getcb(bev, &c->evhtp_read, &c->evhtp_write, &evhtp_event, &evhtp_arg);
    bufferevent_setcb(bev, client_readable, client_written, client_event, c);
    event_add(c->deadline, &idle_limit);
    if (l->clients.n > CONTROL_CLIENTS_MAX)
        client_refuse(c, 503, "the control port has 1024 clients already, try again");
    return EVHTP_RES_OK;
}

struct control_listener *control_open(struct event_base *base, int listen_fd,
                                      void (*handle)(struct control_request *, void *arg), void *arg, struct err *err)
{
    struct control_listener *l = mem_zalloc(sizeof *l);
    list_init(&l->clients);
    l->handle = handle;
    l->arg = arg;
    if (!listening_init(&l->listening, base, listen_fd, client_accepted, l, err)) {
        free(l);
        return NULL;
    }
    evhtp_set_gencb(l->listening.htp, request_parsed, NULL);
    return l;
}

/* What has been answered goes out as far as the socket takes it. */
static void client_flush(struct control_client *c)
{
    struct evbuffer *out = bufferevent_get_output(bev_of(c));
    int fd = bufferevent_getfd(bev_of(c));
    evbuffer_unfreeze(out, 1); /* as a bufferevent does around its own writes */
    while (evbuffer_get_length(out) && evbuffer_write(out, fd) > 0)
        ;
    evbuffer_freeze(out, 1);
}

void control_close(struct control_listener **closing)
{
    struct control_listener *l = *closing;
    *closing = NULL;
    for (struct link *k; (k = list_pop(&l->clients));) {
        struct control_client *c = LIST_OF(control_client, link, k);
        c->listener = NULL;
        if (c->conn)
            client_flush(c);
        client_gone(c);
    }
    listening_fini(&l->listening);
    free(l);
}
