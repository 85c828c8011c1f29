/* names.h - which names an answer depends on, and which a write opens. What a client calls a collection may be an alias, and the map of aliases
 * that a writer has may be old: so a read, whose map is proven to be right (reuse.h), depends also on every alias of the collections that it
 * looks into, and a write need open no more than the name that it was sent to. Where aliases are hidden from the reader (facts.h) none are known
 * to depend on: such a read depends on "@any", which each write opens too, whoever sends it; who knows the aliases does not look there. */
#pragma once

#include "coherence/coherence.h"

struct facts;
struct tx;

void names_of_read(struct tx *, struct coherence_names *);  /* of a held and scanned body; sets all when there are too many */
void names_of_write(struct tx *, struct coherence_names *);

/* The model of a collection: the one that claims it, else one that is named after an alias of it. */
const struct conf_model *names_model(const struct conf *, const struct facts *, struct str collection);

/* The model of the n-th collection that the answer is made of: 0 is the request's own, then those that it looks into. NULL: there are no more.
 * Of a held and scanned body while it is there. */
const struct conf_model *names_model_of_read(const struct tx *, unsigned n);

/* What a write to that name would open: it, what it stands for, and "@any". */
void names_add_written(const struct facts *, struct coherence_names *, struct str name);
