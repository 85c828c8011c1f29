#include "base/metrics.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "base/metrics_private.h"

static struct {
    unsigned n_ops;
    const char *const *op_name;
    pthread_mutex_t lock; /* names and the opening of blocks */
    _Atomic unsigned n_blocks, n_models;
    struct metrics *_Atomic block[METRICS_THREADS_MAX];
    char *model_name[METRICS_MODELS_MAX];
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

void metrics_init(unsigned n_ops, const char *const *op_names)
{
    ensure(n_ops <= METRICS_OPS_MAX);
    all.n_ops = n_ops;
    all.op_name = op_names;
    metrics_process_init();
}

static void block_free(struct metrics *m)
{
    for (unsigned i = 0; i < METRICS_MODELS_MAX; i++) {
        struct metrics_model *model = atomic_load(&m->model[i]);
        for (unsigned op = 0; model && op < METRICS_OPS_MAX; op++)
            free(atomic_load(&model->op[op]));
        free(model);
    }
    free(m);
}

void metrics_fini(void)
{
    for (unsigned i = 0; i < all.n_blocks; i++)
        block_free(all.block[i]);
    for (unsigned i = 0; i < all.n_models; i++)
        free(all.model_name[i]);
    all.n_blocks = all.n_models = all.n_ops = 0;
    all.op_name = NULL;
}

struct metrics *metrics_open(const char *thread)
{
    struct metrics *m = mem_zalloc(sizeof *m);
    m->thread = thread;
    pthread_mutex_lock(&all.lock);
    unsigned slot = atomic_load(&all.n_blocks);
    ensure(slot < METRICS_THREADS_MAX);
    atomic_store(&all.block[slot], m);
    atomic_store_explicit(&all.n_blocks, slot + 1, memory_order_release);
    pthread_mutex_unlock(&all.lock);
    return m;
}

/* ---- counting: the block's own thread ---- */

#define ADD(cell, n) \
    atomic_store_explicit(&(cell), atomic_load_explicit(&(cell), memory_order_relaxed) + (n), memory_order_relaxed)

void metrics_refused(struct metrics *m, unsigned status)
{
    static const struct {
        unsigned status;
        enum metrics_counter id;
    } rows[] = {{400, M_REFUSED_400}, {408, M_REFUSED_408}, {413, M_REFUSED_413}, {414, M_REFUSED_414},
                {431, M_REFUSED_431}, {501, M_REFUSED_501}, {503, M_REFUSED_503}, {505, M_REFUSED_505}};
    enum metrics_counter id = M_REFUSED_OTHER;
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].status == status)
            id = rows[i].id;
    metrics_add(m, id, 1);
}

static struct metrics_model *model_of(struct metrics *m, unsigned model)
{
    ensure(model < METRICS_MODELS_MAX);
    struct metrics_model *part = atomic_load_explicit(&m->model[model], memory_order_relaxed);
    if (!part) {
        part = mem_zalloc(sizeof *part);
        atomic_store_explicit(&m->model[model], part, memory_order_release);
    }
    return part;
}

void metrics_model_add(struct metrics *m, unsigned model, enum metrics_model_counter id, uint64_t n)
{
    if (m)
        ADD(model_of(m, model)->counter[id], n);
}

void metrics_model_gauge_add(struct metrics *m, unsigned model, enum metrics_model_gauge id, int64_t n)
{
    if (m)
        ADD(model_of(m, model)->gauge[id], n);
}

void metrics_model_hist(struct metrics *m, unsigned model, enum metrics_model_hist id, uint64_t usec)
{
    if (m)
        hist_record(&model_of(m, model)->hist[id], usec);
}

static unsigned status_slot(unsigned status)
{
    return status >= 100 && status < 600 ? status - 100 : METRICS_STATUSES - 1;
}

void metrics_request(struct metrics *m, unsigned model, unsigned op, unsigned status, uint64_t usec_total)
{
    if (!m)
        return;
    ensure(op < all.n_ops);
    struct metrics_model *part = model_of(m, model);
    struct metrics_statuses *statuses = atomic_load_explicit(&part->op[op], memory_order_relaxed);
    if (!statuses) {
        statuses = mem_zalloc(sizeof *statuses);
        atomic_store_explicit(&part->op[op], statuses, memory_order_release);
    }
    ADD(statuses->n[status_slot(status)], 1);
    hist_record(&part->hist[MH_TOTAL], usec_total);
}

/* ---- names ---- */

