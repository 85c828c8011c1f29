#include "engine/reuse.h"

#include <xxhash.h>

#include "base/ensure.h"
#include "coherence/breaks.h"
#include "engine/names.h"
#include "qdrant/jwt.h"

/* Requests with these are answered by Qdrant alone: their answer depends on more than the key says (CORS, ranges, conditions), or their body
 * cannot be read (compressed). */
static const enum http_field_id bypassing[] = {HF_RANGE,          HF_IF_MATCH, HF_IF_NONE_MATCH, HF_IF_MODIFIED_SINCE,
                                               HF_IF_UNMODIFIED_SINCE, HF_IF_RANGE, HF_ORIGIN, HF_CONTENT_ENCODING};

static bool list_has(const struct tx *tx, enum http_field_id id, struct str token)
{
    return tx->head.first[id] && http_list_has(&tx->head, id, token);
}

/* Cache-Control: max-age (RFC 9111 §5.2.1.1); 0: none will do (no-cache). */
static uint64_t oldest_taken(const struct tx *tx)
{
    uint64_t oldest = NEVER, seconds;
    struct str item;
    if (list_has(tx, HF_CACHE_CONTROL, STR("no-cache")) || list_has(tx, HF_PRAGMA, STR("no-cache")))
        return 0;
    for (unsigned i = 0; tx->head.first[HF_CACHE_CONTROL] && i < tx->head.n_fields; i++) {
        struct str rest = tx->head.field[i].value;
        while (tx->head.field[i].id == HF_CACHE_CONTROL && http_list_item(&rest, &item)) {
            struct str name = str_split(&item, '=');
            if (str_ieq(str_trim(name, " \t"), STR("max-age")) && str_u64(str_trim(item, " \t\""), UINT32_MAX, &seconds) &&
                seconds * SEC < oldest)
                oldest = seconds * SEC;
        }
    }
    return oldest;
}

/* A JWT ends, and an answer to it with it; one with value_exists can be revoked by any write elsewhere. */
static bool credential_allows(struct reuse *r, struct str credential)
{
    struct jwt jwt;
    uint64_t now = clock_unix_usec();
    jwt_read(credential, &jwt);
    if (!jwt.is_token)
        return true;
    if (jwt.has_value_exists || jwt.exp <= now / SEC)
        return false;
    if (jwt.exp < UINT64_MAX && jwt.exp * SEC - now < r->longest)
        r->longest = jwt.exp * SEC - now;
    return true;
}

/* Qdrant takes the api-key, but Authorization where the api-key has bytes that it does not read: both must allow it, whichever counts. */
static bool token_allows(struct tx *tx, struct reuse *r)
{
    static const struct str bearer = {"Bearer ", 7};
    struct str authorization = http_value(&tx->head, HF_AUTHORIZATION);
    r->longest = NEVER;
    if (!credential_allows(r, http_value(&tx->head, HF_API_KEY)))
        return false;
    return !str_starts(authorization, bearer) ||
           credential_allows(r, str_slice(authorization.p + bearer.n, authorization.n - bearer.n));
}

/* A server whose connections broke may be another process now, with other data; of one that a reload has named nobody has asked who it is. */
static bool servers_in_doubt(const struct tx *tx)
{
    const struct model_upstream *up = &tx->snapshot->upstream[tx->model->index];
    for (unsigned i = 0; i < up->n_slots; i++)
        if (peer_in_doubt(up->slots[i]->peer) || !atomic_load_explicit(&up->slots[i]->peer->identity, memory_order_relaxed)) {
            if (tx->worker->server_in_doubt)
                tx->worker->server_in_doubt(tx->worker->arg);
            return true;
        }
    return false;
}

static uint64_t servers_of(const struct tx *tx)
{
    const struct model_upstream *up = &tx->snapshot->upstream[tx->model->index];
    uint64_t sum = 0;
    for (unsigned i = 0; i < up->n_slots; i++)
        sum = sum * 31 + atomic_load_explicit(&up->slots[i]->peer->identity, memory_order_relaxed);
    return sum;
}

static bool refuse(struct reuse *r, enum metrics_model_counter why, const char *word)
{
    r->why = why;
    r->unfit = word;
    return false;
}

static bool fits(struct tx *tx, struct reuse *r)
{
    if (!token_allows(tx, r))
        return refuse(r, MM_CACHE_BYPASS_TOKEN, "token");
    if (list_has(tx, HF_CACHE_CONTROL, STR("no-store")))
        return refuse(r, MM_CACHE_BYPASS_CLIENT, "no-store");
    for (unsigned i = 0; i < sizeof bypassing / sizeof *bypassing; i++)
        if (tx->head.first[bypassing[i]])
            return refuse(r, MM_CACHE_BYPASS_CLIENT, "header");
    if (tx->route.undecodable || (tx->route.op->body == BODY_NONE && tx->head.framing != HTTP_BODY_NONE))
        return refuse(r, MM_CACHE_BYPASS_BODY, "path");
    const struct query_facts *q = tx_scan(tx, NULL);
    if (!q->known)
        return refuse(r, MM_CACHE_BYPASS_BODY, "body");
    if (q->uncacheable)
        return refuse(r, MM_CACHE_BYPASS_BODY, "operation");
    if (!tx->worker->facts)
        return refuse(r, MM_CACHE_BYPASS_OTHER, "starting"); /* the alias map is not known yet */
    r->facts = tx_facts(tx);
    if (r->facts == TX_FACTS_HIDING)
        return refuse(r, MM_CACHE_BYPASS_UNINDEXED, "unindexed");
    return !servers_in_doubt(tx) || refuse(r, MM_CACHE_BYPASS_UPSTREAM, "upstream");
}

