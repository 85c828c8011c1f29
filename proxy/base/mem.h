/* mem.h - heap memory that is there or the process ends: sizes chosen by a client are checked against a ceiling before. */
#pragma once

#include <stddef.h>

void *mem_alloc(size_t n);               /* not zeroed; n may be 0 */
void *mem_zalloc(size_t n);              /* zeroed */
void *mem_realloc(void *p, size_t n);    /* as realloc(3) */
char *mem_strdup(const char *z);
char *mem_strndup(const char *p, size_t n); /* NUL-terminated copy of n bytes */
/* all of it goes back by free(3) */
