#include "conf/tables.h"

#include <stdio.h>

/* In the order of enum log_level. */
static const char *const log_levels[] = {"error", "warn", "info", "debug", NULL};

/* In the order of enum bump_failure. */
static const char *const bump_failures[] = {"continue", "fail", NULL};

#define P struct conf_process
#define Q CONF_QUIVER
#define TEXT_OF_(x) #x
#define TEXT_OF(x) TEXT_OF_(x)

static const struct opt options[] = {
    OPT_TEXTS(
        P, listen, "listen", Q, "6333",
        "where clients connect: PORT (127.0.0.1 and ::1), ADDR:PORT, [IPv6]:PORT, unix:/path, or a list"),
    OPT_TEXT(P, api, "api", Q, "8000",
             "where the control port listens: one such place, or off; beside keys below it, `api.listen`"),
    OPT_SECRET(P, api_token, "api.token", Q,
               "whoever shows it may use all of the control port; without one only this host may"),
    OPT_TEXT(P, api_token_file, "api.token_file", Q, NULL, "a file that holds that token"),
    OPT_SECRET(P, api_read_token, "api.read_token", Q, "whoever shows it may read and search, and change nothing"),
    OPT_TEXT(P, api_read_token_file, "api.read_token_file", Q, NULL, "a file that holds that token"),
    OPT_TEXTS(P, api_hosts, "api.hosts", Q, NULL,
              "names in Host that changes may be sent to, besides localhost and addresses"),
    OPT_UINT(P, workers, "workers", Q, "0", NULL, TEXT_OF(CONF_WORKERS_MAX),
             "event loops for clients; 0: one per core; a change needs a restart"),
    OPT_USEC(P, busy_poll, "busy_poll", Q, "0s", "0s", "10ms",
             "a worker that has just worked looks for more for so long before it sleeps, and up to four times as long for the answer of an "
             "upstream that usually comes so soon: 50us saves the time to wake a core, and costs processor time"),
    OPT_TEXT(P, pid_file, "pid", Q, NULL, "file for the process id"),
    OPT_TEXT(P, redis_url, "redis.url", Q, "off",
             "redis://[user[:password]@]HOST[:PORT][/DB], unix:/path[?db=N], or off"),
    OPT_BOOL(P, redis_shared, "redis.shared", Q, "true",
             "other quivers use the same Redis: tokens and holds are kept there too"),
    OPT_USEC(P, redis_budget, "redis.budget", Q, "1ms", "100us", "1s",
             "how long a look into Redis may take before it is a miss, or the wait for what must be known of a new collection"),
    OPT_USEC(P, redis_connect_timeout, "redis.connect_timeout", Q, "500ms", "1ms", "1m",
             "how long a connect to Redis may take"),
    OPT_BYTES(P, redis_max_entry, "redis.max_entry", Q, "64KiB", "1KiB", "64MiB",
              "larger answers are not kept in Redis: they would keep tokens and marks waiting"),
    OPT_USEC(P, quarantine, "coherence.quarantine", Q, "60s", "0s", "1h",
             "after a write of unknown outcome, how long its collection is not answered from the cache"),
    OPT_USEC(P, forget, "coherence.forget", Q, "30s", "1s", "1h",
             "a quiver cut off from Redis keeps the others' caches silent for so long, then they go on without it"),
    OPT_ENUM(P, on_bump_failure, "coherence.on_bump_failure", Q, "continue", bump_failures,
             "writes of a quiver that is cut off for longer than coherence.forget: continue, or fail (503)"),
    OPT_USEC(P, alias_poll, "coherence.alias_poll", Q, "5s", "100ms", "1h",
             "how often aliases are read from Qdrant"),
    OPT_SECRET(P, api_key, "upstream.api_key", Q,
               "Qdrant's key for quiver's own requests; clients bring their own"),
    OPT_TEXT(P, api_key_file, "upstream.api_key_file", Q, NULL, "a file that holds that key"),
    OPT_USEC(P, connect_timeout, "upstream.connect_timeout", Q, "1s", "1ms", "5m",
             "how long a connect to Qdrant may take"),
    OPT_USEC(P, queue_timeout, "upstream.queue_timeout", Q, "5s", "1ms", "1h",
             "how long a request may wait for a connection"),
    OPT_USEC(P, read_timeout, "upstream.first_byte_timeout", Q, "65s", "1ms", "1d",
             "how long a read's answer may take to begin; Qdrant's own limit is 60 s"),
    OPT_USEC_UNSET(P, write_timeout, "upstream.write_timeout", Q, "1ms", "7d",
                   "the same for writes, snapshots and collection operations; 0: no limit"),
    OPT_USEC(P, body_timeout, "upstream.body_timeout", Q, "30s", "1ms", "1d",
             "the longest pause inside an answer"),
    OPT_USEC(P, idle_timeout, "upstream.idle_timeout", Q, "4s", "0s", "1h",
             "unused connections to Qdrant are closed after this; Qdrant closes them after 5 s"),
    OPT_USEC(P, resolve_interval, "upstream.resolve_interval", Q, "30s", "1s", "1d",
             "how often host names are resolved again"),
    OPT_USEC(P, head_timeout, "limits.head_timeout", Q, "10s", "1ms", "1h",
             "for a request's head, from its first byte"),
    OPT_USEC(P, client_body_timeout, "limits.body_timeout", Q, "30s", "1ms", "1d",
             "the longest pause inside a request's body"),
    OPT_USEC(P, client_write_timeout, "limits.write_timeout", Q, "30s", "1ms", "1d",
             "for a client that takes nothing of its answer"),
    OPT_USEC(P, keep_alive, "limits.keep_alive", Q, "75s", "0s", "1d",
             "idle connections of clients are closed after this"),
    OPT_USEC(P, drain_timeout, "limits.drain_timeout", Q, "30s", "0s", "1d",
             "for what runs when quiver is told to stop"),
    OPT_BYTES(P, hold_body, "limits.hold_body", Q, "32MiB", "64KiB", "1GiB",
              "the largest search body; Qdrant's own limit is 32 MiB"),
    OPT_BYTES(P, hold_total, "limits.hold_total", Q, "256MiB", "1MiB", "1TiB",
              "memory for held bodies, whole process"),
    OPT_UINT(P, max_connections, "limits.connections", Q, "10000", "1", "1000000",
             "connections of clients, whole process; of the descriptors that the system allows, an eighth (1024 at most) stays for others"),
    OPT_TEXT(P, state_dir, "state_dir", Q, NULL,
             "where the history of settings is kept; default: /var/lib/quiver, else $XDG_STATE_HOME/quiver, else "
             "~/.local/state/quiver; a change needs a restart"),
    OPT_USEC(P, tune_interval, "tune.interval", Q, "10s", "100ms", "1d",
             "how often collections are compared with what is wished for them"),
    OPT_USEC(P, tune_green_timeout, "tune.green_timeout", Q, "1h", "1s", "30d",
             "how long an index may take to be built after settings were applied"),
    OPT_TEXT(P, access_log, "log.access", Q, "off",
             "a line for each request: off, stderr or an absolute path"),
    OPT_TEXT(P, query_log, "log.queries", Q, "/var/log/citadel/query-optimization.log",
             "a line of JSON for each search that is slow, rewritten or drawn by lot: off, stderr or an absolute path; off as well "
             "where that file cannot be opened"),
    OPT_USEC(P, query_slow, "log.slow", Q, "100ms", "0s", "1h", "a search that takes as long is slow"),
    OPT_BOOL(P, query_rewritten, "log.rewritten", Q, "true", "a line for rewritten searches too"),
    OPT_REAL(P, query_sample, "log.sample", Q, "0.001", "0", "1", "the part of all searches that is drawn by lot"),
    OPT_UINT(P, query_rate, "log.rate", Q, "1000", "1", "1000000",
             "lines in log.queries a second at most, for slow searches and again for the others; those left out are counted"),
    OPT_ENUM(P, log_level, "log.level", Q, "info", log_levels, "what goes to stderr"),
    OPT_UINT(P, digests, "queries.digests", Q, "500", "0", "10000",
             "shapes of queries that are counted apart, see GET /api/v1/optimizations/queries/stats; others share one row"),
};

