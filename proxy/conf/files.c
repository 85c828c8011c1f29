#include "conf/files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/yaml.h"

static const char *const names[] = {
#define X(id, file, top) file,
    CONF_FILES(X)
#undef X
};

static const char *const tops[] = {
#define X(id, file, top) top,
    CONF_FILES(X)
#undef X
};

static const char system_folder[] = "/etc/quiver";

const char *files_name(enum conf_file file)
{
    return names[file];
}

const char *files_top(enum conf_file file)
{
    return tops[file];
}

const char *files_env(char *const *environment, const char *name)
{
    size_t n = strlen(name);
    for (; environment && *environment; environment++)
        if (strncmp(*environment, name, n) == 0 && (*environment)[n] == '=')
            return (*environment)[n + 1] ? *environment + n + 1 : NULL;
    return NULL;
}

bool files_slurp(struct arena *a, const char *path, size_t most, struct str *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(err, "%s: cannot be read: %s", path, strerror(errno));
    char *bytes = arena_alloc(a, most + 1);
    size_t n = 0;
    ssize_t got = 0;
    while (n <= most && ((got = read(fd, bytes + n, most + 1 - n)) > 0 || (got < 0 && errno == EINTR)))
        n += got > 0 ? (size_t)got : 0;
    int why = got < 0 ? errno : 0;
    close(fd);
    if (why)
        return err_set(err, "%s: cannot be read: %s", path, strerror(why));
    if (n > most)
        return err_set(err, "%s:1: the file is larger than %s, expected less", path,
                       most == YAML_BYTES_MAX ? "1 MB" : "4 KB");
    *out = str_slice(bytes, n);
    return true;
}

static bool add(struct arena *a, const char *path, enum conf_file file, bool is_whole, struct conf_texts *out,
                struct err *err)
{
    struct conf_text *text = &out->text[out->n];
    *text = (struct conf_text){path, file, is_whole, STR_NONE};
    if (!files_slurp(a, path, YAML_BYTES_MAX, &text->text, err))
        return false;
    out->n++;
    return true;
}

static bool add_folder(struct arena *a, const char *folder, struct conf_texts *out, struct err *err)
{
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/')
        n--;
    for (unsigned i = 0; i < CONF_FILE_COUNT; i++) {
        const char *path = arena_printf(a, "%.*s/%s", (int)n, folder, names[i]).p;
        struct stat st;
        bool missing = lstat(path, &st) != 0 && errno == ENOENT; /* a link that leads nowhere is there: what it stood for is not left out */
        if (!missing && !add(a, path, i, false, out, err))
            return false;
    }
    return true;
}

static void add_shipped(struct arena *a, struct conf_texts *out)
{
    for (unsigned i = 0; i < CONF_FILE_COUNT; i++)
        for (unsigned k = 0; k < n_shipped_files; k++)
            if (strcmp(names[i], shipped_files[k].name) == 0)
                out->text[out->n++] =
                    (struct conf_text){arena_printf(a, "shipped:%s", names[i]).p, i, false,
                                       str_slice(shipped_files[k].bytes, shipped_files[k].n)};
}

bool files_read(struct arena *a, const char *path, char *const *environment, struct conf_texts *out,
                struct err *err)
{
    struct stat st;
    out->n = 0;
    if (!path)
        path = files_env(environment, "QUIVER_CONF");
    if (path) {
        if (stat(path, &st) != 0)
            return err_set(err, "%s: cannot be read: %s; expected a file or a folder with quiver.yaml", path,
                           strerror(errno));
        if (!S_ISDIR(st.st_mode))
            return add(a, path, CONF_QUIVER, true, out, err);
        if (!add_folder(a, path, out, err))
            return false;
        return out->n > 0 ||
               err_set(err, "%s: holds none of the five files, expected at least quiver.yaml", path);
    }
    if (stat(system_folder, &st) == 0 && S_ISDIR(st.st_mode) && !add_folder(a, system_folder, out, err))
        return false;
    if (out->n == 0)
        add_shipped(a, out);
    return true;
}
