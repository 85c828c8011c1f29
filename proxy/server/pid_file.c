#include "server/pid_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static bool write_pid(const char *path, struct err *err)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set(err, "%s: cannot write the pid file: %s", path, strerror(errno));
    fprintf(f, "%ld\n", (long)getpid());
    return fclose(f) == 0 || err_set(err, "%s: cannot write the pid file: %s", path, strerror(errno));
}

/* Another quiver may have been started while this one drained, and have written its own. */
static bool is_own_pid(const char *path)
{
    long pid = 0;
    FILE *f = fopen(path, "re");
    bool found = f && fscanf(f, "%ld", &pid) == 1;
    if (f)
        fclose(f);
    return found && pid == (long)getpid();
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

bool pid_file_use(char **written, const char *path, struct err *err)
{
    char *before = *written;
    if (before && path && strcmp(before, path) == 0)
        return true;
    if (path && !write_pid(path, err))
        return false;
    *written = path ? mem_strdup(path) : NULL;
    if (before && !(path && is_same_file(before, path)) && is_own_pid(before))
        unlink(before);
    free(before);
    return true;
}
