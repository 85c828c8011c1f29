#include "base/str.h"

static inline unsigned char lower(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}

int str_order(const void *x, const void *y)
{
    const struct str *a = x, *b = y;
    int order = memcmp(a->p, b->p, a->n < b->n ? a->n : b->n);
    return order ? order : (a->n > b->n) - (a->n < b->n);
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower((unsigned char)a.p[i]) != lower((unsigned char)b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

struct str str_trim(struct str s, const char *set)
{
    while (s.n && s.p[0] && strchr(set, s.p[0]))
        s.p++, s.n--;
    while (s.n && s.p[s.n - 1] && strchr(set, s.p[s.n - 1]))
        s.n--;
    return s;
}

struct str str_split(struct str *rest, char sep)
{
    struct str whole = *rest;
    const char *at = whole.n ? memchr(whole.p, sep, whole.n) : NULL;
    if (!at) {
        *rest = STR_NONE;
        return whole;
    }
    *rest = (struct str){at + 1, whole.n - (size_t)(at + 1 - whole.p)};
    return (struct str){whole.p, (size_t)(at - whole.p)};
}

const char *str_escape(char *out, size_t n, const char *name)
{
    static const char hex[] = "0123456789ABCDEF";
    char *at = out, *end = out + n;
    for (; *name && end - at > 3; name++) {
        unsigned char c = (unsigned char)*name, low = lower(c);
        if ((low >= 'a' && low <= 'z') || (c >= '0' && c <= '9') || strchr("-_.~", c)) {
            *at++ = (char)c;
            continue;
        }
        *at++ = '%';
        *at++ = hex[c >> 4];
        *at++ = hex[c & 15];
    }
    *at = 0;
    return out;
}

bool str_u64(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t value = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned digit = (unsigned char)s.p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    if (value > max)
        return false;
    *out = value;
    return true;
}
