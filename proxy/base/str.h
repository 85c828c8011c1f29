/* str.h - slices of bytes: a pointer and a length, never NUL-terminated, never owned.
 * Whoever makes a slice knows whose bytes they are; a slice must not outlive them. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_NONE ((struct str){NULL, 0})
#define STR_ARG(s) (int)(s).n, (s).p /* for "%.*s" */

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline struct str str_slice(const char *p, size_t n)
{
    return (struct str){p, n};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* For qsort and bsearch of struct str: by bytes, a shorter one first. */
int str_order(const void *, const void *);

/* What a hexadecimal digit stands for; -1: it is none. */
static inline int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* ASCII only: 'A'-'Z' equal 'a'-'z', all other bytes equal themselves. */
bool str_ieq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
struct str str_trim(struct str s, const char *set); /* cuts bytes of set off both ends */

/* Cuts the piece before the first sep off *rest and returns it; at the end *rest becomes STR_NONE. */
struct str str_split(struct str *rest, char sep);

/* name as one segment of a URL's path: percent-encoded but for letters, digits and "-_.~", NUL-terminated; cut before a byte that does not fit
 * (n >= 4). Returns out. */
const char *str_escape(char *out, size_t n, const char *name);

/* A whole decimal number, digits only, no sign, no blanks; false if empty, longer than 20 digits or over max. */
bool str_u64(struct str s, uint64_t max, uint64_t *out);
