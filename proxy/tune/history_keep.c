/* history_keep.c - what of a long history still matters: of each value the first change since it was last taken back, the last one, and the last
 * that Qdrant kept; that a model was ever changed, whether its enforcement rests, its first test and its last. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "tune/record.h"

/* Answers to questions that will be asked: each names the one record that it needs. */
struct needs {
    struct need {
        char *question;
        const cJSON *record;
    } *need;
    unsigned n, cap;
};

static struct need *find(struct needs *s, const char *question)
{
    for (unsigned i = 0; i < s->n; i++)
        if (strcmp(s->need[i].question, question) == 0)
            return &s->need[i];
    return NULL;
}

static void take(struct needs *s, const char *question, const cJSON *record, bool first_wins)
{
    struct need *there = find(s, question);
    if (there) {
        there->record = first_wins ? there->record : record;
        return;
    }
    if (s->n == s->cap) {
        s->cap = s->cap ? 2 * s->cap : 64;
        s->need = mem_realloc(s->need, s->cap * sizeof *s->need);
    }
    s->need[s->n++] = (struct need){mem_strdup(question), record};
}

static void drop(struct needs *s, const char *start)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->n; i++)
        if (strncmp(s->need[i].question, start, strlen(start)) != 0)
            s->need[kept++] = s->need[i];
        else
            free(s->need[i].question);
    s->n = kept;
}

/* Of the record's model, or of its collection too; names with their lengths, so that none is the start of another. */
static char *question_of(const char *kind, const cJSON *record, bool of_collection, const char *more)
{
    const char *model = doc_text(doc_get(record, "model")), *collection = of_collection ? doc_text(doc_get(record, "collection")) : NULL;
    struct str m = str_of(model), c = str_of(collection);
    size_t room = strlen(kind) + m.n + c.n + strlen(more) + 60;
    char *text = mem_alloc(room);
    snprintf(text, room, "%s %zu:%s %zu:%s %s", kind, m.n, m.n ? model : "", c.n, c.n ? collection : "", more);
    return text;
}

static void ask(struct needs *s, const char *kind, const cJSON *record, bool first_wins)
{
    char *question = question_of(kind, record, false, "");
    take(s, question, record, first_wins);
    free(question);
}

/* Of each value: what was there, what was written last, and what of that is known to have arrived. */
static const char *const of_values[] = {"value", "wrote", "kept"};
static const unsigned n_of_values = sizeof of_values / sizeof *of_values;

static void read_change(struct needs *s, const cJSON *record)
{
    const cJSON *one;
    if (record_was(record, OUTCOME_REFUSED))
        return;
    ask(s, "changed", record, false); /* the last: an earlier one may have been taken back by a record that goes */
    if (record_is_way_back(record)) {
        for (unsigned i = 0; i < n_of_values; i++) {
            char *start = question_of(of_values[i], record, true, "");
            drop(s, start);
            free(start);
        }
        return;
    }
    if (record_says(record, "why", "rollback"))
        return;
    cJSON_ArrayForEach(one, doc_get(record, "changes")) {
        char *at = cJSON_PrintUnformatted(doc_get(one, "at"));
        for (unsigned i = 0; i < n_of_values - !record_was_kept(record); i++) {
            char *question = question_of(of_values[i], record, true, at ? at : "");
            take(s, question, record, i == 0);
            free(question);
        }
        free(at);
    }
}

static void read(struct needs *s, const cJSON *record)
{
    if (record_says(record, "event", "change")) {
        read_change(s, record);
    } else if (record_says(record, "event", "rest") || record_says(record, "event", "wake")) {
        ask(s, "rests", record, false);
    } else if (record_says(record, "event", "test")) {
        ask(s, "last test", record, false);
        if (record_has_points(record))
            ask(s, "first test", record, true);
    }
}

static int by_address(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)((const struct need *)a)->record, y = (uintptr_t)((const struct need *)b)->record;
    return x < y ? -1 : x > y;
}

unsigned record_forget(cJSON *records, unsigned newest)
{
    struct needs needs = {0};
    cJSON *one, *next;
    unsigned old = 0, gone = 0;
    cJSON_ArrayForEach(one, records) {
        read(&needs, one);
        old++;
    }
    old = old > newest ? old - newest : 0;
    if (needs.n)
        qsort(needs.need, needs.n, sizeof *needs.need, by_address);
    for (one = records->child; one && old; one = next, old--) {
        struct need key = {NULL, one};
        next = one->next;
        if (needs.n && bsearch(&key, needs.need, needs.n, sizeof key, by_address))
            continue;
        cJSON_Delete(cJSON_DetachItemViaPointer(records, one));
        gone++;
    }
    while (needs.n)
        free(needs.need[--needs.n].question);
    free(needs.need);
    return gone;
}
