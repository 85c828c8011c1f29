/* fields.h - private to proxy/http: the part of a head that requests and responses share, after the start
 * line. Any thread. */
#pragma once

#include "http/head.h"

/* One head being parsed. Functions that return bool have refused (and said why) when they return false. */
struct head_parse {
    struct http_head *head;
    struct http_refusal *no;
    struct http_limits max;
    bool is_response; /* every refusal is then a 502 */
    bool said_close, said_keep_alive;
};

/* Says no and returns false. The sentence never quotes a field's value: it may be a key. */
bool head_refuse(struct head_parse *, unsigned status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* p..end: field lines and the blank line; known: it is the only one, and no LF is without a CR before it.
 * Fills field, n_fields, first, count, hop. */
bool fields_parse(struct head_parse *, const char *p, const char *end);

/* Connection: options into said_close and said_keep_alive, named fields become hop. After fields_parse. */
bool fields_connection(struct head_parse *);

/* Content-Length and Transfer-Encoding: framing and length, HTTP_BODY_NONE if neither is there. After
 * fields_parse. */
bool fields_framing(struct head_parse *);

/* Host of a request. After fields_parse. */
bool fields_host(struct head_parse *);
