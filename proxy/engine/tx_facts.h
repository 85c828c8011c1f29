/* tx_facts.h - what must be known of the collections that a request touches before an answer about them may be repeated, and who asks for it.
 * A name is asked for once Qdrant has answered for it: what nobody knows to exist is not looked up. */
#pragma once

#include "engine/tx.h"

enum tx_facts { /* of all its collections, the worst */
    TX_FACTS_KNOWN,   /* none of them hides points */
    TX_FACTS_AWAITED, /* not here yet: an answer may be kept, but not repeated */
    TX_FACTS_UNKNOWN, /* Qdrant fails to tell, or there is no room for more */
    TX_FACTS_HIDING,  /* points that wait to be indexed appear at any time, without a write */
};

enum tx_facts tx_facts(const struct tx *); /* of a read whose body is scanned */

/* Qdrant's answer has begun: facts that are missing are asked for, unless it says that there is no such collection. */
void tx_want_facts(struct tx *);
/* They are needed now. shown: an answer of Qdrant is at hand, so the collections are there. */
void tx_ask_facts(struct tx *, bool shown);
