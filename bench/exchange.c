#include "exchange.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MARK_BYTES = 40 }; /* two numbers of a vector, as clients print them */

static void fail(const char *path, const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", path, what);
    exit(2);
}

/* FNV-1a over the vector's first bytes; 0 if there is no vector. */
static uint64_t mark_of(const char *text, size_t n)
{
    const char *at = memchr(text, '[', n);
    if (!at || (size_t)(text + n - at) < MARK_BYTES)
        return 0;
    uint64_t mark = 14695981039346656037u;
    for (int i = 1; i < MARK_BYTES; i++)
        mark = (mark ^ (unsigned char)at[i]) * 1099511628211u;
    return mark ? mark : 1;
}

static size_t slot_of(const struct bodies *b, uint64_t mark)
{
    size_t i = mark & (b->n_slots - 1);
    while (b->slot[i].at && b->slot[i].mark != mark)
        i = (i + 1) & (b->n_slots - 1);
    return i;
}

int bodies_find(const struct bodies *b, const char *text, size_t n)
{
    uint64_t mark = mark_of(text, n);
    return mark ? (int)b->slot[slot_of(b, mark)].at - 1 : -1;
}

static void add(struct bodies *b, const char *path, const char *text, size_t n)
{
    uint64_t mark = mark_of(text, n);
    size_t i = slot_of(b, mark);
    if (!mark)
        fail(path, "a line without a vector, expected JSON bodies, one a line");
    if (b->slot[i].at)
        fail(path, "two bodies begin with the same numbers, expected different vectors");
    b->at[b->n] = (struct body){text, n};
    b->slot[i].mark = mark;
    b->slot[i].at = (uint32_t)++b->n;
}

void bodies_read(struct bodies *b, const char *path)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st))
        fail(path, strerror(errno));
    const char *text = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE | MAP_POPULATE, fd, 0);
    if (text == MAP_FAILED)
        fail(path, strerror(errno));
    close(fd);
    const char *end = text + st.st_size, *line_end;
    size_t n_lines = 0;
    for (const char *p = text; p < end && (p = memchr(p, '\n', (size_t)(end - p))); p++)
        n_lines++;
    *b = (struct bodies){.n_slots = 64};
    while (b->n_slots < 2 * n_lines)
        b->n_slots *= 2;
    b->slot = calloc(b->n_slots, sizeof *b->slot);
    b->at = calloc(n_lines + 1, sizeof *b->at);
    for (const char *p = text; p < end && (line_end = memchr(p, '\n', (size_t)(end - p))); p = line_end + 1)
        add(b, path, p, (size_t)(line_end - p));
    if (!b->n)
        fail(path, "no line in it, expected JSON bodies, one a line");
}

char *answer_make(const struct body *of, size_t n_least, size_t *n)
{
    uint64_t mark = mark_of(of->text, of->n);
    char *text = malloc(n_least + 256);
    size_t at = (size_t)sprintf(text, "{\"result\":[");
    for (uint64_t i = 0; i == 0 || at < n_least; i++)
        at += (size_t)sprintf(text + at, "%s{\"id\":%012llu,\"version\":12,\"score\":0.%08llu}", i ? "," : "",
                              (unsigned long long)(100000000000u + (mark + i) % 900000000000u),
                              (unsigned long long)((mark >> 20) + i) % 100000000u);
    at += (size_t)sprintf(text + at, "],\"status\":\"ok\",\"time\":0.000123456}");
    *n = at;
    return text;
}

bool head_length(const char *head, size_t n, uint64_t *length)
{
    for (const char *line = head; (line = memchr(line, '\n', n - (size_t)(line - head)));) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            *length = strtoull(line + 15, NULL, 10);
            return true;
        }
    }
    return false;
}

bool answer_same(const char *got, size_t n_got, const char *want, size_t n_want)
{
    if (n_got != n_want || memcmp(got, want, n_want - ANSWER_TIME - 1) != 0 || got[n_want - 1] != '}')
        return false;
    const char *time = got + n_want - ANSWER_TIME - 1;
    for (int i = 0; i < ANSWER_TIME; i++)
        if (i == 1 ? time[i] != '.' : time[i] < '0' || time[i] > '9')
            return false;
    return true;
}
