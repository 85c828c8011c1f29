#include "api/auth.h"

#include <arpa/inet.h>
#include <stdio.h>

/* Takes the same time wherever the first difference is; only the length of what was shown tells. */
static bool same_secret(struct str shown, const char *secret)
{
    size_t n = strlen(secret);
    unsigned char differ = shown.n != n;
    for (size_t i = 0; i < shown.n; i++)
        differ |= (unsigned char)shown.p[i] ^ (unsigned char)secret[n ? i % n : 0];
    return n && !differ;
}

static struct str bearer(struct str value)
{
    static const struct str scheme = {"bearer ", 7};
    if (value.n < scheme.n || !str_ieq(str_slice(value.p, scheme.n), scheme))
        return STR_NONE;
    return str_trim(str_slice(value.p + scheme.n, value.n - scheme.n), " \t");
}

static enum api_right right_of(const struct conf_process *p, struct str shown)
{
    enum api_right right = RIGHT_NONE;
    if (p->api_read_token && same_secret(shown, p->api_read_token))
        right = RIGHT_READ;
    if (p->api_token && same_secret(shown, p->api_token))
        right = RIGHT_ALL;
    return right;
}

static struct str own_token(const struct http_head *h)
{
    for (unsigned i = 0; i < h->n_fields; i++)
        if (h->field[i].id == HF_OTHER && str_ieq(h->field[i].name, STR("x-quiver-token")))
            return h->field[i].value;
    return STR_NONE;
}

enum api_right auth_right(const struct conf_process *p, const struct http_head *h, bool is_local)
{
    enum api_right by_header = right_of(p, own_token(h)),
                   by_bearer = right_of(p, bearer(http_value(h, HF_AUTHORIZATION)));
    enum api_right right = by_header > by_bearer ? by_header : by_bearer;
    if (right != RIGHT_NONE)
        return right;
    return is_local && !p->api_token && !p->api_read_token ? RIGHT_LOCAL : RIGHT_NONE;
}

unsigned auth_refusal(enum api_right right, enum api_access access, const struct conf_process *p,
                      const char **why)
{
    bool has_tokens = p->api_token || p->api_read_token;
    if (access == ACCESS_HEALTH || right == RIGHT_ALL || right == RIGHT_LOCAL ||
        (right == RIGHT_READ && access == ACCESS_READ))
        return 0;
    if (right == RIGHT_READ) {
        *why = "the read token may not change anything: this needs the one of api.token";
        return 403;
    }
    *why = has_tokens ? "no valid token was shown, expected Authorization: Bearer with the token of api.token"
                      : "only this host may use the control port while no api.token is configured";
    return has_tokens ? 401 : 403;
}

/* "name:port", "[::1]:80" or "name" -> the name. */
static struct str host_name(struct str host)
{
    if (host.n && host.p[0] == '[') {
        const char *close = memchr(host.p, ']', host.n);
        return close ? str_slice(host.p + 1, (size_t)(close - host.p) - 1) : host;
    }
    const char *colon = memchr(host.p, ':', host.n);
    return colon ? str_slice(host.p, (size_t)(colon - host.p)) : host;
}

/* Names that no stranger can point at this host: an address, localhost, and those that the configuration
 * knows. */
static bool is_own_name(const struct conf_process *p, struct str host)
{
    char text[64];
    struct in6_addr address;
    struct str name = host.n ? host_name(host) : host;
    if (str_ieq(name, STR("localhost")))
        return true;
    for (unsigned i = 0; i < p->api_hosts.n; i++)
        if (str_ieq(name, str_of(p->api_hosts.text[i])))
            return true;
    if (name.n == 0 || name.n >= sizeof text)
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

/* Origin is "scheme://host[:port]"; its own page's is the Host of the request. */
static bool is_own_origin(struct str origin, struct str host)
{
    const char *slashes = memmem(origin.p, origin.n, "://", 3);
    if (!slashes)
        return false;
    struct str rest = str_slice(slashes + 3, (size_t)(origin.p + origin.n - slashes) - 3);
    return str_ieq(rest, host);
}

const char *auth_foreign(const struct conf_process *p, const struct http_head *h)
{
    struct str site = http_value(h, HF_SEC_FETCH_SITE), host = http_value(h, HF_HOST);
    const struct http_field *origin = http_field(h, HF_ORIGIN);
    if (str_ieq(site, STR("cross-site")) || str_ieq(site, STR("same-site")))
        return "a page of another site may not change anything here (Sec-Fetch-Site)";
    if (origin && (h->count[HF_ORIGIN] > 1 || !is_own_origin(origin->value, host)))
        return "a page of another origin may not change anything here (Origin)";
    if (host.p && !is_own_name(p, host))
        return "changes are taken under localhost, an address or a name of api.hosts only (Host)";
    return NULL;
}

/* Is a token of ours anywhere in it: alone, as in api-key, or behind the word of a scheme? */
static bool shows_ours(const struct conf_process *p, struct str value)
{
    struct str behind = value;
    str_split(&behind, ' ');
    return right_of(p, value) != RIGHT_NONE || right_of(p, str_trim(behind, " \t")) != RIGHT_NONE;
}

struct str auth_upstream_lines(struct arena *a, const struct conf_process *p, const struct http_head *h,
                               enum api_right right)
{
    struct str lines = STR("");
    bool any = false;
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http_field *f = &h->field[i];
        if ((f->id != HF_API_KEY && f->id != HF_AUTHORIZATION) || f->hop || shows_ours(p, f->value))
            continue;
        any = true;
        lines = arena_printf(a, "%.*s%.*s", STR_ARG(lines), STR_ARG(f->line));
    }
    if (!any && p->api_key && (right == RIGHT_READ || right == RIGHT_ALL))
        lines = arena_printf(a, "api-key: %s\r\n", p->api_key);
    return lines;
}
