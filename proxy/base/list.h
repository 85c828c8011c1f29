/* list.h - doubly linked lists whose links live inside the members. One owner; no locks.
 * A member knows whether it is on a list, so that removing it twice is harmless and counts stay true. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct link {
    struct link *prev, *next; /* both NULL: on no list */
};

struct list {
    struct link head;
    size_t n;
};

#define LIST_OF(type, member, link_ptr) ((struct type *)((char *)(link_ptr) - offsetof(struct type, member)))

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
    l->n = 0;
}

static inline bool link_used(const struct link *k)
{
    return k->next != NULL;
}

static inline void list_insert_after(struct list *l, struct link *at, struct link *k)
{
    k->prev = at;
    k->next = at->next;
    at->next->prev = k;
    at->next = k;
    l->n++;
}

static inline void list_push(struct list *l, struct link *k) /* at the end */
{
    list_insert_after(l, l->head.prev, k);
}

static inline void list_push_front(struct list *l, struct link *k)
{
    list_insert_after(l, &l->head, k);
}

static inline void list_remove(struct list *l, struct link *k) /* no-op when k is on no list */
{
    if (!k->next)
        return;
    k->prev->next = k->next;
    k->next->prev = k->prev;
    k->prev = k->next = NULL;
    l->n--;
}

static inline struct link *list_first(const struct list *l)
{
    return l->head.next == &l->head ? NULL : l->head.next;
}

static inline struct link *list_last(const struct list *l)
{
    return l->head.prev == &l->head ? NULL : l->head.prev;
}

static inline struct link *list_next(const struct list *l, const struct link *k)
{
    return k->next == &l->head ? NULL : k->next;
}

static inline struct link *list_prev(const struct list *l, const struct link *k)
{
    return k->prev == &l->head ? NULL : k->prev;
}

static inline struct link *list_pop(struct list *l)
{
    struct link *k = list_first(l);
    if (k)
        list_remove(l, k);
    return k;
}
