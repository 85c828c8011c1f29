#include "http/head.h"

bool http_list_item(struct str *rest, struct str *item)
{
    while (rest->n) {
        size_t i = 0;
        for (bool quoted = false; i < rest->n && (quoted || rest->p[i] != ','); i++) {
            if (rest->p[i] == '"')
                quoted = !quoted;
            else if (quoted && rest->p[i] == '\\' && i + 1 < rest->n)
                i++;
        }
        *item = str_trim(str_slice(rest->p, i), " \t");
        size_t step = i < rest->n ? i + 1 : i;
        *rest = str_slice(rest->p + step, rest->n - step);
        if (item->n)
            return true;
    }
    return false;
}

bool http_list_has(const struct http_head *h, enum http_field_id id, struct str token)
{
    for (unsigned i = h->first[id]; i && i <= h->n_fields; i++) {
        if (h->field[i - 1].id != id)
            continue;
        struct str item;
        for (struct str rest = h->field[i - 1].value; http_list_item(&rest, &item);) {
            size_t n = 0;
            while (n < item.n && item.p[n] != ';' && item.p[n] != '=')
                n++;
            if (str_ieq(str_trim(str_slice(item.p, n), " \t"), token))
                return true;
        }
    }
    return false;
}
