#include "engine/tx_facts.h"

#include <xxhash.h>

#define AGAIN (250 * MSEC)      /* what was told and is missing still is told again */
#define ABSENT_AGAIN (1 * SEC) /* what Qdrant did not have, while it answers clients as if it had */

static enum tx_facts known_of(const struct tx *tx, struct str resolved)
{
    const struct facts *facts = tx->worker->facts;
    const struct fact_collection *fact = facts_collection(facts, resolved);
    if (!fact)
        return facts && facts->full ? TX_FACTS_UNKNOWN : TX_FACTS_AWAITED;
    switch (fact->source) {
    case FACT_READ:
        return fact->hides_points ? TX_FACTS_HIDING : TX_FACTS_KNOWN;
    case FACT_ABSENT: /* one may have been made under another state of "@names" */
        return fingerprint_eq(fact->names, tx->map) ? TX_FACTS_KNOWN : TX_FACTS_AWAITED;
    case FACT_FAILED:
        return TX_FACTS_UNKNOWN;
    case FACT_REFUSED:
        break;
    }
    return TX_FACTS_KNOWN;
}

/* By the map of when the request came: another one by now, and tx_reuse_map_holds says no. */
enum tx_facts tx_facts(const struct tx *tx)
{
    enum tx_facts worst = known_of(tx, tx->resolved);
    for (unsigned i = 0; i < tx->query.n_lookups; i++) {
        enum tx_facts one = known_of(tx, facts_resolve(tx->worker->facts, tx->query.lookup[i]));
        worst = one > worst ? one : worst;
    }
    return worst;
}

/* Nothing is known of it that will do, and asking may help. */
static bool is_missing(const struct worker *w, const struct fact_collection *fact)
{
    if (!fact)
        return !w->facts || !w->facts->full;
    return fact->source == FACT_FAILED || (fact->source == FACT_ABSENT && w->loop.now > fact->read_at + ABSENT_AGAIN);
}

/* A small memory of hashes keeps this to one comparison a request. */
static void ask(struct tx *tx, struct str name, bool shown)
{
    struct worker *w = tx->worker;
    if (!name.n || !is_missing(w, facts_collection(w->facts, name)))
        return;
    uint64_t hash = XXH3_64bits(name.p, name.n), now = w->loop.now;
    struct seen *seen = &w->seen[hash % (sizeof w->seen / sizeof *w->seen)];
    if (seen->hash == hash && seen->shown >= shown && now < seen->at + AGAIN)
        return;
    *seen = (struct seen){hash, now, shown};
    w->seen_collection(name, shown, w->arg);
}

void tx_ask_facts(struct tx *tx, bool shown)
{
    if (!tx->worker->seen_collection)
        return;
    ask(tx, tx->resolved, shown);
    for (unsigned i = 0; tx->scanned && tx_body_there(tx) && i < tx->query.n_lookups; i++)
        ask(tx, facts_resolve(tx->worker->facts, tx->query.lookup[i]), shown);
}

void tx_want_facts(struct tx *tx)
{
    unsigned status = tx->answer.status;
    bool shown = status / 100 == 2, perhaps = status / 100 == 4 && status != 401 && status != 403 && status != 404;
    if ((shown || perhaps) && (tx->is_write || tx->route.op->class == CLASS_READ_CACHEABLE))
        tx_ask_facts(tx, shown);
}
