/* opt.h - option tables: one row is schema, default, bounds, check and reference text of one setting.
 * A member of another C type than the row's kind does not compile; defaults go through the parser too. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

/* Numbers, sizes and durations without a default whose 0 means something. */
#define OPT_UNSET UINT64_MAX

/* Which file a setting belongs to: an error names the right one. The first is for the whole process, the
 * others are per model. */
#define CONF_FILES(X)                                              \
    X(QUIVER, "quiver.yaml", "")                                   \
    X(OPTIMIZATIONS, "model-optimizations.yaml", "optimizations")  \
    X(INDEXING, "indexing-strategies.yaml", "indexing")            \
    X(CACHING, "caching-optimizations.yaml", "caching")            \
    X(TUNING, "performance-tuning.yaml", "tuning")

enum conf_file {
#define X(id, file, top) CONF_##id,
    CONF_FILES(X)
#undef X
        CONF_FILE_COUNT
};

enum opt_kind {
    OPT_KIND_BOOL,
    OPT_KIND_UINT,  /* uint64_t */
    OPT_KIND_REAL,  /* double, NAN when unset */
    OPT_KIND_USEC,  /* uint64_t microseconds; files: a number with unit us to d, or plain seconds */
    OPT_KIND_BYTES, /* uint64_t; files: number with B, KB.. (10^3) or KiB.. (2^10) */
    OPT_KIND_ENUM,  /* unsigned, index into words */
    OPT_KIND_TEXT,  /* const char *, NULL when unset; lives as long as the snapshot */
    OPT_KIND_TEXTS, /* struct opt_texts: a list, or one scalar */
    OPT_KIND_KNOB,  /* const char *: as it is to be written into JSON; knob_kind tells what it must be */
};

struct opt_texts {
    const char **text;
    unsigned n;
};

struct opt {
    const char *key;      /* dotted: "rewrite.default.hnsw_ef"; nested mappings in a file flatten to this */
    enum opt_kind kind;
    enum conf_file file;
    size_t offset;
    const char *fallback; /* the default as it would stand in a file; NULL: unset (OPT_UNSET, NAN, NULL) */
    const char *min, *max; /* likewise, inclusive; NULL: no bound */
    const char *const *words; /* OPT_KIND_ENUM: NULL-terminated */
    unsigned knob_kind;   /* OPT_KIND_KNOB: 0 uint, 1 bool, 2 real */
    bool secret;          /* -T prints "(set)", never the value */
    bool unset_zero; /* 0 or absent means "unset": -T leaves it out, and 0 needs no place within the bounds */
    const char *help;     /* one line for the reference */
};

/* A member of the wrong C type makes the comparison of pointers an error under -Werror. */
#define OPT_FIELD(type, member, ctype) \
    (offsetof(type, member) + 0 * sizeof((ctype *)0 == &((type *)0)->member))
#define OPT_BOOL(type, member, key, file, def, help) \
    {key, OPT_KIND_BOOL, file, OPT_FIELD(type, member, bool), def, NULL, NULL, NULL, 0, false, false, help}
#define OPT_UINT(type, member, key, file, def, min, max, help) \
    {key, OPT_KIND_UINT, file, OPT_FIELD(type, member, uint64_t), def, min, max, NULL, 0, false, false, help}
#define OPT_REAL(type, member, key, file, def, min, max, help) \
    {key, OPT_KIND_REAL, file, OPT_FIELD(type, member, double), def, min, max, NULL, 0, false, false, help}
#define OPT_USEC(type, member, key, file, def, min, max, help) \
    {key, OPT_KIND_USEC, file, OPT_FIELD(type, member, uint64_t), def, min, max, NULL, 0, false, false, help}
#define OPT_BYTES(type, member, key, file, def, min, max, help) \
    {key, OPT_KIND_BYTES, file, OPT_FIELD(type, member, uint64_t), def, min, max, NULL, 0, false, false, help}
