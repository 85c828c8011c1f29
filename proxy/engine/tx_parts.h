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

/* tx_record.c: metrics and the access log line. */
void tx_record(struct tx *);

/* tx_memory.c: a transaction at its begin, with the worker's snapshot; the caller fills in who asks and wakes it. */
struct tx *tx_new(struct worker *);
void tx_free(struct tx *);

/* tx.c: the task of every transaction. */
void tx_run(struct task *);

/* tx_proof.c: sets tx->proof and what the hold must know; body: STR_NONE if it could not be read. */
void tx_read_proof(struct tx *, struct str body);
void tx_name_written(struct tx *); /* the part of it that needs no answer: one may have been lost */
void tx_look_for_others(struct tx *); /* the write is over: does its number tell of writers past quiver? */

/* tx_own.c */
bool tx_own_gather(struct tx_own *, struct str piece); /* false: longer than is kept */
void tx_own_step(struct tx *); /* it leaves the state it is in */
void tx_own_deliver(struct tx *);
