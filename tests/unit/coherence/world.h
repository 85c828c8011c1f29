/* world.h - for tests over a real Redis: processes (struct coherence) with their workers on one loop.
 * Included by a test's one source file, after cmocka.h. */
#pragma once

#include "coherence/coherence.h"
#include "io/redis_server.h"

struct process {
    struct coherence *coherence;
    struct coherence_worker *worker[2];
};

struct world {
    struct loop loop;
    struct conf conf;
    struct redis_server server;
    unsigned port;
    struct process a, b;
};

static struct world world;

static inline int open_world(void **state)
{
    if (!have_redis())
        skip();
    signal(SIGPIPE, SIG_IGN);
    world = (struct world){0};
    world.port = free_port();
    world.conf.process = (struct conf_process){.quarantine = 60 * SEC,
                                               .redis_budget = 50 * MSEC, /* slow machines and sanitizers */
                                               .redis_connect_timeout = 300 * MSEC,
                                               .redis_shared = true,
                                               .redis_url = "redis://127.0.0.1",
                                               .redis = {.on = true, .host = "127.0.0.1",
                                                         .port = (uint16_t)world.port}};
    loop_init(&world.loop);
    *state = &world;
    return 0;
}

static inline int close_world(void **state)
{
    struct process *process[] = {&world.a, &world.b};
    for (unsigned i = 0; i < 2; i++) {
        coherence_worker_close(&process[i]->worker[0]);
        coherence_worker_close(&process[i]->worker[1]);
        coherence_free(&process[i]->coherence);
    }
    redis_kill(&world.server);
    loop_fini(&world.loop);
    return 0;
}

static inline bool worker_ready(void *arg)
{
    return coherence_redis_ready(arg);
}

static inline bool worker_away(void *arg)
{
    return !coherence_redis_ready(arg);
}

static inline void start_process(struct process *process, unsigned n_workers)
{
    process->coherence = coherence_new();
    for (unsigned i = 0; i < n_workers; i++)
        process->worker[i] = coherence_worker_open(process->coherence, &world.loop, &world.conf);
}

/* The first member of a roster waits one lease for others before anybody answers. Where that does not matter
 * a member that is there already spares the wait; it goes when those that count have come. */
static inline void up(const char *more)
{
    assert_true(redis_start(&world.server, world.port, more));
    redis_say(&world.server, "ZADD quiver:roster 9999999999999 early", NULL, 0);
}

static inline void up_cold(const char *more)
{
    assert_true(redis_start(&world.server, world.port, more));
}

static inline bool has_joined(void *arg)
{
    struct coherence_gauges gauges;
    coherence_gauges(arg, clock_usec(), &gauges);
    return gauges.attached;
}

static inline void wait_ready(struct process *process)
{
    if (world.conf.process.redis_shared)
        assert_true(run_until(&world.loop, has_joined, process->coherence, 3000));
    redis_say(&world.server, "ZREM quiver:roster early", NULL, 0);
    for (unsigned i = 0; i < 2; i++)
        if (process->worker[i])
            assert_true(run_until(&world.loop, worker_ready, process->worker[i], 3000));
    run_for(&world.loop, 30); /* the connection of the stores too */
}

static inline void both_up(void)
{
    up("");
    start_process(&world.a, 1);
    start_process(&world.b, 1);
    wait_ready(&world.a);
    wait_ready(&world.b);
}

/* ---- looks ---- */

static inline void count(void *arg)
{
    ++*(unsigned *)arg;
}

static inline bool counted(void *arg)
{
    return *(unsigned *)arg > 0;
}

static inline struct coherence_names names_of(const char *a)
{
    struct coherence_names names = {0};
    coherence_names_add(&names, str_of(a));
    return names;
}

/* Looks and waits for the result; the look stays for the caller to cancel. */
static inline enum look_result look_at(struct coherence_worker *w, struct look *look, const char *name,
                                const char *key)
{
    struct coherence_names names = names_of(name);
    struct look_entry entry = {STR("mixtral"), str_of(key)};
    unsigned woken = 0;
    turn(&world.loop, 0);
    if (!look_start(w, look, &names, key ? &entry : NULL, count, &woken)) {
        assert_int_equal(woken, 0);
        assert_true(run_until(&world.loop, counted, &woken, 1000));
        run_for(&world.loop, 5);
        assert_int_equal(woken, 1);
    }
    return look->result;
}

static inline enum look_result just_look(struct process *process, const char *name, struct fingerprint *f)
{
    struct look look;
    enum look_result result = look_at(process->worker[0], &look, name, NULL);
    if (f)
        *f = look.fingerprint;
    look_cancel(&look);
    return result;
}

struct wanted_result {
    struct process *process;
    const char *name;
    enum look_result result;
};

static inline bool result_is(void *arg)
{
    struct wanted_result *wanted = arg;
    return just_look(wanted->process, wanted->name, NULL) == wanted->result;
}

static inline bool becomes(struct process *process, const char *name, enum look_result result, unsigned msec)
{
    struct wanted_result wanted = {process, name, result};
    return run_until(&world.loop, result_is, &wanted, msec);
}

/* ---- writes ---- */

/* Opens and waits until it may go on; how long that took. */
static inline uint64_t open_write(struct process *process, struct write_hold *hold, const char *name)
{
    struct coherence_names names = names_of(name);
    unsigned woken = 0;
    turn(&world.loop, 0);
    uint64_t begin = clock_usec();
    if (!coherence_open(process->worker[0], hold, &names, count, &woken))
        assert_true(run_until(&world.loop, counted, &woken, 1500));
    return clock_usec() - begin;
}

static inline uint64_t close_write(struct write_hold *hold, enum write_proof proof)
{
    unsigned woken = 0;
    uint64_t begin = clock_usec();
    if (!coherence_close(hold, proof, count, &woken))
        assert_true(run_until(&world.loop, counted, &woken, 1500));
    return clock_usec() - begin;
}

#define IN_A_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
