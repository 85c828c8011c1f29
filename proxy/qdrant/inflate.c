#include "qdrant/inflate.h"

#include <limits.h>
#include <zlib.h>

enum { EITHER_HEADER = 32 + MAX_WBITS }; /* zlib finds out by itself whether it is gzip or zlib */

bool inflate_small(struct arena *arena, struct str coding, struct str body, size_t max, struct str *plain)
{
    z_stream z = {0};
    if (!str_ieq(coding, STR("gzip")) && !str_ieq(coding, STR("x-gzip")) && !str_ieq(coding, STR("deflate")))
        return false;
    if (body.n > UINT_MAX || max > UINT_MAX || inflateInit2(&z, EITHER_HEADER) != Z_OK)
        return false;
    char *out = arena_alloc(arena, max);
    z.next_in = (Bytef *)body.p;
    z.avail_in = (uInt)body.n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)max;
    bool whole = inflate(&z, Z_FINISH) == Z_STREAM_END;
    *plain = (struct str){out, max - z.avail_out};
    inflateEnd(&z);
    return whole;
}
