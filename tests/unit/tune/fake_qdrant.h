/* fake_qdrant.h - a server that keeps collections' configurations as Qdrant does, in threads of its own, and
 * a control worker that the test turns by hand. One of each for the whole test program: slots live as long as
 * the process. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "engine/plugin.h"
#include "engine/tx.h"
#include "tune/doc.h"
#include "tune/tune.h"

static struct {
    pthread_mutex_t lock;
    int listener;
    unsigned port;
    /* guarded by lock */
    cJSON *collections; /* name -> info */
    cJSON *patches;     /* bodies, in order */
    const char *alias, *alias_of; /* the one there is; NULL: none */
    const char
        *deaf_to;    /* a key that is answered with 200 and not kept, as under an overwrite of the server */
    unsigned refuse; /* PATCH: this status */
    unsigned refuse_list; /* GET /collections: this status */
    bool dead;       /* closes every connection unanswered */
    bool cut_patch;  /* does it and closes unanswered */
    bool lose_patch; /* closes unanswered, and does nothing */
    unsigned busy_after; /* looks at its work until a PATCH's index is built */
    unsigned busy;
    unsigned refuse_search, refuse_exact; /* these statuses; 0: answers */
    unsigned searches, dead_after;        /* how many came; dead from so many on, 0: never */
    const char *slow;                     /* searches in this collection take slow_usec; NULL: none does */
    unsigned slow_usec;
    bool slow_exact_alone;                /* only the exact ones among them */
    bool no_vectors;                      /* what is stored lacks the vector, and pages never end */
    unsigned pages;                       /* how many were read */
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void fake_merge(cJSON *into, const cJSON *from)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, from) {
        if (cJSON_IsNull(one) || (fake.deaf_to && strcmp(one->string, fake.deaf_to) == 0))
            continue;
        cJSON *there = doc_get(into, one->string);
        if (cJSON_IsObject(one) && cJSON_IsObject(there)) {
            fake_merge(there, one);
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(into, one->string);
        cJSON_AddItemToObject(into, one->string, cJSON_Duplicate(one, true));
    }
}

static inline void fake_patch(cJSON *info, const cJSON *body)
{
    cJSON *config = doc_get(info, "config");
    const cJSON *quantization = doc_get(body, "quantization_config"), *one;
    fake_merge(doc_get(config, "hnsw_config"), doc_get(body, "hnsw_config"));
    fake_merge(doc_get(config, "optimizer_config"), doc_get(body, "optimizers_config"));
    if (doc_get(body, "strict_mode_config") && !cJSON_IsObject(doc_get(config, "strict_mode_config"))) {
        cJSON_DeleteItemFromObjectCaseSensitive(config, "strict_mode_config");
        cJSON_AddObjectToObject(config, "strict_mode_config");
    }
    fake_merge(doc_get(config, "strict_mode_config"), doc_get(body, "strict_mode_config"));
    cJSON_ArrayForEach(one, doc_get(body, "vectors"))
        fake_merge(doc_at(config, "params.vectors"), one);
    if (doc_is_set(quantization)) {
        cJSON_DeleteItemFromObjectCaseSensitive(config, "quantization_config");
        cJSON_AddItemToObject(config, "quantization_config",
                              cJSON_IsString(quantization) ? cJSON_CreateNull()
                                                           : cJSON_Duplicate(quantization, true));
    }
}

/* Four points, each its own vector, near to every question in the same order. */
static inline cJSON *fake_points(const char *what, const char *body, cJSON *out, unsigned *status)
{
    cJSON *list = cJSON_AddArrayToObject(out, "points");
    bool exact = strstr(body, "\"exact\":true") != NULL;
    for (int i = 0; i < 4; i++) {
        cJSON *one = cJSON_CreateObject(), *vector;
        cJSON_AddNumberToObject(one, "id", i + (exact && i == 3)); /* of four, three are the exact ones */
        cJSON_AddItemToArray(list, one);
        if (strcmp(what, "scroll") != 0)
            continue;
        vector = fake.no_vectors ? cJSON_AddObjectToObject(one, "vector") : cJSON_AddArrayToObject(one, "vector");
        for (int k = 0; k < 8 && !fake.no_vectors; k++)
            cJSON_AddItemToArray(vector, cJSON_CreateNumber(k == i));
    }
    if (strcmp(what, "scroll") == 0) {
        if (fake.no_vectors)
            cJSON_AddNumberToObject(out, "next_page_offset", ++fake.pages);
        else
            cJSON_AddNullToObject(out, "next_page_offset");
        return out;
    }
    fake.searches++;
    fake.dead |= fake.dead_after && fake.searches >= fake.dead_after;
    *status = fake.refuse_search ? fake.refuse_search : exact && fake.refuse_exact ? fake.refuse_exact : 200;
    return out;
}

