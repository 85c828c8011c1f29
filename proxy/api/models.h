/* models.h - what the control API tells about models: counts, rates, latencies, cache, pool.
 * A history of a few counters is kept so that rates can be told. Owner: the control thread. */
#pragma once

#include "api/tree.h"
#include "conf/conf.h"

struct metrics_history;
struct worker;

struct metrics_history *metrics_history_open(struct worker *);
void metrics_history_close(struct metrics_history **); /* NULL is fine */

/* {model, collections, collection, vector_size, batch_size, upstream, targets}; model_metrics has counts and the like. */
struct node *model_node(struct arena *, const struct conf *, const struct conf_model *);
struct node *model_metrics_node(struct arena *, const struct metrics_history *, const struct conf *,
                                const struct conf_model *);
