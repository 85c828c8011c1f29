#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/args.c" /* its layer links everything; this file needs none of that */

enum { WORDS_MAX = 32 };

static struct args args;
static struct err err;

/* "quiver" and the words of the line; static, as argv is. */
static bool parses(const char *line)
{
    static char copy[512];
    static char *argv[WORDS_MAX];
    int argc = 0;
    args_fini(&args);
    strcpy(copy, line);
    argv[argc++] = (char *)"quiver";
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return args_parse(argc, argv, &args, &err);
}

static void refuses(const char *line, const char *expected)
{
    assert_false(parses(line));
    assert_string_equal(err.text, expected);
}

static int teardown(void **state)
{
    args_fini(&args);
    return 0;
}

static void nothing_given_is_nothing_set(void **state)
{
    assert_true(parses(""));
    assert_null(args.flags.path);
    assert_int_equal(args.flags.n_listen, 0);
    assert_int_equal(args.flags.cache, -1);
    assert_int_equal(args.flags.rewrite, -1);
    assert_int_equal(args.flags.workers, -1);
    assert_false(args.check || args.dump || args.help || args.version);
}

static void every_flag_arrives(void **state)
{
    assert_true(parses("-c conf --listen 1 --listen=[::1]:2 --api off --upstream http://a:1 --upstream "
                       "http://b:1 --redis off "
                       "--cache off --rewrite on --workers 0 --pid /run/q.pid -t"));
    assert_string_equal(args.flags.path, "conf");
    assert_int_equal(args.flags.n_listen, 2);
    assert_string_equal(args.flags.listen[1], "[::1]:2");
    assert_int_equal(args.flags.n_upstream, 2);
    assert_string_equal(args.flags.upstream[0], "http://a:1");
    assert_string_equal(args.flags.api, "off");
    assert_string_equal(args.flags.redis, "off");
    assert_int_equal(args.flags.cache, 0);
    assert_int_equal(args.flags.rewrite, 1);
    assert_int_equal(args.flags.workers, 0);
    assert_string_equal(args.flags.pid_file, "/run/q.pid");
    assert_true(args.check);
    assert_true(parses("-T"));
    assert_true(args.dump);
    assert_true(parses("--version --help"));
    assert_true(args.version && args.help);
}

static void usage_errors_are_one_sentence(void **state)
{
    refuses("--nonsense", "--nonsense is not a flag of quiver; quiver --help lists them");
    refuses("-x", "-x is not a flag of quiver; quiver --help lists them");
    refuses("-tx", "-x is not a flag of quiver; quiver --help lists them");
    refuses("-c", "-c needs a value; quiver --help lists the flags");
    refuses("--listen", "--listen needs a value; quiver --help lists the flags");
    refuses("--help=now", "--help=now takes no value; quiver --help lists the flags");
    refuses("--cache yes", "--cache takes on or off, found 'yes'");
    refuses("--rewrite 1", "--rewrite takes on or off, found '1'");
    refuses("--workers -1", "--workers takes a number from 0 (one per core) to 256, found '-1'");
    refuses("--workers 257", "--workers takes a number from 0 (one per core) to 256, found '257'");
    refuses("conf/", "'conf/' is more than quiver takes; a configuration is named by -c");
    refuses("-t -T", "-t and -T exclude each other");
}

static void the_help_fits_on_a_screen(void **state)
{
    unsigned n_lines = 0, n_columns = 0;
    for (const char *c = help_text; *c; c++, n_columns++)
        if (*c == '\n') {
            assert_true(n_columns <= 100);
            n_columns = 0;
            n_lines++;
        }
    assert_true(n_lines <= 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(nothing_given_is_nothing_set, teardown),
        cmocka_unit_test_teardown(every_flag_arrives, teardown),
        cmocka_unit_test_teardown(usage_errors_are_one_sentence, teardown),
        cmocka_unit_test(the_help_fits_on_a_screen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
