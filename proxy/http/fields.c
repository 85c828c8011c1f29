#include "http/fields.h"

#include <stdarg.h>
#include <stdio.h>

#include "http/bytes.h"

enum { CONNECTION_OPTIONS_MAX = 32 }; /* each is compared with every field's name */

enum trait {
    HOP = 1,  /* for this connection only */
    ONCE = 2, /* two of them in a request are two different requests */
};

static const uint8_t traits[HF_COUNT] = {
    [HF_CONNECTION] = HOP,       [HF_KEEP_ALIVE] = HOP,          [HF_PROXY_CONNECTION] = HOP,
    [HF_PROXY_AUTHENTICATE] = HOP, [HF_PROXY_AUTHORIZATION] = HOP, [HF_TE] = HOP,
    [HF_TRAILER] = HOP,          [HF_TRANSFER_ENCODING] = HOP,   [HF_UPGRADE] = HOP,
    [HF_HTTP2_SETTINGS] = HOP,   [HF_AUTHORIZATION] = ONCE,      [HF_API_KEY] = ONCE,
};

static const char *const names[HF_COUNT] = {
    [HF_OTHER] = "",
#define X(id, name) [HF_##id] = name,
    HTTP_FIELDS(X)
#undef X
};

bool head_refuse(struct head_parse *ps, unsigned status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(ps->no->why, sizeof ps->no->why, fmt, args);
    va_end(args);
    ps->no->status = ps->is_response ? 502 : status;
    return false;
}

/* a is a token and b has only 'a'-'z', '0'-'9' and '-', so setting 0x20 maps no other byte onto one of b. */
static inline bool same_name(const char *a, const char *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((a[i] | 0x20) != b[i])
            return false;
    return true;
}

/* A chain of comparisons of the length, nearly all false: as cheap as a hash, and made from the one list. */
static enum http_field_id field_id(const char *p, size_t n)
{
#define X(id, name)                                               \
    if (n == sizeof name - 1 && same_name(p, name, sizeof name - 1)) \
        return HF_##id;
    HTTP_FIELDS(X)
#undef X
    return HF_OTHER;
}

