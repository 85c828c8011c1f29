#include "tune/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "tune/doc.h"
#include "tune/record.h"

enum { PATH_LEN = 1024, NEWEST = 2000, RECORDS_MAX = 2 * NEWEST };

struct history {
    char dir[PATH_LEN], path[PATH_LEN + 16];
    char why_not[PATH_LEN + 200]; /* why there is no place */
    int fd;                       /* -1: not opened for writing yet */
    bool torn;                    /* the file does not end in a newline */
    uint64_t next;
    unsigned n, shorten_at; /* how many records there are, and at how many old ones are forgotten */
    cJSON *records;         /* array, in the file's order */
};

const char *const outcome_names[] = {
#define X(id, word) word,
    OUTCOMES(X)
#undef X
};

/* ---- records in memory ---- */

/* What is known of a change is noted on it, in memory alone: an outcome comes soon behind its change, so the way back is short. */
static void note_outcome(struct history *h, const cJSON *outcome)
{
    cJSON *change = h->records->child ? h->records->child->prev : NULL; /* the last one */
    const char *word = doc_text(doc_get(outcome, "outcome"));
    while (change && (!record_says(change, "event", "change") || !cJSON_Compare(doc_get(change, "n"), doc_get(outcome, "change"), true)))
        change = change == h->records->child ? NULL : change->prev;
    if (!change || !word)
        return;
    cJSON_DeleteItemFromObjectCaseSensitive(change, RECORD_KNOWN);
    cJSON_AddStringToObject(change, RECORD_KNOWN, word);
}

static void remember(struct history *h, cJSON *record)
{
    if (record_says(record, "event", "outcome"))
        note_outcome(h, record);
    cJSON_AddItemToArray(h->records, record);
    h->n++;
}

/* ---- the place ---- */

static bool make_dirs(char *path)
{
    for (char *slash = path + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        bool made = mkdir(path, 0755) == 0 || errno == EEXIST;
        *slash = '/';
        if (!made)
            return false;
    }
    return mkdir(path, 0750) == 0 || errno == EEXIST;
}

/* False, and nothing is copied: it is longer than paths may be. */
static bool copy_path(char to[static PATH_LEN], const char *from)
{
    size_t n = strlen(from);
    if (n >= PATH_LEN)
        return false;
    memcpy(to, from, n + 1);
    return true;
}

/* Writable, or so that it can be made: the nearest folder above that is there is writable. */
static bool could_be(const char *dir)
{
    char above[PATH_LEN];
    if (!copy_path(above, dir))
        return false;
    while (access(above, F_OK) != 0) {
        char *slash = strrchr(above, '/');
        if (!slash || slash == above)
            return false;
        *slash = 0;
    }
    return access(above, W_OK | X_OK) == 0;
}

static void choose_dir(struct history *h, const char *configured)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    char candidate[3][PATH_LEN] = {"/var/lib/quiver", "", ""};
    if (configured) {
        if (!copy_path(h->dir, configured))
            snprintf(h->why_not, sizeof h->why_not, "state_dir has %zu bytes, expected less than %d", strlen(configured), PATH_LEN);
        return;
    }
    if (state && state[0] == '/')
        snprintf(candidate[1], PATH_LEN, "%s/quiver", state);
    if (home && home[0] == '/')
        snprintf(candidate[2], PATH_LEN, "%s/.local/state/quiver", home);
    for (unsigned i = 0; i < 3; i++)
        if (candidate[i][0] && could_be(candidate[i])) {
            copy_path(h->dir, candidate[i]);
            return;
        }
    snprintf(h->why_not, sizeof h->why_not,
             "no folder for the history can be written, expected state_dir in quiver.yaml");
}

/* ---- reading ---- */

static void take_line(struct history *h, const char *line, size_t n, unsigned number, bool last)
{
    cJSON *record = cJSON_ParseWithLength(line, n);
    uint64_t its;
    if (!cJSON_IsObject(record) || !doc_u64(doc_get(record, "n"), &its)) {
        log_warn("history_line", "file=%s line=%u why=\"%s\"", h->path, number,
                 last ? "torn: it is skipped" : "not a record: it is skipped");
        cJSON_Delete(record);
        return;
    }
    if (its >= h->next)
        h->next = its + 1;
    remember(h, record);
}

