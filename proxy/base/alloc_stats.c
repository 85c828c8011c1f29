#include "base/alloc_stats.h"

#ifdef QUIVER_JEMALLOC
#include <jemalloc/jemalloc.h>

/* Read by jemalloc when the process starts; the variable MALLOC_CONF wins over it. */
const char *malloc_conf = "background_thread:true,dirty_decay_ms:2000,muzzy_decay_ms:0,metadata_thp:auto";

static uint64_t value_of(const char *name)
{
    size_t value = 0, n = sizeof value;
    return mallctl(name, &value, &n, NULL, 0) == 0 ? value : 0;
}

void alloc_stats_read(struct alloc_stats *s)
{
    uint64_t epoch = 1; /* writing it makes jemalloc take a new snapshot */
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    *s = (struct alloc_stats){.allocated = value_of("stats.allocated"),
                              .active = value_of("stats.active"),
                              .resident = value_of("stats.resident"),
                              .mapped = value_of("stats.mapped"),
                              .retained = value_of("stats.retained"),
                              .metadata = value_of("stats.metadata")};
}
#else
#include <malloc.h>

void alloc_stats_read(struct alloc_stats *s)
{
    struct mallinfo2 info = mallinfo2();
    *s = (struct alloc_stats){.allocated = info.uordblks + info.hblkhd,
                              .active = info.uordblks + info.hblkhd,
                              .resident = info.arena + info.hblkhd,
                              .mapped = info.arena + info.hblkhd,
                              .retained = info.fordblks};
}
#endif
