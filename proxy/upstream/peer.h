/* peer.h - one upstream server: where it is and whether it answers. Process-wide, lives until the end, one per URL.
 * Names are resolved by a thread of its own (getaddrinfo blocks), at the start, on reload, after a failed connect and at an interval;
 * everybody else reads an atomic pointer to an immutable list. */
#pragma once

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum { PEER_ADDRESSES_MAX = 8 };

struct peer_addresses {
    struct peer_addresses *older; /* replaced ones are kept: a reader may still look */
    unsigned n;
    struct {
        struct sockaddr_storage address;
        socklen_t n;
    } at[PEER_ADDRESSES_MAX];
};

struct peer {
    struct peer *next;
    char *url, *host;
    uint16_t port;
    _Atomic(struct peer_addresses *) addresses; /* NULL: not resolved yet */
    struct peer_addresses *sets;                /* all that there ever were; the resolver's */
    _Atomic unsigned turn;                      /* which address the next connect takes: moved by failures */
    _Atomic unsigned n_failed;                  /* connects that failed since the last good one */
    _Atomic uint64_t down_until;                /* others of the group are preferred until then */
    _Atomic bool answered;                      /* a connect has ever succeeded */
    _Atomic unsigned n_doubts, n_cleared;       /* see peer_doubt */
    _Atomic uint64_t identity;                  /* of the server process behind it, as last read; 0: never */
};

/* The peer of this URL, made when it is new (takes a lock then). Any thread. */
struct peer *peer_get(const char *url, const char *host, uint16_t port);

/* The address to connect to; false while the name has not resolved. Any thread. */
bool peer_address(struct peer *, struct sockaddr_storage *, socklen_t *n);
unsigned peer_n_addresses(const struct peer *);
void peer_failed(struct peer *, uint64_t now); /* a connect failed: next address, back off, resolve anew */
void peer_good(struct peer *);

/* A connection was refused, reset or closed before its time: another process may answer from now on, with other data. Until the control thread has
 * read who it is (peer_clear with the count of doubts it began with), nothing is cached of what this server holds. Any thread. */
void peer_doubt(struct peer *);
bool peer_in_doubt(const struct peer *);
void peer_clear(struct peer *, unsigned n_doubts);

bool peer_is_down(const struct peer *, uint64_t now); /* just failed: others first */
bool peer_is_up(const struct peer *);                 /* the last connect worked; false before the first */

/* Tells whether an address is one of quiver's own listeners: names are checked when they have resolved, and such an address is not used, or
 * requests would run in a circle. Called on the resolver's thread. Set before resolver_start; NULL: not checked. */
void resolver_set_own(bool (*is_own)(const struct sockaddr *, uint16_t port));

/* The resolver's thread; peers that are literal addresses are done at once by peer_get. */
void resolver_start(void);
void resolver_set_interval(uint64_t usec); /* between rounds, from the next round on; before the start, and whenever it changes */
void resolver_stop(void);
void resolver_kick(void); /* any thread: resolve soon */
