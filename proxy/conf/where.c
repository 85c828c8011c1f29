#include "conf/where.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stddef.h>
#include <sys/un.h>

#include "conf/value.h"

#define WHERE_FORMS "expected PORT, ADDR:PORT, [IPv6]:PORT or unix:/path"

static bool port_of(struct str s, uint16_t *out)
{
    uint64_t port;
    if (!value_uint(s, &port) || port == 0 || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

static void set_ipv4(struct arena *a, struct conf_where *out, struct in_addr address, uint16_t port)
{
    char text[INET_ADDRSTRLEN];
    struct sockaddr_in *in = (struct sockaddr_in *)&out->address;
    in->sin_family = AF_INET;
    in->sin_addr = address;
    in->sin_port = htons(port);
    out->n_address = sizeof *in;
    out->text = arena_printf(a, "%s:%u", inet_ntop(AF_INET, &address, text, sizeof text), port).p;
}

static void set_ipv6(struct arena *a, struct conf_where *out, struct in6_addr address, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&out->address;
    in->sin6_family = AF_INET6;
    in->sin6_addr = address;
    in->sin6_port = htons(port);
    out->n_address = sizeof *in;
    out->text = arena_printf(a, "[%s]:%u", inet_ntop(AF_INET6, &address, text, sizeof text), port).p;
}

static bool unix_where(struct arena *a, const char *path, struct conf_where *out, struct err *err)
{
    struct sockaddr_un *un = (struct sockaddr_un *)&out->address;
    size_t n = strlen(path);
    if (path[0] != '/' || n < 2)
        return err_set(err, "'unix:%s' has no absolute path, expected e.g. unix:/run/quiver.sock", path);
    if (n >= sizeof un->sun_path)
        return err_set(err, "'unix:%s' has a path of %zu bytes, expected at most %zu", path, n,
                       sizeof un->sun_path - 1);
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path, n + 1);
    out->n_address = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n + 1);
    out->text = arena_printf(a, "unix:%s", path).p;
    return true;
}

bool where_parse(struct arena *a, const char *text, struct conf_where out[2], unsigned *n, struct err *err)
{
    uint16_t port;
    char host[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    memset(out, 0, 2 * sizeof *out);
    *n = 1;
    if (strncmp(text, "unix:", 5) == 0)
        return unix_where(a, text + 5, out, err);
    const char *colon = strrchr(text, ':');
    if (!port_of(str_of(colon ? colon + 1 : text), &port))
        return err_set(err, "'%s' is not a place to listen at, " WHERE_FORMS ", the port from 1 to 65535",
                       text);
    if (!colon) {
        set_ipv4(a, &out[0], (struct in_addr){htonl(INADDR_LOOPBACK)}, port);
        set_ipv6(a, &out[1], in6addr_loopback, port);
        out[1].optional = true;
        *n = 2;
        return true;
    }
    bool bracketed = text[0] == '[' && colon > text + 1 && colon[-1] == ']';
    size_t n_host = (size_t)(colon - text) - (bracketed ? 2 : 0);
    if (n_host >= sizeof host)
        return err_set(err, "'%s' has no IP address before its port, " WHERE_FORMS, text);
    memcpy(host, text + bracketed, n_host);
    host[n_host] = 0;
    if (bracketed && inet_pton(AF_INET6, host, &v6) == 1)
        set_ipv6(a, out, v6, port);
    else if (!bracketed && inet_pton(AF_INET, host, &v4) == 1)
        set_ipv4(a, out, v4, port);
    else if (strcmp(host, "localhost") == 0)
        return err_set(err, "'%s' names a host, expected an address; %u alone means 127.0.0.1 and ::1", text,
                       port);
    else if (strcmp(host, "*") == 0 || host[0] == 0)
        return err_set(err, "'%s' has no IP address, expected 0.0.0.0:%u or [::]:%u for all interfaces", text,
                       port, port);
    else
        return err_set(err, "'%s' has no IP address before its port, " WHERE_FORMS, text);
    return true;
}

static uint16_t where_port(const struct conf_where *w)
{
    return w->address.ss_family == AF_INET    ? ntohs(((const struct sockaddr_in *)&w->address)->sin_port)
           : w->address.ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)&w->address)->sin6_port)
                                              : 0;
}

