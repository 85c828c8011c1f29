/* tx_parts.h - what tx.c's steps are helped by: heads, bodies, the record. Private to engine/. */
#pragma once

#include "engine/tx.h"

/* tx_head.c: the head that goes upstream, and the one that goes to the client (with framing decided: tx->chunked_down, close_after). */
struct str tx_upstream_head(struct tx *);
struct str tx_client_head(struct tx *);

/* tx_body.c: the held body. */
enum hold_result { HOLD_DONE, HOLD_WAIT, HOLD_DOOMED };
bool tx_wants_hold(const struct tx *);   /* is the body to be held, by operation and size? */
enum hold_result tx_hold_body(struct tx *);
void tx_release_body(struct tx *);
void tx_write_names(struct tx *, struct coherence_names *); /* what a write opens */

/* tx_record.c: metrics and the access log line. */
void tx_record(struct tx *);