unsigned metrics_model(const char *name)
{
    pthread_mutex_lock(&all.lock);
    unsigned n = atomic_load(&all.n_models), i = 0;
    while (i < n && strcmp(all.model_name[i], name) != 0)
        i++;
    if (i == METRICS_MODELS_MAX) {
        i = METRICS_MODELS_MAX - 1; /* "other" */
    } else if (i == n) {
        all.model_name[i] = mem_strdup(i == METRICS_MODELS_MAX - 1 ? "other" : name);
        atomic_store_explicit(&all.n_models, n + 1, memory_order_release);
    }
    pthread_mutex_unlock(&all.lock);
    return i;
}

unsigned metrics_n_models(void)
{
    return atomic_load_explicit(&all.n_models, memory_order_acquire);
}

const char *metrics_model_name(unsigned model)
{
    return all.model_name[model];
}

unsigned metrics_n_ops(void)
{
    return all.n_ops;
}

const char *metrics_op_name(unsigned op)
{
    return all.op_name[op];
}

/* ---- reading ---- */

/* Runs the statement for every block. */
#define EACH_BLOCK(m, statement)                                                             \
    do {                                                                                     \
        unsigned n_ = atomic_load_explicit(&all.n_blocks, memory_order_acquire);             \
        for (unsigned i_ = 0; i_ < n_; i_++) {                                               \
            struct metrics *m = atomic_load_explicit(&all.block[i_], memory_order_relaxed);  \
            statement;                                                                       \
        }                                                                                    \
    } while (0)

/* The same for every block that has counted for the model. */
#define EACH_PART(part, model_id, statement)                                                                  \
    EACH_BLOCK(m_, {                                                                                          \
        struct metrics_model *part = atomic_load_explicit(&m_->model[model_id], memory_order_acquire);        \
        if (part)                                                                                             \
            statement;                                                                                        \
    })

uint64_t metrics_counter_sum(enum metrics_counter id)
{
    uint64_t sum = 0;
    EACH_BLOCK(m, sum += atomic_load_explicit(&m->counter[id], memory_order_relaxed));
    return sum;
}

int64_t metrics_gauge_sum(enum metrics_gauge id)
{
    int64_t sum = 0;
    EACH_BLOCK(m, sum += atomic_load_explicit(&m->gauge[id], memory_order_relaxed));
    return sum;
}

uint64_t metrics_model_sum(unsigned model, enum metrics_model_counter id)
{
    uint64_t sum = 0;
    EACH_PART(part, model, sum += atomic_load_explicit(&part->counter[id], memory_order_relaxed));
    return sum;
}

int64_t metrics_model_gauge_sum(unsigned model, enum metrics_model_gauge id)
{
    int64_t sum = 0;
    EACH_PART(part, model, sum += atomic_load_explicit(&part->gauge[id], memory_order_relaxed));
    return sum;
}

void metrics_model_hist_sum(unsigned model, enum metrics_model_hist id, struct hist_sum *sum)
{
    EACH_PART(part, model, hist_merge(sum, &part->hist[id]));
}

bool metrics_statuses_sum(unsigned model, unsigned op, uint64_t sum[static METRICS_STATUSES])
{
    bool any = false;
    EACH_PART(part, model, {
        struct metrics_statuses *statuses = atomic_load_explicit(&part->op[op], memory_order_acquire);
        for (unsigned i = 0; statuses && i < METRICS_STATUSES; i++)
            sum[i] += atomic_load_explicit(&statuses->n[i], memory_order_relaxed);
        any |= statuses != NULL;
    });
    return any;
}

uint64_t metrics_requests_sum(unsigned model, unsigned op, unsigned status)
{
    uint64_t sum[METRICS_STATUSES] = {0};
    metrics_statuses_sum(model, op, sum);
    return sum[status_slot(status)];
}

double metrics_hit_rate(unsigned model)
{
    uint64_t hits = 0, lookups = 0;
    unsigned from = model < METRICS_MODELS_MAX ? model : 0;
    unsigned to = model < METRICS_MODELS_MAX ? model + 1 : metrics_n_models();
    for (unsigned i = from; i < to; i++) {
        hits += metrics_model_sum(i, MM_CACHE_HITS_MEMORY) + metrics_model_sum(i, MM_CACHE_HITS_REDIS);
        lookups += metrics_model_sum(i, MM_CACHE_LOOKUPS);
    }
    return lookups == 0 ? 0 : hits >= lookups ? 1 : (double)hits / (double)lookups;
}
