#include "upstream/slots.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "upstream/pool.h"

static struct slots *all; /* grows only */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static struct loop *loops[SLOTS_WORKERS_MAX]; /* NULL: not there yet, or left */
static _Atomic unsigned n_loops; /* those at most that ever were there: no further need be looked for */
static pthread_mutex_t loops_lock = PTHREAD_MUTEX_INITIALIZER; /* a post is seldom */

struct slot_letter {
    struct letter letter;
    struct slots *slots;
    struct pool *pool;
    struct slot_conn conn;
};

void slots_set_loop(unsigned worker, struct loop *loop)
{
    pthread_mutex_lock(&loops_lock);
    loops[worker] = loop;
    if (worker >= n_loops)
        n_loops = worker + 1;
    pthread_mutex_unlock(&loops_lock);
}

static unsigned workers(void)
{
    return atomic_load_explicit(&n_loops, memory_order_relaxed);
}

struct slots *slots_get(const char *model, struct peer *peer, unsigned limit, unsigned metrics_id)
{
    struct slots *s;
    pthread_mutex_lock(&all_lock);
    for (s = all; s; s = s->next)
        if (s->peer == peer && strcmp(s->model, model) == 0)
            break;
    if (!s) {
        s = aligned_alloc(64, (sizeof *s + 63) / 64 * 64);
        memset(s, 0, sizeof *s);
        s->model = mem_strdup(model);
        s->peer = peer;
        s->metrics_id = metrics_id;
        s->next = all;
        all = s;
    }
    pthread_mutex_unlock(&all_lock);
    atomic_store(&s->limit, limit);
    return s;
}

bool slots_take(struct slots *s)
{
    unsigned n = atomic_load(&s->n_open);
    while (n < atomic_load_explicit(&s->limit, memory_order_relaxed))
        if (atomic_compare_exchange_weak(&s->n_open, &n, n + 1))
            return true;
    return false;
}

static void open_grant(struct letter *letter)
{
    struct slot_letter *l = (struct slot_letter *)letter;
    struct pool *pool = l->pool;
    struct slot_conn conn = l->conn;
    free(l);
    pool_granted(pool, conn);
}

static void open_ask(struct letter *letter)
{
    struct slot_letter *l = (struct slot_letter *)letter;
    struct pool *pool = l->pool;
    free(l);
    pool_give_idle(pool);
}

/* Who was to have the slot has ended. */
static void pass_on(struct letter *letter)
{
    struct slot_letter *l = (struct slot_letter *)letter;
    slots_give(l->slots, l->conn);
    free(l);
}

static void drop_ask(struct letter *letter)
{
    free(letter);
}

void slots_leave(unsigned worker, struct loop *loop)
{
    slots_set_loop(worker, NULL);
    loop_refuse(loop, open_grant);
    loop_refuse(loop, open_ask);
}

/* False: the worker has left. */
static bool post(struct slots *s, unsigned worker, struct slot_conn conn, void (*open)(struct letter *), void (*drop)(struct letter *))
{
    pthread_mutex_lock(&loops_lock);
    struct loop *loop = loops[worker];
    if (loop) {
        struct slot_letter *l = mem_zalloc(sizeof *l);
        l->letter.open = open;
        l->letter.drop = drop;
        l->slots = s;
        l->conn = conn;
        l->pool = atomic_load(&s->worker[worker].pool);
        loop_post(loop, &l->letter);
    }
    pthread_mutex_unlock(&loops_lock);
    return loop != NULL;
}

static int longest_waiter(const struct slots *s)
{
    uint64_t oldest = 0;
    int who = -1;
    for (unsigned i = 0, n = workers(); i < n; i++) {
        uint64_t since = atomic_load(&s->worker[i].waiting_since);
        if (since && (!oldest || since < oldest)) {
            oldest = since;
            who = (int)i;
        }
    }
    return who;
}

void slots_give(struct slots *s, struct slot_conn conn)
{
    for (;;) {
        int who = longest_waiter(s);
        if (who >= 0 && atomic_load(&s->n_open) <= atomic_load(&s->limit) &&
            post(s, (unsigned)who, conn, open_grant, pass_on))
            return;
        if (conn.fd >= 0)
            close(conn.fd);
        conn = SLOT_EMPTY;
        atomic_fetch_sub(&s->n_open, 1);
        /* Somebody may have begun to wait between the look and the subtraction: look again, for nobody else will. */
        if (longest_waiter(s) < 0 || !slots_take(s))
            return;
    }
}

void slots_wait_since(struct slots *s, unsigned worker, uint64_t since)
{
    uint64_t before = atomic_exchange(&s->worker[worker].waiting_since, since);
    if (!before && since)
        atomic_fetch_add(&s->n_waiting, 1);
    if (before && !since)
        atomic_fetch_sub(&s->n_waiting, 1);
}

bool slots_other_waits(const struct slots *s, unsigned worker, uint64_t mine, uint64_t lead)
{
    for (unsigned i = 0, n = workers(); atomic_load(&s->n_waiting) && i < n; i++) {
        uint64_t since = i == worker ? 0 : atomic_load(&s->worker[i].waiting_since);
        if (since && (!mine || since + lead < mine))
            return true;
    }
    return false;
}

bool slots_may_move(struct slots *s, uint64_t now)
{
    uint64_t last = atomic_load_explicit(&s->moved_at, memory_order_relaxed);
    return now >= last + SLOTS_MOVE_EVERY && atomic_compare_exchange_strong(&s->moved_at, &last, now);
}

unsigned slots_idle_elsewhere(const struct slots *s, unsigned worker)
{
    unsigned sum = 0;
    for (unsigned i = 0, n = workers(); i < n; i++)
        sum += i == worker ? 0 : atomic_load(&s->worker[i].n_idle);
    return sum;
}

void slots_ask_idle(struct slots *s, unsigned worker)
{
    for (unsigned i = 0, n = workers(); i < n; i++)
        if (i != worker && atomic_load(&s->worker[i].n_idle) && post(s, i, SLOT_EMPTY, open_ask, drop_ask))
            return;
}
