/* Many writers and readers through two processes of two workers and one Redis, with faults: a read must
 * never show less than what was acknowledged, or seen by a finished read, before it began. The peer behind
 * is a number per name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "coherence/coherence.h"
#include "io/redis_server.h"

enum { N_NAMES = 4, N_PROCESSES = 2, N_WORKERS = 2, N_CLIENTS = 48,
      QUIET = 0 /* the name nobody writes */ };

static uint64_t quarantine = 300 * MSEC;
static const char *const name_text[N_NAMES] = {"quiet", "busy", "hot", "slow"};

struct truth {
    uint64_t value;        /* what the peer has */
    uint64_t acknowledged; /* by an answer that proved it */
    uint64_t seen;         /* by a read that has ended */
};

struct memory {            /* a process's memory store: one answer a name */
    struct fingerprint fingerprint;
    uint64_t value;
};

struct process {
    struct coherence *coherence;
    struct coherence_worker *worker[N_WORKERS];
    struct memory memory[N_NAMES];
};

struct world;

struct client {
    struct world *world;
    struct process *process;
    struct coherence_worker *worker;
    void (*step)(struct client *); /* what to do when it is woken or its time has come; NULL: begin anew */
    bool woken, unproven;
    uint64_t at, begun, least, value;
    unsigned name;
    struct write_hold hold;
    struct look look;
};

struct world {
    struct loop loop;
    struct conf conf;
    struct redis_server server;
    unsigned port;
    struct process process[N_PROCESSES];
    struct truth truth[N_NAMES];
    struct client client[N_CLIENTS];
    uint64_t random;
    bool with_unproven, draining;
    unsigned reads, writes, hits, redis_hits, quiet_reads, quiet_hits, stale;
    uint64_t longest; /* write, microseconds */
};

static uint64_t dice(struct world *w, uint64_t n)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (w->random >> 33) % n;
}

static void wake(void *arg)
{
    ((struct client *)arg)->woken = true;
}

static void sleep_for(struct client *c, void (*step)(struct client *), uint64_t usec)
{
    c->step = step;
    c->at = clock_usec() + usec;
    c->woken = false;
}


static void wait_for(struct client *c, void (*step)(struct client *))
{
    c->step = step;
    c->at = NEVER;
}

/* ---- a write: open, apply at the peer, close, acknowledge ---- */

static void acknowledge(struct client *c)
{
    struct truth *truth = &c->world->truth[c->name];
    if (!c->unproven && c->value > truth->acknowledged)
        truth->acknowledged = c->value;
    uint64_t took = clock_usec() - c->begun;
    if (took > c->world->longest)
        c->world->longest = took;
    c->step = NULL;
}

static void apply_late(struct client *c)
{
    c->world->truth[c->name].value++;
    c->step = NULL;
}

static void close_it(struct client *c)
{
    c->woken = false;
    bool now = coherence_close(&c->hold, c->unproven ? PROOF_NONE : PROOF_COMPLETED, wake, c);
    /* acknowledged only: it shows some time within the quarantine, whether or not the close has been told */
    if (c->unproven) {
        if (!now)
            coherence_cancel(&c->hold);
        sleep_for(c, apply_late, dice(c->world, quarantine / 2));
    } else if (now) {
        acknowledge(c);
    } else {
        wait_for(c, acknowledge);
    }
}

static void apply(struct client *c)
{
    if (!c->unproven)
        c->value = ++c->world->truth[c->name].value;
    sleep_for(c, close_it, dice(c->world, 1000));
}

static void forward_write(struct client *c)
{
    sleep_for(c, apply, dice(c->world, 1000));
}

static void begin_write(struct client *c)
{
    struct coherence_names names = {0};
    coherence_names_add(&names, str_of(name_text[c->name]));
    c->unproven = c->world->with_unproven && dice(c->world, 20) == 0;
    c->begun = clock_usec();
    c->woken = false;
    c->world->writes++;
    if (coherence_open(c->worker, &c->hold, &names, wake, c))
        forward_write(c);
    else
        wait_for(c, forward_write);
}

/* ---- a read: look, serve or fetch and store ---- */

