#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#include "base/ensure.h"

void *mem_alloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    ensure(p != NULL);
    return p;
}

void *mem_zalloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    ensure(p != NULL);
    return p;
}

void *mem_realloc(void *p, size_t n)
{
    p = realloc(p, n ? n : 1);
    ensure(p != NULL);
    return p;
}

char *mem_strdup(const char *z)
{
    return mem_strndup(z, strlen(z));
}

char *mem_strndup(const char *p, size_t n)
{
    char *copy = mem_alloc(n + 1);
    memcpy(copy, p, n);
    copy[n] = 0;
    return copy;
}
