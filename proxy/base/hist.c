#include "base/hist.h"

const uint64_t hist_bound_usec[HIST_BOUNDS] = {100,    250,    500,    1000,    2500,    5000,
                                               10000,  25000,  50000,  100000,  250000,  500000,
                                               1000000, 2500000, 5000000, 10000000, 30000000, 60000000};
const char *const hist_bound_text[HIST_BOUNDS] = {"0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
                                                  "0.01",   "0.025",   "0.05",   "0.1",   "0.25",   "0.5",
                                                  "1",      "2.5",     "5",      "10",    "30",     "60"};

/* The first bound that a value with this highest bit can be under: one or two comparisons are left. */
static const uint8_t first_bound[HIST_TOP_BIT] = {0, 0, 0,  0,  0,  0,  0,  1,  2,  3,  4,  4,  5,  6,  7, 8,
                                                  9, 10, 11, 12, 13, 13, 14, 15, 16, 17, 18, 18, 18, 18, 18};

static unsigned top_bit(uint64_t value)
{
    return value ? 63 - (unsigned)__builtin_clzll(value) : 0;
}

static unsigned fine_of(uint64_t usec, unsigned top)
{
    if (top < HIST_SUB_BITS)
        return (unsigned)usec;
    unsigned shift = top - HIST_SUB_BITS;
    return ((shift + 1) << HIST_SUB_BITS) + (unsigned)((usec >> shift) & ((1u << HIST_SUB_BITS) - 1));
}

/* The largest value of a fine bucket. */
static uint64_t fine_end(unsigned index)
{
    unsigned row = index >> HIST_SUB_BITS;
    uint64_t sub = index & ((1u << HIST_SUB_BITS) - 1);
    if (row == 0)
        return sub;
    unsigned shift = row - 1;
    return (((UINT64_C(1) << HIST_SUB_BITS) + sub + 1) << shift) - 1;
}

#define COUNT(cell, n) \
    atomic_store_explicit(&(cell), atomic_load_explicit(&(cell), memory_order_relaxed) + (n), memory_order_relaxed)

void hist_record(struct hist *h, uint64_t usec)
{
    uint64_t capped = usec < UINT64_C(1) << HIST_TOP_BIT ? usec : (UINT64_C(1) << HIST_TOP_BIT) - 1;
    unsigned top = top_bit(capped), bound = first_bound[top];
    while (bound < HIST_BOUNDS && capped > hist_bound_usec[bound])
        bound++;
    COUNT(h->sum_usec, usec);
    COUNT(h->le[bound], 1);
    COUNT(h->fine[fine_of(capped, top)], 1);
}

void hist_merge(struct hist_sum *sum, const struct hist *h)
{
    sum->sum_usec += atomic_load_explicit(&h->sum_usec, memory_order_relaxed);
    for (unsigned i = 0; i <= HIST_BOUNDS; i++) {
        uint64_t n = atomic_load_explicit(&h->le[i], memory_order_relaxed);
        sum->le[i] += n;
        sum->n += n;
    }
    for (unsigned i = 0; i < HIST_FINE; i++)
        sum->fine[i] += atomic_load_explicit(&h->fine[i], memory_order_relaxed);
}

uint64_t hist_percentile(const struct hist_sum *sum, double q)
{
    uint64_t n = 0, seen = 0;
    for (unsigned i = 0; i < HIST_FINE; i++)
        n += sum->fine[i];
    if (n == 0)
        return 0;
    double wanted = q * (double)n;
    for (unsigned i = 0; i < HIST_FINE; i++) {
        seen += sum->fine[i];
        if (seen && (double)seen >= wanted)
            return fine_end(i);
    }
    return fine_end(HIST_FINE - 1);
}
