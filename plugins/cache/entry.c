#include "plugins/cache/entry.h"

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

struct blob *entry_make(const struct http_head *head, struct str body, uint64_t stored_unix, bool *changed)
{
    struct reply_pieces p;
    reply_take_apart(body, &p);
    struct layout layout = {.magic = MAGIC, .stored_unix = stored_unix, .n_before = (uint32_t)p.before.n, .n_time = (uint32_t)p.n_time,
                            .n_after = p.between.n + p.after.n};
    *changed = p.had_usage;
    for (unsigned i = 0; i < head->n_fields; i++)
        if (kept(&head->field[i]))
            layout.n_fields += (uint32_t)head->field[i].line.n;
    struct blob *blob = blob_new(sizeof layout + layout.n_fields + p.n);
    char *at = blob->bytes;
    at = (char *)memcpy(at, &layout, sizeof layout) + sizeof layout;
    for (unsigned i = 0; i < head->n_fields; i++)
        if (kept(&head->field[i]))
            at = (char *)memcpy(at, head->field[i].line.p, head->field[i].line.n) + head->field[i].line.n;
    reply_put_together(at, &p);
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