static inline unsigned fake_pause(const char *path, const char *body)
{
    char start[100];
    snprintf(start, sizeof start, "/collections/%s/points/query", fake.slow ? fake.slow : "");
    bool exact = strstr(body, "\"exact\":true") != NULL;
    return fake.slow && strcmp(path, start) == 0 && (exact || !fake.slow_exact_alone) ? fake.slow_usec : 0;
}

/* In place. */
static inline void fake_unescape(char *path)
{
    char *out = path;
    for (unsigned c; *path; *out++ = (char)c)
        if (sscanf(path, "%%%2x", &c) == 1)
            path += 3;
        else
            c = (unsigned char)*path++;
    *out = 0;
}

/* The answer's "result", or NULL with *status. */
static inline cJSON *fake_answer(const char *method, char *path, const char *body, unsigned *status)
{
    char *name = path + strnlen(path, strlen("/collections")), *rest = NULL;
    cJSON *out = cJSON_CreateObject(), *one;
    *status = 200;
    if (strcmp(path, "/aliases") == 0) {
        cJSON *list = cJSON_AddArrayToObject(out, "aliases");
        if (!fake.alias)
            return out;
        cJSON_AddItemToArray(list, one = cJSON_CreateObject());
        cJSON_AddStringToObject(one, "alias_name", fake.alias);
        cJSON_AddStringToObject(one, "collection_name", fake.alias_of);
        return out;
    }
    if (*name == 0 && fake.refuse_list) {
        *status = fake.refuse_list;
        return out;
    }
    if (*name == 0) {
        cJSON *list = cJSON_AddArrayToObject(out, "collections");
        cJSON_ArrayForEach(one, fake.collections) {
            cJSON *each = cJSON_CreateObject();
            cJSON_AddStringToObject(each, "name", one->string);
            cJSON_AddItemToArray(list, each);
        }
        return out;
    }
    if ((rest = strchr(++name, '/')))
        *rest++ = 0;
    cJSON *info = doc_get(fake.collections, fake.alias && strcmp(name, fake.alias) == 0 ? fake.alias_of : name);
    if (info && rest && strncmp(rest, "points/", 7) == 0)
        return fake_points(rest + 7, body, out, status);
    if (!info || (rest && strcmp(rest, "optimizations") != 0)) {
        *status = 404;
    } else if (strcmp(method, "PATCH") == 0) {
        cJSON *patch = cJSON_Parse(body);
        cJSON_AddItemToArray(fake.patches, cJSON_Duplicate(patch, true));
        if (fake.refuse)
            *status = fake.refuse;
        else
            fake_patch(info, patch);
        fake.busy = fake.busy_after;
        cJSON_Delete(patch);
    } else if (rest) {
        cJSON *running = cJSON_AddArrayToObject(out, "running");
        cJSON_AddNumberToObject(cJSON_AddObjectToObject(out, "summary"), "queued_optimizations", 0);
        if (fake.busy && fake.busy--)
            cJSON_AddItemToArray(running, cJSON_CreateObject());
    } else {
        cJSON_Delete(out);
        return cJSON_Duplicate(info, true);
    }
    return out;
}

