#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

enum {
    RING_BYTES = 1 << 20, /* a power of two */
    RINGS_MAX = 288,      /* threads that log at one time */
    NAP_MSEC = 5,         /* the writer gathers lines for so long; nobody has to wake it meanwhile */
    OUT_BYTES = 64 * 1024,
    STUCK_MSEC = 1000,    /* a target that takes nothing for so long loses what it was to get */
    PIECE_BYTES = 4096,   /* what a pipe, socket or terminal that is writable takes without blocking (PIPE_BUF) */
};

/* What a line is for: a file's, or an event on stderr. */
enum { KIND_EVENT = LOG_FILES, KIND_COUNT };

struct record { /* in the ring: this, then n bytes, then up to 7 of padding */
    uint32_t n, kind;
};

/* head and tail count bytes since the start; the owner moves head, the writer thread tail. */
struct ring {
    _Alignas(64) _Atomic uint64_t head;
    _Alignas(64) _Atomic uint64_t tail;
    _Alignas(64) _Atomic bool owned; /* false: its thread has ended, another may take it */
    char bytes[RING_BYTES];
};

/* Where the lines of a kind gather before they are written. */
struct out {
    int fd; /* -1: off */
    bool stuck;  /* it took nothing for STUCK_MSEC and is not waited for any more */
    bool inside; /* what was written last ends inside a line */
    bool torn;   /* the rest of that line was lost */
    size_t n;
    char *bytes;
};

static char out_bytes[KIND_COUNT][OUT_BYTES];

/* A file's target and its change. */
struct target {
    char *path;        /* NULL: not a file */
    _Atomic bool on;
    bool change;       /* next_fd takes its place as soon as what was logged before is written */
    int next_fd;
};

static struct {
    _Atomic unsigned level;
    _Atomic uint64_t n_dropped;
    _Atomic bool running, asleep, stop;
    _Atomic unsigned n_rings;
    struct ring *_Atomic ring[RINGS_MAX];
    int wake_fd;
    pthread_t writer;
    pthread_key_t key; /* gives a thread's ring back when the thread ends */
    bool have_key;

    pthread_mutex_t direct;  /* the outs, the targets' changes; who logs takes it only while no writer runs */
    struct target target[LOG_FILES];
    struct out out[KIND_COUNT];
} logs = {.level = LOG_LEVEL_INFO,
          .wake_fd = -1,
          .direct = PTHREAD_MUTEX_INITIALIZER,
          .out = {[KIND_EVENT] = {.fd = STDERR_FILENO, .bytes = out_bytes[KIND_EVENT]},
                  [LOG_ACCESS] = {.fd = -1, .bytes = out_bytes[LOG_ACCESS]},
                  [LOG_QUERIES] = {.fd = -1, .bytes = out_bytes[LOG_QUERIES]}}};

static const char *const file_names[LOG_FILES] = {[LOG_ACCESS] = "access log", [LOG_QUERIES] = "query log"};

static _Thread_local struct ring *my_ring;

const char *const log_level_names[LOG_LEVEL_COUNT] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&logs.level, level, memory_order_relaxed);
}

bool log_enabled(enum log_level level)
{
    return level <= atomic_load_explicit(&logs.level, memory_order_relaxed);
}

bool log_file_on(enum log_file file)
{
    return atomic_load_explicit(&logs.target[file].on, memory_order_relaxed);
}

