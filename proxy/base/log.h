/* log.h - events as one logfmt line each on stderr, and logs in files: of accesses and of queries.
 * time=2026-01-02T03:04:05.678Z level=info event=reload generation=2
 * No thread that logs ever writes to a file: between log_start and log_stop each has a ring of its own (1 MiB, one
 * writer, one reader) that the writer thread drains; a full ring drops the line and counts it. Before log_start and
 * after log_stop lines are written at once.
 * Any thread. Process-wide: there is one stderr. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_COUNT };

enum { LOG_LINE_MAX = 8192 }; /* longer lines are cut and end in "..." */

extern const char *const log_level_names[LOG_LEVEL_COUNT]; /* "error", "warn", "info", "debug" */

/* event: a word_like_this. fmt: the rest of the line as key=value pairs, what a client chose through
 * log_quote; no newline. Without pairs: "%s", "". Use the macros: they skip formatting below the level. */
void log_event(enum log_level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* May be changed at any time by any thread; default info. */
void log_set_level(enum log_level);
bool log_enabled(enum log_level);

#define log_at(level, ...) (log_enabled(level) ? log_event(level, __VA_ARGS__) : (void)0)
#define log_error(...) log_at(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_at(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_at(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* A value as logfmt wants it, NUL-terminated in buf (n >= 8); returns buf. Blanks, quotes, '=' and nothing at all get
 * quotes; control bytes become \n \t or \xNN; what does not fit is cut and ends in "...". For "%s" of log_event. */
const char *log_quote(char *buf, size_t n, struct str value);

/* "2026-01-02T03:04:05.678Z" for microseconds since 1970, NUL-terminated; returns its length, 24. */
enum { LOG_TIME_N = 25 };
size_t log_time(char out[static LOG_TIME_N], uint64_t unix_usec);

/* For noisy faults: a call site's state (static, zeroed). True at most once a second; *suppressed is how
 * often it was false since. */
struct log_rate {
    _Atomic uint64_t last;       /* usec; 0: never */
    _Atomic unsigned suppressed;
};
bool log_rate(struct log_rate *, uint64_t now, unsigned *suppressed);

/* At most one line a second from this place in the source; the line ends in suppressed=N. now: usec
 * (clock_usec()).
 * fmt is a literal. */
#define log_limited(level, now, event, fmt, ...)                                             \
    do {                                                                                     \
        static struct log_rate log_rate_;                                                    \
        unsigned log_suppressed_;                                                            \
        if (log_enabled(level) && log_rate(&log_rate_, now, &log_suppressed_))               \
            log_event(level, event, fmt " suppressed=%u", ##__VA_ARGS__, log_suppressed_);   \
    } while (0)

/* The logs that have a file of their own. */
enum log_file { LOG_ACCESS, LOG_QUERIES, LOG_FILES };

/* Where its lines go: "off" (default), "stderr" or a path, which is opened for appending now (mode 0640). False with err: the old
 * target stays. Main thread. */
bool log_target(enum log_file, const char *target, struct err *);
bool log_file_on(enum log_file); /* ask before formatting */

/* One whole line without its newline, written as it is; at most LOG_FILE_LINE_MAX bytes of it. */
enum { LOG_FILE_LINE_MAX = 64 * 1024 };
void log_line(enum log_file, struct str line);

/* The writer thread. log_stop writes out what the rings hold and ends it; lines logged by others meanwhile
 * may wait for the next start.
 * log_reopen (SIGUSR1): the files' paths are opened anew, the old files closed after what was logged before. Main thread. */
bool log_start(struct err *);
void log_stop(void);
void log_reopen(void);

uint64_t log_dropped(void); /* lines lost to full rings and failed writes, since the start */
