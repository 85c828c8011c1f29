#include "server/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/metrics.h"
#include "conf/where.h"
#include "engine/plugin.h"
#include "engine/tx.h"
#include "qdrant/ops.h"
#include "server/listen.h"
#include "server/page.h"
#include "server/pid_file.h"
#include "server/thread.h"
#include "server/tuning.h"
#include "tune/external_poll.h"
#include "tune/facts_poll.h"
#include "tune/prover.h"
#include "tune/server_watch.h"
#include "tune/tune.h"
#include "upstream/peer.h"

enum { LISTENERS_MAX = THREAD_LISTENERS_MAX, API_MAX = 2 };
#define FIRST_LEASE (1500 * MSEC) /* the same for a lease on a shared Redis: without one nothing is answered from a cache */
#define FIRST_FACTS (500 * MSEC) /* how long a start waits for Qdrant's aliases before it serves without them */

extern char **environ;

struct server {
    struct conf_sources sources;
    struct conf_switch *switches; /* set by the control API; one for each model and key, models' names are our own */
    unsigned n_switches, n_switched; /* switched: how often */
    pthread_mutex_t switches_lock;
    struct conf *conf;           /* the effective one; each snapshot has a reference of its own */
    unsigned n_workers, generation;
    int exit_code;
    char *pid_file;              /* what was written, and is removed at the end; NULL: none */
    struct engine_shared shared;
    struct coherence *coherence;
    struct thread *worker;       /* n_workers, and the control thread behind them */
    struct thread *control;
    struct conf_where listening[LISTENERS_MAX]; /* texts are our own */
    unsigned n_listening;
    struct facts_poll *facts_poll;
    struct server_watch *server_watch;
    struct prover *prover;
    struct external_poll *external_poll;
    struct tune *tune;
    struct api_tuning tuning;
    struct api *api;
    _Atomic bool draining, up;   /* up: all listeners are bound, the pid file is written */
    struct letter open_control, close_control;
    struct conf_where api_at[API_MAX]; /* where the control port listens; texts are our own */
    unsigned n_api_at;
    _Atomic bool control_up, control_down;
    struct metrics *metrics;
};

static struct server server; /* the process has one */

struct conf_sources server_sources(const struct args *args)
{
    chain_init(plugin_registry);
    return (struct conf_sources){
        .flags = args->flags,
        .environment = environ,
        .model_table = chain.model_table,
        .n_model_tables = chain.n_model_tables,
        .process_table = chain.process_table,
        .n_process_tables = chain.n_process_tables,
    };
}

/* ---- configuration ---- */

static void prepare(struct conf *conf, unsigned generation)
{
    conf->generation = generation;
    for (unsigned i = 0; i < conf->n_models; i++)
        conf->model[i].metrics_id = metrics_model(conf->model[i].name);
}

_Static_assert(METRICS_THREADS_MAX >= CONF_WORKERS_MAX + 2, "workers, control thread and main thread");

static unsigned count_workers(const struct conf *conf)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (conf->process.workers || cores < 1)
        return conf->process.workers ? (unsigned)conf->process.workers : 1;
    if (cores <= CONF_WORKERS_MAX)
        return (unsigned)cores;
    log_warn("workers_limited", "cores=%ld workers=%d", cores, CONF_WORKERS_MAX);
    return CONF_WORKERS_MAX;
}

/* ---- listeners ---- */

static int listening_at(const char *text)
{
    for (unsigned i = 0; i < server.n_listening; i++)
        if (strcmp(server.listening[i].text, text) == 0)
            return (int)i;
    return -1;
}

/* The addresses that a configuration adds, open and served by nobody yet: all of them before one is handed over, so that a configuration
 * with one that cannot be opened changes nothing. */
struct opened {
    bool new_api; /* the control port's come first */
    unsigned n;
    struct opened_at {
        const struct conf_where *where;
        unsigned n_fds;
        int fd[SLOTS_WORKERS_MAX];
    } *at;
};

static void close_opened(struct opened *o)
{
    while (o->n) {
        struct opened_at *at = &o->at[--o->n];
        for (unsigned i = 0; i < at->n_fds; i++)
            if (at->fd[i] >= 0)
                close(at->fd[i]);
        listen_forget(at->where);
    }
    free(o->at);
}

static bool is_beside_own(const struct conf_where *w)
{
    bool found = false;
    for (unsigned i = 0; i < server.n_listening; i++)
        found = found || where_overlaps(w, &server.listening[i]);
    for (unsigned i = 0; i < server.n_api_at; i++)
        found = found || where_overlaps(w, &server.api_at[i]);
    return found;
}

