#include "qdrant/jwt.h"

#include <cjson/cJSON.h>
#include <stdlib.h>

#include "base/mem.h"

enum { TOKEN_MAX = 16 * 1024 };

static int digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* base64url without padding (RFC 7515 §2); false at a byte that does not belong there. out: room for 3/4 of text.n. */
static bool decode(struct str text, char *out, size_t *n)
{
    uint32_t bits = 0;
    unsigned n_bits = 0;
    *n = 0;
    for (size_t i = 0; i < text.n; i++) {
        int value = digit(text.p[i]);
        if (value < 0)
            return false;
        bits = bits << 6 | (uint32_t)value;
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            out[(*n)++] = (char)(bits >> n_bits);
        }
    }
    return true;
}

static void read_claims(cJSON *claims, struct jwt *out)
{
    cJSON *exp = cJSON_GetObjectItemCaseSensitive(claims, "exp");
    cJSON *value_exists = cJSON_GetObjectItemCaseSensitive(claims, "value_exists");
    out->is_token = cJSON_IsObject(claims);
    out->has_value_exists = value_exists && !cJSON_IsNull(value_exists);
    if (!exp || cJSON_IsNull(exp))
        return;
    if (cJSON_IsNumber(exp) && exp->valuedouble >= 0 && exp->valuedouble < 1e15)
        out->exp = (uint64_t)exp->valuedouble;
    else
        out->exp = 0;
}

void jwt_read(struct str credential, struct jwt *out)
{
    struct str rest = credential;
    *out = (struct jwt){.exp = UINT64_MAX};
    if (!credential.n || !memchr(credential.p, '.', credential.n))
        return;
    if (credential.n > TOKEN_MAX) {
        out->is_token = true;
        out->exp = 0;
        return;
    }
    str_split(&rest, '.');
    struct str middle = str_split(&rest, '.');
    if (!middle.n || !rest.p || memchr(rest.p, '.', rest.n))
        return;
    char *json = mem_alloc(middle.n);
    size_t n;
    if (decode(middle, json, &n)) {
        cJSON *claims = cJSON_ParseWithLength(json, n);
        read_claims(claims, out);
        cJSON_Delete(claims);
    }
    free(json);
}
