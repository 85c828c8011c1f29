#include "server/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <fcntl.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int make_socket(const struct conf_where *w, bool shared)
{
    int on = 1;
    int fd = socket(w->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (w->address.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (shared)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&w->address, w->n_address) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

/* A path left behind by a process that is gone is taken over; one that somebody answers on is not. */
static bool clear_path(const struct conf_where *w, bool beside_own, struct err *err)
{
    const struct sockaddr_un *address = (const struct sockaddr_un *)&w->address;
    struct stat st;
    if (beside_own)
        return err_set(err, "%s: quiver serves that path for another purpose; this needs a restart", w->text);
    if (lstat(address->sun_path, &st) != 0)
        return true;
    if (!S_ISSOCK(st.st_mode))
        return err_set(err, "%s: the path exists and is no socket; remove it or choose another", w->text);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool taken = fd >= 0 && connect(fd, (const struct sockaddr *)&w->address, w->n_address) == 0;
    if (fd >= 0)
        close(fd);
    if (taken)
        return err_set(err, "%s: another process listens there", w->text);
    unlink(address->sun_path);
    return true;
}

/* True: the host has no such address, and that is allowed. */
static bool cannot(const struct conf_where *w, struct err *err)
{
    if (w->optional && (errno == EADDRNOTAVAIL || errno == EAFNOSUPPORT))
        return true;
    return err_set(err, "%s: cannot listen: %s%s", w->text, strerror(errno),
                   errno == EADDRINUSE ? " (is another quiver or Qdrant itself running there?)" : "");
}

bool listen_open(const struct conf_where *w, bool beside_own, int *fds, unsigned n, struct err *err)
{
    bool is_unix = w->address.ss_family == AF_UNIX;
    for (unsigned i = 0; i < n; i++)
        fds[i] = -1;
    if (is_unix && !clear_path(w, beside_own, err))
        return false;
    if (is_unix || !beside_own) {
        int probe = make_socket(w, false);
        if (probe < 0)
            return cannot(w, err);
        if (is_unix) {
            fds[0] = probe;
            for (unsigned i = 1; i < n; i++)
                fds[i] = fcntl(probe, F_DUPFD_CLOEXEC, 0);
            return true;
        }
        close(probe);
    }
    for (unsigned i = 0; i < n; i++) {
        fds[i] = make_socket(w, true);
        if (fds[i] < 0) {
            bool lacking = cannot(w, err);
            while (i--) {
                close(fds[i]);
                fds[i] = -1;
            }
            return lacking;
        }
    }
    return true;
}

void listen_forget(const struct conf_where *w)
{
    if (w->address.ss_family == AF_UNIX)
        unlink(((const struct sockaddr_un *)&w->address)->sun_path);
}