static bool open_one(struct opened *o, const struct conf_where *w, unsigned n_fds, struct err *err)
{
    struct opened_at *at = &o->at[o->n];
    at->where = w;
    at->n_fds = n_fds;
    return listen_open(w, is_beside_own(w), at->fd, n_fds, err) && ++o->n;
}

static bool same_api(const struct conf *conf)
{
    if (conf->n_api != server.n_api_at)
        return false;
    for (unsigned i = 0; i < conf->n_api; i++)
        if (strcmp(conf->api[i].text, server.api_at[i].text) != 0)
            return false;
    return true;
}

static bool open_sockets(const struct conf *conf, struct opened *o, struct err *err)
{
    bool good = true;
    *o = (struct opened){.new_api = !same_api(conf), .at = mem_alloc((conf->n_api + conf->n_listen + 1) * sizeof *o->at)};
    for (unsigned i = 0; good && o->new_api && i < conf->n_api; i++)
        good = open_one(o, &conf->api[i], 1, err);
    unsigned n = server.n_listening;
    for (unsigned i = 0; good && i < conf->n_listen; i++) {
        const struct conf_where *w = &conf->listen[i];
        if (listening_at(w->text) >= 0)
            continue;
        if (n++ == LISTENERS_MAX)
            good = err_set(err, "%s: too many listeners, at most %d", w->text, LISTENERS_MAX);
        else
            good = open_one(o, w, server.n_workers, err);
    }
    if (!good)
        close_opened(o);
    return good;
}

static void add_listener(const struct opened_at *at)
{
    struct conf_where *mine = &server.listening[server.n_listening++];
    *mine = *at->where;
    mine->text = mem_strdup(at->where->text);
    bool any = false;
    for (unsigned i = 0; i < at->n_fds; i++) {
        if (at->fd[i] < 0)
            continue;
        thread_order_listen(&server.worker[i], mine->text, at->fd[i]);
        any = true;
    }
    if (any)
        log_info("listening", "address=%s", mine->text);
    else
        log_info("not_listening", "address=%s why=\"the host has no such address\"", mine->text);
}

static void drop_listener(unsigned at)
{
    struct conf_where *w = &server.listening[at];
    for (unsigned i = 0; i < server.n_workers; i++)
        thread_order_unlisten(&server.worker[i], w->text);
    log_info("not_listening", "address=%s", w->text);
    listen_forget(w);
    free((char *)w->text);
    *w = server.listening[--server.n_listening];
}

static void drop_unwanted(const struct conf *conf)
{
    for (unsigned i = 0; i < server.n_listening;) {
        bool wanted = false;
        for (unsigned k = 0; k < conf->n_listen; k++)
            wanted = wanted || strcmp(conf->listen[k].text, server.listening[i].text) == 0;
        if (wanted)
            i++;
        else
            drop_listener(i);
    }
}

/* For names of upstreams, once they have resolved. The listeners are those of the snapshot in use; the resolver's thread asks. */
static struct {
    pthread_mutex_t lock;
    struct conf *conf;
} own = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void know_own(struct conf *conf)
{
    pthread_mutex_lock(&own.lock);
    conf_put(&own.conf);
    own.conf = conf ? conf_get(conf) : NULL;
    pthread_mutex_unlock(&own.lock);
}

static bool is_own(const struct sockaddr *address, uint16_t port)
{
    char text[INET6_ADDRSTRLEN] = "";
    const void *bytes = address->sa_family == AF_INET ? (const void *)&((const struct sockaddr_in *)address)->sin_addr
                                                      : (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr;
    struct conf_server server_at = {.url = "", .host = text, .port = port};
    bool found = false;
    inet_ntop(address->sa_family, bytes, text, sizeof text);
    pthread_mutex_lock(&own.lock);
    for (unsigned i = 0; own.conf && i < own.conf->n_listen; i++)
        found = found || where_is_own(&own.conf->listen[i], &server_at);
    for (unsigned i = 0; own.conf && i < own.conf->n_api; i++)
        found = found || where_is_own(&own.conf->api[i], &server_at);
    pthread_mutex_unlock(&own.lock);
    return found;
}

/* ---- the control thread's part ---- */

static bool ready(struct str *why, void *arg)
{
    (void)arg;
    if (atomic_load(&server.draining)) {
        *why = STR("draining: no new requests are taken");
        return false;
    }
    if (!atomic_load(&server.up)) {
        *why = STR("starting: not all listeners are open");
        return false;
    }
    if (!facts_poll_upstream_ok(server.facts_poll)) {
        *why = STR("no upstream answers");
        return false;
    }
    return true;
}

static void publish(struct facts *facts, void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < server.n_workers; i++)
        thread_order_facts(&server.worker[i], facts_get(facts));
    worker_use_facts(&server.control->worker, facts_get(facts)); /* the control thread, which this runs on, asks as a client would */
}

