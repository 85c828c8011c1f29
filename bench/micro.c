/* micro.c - single steps of a request by themselves: nanoseconds each, and GB/s where there are bytes.
 *   bench_micro [-q] [STEP]...      -q: shorter. Prints a line "STEP NSEC BYTES" for each.
 * Every step is a function of its own name, so that `perf record -g bench_micro scan` shows it and what is below. The
 * body is a search of 4096 dimensions as clients send it. One thread. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/json_scan.h"
#include "http/head.h"
#include "plugins/cache/entry.h"
#include "plugins/cache/store.h"
#include "qdrant/key.h"
#include "qdrant/query.h"
#include "upstream/pool.h"

enum { DIMENSIONS = 4096, ENTRIES = 10000, BATCHES = 9 };

static volatile uint64_t sink; /* what a step found: so that it is not optimised away */

static struct str body, vector;
static struct arena arena;
static char arena_room[64 * 1024];
static struct rewrite_rules rules;
static struct key_secret secret;
static struct store *store;
static struct blob *kept;
static struct pool_host host;
static struct loop loop;
static struct pool *pool;

static const char request_head[] =
    "POST /collections/mixtral/points/search HTTP/1.1\r\nHost: 127.0.0.1:6333\r\nAccept: */*\r\n"
    "Accept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\nUser-Agent: python-httpx/0.28.1\r\n"
    "Content-Type: application/json\r\nContent-Length: 92000\r\n\r\n";
static const char response_head[] =
    "HTTP/1.1 200 OK\r\ncontent-length: 640\r\ncontent-type: application/json\r\nvary: accept-encoding, Origin\r\n"
    "date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n";

/* The same numbers in each run. */
static double number(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return ((double)(*seed >> 11) / 9007199254740992.0 - 0.5) * 0.0541; /* length 1 over 4096 dimensions */
}

static void make_body(void)
{
    static char text[DIMENSIONS * 26 + 64];
    uint64_t seed = 1;
    size_t n = (size_t)sprintf(text, "{\"vector\": [");
    for (int i = 0; i < DIMENSIONS; i++)
        n += (size_t)sprintf(text + n, "%s%.17g", i ? ", " : "", number(&seed));
    n += (size_t)sprintf(text + n, "], \"limit\": 10, \"with_payload\": false}");
    body = (struct str){text, n};
    const char *begin = memchr(text, '[', n), *end = memchr(text, ']', n);
    vector = (struct str){begin, (size_t)(end + 1 - begin)};
}

static void make_rules(void)
{
    rules.any = true;
    rules.knob[KNOB_HNSW_EF_].set_default = STR("32");
    rules.knob[KNOB_RESCORE_].set_default = STR("true");
    rules.knob[KNOB_OVERSAMPLING_].set_default = STR("1.5");
}

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static struct store_key entry_key(uint64_t i)
{
    return (struct store_key){.hi = mix(i + 1), .lo = mix(i + 77777), .n_body = body.n, .op = OP_SEARCH};
}

static void make_store(void)
{
    struct str answer = STR("{\"result\":[{\"id\":1,\"version\":1,\"score\":0.5}],\"status\":\"ok\",\"time\":0.000123456}");
    struct http_head head;
    struct http_refusal no;
    size_t scanned = 0, n;
    bool changed;
    if (http_parse_response(response_head, sizeof response_head - 1, &scanned, false, &head, &n, &no) != HTTP_DONE)
        abort();
    kept = entry_make(&head, answer, 0, &changed);
    store = store_new(256 << 20);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        struct store_key key = entry_key(i);
        if (!store_put(store, &key, (struct fingerprint){1, 1}, 0, kept, 0, 0, 3600 * SEC))
            abort();
    }
}

static void nothing_to_do(struct task *task)
{
}

static struct task owner = {.run = nothing_to_do};

/* A pool with one connection, to a socket of our own that nobody serves. */
static void make_pool(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    char url[64];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, 1) || getsockname(fd, (struct sockaddr *)&at, &n))
        abort();
    snprintf(url, sizeof url, "http://127.0.0.1:%u", ntohs(at.sin_port));
    loop_init(&loop);
    host = (struct pool_host){.loop = &loop, .idle_timeout = 3600 * SEC};
    slots_set_loop(0, &loop);
    pool = pool_of(&host, slots_get("bench", peer_get(url, "127.0.0.1", ntohs(at.sin_port)), 1, 0));
    struct pool_wait wait = {0};
    if (pool_ask(pool, &wait, 1, false, &owner) != POOL_LENT)
        abort();
    while (!uconn_connected(wait.conn))
        loop_turn(&loop, clock_usec() + MSEC);
    pool_release(&wait.conn, CONN_REUSE);
}

/* The steps. */
#define STEP __attribute__((noinline, noclone)) static void

STEP step_scan(void) /* over a vector's text, brackets included */
{
    struct json j = {vector.p, vector.p + vector.n};
    struct str found;
    if (!json_skip_flat(&j, &found))
        abort();
    sink += found.n;
}

