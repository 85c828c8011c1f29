/* bytes.h - what a byte may be part of in HTTP/1 (RFC 9110 §5.6.2, §5.5; RFC 3986): one table for
 * heads and chunks. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum byte_class {
    BYTE_TOKEN = 1,  /* tchar: methods, field names, connection options, codings */
    BYTE_VALUE = 2,  /* field values, reason phrases, chunk extensions: HTAB, SP, VCHAR, 0x80 and above */
    BYTE_TARGET = 4, /* request targets: 0x21..0x7e but '#' */
    BYTE_HOST = 8,   /* reg-name but '%' and ',': unreserved and the other sub-delims */
};

extern const uint8_t byte_classes[256];

static inline bool byte_is(char c, unsigned classes)
{
    return byte_classes[(unsigned char)c] & classes;
}
