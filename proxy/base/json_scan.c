#include "base/json_scan.h"

#include <stdint.h>

#include "base/json_find.h"

enum { DEPTH_CEILING = 512 };

static void skip_blanks(struct json *j)
{
    while (j->at < j->end && (*j->at == ' ' || *j->at == '\n' || *j->at == '\r' || *j->at == '\t'))
        j->at++;
}

/* j->at is on the opening quote; steps behind the closing one. */
static bool skip_string(struct json *j, bool *escaped)
{
    const char *p = j->at + 1;
    for (;;) {
        p = json_find_quote(p, j->end);
        if (p >= j->end)
            return false;
        if (*p == '"')
            break;
        if (j->end - p < 2)
            return false;
        *escaped = true;
        p += 2;
    }
    j->at = p + 1;
    return true;
}

/* ---- numbers ---- */

static const char *skip_digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return p;
}

/* Behind the number that begins at p, or NULL. */
static const char *number_end(const char *p, const char *end)
{
    if (p < end && *p == '-')
        p++;
    const char *digits = p;
    p = skip_digits(p, end);
    if (p == digits || (*digits == '0' && p - digits > 1))
        return NULL;
    if (p < end && *p == '.') {
        digits = ++p;
        p = skip_digits(p, end);
        if (p == digits)
            return NULL;
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        p++;
        if (p < end && (*p == '+' || *p == '-'))
            p++;
        digits = p;
        p = skip_digits(p, end);
        if (p == digits)
            return NULL;
    }
    return p;
}

bool json_is_number(struct str text)
{
    return text.n && number_end(text.p, text.p + text.n) == text.p + text.n;
}

bool json_is_uint(struct str text)
{
    uint64_t value;
    return str_u64(text, UINT64_MAX, &value) && (text.n == 1 || text.p[0] != '0');
}

/* ---- values ---- */

enum json_kind json_peek(struct json *j)
{
    skip_blanks(j);
    if (j->at >= j->end)
        return JSON_BAD;
    switch (*j->at) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 'n': return JSON_NULL;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case '-': return JSON_NUMBER;
    default: return *j->at >= '0' && *j->at <= '9' ? JSON_NUMBER : JSON_BAD;
    }
}

static bool skip_word(struct json *j, struct str word)
{
    if ((size_t)(j->end - j->at) < word.n || memcmp(j->at, word.p, word.n) != 0)
        return false;
    j->at += word.n;
    return true;
}

/* j->at is on an opening bracket. What kind each open bracket is of is kept as a bit a level. */
static bool skip_nested(struct json *j, unsigned depth_max)
{
    uint64_t objects[DEPTH_CEILING / 64];
    unsigned depth = 0;
    bool escaped;
    if (depth_max > DEPTH_CEILING)
        depth_max = DEPTH_CEILING;
    for (;;) {
        j->at = json_find_structural(j->at, j->end);
        if (j->at >= j->end)
            return false;
        char c = *j->at;
        if (c == '"') {
            if (!skip_string(j, &escaped))
                return false;
            continue;
        }
        j->at++;
        if (c == '[' || c == '{') {
            if (depth == depth_max)
                return false;
            uint64_t bit = UINT64_C(1) << (depth % 64), *word = &objects[depth / 64];
            *word = c == '{' ? *word | bit : *word & ~bit;
            depth++;
            continue;
        }
        depth--; /* at least 1 before: the first bracket opened */
        bool in_object = objects[depth / 64] >> (depth % 64) & 1;
        if (in_object != (c == '}'))
            return false;
        if (!depth)
            return true;
    }
}

bool json_skip(struct json *j, unsigned depth_max, struct str *value)
{
    enum json_kind kind = json_peek(j);
    const char *begin = j->at, *end;
    bool ok = false, escaped;
    switch (kind) {
    case JSON_BAD: break;
    case JSON_NULL: ok = skip_word(j, STR("null")); break;
    case JSON_TRUE: ok = skip_word(j, STR("true")); break;
    case JSON_FALSE: ok = skip_word(j, STR("false")); break;
    case JSON_STRING: ok = skip_string(j, &escaped); break;
    case JSON_NUMBER:
        end = number_end(j->at, j->end);
        ok = end != NULL;
        if (ok)
            j->at = end;
        break;
    case JSON_OBJECT:
    case JSON_ARRAY: ok = skip_nested(j, depth_max); break;
    }
    *value = str_slice(begin, (size_t)(j->at - begin));
    return ok;
}

bool json_skip_flat(struct json *j, struct str *value)
{
    if (json_peek(j) != JSON_ARRAY)
        return false;
    const char *close = json_find_structural(j->at + 1, j->end);
    if (close >= j->end || *close != ']')
        return false;
    *value = str_slice(j->at, (size_t)(close + 1 - j->at));
    j->at = close + 1;
    return true;
}

/* ---- objects and arrays, a member at a time ---- */

