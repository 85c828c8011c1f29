/* repair.c - the steps in order: name, read, patch, verify, and then status and work in turn until both are at rest
 * twice. */
#include "tune/repair.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "tune/doc.h"
#include "tune/history.h"

#define ASK_WITHIN (15 * SEC)
#define VERIFY_AGAIN (500 * MSEC)
#define FIRST_LOOK (400 * MSEC) /* Qdrant answers a PATCH before its optimizers have looked at it */
#define GREEN_APART (700 * MSEC)
#define LOOK_MOST (2 * SEC)
enum { ESCAPED_MAX = 800, VERIFY_TRIES = 4, GREEN_TIMES = 2 };

static void ask_now(struct repair *r);

static const char *collection_of(const struct repair *r)
{
    return r->stands_for ? r->stands_for : r->order.collection;
}

static const char *owner_of(const struct repair *r)
{
    return r->order.owner ? r->order.owner : r->order.model->name;
}

static void tell(struct repair *r, double progress, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void tell(struct repair *r, double progress, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(r->text, sizeof r->text, fmt, args);
    va_end(args);
    r->progress = progress;
    if (r->told)
        r->told(r);
}

static void settle(struct repair *r, enum outcome outcome, const char *text)
{
    if (r->change && !r->settled)
        history_outcome(r->history, r->change, outcome, text);
    r->settled = outcome != OUTCOME_VERIFIED && outcome != OUTCOME_UNKNOWN; /* after these more comes */
}

static void finish(struct repair *r, bool well, const char *error)
{
    r->running = false;
    r->well = well;
    timer_set(&r->timer, NEVER);
    if (error)
        cJSON_AddStringToObject(r->result, "error", error);
    r->progress = 1;
    r->done(r);
}

/* ---- read and plan ---- */

static bool leaves_alone(const struct repair *r, const cJSON *change)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, r->order.without)
        if (cJSON_Compare(one, doc_get(change, "path"), true))
            return true;
    return false;
}

/* Takes what is left alone out of changes and patch. */
static void leave_out(struct repair *r)
{
    cJSON *change, *patch;
    unsigned n = 0;
    if (!r->order.without || !r->plan.patch)
        return;
    patch = cJSON_CreateObject();
    for (int i = 0; (change = cJSON_GetArrayItem(r->plan.changes, i));) {
        if (leaves_alone(r, change)) {
            cJSON_DeleteItemFromArray(r->plan.changes, i);
            continue;
        }
        plan_write(change, patch);
        n++;
        i++;
    }
    cJSON_Delete(r->plan.patch);
    r->plan.patch = n ? patch : NULL;
    if (!n)
        cJSON_Delete(patch);
}

static void begin_result(struct repair *r)
{
    cJSON_AddBoolToObject(r->result, "changed", r->plan.patch != NULL);
    cJSON_AddItemToObject(r->result, "patch",
                          r->plan.patch ? cJSON_Duplicate(r->plan.patch, true) : cJSON_CreateNull());
    cJSON_AddItemToObject(r->result, "changes", cJSON_Duplicate(r->plan.changes, true));
    cJSON_AddItemToObject(r->result, "warnings", cJSON_Duplicate(r->plan.warnings, true));
}

/* It was going to be, and is not. */
static void not_changed(struct repair *r)
{
    cJSON_ReplaceItemInObjectCaseSensitive(r->result, "changed", cJSON_CreateFalse());
}

static void send_patch(struct repair *r)
{
    char path[ESCAPED_MAX + 20], name[ESCAPED_MAX];
    char *body = cJSON_PrintUnformatted(r->plan.patch);
    struct arena a;
    arena_init(&a, NULL, 0);
    snprintf(path, sizeof path, "/collections/%s", str_escape(name, sizeof name, collection_of(r)));
    struct str head = ask_head(&a, r->order.snapshot->conf, "PATCH", path, "quiver", strlen(body), "");
    r->step = REPAIR_PATCH;
    tell(r, 0.1, "PATCH %s", r->order.collection);
    r->own.snapshot = r->order.snapshot;
    r->own.model = r->order.model;
    tx_start_own(r->worker, &r->own, head, str_of(body));
    timer_set(&r->timer, r->worker->loop.now + REPAIR_PATCH_WITHIN);
    arena_fini(&a);
    free(body);
}

