#include "tune/doc.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

cJSON *doc_get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

cJSON *doc_at(const cJSON *object, const char *dotted)
{
    cJSON *at = (cJSON *)object;
    char key[128];
    for (struct str rest = str_of(dotted); rest.p && at;) {
        struct str part = str_split(&rest, '.');
        snprintf(key, sizeof key, "%.*s", STR_ARG(part));
        at = doc_get(at, key);
    }
    return at;
}

bool doc_is_set(const cJSON *item)
{
    return item && !cJSON_IsNull(item);
}

bool doc_u64(const cJSON *item, uint64_t *out)
{
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0) || item->valuedouble > 9007199254740992.0)
        return false;
    *out = (uint64_t)item->valuedouble;
    return (double)*out == item->valuedouble;
}

const char *doc_text(const cJSON *item)
{
    return cJSON_GetStringValue(item);
}

cJSON *doc_result(struct str body, cJSON **doc)
{
    *doc = cJSON_ParseWithLength(body.p, body.n);
    return doc_get(*doc, "result");
}

const char *doc_error(struct str body, char *buf, size_t n)
{
    cJSON *doc = cJSON_ParseWithLength(body.p, body.n);
    const char *text = doc_text(doc_at(doc, "status.error"));
    if (text)
        snprintf(buf, n, "%s", text);
    else
        snprintf(buf, n, "%.*s", (int)(body.n < 200 ? body.n : 200), body.n ? body.p : "");
    cJSON_Delete(doc);
    return buf;
}

const char *doc_whose(char out[static DOC_WHOSE_MAX], const char *model, const char *collection)
{
    char quoted[2][DOC_WHOSE_MAX / 2 - 16];
    snprintf(out, DOC_WHOSE_MAX, "model=%s collection=%s", log_quote(quoted[0], sizeof quoted[0], str_of(model)),
             log_quote(quoted[1], sizeof quoted[1], str_of(collection)));
    return out;
}

cJSON *doc_bytes(uint64_t n)
{
    return cJSON_CreateNumber((double)n);
}
