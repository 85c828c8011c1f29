#include "base/json_find.h"

#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <immintrin.h>
#endif

static bool always(void)
{
    return true;
}

static bool is_structural(char c)
{
    return c == '"' || c == '[' || c == ']' || c == '{' || c == '}';
}

static const char *structural_plain(const char *at, const char *end)
{
    while (at < end && !is_structural(*at))
        at++;
    return at;
}

static const char *quote_plain(const char *at, const char *end)
{
    while (at < end && *at != '"' && *at != '\\')
        at++;
    return at;
}

#ifdef __SSE2__
/* '[' and '{', ']' and '}' differ in bit 5 only, so two comparisons find all four. */
static __m128i structural_in_16(const char *p)
{
    __m128i c = _mm_loadu_si128((const __m128i *)(const void *)p);
    __m128i folded = _mm_or_si128(c, _mm_set1_epi8(0x20));
    __m128i brackets = _mm_or_si128(_mm_cmpeq_epi8(folded, _mm_set1_epi8('{')), _mm_cmpeq_epi8(folded, _mm_set1_epi8('}')));
    return _mm_or_si128(brackets, _mm_cmpeq_epi8(c, _mm_set1_epi8('"')));
}

/* The first hit in 64 bytes, or NULL. */
static inline const char *structural_in_64(const char *at)
{
    __m128i a = structural_in_16(at), b = structural_in_16(at + 16);
    __m128i c = structural_in_16(at + 32), d = structural_in_16(at + 48);
    if (!_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))))
        return NULL;
    uint64_t low = (unsigned)_mm_movemask_epi8(a) | (unsigned)_mm_movemask_epi8(b) << 16;
    uint64_t high = (unsigned)_mm_movemask_epi8(c) | (unsigned)_mm_movemask_epi8(d) << 16;
    return at + __builtin_ctzll(low | high << 32);
}

static const char *structural_sse2(const char *at, const char *end)
{
    for (; end - at >= 64; at += 64) { /* a vector has no hit for kilobytes: one branch per 64 bytes */
        const char *hit = structural_in_64(at);
        if (hit)
            return hit;
    }
    return structural_plain(at, end);
}

__attribute__((target("avx2"))) static inline __m256i structural_in_32(const char *p)
{
    __m256i c = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i folded = _mm256_or_si256(c, _mm256_set1_epi8(0x20));
    __m256i brackets =
        _mm256_or_si256(_mm256_cmpeq_epi8(folded, _mm256_set1_epi8('{')), _mm256_cmpeq_epi8(folded, _mm256_set1_epi8('}')));
    return _mm256_or_si256(brackets, _mm256_cmpeq_epi8(c, _mm256_set1_epi8('"')));
}

__attribute__((target("avx2"))) static inline bool has_structural_in_128(const char *at)
{
    __m256i low = _mm256_or_si256(structural_in_32(at), structural_in_32(at + 32));
    __m256i high = _mm256_or_si256(structural_in_32(at + 64), structural_in_32(at + 96));
    return !_mm256_testz_si256(_mm256_or_si256(low, high), _mm256_or_si256(low, high));
}

/* Numbers, commas and blanks lie below '[', but for an exponent's e: the largest of four bytes tells that of all, and half of the work is
 * saved. True: there may be a hit. */
__attribute__((target("avx2"))) static inline bool may_have_structural_in_128(const char *at)
{
    const __m256i *p = (const __m256i *)(const void *)at;
    __m256i quote = _mm256_set1_epi8('"'), bracket = _mm256_set1_epi8('[');
    __m256i a = _mm256_loadu_si256(p), b = _mm256_loadu_si256(p + 1), c = _mm256_loadu_si256(p + 2), d = _mm256_loadu_si256(p + 3);
    __m256i largest = _mm256_max_epu8(_mm256_max_epu8(a, b), _mm256_max_epu8(c, d));
    __m256i quotes = _mm256_or_si256(_mm256_or_si256(_mm256_cmpeq_epi8(a, quote), _mm256_cmpeq_epi8(b, quote)),
                                     _mm256_or_si256(_mm256_cmpeq_epi8(c, quote), _mm256_cmpeq_epi8(d, quote)));
    __m256i above = _mm256_cmpeq_epi8(_mm256_max_epu8(largest, bracket), largest);
    __m256i found = _mm256_or_si256(quotes, above);
    return !_mm256_testz_si256(found, found);
}

/* What the kernel has copied just now lies in an outer cache, or in none; this may be past the end. */
enum { AHEAD = 1024 };

/* Passes over blocks without a hit; the block with one, and the rest, are for the narrower loop. */
__attribute__((target("avx2"))) static const char *structural_avx2(const char *at, const char *end)
{
    for (; end - at >= 128; at += 128) {
        uintptr_t soon = (uintptr_t)at + AHEAD;
        _mm_prefetch((const char *)soon, _MM_HINT_T0);
        _mm_prefetch((const char *)(soon + 64), _MM_HINT_T0);
        if (may_have_structural_in_128(at) && has_structural_in_128(at))
            break;
    }
    return structural_sse2(at, end);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2");
}

const char *json_find_structural(const char *at, const char *end)
{
    if (end - at >= 64) { /* most searches end at once: before a vector and behind it */
        const char *hit = structural_in_64(at);
        if (hit)
            return hit;
        at += 64 - (uintptr_t)at % 32; /* from here on no load lies across two lines */
    }
    return end - at >= 256 && has_avx2() ? structural_avx2(at, end) : structural_sse2(at, end);
}

const char *json_find_quote(const char *at, const char *end)
{
    for (; end - at >= 16; at += 16) {
        __m128i c = _mm_loadu_si128((const __m128i *)(const void *)at);
        __m128i hit = _mm_or_si128(_mm_cmpeq_epi8(c, _mm_set1_epi8('"')), _mm_cmpeq_epi8(c, _mm_set1_epi8('\\')));
        int mask = _mm_movemask_epi8(hit);
        if (mask)
            return at + __builtin_ctz((unsigned)mask);
    }
    return quote_plain(at, end);
}
#else
const char *json_find_structural(const char *at, const char *end)
{
    return structural_plain(at, end);
}

const char *json_find_quote(const char *at, const char *end)
{
    return quote_plain(at, end);
}
#endif

const struct json_finder json_finders[] = {
    {"plain", structural_plain, always},
#ifdef __SSE2__
    {"sse2", structural_sse2, always},
    {"avx2", structural_avx2, has_avx2},
#endif
    {"in use", json_find_structural, always},
    {NULL, NULL, NULL},
};
