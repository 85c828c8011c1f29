/* opt.h - option tables: one row is schema, default, bounds, check and reference text of one setting.
 * A member of another C type than the row's kind does not compile; defaults go through the same parser as files do. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

/* Which file a setting belongs to: an error names the right one. The first is for the whole process, the others are per model. */
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
    OPT_KIND_UINT,     /* uint64_t */
    OPT_KIND_REAL,     /* double, NAN when unset */
    OPT_KIND_USEC,     /* uint64_t microseconds; files: a number with unit us, ms, s, m, h, d, or a plain number of seconds */
    OPT_KIND_BYTES,    /* uint64_t; files: number with B, KB.. (10^3) or KiB.. (2^10) */
    OPT_KIND_ENUM,     /* unsigned, index into words */
    OPT_KIND_TEXT,     /* const char *, NULL when unset; lives as long as the snapshot */
    OPT_KIND_TEXTS,    /* struct opt_texts: a list, or one scalar */
    OPT_KIND_KNOB,     /* const char *: number or bool as it is to be written into JSON, checked against `knob_kind` */
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
    const char *fallback; /* the default as it would stand in a file; NULL: unset */
    const char *min, *max; /* likewise, inclusive; NULL: no bound */
    const char *const *words; /* OPT_KIND_ENUM: NULL-terminated */
    unsigned knob_kind;   /* OPT_KIND_KNOB: 0 uint, 1 bool, 2 real */
    bool secret;          /* -T prints "(set)", never the value */
    bool unset_zero;      /* 0 or absent means "unset": -T leaves it out */
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
    {key, OPT_KIND_ENUM, file, OPT_FIELD(type, member, unsigned), def, NULL, NULL, words, 0, false, false, help}
#define OPT_TEXT(type, member, key, file, def, help) \
    {key, OPT_KIND_TEXT, file, OPT_FIELD(type, member, const char *), def, NULL, NULL, NULL, 0, false, false, help}
#define OPT_SECRET(type, member, key, file, help) \
    {key, OPT_KIND_TEXT, file, OPT_FIELD(type, member, const char *), NULL, NULL, NULL, NULL, 0, true, false, help}
#define OPT_TEXTS(type, member, key, file, def, help) \
    {key, OPT_KIND_TEXTS, file, OPT_FIELD(type, member, struct opt_texts), def, NULL, NULL, NULL, 0, false, false, help}
#define OPT_KNOB(type, member, key, file, knob, help) \
    {key, OPT_KIND_KNOB, file, OPT_FIELD(type, member, const char *), NULL, NULL, NULL, NULL, knob, false, false, help}

/* A set of options that fill one struct: proxy/ has its own, each plugin may bring one per model and one for the process. */
struct opt_table {
    const char *owner;     /* "conf", "rewrite", "cache": for the reference */
    const struct opt *opts;
    size_t n_opts, size;   /* size of the struct they fill */
    /* What rows cannot say; the message names the key at fault first ("key: what was found, what would be right"). NULL: nothing. */
    bool (*check)(void *filled, char *text, size_t n_text);
};