/* Before anything is sent. */
static bool record(struct repair *r)
{
    struct err err;
    r->change = history_change(r->history, &(struct history_deed){.model = owner_of(r),
                                                                  .collection = collection_of(r),
                                                                  .alias = r->stands_for ? r->order.collection : NULL,
                                                                  .upstream = r->order.snapshot->conf->group[r->order.model->group].name,
                                                                  .why = r->order.why,
                                                                  .changes = r->plan.changes,
                                                                  .patch = r->plan.patch},
                               &err);
    if (!r->change) {
        r->recorded = false;
        not_changed(r);
        finish(r, false, err.text);
    }
    return r->change != 0;
}

/* Also a rollback that finds nothing to write is a way back: what was there before it is not asked for again. */
static void nothing_differs(struct repair *r, const cJSON *info)
{
    if (r->order.undo && doc_get(info, "config")) {
        if (!record(r))
            return;
        settle(r, OUTCOME_VERIFIED, "nothing that quiver had written was left, or could be taken back");
    }
    cJSON_AddTrueToObject(r->result, "verified");
    finish(r, true, NULL);
}

static void planned(struct repair *r, const cJSON *info)
{
    if (r->order.undo)
        plan_undo(r->order.undo, info, &r->plan);
    else
        plan_make(&r->order.model->base, info, &r->plan);
    leave_out(r);
    begin_result(r);
    if (!r->plan.patch)
        nothing_differs(r, info);
    else if (record(r))
        send_patch(r);
}

static void patched(struct tx_own *own)
{
    struct repair *r = LIST_OF(repair, own, own);
    char text[REPAIR_TEXT_MAX], why[100], whose[DOC_WHOSE_MAX];
    timer_set(&r->timer, NEVER);
    if (own->status >= 400 && own->status < 500 && own->status != 408 && own->status != 499) {
        snprintf(text, sizeof text, "Qdrant refused the PATCH with %u: %s", own->status,
                 doc_error(own->body, why, sizeof why));
        log_warn("tune_refused", "%s status=%u", doc_whose(whose, owner_of(r), r->order.collection), own->status);
        settle(r, OUTCOME_REFUSED, text);
        r->refused = true;
        not_changed(r);
        finish(r, false, text);
        return;
    }
    r->unanswered = own->status != 200;
    if (r->unanswered) { /* what became of it is read back */
        snprintf(text, sizeof text, "the PATCH was answered with %u", own->status);
        settle(r, OUTCOME_UNKNOWN, text);
    }
    r->step = REPAIR_VERIFY;
    r->tries = 0;
    r->green_until = r->worker->loop.now + r->order.green_within;
    tell(r, 0.2, "reads %s back", r->order.collection);
    ask_now(r);
}

/* ---- read back ---- */

static unsigned note_stuck(struct repair *r, const cJSON *info)
{
    cJSON *list = cJSON_CreateArray();
    const cJSON *change;
    cJSON_ArrayForEach(change, r->plan.changes)
        if (!plan_holds(change, info))
            cJSON_AddItemToArray(list, cJSON_Duplicate(doc_get(change, "path"), true));
    unsigned n = (unsigned)cJSON_GetArraySize(list);
    cJSON_DeleteItemFromObjectCaseSensitive(r->result, "not_stuck");
    cJSON_AddItemToObject(r->result, "not_stuck", list);
    return n;
}

static void read_back(struct repair *r, const cJSON *info)
{
    unsigned not_stuck = note_stuck(r, info);
    char whose[DOC_WHOSE_MAX];
    if (not_stuck && ++r->tries < VERIFY_TRIES) {
        timer_set(&r->timer, r->worker->loop.now + VERIFY_AGAIN);
        return;
    }
    r->verified = !not_stuck;
    if (not_stuck == (unsigned)cJSON_GetArraySize(r->plan.changes))
        not_changed(r);
    cJSON_AddBoolToObject(r->result, "verified", r->verified);
    settle(r, r->verified ? OUTCOME_VERIFIED : OUTCOME_NOT_VERIFIED,
           r->verified ? "" : "Qdrant shows other values than were written");
    log_info("tuned", "%s why=%s verified=%d reindex=%d", doc_whose(whose, owner_of(r), r->order.collection), r->order.why,
             r->verified, r->plan.reindex);
    r->step = REPAIR_STATUS;
    r->pause = FIRST_LOOK;
    timer_set(&r->timer, r->worker->loop.now + r->pause);
}

