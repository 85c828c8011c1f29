/* The history: what is in it survives, also a death in the middle of a line. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tune/doc.h"
#include "tune/history.h"

static char dir[64], file[100];

static int fresh(void **state)
{
    strcpy(dir, "/tmp/quiver-history-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/history.jsonl", dir);
    return 0;
}

static int clean(void **state)
{
    unlink(file);
    rmdir(dir);
    return 0;
}

static uint64_t change(struct history *h, const char *model, const char *collection, const char *why,
                       const char *changes)
{
    cJSON *list = cJSON_Parse(changes), *patch = cJSON_Parse("{\"hnsw_config\": {\"m\": 1}}");
    struct err err;
    assert_non_null(list);
    uint64_t n = history_change(
        h, &(struct history_deed){.model = model, .collection = collection, .why = why, .changes = list, .patch = patch}, &err);
    cJSON_Delete(list);
    cJSON_Delete(patch);
    return n;
}

static int count(struct history *h, const char *model, const char *collection)
{
    cJSON *list = history_changes(h, model, collection);
    int n = cJSON_GetArraySize(list);
    cJSON_Delete(list);
    return n;
}

/* As a user who may not write /var/lib: the exit code says what was not so. */
static int of_another_user(void)
{
    struct err err;
    char expected[120];
    setenv("XDG_STATE_HOME", dir, 1);
    if (setgid(65534) || setuid(65534))
        return 1;
    if (access("/var/lib", W_OK) == 0 || access("/var/lib/quiver", W_OK) == 0)
        return 0; /* this machine lets everybody: then that is the place */
    struct history *h = history_open(NULL);
    if (!history_writable(h, &err) || !change(h, "m", "c", "apply", "[]"))
        return 2;
    history_close(&h);
    snprintf(expected, sizeof expected, "%s/quiver/history.jsonl", dir);
    bool there = access(expected, F_OK) == 0;
    unlink(expected);
    *strrchr(expected, '/') = 0;
    rmdir(expected);
    return there ? 0 : 3;
}

