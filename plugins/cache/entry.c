#include "plugins/cache/entry.h"

#include <math.h>
#include <stdlib.h>

#include "qdrant/reply.h"

struct layout { /* little-endian hosts only, as Redis is shared between equals; `magic` changes with the layout */
    uint32_t magic, n_fields, n_before, n_time;
    uint64_t stored_unix, n_after;
};
enum { MAGIC = 0x51563031 };

static bool kept(const struct http_field *f)
{
    return !f->hop && f->id != HF_CONTENT_LENGTH && f->id != HF_DATE && f->id != HF_AGE && f->id != HF_CACHE_STATUS;
}

/* Qdrant prints 8.542e-6 or 0.00055558: made nine decimals, so that repeated answers have one length. */
static size_t nine_decimals(struct str number, char out[static 32])
{
    char text[64];
    if (number.n >= sizeof text)
        return 0;
    memcpy(text, number.p, number.n);
    text[number.n] = 0;
    double seconds = strtod(text, NULL);
    return seconds >= 0 && seconds < 1e6 ? reply_time(out, (uint64_t)llround(seconds * 1e9)) : 0;
}

struct blob *entry_make(const struct http_head *head, struct str body, uint64_t stored_unix, bool *changed)
{
    struct envelope env = {0};
    struct layout layout = {.magic = MAGIC, .stored_unix = stored_unix};
    char time[32];
    bool wrapped = reply_envelope(body, &env);
    layout.n_time = wrapped ? (uint32_t)nine_decimals((struct str){body.p + env.time_at, env.time_n}, time) : 0;
    layout.n_before = layout.n_time ? (uint32_t)env.time_at : (uint32_t)body.n;
    size_t rest = layout.n_time ? env.time_at + env.time_n : body.n;
    /* What one request used is not what a hit uses: `usage` is left out. */
    size_t usage = layout.n_time && env.usage_n ? env.usage_at : body.n, usage_end = usage + (usage < body.n ? env.usage_n : 0);
    layout.n_after = (usage - rest) + (body.n - usage_end);
    *changed = usage_end != usage;
    for (unsigned i = 0; i < head->n_fields; i++)
        if (kept(&head->field[i]))
            layout.n_fields += (uint32_t)head->field[i].line.n;
    struct blob *blob = blob_new(sizeof layout + layout.n_fields + layout.n_before + layout.n_time + layout.n_after);
    char *at = blob->bytes;
    at = (char *)memcpy(at, &layout, sizeof layout) + sizeof layout;
    for (unsigned i = 0; i < head->n_fields; i++)
        if (kept(&head->field[i]))
            at = (char *)memcpy(at, head->field[i].line.p, head->field[i].line.n) + head->field[i].line.n;
    at = (char *)memcpy(at, body.p, layout.n_before) + layout.n_before;
    at = (char *)memcpy(at, time, layout.n_time) + layout.n_time;
    at = (char *)memcpy(at, body.p + rest, usage - rest) + (usage - rest);
    memcpy(at, body.p + usage_end, body.n - usage_end);
    return blob;
}

bool entry_read(struct str bytes, struct entry *out)
{
    struct layout layout;
    if (bytes.n < sizeof layout)
        return false;
    memcpy(&layout, bytes.p, sizeof layout);
    uint64_t n = (uint64_t)layout.n_fields + layout.n_before + layout.n_time;
    if (layout.magic != MAGIC || layout.n_after > bytes.n || n + layout.n_after != bytes.n - sizeof layout)
        return false;
    const char *at = bytes.p + sizeof layout;
    out->stored_unix = layout.stored_unix;
    out->fields = (struct str){at, layout.n_fields};
    out->before = (struct str){at += layout.n_fields, layout.n_before};
    out->time = (struct str){at += layout.n_before, layout.n_time};
    out->after = (struct str){at += layout.n_time, layout.n_after};
    return out->fields.n == 0 || out->fields.p[out->fields.n - 1] == '\n';
}
