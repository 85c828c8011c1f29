/* server.h - the process: configuration, listeners, threads, reload, drain. Main thread only. */
#pragma once

#include "server/args.h"

enum { EXIT_OK = 0, EXIT_CONFIG = 1, EXIT_USAGE = 2, EXIT_LISTEN = 3 };

/* Runs quiver with this configuration until a signal ends it; returns the exit code. Takes the reference to conf. */
int server_run(const struct args *, const struct conf_sources *, struct conf *);

/* The plugins' tables and the environment around the flags. Arrays are static. */
struct conf_sources server_sources(const struct args *);
