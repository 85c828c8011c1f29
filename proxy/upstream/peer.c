#include "upstream/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define BACKOFF_FIRST (50 * MSEC)
#define BACKOFF_MOST (2 * SEC)
#define KICKED_PAUSE (500 * MSEC)
#define STOP_WAIT (500 * MSEC) /* for a lookup that is under way at the end */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t rung;
    pthread_t thread;
    bool running, stop, ended, kicked;
    uint64_t interval;
    bool (*is_own)(const struct sockaddr *, uint16_t port);
    struct peer *_Atomic peers;
} resolver = {.lock = PTHREAD_MUTEX_INITIALIZER, .rung = PTHREAD_COND_INITIALIZER};

/* In any order: name servers turn the list round with every answer. */
static bool same_addresses(const struct peer_addresses *a, const struct peer_addresses *b)
{
    if (a->n != b->n)
        return false;
    for (unsigned i = 0; i < a->n; i++) {
        unsigned k = 0;
        while (k < b->n && memcmp(&a->at[i], &b->at[k], sizeof a->at[i]) != 0)
            k++;
        if (k == b->n)
            return false;
    }
    return true;
}

/* A set that was there before is used again: names that give another few of many addresses each time cost no more than those few sets. */
static void publish(struct peer *peer, const struct peer_addresses *found)
{
    struct peer_addresses *set = peer->sets;
    while (set && !same_addresses(set, found))
        set = set->older;
    if (!set) {
        set = mem_alloc(sizeof *set);
        *set = *found;
        set->older = peer->sets;
        peer->sets = set;
    }
    atomic_store_explicit(&peer->addresses, set, memory_order_release);
}

static bool resolve_literal(struct peer *peer)
{
    struct peer_addresses found = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&found.at[0].address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&found.at[0].address;
    if (inet_pton(AF_INET, peer->host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(peer->port);
        found.at[0].n = sizeof *v4;
    } else if (inet_pton(AF_INET6, peer->host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(peer->port);
        found.at[0].n = sizeof *v6;
    } else {
        return false;
    }
    found.n = 1;
    publish(peer, &found);
    return true;
}

static void resolve(struct peer *peer)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    struct peer_addresses found = {0};
    char port[8];
    struct in6_addr probe;
    if (inet_pton(AF_INET, peer->host, &probe) == 1 || inet_pton(AF_INET6, peer->host, &probe) == 1)
        return;
    snprintf(port, sizeof port, "%u", peer->port);
    int why = getaddrinfo(peer->host, port, &hints, &list);
    if (why != 0) {
        if (!atomic_load(&peer->addresses))
            log_warn("resolve_failed", "upstream=%s why=\"%s\"", peer->url, gai_strerror(why));
        return; /* a known address is better than none */
    }
    for (struct addrinfo *a = list; a && found.n < PEER_ADDRESSES_MAX; a = a->ai_next) {
        if (resolver.is_own && resolver.is_own(a->ai_addr, peer->port)) {
            log_error("upstream_is_quiver", "upstream=%s why=\"the name stands for one of quiver's own listeners; name the server "
                      "behind it\"", peer->url);
            continue;
        }
        memcpy(&found.at[found.n].address, a->ai_addr, a->ai_addrlen);
        found.at[found.n++].n = a->ai_addrlen;
    }
    freeaddrinfo(list);
    if (found.n)
        publish(peer, &found);
}

static struct peer *known(const char *url)
{
    struct peer *peer = atomic_load(&resolver.peers);
    while (peer && strcmp(peer->url, url) != 0)
        peer = peer->next;
    return peer;
}

struct peer *peer_get(const char *url, const char *host, uint16_t port)
{
    static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
    struct peer *peer = known(url);
    if (peer)
        return peer;
    pthread_mutex_lock(&making);
    peer = known(url);
    if (peer) { /* another thread was faster */
        pthread_mutex_unlock(&making);
        return peer;
    }
    peer = mem_zalloc(sizeof *peer);
    peer->url = mem_strdup(url);
    peer->host = mem_strdup(host);
    peer->port = port;
    if (!resolve_literal(peer))
        resolver_kick();
    peer->next = atomic_load(&resolver.peers);
    atomic_store(&resolver.peers, peer);
    pthread_mutex_unlock(&making);
    return peer;
}

bool peer_address(struct peer *peer, struct sockaddr_storage *address, socklen_t *n)
{
    struct peer_addresses *list = atomic_load_explicit(&peer->addresses, memory_order_acquire);
    if (!list)
        return false;
    unsigned turn = atomic_load_explicit(&peer->turn, memory_order_relaxed) % list->n;
    *address = list->at[turn].address;
    *n = list->at[turn].n;
    return true;
}

unsigned peer_n_addresses(const struct peer *peer)
{
    struct peer_addresses *list = atomic_load_explicit(&peer->addresses, memory_order_acquire);
    return list ? list->n : 0;
}

void peer_failed(struct peer *peer, uint64_t now)
{
    unsigned n = atomic_fetch_add(&peer->n_failed, 1);
    peer_doubt(peer);
    uint64_t wait = BACKOFF_FIRST << (n < 6 ? n : 6);
    atomic_fetch_add(&peer->turn, 1);
    atomic_store(&peer->down_until, now + (wait < BACKOFF_MOST ? wait : BACKOFF_MOST));
    if (n == 0)
        log_warn("upstream_down", "upstream=%s", peer->url);
    resolver_kick();
}

void peer_good(struct peer *peer)
{
    if (atomic_load_explicit(&peer->n_failed, memory_order_relaxed) && atomic_exchange(&peer->n_failed, 0))
        log_info("upstream_up", "upstream=%s", peer->url);
    if (!atomic_load_explicit(&peer->answered, memory_order_relaxed))
        atomic_store(&peer->answered, true);
}

void peer_doubt(struct peer *peer)
{
    atomic_fetch_add(&peer->n_doubts, 1);
}

bool peer_in_doubt(const struct peer *peer)
{
    return atomic_load_explicit(&peer->n_doubts, memory_order_acquire) !=
           atomic_load_explicit(&peer->n_cleared, memory_order_acquire);
}

void peer_clear(struct peer *peer, unsigned n_doubts)
{
    atomic_store(&peer->n_cleared, n_doubts);
}

bool peer_is_down(const struct peer *peer, uint64_t now)
{
    return atomic_load_explicit(&peer->n_failed, memory_order_relaxed) &&
           now < atomic_load_explicit(&peer->down_until, memory_order_relaxed);
}

bool peer_is_up(const struct peer *peer)
{
    return atomic_load_explicit(&peer->answered, memory_order_relaxed) &&
           atomic_load_explicit(&peer->n_failed, memory_order_relaxed) == 0;
}

/* The clock that nobody sets: names would not be looked up for as long as the other was put back. */
static struct timespec after(uint64_t usec)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    usec += (uint64_t)t.tv_nsec / 1000;
    t.tv_sec += (time_t)(usec / SEC);
    t.tv_nsec = (long)(usec % SEC) * 1000;
    return t;
}

