#include "base/ensure.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void ensure_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "level=fatal event=broken_invariant at=%s:%d what=\"%s\"\n", file, line, what);
    abort();
}