static void read_all(struct history *h)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    unsigned number = 0;
    FILE *f = fopen(h->path, "re");
    if (!f)
        return;
    while ((n = getline(&line, &cap, f)) > 0) {
        h->torn = line[n - 1] != '\n';
        if (n > 1)
            take_line(h, line, (size_t)n, ++number, h->torn);
    }
    free(line);
    fclose(f);
}

struct history *history_open(const char *state_dir)
{
    struct history *h = mem_zalloc(sizeof *h);
    h->fd = -1;
    h->next = 1;
    h->shorten_at = RECORDS_MAX;
    h->records = cJSON_CreateArray();
    choose_dir(h, state_dir);
    if (h->dir[0]) {
        snprintf(h->path, sizeof h->path, "%s/history.jsonl", h->dir);
        read_all(h);
    }
    return h;
}

void history_close(struct history **closing)
{
    struct history *h = *closing;
    *closing = NULL;
    if (h->fd >= 0)
        close(h->fd);
    cJSON_Delete(h->records);
    free(h);
}

/* ---- writing ---- */

static bool open_file(struct history *h, struct err *err)
{
    if (h->fd >= 0)
        return true;
    if (!h->dir[0])
        return err_set(err, "%s", h->why_not);
    if (!make_dirs(h->dir))
        return err_set(err, "%s: cannot be made: %s; expected a folder that quiver can write, see state_dir",
                       h->dir, strerror(errno));
    h->fd = open(h->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (h->fd < 0)
        return err_set(err, "%s: cannot be written: %s; expected a file that quiver can write, see state_dir",
                       h->path, strerror(errno));
    int dir = open(h->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the file's name is to last too */
    if (dir >= 0) {
        fsync(dir);
        close(dir);
    }
    return true;
}

bool history_writable(struct history *h, struct err *err)
{
    return open_file(h, err);
}

static bool write_line(struct history *h, const char *text, struct err *err)
{
    char *line = mem_alloc(strlen(text) + 3);
    size_t n = (size_t)sprintf(line, "%s%s\n", h->torn ? "\n" : "", text);
    ssize_t written = write(h->fd, line, n);
    free(line);
    if (written > 0)
        h->torn = (size_t)written < n;
    if (written != (ssize_t)n)
        return err_set(err, "%s: cannot be written: %s", h->path, written < 0 ? strerror(errno) : "no space");
    return fsync(h->fd) == 0 || err_set(err, "%s: not on disk: %s", h->path, strerror(errno));
}

/* All of them as a file of their own, on disk. */
static bool write_all(const struct history *h, const char *path)
{
    FILE *f = fopen(path, "we");
    cJSON *one;
    bool ok = f != NULL;
    cJSON_ArrayForEach(one, h->records) {
        cJSON *known = cJSON_DetachItemFromObjectCaseSensitive(one, RECORD_KNOWN);
        char *text = cJSON_PrintUnformatted(one);
        ok = ok && text && fprintf(f, "%s\n", text) > 0;
        free(text);
        if (known)
            cJSON_AddItemToObject(one, RECORD_KNOWN, known);
    }
    ok = ok && fflush(f) == 0 && fchmod(fileno(f), 0640) == 0 && fsync(fileno(f)) == 0;
    return (!f || fclose(f) == 0) && ok;
}

/* Forgets old records that no question asks for any more. The file is made anew beside the old one and takes its place whole; where that fails the
 * old one goes on, and memory alone is shorter. */
static void shorten(struct history *h)
{
    char beside[sizeof h->path + 8];
    unsigned gone = record_forget(h->records, NEWEST);
    h->n -= gone;
    h->shorten_at = h->n + NEWEST;
    if (h->fd < 0 || !gone)
        return;
    snprintf(beside, sizeof beside, "%s.new", h->path);
    if (!write_all(h, beside) || rename(beside, h->path) != 0) {
        log_error("history_failed", "event=shorten why=\"%s: cannot be written: %s\"", beside, strerror(errno));
        unlink(beside);
        return;
    }
    close(h->fd);
    h->fd = -1; /* the next record opens the new one */
    h->torn = false;
    log_info("history_shortened", "forgotten=%u left=%u", gone, h->n);
}

/* Takes more. The record's number, 0: it is not on disk; it is kept in memory all the same if `anyway`. */
static uint64_t append(struct history *h, const char *event, cJSON *more, bool anyway, struct err *err)
{
    char time[LOG_TIME_N];
    cJSON *record = cJSON_CreateObject(), *one;
    uint64_t n = h->next;
    log_time(time, clock_unix_usec());
    cJSON_AddItemToObject(record, "n", doc_bytes(n));
    cJSON_AddStringToObject(record, "time", time);
    cJSON_AddStringToObject(record, "event", event);
    while ((one = cJSON_DetachItemFromArray(more, 0)))
        cJSON_AddItemToObject(record, one->string, one);
    cJSON_Delete(more);
    char *text = cJSON_PrintUnformatted(record);
    bool written = text && open_file(h, err) && write_line(h, text, err);
    free(text);
    if (written || anyway) {
        h->next++;
        remember(h, record);
        if (h->n >= h->shorten_at)
            shorten(h);
    } else {
        cJSON_Delete(record);
    }
    return written ? n : 0;
}

uint64_t history_change(struct history *h, const struct history_deed *deed, struct err *err)
{
    cJSON *more = cJSON_CreateObject();
    cJSON_AddStringToObject(more, "model", deed->model);
    cJSON_AddStringToObject(more, "collection", deed->collection);
    if (deed->alias)
        cJSON_AddStringToObject(more, "alias", deed->alias);
    if (deed->upstream)
        cJSON_AddStringToObject(more, "upstream", deed->upstream);
    cJSON_AddStringToObject(more, "why", deed->why);
    cJSON_AddItemToObject(more, "changes", cJSON_Duplicate(deed->changes, true));
    cJSON_AddItemToObject(more, "patch", deed->patch ? cJSON_Duplicate(deed->patch, true) : cJSON_CreateNull());
    return append(h, "change", more, false, err);
}

static bool told(struct history *h, const char *event, cJSON *more)
{
    struct err err;
    if (append(h, event, more, true, &err))
        return true;
    log_error("history_failed", "event=%s why=\"%s\"", event, err.text);
    return false;
}

bool history_outcome(struct history *h, uint64_t change, enum outcome outcome, const char *text)
{
    cJSON *more = cJSON_CreateObject();
    cJSON_AddItemToObject(more, "change", doc_bytes(change));
    cJSON_AddStringToObject(more, "outcome", outcome_names[outcome]);
    cJSON_AddStringToObject(more, "text", text);
    return told(h, "outcome", more);
}

bool history_rest(struct history *h, const char *model, bool rests)
{
    if (history_rests(h, model) == rests)
        return true;
    cJSON *more = cJSON_CreateObject();
    cJSON_AddStringToObject(more, "model", model);
    return told(h, rests ? "rest" : "wake", more);
}

bool history_test(struct history *h, const char *model, const cJSON *result)
{
    cJSON *more = cJSON_CreateObject();
    cJSON_AddStringToObject(more, "model", model);
    cJSON_AddItemToObject(more, "result", cJSON_Duplicate(result, true));
    return told(h, "test", more);
}

/* ---- questions ---- */

static bool is_change(const cJSON *record, const char *model, const char *collection)
{
    return record_says(record, "event", "change") && record_says(record, "model", model) &&
           (!collection || record_says(record, "collection", collection));
}

/* The first of these changes at the same place; wrote: only one that wrote the same, too. */
static cJSON *find(const cJSON *changes, const cJSON *change, bool wrote)
{
    cJSON *one;
    cJSON_ArrayForEach(one, changes)
        if (cJSON_Compare(doc_get(one, "at"), doc_get(change, "at"), true) &&
            (!wrote || cJSON_Compare(doc_get(one, "wished"), doc_get(change, "wished"), true)))
            return one;
    return NULL;
}

static void take_change(cJSON *out, const cJSON *change, bool kept)
{
    cJSON *first = find(out, change, false);
    if (!first || (!kept && !find(out, change, true)))
        cJSON_AddItemToArray(out, cJSON_Duplicate(change, true));
    if (!first || !kept || !doc_get(change, "wished"))
        return;
    for (cJSON *one = first->next, *next; one; one = next) { /* what may have been there is overwritten */
        next = one->next;
        if (cJSON_Compare(doc_get(one, "at"), doc_get(change, "at"), true))
            cJSON_Delete(cJSON_DetachItemViaPointer(out, one));
    }
    cJSON_DeleteItemFromObjectCaseSensitive(first, "wished");
    cJSON_AddItemToObject(first, "wished", cJSON_Duplicate(doc_get(change, "wished"), true));
}

cJSON *history_changes(const struct history *h, const char *model, const char *collection)
{
    cJSON *out = cJSON_CreateArray();
    const cJSON *one, *change;
    cJSON_ArrayForEach(one, h->records) {
        if (!is_change(one, model, collection))
            continue;
        if (record_says(one, "why", "rollback")) {
            if (record_is_way_back(one)) {
                cJSON_Delete(out);
                out = cJSON_CreateArray();
            }
            continue;
        }
        if (record_was(one, OUTCOME_REFUSED))
            continue;
        cJSON_ArrayForEach(change, doc_get(one, "changes"))
            take_change(out, change, record_was_kept(one));
    }
    return out;
}

static bool is_of_one_of(const cJSON *record, const cJSON *pairs)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, pairs)
        if (record_says(record, "model", doc_text(doc_get(one, "model"))) && record_says(record, "collection", doc_text(doc_get(one, "collection"))))
            return true;
    return false;
}

