#include "upstream/pool.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ensure.h"
#include "base/mem.h"

/* Another worker's first is served before our own if it has waited twice as long and a millisecond, or so much longer. */
#define HEAD_START MSEC
#define HEAD_START_MOST (5 * MSEC)

static void set_event(struct event *event, bool *armed, bool on)
{
    if (*armed == on)
        return;
    *armed = on;
    ensure((on ? event_add(event, NULL) : event_del(event)) == 0);
}

static void publish_idle(struct pool *p)
{
    struct slots_worker *mine = &p->slots->worker[p->host->worker];
    unsigned before = atomic_load_explicit(&mine->n_idle, memory_order_relaxed);
    atomic_store(&mine->n_idle, (unsigned)p->idle.n);
    metrics_model_gauge_add(p->host->metrics, p->slots->metrics_id, MG_POOL_IDLE, (int64_t)p->idle.n - (int64_t)before);
}

static void publish_waiting(struct pool *p)
{
    struct link *k = list_first(&p->waiters);
    slots_wait_since(p->slots, p->host->worker, k ? LIST_OF(pool_wait, link, k)->since : 0);
}

/* Lets go of the socket, which is returned; the slot is the caller's to give or to use again. */
static int uconn_leave(struct uconn *c)
{
    struct pool *p = c->pool;
    int fd = c->fd;
    event_del(&c->read_event);
    event_del(&c->write_event);
    rbuf_drop(&c->in);
    if (link_used(&c->link)) {
        list_remove(&p->idle, &c->link);
        publish_idle(p);
    }
    metrics_model_gauge_add(p->host->metrics, p->slots->metrics_id, MG_POOL_CONNECTIONS, -1);
    free(c);
    return fd;
}

static void uconn_free(struct uconn *c)
{
    close(uconn_leave(c));
}

static void uconn_close(struct uconn *c)
{
    struct slots *slots = c->pool->slots;
    uconn_free(c);
    slots_give(slots, SLOT_EMPTY);
}

/* One at rest, for whoever waits longest. */
static void uconn_pass(struct uconn *c)
{
    struct slots *slots = c->pool->slots;
    uint64_t since = c->since;
    slots_give(slots, (struct slot_conn){uconn_leave(c), since});
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct uconn *c = arg;
    bool drained;
    (void)what;
    if (!c->owner) { /* idle: an end, or an answer nobody asked for (Qdrant's 408): dead in both cases */
        peer_doubt(c->pool->slots->peer);
        uconn_close(c);
        return;
    }
    switch (rbuf_recv(&c->in, (int)fd, &drained)) {
    case RBUF_GOT:
        break;
    case RBUF_AGAIN:
        return;
    case RBUF_FULL:
        set_event(&c->read_event, &c->reading, false);
        return;
    case RBUF_EOF:
        c->eof = true;
        set_event(&c->read_event, &c->reading, false);
        break;
    case RBUF_ERROR:
        c->dead = true;
        set_event(&c->read_event, &c->reading, false);
        break;
    }
    loop_wake(c->pool->host->loop, c->owner);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct uconn *c = arg;
    (void)fd, (void)what;
    set_event(&c->write_event, &c->writing, false);
    if (c->owner)
        loop_wake(c->pool->host->loop, c->owner);
}

static struct uconn *uconn_new(struct pool *p, int fd)
{
    struct uconn *c = mem_zalloc(sizeof *c);
    c->pool = p;
    c->fd = fd;
    c->in.pool = &p->host->buffers;
    c->since = p->host->loop->now;
    ensure(event_assign(&c->read_event, p->host->loop->base, fd, EV_READ | EV_PERSIST, on_readable, c) == 0);
    ensure(event_assign(&c->write_event, p->host->loop->base, fd, EV_WRITE | EV_PERSIST, on_writable, c) == 0);
    metrics_model_gauge_add(p->host->metrics, p->slots->metrics_id, MG_POOL_CONNECTIONS, 1);
    return c;
}

/* One that came from another worker. */
static struct uconn *uconn_adopt(struct pool *p, struct slot_conn conn)
{
    struct uconn *c = uconn_new(p, conn.fd);
    c->n_served = 1;
    c->since = conn.since;
    set_event(&c->read_event, &c->reading, true);
    return c;
}

/* A new connection on a slot that the caller holds; NULL if there is no address or no descriptor: the slot stays the caller's. */
static struct uconn *uconn_open(struct pool *p)
{
    struct sockaddr_storage address;
    socklen_t n;
    int on = 1;
    if (!peer_address(p->slots->peer, &address, &n))
        return NULL;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return NULL;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct uconn *c = uconn_new(p, fd);
    c->connecting = true;
    metrics_add(p->host->metrics, M_UPSTREAM_CONNECTS, 1);
    if (connect(fd, (struct sockaddr *)&address, n) != 0 && errno != EINPROGRESS)
        c->dead = true;
    else
        set_event(&c->write_event, &c->writing, true);
    return c;
}

