#include "io/redis_resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/mem.h"

struct redis_resolve {
    struct letter letter;
    _Atomic unsigned n_owners; /* the thread, and the loop (its letter, once posted) */
    pthread_mutex_t lock;
    struct loop *loop;         /* under the lock; NULL: cancelled before it was posted */
    bool posted;               /* under the lock */
    void (*found)(void *arg, const char *address, const char *why);
    void *arg;
    char *host;
    unsigned attempt;
    char address[NI_MAXHOST], why[160];
};

static void disown(struct redis_resolve *resolve)
{
    if (atomic_fetch_sub_explicit(&resolve->n_owners, 1, memory_order_acq_rel) > 1)
        return;
    pthread_mutex_destroy(&resolve->lock);
    free(resolve->host);
    free(resolve);
}

static void letter_open(struct letter *letter)
{
    struct redis_resolve *resolve = (struct redis_resolve *)((char *)letter - offsetof(struct redis_resolve,
                                                                                       letter));
    if (resolve->found)
        resolve->found(resolve->arg, resolve->address[0] ? resolve->address : NULL, resolve->why);
    disown(resolve);
}

static void look_up(struct redis_resolve *resolve)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int bad = getaddrinfo(resolve->host, NULL, &hints, &list);
    unsigned n = 0;
    for (struct addrinfo *one = list; one; one = one->ai_next)
        n++;
    struct addrinfo *one = list;
    for (unsigned skip = n ? resolve->attempt % n : 0; skip; skip--)
        one = one->ai_next;
    if (one)
        bad = getnameinfo(one->ai_addr, one->ai_addrlen, resolve->address, sizeof resolve->address, NULL, 0,
                          NI_NUMERICHOST);
    if (bad) {
        resolve->address[0] = 0;
        snprintf(resolve->why, sizeof resolve->why, "%s: %s", resolve->host, gai_strerror(bad));
    }
    if (list)
        freeaddrinfo(list);
}

static void *run(void *arg)
{
    struct redis_resolve *resolve = arg;
    look_up(resolve);
    /* Posted under the lock: who cancels knows whether a letter is under way, and the loop outlives the
     * call. */
    pthread_mutex_lock(&resolve->lock);
    if (resolve->loop) {
        resolve->posted = true;
        loop_post(resolve->loop, &resolve->letter);
    }
    pthread_mutex_unlock(&resolve->lock);
    disown(resolve);
    return NULL;
}

struct redis_resolve *redis_resolve_start(struct loop *loop, const char *host, unsigned attempt,
                                          void (*found)(void *arg, const char *address, const char *why),
                                              void *arg)
{
    struct redis_resolve *resolve = mem_zalloc(sizeof *resolve);
    *resolve = (struct redis_resolve){.letter = {.open = letter_open, .drop = letter_open}, .n_owners = 2, .loop = loop,
                                      .found = found,
                                      .arg = arg, .host = mem_strdup(host), .attempt = attempt};
    pthread_mutex_init(&resolve->lock, NULL);
    pthread_t thread;
    int bad = pthread_create(&thread, NULL, run, resolve);
    if (bad) { /* as many threads as the system allows: it is tried again, like a name that does not resolve */
        snprintf(resolve->why, sizeof resolve->why, "%s: no thread to look it up: %s", host, strerror(bad));
        resolve->posted = true;
        disown(resolve);
        loop_post(loop, &resolve->letter);
    } else {
        pthread_detach(thread);
    }
    return resolve;
}

void redis_resolve_cancel(struct redis_resolve *resolve)
{
    pthread_mutex_lock(&resolve->lock);
    bool letter_comes = resolve->posted;
    resolve->loop = NULL;
    resolve->found = NULL;
    pthread_mutex_unlock(&resolve->lock);
    if (!letter_comes)
        disown(resolve);
}
