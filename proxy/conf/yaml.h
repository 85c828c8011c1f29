/* yaml.h - the part of YAML that configuration needs, as a tree with line numbers: mappings, lists, scalars,
 * nothing clever. Refused: anchors, aliases, tags, a second document, keys that are not scalars, duplicate
 * keys, NUL and other control characters, nesting over YAML_DEPTH_MAX, texts over YAML_BYTES_MAX. The only
 * file that knows libyaml is yaml.c. No I/O. Any thread. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum { YAML_DEPTH_MAX = 32, YAML_BYTES_MAX = 1000 * 1000, YAML_KEYS_MAX = 2000 };

enum yaml_kind { YAML_SCALAR, YAML_LIST, YAML_MAP };

struct yaml {
    enum yaml_kind kind;
    unsigned line;            /* from 1, where the value begins */
    struct str key;           /* in a mapping: its key and the key's line */
    unsigned key_line;
    struct str text;          /* scalars: NUL-terminated, without NUL inside */
    bool plain;               /* scalars: written without quotes */
    struct yaml *first, *next; /* children of lists and mappings; the next sibling */
    unsigned n;               /* number of children */
};

/* The tree of a text whose root is a mapping (a text without content is an empty one); all of it in the
 * arena. NULL with "name:line: what was found, what would be right" in err. */
struct yaml *yaml_parse(struct arena *, const char *name, struct str text, struct err *);

/* Nothing, null or ~ written without quotes. */
bool yaml_is_null(const struct yaml *);