static inline void *fake_serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    char in[20000], out[20000], method[16], path[1000];
    size_t n = 0;
    for (;;) {
        char *end;
        in[n] = 0;
        if (!(end = strstr(in, "\r\n\r\n"))) {
            ssize_t got = recv(fd, in + n, sizeof in - 1 - n, 0);
            if (got <= 0)
                break;
            n += (size_t)got;
            continue;
        }
        char *length = strcasestr(in, "content-length:");
        size_t body = length && length < end ? strtoul(length + 15, NULL, 10) : 0,
               whole = (size_t)(end + 4 - in) + body;
        while (n < whole) {
            ssize_t got = recv(fd, in + n, sizeof in - 1 - n, 0);
            if (got <= 0)
                break;
            n += (size_t)got;
        }
        in[n] = 0;
        sscanf(in, "%15s %999s", method, path);
        fake_unescape(path);
        pthread_mutex_lock(&fake.lock);
        bool lost = fake.dead || (fake.lose_patch && strcmp(method, "PATCH") == 0);
        bool cut = lost || (fake.cut_patch && strcmp(method, "PATCH") == 0);
        unsigned status = 200, pause = fake_pause(path, end + 4);
        cJSON *doc = cJSON_CreateObject();
        if (!lost)
            cJSON_AddItemToObject(doc, "result", fake_answer(method, path, end + 4, &status));
        pthread_mutex_unlock(&fake.lock);
        usleep(pause);
        if (status != 200) {
            cJSON_DeleteItemFromObject(doc, "result");
            cJSON_AddStringToObject(cJSON_AddObjectToObject(doc, "status"), "error", "the fake says no");
        }
        char *text = cJSON_PrintUnformatted(doc);
        int m = snprintf(out, sizeof out,
                         "HTTP/1.1 %u X\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n\r\n%s",
                         status, strlen(text), text);
        free(text);
        cJSON_Delete(doc);
        if (cut || send(fd, out, (size_t)m, MSG_NOSIGNAL) != m)
            break;
        memmove(in, in + whole, n - whole);
        n -= whole;
    }
    close(fd);
    return NULL;
}

static inline void *fake_accept(void *arg)
{
    pthread_t id;
    for (int fd; (fd = accept(fake.listener, NULL, NULL)) >= 0;)
        if (pthread_create(&id, NULL, fake_serve, (void *)(intptr_t)fd) == 0)
            pthread_detach(id);
    return NULL;
}

static inline void fake_start(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    pthread_t id;
    fake.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fake.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fake.listener, 64), 0);
    assert_int_equal(getsockname(fake.listener, (struct sockaddr *)&at, &n), 0);
    fake.port = ntohs(at.sin_port);
    assert_int_equal(pthread_create(&id, NULL, fake_accept, NULL), 0);
    pthread_detach(id);
}

/* ---- the worker ---- */

static struct {
    struct worker worker;
    struct engine_shared shared;
    struct conf_sources sources;
    const char *upstream[1];
    char url[64], folder[64], file[100], history[100];
    struct tune *tune;
    unsigned generation;
} stage;

static inline struct snapshot *stage_load(const char *yaml)
{
    struct err err = {{0}};
    FILE *f = fopen(stage.file, "w");
    assert_non_null(f);
    fprintf(f, "state_dir: %s/state\ntune: {interval: 100ms, green_timeout: 3s}\n%s", stage.folder, yaml);
    fclose(f);
    struct conf *conf = conf_load(&stage.sources, &err);
    if (!conf)
        fail_msg("configuration: %s", err.text);
    conf->generation = ++stage.generation;
    for (unsigned i = 0; i < conf->n_models; i++)
        conf->model[i].metrics_id = metrics_model(conf->model[i].name);
    return snapshot_new(conf);
}

/* Once. */
static inline void stage_start(void)
{
    static const struct plugin *const none[] = {NULL};
    static const char *op_names[OP_COUNT];
    static char *const nothing[] = {NULL};
    struct worker *w = &stage.worker;
    fake_start();
    for (unsigned i = 0; i < OP_COUNT; i++)
        op_names[i] = ops[i].name;
    metrics_init(OP_COUNT, op_names);
    strcpy(stage.folder, "/tmp/quiver-tune-XXXXXX");
    assert_non_null(mkdtemp(stage.folder));
    snprintf(stage.file, sizeof stage.file, "%s/one.yaml", stage.folder);
    snprintf(stage.history, sizeof stage.history, "%s/state/history.jsonl", stage.folder);
    snprintf(stage.url, sizeof stage.url, "http://127.0.0.1:%u", fake.port);
    stage.upstream[0] = stage.url;
    chain_init(none);
    stage.sources = (struct conf_sources){
        .flags = {.path = stage.file,
                  .upstream = stage.upstream,
                  .n_upstream = 1,
                  .cache = -1,
                  .rewrite = -1,
                  .workers = -1},
        .environment = nothing,
    };
    w->n_workers = 1;
    w->name = "control";
    w->shared = &stage.shared;
    loop_init(&w->loop);
    list_init(&w->running);
    w->upstream.loop = &w->loop;
    w->upstream.idle_timeout = SEC;
    w->metrics = w->upstream.metrics = metrics_open("control");
    slots_set_loop(0, &w->loop);
    struct snapshot *first = stage_load("");
    w->coherence_shared = coherence_new();
    w->coherence = coherence_worker_open(w->coherence_shared, &w->loop, first->conf);
    chain_open(w);
    worker_use_snapshot(w, first);
}

