/* record.h - one record of the history in memory (history.h says what is in it). Private to the history. Owner: the control thread. */
#pragma once

#include <stdbool.h>
#include <string.h>

#include "tune/doc.h"
#include "tune/history.h"

/* A change's last outcome is noted on it, in memory alone. */
#define RECORD_KNOWN "known"

static inline bool record_says(const cJSON *record, const char *key, const char *word)
{
    const char *text = doc_text(doc_get(record, key));
    return text && strcmp(text, word) == 0;
}

static inline bool record_was(const cJSON *change, enum outcome outcome)
{
    return record_says(change, RECORD_KNOWN, outcome_names[outcome]);
}

/* Qdrant has kept everything of it. */
static inline bool record_was_kept(const cJSON *change)
{
    return record_was(change, OUTCOME_VERIFIED) || record_was(change, OUTCOME_GREEN) || record_was(change, OUTCOME_LATE);
}

/* A rollback of that kind: what was changed before it is over. */
static inline bool record_is_way_back(const cJSON *change)
{
    return record_says(change, "why", "rollback") && record_was_kept(change);
}

/* A test that may be the first of its model: an empty collection tells nothing. */
static inline bool record_has_points(const cJSON *test)
{
    const cJSON *points = doc_get(doc_get(test, "result"), "points");
    return !(cJSON_IsNumber(points) && points->valuedouble == 0);
}

/* Takes out what no question asks for any more, but for the newest so many; returns how many went (history_keep.c). */
unsigned record_forget(cJSON *records, unsigned newest);