/* ---- until it is green ---- */

static void look_again(struct repair *r, uint64_t after)
{
    r->step = REPAIR_STATUS;
    if (r->worker->loop.now < r->green_until) {
        timer_set(&r->timer, r->worker->loop.now + after);
        return;
    }
    cJSON_AddFalseToObject(r->result, "green");
    settle(r, OUTCOME_LATE, "not green in time (tune.green_timeout)");
    finish(r, false, "written, but the index was not built in time (tune.green_timeout)");
}

static void not_green(struct repair *r)
{
    r->n_green = 0;
    r->pause = r->pause * 3 / 2 < LOOK_MOST ? r->pause * 3 / 2 : LOOK_MOST;
    look_again(r, r->pause);
}

static void look_status(struct repair *r, const cJSON *info)
{
    const char *status = doc_text(doc_get(info, "status"));
    const char *fault = doc_text(doc_at(info, "optimizer_status.error"));
    uint64_t points = 0, indexed = 0;
    if (status && strcmp(status, "red") == 0) {
        char text[REPAIR_TEXT_MAX];
        snprintf(text, sizeof text, "the collection is red: %.150s", fault ? fault : "an operation failed");
        cJSON_AddFalseToObject(r->result, "green");
        settle(r, OUTCOME_LATE, text);
        finish(r, false, text);
        return;
    }
    doc_u64(doc_get(info, "points_count"), &points);
    doc_u64(doc_get(info, "indexed_vectors_count"), &indexed);
    tell(r, r->progress, "waits for %s to be green (it is %s, %llu of %llu points indexed)",
         r->order.collection, status ? status : "?", (unsigned long long)indexed, (unsigned long long)points);
    if (!status || strcmp(status, "green") != 0) {
        not_green(r);
        return;
    }
    r->step = REPAIR_WORK;
    ask_now(r);
}

static void look_work(struct repair *r, const cJSON *work)
{
    uint64_t queued = 0;
    unsigned running = (unsigned)cJSON_GetArraySize(doc_get(work, "running"));
    doc_u64(doc_at(work, "summary.queued_optimizations"), &queued);
    unsigned now = running + (unsigned)queued;
    if (now > r->most_work)
        r->most_work = now;
    if (r->most_work)
        r->progress = 0.3 + 0.6 * (double)(r->most_work - now) / r->most_work;
    if (now) {
        tell(r, r->progress, "waits for the index of %s (%u running, %llu queued)", r->order.collection,
             running, (unsigned long long)queued);
        not_green(r);
        return;
    }
    if (++r->n_green < GREEN_TIMES) {
        look_again(r, GREEN_APART);
        return;
    }
    cJSON_AddTrueToObject(r->result, "green");
    settle(r, OUTCOME_GREEN, "");
    const char *why = r->unanswered ? "the PATCH was not answered, and is not done"
                                    : "Qdrant shows other values than were written: see not_stuck";
    finish(r, r->verified, r->verified ? NULL : why);
}

/* ---- questions ---- */

static void no_answer(struct repair *r)
{
    char text[REPAIR_TEXT_MAX], why[100];
    if (r->step == REPAIR_WORK &&
        r->ask.status) { /* a server without that report: green is all that is known */
        look_work(r, NULL);
        return;
    }
    if (r->ask.status)
        snprintf(text, sizeof text, "Qdrant answered %u: %s", r->ask.status,
                 doc_error(r->ask.body, why, sizeof why));
    else
        snprintf(text, sizeof text, "Qdrant did not answer: %s", ask_why(&r->ask));
    if (r->step == REPAIR_READ) {
        cJSON_AddBoolToObject(r->result, "exists", r->ask.status != 404);
        cJSON_AddFalseToObject(r->result, "changed");
        finish(r, r->ask.status == 404,
               r->ask.status == 404 ? NULL : text); /* what is not there needs no change */
    } else if (r->ask.status == 404) {
        settle(r, OUTCOME_NOT_VERIFIED, "the collection is gone");
        finish(r, false, "the collection is gone");
    } else if (r->worker->loop.now >= r->green_until) {
        settle(r, r->verified ? OUTCOME_LATE : OUTCOME_UNKNOWN, text);
        finish(r, false, text);
    } else { /* busy with the index, or restarted */
        tell(r, r->progress, "waits for Qdrant to answer about %s", r->order.collection);
        timer_set(&r->timer, r->worker->loop.now + LOOK_MOST / 2);
    }
}

