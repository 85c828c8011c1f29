/* outq.h - slices on their way out: sent at once as far as the socket takes them, the rest when it is writable again.
 * The bytes belong to someone else and stay where they are until sent. */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#include "base/str.h"

enum { OUTQ_MAX = 64 };

struct outq {
    unsigned at, n; /* v[at..n) are still to be sent */
    size_t left;    /* bytes in them */
    struct iovec v[OUTQ_MAX];
};

enum out_result { OUT_SENT, OUT_AGAIN, OUT_DEAD };

static inline void outq_reset(struct outq *q)
{
    q->at = q->n = 0;
    q->left = 0;
}

void outq_add(struct outq *, struct str); /* empty slices are left out; the caller has checked the room */

/* OUT_AGAIN: the socket is full, *moved tells how much went (may be 0). OUT_DEAD: the peer is gone. */
enum out_result outq_send(struct outq *, int fd, size_t *moved);
