#include "qdrant/key.h"

#include <openssl/evp.h>

#include "base/writer.h"

/* The library picks the widest instructions at run time where it can. */
#define XXH_STATIC_LINKING_ONLY /* the state on the stack */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

_Static_assert(KEY_SECRET_BYTES >= XXH3_SECRET_SIZE_MIN, "XXH3 wants a longer secret");

static void add_number(XXH3_state_t *state, uint64_t n)
{
    unsigned char bytes[8]; /* in one order on every machine: instances share keys */
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(n >> 8 * i);
    XXH3_128bits_update(state, bytes, sizeof bytes);
}

static void add_field(XXH3_state_t *state, struct str s)
{
    add_number(state, s.n);
    if (s.n)
        XXH3_128bits_update(state, s.p, s.n);
}

void key_make(const struct key_secret *secret, const struct key_input *in, struct key_text *out)
{
    XXH3_state_t state;
    XXH3_128bits_reset_withSecret(&state, secret->bytes, sizeof secret->bytes);
    out->n_body = 0;
    for (unsigned i = 0; i < in->n_part; i++)
        out->n_body += in->part[i].n;
    /* The operation goes in by name: ids move when a version adds a row, and instances of two versions may
     * share a Redis. */
    add_field(&state, str_of(in->op->name));
    add_field(&state, in->path);
    add_field(&state, in->spelled);
    add_field(&state, in->resolved);
    add_field(&state, in->query_sorted);
    add_field(&state, in->credentials);
    add_field(&state, in->affinity);
    add_number(&state, in->servers);
    add_number(&state, out->n_body);
    for (unsigned i = 0; i < in->n_part; i++)
        if (in->part[i].n)
            XXH3_128bits_update(&state, in->part[i].p, in->part[i].n);
    XXH128_hash_t hash = XXH3_128bits_digest(&state);
    out->hash = (struct key){hash.high64, hash.low64};
    out->op = in->op->id;
    struct writer w = writer_on(out->text, sizeof out->text - 1);
    put_hex(&w, hash.high64, 16);
    put_hex(&w, hash.low64, 16);
    put_hex(&w, out->op, 3);
    put_hex(&w, out->n_body, 12);
    *w.at = '\0';
    out->n_text = (unsigned)writer_text(&w).n;
}

/* ---- credentials ---- */

static void digest_of(struct str api_key, struct str authorization, unsigned flags, unsigned char *out)
{
    unsigned char head[9] = {(unsigned char)flags};
    for (int i = 0; i < 8; i++)
        head[1 + i] = (unsigned char)((uint64_t)api_key.n >> 8 * i);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    ensure(ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL));
    ensure(EVP_DigestUpdate(ctx, head, sizeof head));
    ensure(!api_key.n || EVP_DigestUpdate(ctx, api_key.p, api_key.n));
    ensure(!authorization.n || EVP_DigestUpdate(ctx, authorization.p, authorization.n));
    ensure(EVP_DigestFinal_ex(ctx, out, NULL));
    EVP_MD_CTX_free(ctx);
}

static bool slot_holds(const struct cred_slot *slot, struct str api_key, struct str authorization,
                       unsigned flags)
{
    return slot->flags == flags && slot->n_key == api_key.n && slot->n == api_key.n + authorization.n &&
           (!api_key.n || memcmp(slot->bytes, api_key.p, api_key.n) == 0) &&
           (!authorization.n || memcmp(slot->bytes + api_key.n, authorization.p, authorization.n) == 0);
}

void cred_digest(struct cred_memo *memo, struct str api_key, struct str authorization,
                 unsigned char out[static CRED_BYTES])
{
    unsigned flags = 1u | (api_key.p ? 2u : 0) | (authorization.p ? 4u : 0);
    bool fits = memo && api_key.n <= CRED_MEMO_BYTES && authorization.n <= CRED_MEMO_BYTES - api_key.n;
    for (unsigned i = 0; fits && i < CRED_MEMO_SLOTS; i++) {
        if (!slot_holds(&memo->slot[i], api_key, authorization, flags))
            continue;
        memcpy(out, memo->slot[i].digest, CRED_BYTES);
        return;
    }
    digest_of(api_key, authorization, flags, out);
    if (!fits)
        return;
    struct cred_slot *slot = &memo->slot[memo->next++ % CRED_MEMO_SLOTS];
    slot->flags = (unsigned char)flags;
    slot->n_key = (unsigned)api_key.n;
    slot->n = (unsigned)(api_key.n + authorization.n);
    if (api_key.n)
        memcpy(slot->bytes, api_key.p, api_key.n);
    if (authorization.n)
        memcpy(slot->bytes + api_key.n, authorization.p, authorization.n);
    memcpy(slot->digest, out, CRED_BYTES);
}