static void names_changed(void *arg)
{
    (void)arg;
    facts_poll_kick(server.facts_poll);
}

static void seen_collection(struct str name, bool shown, void *arg)
{
    (void)arg;
    facts_poll_seen(server.facts_poll, name, shown);
}

static void collection_changed(struct str name, void *arg)
{
    (void)arg;
    facts_poll_changed(server.facts_poll, name);
}

static void server_in_doubt(void *arg)
{
    (void)arg;
    server_watch_kick(server.server_watch);
}

static void emit_states(struct metrics_out *out, void *arg)
{
    (void)arg;
    for (unsigned s = 0; s < TX_COUNT; s++) {
        uint64_t n = 0; /* as each thread last told */
        for (unsigned i = 0; i < server.n_workers; i++)
            n += atomic_load_explicit(&server.worker[i].in_state[s], memory_order_relaxed);
        metrics_emit(out, tx_state_names[s], (double)n);
    }
}

/* On the control thread, whose facts these are, while it makes the page. */
static void emit_points(struct metrics_out *out, void *arg)
{
    const struct facts *f = server.control->worker.facts;
    (void)arg;
    for (unsigned i = 0; f && i < f->n_collections; i++)
        if (f->collection[i].source == FACT_READ)
            metrics_emit(out, f->collection[i].name.p, (double)f->collection[i].points);
}

static void emit_memory(struct metrics_out *out, void *arg)
{
    const struct facts *f = server.control->worker.facts;
    (void)arg;
    for (unsigned i = 0; f && i < f->n_collections; i++)
        if (f->collection[i].memory.known)
            metrics_emit(out, f->collection[i].name.p, (double)f->collection[i].memory.good);
}

static void dump(const struct conf *conf, FILE *out, void *arg)
{
    (void)arg;
    conf_dump(conf, &server.sources, out);
}

/* Order to the control thread: serve on these sockets from now on, and on no others. */
struct api_order {
    struct letter letter;
    int fd[API_MAX];
    unsigned n;
};

static unsigned set_switch(const char *model, const char *key, const char *value, void *arg);

/* Queries are counted anew, by all. Control thread: the only one that hands digests out, so that all have the same. */
static void share_digests(void)
{
    struct worker *control = &server.control->worker;
    struct digests *d = digests_new((unsigned)control->snapshot->conf->process.digests, server.n_workers + 1);
    for (unsigned i = 0; i < server.n_workers; i++)
        thread_order_digests(&server.worker[i], digests_get(d));
    worker_use_digests(control, d);
}

static void reset_queries(void *arg)
{
    (void)arg;
    share_digests();
}

static void open_share_digests(struct letter *letter)
{
    free(letter);
    share_digests();
}

static void drop_letter(struct letter *letter)
{
    free(letter);
}

static void open_api(struct letter *letter)
{
    struct api_order *o = (struct api_order *)letter;
    struct api_hooks hooks = {.ready = ready, .worker = &server.control->worker, .tuning = &server.tuning, .set_switch = set_switch, .dump = dump,
                              .reset_queries = reset_queries};
    struct err err;
    if (server.api)
        api_close(&server.api);
    if (o->n)
        server.api = api_open(server.control->worker.loop.base, o->fd, o->n, &hooks, &err);
    if (o->n && !server.api)
        log_error("api_failed", "why=\"%s\"", err.text);
    free(o);
}

static void forget_api(void)
{
    while (server.n_api_at) {
        struct conf_where *w = &server.api_at[--server.n_api_at];
        listen_forget(w);
        free((char *)w->text);
    }
}

/* Hands the control port's new sockets over; returns how many addresses those are. */
static unsigned use_api(const struct conf *conf, const struct opened *opened)
{
    struct api_order *o = mem_zalloc(sizeof *o);
    o->letter.open = open_api;
    forget_api();
    for (unsigned i = 0; i < conf->n_api; i++) {
        const struct opened_at *at = &opened->at[i];
        if (at->fd[0] >= 0)
            o->fd[o->n++] = at->fd[0];
        server.api_at[server.n_api_at] = *at->where;
        server.api_at[server.n_api_at++].text = mem_strdup(at->where->text);
    }
    loop_post(&server.control->worker.loop, &o->letter);
    return conf->n_api;
}

