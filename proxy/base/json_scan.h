/* json_scan.h - walks JSON text without building anything: where does a value begin and end, which keys has an object.
 * Skipping a long array of numbers (a vector) runs at memory speed. Strict enough that what it accepts, serde_json reads the same way,
 * where quiver relies on it. No recursion deeper than the caller allows. Any thread. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct json {
    const char *at, *end; /* what is left of the text */
};

enum json_kind { JSON_BAD, JSON_NULL, JSON_TRUE, JSON_FALSE, JSON_NUMBER, JSON_STRING, JSON_OBJECT, JSON_ARRAY };

/* Skips blanks and tells what comes next by its first byte; JSON_BAD at the end or at a byte that starts no value. */
enum json_kind json_peek(struct json *);

/* Steps over one whole value; *value is its text. Brackets must match and strings end; nesting at most depth_max levels; false otherwise.
 * Numbers inside skipped arrays are not validated. */
bool json_skip(struct json *, unsigned depth_max, struct str *value);

/* Objects: json_enter(j, '{') then json_key until it returns false. After each key the caller consumes exactly one value.
 * *escaped: the key is written with a backslash (its text is as written, not decoded). json_key sets *bad on malformed text. */
bool json_enter(struct json *, char bracket);
bool json_key(struct json *, bool *first, struct str *key, bool *escaped, bool *bad);
/* Arrays: the same without keys. */
bool json_item(struct json *, bool *first, bool *bad);

/* Nothing but blanks is left. */
bool json_at_end(struct json *);

/* Decodes a string's text (with its quotes) into out (at least text.n bytes); false if it is malformed or has lone surrogates. */
bool json_unescape(struct str text, char *out, size_t *n);

/* Appends s as a quoted JSON string to out (room for 6*s.n + 2 bytes); returns its length. Bytes that are not UTF-8 become U+FFFD. */
size_t json_quote(char *out, struct str s);
