/* jwt.h - what a token says of itself, as far as a cache must know: when it ends, and whether it can be revoked by a point (value_exists).
 * The signature is Qdrant's to check: a forged token gets its refusal from Qdrant, and refusals are not cached. No I/O. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct jwt {
    bool is_token;         /* three base64url parts, the middle one a JSON object */
    bool has_value_exists; /* good only while a point exists in some collection: never cached */
    uint64_t exp;          /* seconds since 1970; UINT64_MAX: it does not end */
};

/* credential: the api-key's value, or what follows "Bearer ". What may be a token and is longer than 16 KiB is taken for one that has ended, and so
 * is one whose `exp` has a wrong type: nothing is kept for it. */
void jwt_read(struct str credential, struct jwt *out);
