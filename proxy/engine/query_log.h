/* query_log.h - a line of JSON for each search that was slow, rewritten or drawn by lot (log.queries and its neighbours in quiver.yaml):
 *   {"time":"2026-01-02T03:04:05.678Z","why":["slow","rewritten"],"model":"mixtral","collection":"mixtral","operation":"search",
 *    "status":200,"cache":"miss","answered":"upstream","total_us":5120,"queue_us":0,"upstream_us":5010,
 *    "filter":"must[key=city match.value]",
 *    "parameters_before":{},"parameters_after":{"hnsw_ef":32},"changed":1,"suppressed":0}
 * answered: memory, redis, another (with the answer to an equal search), upstream, quiver (an error of its own). Vectors, values of
 * filters and unknown parameters are never in it. At most log.rate lines a second for slow ones, and as many for the others, over
 * all threads; what was left out is counted in /metrics and in the next line's `suppressed`. The line goes into the worker's ring
 * (base/log.h): a request never waits for a file.
 * The worker's own thread. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

struct tx;

/* The lines of this second; shared by all workers. One for the slow ones, one for the others. */
struct query_log_budget {
    _Atomic uint64_t second;
    _Atomic unsigned used, suppressed;
};

/* The search is over at `now`. Costs a few comparisons when there is nothing to say. */
void query_log(struct tx *, uint64_t now);
