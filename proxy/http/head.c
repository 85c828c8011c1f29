#include "http/head.h"

#include "http/bytes.h"
#include "http/fields.h"

enum {
    METHOD_MAX = 32,
    AROUND_TARGET_MAX = METHOD_MAX + 1 + sizeof " HTTP/1.1\r\n" - 1, /* bytes of a request line beside its target */
    NO_VERSION = 99,
};

static const struct http_limits usual = {HTTP_TARGET_MAX, HTTP_HEAD_MAX};

/* Looks for the blank line in in[lead..n), from *scanned on. HTTP_DONE: the head is in[lead..*end). */
static enum http_result find_end(struct head_parse *ps, const char *in, size_t n, size_t lead,
                                 size_t *scanned, size_t *end)
{
    size_t from = *scanned > lead ? *scanned : lead;
    size_t stop = n - lead > ps->max.head ? lead + ps->max.head : n;
    const char *lf;
    while (from < stop && (lf = memchr(in + from, '\n', stop - from))) {
        size_t at = (size_t)(lf - in);
        if (at == lead || in[at - 1] != '\r') {
            head_refuse(ps, 400, "the head has a LF without a CR before it, lines must end with CR LF");
            return HTTP_REFUSED;
        }
        from = at + 1;
        if (at - lead >= 3 && in[at - 2] == '\n') {
            *end = from;
            return HTTP_DONE;
        }
    }
    *scanned = stop;
    if (n - lead < ps->max.head)
        return HTTP_MORE;
    head_refuse(ps, 431, "the head is longer than %zu bytes", ps->max.head);
    return HTTP_REFUSED;
}

/* 0 or 1 for HTTP/1.0 and HTTP/1.1, other digits as d*10+d, NO_VERSION if it is no version at all. */
static unsigned version_of(struct str s, bool *is_one)
{
    *is_one = false;
    if (s.n != 8 || memcmp(s.p, "HTTP/", 5) != 0 || s.p[6] != '.')
        return NO_VERSION;
    unsigned major = (unsigned char)s.p[5] - '0', minor = (unsigned char)s.p[7] - '0';
    if (major > 9 || minor > 9)
        return NO_VERSION;
    *is_one = major == 1 && minor <= 1;
    return *is_one ? minor : major * 10 + minor;
}

static size_t n_of_class(const char *p, size_t n, unsigned classes)
{
    size_t i = 0;
    while (i < n && byte_is(p[i], classes))
        i++;
    return i;
}

static bool parse_target(struct head_parse *ps, struct str target)
{
    struct http_head *h = ps->head;
    if (target.n > ps->max.target)
        return head_refuse(ps, 414, "the request target has %zu bytes, at most %zu are allowed", target.n,
                           ps->max.target);
    if (target.n == 0 || target.p[0] != '/')
        return head_refuse(ps, 400, "the request target does not begin with '/', expected e.g. /collections");
    size_t good = n_of_class(target.p, target.n, BYTE_TARGET);
    if (good < target.n)
        return head_refuse(ps, 400,
                           "the target has byte 0x%02x at offset %zu, expected visible ASCII without '#'",
                           (unsigned char)target.p[good], good);
    h->target = h->path = target;
    h->query = STR_NONE;
    const char *mark = memchr(target.p, '?', target.n);
    if (mark) {
        h->path.n = (size_t)(mark - target.p);
        h->query = str_slice(mark + 1, target.n - h->path.n - 1);
    }
    return true;
}

static bool parse_method(struct head_parse *ps, struct str method)
{
    if (method.n == 0 || method.n > METHOD_MAX || n_of_class(method.p, method.n, BYTE_TOKEN) < method.n)
        return head_refuse(ps, 400, "the request has no method of 1 to %d token bytes, e.g. GET", METHOD_MAX);
    if (str_ieq(method, STR("CONNECT")) || str_ieq(method, STR("TRACE")))
        return head_refuse(ps, 501, "the method %.*s is not served here", STR_ARG(method));
    ps->head->method = method;
    ps->head->is_head_method = str_eq(method, STR("HEAD"));
    return true;
}

