#include "http/chunk.h"

#include "base/ensure.h"
#include "http/bytes.h"

enum { DIGITS_MAX = 16, EXTENSION_MAX = 256, TRAILERS_MAX = 8 * 1024 };

enum {
    SIZE,        /* digits of a size; a new decoder begins here */
    EXTENSION,   /* from ';' to CR */
    SIZE_LF,     /* CR seen after the size or its extension */
    DATA,
    DATA_CR,     /* the data is over: CR, then LF */
    DATA_LF,
    TRAILER,     /* at the beginning of a trailer line or of the last line */
    NAME,
    VALUE,
    TRAILER_LF,
    LAST_LF,
    OVER,
    BAD,
};

void chunk_init(struct chunk_decoder *d)
{
    *d = (struct chunk_decoder){.state = SIZE};
}

static unsigned in_size(struct chunk_decoder *d, char c)
{
    int digit = hex_digit(c);
    if (digit >= 0) {
        if (++d->n_digits > DIGITS_MAX)
            return BAD;
        d->left = d->left << 4 | (unsigned)digit; /* 16 digits are 64 bits: nothing is shifted out */
        return d->left <= INT64_MAX ? SIZE : BAD;
    }
    if (d->n_digits == 0)
        return BAD;
    d->n_line = 1;
    return c == '\r' ? SIZE_LF : c == ';' ? EXTENSION : BAD;
}

static unsigned in_extension(struct chunk_decoder *d, char c)
{
    if (c == '\r')
        return SIZE_LF;
    return byte_is(c, BYTE_VALUE) && ++d->n_line <= EXTENSION_MAX ? EXTENSION : BAD;
}

static unsigned in_trailer(struct chunk_decoder *d, unsigned state, char c)
{
    if (state == TRAILER && c == '\r')
        return LAST_LF;
    if (++d->n_trailer_bytes > TRAILERS_MAX)
        return BAD;
    if (state == TRAILER)
        return byte_is(c, BYTE_TOKEN) ? NAME : BAD;
    if (state == NAME)
        return c == ':' ? VALUE : byte_is(c, BYTE_TOKEN) ? NAME : BAD;
    if (state == VALUE)
        return c == '\r' ? TRAILER_LF : byte_is(c, BYTE_VALUE) ? VALUE : BAD;
    return c == '\n' ? TRAILER : BAD;
}

/* One byte of what is not data. */
static unsigned step(struct chunk_decoder *d, char c)
{
    switch (d->state) {
    case SIZE:
        return in_size(d, c);
    case EXTENSION:
        return in_extension(d, c);
    case SIZE_LF:
        return c != '\n' ? BAD : d->left ? DATA : TRAILER;
    case DATA_CR:
        return c == '\r' ? DATA_LF : BAD;
    case DATA_LF:
        d->n_digits = 0;
        return c == '\n' ? SIZE : BAD;
    case TRAILER:
    case NAME:
    case VALUE:
    case TRAILER_LF:
        return in_trailer(d, d->state, c);
    case LAST_LF:
        return c == '\n' ? OVER : BAD;
    }
    return BAD;
}

enum chunk_result chunk_decode(struct chunk_decoder *d, struct str in, size_t *used, struct str *data)
{
    size_t at = 0;
    *data = STR_NONE;
    while (d->state < OVER && at < in.n) {
        if (d->state != DATA) {
            d->state = step(d, in.p[at++]);
            continue;
        }
        size_t n = d->left < in.n - at ? (size_t)d->left : in.n - at;
        *data = str_slice(in.p + at, n);
        *used = at + n;
        d->left -= n;
        if (d->left == 0)
            d->state = DATA_CR;
        return CHUNK_DATA;
    }
    *used = at;
    return d->state == OVER ? CHUNK_END : d->state == BAD ? CHUNK_BAD : CHUNK_MORE;
}

size_t chunk_line(char out[static 20], uint64_t n)
{
    ensure(n > 0); /* a chunk of no bytes would end the body */
    size_t at = 0;
    for (int shift = (63 - __builtin_clzll(n)) / 4 * 4; shift >= 0; shift -= 4)
        out[at++] = "0123456789abcdef"[n >> shift & 15];
    out[at++] = '\r';
    out[at++] = '\n';
    return at;
}
