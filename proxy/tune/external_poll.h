/* external_poll.h - models with external_writes: others write to Qdrant past quiver. Their collections' op_num (GET /telemetry) is read every
 * coherence.alias_poll; when it has moved, the collection gets a new token, so that nothing from before is served any longer. Writes of our
 * own move it too, which costs a few hits and no more. Owner: the control thread. */
#pragma once

#include "engine/worker.h"

struct external_poll;

struct external_poll *external_poll_open(struct worker *control);
void external_poll_close(struct external_poll **);