cJSON *history_standing(const struct history *h)
{
    static const char *const keys[] = {"model", "collection", "alias", "upstream"};
    cJSON *asked = cJSON_CreateArray(), *one, *next;
    for (const cJSON *record = h->records->child ? h->records->child->prev : NULL; record;
         record = record == h->records->child ? NULL : record->prev) {
        const char *model = doc_text(doc_get(record, "model")), *name = doc_text(doc_get(record, "collection"));
        if (!model || !name || !is_change(record, model, name) || record_says(record, "why", "rollback") || is_of_one_of(record, asked))
            continue;
        cJSON_AddItemToArray(asked, one = cJSON_CreateObject());
        for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
            if (doc_text(doc_get(record, keys[i])))
                cJSON_AddStringToObject(one, keys[i], doc_text(doc_get(record, keys[i])));
        cJSON_AddItemToObject(one, "changes", history_changes(h, model, name));
    }
    for (one = asked->child; one; one = next) {
        next = one->next;
        if (!cJSON_GetArraySize(doc_get(one, "changes")))
            cJSON_Delete(cJSON_DetachItemViaPointer(asked, one));
    }
    return asked;
}

bool history_was_changed(const struct history *h, const char *model)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, h->records)
        if (is_change(one, model, NULL) && !record_was(one, OUTCOME_REFUSED))
            return true;
    return false;
}

bool history_rests(const struct history *h, const char *model)
{
    const cJSON *one;
    bool rests = false;
    cJSON_ArrayForEach(one, h->records)
        if (record_says(one, "model", model) && (record_says(one, "event", "rest") || record_says(one, "event", "wake")))
            rests = record_says(one, "event", "rest");
    return rests;
}

const cJSON *history_get_test(const struct history *h, const char *model, bool first)
{
    const cJSON *one, *found = NULL;
    cJSON_ArrayForEach(one, h->records) {
        bool counts = !first || (!found && record_has_points(one));
        if (record_says(one, "event", "test") && record_says(one, "model", model) && counts)
            found = doc_get(one, "result");
    }
    return found;
}
