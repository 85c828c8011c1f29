#include "server/cli_http.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/mem.h"

enum { ANSWER_MAX = 64 << 20, READ_WITHIN_S = 120 };

/* A wildcard is where one listens, not where one connects to. */
static struct sockaddr_storage reachable(const struct conf_where *at)
{
    struct sockaddr_storage to = at->address;
    struct sockaddr_in *four = (struct sockaddr_in *)&to;
    struct sockaddr_in6 *six = (struct sockaddr_in6 *)&to;
    if (to.ss_family == AF_INET && four->sin_addr.s_addr == htonl(INADDR_ANY))
        four->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (to.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr))
        six->sin6_addr = in6addr_loopback;
    return to;
}

static int open_socket(const struct conf_where *at, struct err *err)
{
    struct sockaddr_storage to = reachable(at);
    struct timeval limit = {.tv_sec = READ_WITHIN_S};
    int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&to, at->n_address) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        return fd;
    }
    err_set(err, "no quiver answers at %s: %s; expected its control port, see --api", at->text,
            strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static bool send_all(int fd, const char *p, size_t n)
{
    for (ssize_t sent; n; p += sent, n -= (size_t)sent)
        if ((sent = send(fd, p, n, MSG_NOSIGNAL)) <= 0)
            return false;
    return true;
}

/* Everything until the other side closes. */
static char *read_all(int fd, size_t *n)
{
    size_t cap = 65536;
    char *all = mem_alloc(cap + 1);
    *n = 0;
    for (;;) {
        if (*n == cap) {
            cap *= 2;
            all = mem_realloc(all, cap + 1);
        }
        ssize_t got = recv(fd, all + *n, cap - *n, 0);
        if (got <= 0 || cap > ANSWER_MAX)
            break;
        *n += (size_t)got;
    }
    all[*n] = 0;
    return all;
}

bool cli_exchange(const struct conf_where *at, const char *token, const char *method, const char *path,
                  struct cli_answer *out, struct err *err)
{
    char head[4096];
    int fd = open_socket(at, err), version;
    *out = (struct cli_answer){0};
    if (fd < 0)
        return false;
    int n = snprintf(
        head, sizeof head,
        "%s %s HTTP/1.1\r\nHost: localhost\r\nUser-Agent: quiver/%s\r\nConnection: close\r\n%s%s%s%s\r\n",
        method, path, QUIVER_VERSION, token ? "X-Quiver-Token: " : "", token ? token : "",
        token ? "\r\n" : "", strcmp(method, "GET") == 0 ? "" : "Content-Length: 0\r\n");
    if (n < 0 || (size_t)n >= sizeof head) {
        close(fd);
        return err_set(err, "too many names for one request");
    }
    bool sent = send_all(fd, head, (size_t)n);
    char *all = read_all(fd, &out->n_body), *body = strstr(all, "\r\n\r\n");
    close(fd);
    if (!sent || !body || sscanf(all, "HTTP/1.%d %u", &version, &out->status) != 2) {
        free(all);
        return err_set(err, "%s: no HTTP answer came back; expected quiver's control port", at->text);
    }
    body += 4;
    out->n_body -= (size_t)(body - all);
    memmove(all, body, out->n_body + 1);
    out->body = all;
    return true;
}
