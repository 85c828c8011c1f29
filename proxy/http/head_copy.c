#include <stddef.h>
#include <string.h>

#include "http/head.h"

static struct str moved(struct str s, const char *from, char *to)
{
    return s.p ? (struct str){to + (s.p - from), s.n} : s;
}

void http_head_copy(struct http_head *to, const struct http_head *from, char *bytes)
{
    const char *old = from->raw.p;
    memcpy(bytes, old, from->raw.n);
    memcpy(to, from, offsetof(struct http_head, field)); /* everything before the long array */
    memcpy(to->first, from->first, sizeof from->first);
    memcpy(to->count, from->count, sizeof from->count);
    to->raw = moved(from->raw, old, bytes);
    to->method = moved(from->method, old, bytes);
    to->target = moved(from->target, old, bytes);
    to->path = moved(from->path, old, bytes);
    to->query = moved(from->query, old, bytes);
    to->reason = moved(from->reason, old, bytes);
    for (unsigned i = 0; i < from->n_fields; i++) {
        to->field[i] = from->field[i];
        to->field[i].name = moved(from->field[i].name, old, bytes);
        to->field[i].value = moved(from->field[i].value, old, bytes);
        to->field[i].line = moved(from->field[i].line, old, bytes);
    }
}
