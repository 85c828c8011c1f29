#include "base/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * SEC + (uint64_t)t.tv_nsec / 1000;
}

uint64_t clock_usec(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t clock_unix_usec(void)
{
    return read_clock(CLOCK_REALTIME);
}