static const struct in_addr *v4_of(const struct conf_where *w)
{
    return &((const struct sockaddr_in *)&w->address)->sin_addr;
}

static const struct in6_addr *v6_of(const struct conf_where *w)
{
    return &((const struct sockaddr_in6 *)&w->address)->sin6_addr;
}

static bool is_wildcard(const struct conf_where *w)
{
    return w->address.ss_family == AF_INET    ? v4_of(w)->s_addr == htonl(INADDR_ANY)
           : w->address.ss_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(v6_of(w))
                                              : false;
}

bool where_overlaps(const struct conf_where *a, const struct conf_where *b)
{
    if (a->address.ss_family != b->address.ss_family)
        return false;
    if (strcmp(a->text, b->text) == 0)
        return true;
    return a->address.ss_family != AF_UNIX && where_port(a) == where_port(b) &&
           (is_wildcard(a) || is_wildcard(b));
}

/* Bytes that may stand in a host name; what else there is gets its own message. */
static bool is_host_name(struct str host)
{
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!letter && !((c == '-' || c == '.') && i > 0))
            return false;
    }
    return host.n > 0 && host.n <= 253 && !memmem(host.p, host.n, "..", 2);
}

/* The resolver would read 127.1, 0x7f.1 or 2130706433 as addresses: whose last part is a number must be a
 * whole IPv4 address. */
static bool ends_in_number(struct str host)
{
    const char *dot = memrchr(host.p, '.', host.n);
    struct str last = dot ? str_slice(dot + 1, host.n - (size_t)(dot + 1 - host.p)) : host;
    if (str_starts(last, STR("0x")) || str_starts(last, STR("0X")))
        return true;
    for (size_t i = 0; i < last.n; i++)
        if (last.p[i] < '0' || last.p[i] > '9')
            return false;
    return last.n > 0;
}