/* line: without its CRLF. The version comes first: who speaks another one means nothing else as we would. */
static bool parse_request_line(struct head_parse *ps, struct str line)
{
    const char *first = memchr(line.p, ' ', line.n), *last = memrchr(line.p, ' ', line.n);
    if (!first || first == last)
        return head_refuse(ps, 400, "the request line has not three parts, expected e.g. GET / HTTP/1.1");
    bool is_one;
    struct str version = str_slice(last + 1, line.n - (size_t)(last + 1 - line.p));
    unsigned v = version_of(version, &is_one);
    if (v == NO_VERSION)
        return head_refuse(ps, 400, "the request line does not end with HTTP/1.1 or HTTP/1.0");
    if (!is_one)
        return head_refuse(ps, 505, "HTTP/%u.%u is not spoken here, expected HTTP/1.1", v / 10, v % 10);
    ps->head->minor = v;
    return parse_method(ps, str_slice(line.p, (size_t)(first - line.p))) &&
           parse_target(ps, str_slice(first + 1, (size_t)(last - first - 1)));
}

/* No end of the request line in sight though it is longer than any good one. */
static void refuse_long_line(struct head_parse *ps, struct str start)
{
    size_t n_method = n_of_class(start.p, start.n, BYTE_TOKEN);
    if (n_method > METHOD_MAX || start.p[n_method] != ' ')
        parse_method(ps, str_slice(start.p, n_method + 1));
    else
        head_refuse(ps, 414, "the request target has more than %zu bytes", ps->max.target);
}

static bool parse_expect(struct head_parse *ps)
{
    struct http_head *h = ps->head;
    h->expect_continue = false;
    if (h->minor == 0 || !h->count[HF_EXPECT])
        return true;
    for (unsigned i = h->first[HF_EXPECT]; i <= h->n_fields; i++)
        if (h->field[i - 1].id == HF_EXPECT && !str_ieq(h->field[i - 1].value, STR("100-continue")))
            return head_refuse(ps, 417, "Expect has something else than 100-continue");
    h->expect_continue = h->framing == HTTP_BODY_CHUNKED || h->length > 0;
    return true;
}

static bool keeps(const struct head_parse *ps)
{
    return !ps->said_close && (ps->head->minor == 1 || ps->said_keep_alive);
}

static bool parse_whole_request(struct head_parse *ps, struct str raw)
{
    struct http_head *h = ps->head;
    const char *end = raw.p + raw.n, *lf = memchr(raw.p, '\n', raw.n);
    h->raw = raw;
    h->status = 0;
    h->reason = STR_NONE;
    if (!parse_request_line(ps, str_slice(raw.p, (size_t)(lf - 1 - raw.p))) || !fields_parse(ps, lf + 1, end))
        return false;
    if (!fields_framing(ps) || !fields_host(ps) || !fields_connection(ps) || !parse_expect(ps))
        return false;
    h->keep_alive = keeps(ps);
    return true;
}

enum http_result http_parse_request(const char *in, size_t n, size_t *scanned, struct http_head *head,
                                    size_t *head_n, struct http_refusal *no)
{
    return http_parse_request_within(&usual, in, n, scanned, head, head_n, no);
}

enum http_result http_parse_request_within(const struct http_limits *max, const char *in, size_t n, size_t *scanned,
                                           struct http_head *head, size_t *head_n, struct http_refusal *no)
{
    struct head_parse ps = {.head = head, .no = no, .max = *max};
    size_t lead = 0, end = 0, before = *scanned;
    if (n && in[0] == '\r') {
        if (n > 1 && in[1] != '\n') {
            head_refuse(&ps, 400, "the request begins with a CR that is not followed by LF");
            return HTTP_REFUSED;
        }
        if (n <= 2)
            return HTTP_MORE;
        lead = 2;
    }
    if (n == 0)
        return HTTP_MORE;
    if (!byte_is(in[lead], BYTE_TOKEN)) { /* TLS, say: no need to wait for a blank line that will not come */
        head_refuse(&ps, 400, "the request begins with byte 0x%02x, expected a method such as GET",
                    (unsigned char)in[lead]);
        return HTTP_REFUSED;
    }
    enum http_result found = find_end(&ps, in, n, lead, scanned, &end);
    if (found != HTTP_DONE) {
        size_t line_max = AROUND_TARGET_MAX + max->target, limit = lead + line_max;
        if (before < limit && n >= limit && !memchr(in + lead, '\n', line_max)) {
            refuse_long_line(&ps, str_slice(in + lead, line_max));
            return HTTP_REFUSED;
        }
        return found;
    }
    *scanned = 0;
    *head_n = end;
    return parse_whole_request(&ps, str_slice(in + lead, end - lead)) ? HTTP_DONE : HTTP_REFUSED;
}

