/* files.h - where the configuration's texts come from: a file, a folder, or those compiled in. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"
#include "conf/opt.h"

/* Made at build time from conf/ (embed.cmake). */
struct shipped_file {
    const char *name, *bytes;
    size_t n;
};

extern const struct shipped_file shipped_files[];
extern const unsigned n_shipped_files;

struct conf_text {
    const char *name;    /* as errors show it: "conf/quiver.yaml", "shipped:quiver.yaml" */
    enum conf_file file; /* which of the five it is */
    bool is_whole;       /* -c FILE: may hold what belongs into any of them */
    struct str text;
};

struct conf_texts {
    struct conf_text text[CONF_FILE_COUNT];
    unsigned n;
};

/* path: -c, or NULL; environment: for QUIVER_CONF. */
bool files_read(struct arena *, const char *path, char *const *environment, struct conf_texts *out,
                struct err *);

const char *files_name(enum conf_file); /* "quiver.yaml" */
const char *files_top(enum conf_file);  /* "optimizations"; "" for quiver.yaml */

/* A small text file, at most `most` bytes. The message begins with the path. */
bool files_slurp(struct arena *, const char *path, size_t most, struct str *out, struct err *);

/* The value of a variable, or NULL where it is absent or empty. */
const char *files_env(char *const *environment, const char *name);