/* HOST or [IPv6] in canonical form: *host without brackets, *bracketed as it stands in a URL. */
static bool host_of(struct arena *a, struct str text, const char **host, const char **bracketed)
{
    char copy[256], canonical[INET6_ADDRSTRLEN];
    struct in_addr v4;
    struct in6_addr v6;
    if (text.n >= sizeof copy || text.n == 0)
        return false;
    bool has_brackets = text.p[0] == '[' && text.p[text.n - 1] == ']' && text.n > 2;
    struct str inner = has_brackets ? str_slice(text.p + 1, text.n - 2) : text;
    memcpy(copy, inner.p, inner.n);
    copy[inner.n] = 0;
    if (has_brackets) {
        if (inet_pton(AF_INET6, copy, &v6) != 1)
            return false;
        inet_ntop(AF_INET6, &v6, canonical, sizeof canonical);
        *host = arena_copy(a, str_of(canonical)).p;
        *bracketed = arena_printf(a, "[%s]", canonical).p;
        return true;
    }
    if (inet_pton(AF_INET, copy, &v4) != 1 && (!is_host_name(inner) || ends_in_number(inner)))
        return false;
    for (char *c = copy; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? *c + 32 : *c;
    *host = *bracketed = arena_copy(a, str_of(copy)).p;
    return true;
}

/* HOST[:PORT] cut in two; the colon that counts is the one after a bracket, if there is one. */
static struct str cut_port(struct str *authority)
{
    const char *bracket = memrchr(authority->p, ']', authority->n);
    const char *from = bracket ? bracket : authority->p;
    const char *colon = memrchr(from, ':', authority->n - (size_t)(from - authority->p));
    if (!colon)
        return STR_NONE;
    struct str port = str_slice(colon + 1, authority->n - (size_t)(colon + 1 - authority->p));
    authority->n = (size_t)(colon - authority->p);
    return port;
}

bool where_server(struct arena *a, const char *url, struct conf_server *out, struct err *err)
{
    const char *bracketed;
    struct str rest = str_of(url);
    if (memchr(url, '@', rest.n)) /* credentials: not to be shown */
        return err_set(err, "an address with a user or a password, expected http://HOST:PORT; "
                            "a key goes into upstream.api_key");
    if (str_ieq(str_slice(url, rest.n < 8 ? rest.n : 8), STR("https://")))
        return err_set(
            err,
            "'%s' asks for TLS, which is not available towards upstreams; expected http://HOST:PORT, "
            "and where TLS is needed a local TLS client such as stunnel between",
            url);
    if (!str_ieq(str_slice(url, rest.n < 7 ? rest.n : 7), STR("http://")))
        return err_set(err, "'%s' is not a server's address, expected http://HOST:PORT", url);
    rest = str_slice(url + 7, rest.n - 7);
    if (rest.n && rest.p[rest.n - 1] == '/')
        rest.n--;
    if (memchr(rest.p, '/', rest.n) || memchr(rest.p, '?', rest.n) || memchr(rest.p, '#', rest.n))
        return err_set(err, "'%s' has a path, expected http://HOST:PORT and nothing behind it", url);
    struct str port = cut_port(&rest);
    if (!port.p)
        return err_set(err, "'%s' has no port, expected e.g. %s:6333", url, url);
    if (!port_of(port, &out->port))
        return err_set(err, "'%s' has no valid port, expected a number from 1 to 65535", url);
    if (!host_of(a, rest, &out->host, &bracketed))
        return err_set(
            err, "'%s' has no valid host, expected a name, an IPv4 address or an IPv6 address in brackets",
            url);
    out->url = arena_printf(a, "http://%s:%u", bracketed, out->port).p;
    return true;
}

static bool is_localhost(struct str host)
{
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    return str_eq(host, STR("localhost")) ||
           (host.n > 10 && str_eq(str_slice(host.p + host.n - 10, 10), STR(".localhost")));
}

static bool is_interface(int family, const void *address, size_t n)
{
    struct ifaddrs *all = NULL;
    bool found = false;
    if (getifaddrs(&all) != 0)
        return false;
    for (struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        if (!i->ifa_addr || i->ifa_addr->sa_family != family)
            continue;
        const void *own = family == AF_INET ? (const void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr
                                            : (const void *)&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr;
        found = memcmp(own, address, n) == 0;
    }
    freeifaddrs(all);
    return found;
}

static bool reaches_v4(const struct conf_where *w, struct in_addr to)
{
    bool loopback = ntohl(to.s_addr) >> 24 == 127, any = to.s_addr == htonl(INADDR_ANY);
    if (w->address.ss_family == AF_INET && !is_wildcard(w))
        return v4_of(w)->s_addr == to.s_addr || (any && ntohl(v4_of(w)->s_addr) == INADDR_LOOPBACK);
    return is_wildcard(w) && (loopback || any || is_interface(AF_INET, &to, sizeof to));
}

static bool reaches_v6(const struct conf_where *w, struct in6_addr to)
{
    if (IN6_IS_ADDR_V4MAPPED(&to)) {
        struct in_addr v4;
        memcpy(&v4, &to.s6_addr[12], sizeof v4);
        return reaches_v4(w, v4);
    }
    if (w->address.ss_family != AF_INET6)
        return false;
    bool any = IN6_IS_ADDR_UNSPECIFIED(&to);
    if (!is_wildcard(w))
        return memcmp(v6_of(w), &to, sizeof to) == 0 || (any && IN6_IS_ADDR_LOOPBACK(v6_of(w)));
    return IN6_IS_ADDR_LOOPBACK(&to) || any || is_interface(AF_INET6, &to, sizeof to);
}

bool where_is_own(const struct conf_where *w, const struct conf_server *server)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (w->address.ss_family == AF_UNIX || where_port(w) != server->port)
        return false;
    if (is_localhost(str_of(server->host)))
        return reaches_v4(w, (struct in_addr){htonl(INADDR_LOOPBACK)}) || reaches_v6(w, in6addr_loopback);
    if (inet_pton(AF_INET, server->host, &v4) == 1)
        return reaches_v4(w, v4);
    return inet_pton(AF_INET6, server->host, &v6) == 1 && reaches_v6(w, v6);
}

static bool percent_decoded(struct arena *a, struct str s, const char **out)
{
    char *to = arena_alloc(a, s.n + 1);
    *out = to;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != '%') {
            *to++ = s.p[i];
            continue;
        }
        int high = i + 2 < s.n ? hex_digit(s.p[i + 1]) : -1, low = i + 2 < s.n ? hex_digit(s.p[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high * 16 + low);
        i += 2;
    }
    *to = 0;
    return true;
}

