/* chunk.h - the chunked transfer coding, strict: incremental decoder over slices, and the encoder's line.
 * Sizes: 1-16 hex digits, at most 2^63-1; extensions skipped (256 bytes at most a chunk, the ';' counted);
 * trailer lines checked like fields, bounded (8 KB in all, CRLFs counted), dropped. No I/O, no copies. One
 * owner a decoder. */
#pragma once

#include "base/str.h"

struct chunk_decoder {
    unsigned state;
    uint64_t left;            /* data bytes left in the current chunk */
    unsigned n_digits;        /* of the current size */
    unsigned n_line;          /* bytes of the current extension */
    unsigned n_trailer_bytes; /* of all trailer lines */
};

enum chunk_result {
    CHUNK_DATA, /* *data is the next slice of body, inside in; call again with what follows *used */
    CHUNK_MORE, /* all of in was used, nothing of the body in it: read on */
    CHUNK_END,  /* the body is over; *used bytes of in belonged to it */
    CHUNK_BAD,  /* malformed: the connection cannot be used any more */
};

void chunk_init(struct chunk_decoder *);

/* Takes *used bytes of in. Never reads past the end of the body: what follows CHUNK_END is the next message.
 * *data is STR_NONE but for CHUNK_DATA, where it has at least one byte. Called after CHUNK_END or CHUNK_BAD,
 * it says the same again and takes nothing. */
enum chunk_result chunk_decode(struct chunk_decoder *, struct str in, size_t *used, struct str *data);

/* Writes "<hex>\r\n" for a chunk of n > 0 bytes; returns its length. The data and "\r\n" follow it. */
size_t chunk_line(char out[static 20], uint64_t n);
#define CHUNK_LAST STR("0\r\n\r\n")