/* New sockets are handed over, then what is not wanted any more is closed; addresses that stay keep theirs. */
static void use_sockets(const struct conf *conf, struct opened *o)
{
    for (unsigned i = o->new_api ? use_api(conf, o) : 0; i < o->n; i++)
        add_listener(&o->at[i]);
    drop_unwanted(conf);
    free(o->at);
}

static void use_hooks(struct worker *w)
{
    w->names_changed = names_changed;
    w->seen_collection = seen_collection;
    w->collection_changed = collection_changed;
    w->server_in_doubt = server_in_doubt;
}

static void open_control(struct letter *letter)
{
    (void)letter;
    server.facts_poll = facts_poll_open(&server.control->worker, publish, NULL);
    server.server_watch = server_watch_open(&server.control->worker);
    server.prover = prover_open(&server.control->worker);
    server.external_poll = external_poll_open(&server.control->worker);
    server.tune = tune_open(&server.control->worker);
    server.tuning = tuning_of(server.tune);
    share_digests();
    page_open(&server.control->worker, server.tune, ready);
    atomic_store(&server.control_up, true);
}

static void close_control(struct letter *letter)
{
    struct worker *w = &server.control->worker;
    (void)letter;
    w->names_changed = NULL;
    w->seen_collection = NULL;
    w->collection_changed = NULL;
    w->server_in_doubt = NULL;
    tune_stop(server.tune); /* first: who waits for a job still gets its answer */
    if (server.api)
        api_close(&server.api);
    page_close();
    tune_close(&server.tune);
    prover_close(&server.prover);
    external_poll_close(&server.external_poll);
    server_watch_close(&server.server_watch);
    facts_poll_close(&server.facts_poll);
    atomic_store(&server.control_down, true);
}

static void pause_usec(uint64_t usec)
{
    struct timespec t = {.tv_sec = (time_t)(usec / SEC), .tv_nsec = (long)(usec % SEC) * 1000};
    nanosleep(&t, NULL);
}

/* Before the first client is let in: aliases, who the servers are, and the lease under which caches may answer. Bounded: what is not there
 * in time is done without until it comes. */
static void await_knowledge(void)
{
    const struct conf_process *p = &server.conf->process;
    bool leased = p->redis.on && p->redis_shared;
    uint64_t began = clock_usec(), now = began;
    struct coherence_gauges gauges = {0};
    bool was_alive = false;
    for (; now < began + FIRST_LEASE; pause_usec(MSEC), now = clock_usec()) {
        bool known = facts_poll_started(server.facts_poll) && server_watch_started(server.server_watch);
        coherence_gauges(server.coherence, now, &gauges);
        bool waits_for_facts = !known && now < began + FIRST_FACTS;
        if (leased && gauges.alive && !was_alive)
            facts_poll_kick(server.facts_poll); /* the map that was fetched without a lease is good for routing only */
        was_alive = gauges.alive;
        bool answers = !leased || (gauges.alive && (facts_poll_good(server.facts_poll) || !facts_poll_upstream_ok(server.facts_poll)));
        if (!waits_for_facts && answers)
            return;
    }
}

static bool start_threads(struct err *err)
{
    server.worker = mem_zalloc((server.n_workers + 1) * sizeof *server.worker);
    server.control = &server.worker[server.n_workers];
    for (unsigned i = 0; i <= server.n_workers; i++) {
        thread_init(&server.worker[i], i, server.n_workers, &server.shared, server.coherence, snapshot_new(conf_get(server.conf)));
        use_hooks(&server.worker[i].worker);
    }
    strcpy(server.control->name, "control");
    server.open_control.open = open_control;
    server.close_control.open = close_control;
    if (!thread_start(server.control))
        return err_set(err, "cannot start a thread: %s", strerror(errno));
    loop_post(&server.control->worker.loop, &server.open_control);
    while (!atomic_load(&server.control_up))
        pause_usec(MSEC);
    for (unsigned i = 0; i < server.n_workers; i++)
        if (!thread_start(&server.worker[i]))
            return err_set(err, "cannot start a thread: %s", strerror(errno));
    await_knowledge();
    return true;
}

/* ---- reload and end ---- */