static void say_stale(struct client *c, uint64_t value)
{
    for (unsigned p = 0; p < N_PROCESSES; p++) {
        struct coherence_gauges g;
        coherence_gauges(c->world->process[p].coherence, clock_usec(), &g);
        print_message("process %u attached %u alive %u members %u untold %u; ", p, g.attached, g.alive,
                      g.members, g.untold);
    }
    print_message("%s through %u: %lu, expected %lu; hit %u, Redis %016lx\n", name_text[c->name],
                  (unsigned)(c->process - c->world->process), (unsigned long)value, (unsigned long)c->least,
                  c->look.result == LOOK_CLEAR, (unsigned long)c->look.redis_fingerprint.hi);
}

static void end_read(struct client *c, uint64_t value)
{
    struct truth *truth = &c->world->truth[c->name];
    c->world->reads++;
    c->world->quiet_reads += c->name == QUIET;
    if (value < c->least && c->world->stale++ < 5)
        say_stale(c, value);
    if (value > truth->seen)
        truth->seen = value;
    look_cancel(&c->look);
    c->step = NULL;
}

static void store(struct client *c)
{
    if (c->look.result == LOOK_CLEAR) {
        char text[24];
        struct look_entry entry = {STR("m"), STR("k")};
        snprintf(text, sizeof text, "%lu", (unsigned long)c->value);
        c->process->memory[c->name] = (struct memory){c->look.fingerprint, c->value};
        coherence_store(c->worker, &c->look, &entry, str_of(text), 60 * SEC);
    }
    end_read(c, c->value);
}

static void read_peer(struct client *c)
{
    c->value = c->world->truth[c->name].value;
    sleep_for(c, store, dice(c->world, 2000)); /* the answer travels, and is stored late */
}

static void looked(struct client *c)
{
    struct memory *memory = &c->process->memory[c->name];
    bool clear = c->look.result == LOOK_CLEAR;
    if (clear && memory->value && fingerprint_eq(memory->fingerprint, c->look.fingerprint)) {
        c->world->hits++;
        c->world->quiet_hits += c->name == QUIET;
        end_read(c, memory->value);
    } else if (clear && c->look.entry) {
        c->world->redis_hits++;
        c->world->quiet_hits += c->name == QUIET;
        uint64_t value;
        assert_true(str_u64(blob_str(c->look.entry), UINT64_MAX, &value));
        *memory = (struct memory){c->look.fingerprint, value};
        end_read(c, memory->value);
    } else {
        sleep_for(c, read_peer, dice(c->world, 1000));
    }
}

static void begin_read(struct client *c)
{
    static const struct look_entry entry = {{"m", 1}, {"k", 1}};
    struct truth *truth = &c->world->truth[c->name];
    struct coherence_names names = {0};
    coherence_names_add(&names, str_of(name_text[c->name]));
    c->least = truth->acknowledged > truth->seen ? truth->acknowledged : truth->seen;
    c->woken = false;
    if (look_start(c->worker, &c->look, &names, &entry, wake, c))
        looked(c);
    else
        wait_for(c, looked);
}

static void begin(struct client *c)
{
    struct world *w = c->world;
    c->process = &w->process[dice(w, N_PROCESSES)];
    c->worker = c->process->worker[dice(w, N_WORKERS)];
    static const unsigned writes_in_100[N_NAMES] = {0, 10, 40, 2};
    c->name = (unsigned)dice(w, N_NAMES);
    if (dice(w, 100) < writes_in_100[c->name])
        begin_write(c);
    else
        begin_read(c);
}

static void step_all(struct world *w)
{
    uint64_t now = clock_usec();
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        struct client *c = &w->client[i];
        if (!c->step && !w->draining)
            begin(c);
        else if (c->step && (c->woken || now >= c->at))
            c->step(c);
    }
}

static bool all_idle(const struct world *w)
{
    for (unsigned i = 0; i < N_CLIENTS; i++)
        if (w->client[i].step)
            return false;
    return true;
}

static struct world world;

static bool worker_ready(void *arg)
{
    return coherence_redis_ready(arg);
}

