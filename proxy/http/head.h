/* head.h - strict HTTP/1 heads, requests and responses: one contiguous head in, slices out.
 * Policy: whatever two readers could understand differently is refused, nothing is repaired (RFC 9112, and
 * stricter). No I/O, no memory of its own. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum {
    HTTP_HEAD_MAX = 32 * 1024, /* whole head, request line and blank line included */
    HTTP_FIELDS_MAX = 100,
    HTTP_TARGET_MAX = 8 * 1024,
};

/* Fields that quiver itself reads. One row: id, name in small letters (compared in any case); only a-z, 0-9
 * and '-'. The id of any other field is HF_OTHER. */
#define HTTP_FIELDS(X)                                                                                     \
    X(HOST, "host")                                                                                        \
    X(CONTENT_LENGTH, "content-length")                                                                    \
    X(TRANSFER_ENCODING, "transfer-encoding")                                                              \
    X(CONNECTION, "connection")                                                                            \
    X(KEEP_ALIVE, "keep-alive")                                                                            \
    X(PROXY_CONNECTION, "proxy-connection")                                                                \
    X(PROXY_AUTHENTICATE, "proxy-authenticate")                                                            \
    X(PROXY_AUTHORIZATION, "proxy-authorization")                                                          \
    X(TE, "te")                                                                                            \
    X(TRAILER, "trailer")                                                                                  \
    X(UPGRADE, "upgrade")                                                                                  \
    X(HTTP2_SETTINGS, "http2-settings")                                                                    \
    X(EXPECT, "expect")                                                                                    \
    X(CONTENT_TYPE, "content-type")                                                                        \
    X(CONTENT_ENCODING, "content-encoding")                                                                \
    X(ACCEPT_ENCODING, "accept-encoding")                                                                  \
    X(CACHE_CONTROL, "cache-control")                                                                      \
    X(PRAGMA, "pragma")                                                                                    \
    X(AUTHORIZATION, "authorization")                                                                      \
    X(API_KEY, "api-key")                                                                                  \
    X(ORIGIN, "origin")                                                                                    \
    X(RANGE, "range")                                                                                      \
    X(IF_MATCH, "if-match")                                                                                \
    X(IF_NONE_MATCH, "if-none-match")                                                                      \
    X(IF_MODIFIED_SINCE, "if-modified-since")                                                              \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since")                                                          \
    X(IF_RANGE, "if-range")                                                                                \
    X(X_FORWARDED_FOR, "x-forwarded-for")                                                                  \
    X(FORWARDED, "forwarded")                                                                              \
    X(ROUTE_AFFINITY, "x-qdrant-route-affinity")                                                           \
    X(QUIVER_REWRITE, "x-quiver-rewrite")                                                                  \
    X(CACHE_STATUS, "cache-status")                                                                        \
    X(AGE, "age")                                                                                          \
    X(DATE, "date")                                                                                        \
    X(VARY, "vary")                                                                                        \
    X(RETRY_AFTER, "retry-after")                                                                          \
    X(SEC_FETCH_SITE, "sec-fetch-site")

enum http_field_id {
    HF_OTHER = 0,
#define X(id, name) HF_##id,
    HTTP_FIELDS(X)
#undef X
        HF_COUNT
};

struct http_field {
    struct str name, value;  /* as received; value without surrounding SP/HTAB */
    struct str line;         /* the whole line, CRLF included: what is forwarded unchanged */
    enum http_field_id id;
    bool hop;                /* hop-by-hop (RFC 9110 §7.6.1) or named by Connection: never forwarded */
};

enum http_framing { HTTP_BODY_NONE, HTTP_BODY_LENGTH, HTTP_BODY_CHUNKED, HTTP_BODY_UNTIL_CLOSE };

