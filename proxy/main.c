/* main.c - the table of contents: arguments, configuration, run. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "server/cli.h"
#include "server/server.h"

static int usage(const struct err *err)
{
    fprintf(stderr, "quiver: %s\n", err->text);
    return EXIT_USAGE;
}

static int print_check(const struct conf *conf)
{
    printf("ok\n");
    for (unsigned i = 0; i < conf->n_models; i++)
        printf("%s\n", conf->model[i].name);
    return EXIT_OK;
}

/* Who started us may have closed some of 0, 1 and 2: the next files and sockets would get their numbers, and what is meant for stderr. */
static void hold_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    struct args args;
    struct err err = {{0}};
    int code = EXIT_OK;
    hold_standard_descriptors();
    if (cli_wants(argc > 1 ? argv[1] : NULL))
        return cli_main(argc, argv);
    if (!args_parse(argc, argv, &args, &err)) {
        code = usage(&err);
    } else if (args.version) {
        printf("quiver %s\n", QUIVER_VERSION);
    } else if (args.help) {
        args_help(stdout);
    } else {
        struct conf_sources sources = server_sources(&args);
        struct conf *conf = conf_load(&sources, &err);
        if (!conf) {
            fprintf(stderr, "%s\n", err.text);
            code = EXIT_CONFIG;
        } else if (args.check || args.dump) {
            if (args.check)
                code = print_check(conf);
            if (args.dump)
                conf_dump(conf, &sources, stdout);
            conf_put(&conf);
        } else {
            code = server_run(&args, &sources, conf);
        }
    }
    args_fini(&args);
    return code;
}