#define OPT_ENUM(type, member, key, file, def, words, help) \
    {key, OPT_KIND_ENUM, file, OPT_FIELD(type, member, unsigned), \
     def, NULL, NULL, words, 0, false, false, help}
/* 0 is "unset" for these: nothing stands in for it but the reader's own rule; of words, words[0]. */
#define OPT_UINT_UNSET(type, member, key, file, min, max, help) \
    {key, OPT_KIND_UINT, file, OPT_FIELD(type, member, uint64_t), NULL, min, max, NULL, 0, false, true, help}
#define OPT_USEC_UNSET(type, member, key, file, min, max, help) \
    {key, OPT_KIND_USEC, file, OPT_FIELD(type, member, uint64_t), NULL, min, max, NULL, 0, false, true, help}
#define OPT_BYTES_UNSET(type, member, key, file, min, max, help) \
    {key, OPT_KIND_BYTES, file, OPT_FIELD(type, member, uint64_t), NULL, min, max, NULL, 0, false, true, help}
#define OPT_ENUM_UNSET(type, member, key, file, words, help) \
    {key, OPT_KIND_ENUM, file, OPT_FIELD(type, member, unsigned), \
     NULL, NULL, NULL, words, 0, false, true, help}
#define OPT_TEXT(type, member, key, file, def, help) \
    {key, OPT_KIND_TEXT, file, OPT_FIELD(type, member, const char *), \
     def, NULL, NULL, NULL, 0, false, false, help}
#define OPT_SECRET(type, member, key, file, help) \
    {key, OPT_KIND_TEXT, file, OPT_FIELD(type, member, const char *), \
     NULL, NULL, NULL, NULL, 0, true, false, help}
#define OPT_TEXTS(type, member, key, file, def, help) \
    {key, OPT_KIND_TEXTS, file, OPT_FIELD(type, member, struct opt_texts), \
     def, NULL, NULL, NULL, 0, false, false, help}
#define OPT_KNOB(type, member, key, file, knob, help) \
    {key, OPT_KIND_KNOB, file, OPT_FIELD(type, member, const char *), \
     NULL, NULL, NULL, NULL, knob, false, false, help}

/* Options that fill one struct: proxy/ has its own, a plugin may bring one per model and one for all. */
struct opt_table {
    const char *owner;     /* "conf", "rewrite", "cache": for the reference */
    const struct opt *opts;
    size_t n_opts, size;   /* size of the struct they fill */
    /* What rows cannot say; the message names the key at fault first ("key: what was found, what would be
     * right"). NULL: nothing. */
    bool (*check)(void *filled, char *text, size_t n_text);
};

/* A value as it was found, before its type is known. */
struct opt_scalar {
    struct str text; /* NUL-terminated */
    bool plain;      /* without quotes in a file; true for environment and flags */
};

struct opt_value {
    const struct opt_scalar *item;
    unsigned n;   /* 1 unless is_list */
    bool is_list;
    bool is_word; /* from environment or a flag: on and off are bools, a comma separates list items */
};

/* Parses, checks the bounds, writes the member of *filled; texts are copied into the arena. The message has
 * no place and no key:
 * "'abc' is not a duration, expected one such as 250ms, 30s or 5m". */
bool opt_set(struct arena *, const struct opt *, void *filled, const struct opt_value *, struct err *);

/* Every member's default; *filled has the table's size and is overwritten. A default that does not parse is a
 * bug and ends the process. */
void opt_defaults(struct arena *, const struct opt_table *, void *filled);

bool opt_is_set(const struct opt *, const void *filled); /* false: -T leaves it out */
/* As YAML in one line; not for secrets. */
struct str opt_print(struct arena *, const struct opt *, const void *filled);
const char *opt_kind_name(const struct opt *);

/* "PREFIX_" not included: the key in capitals, what is neither letter nor digit as '_'. */
struct str opt_env_name(struct arena *, struct str key);

/* How many single-character changes make a into b, at most `most` + 1. */
unsigned opt_distance(struct str a, struct str b, unsigned most);
