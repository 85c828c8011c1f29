/* repair.h - makes one collection what it should be, or what it was: which one an alias stands for, read, plan, record, one PATCH, read
 * back, wait until the index is built. Nothing is sent when nothing differs. The PATCH goes through the
 * pipeline as a client's would, so that what was cached of the collection is given up. Owner: the control
 * thread; embedded in who wants it done. */
#pragma once

#include <stdbool.h>

#include "conf/conf.h"
#include "engine/tx.h"
#include "tune/ask.h"
#include "tune/plan.h"

struct cJSON;
struct history;

#define REPAIR_PATCH_WITHIN (60 * SEC)
enum { REPAIR_TEXT_MAX = 200 };

/* What is to be done; the owner keeps it alive until done(). */
struct repair_order {
    struct snapshot *snapshot;      /* the configuration that all of it runs under */
    const struct conf_model *model; /* of that */
    const char *owner;           /* the model as the history knows it: it may be none of the configuration; NULL: model's name */
    const char *collection;
    const char *why;             /* "apply", "rollback", "enforce" */
    const struct cJSON *undo;    /* changes to take back; NULL: the model's wishes */
    const struct cJSON *without; /* paths that are left alone (array of texts), or NULL */
    uint64_t green_within;       /* usec */
};

struct repair {
    struct worker *worker;
    struct history *history;
    struct repair_order order;
    bool running;
    double progress;               /* 0..1 */
    char text[REPAIR_TEXT_MAX];    /* what it does now */
    void (*told)(struct repair *); /* progress or text changed; may be NULL */
    void (*done)(struct repair *); /* from the loop; result is valid until the next start */
    /* {collection, alias_of?, changed, patch, changes, verified, green, not_stuck: [path], warnings, error?}; changed: something of it is known to
     * have been written, or may have been */
    struct cJSON *result;
    bool refused;    /* Qdrant said no to the PATCH: the same would be refused again */
    bool unanswered; /* it was not answered with 200: what does not stick was perhaps never written */
    bool recorded;   /* it has not failed for want of a place for its record */
    bool well;       /* nothing to do, or done, verified and green in time */
    /* private */
    struct ask ask;
    struct tx_own own;
    struct timer timer;
    struct plan plan;
    char *stands_for; /* the collection, where the order names an alias of it: all goes there, also if the alias is moved meanwhile */
    uint64_t change, green_until, pause;
    unsigned tries, n_green, most_work;
    enum { REPAIR_NAME, REPAIR_READ, REPAIR_PATCH, REPAIR_VERIFY, REPAIR_STATUS, REPAIR_WORK } step;
    bool verified, settled; /* the last outcome is in the history */
};

void repair_init(struct repair *, struct worker *, struct history *, void (*done)(struct repair *),
                 void (*told)(struct repair *));
void repair_fini(struct repair *); /* also while it runs: the history says that it was interrupted */
void repair_start(struct repair *, const struct repair_order *);
