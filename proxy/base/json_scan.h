/* json_scan.h - walks JSON text without building anything: where does a value begin and end, which keys has
 * an object. Skipping a long array of numbers (a vector) runs at memory speed. Strict enough that what it
 * accepts, serde_json reads the same way, where quiver relies on it. No recursion deeper than the caller
 * allows. Any thread. */
#pragma once

#include <stdbool.h>

#include "base/str.h"

struct json {
    const char *at, *end; /* what is left of the text */
};

enum json_kind {
    JSON_BAD,
    JSON_NULL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_OBJECT,
    JSON_ARRAY
};

/* Skips blanks and tells what comes next by its first byte; JSON_BAD at the end or at a byte that starts no
 * value. */
enum json_kind json_peek(struct json *);

/* Steps over one whole value; *value is its text. Brackets must match and strings end; nesting at most
 * depth_max levels (`[]` and `{}` are one) and never over 512; false otherwise. A scalar must be well-formed;
 * what lies between brackets is not looked at but for strings and brackets, so a skipped value may still be
 * wrong JSON: whoever it is meant for decides. */
bool json_skip(struct json *, unsigned depth_max, struct str *value);

/* Steps over an array that holds neither strings nor brackets, such as a vector; false, and nothing moved, if
 * this is none. */
bool json_skip_flat(struct json *, struct str *value);

/* Objects: json_enter(j, '{') then json_key until it returns false. After each key the caller consumes
 * exactly one value. *key is the text between the quotes, which lie right before and behind it; *escaped: it
 * is written with a backslash (not decoded). json_key sets *bad on malformed text; nothing sets it back. */
bool json_enter(struct json *, char bracket);
bool json_key(struct json *, bool *first, struct str *key, bool *escaped, bool *bad);
/* Arrays: the same without keys. */
bool json_item(struct json *, bool *first, bool *bad);

/* Nothing but blanks is left. */
bool json_at_end(struct json *);

/* Decodes a string's text (with its quotes) into out (at least text.n bytes); false if it is malformed or has
 * lone surrogates. */
bool json_unescape(struct str text, char *out, size_t *n);

/* Appends s as a quoted JSON string to out (room for 6*s.n + 2 bytes); returns its length. Bytes that are not
 * UTF-8 become U+FFFD. */
size_t json_quote(char *out, struct str s);

/* How many of the n > 0 bytes at p are one character of UTF-8; 0 if they begin with none. */
unsigned utf8_length(const char *p, size_t n);

/* Writes a character (at most 0x10FFFF) as UTF-8; returns its length, 1 to 4. */
size_t utf8_put(char *out, unsigned c);

/* Whether the text is one number of JSON, and a whole one without sign, point or exponent. */
bool json_is_number(struct str text);
bool json_is_uint(struct str text);
