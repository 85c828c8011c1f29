/* names.h - which names an answer depends on, and which a write opens. What a client calls a collection may be an alias, and the map of aliases
 * that a writer has may be old: so a read, whose map is proven to be right (reuse.h), depends also on every alias of the collections that it
 * looks into, and a write need open no more than the name that it was sent to. */
#pragma once

#include "coherence/coherence.h"

struct tx;

void names_of_read(struct tx *, struct coherence_names *);  /* of a held and scanned body; sets all when there are too many */
void names_of_write(struct tx *, struct coherence_names *);
