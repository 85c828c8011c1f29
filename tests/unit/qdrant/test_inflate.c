/* Compressed answers to writes: made with zlib itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <zlib.h>

#include "qdrant/inflate.h"

#define TEXT "{\"result\":{\"operation_id\":7,\"status\":\"acknowledged\"},\"status\":\"ok\",\"time\":0.00001}"

static struct str packed(char out[static 512], int window)
{
    z_stream z = {.next_in = (Bytef *)TEXT, .avail_in = sizeof TEXT - 1, .next_out = (Bytef *)out, .avail_out = 512};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, window, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t n = 512 - z.avail_out;
    deflateEnd(&z);
    return str_slice(out, n);
}

static void gzip_and_deflate_are_read(void **state)
{
    struct arena arena;
    struct str plain;
    char out[512];
    (void)state;
    arena_init(&arena, NULL, 0);
    assert_true(inflate_small(&arena, STR("gzip"), packed(out, 16 + MAX_WBITS), 4096, &plain));
    assert_true(str_eq(plain, STR(TEXT)));
    assert_true(inflate_small(&arena, STR("deflate"), packed(out, MAX_WBITS), 4096, &plain));
    assert_true(str_eq(plain, STR(TEXT)));
    arena_fini(&arena);
}

static void what_is_cut_broken_longer_or_of_another_coding_is_not(void **state)
{
    struct arena arena;
    struct str plain, body;
    char out[512];
    (void)state;
    arena_init(&arena, NULL, 0);
    body = packed(out, 16 + MAX_WBITS);
    assert_false(inflate_small(&arena, STR("br"), body, 4096, &plain));
    assert_false(inflate_small(&arena, STR("gzip"), str_slice(body.p, body.n - 1), 4096, &plain));
    assert_false(inflate_small(&arena, STR("gzip"), body, sizeof TEXT - 2, &plain));
    out[20] ^= 0x55;
    assert_false(inflate_small(&arena, STR("gzip"), body, 4096, &plain));
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gzip_and_deflate_are_read),
        cmocka_unit_test(what_is_cut_broken_longer_or_of_another_coding_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
