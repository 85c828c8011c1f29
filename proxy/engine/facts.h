/* facts.h - what is known of Qdrant's collections, as an immutable, counted snapshot: aliases and strict-mode limits.
 * Made by the control thread (tune/facts_poll.c), sent to every worker by mail; a missing fact means the careful answer.
 * The alias map is good for exactly one state of "@names": it carries the fingerprint that was looked up before it was fetched. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "coherence/fingerprint.h"

struct fact_alias {
    struct str alias, collection;
};

struct fact_strict { /* config.strict_mode_config of a collection, where enabled */
    struct str collection;
    bool limits_ef, limits_oversampling, forbids_exact, limits_rate;
    double max_ef, max_oversampling;
};

struct facts {
    _Atomic unsigned n_refs;
    struct arena arena;
    struct fingerprint names;  /* of "@names" before the map was fetched */
    struct fact_alias *alias;
    unsigned n_aliases;
    struct fact_strict *strict;
    unsigned n_strict;
};

struct facts *facts_new(void);            /* one reference; fill it before it is shared */
struct facts *facts_get(struct facts *);
void facts_put(struct facts **);

/* What the name stands for: itself unless it is an alias. facts may be NULL. */
struct str facts_resolve(const struct facts *, struct str name);
const struct fact_strict *facts_strict(const struct facts *, struct str collection); /* NULL: none known */
