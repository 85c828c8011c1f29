/* pid_file.h - the file that tells the process's id. Main thread. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* The file moves with `pid`: the new one is written, then the old one, *written, is removed. path NULL: there is none from now on.
 * *written: NULL, or the heap's. */
bool pid_file_use(char **written, const char *path, struct err *err);
