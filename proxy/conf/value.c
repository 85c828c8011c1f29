#include "conf/value.h"

#include <stdlib.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* Largest first, for printing. */
static const struct unit usec_units[] = {
    {"d", UINT64_C(86400000000)},
    {"h", UINT64_C(3600000000)},
    {"m", 60000000},
    {"s", 1000000},
    {"ms", 1000},
    {"us", 1},
};

static const struct unit byte_units[] = {
    {"TiB", UINT64_C(1) << 40},
    {"TB", UINT64_C(1000000000000)},
    {"GiB", 1 << 30},
    {"GB", 1000000000},
    {"MiB", 1 << 20},
    {"MB", 1000000},
    {"KiB", 1 << 10},
    {"KB", 1000},
    {"B", 1},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool value_bool(struct str s, bool *out)
{
    *out = str_eq(s, STR("true"));
    return *out || str_eq(s, STR("false"));
}

bool value_uint(struct str s, uint64_t *out)
{
    return !(s.n > 1 && s.p[0] == '0') && str_u64(s, INT64_MAX, out);
}

/* digits[.digits] at the front of s; its length, 0 if there is no such number. */
static size_t decimal_length(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_digit(s.p[n]))
        n++;
    if (n == 0 || (n > 1 && s.p[0] == '0'))
        return 0;
    if (n + 1 < s.n && s.p[n] == '.' && is_digit(s.p[n + 1]))
        for (n++; n < s.n && is_digit(s.p[n]);)
            n++;
    return n;
}

bool value_real(struct str s, double *out)
{
    char text[64];
    if (s.n >= sizeof text || decimal_length(s) != s.n || s.n == 0)
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    *out = strtod(text, NULL); /* no one sets LC_NUMERIC */
    return true;
}

/* number * factor, exactly: "1.5" * 1000 is 1500, "0.0001" * 1000 is not whole. */
static bool scaled(struct str number, uint64_t factor, uint64_t *out)
{
    struct str rest = number, whole = str_split(&rest, '.');
    uint64_t value;
    if (!str_u64(whole, INT64_MAX, &value) || __builtin_mul_overflow(value, factor, out))
        return false;
    for (size_t i = 0; i < rest.n; i++) {
        if (factor % 10 && rest.p[i] != '0') {
            /* binary units: 1.5GiB is whole though 2^30 is no multiple of 10 */
            if (i > 0 || rest.n > 1 || (factor * (unsigned)(rest.p[i] - '0')) % 10)
                return false;
            return !__builtin_add_overflow(*out, factor * (unsigned)(rest.p[i] - '0') / 10, out) &&
                   *out <= INT64_MAX;
        }
        factor /= 10;
        if (__builtin_add_overflow(*out, factor * (unsigned)(rest.p[i] - '0'), out))
            return false;
    }
    return *out <= INT64_MAX;
}

static bool value_of_units(struct str s, const struct unit *units, size_t n, uint64_t plain, bool *has_unit,
                           uint64_t *out)
{
    size_t n_number = decimal_length(s);
    if (n_number == 0)
        return false;
    struct str number = str_slice(s.p, n_number), name = str_slice(s.p + n_number, s.n - n_number);
    *has_unit = name.n > 0;
    if (!*has_unit)
        return scaled(number, plain, out);
    for (size_t i = 0; i < n; i++)
        if (str_eq(name, str_of(units[i].name)))
            return scaled(number, units[i].factor, out);
    return false;
}

bool value_usec(struct str s, bool *has_unit, uint64_t *out)
{
    return value_of_units(s, usec_units, COUNT(usec_units), 1000000, has_unit, out);
}

bool value_bytes(struct str s, bool *has_unit, uint64_t *out)
{
    return value_of_units(s, byte_units, COUNT(byte_units), 1, has_unit, out);
}

static struct str print_units(struct arena *a, uint64_t value, const struct unit *units, size_t n)
{
    size_t i = 0;
    while (i + 1 < n && (value % units[i].factor || value == 0))
        i++;
    return arena_printf(a, "%llu%s", (unsigned long long)(value / units[i].factor), units[i].name);
}

struct str value_print_usec(struct arena *a, uint64_t value)
{
    return value ? print_units(a, value, usec_units, COUNT(usec_units)) : arena_printf(a, "0s");
}

struct str value_print_bytes(struct arena *a, uint64_t value)
{
    return print_units(a, value, byte_units, COUNT(byte_units));
}

struct str value_print_real(struct arena *a, double value)
{
    struct str text = STR_NONE;
    for (int digits = 0; digits <= 17; digits++) {
        text = arena_printf(a, "%.*f", digits, value);
        if (strtod(text.p, NULL) == value)
            break;
    }
    return text;
}

struct str value_quote(struct arena *a, struct str s)
{
    char *out = arena_alloc(a, 2 * s.n + 3), *at = out;
    *at++ = '"';
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"' || s.p[i] == '\\')
            *at++ = '\\';
        *at++ = s.p[i];
    }
    *at++ = '"';
    *at = 0;
    return str_slice(out, (size_t)(at - out));
}
