#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

/* stderr goes into a file while a test runs, so that the lines can be read back. */
static char folder[64], stderr_path[96], access_path[96], moved_path[96];
static int saved_stderr = -1;

static int start(void **state)
{
    strcpy(folder, "/tmp/quiver-log-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(stderr_path, sizeof stderr_path, "%s/stderr", folder);
    snprintf(access_path, sizeof access_path, "%s/access", folder);
    snprintf(moved_path, sizeof moved_path, "%s/access.1", folder);
    saved_stderr = dup(STDERR_FILENO);
    int fd = open(stderr_path, O_CREAT | O_WRONLY | O_APPEND, 0600);
    dup2(fd, STDERR_FILENO);
    close(fd);
    return 0;
}

static int stop(void **state)
{
    log_stop();
    log_target(LOG_ACCESS, "off", NULL);
    log_target(LOG_QUERIES, "off", NULL);
    log_set_level(LOG_LEVEL_INFO);
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    unlink(stderr_path);
    unlink(access_path);
    unlink(moved_path);
    rmdir(folder);
    return 0;
}

static char *text_of(const char *path)
{
    int fd = open(path, O_RDONLY);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return strdup("");
    char *text = calloc(1, (size_t)st.st_size + 1);
    assert_int_equal(read(fd, text, (size_t)st.st_size), st.st_size);
    close(fd);
    return text;
}

static void assert_text(const char *path, const char *wanted)
{
    char *text = text_of(path);
    assert_string_equal(text, wanted);
    free(text);
}

static void assert_has(const char *path, const char *wanted)
{
    char *text = text_of(path);
    if (!strstr(text, wanted))
        fail_msg("'%s' is not in: %s", wanted, text);
    free(text);
}

static unsigned n_lines(const char *path)
{
    char *text = text_of(path);
    unsigned n = 0;
    for (char *at = text; (at = strchr(at, '\n')); at++)
        n++;
    free(text);
    return n;
}

static void an_event_is_one_logfmt_line(void **state)
{
    log_info("reload", "generation=%d", 2);
    char *text = text_of(stderr_path);
    assert_int_equal(strlen(text), strlen("time=2026-01-02T03:04:05.678Z level=info event=reload generation=2\n"));
    assert_memory_equal(text, "time=2", 6);
    assert_non_null(strstr(text, "Z level=info event=reload generation=2\n"));
    free(text);
}

static void nothing_after_the_event_leaves_no_blank(void **state)
{
    log_warn("drained", "%s", "");
    assert_has(stderr_path, " level=warn event=drained\n");
}

static void a_level_can_be_changed(void **state)
{
    log_debug("hidden", "%s", "");
    log_set_level(LOG_LEVEL_DEBUG);
    log_debug("shown", "%s", "");
    log_set_level(LOG_LEVEL_ERROR);
    log_warn("hidden", "%s", "");
    assert_int_equal(n_lines(stderr_path), 1);
    assert_has(stderr_path, "level=debug event=shown");
}

static void a_message_cannot_break_a_line(void **state)
{
    log_error("x", "a=%s", "1\nlevel=info event=forged");
    assert_int_equal(n_lines(stderr_path), 1);
}

static void a_long_line_is_cut(void **state)
{
    char *big = malloc(20000);
    memset(big, 'x', 19999);
    big[19999] = 0;
    log_error("x", "a=%s", big);
    char *text = text_of(stderr_path);
    assert_int_equal(strlen(text), LOG_LINE_MAX);
    assert_string_equal(text + LOG_LINE_MAX - 5, "x...\n");
    free(text);
    free(big);
}

static void time_is_rfc3339_in_utc(void **state)
{
    char out[LOG_TIME_N];
    assert_int_equal(log_time(out, UINT64_C(1767323045678999)), 24);
    assert_string_equal(out, "2026-01-02T03:04:05.678Z");
    log_time(out, 0);
    assert_string_equal(out, "1970-01-01T00:00:00.000Z");
}

static void values_are_quoted_when_they_need_it(void **state)
{
    static const struct {
        struct str value;
        const char *wanted;
    } rows[] = {
        {{"", 0}, "\"\""},
        {{"plain/pa-th?x", 13}, "plain/pa-th?x"},
        {{"a b", 3}, "\"a b\""},
        {{"a=b", 3}, "\"a=b\""},
        {{"a\"b\\", 4}, "\"a\\\"b\\\\\""},
        {{"n\nt\tr\r", 6}, "\"n\\nt\\tr\\r\""},
        {{"\0\x01\x7f", 3}, "\"\\x00\\x01\\x7f\""},
        {{"\xc3\xa4", 2}, "\xc3\xa4"},
        {{"0123456789012345678901234567890", 31}, "0123456789012345678901234567890"},
        {{"01234567890123456789012345678901", 32}, "0123456789012345678901234567..."},
        {{"a 0123456789012345678901234567890", 33}, "\"a 012345678901234567890123...\""},
    };
    char buf[32];
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(log_quote(buf, sizeof buf, rows[i].value), rows[i].wanted);
    for (size_t n = 8; n < 32; n++) { /* never past its end */
        char *exact = malloc(n);
        assert_true(strlen(log_quote(exact, n, STR("\x01\x02\x03\x04\x05\x06\x07\x08"))) < n);
        assert_true(strlen(log_quote(exact, n, STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"))) < n);
        free(exact);
    }
}

static void a_noisy_place_is_heard_once_a_second(void **state)
{
    struct log_rate rate = {0};
    unsigned suppressed;
    assert_true(log_rate(&rate, 5, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_false(log_rate(&rate, 6, &suppressed));
    assert_false(log_rate(&rate, SEC + 4, &suppressed));
    assert_true(log_rate(&rate, SEC + 5, &suppressed));
    assert_int_equal(suppressed, 2);
    for (unsigned i = 0; i < 3; i++)
        log_limited(LOG_LEVEL_WARN, i * (SEC - 1) + 1, "noise", "n=%u", i);
    assert_int_equal(n_lines(stderr_path), 2);
    assert_has(stderr_path, "event=noise n=0 suppressed=0\n");
    assert_has(stderr_path, "event=noise n=2 suppressed=1\n");
}

static void the_access_log_is_off_by_default(void **state)
{
    assert_false(log_file_on(LOG_ACCESS));
    log_line(LOG_ACCESS, STR("lost"));
    assert_int_equal(n_lines(stderr_path), 0);
}

static void a_bad_target_keeps_the_old_one(void **state)
{
    struct err err;
    assert_true(log_target(LOG_ACCESS, "stderr", &err));
    assert_false(log_target(LOG_ACCESS, "/nonexistent/folder/access.log", &err));
    assert_non_null(strstr(err.text, "'/nonexistent/folder/access.log' cannot be opened: No such file"));
    log_line(LOG_ACCESS, STR("GET /"));
    assert_text(stderr_path, "GET /\n");
}

static void reopening_follows_a_moved_file(void **state)
{
    struct err err;
    assert_true(log_start(&err));
    assert_true(log_target(LOG_ACCESS, access_path, &err));
    log_line(LOG_ACCESS, STR("one"));
    assert_int_equal(rename(access_path, moved_path), 0);
    for (unsigned i = 0; i < 5000 && n_lines(moved_path) == 0; i++)
        usleep(1000);
    log_reopen();
    log_stop();
    log_line(LOG_ACCESS, STR("two"));
    assert_text(moved_path, "one\n");
    assert_text(access_path, "two\n");
    log_reopen(); /* without a writer: at once */
    log_line(LOG_ACCESS, STR("three"));
    assert_text(access_path, "two\nthree\n");
}

static void each_file_has_its_own_lines(void **state)
{
    struct err err;
    assert_true(log_start(&err));
    assert_true(log_target(LOG_ACCESS, access_path, &err));
    assert_true(log_target(LOG_QUERIES, moved_path, &err));
    log_line(LOG_ACCESS, STR("an access"));
    log_line(LOG_QUERIES, STR("a query"));
    log_info("an_event", "%s", "");
    log_stop();
    assert_text(access_path, "an access\n");
    assert_text(moved_path, "a query\n");
    assert_true(log_target(LOG_QUERIES, "off", &err));
    assert_false(log_file_on(LOG_QUERIES));
    log_line(LOG_QUERIES, STR("lost"));
    log_line(LOG_ACCESS, STR("another"));
    assert_text(moved_path, "a query\n");
    assert_text(access_path, "an access\nanother\n");
    assert_int_equal(n_lines(stderr_path), 1);
}

enum { THREADS = 4, LINES = 3000 };

static void *talk(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg;
    char line[64];
    for (unsigned i = 0; i < LINES; i++) {
        int n = snprintf(line, sizeof line, "thread %u line %u", who, i);
        log_line(LOG_ACCESS, str_slice(line, (size_t)n));
        log_info("talk", "thread=%u line=%u", who, i);
    }
    return NULL;
}

static void no_line_is_lost_or_torn_and_each_thread_keeps_its_order(void **state)
{
    struct err err;
    pthread_t thread[THREADS];
    unsigned next[THREADS] = {0};
    uint64_t dropped = log_dropped();
    assert_true(log_start(&err));
    assert_true(log_target(LOG_ACCESS, access_path, &err));
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, talk, (void *)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    log_stop();
    assert_int_equal(log_dropped(), dropped);
    assert_int_equal(n_lines(stderr_path), THREADS * LINES);
    char *text = text_of(access_path), *save;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        unsigned who, at;
        assert_int_equal(sscanf(line, "thread %u line %u", &who, &at), 2);
        assert_int_equal(at, next[who]++);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(next[i], LINES);
    free(text);
}

static atomic_bool talked_enough;

/* Logs from the moment on at which the file is on; how many lines. */
static void *talk_once_on(void *arg)
{
    unsigned *n = arg;
    while (!atomic_load(&talked_enough))
        if (log_file_on(LOG_ACCESS)) {
            log_line(LOG_ACCESS, STR("a line"));
            ++*n;
            usleep(50);
        }
    return NULL;
}

static void a_file_has_all_lines_between_its_switching_on_and_off(void **state)
{
    enum { ROUNDS = 100 };
    struct err err;
    unsigned n = 0;
    assert_true(log_start(&err));
    for (unsigned round = 0; round < ROUNDS; round++) {
        pthread_t thread;
        atomic_store(&talked_enough, false);
        pthread_create(&thread, NULL, talk_once_on, &n);
        usleep(200);
        assert_true(log_target(LOG_ACCESS, access_path, &err));
        usleep(200);
        atomic_store(&talked_enough, true);
        pthread_join(thread, NULL);
        assert_true(log_target(LOG_ACCESS, "off", &err)); /* the writer may not have come by yet */
    }
    log_stop();
    assert_int_equal(n_lines(access_path), n);
}

static void a_full_ring_drops_and_counts(void **state)
{
    struct err err;
    int ends[2];
    assert_int_equal(pipe(ends), 0); /* nobody reads: the writer gets stuck */
    dup2(ends[1], STDERR_FILENO);
    uint64_t dropped = log_dropped();
    char big[4000];
    memset(big, 'x', sizeof big);
    assert_true(log_start(&err));
    for (unsigned i = 0; i < 600; i++) /* 2.4 MB: pipe, buffer and ring hold 1.2 */
        log_info("flood", "%.*s", (int)sizeof big, big);
    assert_true(log_dropped() > dropped);
    int fd = open(stderr_path, O_WRONLY | O_APPEND);
    dup2(fd, STDERR_FILENO);
    close(fd);
    close(ends[1]);
    close(ends[0]); /* and is free again, with EPIPE */
    log_stop();
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, start, stop)

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        TEST(an_event_is_one_logfmt_line),
        TEST(nothing_after_the_event_leaves_no_blank),
        TEST(a_level_can_be_changed),
        TEST(a_message_cannot_break_a_line),
        TEST(a_long_line_is_cut),
        TEST(time_is_rfc3339_in_utc),
        TEST(values_are_quoted_when_they_need_it),
        TEST(a_noisy_place_is_heard_once_a_second),
        TEST(the_access_log_is_off_by_default),
        TEST(a_bad_target_keeps_the_old_one),
        TEST(reopening_follows_a_moved_file),
        TEST(each_file_has_its_own_lines),
        TEST(no_line_is_lost_or_torn_and_each_thread_keeps_its_order),
        TEST(a_file_has_all_lines_between_its_switching_on_and_off),
        TEST(a_full_ring_drops_and_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