static int open_world(void **state)
{
    if (!have_redis())
        skip();
    signal(SIGPIPE, SIG_IGN);
    world = (struct world){.random = 7, .port = free_port()};
    world.conf.process = (struct conf_process){.quarantine = quarantine,
                                               .redis_budget = 50 * MSEC,
                                               .redis_connect_timeout = 300 * MSEC,
                                               .redis_shared = true,
                                               .redis_url = "redis://127.0.0.1",
                                               .redis = {.on = true, .host = "127.0.0.1",
                                                         .port = (uint16_t)world.port}};
    if (!redis_start(&world.server, world.port, ""))
        return -1;
    loop_init(&world.loop);
    for (unsigned p = 0; p < N_PROCESSES; p++) {
        world.process[p].coherence = coherence_new();
        for (unsigned k = 0; k < N_WORKERS; k++)
            world.process[p].worker[k] = coherence_worker_open(world.process[p].coherence, &world.loop,
                                                               &world.conf);
    }
    for (unsigned n = 0; n < N_NAMES; n++)
        world.truth[n] = (struct truth){1, 0, 0};
    for (unsigned i = 0; i < N_CLIENTS; i++)
        world.client[i].world = &world;
    for (unsigned p = 0; p < N_PROCESSES; p++)
        for (unsigned k = 0; k < N_WORKERS; k++)
            if (!run_until(&world.loop, worker_ready, world.process[p].worker[k], 3000))
                return -1;
    return 0;
}

static int close_world(void **state)
{
    for (unsigned i = 0; i < N_CLIENTS; i++) {
        look_cancel(&world.client[i].look);
        coherence_cancel(&world.client[i].hold);
    }
    for (unsigned p = 0; p < N_PROCESSES; p++) {
        for (unsigned k = 0; k < N_WORKERS; k++)
            coherence_worker_close(&world.process[p].worker[k]);
        coherence_free(&world.process[p].coherence);
    }
    redis_kill(&world.server);
    loop_fini(&world.loop);
    return 0;
}

/* Runs for msec, with fault() every `every` ms. */
static void check(unsigned msec, unsigned every, void (*fault)(struct world *))
{
    uint64_t end = clock_usec() + msec * MSEC, next = clock_usec() + every * MSEC;
    while (clock_usec() < end || !all_idle(&world)) {
        world.draining = clock_usec() >= end;
        turn(&world.loop, 1);
        step_all(&world);
        if (fault && clock_usec() >= next && !world.draining) {
            fault(&world);
            next = clock_usec() + every * MSEC;
        }
    }
    print_message("%u reads, %u writes, %u hits in memory, %u in Redis, "
                  "quiet %u of %u, longest write %lu ms, %u stale\n",
                  world.reads, world.writes, world.hits,
                  world.redis_hits, world.quiet_hits, world.quiet_reads,
                  (unsigned long)(world.longest / MSEC), world.stale);
    assert_int_equal(world.stale, 0);
    assert_true(world.longest < 1200 * MSEC);
    assert_true(world.reads > 500 && world.writes > 50);
    assert_true(world.hits > 0);
}

static void without_faults_nothing_is_stale_and_the_quiet_name_is_hit(void **state)
{
    world.with_unproven = true;
    check(3000, 0, NULL);
    assert_true(world.quiet_hits * 10 >= world.quiet_reads * 8);
}

static void cut_connections(struct world *w)
{
    redis_say(&w->server, "CLIENT KILL TYPE normal", NULL, 0);
}

static void connections_cut_all_the_time_make_nothing_stale(void **state)
{
    world.with_unproven = true;
    check(3000, 150, cut_connections);
}

static void flush(struct world *w)
{
    redis_say(&w->server, dice(w, 2) ? "FLUSHALL" : "SCRIPT FLUSH", NULL, 0);
}

static void flushes_make_nothing_stale(void **state)
{
    check(4000, 900, flush);
}

static void restart(struct world *w)
{
    redis_kill(&w->server);
    assert_true(redis_start(&w->server, w->port, ""));
}

static void restarts_make_nothing_stale(void **state)
{
    check(5000, 1500, restart);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]); /* e.g. 'restarts*' */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_faults_nothing_is_stale_and_the_quiet_name_is_hit, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(connections_cut_all_the_time_make_nothing_stale, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(flushes_make_nothing_stale, open_world, close_world),
        cmocka_unit_test_setup_teardown(restarts_make_nothing_stale, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
