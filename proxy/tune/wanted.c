#include "tune/wanted.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"
#include "engine/facts.h"

enum { BUCKETS_FIRST = 16 };

static uint64_t hash_of(struct str name)
{
    return XXH3_64bits(name.n ? name.p : "", name.n);
}

static struct list *bucket_of(const struct wanted *w, uint64_t hash)
{
    return &w->bucket[hash % w->n_buckets];
}

static void spread(struct wanted *w, unsigned n_buckets)
{
    w->bucket = mem_realloc(w->bucket, n_buckets * sizeof *w->bucket);
    w->n_buckets = n_buckets;
    for (unsigned i = 0; i < n_buckets; i++)
        list_init(&w->bucket[i]);
    for (struct link *k = list_first(&w->rows); k; k = list_next(&w->rows, k)) {
        struct wanted_row *row = LIST_OF(wanted_row, link, k);
        list_push(bucket_of(w, row->hash), &row->in_bucket);
    }
}

void wanted_init(struct wanted *w)
{
    *w = (struct wanted){.round = 1};
    list_init(&w->rows);
    spread(w, BUCKETS_FIRST);
}

void wanted_fini(struct wanted *w)
{
    struct link *k;
    while ((k = list_first(&w->rows)))
        wanted_drop(w, LIST_OF(wanted_row, link, k));
    free(w->bucket);
    w->bucket = NULL;
}

struct wanted_row *wanted_find(const struct wanted *w, struct str name)
{
    uint64_t hash = hash_of(name);
    struct list *bucket = bucket_of(w, hash);
    for (struct link *k = list_first(bucket); k; k = list_next(bucket, k)) {
        struct wanted_row *row = LIST_OF(wanted_row, in_bucket, k);
        if (row->hash == hash && str_eq(str_of(row->name), name))
            return row;
    }
    return NULL;
}

bool wanted_is_full(const struct wanted *w)
{
    return w->rows.n >= FACTS_COLLECTIONS_MAX;
}

struct wanted_row *wanted_add(struct wanted *w, struct str name, bool idle)
{
    if (wanted_is_full(w) || !name.n || name.n > WANTED_NAME_MAX || memchr(name.p, 0, name.n))
        return NULL;
    struct wanted_row *row = mem_zalloc(sizeof *row);
    row->name = mem_strndup(name.p, name.n);
    row->hash = hash_of(name);
    row->idle = idle;
    row->changed = true;
    list_push_front(&w->rows, &row->link);
    if (w->rows.n > w->n_buckets)
        spread(w, 2 * w->n_buckets);
    else
        list_push(bucket_of(w, row->hash), &row->in_bucket);
    return row;
}

void wanted_drop(struct wanted *w, struct wanted_row *row)
{
    if (w->left == row)
        w->left = NULL;
    list_remove(&w->rows, &row->link);
    list_remove(bucket_of(w, row->hash), &row->in_bucket);
    free(row->name);
    free(row);
}

void wanted_change(struct wanted *w, struct wanted_row *row)
{
    row->changed = true;
    if (row->round == w->round)
        return; /* this round has been there: the next one */
    list_remove(&w->rows, &row->link);
    list_push_front(&w->rows, &row->link);
}

static void end_round(struct wanted *w)
{
    struct link *k;
    while (w->left && (k = list_first(&w->rows)) != &w->left->link) {
        list_remove(&w->rows, k);
        list_push(&w->rows, k);
    }
    w->left = NULL;
    w->round++;
}

struct wanted_row *wanted_next(struct wanted *w)
{
    struct link *k = list_first(&w->rows);
    struct wanted_row *row = k ? LIST_OF(wanted_row, link, k) : NULL;
    if (!row || row->round == w->round) {
        end_round(w);
        return NULL;
    }
    row->round = w->round;
    list_remove(&w->rows, k);
    list_push(&w->rows, k);
    return row;
}

void wanted_leave(struct wanted *w, struct wanted_row *row)
{
    if (!w->left)
        w->left = row;
}