/* A switch wins over files and environment, survives reloads while its model is there, and ends with the process. Any thread. */
static unsigned set_switch(const char *model, const char *key, const char *value, void *arg)
{
    (void)arg;
    pthread_mutex_lock(&server.switches_lock);
    unsigned at = 0, number = ++server.n_switched;
    while (at < server.n_switches && (strcmp(server.switches[at].model, model) != 0 || strcmp(server.switches[at].key, key) != 0))
        at++;
    if (at == server.n_switches) {
        server.switches = mem_realloc(server.switches, ++server.n_switches * sizeof *server.switches);
        server.switches[at] = (struct conf_switch){.model = mem_strdup(model), .key = key};
    }
    server.switches[at].value = value;
    pthread_mutex_unlock(&server.switches_lock);
    log_info("switch", "model=%s key=%s value=%s", model, key, value);
    kill(getpid(), SIGHUP); /* the main thread makes the new configuration */
    return number;
}

static struct conf *load_with_switches(struct err *err)
{
    pthread_mutex_lock(&server.switches_lock);
    server.sources.switches = server.switches;
    server.sources.n_switches = server.n_switches;
    struct conf *conf = conf_load(&server.sources, err);
    if (conf)
        conf->n_switched = server.n_switched;
    pthread_mutex_unlock(&server.switches_lock);
    return conf;
}

/* Those of models that went with a reload: a model of that name that comes later is as its files say. */
static void drop_switches(const struct conf *conf)
{
    unsigned kept = 0;
    pthread_mutex_lock(&server.switches_lock);
    for (unsigned i = 0; i < server.n_switches; i++) {
        struct conf_switch *s = &server.switches[i];
        if (conf_model_named(conf, str_of(s->model))) {
            server.switches[kept++] = *s;
            continue;
        }
        log_info("switch_dropped", "model=%s key=%s value=%s why=\"the configuration has no such model any more\"", s->model, s->key, s->value);
        free((char *)s->model);
    }
    server.n_switches = kept;
    pthread_mutex_unlock(&server.switches_lock);
}

static bool use_access_log(const struct conf *conf, struct err *err)
{
    return log_target(LOG_ACCESS, conf->process.access_log ? conf->process.access_log : "off", err);
}

/* Said once for each path: without this log quiver serves as with it. */
static void use_query_log(const char *target)
{
    static char *lacking;
    struct err err;
    bool on = log_target(LOG_QUERIES, target, &err);
    if (!on && (!lacking || strcmp(lacking, target) != 0))
        log_warn("query_log_off", "key=log.queries why=\"%s\"", err.text);
    free(lacking);
    lacking = on ? NULL : mem_strdup(target);
    if (!on)
        log_target(LOG_QUERIES, "off", &err);
}

/* The files that are written to, all or none. */
static bool use_files(const struct conf *conf, struct err *err)
{
    struct err ignored;
    if (!use_access_log(conf, err))
        return false;
    if (pid_file_use(&server.pid_file, conf->process.pid_file, err))
        return true;
    use_access_log(server.conf, &ignored);
    return false;
}

static void reload(void)
{
    struct err err = {{0}};
    struct conf *conf = load_with_switches(&err);
    struct opened opened;
    if (conf && !open_sockets(conf, &opened, &err))
        conf_put(&conf);
    if (conf && !use_files(conf, &err)) {
        close_opened(&opened);
        conf_put(&conf);
    }
    if (!conf) {
        log_error("reload_failed", "generation=%u why=\"%s\"", server.generation, err.text);
        metrics_add(server.metrics, M_RELOADS_FAILED, 1);
        return;
    }
    use_sockets(conf, &opened);
    drop_switches(conf);
    prepare(conf, ++server.generation);
    log_set_level((enum log_level)conf->process.log_level);
    use_query_log(conf->process.query_log);
    log_reopen(); /* as after SIGUSR1: whoever moved the files away may tell by either signal */
    for (unsigned i = 0; i <= server.n_workers; i++)
        thread_order_snapshot(&server.worker[i], snapshot_new(conf_get(conf)));
    if (conf->process.digests != server.conf->process.digests) {
        struct letter *letter = mem_zalloc(sizeof *letter);
        letter->open = open_share_digests;
        letter->drop = drop_letter;
        loop_post(&server.control->worker.loop, letter);
    }
    conf_put(&server.conf);
    server.conf = conf;
    know_own(conf);
    facts_poll_kick(server.facts_poll);
    resolver_set_interval(conf->process.resolve_interval);
    resolver_kick();
    metrics_add(server.metrics, M_RELOADS_OK, 1);
    metrics_gauge_set(server.metrics, G_CONFIG_GENERATION, server.generation);
    log_info("reload", "generation=%u models=%u", server.generation, conf->n_models);
}

