/* err.h - an error as a value: the sentence is made where the fact is known and shown unchanged. */
#pragma once

#include <stdbool.h>

struct err {
    char text[512]; /* NUL-terminated; cut, never overrun */
};

/* Formats the sentence and returns false, so that a failing function can end with: return err_set(err, ...). err may be NULL. */
bool err_set(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
