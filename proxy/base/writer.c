#include "base/writer.h"

enum { DIGITS_MAX = 20 }; /* of 2^64 */

void put_padded(struct writer *w, uint64_t value, unsigned n_digits)
{
    ensure(n_digits <= (size_t)(w->end - w->at));
    for (unsigned i = n_digits; i-- > 0; value /= 10)
        w->at[i] = (char)('0' + value % 10);
    ensure(value == 0);
    w->at += n_digits;
}

void put_number(struct writer *w, uint64_t value)
{
    char digits[DIGITS_MAX];
    unsigned n = 0;
    do
        digits[DIGITS_MAX - ++n] = (char)('0' + value % 10);
    while (value /= 10);
    put(w, str_slice(digits + DIGITS_MAX - n, n));
}

void put_hex(struct writer *w, uint64_t value, unsigned n_digits)
{
    ensure(n_digits <= (size_t)(w->end - w->at));
    for (unsigned i = n_digits; i-- > 0; value >>= 4)
        w->at[i] = "0123456789abcdef"[value & 15];
    w->at += n_digits;
}
