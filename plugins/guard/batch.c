#include "plugins/guard/batch.h"

#include "base/json_scan.h"

enum { DEPTH = 256 };

/* Whatever is not among these counts: also what later versions of Qdrant may bring, and names written with escapes. */
static bool adds_nothing(struct str operation, bool escaped)
{
    static const char *const known[] = {"delete",         "delete_vectors", "set_payload",
                                        "overwrite_payload", "delete_payload", "clear_payload"};
    for (unsigned i = 0; !escaped && i < sizeof known / sizeof *known; i++)
        if (str_eq(operation, str_of(known[i])))
            return true;
    return false;
}

static bool add_operations(struct json *j, uint64_t *n)
{
    struct str key, value;
    bool first = true, escaped, bad = false;
    if (!json_enter(j, '['))
        return false;
    while (json_item(j, &first, &bad)) {
        bool first_key = true;
        if (!json_enter(j, '{'))
            return false;
        while (json_key(j, &first_key, &key, &escaped, &bad)) {
            if (!json_skip(j, DEPTH, &value))
                return false;
            *n += adds_nothing(key, escaped) ? 0 : value.n;
        }
    }
    return !bad;
}

uint64_t batch_bytes(struct str body)
{
    struct json j = {body.p, body.p + body.n};
    struct str key, value;
    uint64_t n = 0;
    bool first = true, escaped, bad = false;
    if (!json_enter(&j, '{'))
        return body.n;
    while (json_key(&j, &first, &key, &escaped, &bad)) {
        bool good = str_eq(key, STR("operations")) && !escaped ? add_operations(&j, &n) : json_skip(&j, DEPTH, &value);
        if (!good || escaped)
            return body.n;
    }
    return bad || !json_at_end(&j) ? body.n : n;
}