static void drain(void)
{
    if (atomic_load(&server.up))
        log_info("draining", "timeout_s=%llu", (unsigned long long)(server.conf->process.drain_timeout / SEC));
    atomic_store(&server.draining, true);
    metrics_gauge_set(server.metrics, G_DRAINING, 1);
    for (unsigned i = 0; i < server.n_workers; i++)
        thread_order_drain(&server.worker[i], server.conf->process.drain_timeout);
    while (server.n_listening) { /* now, not at the end: the path may be another quiver's by then */
        struct conf_where *w = &server.listening[--server.n_listening];
        listen_forget(w);
        free((char *)w->text);
    }
    for (unsigned i = 0; i < server.n_workers; i++)
        thread_join(&server.worker[i]);
    forget_api();
    loop_post(&server.control->worker.loop, &server.close_control);
    thread_order_drain(server.control, 0);
    thread_join(server.control);
    for (unsigned i = 0; i <= server.n_workers; i++)
        thread_fini(&server.worker[i]);
    metrics_scrape(MS_TX_STATE, NULL, NULL);
    metrics_scrape(MS_COLLECTION_POINTS, NULL, NULL);
    metrics_scrape(MS_COLLECTION_MEMORY, NULL, NULL);
    free(server.worker);
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static const char *op_names[OP_COUNT];

static bool start(struct err *err)
{
    const struct conf_process *p = &server.conf->process;
    struct opened opened;
    log_set_level((enum log_level)p->log_level);
    server.exit_code = EXIT_CONFIG; /* files that cannot be written are the configuration's fault, addresses are not */
    if (!use_access_log(server.conf, err) || !log_start(err))
        return false;
    use_query_log(p->query_log);
    server.exit_code = EXIT_LISTEN;
    know_own(server.conf);
    resolver_set_own(is_own);
    resolver_set_interval(p->resolve_interval);
    resolver_start();
    if (!start_threads(err) || !open_sockets(server.conf, &opened, err))
        return false;
    use_sockets(server.conf, &opened);
    server.exit_code = EXIT_CONFIG;
    if (!pid_file_use(&server.pid_file, p->pid_file, err))
        return false;
    server.exit_code = EXIT_OK;
    atomic_store(&server.up, true);
    return true;
}

int server_run(const struct args *args, const struct conf_sources *sources, struct conf *conf)
{
    sigset_t set;
    struct err err = {{0}};
    int signal_number;
    (void)args;
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    for (const int *s = (const int[]){SIGHUP, SIGUSR1, SIGTERM, SIGINT, 0}; *s; s++)
        sigaddset(&set, *s);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (unsigned i = 0; i < OP_COUNT; i++)
        op_names[i] = ops[i].name;
    metrics_init(OP_COUNT, op_names);
    server = (struct server){.sources = *sources, .switches_lock = PTHREAD_MUTEX_INITIALIZER, .conf = conf, .generation = 1};
    server.metrics = metrics_open("main");
    foreign_init(&server.shared.foreign);
    metrics_gauge_set(server.metrics, G_CONFIG_GENERATION, 1);
    prepare(conf, 1);
    server.n_workers = count_workers(conf);
    metrics_gauge_set(server.metrics, G_WORKERS, server.n_workers);
    server.coherence = coherence_new();
    metrics_scrape(MS_TX_STATE, emit_states, NULL);
    metrics_scrape(MS_COLLECTION_POINTS, emit_points, NULL);
    metrics_scrape(MS_COLLECTION_MEMORY, emit_memory, NULL);
    bool up = start(&err);
    if (!up)
        log_error("start_failed", "why=\"%s\"", err.text);
    else
        log_info("started", "version=%s pid=%ld workers=%u models=%u", QUIVER_VERSION, (long)getpid(), server.n_workers,
                 conf->n_models);
    while (up && sigwait(&set, &signal_number) == 0 && signal_number != SIGTERM && signal_number != SIGINT) {
        if (signal_number == SIGHUP)
            reload();
        else
            log_reopen();
    }
    if (server.worker)
        drain();
    resolver_stop();
    know_own(NULL);
    pid_file_use(&server.pid_file, NULL, &err);
    coherence_free(&server.coherence);
    while (server.n_switches)
        free((char *)server.switches[--server.n_switches].model);
    free(server.switches);
    conf_put(&server.conf);
    log_stop();
    metrics_fini();
    return server.exit_code;
}