static bool says(char *text, size_t n, const char *what)
{
    snprintf(text, n, "%s", what);
    return false;
}

static bool log_place_fits(const char *place)
{
    return strcmp(place, "off") == 0 || strcmp(place, "stderr") == 0 || place[0] == '/';
}

/* What no row can say about one member alone. */
static bool check(void *filled, char *text, size_t n)
{
    struct conf_process *p = filled;
    if (p->hold_body > p->hold_total) {
        snprintf(text, n,
                 "limits.hold_total, limits.hold_body: limits.hold_total, %llu bytes, is smaller than "
                 "limits.hold_body, %llu bytes; expected room for one body at least",
                 (unsigned long long)p->hold_total, (unsigned long long)p->hold_body);
        return false;
    }
    p->access_on = strcmp(p->access_log, "off") != 0;
    if (!log_place_fits(p->access_log))
        return says(text, n,
                    "log.access: not an absolute path, expected off, stderr or a path such as "
                    "/var/log/quiver/access.log");
    if (!log_place_fits(p->query_log))
        return says(text, n,
                    "log.queries: not an absolute path, expected off, stderr or a path such as "
                    "/var/log/citadel/query-optimization.log");
    return true;
}

const struct opt_table conf_process_table = {
    "quiver", options, sizeof options / sizeof *options, sizeof(struct conf_process), check,
};

/* The variables that operators type: QUIVER_<SHORT> beside QUIVER_<KEY>. */
static const struct {
    const char *key, *variable;
} short_names[] = {
    {"redis.url", "QUIVER_REDIS"},
    {"cache.enabled", "QUIVER_CACHE"},
    {"rewrite.enabled", "QUIVER_REWRITE"},
    {"log.access", "QUIVER_ACCESS_LOG"},
    {"log.queries", "QUIVER_QUERY_LOG"},
};

const char *conf_short_env(const char *key)
{
    for (size_t i = 0; i < sizeof short_names / sizeof *short_names; i++)
        if (strcmp(key, short_names[i].key) == 0)
            return short_names[i].variable;
    return NULL;
}