bool uconn_connected(struct uconn *c)
{
    int why = 0;
    socklen_t n = sizeof why;
    if (!c->connecting)
        return true;
    if (c->dead || c->writing)
        return false;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &why, &n) != 0 || why != 0) {
        c->dead = true;
        return false;
    }
    c->connecting = false;
    peer_good(c->pool->slots->peer);
    set_event(&c->read_event, &c->reading, true);
    return true;
}

void uconn_want_write(struct uconn *c, bool on)
{
    set_event(&c->write_event, &c->writing, on);
}

void uconn_resume_read(struct uconn *c)
{
    if (!c->eof && !c->dead && !c->connecting)
        set_event(&c->read_event, &c->reading, true);
}

void uconn_died(struct uconn *c)
{
    bool drained;
    enum rbuf_result got = RBUF_GOT;
    while (got == RBUF_GOT && !c->eof)
        got = rbuf_recv(&c->in, c->fd, &drained);
    c->eof = c->eof || got == RBUF_EOF;
    c->dead = true;
    set_event(&c->read_event, &c->reading, false);
}

static void on_retire(void *arg)
{
    struct pool *p = arg;
    uint64_t now = p->host->loop->now;
    struct link *k;
    while ((k = list_first(&p->idle))) {
        struct uconn *c = LIST_OF(uconn, link, k);
        if (now < c->since + p->host->idle_timeout) {
            timer_set(&p->retire, c->since + p->host->idle_timeout);
            return;
        }
        uconn_close(c);
    }
}

struct pool *pool_of(struct pool_host *host, struct slots *slots)
{
    struct slots_worker *mine = &slots->worker[host->worker];
    struct pool *p = atomic_load_explicit(&mine->pool, memory_order_relaxed);
    if (p)
        return p;
    p = mem_zalloc(sizeof *p);
    p->host = host;
    p->slots = slots;
    list_init(&p->idle);
    list_init(&p->waiters);
    timer_init(&p->retire, host->loop, on_retire, p);
    p->next = host->pools;
    host->pools = p;
    atomic_store(&mine->pool, p);
    return p;
}

void pools_close(struct pool_host *host)
{
    slots_leave(host->worker, host->loop);
    while (host->pools) {
        struct pool *p = host->pools;
        host->pools = p->next;
        struct link *k;
        ensure(!list_first(&p->waiters)); /* else slots would still be meant for it */
        while ((k = list_first(&p->idle))) /* others may wait for them: they drain longer */
            uconn_pass(LIST_OF(uconn, link, k));
        atomic_store(&p->slots->worker[host->worker].pool, NULL);
        timer_fini(&p->retire);
        free(p);
    }
    rbuf_pool_fini(&host->buffers);
}

static struct uconn *lend(struct uconn *c, struct task *owner)
{
    metrics_add(c->pool->host->metrics, M_UPSTREAM_REUSED, c->n_served > 0);
    c->owner = owner;
    return c;
}

static struct uconn *take_idle(struct pool *p)
{
    struct link *k = list_last(&p->idle); /* the warmest */
    if (!k)
        return NULL;
    struct uconn *c = LIST_OF(uconn, link, k);
    list_remove(&p->idle, k);
    publish_idle(p);
    return c;
}

enum pool_result pool_ask(struct pool *p, struct pool_wait *w, unsigned queue_max, bool fresh, struct task *owner)
{
    *w = (struct pool_wait){.owner = owner, .since = p->host->loop->now};
    bool has_slot = fresh && p->idle.n;
    if (has_slot) /* the others of its age are likely dead as well: one gives its slot */
        uconn_free(take_idle(p));
    if (has_slot || !list_first(&p->waiters)) {
        struct uconn *c = fresh ? NULL : take_idle(p);
        if (!c && (has_slot || slots_take(p->slots))) {
            c = uconn_open(p);
            if (!c) {
                slots_give(p->slots, SLOT_EMPTY);
                return POOL_FAILED;
            }
        }
        if (c) {
            w->conn = lend(c, owner);
            return POOL_LENT;
        }
    }
    /* One more may wait for each connection that idles at another worker: it is given up at once. */
    if (p->waiters.n >= queue_max + slots_idle_elsewhere(p->slots, p->host->worker))
        return POOL_FULL;
    list_push(&p->waiters, &w->link);
    metrics_model_gauge_add(p->host->metrics, p->slots->metrics_id, MG_QUEUE_LENGTH, 1);
    publish_waiting(p);
    if (slots_take(p->slots)) /* one was given back before the others could see us wait */
        pool_granted(p, SLOT_EMPTY);
    else
        slots_ask_idle(p->slots, p->host->worker);
    return POOL_WAIT;
}

