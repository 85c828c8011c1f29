#include "coherence/coherence.h"

#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/ensure.h"
#include "base/mem.h"
#include "coherence/private.h"

struct name_id name_id_of(struct str name)
{
    XXH128_hash_t h = XXH3_128bits(name.n ? name.p : "", name.n);
    return (struct name_id){h.high64, h.low64};
}

void coherence_names_add(struct coherence_names *names, struct str name)
{
    for (unsigned i = 0; i < names->n; i++)
        if (str_eq(names->name[i], name))
            return;
    if (names->n == COHERENCE_NAMES_MAX)
        names->all = true;
    else
        names->name[names->n++] = name;
}

struct coherence *coherence_new(void)
{
    struct coherence *c = mem_zalloc(sizeof *c);
    c->cells = cells_new();
    c->everything = name_id_of(STR("*"));
    c->map = name_id_of(STR("@names"));
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->holds_lock, NULL);
    list_init(&c->holds);
    list_init(&c->workers);
    pthread_mutex_init(&c->lease.lock, NULL);
    c->born = clock_usec();
    ensure(getrandom(c->id, sizeof c->id, 0) == sizeof c->id);
    ensure(getrandom(c->secret, sizeof c->secret, 0) == sizeof c->secret);
    atomic_store(&c->secret_version, 1);
    return c;
}

void coherence_free(struct coherence **slot)
{
    struct coherence *c = *slot;
    *slot = NULL;
    if (!c)
        return;
    cells_free(&c->cells);
    holds_free(c);
    pthread_mutex_destroy(&c->holds_lock);
    pthread_mutex_destroy(&c->lease.lock);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

unsigned coherence_secret_version(const struct coherence *c)
{
    return atomic_load_explicit(&c->secret_version, memory_order_acquire);
}

unsigned coherence_secret(struct coherence *c, unsigned char out[COHERENCE_SECRET])
{
    pthread_mutex_lock(&c->lock);
    memcpy(out, c->secret, COHERENCE_SECRET);
    unsigned version = atomic_load(&c->secret_version);
    pthread_mutex_unlock(&c->lock);
    return version;
}