/* An alias may stand for another collection when it is time to go back: the history names the one that was changed. */
static void take_name(struct repair *r, const cJSON *result)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, doc_get(result, "aliases")) {
        const char *alias = doc_text(doc_get(one, "alias_name")), *name = doc_text(doc_get(one, "collection_name"));
        if (!r->stands_for && alias && name && strcmp(alias, r->order.collection) == 0)
            r->stands_for = mem_strdup(name);
    }
    if (r->stands_for)
        cJSON_AddStringToObject(r->result, "alias_of", r->stands_for);
    r->step = REPAIR_READ;
    ask_now(r);
}

static void answered(struct ask *ask)
{
    struct repair *r = LIST_OF(repair, ask, ask);
    cJSON *doc = NULL, *result = ask->status == 200 ? doc_result(ask->body, &doc) : NULL;
    if (r->step == REPAIR_NAME) /* who does not tell has none, for all that is known */
        take_name(r, result);
    else if (!cJSON_IsObject(result))
        no_answer(r);
    else if (r->step == REPAIR_READ)
        planned(r, result);
    else if (r->step == REPAIR_VERIFY)
        read_back(r, result);
    else if (r->step == REPAIR_STATUS)
        look_status(r, result);
    else
        look_work(r, result);
    cJSON_Delete(doc);
}

static void ask_now(struct repair *r)
{
    char path[ESCAPED_MAX + 40], name[ESCAPED_MAX];
    if (r->step == REPAIR_NAME)
        strcpy(path, "/aliases");
    else
        snprintf(path, sizeof path, "/collections/%s%s", str_escape(name, sizeof name, collection_of(r)),
                 r->step == REPAIR_WORK ? "/optimizations" : "");
    fetch_finish(&r->ask.fetch);
    const struct conf *conf = r->order.snapshot->conf;
    ask_send(&r->ask, ask_slots(r->worker, &conf->group[r->order.model->group]), "GET", path, STR_NONE, ASK_WITHIN);
}

static void on_time(void *arg)
{
    struct repair *r = arg;
    loop_touch(&r->worker->loop);
    if (r->step != REPAIR_PATCH) {
        ask_now(r);
        return;
    }
    tx_cancel_own(&r->own);
    r->own.status = 499;
    r->own.body = STR_NONE;
    patched(&r->own);
}

void repair_init(struct repair *r, struct worker *w, struct history *h, void (*done)(struct repair *),
                 void (*told)(struct repair *))
{
    *r = (struct repair){.worker = w, .history = h, .done = done, .told = told, .own = {.done = patched}};
    ask_init(&r->ask, w, answered);
    timer_init(&r->timer, &w->loop, on_time, r);
}

void repair_fini(struct repair *r)
{
    if (r->running)
        settle(r, OUTCOME_INTERRUPTED, "quiver ended");
    tx_cancel_own(&r->own);
    timer_fini(&r->timer);
    ask_fini(&r->ask);
    plan_fini(&r->plan);
    free(r->stands_for);
    r->stands_for = NULL;
    cJSON_Delete(r->result);
    r->result = NULL;
}

void repair_start(struct repair *r, const struct repair_order *order)
{
    plan_fini(&r->plan);
    free(r->stands_for);
    r->stands_for = NULL;
    cJSON_Delete(r->result);
    r->order = *order;
    r->result = cJSON_CreateObject();
    cJSON_AddStringToObject(r->result, "collection", order->collection);
    r->change = r->green_until = 0;
    r->tries = r->n_green = r->most_work = 0;
    r->verified = r->settled = r->refused = r->unanswered = r->well = false;
    r->running = r->recorded = true;
    r->step = order->undo ? REPAIR_READ : REPAIR_NAME; /* the history has no aliases */
    tell(r, 0, "reads %s", order->collection);
    ask_now(r);
}