/* Of the body as it came: where it begins, ends, and some places between. */
static uint64_t sketch_of(const struct tx *tx)
{
    enum { PLACES = 8, BYTES = 16 };
    char text[(PLACES + 1) * BYTES];
    size_t n = tx->body.n < sizeof text ? tx->body.n : sizeof text;
    if (tx->body.n <= sizeof text) {
        if (n)
            memcpy(text, tx->body.p, n);
    } else {
        for (size_t i = 0; i <= PLACES; i++)
            memcpy(text + i * BYTES, tx->body.p + (tx->body.n - BYTES) / PLACES * i, BYTES);
    }
    uint64_t path = XXH3_64bits_withSeed(tx->head.target.p, tx->head.target.n, tx->body.n);
    return XXH3_64bits_withSeed(text, n, path);
}

const struct key_text *tx_reuse_key(struct tx *tx)
{
    struct reuse *r = tx->reuse;
    struct worker *w = tx->worker;
    ensure(!r->unfit);
    if (r->keyed)
        return &r->key;
    r->keyed = true;
    unsigned char credentials[CRED_BYTES];
    const struct http_field *api_key = http_field(&tx->head, HF_API_KEY);
    const struct http_field *authorization = http_field(&tx->head, HF_AUTHORIZATION);
    if (!w->secret_version || w->secret_version != coherence_secret_version(w->coherence_shared))
        w->secret_version = coherence_secret(w->coherence_shared, w->secret.bytes);
    cred_digest(&w->credentials, api_key ? api_key->value : STR_NONE, authorization ? authorization->value : STR_NONE, credentials);
    struct key_input in = {
        .op = tx->route.op,
        .path = tx->route.path,
        .spelled = tx->route.collection,
        .resolved = tx->resolved,
        .query_sorted = tx->head.query.n ? query_canonical(&tx->arena, tx->head.query) : STR_NONE,
        .credentials = {(char *)credentials, CRED_BYTES},
        .affinity = http_value(&tx->head, HF_ROUTE_AFFINITY),
        .servers = r->servers,
    };
    tx_body_parts(tx, &in.part, &in.n_part);
    key_make(&w->secret, &in, &r->key);
    r->entry = (struct look_entry){str_of(tx->model->name), {r->key.text, r->key.n_text}};
    return &r->key;
}

/* The alias map is good for one state of "@names" only; a changed one is fetched anew meanwhile. */
bool tx_reuse_map_holds(struct tx *tx)
{
    const struct look *look = &tx->reuse->look;
    if (BREAK_ALIAS_BLIND)
        return true;
    if (!look->map_held && (tx->map.hi || tx->map.lo) && fingerprint_eq(look->map, tx->map))
        return true;
    if (tx->worker->names_changed)
        tx->worker->names_changed(tx->worker->arg);
    return false;
}

static void judge(struct tx *tx, struct reuse *r)
{
    struct coherence_names names = {0};
    if (!fits(tx, r))
        return;
    names_of_read(tx, &names);
    if (names.all) { /* more than a look takes */
        refuse(r, MM_CACHE_BYPASS_OTHER, "names");
    } else if (look_cells(tx->worker->coherence, &r->look, &names) != LOOK_CLEAR) {
        refuse(r, MM_CACHE_BYPASS_HELD, "held");
    } else if (r->look.alone && !tx_reuse_map_holds(tx)) {
        refuse(r, MM_CACHE_BYPASS_ALIASES, "aliases");
    } else {
        const struct conf_model *model;
        for (unsigned i = 0; (model = names_model_of_read(tx, i)); i++)
            r->external = r->external || model->base.external_writes;
        r->look.unknown = r->facts != TX_FACTS_KNOWN;
        r->oldest = oldest_taken(tx);
        r->servers = servers_of(tx);
        r->sketch = sketch_of(tx);
    }
}

struct reuse *tx_reuse(struct tx *tx)
{
    if (!tx->reuse) {
        tx->reuse = arena_zalloc(&tx->arena, sizeof *tx->reuse);
        judge(tx, tx->reuse);
    }
    return tx->reuse;
}

void tx_reuse_anew(struct tx *tx)
{
    tx_reuse_end(tx);
    *tx->reuse = (struct reuse){0};
    judge(tx, tx->reuse);
}

/* With more than Qdrant's answers do: requests with the former of these pass by, the last is not passed on. */
static bool varies(const struct http_field *f)
{
    static const struct str known[] = {{"origin", 6}, {"access-control-request-method", 29}, {"access-control-request-headers", 30},
                                       {"accept-encoding", 15}};
    struct str rest = f->value, item;
    while (http_list_item(&rest, &item)) {
        bool is_known = false;
        for (unsigned i = 0; i < sizeof known / sizeof *known; i++)
            is_known = is_known || str_ieq(item, known[i]);
        if (!is_known)
            return true;
    }
    return false;
}

bool tx_reuse_is_anyones(const struct tx *tx)
{
    const struct http_head *h = &tx->fetch.head;
    if (h->first[HF_CACHE_CONTROL] && (http_list_has(h, HF_CACHE_CONTROL, STR("no-store")) ||
                                       http_list_has(h, HF_CACHE_CONTROL, STR("private"))))
        return false;
    for (unsigned i = 0; i < h->n_fields; i++)
        if (str_ieq(h->field[i].name, STR("set-cookie")) || (h->field[i].id == HF_VARY && varies(&h->field[i])))
            return false;
    return !h->first[HF_CONTENT_ENCODING];
}

void tx_reuse_end(struct tx *tx)
{
    if (tx->reuse && tx->reuse->look.worker)
        look_cancel(&tx->reuse->look);
}