struct http_head {
    struct str raw;                      /* the whole head */
    struct str method, target;           /* requests */
    struct str path, query;              /* target cut at the first '?'; query.p == NULL if there is no '?' */
    unsigned status;                     /* responses: 100..599, never 101 */
    struct str reason;                   /* responses, may be empty */
    unsigned minor;                      /* HTTP/1.minor: 0 or 1 */
    enum http_framing framing;
    uint64_t length;                     /* bytes of body if framing is HTTP_BODY_LENGTH (may be 0), else 0 */
    bool keep_alive;                     /* what version and Connection say about this connection */
    bool expect_continue;                /* requests, 1.1 only: has a body and waits for a 100 first */
    bool is_head_method;                 /* requests: method is HEAD */
    unsigned n_fields;
    struct http_field field[HTTP_FIELDS_MAX];
    uint16_t first[HF_COUNT];            /* index + 1 of the first field with this id, 0 if none */
    uint8_t count[HF_COUNT];             /* how many there are */
};

enum http_result {
    HTTP_MORE,    /* no complete head yet: read on */
    HTTP_DONE,    /* *head_n bytes were the head; *scanned is 0 again */
    HTTP_REFUSED, /* refuse->status, refuse->why */
};

struct http_refusal {
    unsigned status;  /* requests: 400, 414, 417, 431, 501, 505; responses: always 502 */
    char why[160];    /* one sentence for the answer's body and the log: what was found, what would be right.
                         It never quotes a field's value, which may be a key */
};

/* Parses the head at the start of in[0..n); the head's slices then lie in `in`. `scanned` remembers between
 * calls how far the end of the head was looked for (start at 0), so that a dripped head costs linear time.
 * Refuses early, without waiting for the end, what can no longer be a head: limits passed, a bare LF, a first
 * byte that begins no method. *head is only meaningful after HTTP_DONE, *refusal only after HTTP_REFUSED.
 * A leading CRLF before a request line is skipped once (RFC 9112 §2.2) and counted in *head_n. */
enum http_result http_parse_request(const char *in, size_t n, size_t *scanned, struct http_head *head,
                                    size_t *head_n, struct http_refusal *refusal);

/* The same within other limits than HTTP_TARGET_MAX and HTTP_HEAD_MAX. */
struct http_limits {
    size_t target, head;
};
enum http_result http_parse_request_within(const struct http_limits *, const char *in, size_t n, size_t *scanned,
                                           struct http_head *head, size_t *head_n, struct http_refusal *refusal);

/* `request_method_head`: the request was a HEAD, so there is no body whatever the fields say. 1xx, 204 and
 * 304 have none either. 101 is refused: quiver never asks for an upgrade. */
enum http_result http_parse_response(const char *in, size_t n, size_t *scanned, bool request_method_head,
                                     struct http_head *head, size_t *head_n, struct http_refusal *refusal);

/* The first field with this id; NULL if there is none. */
static inline const struct http_field *http_field(const struct http_head *h, enum http_field_id id)
{
    return h->first[id] ? &h->field[h->first[id] - 1] : NULL;
}

/* The value of the first field with this id, STR_NONE if there is none. */
static inline struct str http_value(const struct http_head *h, enum http_field_id id)
{
    const struct http_field *f = http_field(h, id);
    return f ? f->value : STR_NONE;
}

/* Cuts the next element that is not empty off a comma-separated list: blanks trimmed, commas in quoted
 * strings kept; false at the end. */
bool http_list_item(struct str *rest, struct str *item);

/* True if a comma-separated list field with this id (any of its lines) has the token, ASCII case-insensitive;
 * parameters after ';' or '=' are not part of the token compared. */
bool http_list_has(const struct http_head *, enum http_field_id, struct str token);

/* "OK" for 200; "" for a status without a known phrase. */
const char *http_reason(unsigned status);

/* Copies a head and the bytes under it: `bytes` has room for from->raw.n and outlives *to. Only the fields in
 * use are copied. */
void http_head_copy(struct http_head *to, const struct http_head *from, char *bytes);