static inline void stage_end(void)
{
    struct worker *w = &stage.worker;
    char state[80];
    shutdown(fake.listener, SHUT_RDWR);
    tx_abort_all(w);
    pools_close(&w->upstream);
    chain_close(w);
    tx_free_spares(w);
    coherence_worker_close(&w->coherence);
    coherence_free(&w->coherence_shared);
    snapshot_put(&w->snapshot);
    loop_fini(&w->loop);
    unlink(stage.history);
    snprintf(state, sizeof state, "%s/state", stage.folder);
    rmdir(state);
    unlink(stage.file);
    rmdir(stage.folder);
}

static inline void stage_turn(void)
{
    loop_turn(&stage.worker.loop, 0);
}

#define turn_until(condition)                                                                                \
    do {                                                                                                     \
        for (uint64_t end_ = clock_usec() + 15 * SEC; !(condition);) {                                       \
            if (clock_usec() > end_)                                                                         \
                fail_msg("after 15 s it is still not so: %s", #condition);                                   \
            stage_turn();                                                                                    \
            usleep(200);                                                                                     \
        }                                                                                                    \
    } while (0)

static inline void turn_for(uint64_t usec)
{
    for (uint64_t end = clock_usec() + usec; clock_usec() < end; usleep(200))
        stage_turn();
}

/* ---- what tests do with the fake ---- */

static inline void fake_add(const char *name)
{
    cJSON *info = cJSON_Parse("{\"status\": \"green\", \"optimizer_status\": \"ok\", \"points_count\": 1000, "
                              "\"indexed_vectors_count\": 1000, \"segments_count\": 2,"
                              " \"config\": {\"params\": {\"vectors\": {\"size\": 8, \"distance\": "
                              "\"Cosine\"}, \"on_disk_payload\": true},"
                              " \"hnsw_config\": {\"m\": 16, \"ef_construct\": 100, \"full_scan_threshold\": "
                              "10000, \"on_disk\": false},"
                              " \"optimizer_config\": {\"default_segment_number\": 0, \"max_segment_size\": "
                              "null, \"indexing_threshold\": 10000,"
                              " \"max_optimization_threads\": null}, \"quantization_config\": null}}");
    pthread_mutex_lock(&fake.lock);
    cJSON_AddItemToObject(fake.collections, name, info);
    pthread_mutex_unlock(&fake.lock);
}

static inline int fake_patches(void)
{
    pthread_mutex_lock(&fake.lock);
    int n = cJSON_GetArraySize(fake.patches);
    pthread_mutex_unlock(&fake.lock);
    return n;
}

/* Behind quiver's back. */
static inline void fake_change(const char *name, const char *patch)
{
    cJSON *body = cJSON_Parse(patch);
    assert_non_null(body);
    pthread_mutex_lock(&fake.lock);
    fake_patch(doc_get(fake.collections, name), body);
    pthread_mutex_unlock(&fake.lock);
    cJSON_Delete(body);
}

/* The value at a path of config; the test's to compare before the next turn. */
static inline const cJSON *fake_value(const char *name, const char *path)
{
    return doc_at(doc_get(doc_get(fake.collections, name), "config"), path);
}

/* Before each test: no collections, no history, this configuration. */
static inline void stage_begin(const char *yaml)
{
    pthread_mutex_lock(&fake.lock);
    cJSON_Delete(fake.collections);
    cJSON_Delete(fake.patches);
    fake.collections = cJSON_CreateObject();
    fake.patches = cJSON_CreateArray();
    fake.deaf_to = fake.alias = fake.alias_of = NULL;
    fake.refuse = fake.refuse_list = fake.busy = fake.busy_after = 0;
    fake.dead = fake.cut_patch = fake.lose_patch = false;
    fake.refuse_search = fake.refuse_exact = fake.searches = fake.dead_after = 0;
    fake.slow = NULL;
    fake.slow_usec = fake.pages = 0;
    fake.slow_exact_alone = fake.no_vectors = false;
    pthread_mutex_unlock(&fake.lock);
    unlink(stage.history);
    worker_use_snapshot(&stage.worker, stage_load(yaml));
    stage.tune = tune_open(&stage.worker);
}