static void count_dropped(uint64_t n)
{
    atomic_fetch_add_explicit(&logs.n_dropped, n, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
    return atomic_load_explicit(&logs.n_dropped, memory_order_relaxed);
}

/* ---- writing: under `direct` ---- */

static uint64_t count_lines(const char *p, size_t n)
{
    uint64_t lines = 0;
    for (size_t i = 0; i < n; i++)
        lines += p[i] == '\n';
    return lines;
}

/* Whether it takes something now, or soon. A file always does. */
static bool out_takes(struct out *out)
{
    struct pollfd p = {.fd = out->fd, .events = POLLOUT};
    int n;
    do
        n = poll(&p, 1, out->stuck ? 0 : STUCK_MSEC);
    while (n < 0 && errno == EINTR);
    out->stuck = n == 0;
    return n > 0;
}

/* Returns how much of it went. Who reads the other end of a pipe may stand still, and stderr blocks: reloads and the end wait for this
 * thread, so no more is written at a time than cannot block. */
static size_t out_write(struct out *out, const char *p, size_t n)
{
    struct stat st;
    bool is_file = fstat(out->fd, &st) == 0 && S_ISREG(st.st_mode);
    size_t at = 0;
    while (at < n && (is_file || out_takes(out))) {
        ssize_t went = write(out->fd, p + at, is_file || n - at < PIECE_BYTES ? n - at : PIECE_BYTES);
        if (went > 0)
            at += (size_t)went;
        else if (went == 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    if (at)
        out->inside = p[at - 1] != '\n';
    return at;
}

static void out_flush(struct out *out)
{
    size_t at = 0;
    if (out->n && out->fd >= 0) {
        if (out->torn && out_write(out, "\n", 1))
            out->torn = false;
        at = out->torn ? 0 : out_write(out, out->bytes, out->n);
        out->torn = out->torn || (at < out->n && out->inside);
        count_dropped(count_lines(out->bytes + at, out->n - at));
    }
    out->n = 0;
}

static void out_put(struct out *out, struct str part)
{
    while (part.n) {
        if (out->n == OUT_BYTES)
            out_flush(out);
        size_t n = part.n < OUT_BYTES - out->n ? part.n : OUT_BYTES - out->n;
        memcpy(out->bytes + out->n, part.p, n);
        out->n += n;
        part.p += n, part.n -= n;
    }
}

/* Everything logged before is in the outs. */
static void change_target(enum log_file file)
{
    struct out *out = &logs.out[file];
    struct target *target = &logs.target[file];
    if (!target->change)
        return;
    target->change = false;
    if (out->fd >= 0)
        out_flush(out);
    if (out->fd > STDERR_FILENO)
        close(out->fd);
    out->fd = target->next_fd;
    out->stuck = out->inside = out->torn = false;
}

static void write_now(unsigned kind, struct str line)
{
    pthread_mutex_lock(&logs.direct);
    out_put(&logs.out[kind], line);
    out_put(&logs.out[kind], STR("\n"));
    out_flush(&logs.out[kind]);
    pthread_mutex_unlock(&logs.direct);
}

/* ---- rings ---- */

static void ring_copy_in(struct ring *r, uint64_t at, const void *from, size_t n)
{
    size_t offset = at & (RING_BYTES - 1), first = n < RING_BYTES - offset ? n : RING_BYTES - offset;
    memcpy(r->bytes + offset, from, first);
    memcpy(r->bytes, (const char *)from + first, n - first);
}

static size_t padded(size_t n)
{
    return (n + 7) & ~(size_t)7;
}

static bool ring_push(struct ring *r, unsigned kind, struct str line)
{
    struct record record = {.n = (uint32_t)line.n + 1, .kind = kind};
    uint64_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    size_t need = sizeof record + padded(record.n);
    if (RING_BYTES - (head - tail) < need)
        return false;
    ring_copy_in(r, head, &record, sizeof record);
    ring_copy_in(r, head + sizeof record, line.p, line.n);
    ring_copy_in(r, head + sizeof record + line.n, "\n", 1);
    atomic_store_explicit(&r->head, head + need, memory_order_release);
    return true;
}

/* Moves all lines of the ring into the outs; false if there were none. */
static bool ring_drain(struct ring *r)
{
    uint64_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    if (tail == head)
        return false;
    while (tail != head) {
        struct record record; /* never split: all of the ring's positions are multiples of 8 */
        memcpy(&record, r->bytes + (tail & (RING_BYTES - 1)), sizeof record);
        size_t offset = (tail + sizeof record) & (RING_BYTES - 1);
        size_t first = record.n < RING_BYTES - offset ? record.n : RING_BYTES - offset;
        out_put(&logs.out[record.kind], str_slice(r->bytes + offset, first));
        out_put(&logs.out[record.kind], str_slice(r->bytes, record.n - first));
        tail += sizeof record + padded(record.n);
        atomic_store_explicit(&r->tail, tail, memory_order_release);
    }
    return true;
}

static bool ring_empty(const struct ring *r)
{
    return atomic_load_explicit(&r->head, memory_order_acquire) == atomic_load_explicit(&r->tail, memory_order_acquire);
}

/* A ring that an ended thread has left; an empty one, if asked for: what the writer has not yet taken out leaves less room. */
static struct ring *ring_take_over(bool empty)
{
    unsigned n = atomic_load_explicit(&logs.n_rings, memory_order_acquire);
    for (unsigned i = 0; i < n && i < RINGS_MAX; i++) {
        struct ring *r = atomic_load_explicit(&logs.ring[i], memory_order_acquire);
        bool owned = false;
        if (r && (!empty || ring_empty(r)) && atomic_compare_exchange_strong(&r->owned, &owned, true))
            return r;
    }
    return NULL;
}

static struct ring *ring_claim(void)
{
    struct ring *left = ring_take_over(true);
    if (left)
        return left;
    unsigned slot = atomic_load(&logs.n_rings);
    do {
        if (slot >= RINGS_MAX)
            return ring_take_over(false);
    } while (!atomic_compare_exchange_weak(&logs.n_rings, &slot, slot + 1));
    struct ring *r = aligned_alloc(64, sizeof *r);
    if (!r)
        return NULL; /* the slot stays empty; its thread's lines are dropped and counted */
    atomic_init(&r->head, 0);
    atomic_init(&r->tail, 0);
    atomic_init(&r->owned, true);
    atomic_store_explicit(&logs.ring[slot], r, memory_order_release);
    return r;
}

static void ring_give_back(void *ring)
{
    atomic_store_explicit(&((struct ring *)ring)->owned, false, memory_order_release);
}

static struct ring *ring_mine(void)
{
    if (!my_ring && (my_ring = ring_claim()))
        pthread_setspecific(logs.key, my_ring);
    return my_ring;
}

static void writer_wake(void)
{
    uint64_t one = 1;
    if (write(logs.wake_fd, &one, sizeof one) < 0)
        return; /* its count is full: the writer is awake */
}

static void line_put(unsigned kind, struct str line)
{
    if (!atomic_load_explicit(&logs.running, memory_order_acquire)) {
        write_now(kind, line);
        return;
    }
    struct ring *r = ring_mine();
    if (!r || !ring_push(r, kind, line))
        count_dropped(1);
    atomic_thread_fence(memory_order_seq_cst); /* head before asleep, as the writer has asleep before head */
    if (atomic_load_explicit(&logs.asleep, memory_order_relaxed) && atomic_exchange(&logs.asleep, false))
        writer_wake();
}

/* ---- the writer thread ---- */

static bool drain_all(void)
{
    bool any = false;
    pthread_mutex_lock(&logs.direct);
    unsigned n = atomic_load_explicit(&logs.n_rings, memory_order_acquire);
    for (unsigned i = 0; i < n && i < RINGS_MAX; i++) {
        struct ring *r = atomic_load_explicit(&logs.ring[i], memory_order_acquire);
        any |= r && ring_drain(r);
    }
    for (unsigned f = 0; f < LOG_FILES; f++)
        change_target(f);
    for (unsigned k = 0; k < KIND_COUNT; k++)
        out_flush(&logs.out[k]);
    pthread_mutex_unlock(&logs.direct);
    return any;
}

static void writer_rest(int msec)
{
    struct pollfd p = {.fd = logs.wake_fd, .events = POLLIN};
    uint64_t count;
    if (poll(&p, 1, msec) > 0 && read(logs.wake_fd, &count, sizeof count) < 0)
        return; /* somebody else's wake was counted already */
}

static void *writer_run(void *arg)
{
    (void)arg;
    while (!atomic_load_explicit(&logs.stop, memory_order_acquire)) {
        if (drain_all()) {
            writer_rest(NAP_MSEC);
            continue;
        }
        atomic_store(&logs.asleep, true);
        atomic_thread_fence(memory_order_seq_cst);
        if (!drain_all())
            writer_rest(-1);
        atomic_store(&logs.asleep, false);
        writer_rest(NAP_MSEC);
    }
    drain_all();
    return NULL;
}

bool log_start(struct err *err)
{
    if (!logs.have_key && pthread_key_create(&logs.key, ring_give_back) != 0)
        return err_set(err, "the log cannot start: no thread-specific key is left");
    logs.have_key = true;
    if (logs.wake_fd < 0) /* stays open for good: a late wake must not hit somebody else's descriptor */
        logs.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (logs.wake_fd < 0)
        return err_set(err, "the log cannot start: eventfd: %s", strerror(errno));
    atomic_store(&logs.stop, false);
    sigset_t all, before;
    sigfillset(&all); /* signals are the main thread's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&logs.writer, NULL, writer_run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        return err_set(err, "the log cannot start: pthread_create: %s", strerror(failed));
    atomic_store_explicit(&logs.running, true, memory_order_release);
    return true;
}

void log_stop(void)
{
    if (!atomic_load(&logs.running))
        return;
    atomic_store(&logs.running, false);
    atomic_store_explicit(&logs.stop, true, memory_order_release);
    writer_wake();
    pthread_join(logs.writer, NULL);
}

/* ---- lines ---- */

size_t log_time(char out[static LOG_TIME_N], uint64_t unix_usec)
{
    static _Thread_local char second[LOG_TIME_N]; /* "2026-01-02T03:04:05", made once a second */
    static _Thread_local uint64_t made_for = UINT64_MAX;
    uint64_t now = unix_usec / SEC;
    if (now != made_for) {
        time_t t = (time_t)now;
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(second, sizeof second, "%Y-%m-%dT%H:%M:%S", &tm);
        made_for = now;
    }
    unsigned msec = (unsigned)(unix_usec / MSEC % 1000);
    memcpy(out, second, 19);
    out[19] = '.';
    out[20] = (char)('0' + msec / 100);
    out[21] = (char)('0' + msec / 10 % 10);
    out[22] = (char)('0' + msec % 10);
    memcpy(out + 23, "Z", 2);
    return 24;
}

void log_event(enum log_level level, const char *event, const char *fmt, ...)
{
    char line[LOG_LINE_MAX + 4], when[LOG_TIME_N];
    if (!log_enabled(level))
        return;
    log_time(when, clock_unix_usec());
    int begin = snprintf(line, LOG_LINE_MAX, "time=%s level=%s event=%s ", when, log_level_names[level],
                         event);
    size_t n = begin < 0 ? 0 : begin >= LOG_LINE_MAX ? LOG_LINE_MAX - 1 : (size_t)begin;
    va_list args;
    va_start(args, fmt);
    int rest = vsnprintf(line + n, LOG_LINE_MAX - n, fmt, args);
    va_end(args);
    if (rest > 0 && (size_t)rest >= LOG_LINE_MAX - n) {
        n = LOG_LINE_MAX - 1;
        memcpy(line + n - 3, "...", 3);
    } else if (rest > 0) {
        n += (size_t)rest;
    }
    for (size_t i = 0; i < n; i++) /* a line stays a line, whatever a message brought along */
        if ((unsigned char)line[i] < 0x20)
            line[i] = ' ';
    while (n && line[n - 1] == ' ')
        n--;
    line_put(KIND_EVENT, str_slice(line, n));
}

void log_line(enum log_file file, struct str line)
{
    if (!log_file_on(file))
        return;
    if (line.n > LOG_FILE_LINE_MAX)
        line.n = LOG_FILE_LINE_MAX;
    line_put(file, line);
}

static bool plain(unsigned char c)
{
    return c > ' ' && c != '"' && c != '=' && c != '\\' && c != 0x7f;
}

/* One byte as it stands between quotes; returns the length (at most 4). */
static size_t escape(char out[static 5], unsigned char c)
{
    const char *at = c ? strchr("\"\"\\\\\nn\tt\rr", c) : NULL; /* pairs: the byte, its letter */
    if (c == 'n' || c == 't' || c == 'r' || (!at && c >= ' ' && c != 0x7f)) {
        out[0] = (char)c;
        return 1;
    }
    if (!at)
        return (size_t)snprintf(out, 5, "\\x%02x", c);
    out[0] = '\\';
    out[1] = at[1];
    return 2;
}

const char *log_quote(char *buf, size_t n, struct str value)
{
    size_t at = 0, i = 0;
    while (i < value.n && plain((unsigned char)value.p[i]))
        i++;
    if (value.n && i == value.n) {
        bool fits = value.n < n;
        at = fits ? value.n : n - 4;
        memcpy(buf, value.p, at);
        memcpy(buf + at, "...", fits ? 0 : 3);
        buf[fits ? at : at + 3] = 0;
        return buf;
    }
    buf[at++] = '"';
    for (i = 0; i < value.n; i++) {
        char piece[5];
        size_t n_piece = escape(piece, (unsigned char)value.p[i]);
        if (at + n_piece + sizeof "...\"" > n) {
            memcpy(buf + at, "...", 3);
            at += 3;
            break;
        }
        memcpy(buf + at, piece, n_piece);
        at += n_piece;
    }
    memcpy(buf + at, "\"", 2);
    return buf;
}

bool log_rate(struct log_rate *rate, uint64_t now, unsigned *suppressed)
{
    uint64_t last = atomic_load_explicit(&rate->last, memory_order_relaxed);
    if ((last && now < last + SEC) || !atomic_compare_exchange_strong(&rate->last, &last, now ? now : 1)) {
        atomic_fetch_add_explicit(&rate->suppressed, 1, memory_order_relaxed);
        *suppressed = 0;
        return false;
    }
    *suppressed = atomic_exchange_explicit(&rate->suppressed, 0, memory_order_relaxed);
    return true;
}

/* ---- the files' targets: main thread ---- */

static int file_open(enum log_file file, const char *path, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0640); /* a FIFO without a reader is an error, no wait */
    if (fd < 0)
        err_set(err, "the %s '%s' cannot be opened: %s", file_names[file], path, strerror(errno));
    return fd;
}

/* The writer changes over after it has written what was logged so far; without one, or coming from "off", it is done at once. */
static void hand_over(enum log_file file, int fd)
{
    struct target *t = &logs.target[file];
    pthread_mutex_lock(&logs.direct);
    if (t->change && t->next_fd > STDERR_FILENO)
        close(t->next_fd); /* two changes before the writer came by */
    t->change = true;
    t->next_fd = fd;
    bool running = atomic_load(&logs.running);
    if (!running || logs.out[file].fd < 0)
        change_target(file);
    pthread_mutex_unlock(&logs.direct);
    if (running)
        writer_wake();
}

bool log_target(enum log_file file, const char *target, struct err *err)
{
    struct target *t = &logs.target[file];
    bool off = strcmp(target, "off") == 0, to_stderr = strcmp(target, "stderr") == 0;
    if (!off && !to_stderr && t->path && strcmp(target, t->path) == 0)
        return true;
    int fd = off ? -1 : to_stderr ? STDERR_FILENO : file_open(file, target, err);
    if (!off && fd < 0)
        return false;
    free(t->path);
    t->path = off || to_stderr ? NULL : mem_strdup(target);
    if (off)
        atomic_store(&t->on, false);
    hand_over(file, fd);
    atomic_store(&t->on, !off); /* not before: the writer would find the first lines and no file for them */
    return true;
}

void log_reopen(void)
{
    for (enum log_file file = 0; file < LOG_FILES; file++) {
        struct err err;
        const char *path = logs.target[file].path;
        int fd = path ? file_open(file, path, &err) : -1;
        char quoted[sizeof err.text + 16];
        if (fd >= 0)
            hand_over(file, fd);
        else if (path)
            log_error("log_reopen_failed", "error=%s", log_quote(quoted, sizeof quoted, str_of(err.text)));
    }
}
