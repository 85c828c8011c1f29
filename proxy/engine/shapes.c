#include "engine/shapes.h"

#include <stdlib.h>
#include <xxhash.h>

#include "base/mem.h"
#include "qdrant/filter.h"

struct shapes {
    struct shape { /* by the low bits of the hash: a later one takes an earlier one's place */
        uint64_t hash; /* of the filters as they are written */
        char *text;    /* NULL: nothing here */
        size_t n;
    } shape[SHAPES_MAX];
};

struct shapes *shapes_new(void)
{
    return mem_zalloc(sizeof(struct shapes));
}

void shapes_free(struct shapes **slot)
{
    struct shapes *s = *slot;
    *slot = NULL;
    for (unsigned i = 0; s && i < SHAPES_MAX; i++)
        free(s->shape[i].text);
    free(s);
}

static size_t make(const struct query_facts *q, char text[static FILTER_SHAPE_MAX])
{
    struct filter_shape out = {.text = text};
    for (unsigned i = 0; i < q->n_filters; i++)
        filter_add(&out, q->filter[i]);
    return out.n;
}

struct str shapes_of(struct shapes *s, struct arena *a, const struct query_facts *q)
{
    char text[FILTER_SHAPE_MAX];
    uint64_t hash = q->n_filters;
    if (!q->n_filters)
        return STR("");
    for (unsigned i = 0; i < q->n_filters; i++)
        hash = XXH3_64bits_withSeed(q->filter[i].p, q->filter[i].n, hash);
    struct shape *shape = s ? &s->shape[hash % SHAPES_MAX] : NULL;
    if (shape && shape->text && shape->hash == hash)
        return arena_copy(a, str_slice(shape->text, shape->n));
    struct str made = str_slice(text, make(q, text));
    if (shape) {
        free(shape->text);
        *shape = (struct shape){hash, mem_strndup(made.p, made.n), made.n};
    }
    return arena_copy(a, made);
}
