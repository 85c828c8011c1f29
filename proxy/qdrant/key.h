/* key.h - the name of an answer in a cache: a keyed 128-bit hash over all that the answer depends on. No I/O.
 * Each field goes in with its length, so that no two different inputs run together into the same bytes. The
 * secret keeps clients from finding collisions; with Redis all instances share one. A key_secret is read by
 * any thread, a cred_memo has one owner. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"
#include "qdrant/ops.h"

enum { KEY_SECRET_BYTES = 192, CRED_BYTES = 32 };

struct key {
    uint64_t hi, lo;
};

struct key_secret {
    unsigned char bytes[KEY_SECRET_BYTES];
};

struct key_input {
    const struct op *op;
    struct str path;         /* normalised and decoded (route.path): holds the id of GET points/{id} */
    struct str spelled;      /* the collection as the path names it */
    struct str resolved;     /* what that stands for; the same if it is no alias */
    struct str query_sorted; /* query_canonical() */
    const struct str *part;  /* the body after rewriting, in pieces; how it is cut does not matter */
    unsigned n_part;
    struct str credentials; /* cred_digest(), 32 bytes */
    struct str affinity;    /* x-qdrant-route-affinity */
    uint64_t servers;       /* who the server processes are: another one has other entries; 0: not known */
};

struct key_text {
    struct key hash;
    unsigned op;     /* enum op_id, and */
    uint64_t n_body; /* the body's length stand beside the hash: a collision must match in them too */
    char text[64];   /* all of it in hexadecimal, NUL-terminated; for Redis */
    unsigned n_text;
};

void key_make(const struct key_secret *, const struct key_input *, struct key_text *out);

static inline bool key_eq(const struct key_text *a, const struct key_text *b)
{
    return a->hash.hi == b->hash.hi && a->hash.lo == b->hash.lo && a->op == b->op && a->n_body == b->n_body;
}

/* The digests of the credentials seen last: most clients send the same on every request. Holds keys in the
 * clear: never log it. All zero is empty; nothing to release. */
enum { CRED_MEMO_SLOTS = 4, CRED_MEMO_BYTES = 512 };
struct cred_memo {
    struct cred_slot {
        unsigned n, n_key;   /* bytes in use, and how many of them are the api-key */
        unsigned char flags; /* 1: used, 2: has an api-key, 4: has an authorization */
        char bytes[CRED_MEMO_BYTES];
        unsigned char digest[CRED_BYTES];
    } slot[CRED_MEMO_SLOTS];
    unsigned next; /* overwritten next */
};

/* SHA-256 over both headers' values, with their lengths; p == NULL: absent, which differs from empty. memo
 * may be NULL. */
void cred_digest(struct cred_memo *, struct str api_key, struct str authorization,
                 unsigned char out[static CRED_BYTES]);
