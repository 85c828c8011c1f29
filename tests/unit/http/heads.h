/* heads.h - what the head tests share: a table whose rows become tests of their own, and parsing in one piece
 * or in many.
 * Bytes are parsed from a heap copy of their exact length, so that the sanitizer sees a read beyond them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "http/head.h"

enum { HEADS_TESTS_MAX = 256 };

struct outcome {
    enum http_result result;
    size_t head_n;
    struct http_refusal no;
    struct http_head head; /* slices lie in the test's own bytes */
};

typedef enum http_result parse_fn(const char *in, size_t n, size_t *scanned, struct http_head *head,
                                  size_t *head_n, struct http_refusal *refusal);

static inline void move_slice(struct str *s, const char *from, const char *to)
{
    if (s->p)
        s->p = to + (s->p - from);
}

static inline void move_slices(struct http_head *h, const char *from, const char *to)
{
    struct str *own[] = {&h->raw, &h->method, &h->target, &h->path, &h->query, &h->reason};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        move_slice(own[i], from, to);
    for (unsigned i = 0; i < h->n_fields; i++) {
        move_slice(&h->field[i].name, from, to);
        move_slice(&h->field[i].value, from, to);
        move_slice(&h->field[i].line, from, to);
    }
}

/* Gives the parser the first n bytes, in a block of exactly that size. */
static inline void parse_step(parse_fn *parse, struct str in, size_t n, size_t *scanned, struct outcome *out)
{
    char *copy = mem_alloc(n);
    if (n)
        memcpy(copy, in.p, n);
    out->result = parse(copy, n, scanned, &out->head, &out->head_n, &out->no);
    if (out->result == HTTP_DONE)
        move_slices(&out->head, copy, in.p);
    free(copy);
}

static inline void parse_at_once(parse_fn *parse, struct str in, struct outcome *out)
{
    size_t scanned = 0;
    *out = (struct outcome){0};
    parse_step(parse, in, in.n, &scanned, out);
}

/* First `cut` bytes, then, if the parser asks for more, all of them. */
static inline void parse_in_two(parse_fn *parse, struct str in, size_t cut, struct outcome *out)
{
    size_t scanned = 0;
    *out = (struct outcome){0};
    parse_step(parse, in, cut, &scanned, out);
    if (out->result == HTTP_MORE)
        parse_step(parse, in, in.n, &scanned, out);
}

static inline void parse_dripped(parse_fn *parse, struct str in, struct outcome *out)
{
    size_t scanned = 0;
    *out = (struct outcome){0};
    for (size_t n = 0; n <= in.n && out->result == HTTP_MORE; n++)
        parse_step(parse, in, n, &scanned, out);
}

static inline void assert_slice(struct str got, struct str want)
{
    if (!str_eq(got, want))
        fail_msg("got '%.*s', expected '%.*s'", STR_ARG(got), STR_ARG(want));
}

static inline void assert_same_slice(struct str a, struct str b)
{
    assert_ptr_equal(a.p, b.p);
    assert_int_equal(a.n, b.n);
}

static inline void assert_same_head(const struct http_head *a, const struct http_head *b)
{
    assert_same_slice(a->raw, b->raw);
    assert_same_slice(a->method, b->method);
    assert_same_slice(a->target, b->target);
    assert_same_slice(a->path, b->path);
    assert_same_slice(a->query, b->query);
    assert_same_slice(a->reason, b->reason);
    assert_int_equal(a->status, b->status);
    assert_int_equal(a->minor, b->minor);
    assert_int_equal(a->framing, b->framing);
    assert_int_equal(a->length, b->length);
    assert_int_equal(a->keep_alive, b->keep_alive);
    assert_int_equal(a->expect_continue, b->expect_continue);
    assert_int_equal(a->is_head_method, b->is_head_method);
    assert_int_equal(a->n_fields, b->n_fields);
    for (unsigned i = 0; i < a->n_fields; i++) {
        assert_same_slice(a->field[i].name, b->field[i].name);
        assert_same_slice(a->field[i].value, b->field[i].value);
        assert_same_slice(a->field[i].line, b->field[i].line);
        assert_int_equal(a->field[i].id, b->field[i].id);
        assert_int_equal(a->field[i].hop, b->field[i].hop);
    }
    assert_memory_equal(a->first, b->first, sizeof a->first);
    assert_memory_equal(a->count, b->count, sizeof a->count);
}

/* However the bytes arrive, the outcome is the same; a refusal may come with fewer bytes, but with the same
 * status. */
static inline void assert_same_for_every_cut(parse_fn *parse, struct str in)
{
    struct outcome *whole = mem_zalloc(sizeof *whole), *cut = mem_zalloc(sizeof *cut);
    parse_at_once(parse, in, whole);
    for (size_t at = 0; at <= in.n + 1; at++) {
        if (at <= in.n)
            parse_in_two(parse, in, at, cut);
        else
            parse_dripped(parse, in, cut);
        assert_int_equal(cut->result, whole->result);
        if (whole->result == HTTP_REFUSED)
            assert_int_equal(cut->no.status, whole->no.status);
        if (whole->result != HTTP_DONE)
            continue;
        assert_int_equal(cut->head_n, whole->head_n);
        assert_same_head(&cut->head, &whole->head);
    }
    free(whole);
    free(cut);
}