static inline bool any_below_space_or_del(uint64_t w)
{
    const uint64_t ones = 0x0101010101010101, tops = ones * 0x80;
    uint64_t del = w ^ (ones * 0x7f);
    return (((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & tops;
}

/* The first byte of p..end that a value cannot have: eight at a time, tabs are sorted out one by one. */
static const char *value_end(const char *p, const char *end)
{
    for (;;) {
        for (uint64_t w; end - p >= 8; p += 8) {
            memcpy(&w, p, 8);
            if (any_below_space_or_del(w))
                break;
        }
        const char *stop = end - p > 8 ? p + 8 : end;
        while (p < stop && byte_is(*p, BYTE_VALUE))
            p++;
        if (p < stop || p == end)
            return p;
    }
}

/* The line's name ends at q with something else than ':'. */
static bool refuse_name(struct head_parse *ps, const char *p, const char *q)
{
    unsigned line = ps->head->n_fields + 2;
    if (q == p && (*q == ' ' || *q == '\t'))
        return head_refuse(ps, 400, "line %u of the head begins with a blank, expected a field's name", line);
    if (q == p && *q == ':')
        return head_refuse(ps, 400, "line %u of the head has an empty field name", line);
    if (*q == ' ' || *q == '\t')
        return head_refuse(ps, 400, "line %u of the head has a blank before the ':' of its field", line);
    if (*q == '\r' && q[1] == '\n')
        return head_refuse(ps, 400, "line %u of the head has no ':', expected a name, ':' and a value", line);
    return head_refuse(ps, 400, "line %u of the head has byte 0x%02x in its name, expected letters or '-'",
                       line, (unsigned char)*q);
}

static bool refuse_value(struct head_parse *ps, const char *e)
{
    unsigned line = ps->head->n_fields + 2;
    if (*e == '\r')
        return head_refuse(ps, 400, "line %u of the head has a CR that is not followed by LF", line);
    return head_refuse(ps, 400, "line %u of the head has control byte 0x%02x in its value", line,
                       (unsigned char)*e);
}

static bool one_field(struct head_parse *ps, const char **at, const char *end)
{
    struct http_head *h = ps->head;
    const char *p = *at, *q = p;
    while (byte_is(*q, BYTE_TOKEN)) /* the CR of the blank line stops it at the latest */
        q++;
    if (q == p || *q != ':')
        return refuse_name(ps, p, q);
    const char *v = q + 1;
    while (*v == ' ' || *v == '\t')
        v++;
    const char *e = value_end(v, end);
    if (e[0] != '\r' || e[1] != '\n')
        return refuse_value(ps, e);
    const char *next = e + 2;
    while (e > v && (e[-1] == ' ' || e[-1] == '\t'))
        e--;
    enum http_field_id id = field_id(p, (size_t)(q - p));
    h->field[h->n_fields++] = (struct http_field){
        .name = {p, (size_t)(q - p)},
        .value = {v, (size_t)(e - v)},
        .line = {p, (size_t)(next - p)},
        .id = id,
        .hop = traits[id] & HOP,
    };
    if (h->count[id]++ == 0)
        h->first[id] = (uint16_t)h->n_fields;
    else if ((traits[id] & ONCE) && !ps->is_response)
        return head_refuse(ps, 400, "%s is there twice, expected once", names[id]);
    *at = next;
    return true;
}

bool fields_parse(struct head_parse *ps, const char *p, const char *end)
{
    struct http_head *h = ps->head;
    h->n_fields = 0;
    memset(h->first, 0, sizeof h->first);
    memset(h->count, 0, sizeof h->count);
    while (p[0] != '\r' || p[1] != '\n') {
        if (h->n_fields == HTTP_FIELDS_MAX)
            return head_refuse(ps, 431, "the head has more than %d fields", HTTP_FIELDS_MAX);
        if (!one_field(ps, &p, end))
            return false;
    }
    return true;
}

static bool is_token(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!byte_is(s.p[i], BYTE_TOKEN))
            return false;
    return s.n > 0;
}

/* Connection names a field. Naming one that is meant for everyone is how a front end is made to drop what its
 * back end relies on. */
static bool name_hop(struct head_parse *ps, struct str option)
{
    struct http_head *h = ps->head;
    enum http_field_id id = field_id(option.p, option.n);
    if (id == HF_TRANSFER_ENCODING || (id != HF_OTHER && !(traits[id] & HOP)))
        return head_refuse(ps, 400, "Connection names %s, which is not a field of one connection", names[id]);
    if (id != HF_OTHER)
        return true; /* hop already */
    for (unsigned i = 0; i < h->n_fields; i++)
        if (h->field[i].id == HF_OTHER && str_ieq(h->field[i].name, option))
            h->field[i].hop = true;
    return true;
}

bool fields_connection(struct head_parse *ps)
{
    struct http_head *h = ps->head;
    unsigned n_options = 0;
    for (unsigned i = h->first[HF_CONNECTION]; i && i <= h->n_fields; i++) {
        if (h->field[i - 1].id != HF_CONNECTION)
            continue;
        for (struct str rest = h->field[i - 1].value; rest.p;) {
            struct str option = str_trim(str_split(&rest, ','), " \t");
            if (option.n == 0)
                continue;
            if (!is_token(option))
                return head_refuse(ps, 400, "Connection has an option that is no token, expected e.g. close");
            if (++n_options > CONNECTION_OPTIONS_MAX)
                return head_refuse(ps, 400, "Connection has more than %d options", CONNECTION_OPTIONS_MAX);
            if (str_ieq(option, STR("close")))
                ps->said_close = true;
            else if (str_ieq(option, STR("keep-alive")))
                ps->said_keep_alive = true;
            else if (!name_hop(ps, option))
                return false;
        }
    }
    return true;
}

/* Transfer-Encoding is there but is not one line that says chunked: bad, or only unknown? */
static bool refuse_coding(struct head_parse *ps)
{
    struct http_head *h = ps->head;
    unsigned n_chunked = 0;
    bool last_is_chunked = false;
    for (unsigned i = h->first[HF_TRANSFER_ENCODING]; i <= h->n_fields; i++) {
        if (h->field[i - 1].id != HF_TRANSFER_ENCODING)
            continue;
        struct str rest = h->field[i - 1].value;
        do {
            struct str coding = str_trim(str_split(&rest, ','), " \t");
            if (!is_token(coding))
                return head_refuse(ps, 400, "Transfer-Encoding is malformed, expected chunked");
            last_is_chunked = str_ieq(coding, STR("chunked"));
            n_chunked += last_is_chunked;
        } while (rest.p);
    }
    if (n_chunked > 1 || (n_chunked == 1 && !last_is_chunked))
        return head_refuse(ps, 400, "Transfer-Encoding has chunked %s, expected chunked alone",
                           n_chunked > 1 ? "more than once" : "before another coding");
    return head_refuse(ps, 501, "Transfer-Encoding has an unknown coding, expected chunked alone");
}

bool fields_framing(struct head_parse *ps)
{
    struct http_head *h = ps->head;
    unsigned n_lengths = h->count[HF_CONTENT_LENGTH], n_codings = h->count[HF_TRANSFER_ENCODING];
    h->framing = HTTP_BODY_NONE;
    h->length = 0;
    if (n_lengths && n_codings)
        return head_refuse(ps, 400, "Content-Length and Transfer-Encoding are both there, expected one");
    if (n_lengths > 1)
        return head_refuse(ps, 400, "Content-Length is there %u times, expected once", n_lengths);
    if (n_lengths) {
        if (!str_u64(http_value(h, HF_CONTENT_LENGTH), INT64_MAX, &h->length))
            return head_refuse(ps, 400, "Content-Length is not a decimal number of at most 2^63-1");
        h->framing = HTTP_BODY_LENGTH;
        return true;
    }
    if (!n_codings)
        return true;
    if (h->minor == 0)
        return head_refuse(ps, 400, "Transfer-Encoding is there in HTTP/1.0, which does not have it");
    if (n_codings > 1 || !str_ieq(http_value(h, HF_TRANSFER_ENCODING), STR("chunked")))
        return refuse_coding(ps);
    h->framing = HTTP_BODY_CHUNKED;
    return true;
}

/* The length of the uri-host that s begins with; 0: none. Of IP literals only the alphabet is checked, nobody
 * here connects to it. */
static size_t host_n(struct str s)
{
    size_t i = 0;
    if (s.n && s.p[0] == '[') {
        for (i = 1; i < s.n && (hex_digit(s.p[i]) >= 0 || s.p[i] == ':' || s.p[i] == '.');)
            i++;
        return i >= 3 && i < s.n && s.p[i] == ']' ? i + 1 : 0;
    }
    while (i < s.n) {
        if (byte_is(s.p[i], BYTE_HOST))
            i++;
        else if (s.p[i] == '%' && s.n - i >= 3 && hex_digit(s.p[i + 1]) >= 0 && hex_digit(s.p[i + 2]) >= 0)
            i += 3;
        else
            break;
    }
    return i;
}

/* ":6333", or ":" alone, which the grammar has as no port. */
static bool is_port(struct str s)
{
    uint64_t port;
    return s.p[0] == ':' && (s.n == 1 || str_u64(str_slice(s.p + 1, s.n - 1), 65535, &port));
}

bool fields_host(struct head_parse *ps)
{
    struct http_head *h = ps->head;
    unsigned n = h->count[HF_HOST];
    if (n == 0 && h->minor == 0)
        return true;
    if (n != 1)
        return head_refuse(ps, 400, "Host is there %u times, expected once", n);
    struct str host = http_value(h, HF_HOST);
    size_t at = host_n(host);
    if (at > 0 && (at == host.n || is_port(str_slice(host.p + at, host.n - at))))
        return true;
    return head_refuse(ps, 400, "Host is not a name or address with an optional port, e.g. localhost:6333");
}