/* line: without its CRLF. */
static bool parse_status_line(struct head_parse *ps, struct str line)
{
    struct http_head *h = ps->head;
    bool is_one = false;
    if (line.n >= 8)
        h->minor = version_of(str_slice(line.p, 8), &is_one);
    if (!is_one)
        return head_refuse(ps, 502, "the answer does not begin with HTTP/1.1 or HTTP/1.0");
    uint64_t status;
    if (line.n < 12 || line.p[8] != ' ' || !str_u64(str_slice(line.p + 9, 3), 599, &status) || status < 100 ||
        (line.n > 12 && line.p[12] != ' '))
        return head_refuse(ps, 502, "the answer's version is not followed by a status from 100 to 599");
    if (status == 101)
        return head_refuse(ps, 502, "the answer has status 101, an upgrade that was never asked for");
    h->status = (unsigned)status;
    h->reason = line.n > 13 ? str_slice(line.p + 13, line.n - 13) : str_slice(line.p + line.n, 0);
    if (n_of_class(h->reason.p, h->reason.n, BYTE_VALUE) < h->reason.n)
        return head_refuse(ps, 502, "the answer's reason phrase has a control byte");
    return true;
}

/* What has no body whatever its fields say; fields that promise one where there never is one are refused. */
static bool bodiless(struct head_parse *ps, bool request_method_head)
{
    struct http_head *h = ps->head;
    bool never = h->status < 200 || h->status == 204;
    if (never && (h->framing == HTTP_BODY_CHUNKED || h->length > 0))
        return head_refuse(ps, 502, "the answer has status %u and announces a body", h->status);
    if (never || h->status == 304 || request_method_head) {
        h->framing = HTTP_BODY_NONE;
        h->length = 0;
    } else if (h->framing == HTTP_BODY_NONE) {
        h->framing = HTTP_BODY_UNTIL_CLOSE;
    }
    return true;
}

static bool parse_whole_response(struct head_parse *ps, struct str raw, bool request_method_head)
{
    struct http_head *h = ps->head;
    const char *end = raw.p + raw.n, *lf = memchr(raw.p, '\n', raw.n);
    h->raw = raw;
    h->method = h->target = h->path = h->query = STR_NONE;
    h->expect_continue = h->is_head_method = false;
    if (!parse_status_line(ps, str_slice(raw.p, (size_t)(lf - 1 - raw.p))) || !fields_parse(ps, lf + 1, end))
        return false;
    if (!fields_framing(ps) || !bodiless(ps, request_method_head) || !fields_connection(ps))
        return false;
    h->keep_alive = keeps(ps) && h->framing != HTTP_BODY_UNTIL_CLOSE;
    return true;
}

enum http_result http_parse_response(const char *in, size_t n, size_t *scanned, bool request_method_head,
                                     struct http_head *head, size_t *head_n, struct http_refusal *no)
{
    struct head_parse ps = {.head = head, .no = no, .max = usual, .is_response = true};
    size_t end = 0, n_known = n < 7 ? n : 7;
    if (n && memcmp(in, "HTTP/1.", n_known) != 0) {
        head_refuse(&ps, 502, "the answer does not begin with HTTP/1.1 or HTTP/1.0");
        return HTTP_REFUSED;
    }
    enum http_result found = find_end(&ps, in, n, 0, scanned, &end);
    if (found != HTTP_DONE)
        return found;
    *scanned = 0;
    *head_n = end;
    return parse_whole_response(&ps, str_slice(in, end), request_method_head) ? HTTP_DONE : HTTP_REFUSED;
}
