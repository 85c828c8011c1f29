/* prover.h - ends holds early: a write that was only acknowledged is applied once every shard's op_num has reached its operation id
 * (GET /telemetry, update_queue.op_num), and, where the collection hides what is not indexed yet (prevent_unoptimized), once no points are
 * deferred any more. Holds that nothing proves (a lost answer, an error) only last longer: while telemetry, or where it tells nothing the
 * collection, shows that updates wait in the queue, and while points are deferred. Asks while there are unproven writes, with growing pauses while nothing comes of it. Owner: the control thread. */
#pragma once

#include "engine/worker.h"

struct prover;

struct prover *prover_open(struct worker *control);
void prover_close(struct prover **);