static bool redis_db(struct str s, struct conf_redis *out)
{
    uint64_t db;
    if (!value_uint(s, &db) || db > 65535)
        return false;
    out->db = (unsigned)db;
    return true;
}

#define REDIS_FORMS "expected redis://[user[:password]@]HOST[:PORT][/DB], unix:/path[?db=N] or off"

static bool redis_unix(struct arena *a, struct str rest, struct conf_redis *out, struct err *err)
{
    if (str_starts(rest, STR("//")))
        rest = str_slice(rest.p + 2, rest.n - 2);
    struct str path = str_split(&rest, '?');
    if (path.n < 2 || path.p[0] != '/' || path.n >= sizeof ((struct sockaddr_un *)0)->sun_path)
        return err_set(
            err,
            "a socket without an absolute path of at most 107 bytes, expected e.g. unix:/run/redis.sock");
    out->path = arena_copy(a, path).p;
    while (rest.n) {
        struct str value = str_split(&rest, '&'), name = str_split(&value, '=');
        if (str_eq(name, STR("db")) ? redis_db(value, out)
            : str_eq(name, STR("user")) ? percent_decoded(a, value, &out->user)
            : str_eq(name, STR("password")) ? percent_decoded(a, value, &out->password) : false)
            continue;
        return err_set(err,
                       "'%.*s' after '?' is not understood, expected db=NUMBER, user=NAME, password=TEXT",
                       STR_ARG(name));
    }
    return true;
}

static bool redis_user(struct arena *a, struct str user, struct conf_redis *out, struct err *err)
{
    struct str password = user, name = str_split(&password, ':');
    if (!password.p)
        return err_set(
            err, "a user without a password, expected redis://user:password@HOST or redis://:password@HOST");
    if (!percent_decoded(a, name, &out->user) || !percent_decoded(a, password, &out->password))
        return err_set(err, "a user or password with a bad %%-escape, expected %%25 for a per cent sign");
    if (!name.n)
        out->user = NULL;
    return true;
}

bool where_redis(struct arena *a, const char *url, struct conf_redis *out, struct err *err)
{
    const char *bracketed;
    struct str rest = str_of(url);
    memset(out, 0, sizeof *out);
    if (str_eq(rest, STR("off")))
        return true;
    out->on = true;
    if (str_starts(rest, STR("unix:")))
        return redis_unix(a, str_slice(rest.p + 5, rest.n - 5), out, err);
    if (str_starts(rest, STR("rediss://")))
        return err_set(err, "rediss:// asks for TLS, which is not available towards Redis; expected "
                            "redis://HOST:PORT of a local TLS "
                            "client such as stunnel, or unix:/path");
    if (!str_starts(rest, STR("redis://")))
        return err_set(err, "not a Redis address, " REDIS_FORMS);
    rest = str_slice(rest.p + 8, rest.n - 8);
    const char *at = memrchr(rest.p, '@', rest.n);
    if (at) {
        if (!redis_user(a, str_slice(rest.p, (size_t)(at - rest.p)), out, err))
            return false;
        rest = str_slice(at + 1, rest.n - (size_t)(at + 1 - rest.p));
    }
    struct str authority = str_split(&rest, '/'), port = cut_port(&authority);
    out->port = 6379;
    if (rest.n && !redis_db(rest, out))
        return err_set(err, "'/%.*s' is not a database, expected a number such as /0", STR_ARG(rest));
    if (port.p && !port_of(port, &out->port))
        return err_set(err, "'%.*s' is not a port, expected a number from 1 to 65535", STR_ARG(port));
    if (!host_of(a, authority, &out->host, &bracketed))
        return err_set(err, "no valid host, " REDIS_FORMS);
    return true;
}