static void without_state_dir_it_lies_where_the_user_keeps_state(void **state)
{
    int status;
    if (geteuid() != 0)
        skip(); /* who is not root cannot become somebody else */
    assert_int_equal(chown(dir, 65534, 65534), 0);
    pid_t child = fork();
    if (child == 0)
        _exit(of_another_user());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void a_folder_with_too_long_a_name_is_refused_and_not_cut(void **state)
{
    char name[2000];
    struct err err = {0};
    memset(name, 'x', sizeof name - 1);
    name[0] = '/';
    name[sizeof name - 1] = 0;
    struct history *h = history_open(name);
    cJSON *list = cJSON_Parse("[]"), *patch = cJSON_Parse("{}");
    assert_int_equal(history_change(h, &(struct history_deed){.model = "m", .collection = "c", .why = "apply", .changes = list, .patch = patch}, &err), 0);
    assert_non_null(strstr(err.text, "state_dir has 1999 bytes, expected less than 1024"));
    cJSON_Delete(list);
    cJSON_Delete(patch);
    history_close(&h);
}

static void nothing_is_written_before_the_first_record(void **state)
{
    struct history *h = history_open(dir);
    assert_int_equal(access(file, F_OK), -1);
    assert_int_equal(count(h, "m", "c"), 0);
    assert_false(history_rests(h, "m"));
    history_close(&h);
}

static void changes_survive_and_refused_ones_do_not_count(void **state)
{
    struct history *h = history_open(dir);
    uint64_t a = change(h, "m", "c", "apply", "[{\"is\": 16}]"),
             b = change(h, "m", "c", "enforce", "[{\"is\": 1}, {\"is\": 2}]");
    change(h, "m", "d", "apply", "[{\"is\": 3}]");
    change(h, "other", "c", "apply", "[{\"is\": 4}]");
    assert_int_equal(a, 1);
    history_outcome(h, a, OUTCOME_GREEN, "");
    history_outcome(h, b, OUTCOME_REFUSED, "no");
    history_close(&h);
    h = history_open(dir);
    assert_int_equal(count(h, "m", "c"), 1);
    assert_int_equal(count(h, "m", "d"), 1); /* its outcome was never written: it may have been done */
    cJSON *standing = history_standing(h); /* what was done last first */
    char *text = cJSON_PrintUnformatted(standing);
    assert_string_equal(text, "[{\"model\":\"other\",\"collection\":\"c\",\"changes\":[{\"is\":4}]},"
                              "{\"model\":\"m\",\"collection\":\"d\",\"changes\":[{\"is\":3}]},"
                              "{\"model\":\"m\",\"collection\":\"c\",\"changes\":[{\"is\":16}]}]");
    free(text);
    cJSON_Delete(standing);
    assert_int_equal(change(h, "m", "c", "apply", "[]"), 7);
    history_close(&h);
}

static void a_verified_rollback_begins_anew_and_a_failed_one_does_not(void **state)
{
    struct history *h = history_open(dir);
    change(h, "m", "c", "apply", "[{\"is\": 16}]");
    history_outcome(h, change(h, "m", "c", "rollback", "[{\"is\": 32}]"), OUTCOME_NOT_VERIFIED, "");
    assert_int_equal(count(h, "m", "c"), 1);
    uint64_t back = change(h, "m", "c", "rollback", "[{\"is\": 32}]");
    history_outcome(h, back, OUTCOME_VERIFIED, "");
    history_outcome(h, back, OUTCOME_INTERRUPTED, "");
    assert_int_equal(count(h, "m", "c"), 1);
    history_outcome(h, change(h, "m", "c", "rollback", "[]"), OUTCOME_GREEN, "");
    assert_int_equal(count(h, "m", "c"), 0);
    change(h, "m", "c", "apply", "[{\"is\": 1}]");
    assert_int_equal(count(h, "m", "c"), 1);
    history_close(&h);
}

#define WROTE "[{\"at\":[\"hnsw_config\",\"m\"],\"is\":%d,\"wished\":%d}]"

static uint64_t wrote(struct history *h, int is, int wished)
{
    char changes[100];
    snprintf(changes, sizeof changes, WROTE, is, wished);
    return change(h, "m", "c", "apply", changes);
}

/* What history_changes says: "is:wished wished ...". */
static void may_be(struct history *h, const char *expected)
{
    char text[200] = "";
    cJSON *list = history_changes(h, "m", "c"), *one;
    cJSON_ArrayForEach(one, list)
    {
        size_t n = strlen(text);
        if (one == list->child)
            snprintf(text, sizeof text, "%d:%d", doc_get(one, "is")->valueint, doc_get(one, "wished")->valueint);
        else
            snprintf(text + n, sizeof text - n, " %d", doc_get(one, "wished")->valueint);
    }
    cJSON_Delete(list);
    assert_string_equal(text, expected);
}

static void what_was_written_last_stands_beside_what_was_there_first(void **state)
{
    struct history *h = history_open(dir);
    history_outcome(h, wrote(h, 16, 32), OUTCOME_GREEN, "");
    may_be(h, "16:32");
    history_outcome(h, wrote(h, 32, 48), OUTCOME_REFUSED, "no");
    may_be(h, "16:32");
    history_outcome(h, wrote(h, 32, 64), OUTCOME_UNKNOWN, ""); /* it may have arrived */
    history_outcome(h, wrote(h, 32, 64), OUTCOME_NOT_VERIFIED, "");
    may_be(h, "16:32 64");
    history_outcome(h, wrote(h, 32, 80), OUTCOME_LATE, "");
    may_be(h, "16:80");
    wrote(h, 80, 96);
    history_close(&h);
    h = history_open(dir);
    may_be(h, "16:80 96");
    history_close(&h);
}

static void a_model_stays_changed_after_a_rollback_and_unchanged_by_what_was_refused(void **state)
{
    struct history *h = history_open(dir);
    history_outcome(h, change(h, "m", "c", "apply", "[{\"is\": 16}]"), OUTCOME_REFUSED, "no");
    assert_false(history_was_changed(h, "m"));
    history_outcome(h, change(h, "m", "c", "apply", "[{\"is\": 16}]"), OUTCOME_GREEN, "");
    history_outcome(h, change(h, "m", "c", "rollback", "[{\"is\": 32}]"), OUTCOME_GREEN, "");
    history_close(&h);
    h = history_open(dir);
    assert_int_equal(count(h, "m", "c"), 0);
    assert_true(history_was_changed(h, "m"));
    assert_false(history_was_changed(h, "other"));
    history_close(&h);
}

/* A year of two tools that set one value by turns, and a collection that was rolled back in between. */
static void a_long_history_is_read_and_asked_in_no_time(void **state)
{
    enum { RECORDS = 20000 };
    FILE *f = fopen(file, "w");
    for (unsigned n = 1; n <= RECORDS; n += 2)
        fprintf(f,
                "{\"n\":%u,\"event\":\"change\",\"model\":\"m\",\"collection\":\"%s\",\"why\":\"%s\",\"changes\":[{\"at\":[\"hnsw_config\",\"m\"],\"is\":%u}]}\n"
                "{\"n\":%u,\"event\":\"outcome\",\"change\":%u,\"outcome\":\"green\",\"text\":\"\"}\n",
                n, n % 4 == 1 ? "c" : "back", n % 4 == 1 ? "enforce" : "rollback", n, n + 1, n);
    fclose(f);
    uint64_t began = clock_usec();
    struct history *h = history_open(dir);
    cJSON *names = history_standing(h);
    assert_int_equal(cJSON_GetArraySize(names), 1);
    assert_string_equal(doc_text(doc_get(cJSON_GetArrayItem(names, 0), "collection")), "c");
    assert_int_equal(count(h, "m", "c"), 1); /* what was there before the first of them */
    assert_true(clock_usec() - began < 5 * SEC); /* milliseconds; who looks at each record for each record takes minutes */
    cJSON_Delete(names);
    history_close(&h);
}

static unsigned n_lines(void)
{
    FILE *f = fopen(file, "r");
    unsigned n = 0;
    for (int c; (c = fgetc(f)) != EOF;)
        n += c == '\n';
    fclose(f);
    return n;
}

#define CHANGE "{\"n\":%d,\"event\":\"change\",\"model\":\"%s\",\"collection\":\"c\",\"why\":\"%s\",\"changes\":" WROTE "}\n"
#define OUTCOME "{\"n\":%d,\"event\":\"outcome\",\"change\":%d,\"outcome\":\"green\",\"text\":\"\"}\n"
#define PASSED "{\"n\":%d,\"event\":\"test\",\"model\":\"m\",\"result\":{\"points\":%d}}\n"

static void what_a_long_history_says_is_kept_when_it_is_shortened(void **state)
{
    FILE *f = fopen(file, "w");
    fprintf(f, CHANGE OUTCOME CHANGE OUTCOME, 1, "back", "apply", 1, 2, 2, 1, 3, "back", "rollback", 2, 1, 4, 3);
    fprintf(f, "{\"n\":5,\"event\":\"rest\",\"model\":\"back\"}\n" PASSED PASSED PASSED, 6, 0, 7, 77, 8, 88);
    fprintf(f, CHANGE OUTCOME, 9, "m", "apply", 16, 17, 10, 9);
    for (int n = 11; n < 4000; n += 2) /* another tool and quiver, by turns */
        fprintf(f, CHANGE OUTCOME, n, "m", "enforce", n, n + 7, n + 1, n);
    fclose(f);
    struct history *h = history_open(dir);
    uint64_t last = wrote(h, 7, 3);
    assert_int_equal(last, 4001);
    assert_true(n_lines() < 2020);
    history_outcome(h, last, OUTCOME_GREEN, ""); /* into the new file */
    assert_true(n_lines() > 2000);
    for (int again = 0; again < 2; again++) {
        may_be(h, "16:3");
        assert_int_equal(count(h, "back", "c"), 0);
        assert_true(history_was_changed(h, "back"));
        assert_true(history_rests(h, "back"));
        assert_int_equal(doc_get(history_get_test(h, "m", true), "points")->valueint, 77);
        assert_int_equal(doc_get(history_get_test(h, "m", false), "points")->valueint, 88);
        history_close(&h);
        h = history_open(dir);
    }
    assert_int_equal(change(h, "m", "c", "apply", "[]"), 4003);
    history_close(&h);
}

static void a_torn_last_line_is_skipped_and_not_written_into(void **state)
{
    struct history *h = history_open(dir);
    change(h, "m", "c", "apply", "[{\"is\": 16}]");
    history_close(&h);
    FILE *f = fopen(file, "a");
    fputs("{\"n\": 2, \"event\": \"change\", \"mod", f);
    fclose(f);
    h = history_open(dir);
    assert_int_equal(count(h, "m", "c"), 1);
    change(h, "m", "c", "apply", "[{\"is\": 5}]");
    history_close(&h);
    h = history_open(dir);
    assert_int_equal(count(h, "m", "c"), 2);
    history_close(&h);
}

static void what_follows_a_full_disk_is_a_line_of_its_own(void **state)
{
    struct history *h = history_open(dir);
    struct stat now;
    struct rlimit before, full;
    change(h, "m", "c", "apply", "[{\"is\": 16}]");
    assert_int_equal(stat(file, &now), 0);
    getrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_IGN);
    full = (struct rlimit){(rlim_t)now.st_size + 20, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &full);
    assert_int_equal(change(h, "m", "c", "apply", "[{\"is\": 1}]"), 0); /* a part of it is written */
    assert_int_equal(change(h, "m", "c", "apply", "[{\"is\": 2}]"), 0); /* nothing is */
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_not_equal(change(h, "m", "c", "apply", "[{\"is\": 5}]"), 0);
    history_close(&h);
    h = history_open(dir);
    assert_int_equal(count(h, "m", "c"), 2);
    history_close(&h);
}

