/* tree.h - small JSON documents of the control API as trees: strict reading with the place of a fault,
 * building, writing. Numbers keep the text they came with, so nothing that passes through is changed. Pure:
 * no I/O. Any thread. Nodes and their texts lie in an arena (or in the text that was read) and die with it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

enum {
    TREE_DEPTH_MAX = 64,
    TREE_NODES_MAX = 100000, /* a vector has 65,536 numbers at most */
    TREE_KEYS_MAX = 1000,    /* of one object */
};

enum node_kind {
    NODE_NULL,
    NODE_FALSE,
    NODE_TRUE,
    NODE_NUMBER,   /* text: as it is written */
    NODE_STRING,   /* text: decoded */
    NODE_LIST,
    NODE_OBJECT,
    NODE_RAW,      /* text: JSON that is written out as it is */
    NODE_ENUM,     /* GraphQL only: a bare word */
    NODE_VARIABLE, /* GraphQL only: text is its name */
};

struct node {
    enum node_kind kind;
    unsigned line, column;  /* where it begins, from 1; 0: it was built */
    unsigned n;             /* members or items */
    struct str text, key;   /* key: as a member of an object */
    struct node *first, *last, *next;
};

/* The whole text must be one JSON value (RFC 8259: no trailing commas, comments, NaN, lone surrogates, bytes
 * that are not UTF-8), without the same key twice in an object, within the limits above. NULL with "line 2,
 * column 7: found ..., expected ..." */
struct node *tree_read(struct arena *, struct str text, struct err *);

const char *node_kind_name(enum node_kind); /* "a string" */

struct node *node_get(const struct node *object, struct str key); /* NULL: no such member, or no object */

/* Building. Texts are not copied. */
struct node *node_new(struct arena *, enum node_kind, struct str text);
struct node *node_object(struct arena *);
struct node *node_list(struct arena *);
struct node *node_text(struct arena *, struct str);   /* p NULL: null */
struct node *node_bool(struct arena *, bool);
struct node *node_uint(struct arena *, uint64_t);
struct node *node_real(struct arena *,
                       double); /* shortest text that reads back the same; null unless finite */
struct node *node_raw(struct arena *, struct str);
/* Appends (key STR_NONE for lists) and returns the child. */
struct node *node_add(struct node *parent, struct str key, struct node *child);

/* Text on the heap that grows. */
struct text {
    char *p;
    size_t n, cap;
};
void text_add(struct text *, struct str);
void text_quote(struct text *, struct str); /* as a JSON string */
void text_free(struct text *);
void node_write(struct text *, const struct node *);