bool json_enter(struct json *j, char bracket)
{
    skip_blanks(j);
    if (j->at >= j->end || *j->at != bracket)
        return false;
    j->at++;
    return true;
}

/* Before a member: false at the closing bracket (stepped over) or when the text is malformed. */
static bool next_member(struct json *j, char close, bool *first, bool *bad)
{
    skip_blanks(j);
    if (*bad || j->at >= j->end) {
        *bad = true;
        return false;
    }
    if (*j->at == close) {
        j->at++;
        return false;
    }
    if (!*first) {
        if (*j->at != ',') {
            *bad = true;
            return false;
        }
        j->at++;
        skip_blanks(j);
    }
    *first = false;
    return true;
}

bool json_key(struct json *j, bool *first, struct str *key, bool *escaped, bool *bad)
{
    if (!next_member(j, '}', first, bad))
        return false;
    *escaped = false;
    const char *quote = j->at;
    if (quote >= j->end || *quote != '"' || !skip_string(j, escaped)) {
        *bad = true;
        return false;
    }
    *key = str_slice(quote + 1, (size_t)(j->at - quote) - 2);
    skip_blanks(j);
    if (j->at >= j->end || *j->at != ':') {
        *bad = true;
        return false;
    }
    j->at++;
    return true;
}

bool json_item(struct json *j, bool *first, bool *bad)
{
    if (!next_member(j, ']', first, bad))
        return false;
    if (json_peek(j) == JSON_BAD)
        *bad = true; /* such as the end, or a comma before the closing bracket */
    return !*bad;
}

bool json_at_end(struct json *j)
{
    skip_blanks(j);
    return j->at >= j->end;
}

/* ---- strings ---- */

/* Four hexadecimal digits at p, or -1. */
static int hex4(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(p[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

size_t utf8_put(char *out, unsigned c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* *p is behind "\u"; writes the character, taking a pair's second half along. */
static bool unescape_unicode(const char **p, const char *end, char **out)
{
    int high = hex4(*p, end);
    if (high < 0 || (high >= 0xDC00 && high <= 0xDFFF))
        return false;
    *p += 4;
    unsigned c = (unsigned)high;
    if (high >= 0xD800 && high <= 0xDBFF) {
        int low = end - *p >= 6 && (*p)[0] == '\\' && (*p)[1] == 'u' ? hex4(*p + 2, end) : -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return false;
        *p += 6;
        c = 0x10000 + ((c - 0xD800) << 10) + ((unsigned)low - 0xDC00);
    }
    *out += utf8_put(*out, c);
    return true;
}

bool json_unescape(struct str text, char *out, size_t *n)
{
    static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    if (text.n < 2 || text.p[0] != '"' || text.p[text.n - 1] != '"')
        return false;
    const char *p = text.p + 1, *end = text.p + text.n - 1;
    char *begin = out;
    while (p < end) {
        if ((unsigned char)*p < 0x20 || *p == '"')
            return false;
        if (*p != '\\') {
            *out++ = *p++;
            continue;
        }
        if (end - p < 2)
            return false;
        char c = p[1];
        p += 2;
        const char *found = c ? strchr(letters, c) : NULL;
        if (found)
            *out++ = bytes[found - letters];
        else if (c != 'u' || !unescape_unicode(&p, end, &out))
            return false;
    }
    *n = (size_t)(out - begin);
    return true;
}

unsigned utf8_length(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned length = 0;
    if (p[0] < 0x80)
        length = 1;
    else if (p[0] >= 0xC2 && p[0] <= 0xDF)
        length = 2;
    else if ((p[0] & 0xF0) == 0xE0)
        length = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        length = 4;
    if (!length || length > n)
        return 0;
    for (unsigned i = 1; i < length; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return length;
}

static size_t quote_byte(char *out, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char letter = c == '"' || c == '\\' ? (char)c : c == '\n' ? 'n' : c == '\r' ? 'r' : c == '\t' ? 't' : 0;
    if (letter || c < 0x20) {
        out[0] = '\\';
        out[1] = letter ? letter : 'u';
        if (letter)
            return 2;
        memcpy(out + 2, "00", 2);
        out[4] = hex[c >> 4];
        out[5] = hex[c & 15];
        return 6;
    }
    out[0] = (char)c;
    return 1;
}

size_t json_quote(char *out, struct str s)
{
    size_t n = 0;
    out[n++] = '"';
    for (size_t i = 0; i < s.n;) {
        unsigned length = utf8_length(s.p + i, s.n - i);
        if (length == 1) {
            n += quote_byte(out + n, (unsigned char)s.p[i]);
        } else if (length) {
            memcpy(out + n, s.p + i, length);
            n += length;
        } else {
            memcpy(out + n, "\xEF\xBF\xBD", 3);
            n += 3;
            length = 1;
        }
        i += length;
    }
    out[n++] = '"';
    return n;
}