static void a_whole_last_line_without_its_newline_counts(void **state)
{
    FILE *f = fopen(file, "w");
    fputs("not json\n\n{\"n\": 9, \"event\": \"rest\", \"model\": \"m\"}", f);
    fclose(f);
    struct history *h = history_open(dir);
    assert_true(history_rests(h, "m"));
    assert_true(history_rest(h, "m", false));
    history_close(&h);
    h = history_open(dir);
    assert_false(history_rests(h, "m"));
    history_close(&h);
}

static void the_first_test_is_kept_beside_the_last(void **state)
{
    struct history *h = history_open(dir);
    cJSON *a = cJSON_Parse("{\"v\": 1}"), *b = cJSON_Parse("{\"v\": 2}");
    assert_null(history_get_test(h, "m", true));
    history_test(h, "m", a);
    history_test(h, "m", b);
    history_test(h, "x", a);
    history_close(&h);
    h = history_open(dir);
    assert_int_equal(doc_get(history_get_test(h, "m", true), "v")->valueint, 1);
    assert_int_equal(doc_get(history_get_test(h, "m", false), "v")->valueint, 2);
    history_close(&h);
    cJSON_Delete(a);
    cJSON_Delete(b);
}

static void without_a_place_nothing_is_done(void **state)
{
    struct history *h = history_open("/proc/nowhere");
    struct err err = {{0}};
    cJSON *empty = cJSON_CreateArray();
    assert_int_equal(history_change(h, &(struct history_deed){.model = "m", .collection = "c", .why = "apply", .changes = empty, .patch = empty}, &err), 0);
    assert_non_null(strstr(err.text, "/proc/nowhere"));
    cJSON_Delete(empty);
    history_close(&h);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(without_state_dir_it_lies_where_the_user_keeps_state),
        TEST(a_folder_with_too_long_a_name_is_refused_and_not_cut),
        TEST(nothing_is_written_before_the_first_record),
        TEST(changes_survive_and_refused_ones_do_not_count),
        TEST(a_verified_rollback_begins_anew_and_a_failed_one_does_not),
        TEST(what_was_written_last_stands_beside_what_was_there_first),
        TEST(a_model_stays_changed_after_a_rollback_and_unchanged_by_what_was_refused),
        TEST(a_long_history_is_read_and_asked_in_no_time),
        TEST(what_a_long_history_says_is_kept_when_it_is_shortened),
        TEST(a_torn_last_line_is_skipped_and_not_written_into),
        TEST(what_follows_a_full_disk_is_a_line_of_its_own),
        TEST(a_whole_last_line_without_its_newline_counts),
        TEST(the_first_test_is_kept_beside_the_last),
        TEST(without_a_place_nothing_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