static struct pool_wait *pop_waiter(struct pool *p)
{
    struct link *k = list_pop(&p->waiters);
    if (!k)
        return NULL;
    metrics_model_gauge_add(p->host->metrics, p->slots->metrics_id, MG_QUEUE_LENGTH, -1);
    publish_waiting(p);
    return LIST_OF(pool_wait, link, k);
}

static void deliver(struct pool *p, struct pool_wait *w, struct uconn *c)
{
    w->conn = c ? lend(c, w->owner) : NULL;
    w->failed = c == NULL;
    loop_wake(p->host->loop, w->owner);
}

static bool over_limit(const struct pool *p)
{
    return atomic_load_explicit(&p->slots->n_open, memory_order_relaxed) > atomic_load_explicit(&p->slots->limit, memory_order_relaxed);
}

/* The oldest first, so that the ends of their times come in order. */
static void rest(struct pool *p, struct uconn *c)
{
    struct link *before = list_last(&p->idle);
    while (before && LIST_OF(uconn, link, before)->since > c->since)
        before = list_prev(&p->idle, before);
    list_insert_after(&p->idle, before ? before : &p->idle.head, &c->link);
    publish_idle(p);
    timer_set(&p->retire, LIST_OF(uconn, link, list_first(&p->idle))->since + p->host->idle_timeout);
    if (slots_other_waits(p->slots, p->host->worker, 0, 0)) /* began to wait before it could see that we have an idle one */
        uconn_pass(c);
}

void pool_granted(struct pool *p, struct slot_conn conn)
{
    struct pool_wait *w = pop_waiter(p);
    if (w) {
        struct uconn *c = conn.fd >= 0 ? uconn_adopt(p, conn) : uconn_open(p);
        deliver(p, w, c);
        if (!c)
            slots_give(p->slots, SLOT_EMPTY);
    } else if (conn.fd >= 0 && !over_limit(p)) { /* who waited has gone, or has got another */
        rest(p, uconn_adopt(p, conn));
    } else {
        slots_give(p->slots, conn);
    }
}

void pool_give_idle(struct pool *p)
{
    struct link *k = list_last(&p->idle);
    if (!slots_other_waits(p->slots, p->host->worker, 0, 0))
        return;
    if (k)
        uconn_pass(LIST_OF(uconn, link, k));
    else /* taken meanwhile: another may have one */
        slots_ask_idle(p->slots, p->host->worker);
}

void pool_leave(struct pool *p, struct pool_wait *w)
{
    if (link_used(&w->link)) {
        list_remove(&p->waiters, &w->link);
        metrics_model_gauge_add(p->host->metrics, p->slots->metrics_id, MG_QUEUE_LENGTH, -1);
        publish_waiting(p);
    }
    if (w->conn)
        pool_release(&w->conn, w->conn->connecting ? CONN_CLOSE : CONN_REUSE);
}

/* Another worker is to have the slot. mine: since when our own first waits; 0: nobody does. */
static bool other_first(const struct pool *p, uint64_t mine)
{
    uint64_t now = p->host->loop->now, lead = HEAD_START + (mine && now > mine ? now - mine : 0);
    return slots_other_waits(p->slots, p->host->worker, mine, lead < HEAD_START_MOST ? lead : HEAD_START_MOST) &&
           (!mine || slots_may_move(p->slots, now));
}

void pool_release(struct uconn **slot, enum conn_fate fate)
{
    struct uconn *c = *slot;
    struct pool *p = c->pool;
    struct link *first = list_first(&p->waiters);
    uint64_t mine = first ? LIST_OF(pool_wait, link, first)->since : 0;
    *slot = NULL;
    c->owner = NULL;
    if (fate == CONN_CLOSE || c->eof || c->dead || c->connecting || c->in.end != c->in.start || over_limit(p)) {
        bool stays = mine && !over_limit(p) && !other_first(p, mine);
        uconn_free(c);
        if (stays)
            pool_granted(p, SLOT_EMPTY);
        else
            slots_give(p->slots, SLOT_EMPTY);
        return;
    }
    c->since = p->host->loop->now;
    if (other_first(p, mine)) {
        uconn_pass(c);
        return;
    }
    c->n_served++;
    uconn_want_write(c, false);
    uconn_resume_read(c);
    if (first) {
        deliver(p, pop_waiter(p), c);
        return;
    }
    rest(p, c);
}
