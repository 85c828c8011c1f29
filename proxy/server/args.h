/* args.h - the command line. Main thread. What it points to are argv's own strings, which must outlive it. */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "conf/conf.h"

struct args {
    struct conf_flags flags;
    bool check, dump, version, help; /* -t, -T, --version, --help */
    const char **listen, **upstream; /* what flags.listen and flags.upstream point to */
};

/* false: a usage error, one sentence in err; args_fini either way. */
bool args_parse(int argc, char **argv, struct args *out, struct err *);
void args_fini(struct args *);

void args_help(FILE *out); /* one screen */