static void query(const struct rewrite_rules *with)
{
    struct query_facts facts;
    arena_fini(&arena);
    arena_init(&arena, arena_room, sizeof arena_room);
    query_scan(&arena, &ops[OP_SEARCH], body, with, &facts);
    if (!facts.known || facts.n_edits != (with ? 1 : 0))
        abort();
    sink += facts.n_edits;
}

STEP step_query(void) /* what is where in a body */
{
    query(NULL);
}

STEP step_splice(void) /* the same, and what is written into it */
{
    query(&rules);
}

STEP step_key(void)
{
    struct key_text key;
    struct key_input in = {.op = &ops[OP_SEARCH], .path = STR("/collections/mixtral/points/search"), .spelled = STR("mixtral"),
                           .resolved = STR("mixtral"), .part = &body, .n_part = 1};
    key_make(&secret, &in, &key);
    sink += key.hash.lo;
}

STEP step_route(void)
{
    struct route route;
    arena_fini(&arena);
    arena_init(&arena, arena_room, sizeof arena_room);
    route_of(&arena, STR("POST"), STR("/collections/mixtral/points/search"), &route);
    sink += route.op->id;
}

STEP step_request_head(void)
{
    static struct http_head head;
    struct http_refusal no;
    size_t scanned = 0, n;
    if (http_parse_request(request_head, sizeof request_head - 1, &scanned, &head, &n, &no) != HTTP_DONE)
        abort();
    sink += head.n_fields;
}

STEP step_response_head(void)
{
    static struct http_head head;
    struct http_refusal no;
    size_t scanned = 0, n;
    if (http_parse_response(response_head, sizeof response_head - 1, &scanned, false, &head, &n, &no) != HTTP_DONE)
        abort();
    sink += head.n_fields;
}

STEP step_store(void) /* a hit among ENTRIES, and the entry read */
{
    static uint64_t i;
    struct store_key key = entry_key(i++ % ENTRIES);
    struct store_hit hit;
    struct entry entry;
    if (store_get(store, &key, (struct fingerprint){1, 1}, SEC, &hit) != STORE_HIT || !entry_read(blob_str(hit.blob), &entry))
        abort();
    sink += entry.before.n;
    blob_put(&hit.blob);
}

STEP step_pool(void) /* an idle connection is lent and comes back */
{
    struct pool_wait wait = {0};
    if (pool_ask(pool, &wait, 1, false, &owner) != POOL_LENT)
        abort();
    pool_release(&wait.conn, CONN_REUSE);
}

static const struct {
    const char *name;
    void (*run)(void);
    const struct str *bytes; /* what it goes over; NULL: no matter */
} steps[] = {
    {"scan", step_scan, &vector},
    {"query", step_query, &body},
    {"splice", step_splice, &body},
    {"key", step_key, &body},
    {"route", step_route, NULL},
    {"request_head", step_request_head, NULL},
    {"response_head", step_response_head, NULL},
    {"store", step_store, NULL},
    {"pool", step_pool, NULL},
};

static double usec_of(void (*run)(void), uint64_t n)
{
    uint64_t begin = clock_usec();
    for (uint64_t i = 0; i < n; i++)
        run();
    return (double)(clock_usec() - begin);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Nanoseconds: the median of batches that take long enough to be timed. */
static double measure(void (*run)(void), double batch_usec)
{
    uint64_t n = 1;
    while (usec_of(run, n) < batch_usec)
        n *= 2;
    double nsec[BATCHES];
    for (int i = 0; i < BATCHES; i++)
        nsec[i] = usec_of(run, n) * 1000 / (double)n;
    qsort(nsec, BATCHES, sizeof *nsec, by_size);
    return nsec[BATCHES / 2];
}

static bool is_step(const char *name)
{
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        if (strcmp(name, steps[i].name) == 0)
            return true;
    return false;
}

int main(int argc, char **argv)
{
    bool quick = argc > 1 && strcmp(argv[1], "-q") == 0;
    int first = quick ? 2 : 1;
    make_body();
    make_rules();
    for (unsigned i = 0; i < KEY_SECRET_BYTES; i++)
        secret.bytes[i] = (unsigned char)rand();
    arena_init(&arena, arena_room, sizeof arena_room);
    make_store();
    make_pool();
    for (int k = first; k < argc; k++)
        if (!is_step(argv[k])) {
            fprintf(stderr, "bench_micro: no step '%s', expected some of:", argv[k]);
            for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
                fprintf(stderr, " %s", steps[i].name);
            fputc('\n', stderr);
            return 2;
        }
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        bool wanted = first >= argc;
        for (int k = first; k < argc; k++)
            wanted = wanted || strcmp(argv[k], steps[i].name) == 0;
        if (wanted)
            printf("%s %.1f %zu\n", steps[i].name, measure(steps[i].run, quick ? 5e3 : 1e5), steps[i].bytes ? steps[i].bytes->n : 0);
    }
    return 0;
}
