/* doc.h - small JSON documents: what lies at a dotted path, and numbers as they are. Any thread; no I/O.
 * Keys with a dot in them (names of vectors) are never parts of a path here: they are looked up by doc_get.
 */
#pragma once

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* The member, or NULL; object may be NULL or no object. Keys are compared with case. */
cJSON *doc_get(const cJSON *object, const char *key);
/* dotted: "hnsw_config.m"; NULL if any step is missing; null counts as there. */
cJSON *doc_at(const cJSON *object, const char *dotted);

bool doc_is_set(const cJSON *item);             /* there and not null */
bool doc_u64(const cJSON *item, uint64_t *out); /* a whole number from 0 to 2^53 */
const char *doc_text(const cJSON *item);        /* NULL: no string */

/* A whole answer's "result"; takes nothing: *doc is the parsed document to delete (NULL if it does not
 * parse). */
cJSON *doc_result(struct str body, cJSON **doc);

/* An error answer's sentence, else the start of the body, at most n - 1 bytes; returns buf. */
const char *doc_error(struct str body, char *buf, size_t n);

/* "model=a collection=b" for a line in the log: collections may be named by whoever may make them. Returns out. */
enum { DOC_WHOSE_MAX = 640 };
const char *doc_whose(char out[static DOC_WHOSE_MAX], const char *model, const char *collection);

cJSON *doc_bytes(uint64_t n); /* a number; exact to 2^53 */
