#include "io/outq.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/ensure.h"

void outq_add(struct outq *q, struct str s)
{
    if (s.n == 0)
        return;
    ensure(q->n < OUTQ_MAX);
    q->v[q->n++] = (struct iovec){.iov_base = (char *)s.p, .iov_len = s.n};
    q->left += s.n;
}

static void advance(struct outq *q, size_t n)
{
    q->left -= n;
    while (n) {
        struct iovec *v = &q->v[q->at];
        if (n < v->iov_len) {
            v->iov_base = (char *)v->iov_base + n;
            v->iov_len -= n;
            return;
        }
        n -= v->iov_len;
        q->at++;
    }
}

enum { SMALL = 2048 }; /* what is copied in less time than the kernel takes to walk a list of slices */

static ssize_t send_once(const struct outq *q, int fd)
{
    const struct iovec *v = q->v + q->at;
    if (q->n - q->at == 1)
        return send(fd, v->iov_base, v->iov_len, MSG_NOSIGNAL);
    if (q->left <= SMALL) {
        char flat[SMALL], *end = flat;
        for (; v < q->v + q->n; v++)
            end = (char *)memcpy(end, v->iov_base, v->iov_len) + v->iov_len;
        return send(fd, flat, q->left, MSG_NOSIGNAL);
    }
    struct msghdr message = {.msg_iov = (struct iovec *)v, .msg_iovlen = q->n - q->at};
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

enum out_result outq_send(struct outq *q, int fd, size_t *moved)
{
    *moved = 0;
    while (q->left) {
        size_t asked = q->left;
        ssize_t n = send_once(q, fd);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return errno == EAGAIN || errno == EWOULDBLOCK ? OUT_AGAIN : OUT_DEAD;
        }
        *moved += (size_t)n;
        advance(q, (size_t)n);
        if ((size_t)n < asked)
            return OUT_AGAIN; /* a short write means a full socket: no second call to be told so */
    }
    outq_reset(q);
    return OUT_SENT;
}
