/* clock.h - monotonic time in microseconds. Read once a loop turn; data structures take `now` as an argument. */
#pragma once

#include <stdint.h>

#define MSEC UINT64_C(1000)
#define SEC UINT64_C(1000000)
#define NEVER UINT64_MAX

uint64_t clock_usec(void);      /* monotonic, since some start */
uint64_t clock_unix_usec(void); /* wall clock, for logs and headers only */