static void *resolver_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&resolver.lock);
    while (!resolver.stop) {
        resolver.kicked = false;
        pthread_mutex_unlock(&resolver.lock);
        for (struct peer *peer = atomic_load(&resolver.peers); peer; peer = peer->next)
            resolve(peer);
        pthread_mutex_lock(&resolver.lock);
        struct timespec until = after(resolver.interval);
        while (!resolver.stop && !resolver.kicked &&
               pthread_cond_clockwait(&resolver.rung, &resolver.lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
            ;
        if (!resolver.stop && resolver.kicked) { /* at most two rounds a second, however often connects fail */
            until = after(KICKED_PAUSE);
            while (!resolver.stop && pthread_cond_clockwait(&resolver.rung, &resolver.lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
                ;
        }
    }
    resolver.ended = true;
    pthread_cond_broadcast(&resolver.rung);
    pthread_mutex_unlock(&resolver.lock);
    return NULL;
}

void resolver_set_own(bool (*is_own)(const struct sockaddr *, uint16_t port))
{
    resolver.is_own = is_own;
}

void resolver_set_interval(uint64_t usec)
{
    pthread_mutex_lock(&resolver.lock);
    resolver.interval = usec;
    pthread_mutex_unlock(&resolver.lock);
}

void resolver_start(void)
{
    resolver.stop = resolver.ended = false;
    resolver.running = pthread_create(&resolver.thread, NULL, resolver_main, NULL) == 0;
}

void resolver_stop(void)
{
    if (!resolver.running)
        return;
    pthread_mutex_lock(&resolver.lock);
    resolver.stop = true;
    pthread_cond_broadcast(&resolver.rung);
    struct timespec until = after(STOP_WAIT);
    while (!resolver.ended && pthread_cond_clockwait(&resolver.rung, &resolver.lock, CLOCK_MONOTONIC, &until) != ETIMEDOUT)
        ;
    bool ended = resolver.ended;
    pthread_mutex_unlock(&resolver.lock);
    if (ended)
        pthread_join(resolver.thread, NULL);
    else
        pthread_detach(resolver.thread); /* a name server that is silent: getaddrinfo takes half a minute, the process ends before */
    resolver.running = false;
}

void resolver_kick(void)
{
    pthread_mutex_lock(&resolver.lock); /* held for nanoseconds: the resolver lets go of it while it resolves */
    if (!resolver.kicked)
        pthread_cond_broadcast(&resolver.rung);
    resolver.kicked = true;
    pthread_mutex_unlock(&resolver.lock);
}
