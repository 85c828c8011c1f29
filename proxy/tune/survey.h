/* survey.h - one look at the collections of some models: which there are, and what Qdrant says of each. One
 * question after the other. Owner: the control thread; embedded in who wants to know. */
#pragma once

#include <stdbool.h>

#include "conf/conf.h"
#include "tune/ask.h"

struct cJSON;

enum { SURVEY_MAX = 1000 }; /* collections; more are left out, and said */

#define SURVEY_TIMEOUT (15 * SEC) /* a server that builds an index may be slow to answer */

struct survey_entry {
    const struct conf_model *model; /* of the survey's snapshot */
    char *collection;
    bool exists, unlisted;       /* unlisted: there was no list of collections; collection is a pattern, error says why */
    struct cJSON *info, *memory; /* "result" of the answers; NULL: not asked, or see error */
    char error[240];             /* why it could not be read; "": it could, or is not there */
};

struct survey {
    struct worker *worker;
    struct snapshot *snapshot; /* pinned from start to clear */
    struct survey_entry *entry;
    unsigned n, cap;
    unsigned n_unanswered; /* questions without an answer */
    bool running;
    void (*done)(struct survey *); /* from the loop; the entries are the owner's to read until survey_clear */
    /* private */
    struct ask ask;
    bool *chosen, with_info, with_memory;
    unsigned group, at;
    enum { SURVEY_LIST, SURVEY_INFO, SURVEY_MEMORY } question;
};

void survey_init(struct survey *, struct worker *, void (*done)(struct survey *));
void survey_fini(struct survey *); /* also while it runs */

/* chosen: by model index of the worker's snapshot, copied. */
void survey_start(struct survey *, const bool *chosen, bool with_info, bool with_memory);
void survey_clear(struct survey *);

/* Is this one of "all models"? The default model only if it wishes for something: else it stands for what
 * nobody named. */
bool survey_is_meant(const struct conf_model *);
