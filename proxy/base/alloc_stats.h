/* alloc_stats.h - what the allocator says about itself: jemalloc in builds that link it, else the C
 * library. Any thread. */
#pragma once

#include <stdint.h>

struct alloc_stats { /* bytes; 0 where the allocator does not know */
    uint64_t allocated, active, resident, mapped, retained, metadata;
};

void alloc_stats_read(struct alloc_stats *);
