/* evhtp.h - libevhtp's two uses; nothing else of quiver sees that library.
 * acceptor: listens for clients of the data plane and hands each accepted socket over, before libevhtp has read a
 *           byte of it.
 * control:  the control port. libevhtp's parser is not fit for what strangers send, so each head is read and checked
 *           by http/head.h first, bodies are read here, and libevhtp gets one clean head of ours at a time.
 * Owner: the thread that runs the event_base. No locks. SIGPIPE must be ignored. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/metrics.h"
#include "base/str.h"
#include "http/head.h"

struct event_base;

/* ---- acceptor ---- */

struct acceptor;

/* Takes listen_fd, which is bound, listening and non-blocking. accepted() owns fd (non-blocking,
 * close-on-exec); the address is valid during the call; it must not close the acceptor. Out of
 * descriptors: accepting pauses 100 ms, no spin, a log line at most once a second. m (or NULL) counts
 * M_ACCEPT_PAUSES. NULL with err if libevhtp or libevent refuses; listen_fd is then closed. */
struct acceptor *acceptor_open(struct event_base *, int listen_fd, struct metrics *m,
                               void (*accepted)(int fd, const struct sockaddr *, socklen_t, void *arg), void *arg,
                               struct err *);
void acceptor_close(struct acceptor **); /* hands over what waits in the queue, then closes the socket */

/* ---- control port ---- */

enum {
    CONTROL_PATH_MAX = 4096,         /* more is 414 */
    CONTROL_TARGET_MAX = 128 * 1024, /* with the query: a vector of 4,096 numbers fits; more is 414 */
    CONTROL_FIELD_BYTES_MAX = 16 * 1024, /* of a head beside its target; more is 431. A head that is made of these */
    CONTROL_FIELDS_MAX = 64,         /* fields and of some of our own is within the limits of http/head.h */
    CONTROL_BODY_MAX = 32 << 20,     /* bytes of a request's body; more is 413 */
    CONTROL_HELD_MAX = 128 << 20,    /* bytes of all requests of a listener; beyond it a large one is 503 */
    CONTROL_CLIENTS_MAX = 1024,      /* connections of one listener; more are 503 */
};

struct control_listener;

/* A request that has come whole. The handler's from handle() until control_reply(), which may happen
 * within handle() or at any later event on the same thread; the slices are valid until then. */
struct control_request {
    struct str method, path, query; /* as received; query.p NULL if there is no '?' */
    struct str body;                /* decoded; n == 0 if there is none */
    const struct http_head *head;
    bool is_local;                  /* the peer is this host: a loopback address or a Unix socket */
    bool gone;                      /* the client has hung up (or half-closed): control_reply all the same */
    void (*on_gone)(struct control_request *); /* set by a handler that can stop early: called once, not in handle() */
    void *user;                     /* the handler's own */
};

/* Takes listen_fd as acceptor_open does. */
struct control_listener *control_open(struct event_base *, int listen_fd,
                                      void (*handle)(struct control_request *, void *arg), void *arg, struct err *);

/* Answers and gives the request back; *request becomes NULL. content_type NULL: none is sent. body is
 * copied; to a HEAD only its length goes out. headers: further header lines, each with its CRLF, or
 * STR_NONE. */
void control_reply(struct control_request **request, unsigned status, const char *content_type, struct str body,
                   struct str headers);

/* Stops listening (what waits in the kernel's queue is reset) and closes all connections: what has been answered goes out as far as the
 * sockets take it, requests that are out become gone and are still to be answered with control_reply. No handle() is called any more. */
void control_close(struct control_listener **);
