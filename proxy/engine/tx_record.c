/* tx_record.c - what remains of a transaction: counters, its digest, lines in the logs. */
#include <stdio.h>

#include "base/log.h"
#include "engine/tx_parts.h"

static uint64_t between(uint64_t from, uint64_t to)
{
    return from && to > from ? to - from : 0;
}

static const char *ending(const struct tx *tx)
{
    if (tx->doom == DOOM_CLIENT_GONE || (!tx->client && !tx->cut))
        return "client_gone";
    if (tx->refusal.p)
        return tx->refusal.p;
    if (tx->cut)
        return "cut";
    if (tx->fetch.failure != FETCH_FAILED_NONE)
        return fetch_failure_text(tx->fetch.failure);
    return "done";
}

static void access_line(struct tx *tx, uint64_t now)
{
    char line[LOG_LINE_MAX], stamp[LOG_TIME_N], path[1024], method[64], model[300], why[200];
    const struct fetch *f = &tx->fetch;
    log_time(stamp, clock_unix_usec());
    int n = snprintf(line, sizeof line,
                     "time=%s client=%s method=%s path=%s model=%s operation=%s status=%u bytes_in=%llu bytes=%llu cache=%s "
                     "queue_us=%llu connect_us=%llu first_byte_us=%llu total_us=%llu end=%s",
                     stamp, tx->peer[0] ? tx->peer : "-", log_quote(method, sizeof method, tx->head.method),
                     log_quote(path, sizeof path, tx->head.path), log_quote(model, sizeof model, str_of(tx->model->name)),
                     tx->route.op->name, tx->answer.status, (unsigned long long)tx->n_body_in,
                     (unsigned long long)tx->n_body_out, tx->cache_word, (unsigned long long)between(f->started, f->slot_at),
                     (unsigned long long)between(f->slot_at, f->connected_at),
                     (unsigned long long)between(f->connected_at, f->first_byte_at), (unsigned long long)(now - tx->began),
                     log_quote(why, sizeof why, str_of(ending(tx))));
    if (n > 0)
        log_line(LOG_ACCESS, (struct str){line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1});
}

/* Reads of points: what digests and the query log are about. */
static bool is_query(const struct tx *tx)
{
    const struct op *op = tx->route.op;
    bool reads = op->class == CLASS_READ_CACHEABLE || op->class == CLASS_READ_UNCACHEABLE;
    return tx->resolved.n && reads && (op->flags & OP_HELD || op->id == OP_GET_POINT);
}

static void count_digest(struct tx *tx, uint64_t now)
{
    struct digest_key key = {
        .model = tx->model->metrics_id,
        .op = tx->route.op,
        .collection = tx->resolved,
        .filter = tx->shape,
        .knobs = tx->shape.p ? tx->query.knobs : 0,
    };
    char cache = tx->cache_word[0]; /* hit, miss, bypass, - */
    struct digest_sample sample = {
        .usec = now - tx->began,
        .now = now,
        .ok = tx->answer.status >= 200 && tx->answer.status < 400,
        .cache = cache == 'h' ? DIGEST_HIT : cache == 'm' ? DIGEST_MISS : DIGEST_UNASKED,
        .coalesced = tx->collapsed,
        .rewritten = tx->n_rewritten > 0,
    };
    digests_count(tx->worker->digests, tx->worker->number, &key, &sample);
}

void tx_record(struct tx *tx)
{
    struct metrics *m = tx->worker->metrics;
    uint64_t now = clock_usec();
    metrics_request(m, tx->model->metrics_id, tx->route.op->id, tx->answer.status, now - tx->began);
    metrics_model_add(m, tx->model->metrics_id, MM_CACHE_HOLDS, write_hold_stays(&tx->hold));
    metrics_add(m, M_CLIENT_BYTES_IN, tx->n_body_in);
    metrics_add(m, M_CLIENT_BYTES_OUT, tx->n_body_out);
    if (tx->snapshot->conf->process.access_on)
        access_line(tx, now);
    if (is_query(tx)) {
        count_digest(tx, now);
        query_log(tx, now);
    }
}
