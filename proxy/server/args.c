#include "server/args.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum flag {
    FLAG_HELP = 256,
    FLAG_VERSION,
    FLAG_LISTEN,
    FLAG_API,
    FLAG_UPSTREAM,
    FLAG_REDIS,
    FLAG_CACHE,
    FLAG_REWRITE,
    FLAG_WORKERS,
    FLAG_PID,
};

static const struct option options[] = {
    {"listen", required_argument, NULL, FLAG_LISTEN},   {"api", required_argument, NULL, FLAG_API},
    {"upstream", required_argument, NULL, FLAG_UPSTREAM}, {"redis", required_argument, NULL, FLAG_REDIS},
    {"cache", required_argument, NULL, FLAG_CACHE},     {"rewrite", required_argument, NULL, FLAG_REWRITE},
    {"workers", required_argument, NULL, FLAG_WORKERS}, {"pid", required_argument, NULL, FLAG_PID},
    {"version", no_argument, NULL, FLAG_VERSION},       {"help", no_argument, NULL, FLAG_HELP},
    {NULL, 0, NULL, 0},
};

static const char help_text[] =
    "quiver - a proxy that stands in Qdrant's place and makes each model's collection faster\n"
    "\n"
    "  quiver [-c FILE|DIR] [--upstream URL]... [flags]\n"
    "  quiver plan|apply|rollback|test|health|ready   asks the quiver that runs: quiver plan --help\n"
    "\n"
    "  -c FILE|DIR       configuration; without it $QUIVER_CONF, /etc/quiver, or what is compiled in\n"
    "  --upstream URL    Qdrant, as http://HOST:PORT; again for more servers of the same group\n"
    "  --listen WHERE    where clients connect (6333); again for more places\n"
    "  --api WHERE|off   the control port: /healthz, /readyz, /metrics (8000)\n"
    "  --redis URL|off   redis://[user:password@]HOST[:PORT][/DB] or unix:/path\n"
    "  --cache on|off    answer repeated reads from memory and Redis (on)\n"
    "  --rewrite on|off  set search parameters as the models' files say (on)\n"
    "  --workers N       event loops; 0: one per core (0)\n"
    "  --pid FILE        write the process id there\n"
    "  -t                check the configuration: the first error as file:line, or ok and the models\n"
    "  -T                print the effective configuration, as -c takes it\n"
    "  --version, --help\n"
    "\n"
    "  WHERE is PORT (127.0.0.1 and ::1), ADDR:PORT, [IPv6]:PORT or unix:/path.\n"
    "  Flags win over the environment (QUIVER_..., MODEL_<KEY>_<MODEL>), which wins over files.\n"
    "  SIGHUP reads the configuration again, SIGUSR1 reopens logs, SIGTERM stops after what runs.\n"
    "  Exit codes: 0 ok, 1 configuration, 2 usage, 3 cannot listen.\n";

void args_help(FILE *out)
{
    fputs(help_text, out);
}

static bool on_off(const char *flag, const char *text, int *out, struct err *err)
{
    *out = strcmp(text, "on") == 0;
    return *out || strcmp(text, "off") == 0 || err_set(err, "%s takes on or off, found '%s'", flag, text);
}

static bool workers_of(const char *text, int *out, struct err *err)
{
    uint64_t n;
    if (!str_u64(str_of(text), CONF_WORKERS_MAX, &n))
        return err_set(err, "--workers takes a number from 0 (one per core) to %d, found '%s'", CONF_WORKERS_MAX,
                       text);
    *out = (int)n;
    return true;
}

static bool unknown(char **argv, int found, struct err *err)
{
    const char *text = argv[optind - 1];
    if (found == ':')
        return err_set(err, "%s needs a value; quiver --help lists the flags", text);
    if (optopt > 0 && optopt < FLAG_HELP)
        return err_set(err, "-%c is not a flag of quiver; quiver --help lists them", optopt);
    if (optopt >= FLAG_HELP)
        return err_set(err, "%s takes no value; quiver --help lists the flags", text);
    return err_set(err, "%s is not a flag of quiver; quiver --help lists them", text);
}

static bool take(struct args *out, int found, char **argv, struct err *err)
{
    struct conf_flags *flags = &out->flags;
    switch (found) {
    case 'c':
        flags->path = optarg;
        return true;
    case 't':
        return out->check = true;
    case 'T':
        return out->dump = true;
    case FLAG_HELP:
        return out->help = true;
    case FLAG_VERSION:
        return out->version = true;
    case FLAG_LISTEN:
        out->listen[flags->n_listen++] = optarg;
        return true;
    case FLAG_API:
        flags->api = optarg;
        return true;
    case FLAG_UPSTREAM:
        out->upstream[flags->n_upstream++] = optarg;
        return true;
    case FLAG_REDIS:
        flags->redis = optarg;
        return true;
    case FLAG_CACHE:
        return on_off("--cache", optarg, &flags->cache, err);
    case FLAG_REWRITE:
        return on_off("--rewrite", optarg, &flags->rewrite, err);
    case FLAG_WORKERS:
        return workers_of(optarg, &flags->workers, err);
    case FLAG_PID:
        flags->pid_file = optarg;
        return true;
    default:
        return unknown(argv, found, err);
    }
}

bool args_parse(int argc, char **argv, struct args *out, struct err *err)
{
    int found;
    *out = (struct args){.flags = {.cache = -1, .rewrite = -1, .workers = -1}};
    out->listen = mem_alloc((size_t)argc * sizeof *out->listen);
    out->upstream = mem_alloc((size_t)argc * sizeof *out->upstream);
    out->flags.listen = out->listen;
    out->flags.upstream = out->upstream;
    optind = 0; /* a fresh start, also for tests */
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":c:tT", options, NULL)) != -1)
        if (!take(out, found, argv, err))
            return false;
    if (optind < argc)
        return err_set(err, "'%s' is more than quiver takes; a configuration is named by -c", argv[optind]);
    return !(out->check && out->dump) || err_set(err, "-t and -T exclude each other");
}

void args_fini(struct args *args)
{
    free(args->listen);
    free(args->upstream);
    *args = (struct args){0};
}
