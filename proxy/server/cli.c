#include "server/cli.h"

#include <cjson/cJSON.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conf/where.h"
#include "server/cli_http.h"
#include "server/cli_show.h"
#include "server/server.h"
#include "tune/doc.h"

#define V1 "/api/v1"
enum { EXIT_FAILED = 1, EXIT_NOBODY = 3, EXIT_MISSED = 4, SECONDS_MAX = 60, PATH_LEN = 3000, JOB_LOOK_MS = 200 };

struct cli {
    const char *conf, *api, *points, *seconds;
    bool json, strict;
    char *const *model;
    unsigned n_models;
    struct arena arena;
    struct conf_where at;
    char *token;
    struct err err;
};

/* What a command is: how it asks, and how its outcome is shown. Its models go into the query, or into the
 * path. */
static const struct command {
    const char *word, *method, *path;
    bool in_path, is_job;
    unsigned models_max;
    void (*show)(const cJSON *, FILE *); /* NULL: the answer is a sentence, printed as it came */
    const char *help;
} commands[] = {
    {"health", "GET", "/healthz", false, false, 0, NULL, "exit code 0 while the process lives and answers"},
    {"ready", "GET", "/readyz", false, false, 0, NULL, "exit code 0 if requests may be sent, else why not"},
    {"plan", "GET", V1 "/optimizations/plan", false, false, 100, show_plan,
     "what Qdrant is, what is wished, and the PATCH between them"},
    {"apply", "POST", V1 "/optimizations/apply", false, true, 100, show_deed,
     "write what differs, read it back, wait for the index"},
    {"rollback", "POST", V1 "/optimizations/rollback", false, true, 1, show_deed,
     "take back all that was written since the last rollback"},
    {"test", "POST", V1 "/optimizations/test/", true, true, 1, show_test,
     "measure: baseline and optimised, cold and warm"},
};

static const struct option options[] = {
    {"api", required_argument, NULL, 'a'},
    {"points", required_argument, NULL, 'p'},
    {"seconds", required_argument, NULL, 's'},
    {"strict", no_argument, NULL, 'S'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static const struct command *command_of(const char *word)
{
    for (size_t i = 0; word && i < sizeof commands / sizeof *commands; i++)
        if (strcmp(word, commands[i].word) == 0)
            return &commands[i];
    return NULL;
}

bool cli_wants(const char *word)
{
    return command_of(word) != NULL;
}

static void print_help(FILE *f)
{
    fputs("usage: quiver COMMAND [-c FILE|DIR] [--api WHERE] [--points N] [--seconds N] [--strict]\n"
          "              [--json] [MODEL...]\n\n", f);
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(f, "  %-9s %s\n", commands[i].word, commands[i].help);
    fputs("\n  --api WHERE   the control port of the quiver that runs; default: as its configuration says\n"
          "  --points N    plan: memory for so many points\n"
          "  --seconds N   test: how long each model is measured (12)\n"
          "  --strict      test: exit with 4 when a target is missed\n"
          "  --json        the answer as it came\n"
          "  Without a MODEL: all. The token is taken from the configuration or QUIVER_API_TOKEN.\n"
          "  Exit codes: 0 well, 1 refused, failed, or a model could not be tested, 2 usage, 3 no quiver answers,\n"
          "  4 a target is missed (test --strict).\n",
          f);
}

static int usage(const struct cli *c)
{
    fprintf(stderr, "quiver: %s\n", c->err.text);
    return EXIT_USAGE;
}

/* ---- whom to ask ---- */

/* Only the address and the token are wanted, so that a missing upstream is no error. */
static struct conf *load(struct cli *c)
{
    static const char *const anything[] = {"http://127.0.0.1:9"};
    struct args args = {.flags = {.path = c->conf,
                                  .upstream = anything,
                                  .n_upstream = 1,
                                  .cache = -1,
                                  .rewrite = -1,
                                  .workers = -1}};
    struct conf_sources sources = server_sources(&args);
    return conf_load(&sources, &c->err);
}

/* Of the configuration that is here: the one for all, else the one for reading, which is enough to look; NULL: none. */
static const char *token_of(const struct conf *conf)
{
    if (conf && conf->process.api_token)
        return conf->process.api_token;
    if (conf && conf->process.api_read_token)
        return conf->process.api_read_token;
    return getenv("QUIVER_API_TOKEN");
}

static bool find_api(struct cli *c)
{
    struct conf_where two[2];
    unsigned n = 0;
    struct conf *conf = load(c);
    if (!conf && !c->api)
        return false;
    const char *token = token_of(conf);
    c->token = token ? strdup(token) : NULL;
    const char *text = c->api ? c->api : conf->n_api ? conf->process.api : NULL;
    bool found =
        text ? where_parse(&c->arena, text, two, &n, &c->err)
             : err_set(&c->err, "the configuration has no control port (api: off), expected --api WHERE");
    if (found) {
        c->at = two[0];
        c->at.text = arena_copy(&c->arena, str_of(c->at.text)).p;
    }
    conf_put(&conf);
    return found;
}

/* ---- asking ---- */

static bool whole_number(const char *text, uint64_t most)
{
    uint64_t n;
    return str_u64(str_of(text), most, &n) && n;
}

/* False: it does not fit. */
static bool make_path(const struct cli *c, const struct command *command, char path[PATH_LEN])
{
    char name[800];
    size_t n = (size_t)snprintf(path, PATH_LEN, "%s", command->path);
    const char *sep = "?";
    if (command->in_path) {
        n += (size_t)snprintf(path + n, PATH_LEN - n, "%s%s%s",
                              c->n_models ? str_escape(name, sizeof name, c->model[0]) : "all-models",
                              c->seconds ? "?seconds=" : "", c->seconds ? c->seconds : "");
        return n < PATH_LEN;
    }
    for (unsigned i = 0; i < c->n_models && n < PATH_LEN; i++)
        n += (size_t)snprintf(path + n, PATH_LEN - n, "%s%s",
                              i ? "," : "?model=", str_escape(name, sizeof name, c->model[i]));
    if (c->n_models)
        sep = "&";
    if (c->points && n < PATH_LEN)
        n += (size_t)snprintf(path + n, PATH_LEN - n, "%spoints=%s", sep, c->points);
    return n < PATH_LEN;
}

/* NULL: it has been said why; *code is the exit code. */
static cJSON *ask(struct cli *c, const char *method, const char *path, int *code)
{
    struct cli_answer answer;
    char why[300];
    if (!cli_exchange(&c->at, c->token, method, path, &answer, &c->err)) {
        fprintf(stderr, "quiver: %s\n", c->err.text);
        *code = EXIT_NOBODY;
        return NULL;
    }
    cJSON *doc = answer.status < 300 ? cJSON_Parse(answer.body) : NULL;
    if (!doc) {
        fprintf(stderr, "quiver: %s answered %u: %s\n", path, answer.status,
                doc_error(str_slice(answer.body, answer.n_body), why, sizeof why));
        *code = EXIT_FAILED;
    }
    free(answer.body);
    return doc;
}

/* A sentence on stdout, or on stderr when it is not a good one. */
static int say(struct cli *c, const struct command *command)
{
    struct cli_answer answer;
    if (!cli_exchange(&c->at, c->token, command->method, command->path, &answer, &c->err)) {
        fprintf(stderr, "quiver: %s\n", c->err.text);
        return EXIT_NOBODY;
    }
    bool good = answer.status < 300;
    struct str text = str_trim(str_slice(answer.body, answer.n_body), " \r\n");
    fprintf(good ? stdout : stderr, "%.*s\n", STR_ARG(text));
    free(answer.body);
    return good ? EXIT_OK : EXIT_FAILED;
}

static bool is_state(const cJSON *job, const char *word)
{
    const char *state = doc_text(doc_get(job, "state"));
    return state && strcmp(state, word) == 0;
}

/* Takes the job's first document, returns its last. */
static cJSON *follow(struct cli *c, cJSON *job, int *code)
{
    char last[256] = "", path[100];
    int tty = isatty(STDERR_FILENO);
    uint64_t id = 0;
    doc_u64(doc_get(job, "id"), &id);
    while (job && is_state(job, "running")) {
        struct timespec pause = {.tv_nsec = JOB_LOOK_MS * 1000000L};
        show_progress(job, stderr, tty, last);
        nanosleep(&pause, NULL);
        cJSON_Delete(job);
        snprintf(path, sizeof path, V1 "/jobs/%llu", (unsigned long long)id);
        job = ask(c, "GET", path, code);
    }
    if (tty && last[0])
        fputs("\r\033[K", stderr);
    return job;
}

static void show(const struct cli *c, const struct command *command, const cJSON *doc)
{
    if (c->json) {
        char *text = cJSON_Print(doc);
        printf("%s\n", text ? text : "");
        free(text);
        return;
    }
    command->show(command->is_job ? doc_get(doc, "result") : doc, stdout);
    if (command->is_job)
        printf("%s\n", doc_text(doc_get(doc, "text")));
}

/* Of a test that ended: could all be measured, and did they what they should? */
static int judge_test(const struct cli *c, const cJSON *job)
{
    const cJSON *model;
    int code = EXIT_OK;
    cJSON_ArrayForEach(model, doc_at(job, "result.models")) {
        if (doc_get(model, "error"))
            return EXIT_FAILED;
        if (c->strict && cJSON_IsFalse(doc_get(model, "met")))
            code = EXIT_MISSED;
    }
    return code;
}

static int run(struct cli *c, const struct command *command)
{
    char path[PATH_LEN];
    int code = EXIT_OK;
    if (!find_api(c)) {
        fprintf(stderr, "quiver: %s\n", c->err.text);
        return EXIT_FAILED;
    }
    if (!command->show)
        return say(c, command);
    if (!make_path(c, command, path)) {
        fprintf(stderr, "quiver: the names of %u models do not fit into one call; name fewer, or none for all\n", c->n_models);
        return EXIT_FAILED;
    }
    cJSON *doc = ask(c, command->method, path, &code);
    if (doc && command->is_job)
        doc = follow(c, doc, &code);
    if (!doc)
        return code;
    show(c, command, doc);
    if (command->is_job && !is_state(doc, "done"))
        code = EXIT_FAILED;
    else if (command->in_path)
        code = judge_test(c, doc);
    cJSON_Delete(doc);
    return code;
}

int cli_main(int argc, char **argv)
{
    const struct command *command = command_of(argc > 1 ? argv[1] : NULL);
    struct cli c = {.n_models = 0};
    int found, code;
    optind = 0;
    opterr = 0;
    while (command && (found = getopt_long(argc - 1, argv + 1, ":c:h", options, NULL)) != -1) {
        switch (found) {
        case 'c': c.conf = optarg; break;
        case 'a': c.api = optarg; break;
        case 'p': c.points = optarg; break;
        case 's': c.seconds = optarg; break;
        case 'S': c.strict = true; break;
        case 'j': c.json = true; break;
        case 'h': print_help(stdout); return EXIT_OK;
        default:
            err_set(&c.err, "'%s' is no flag of quiver %s, or misses its value; quiver %s --help lists them",
                    argv[optind], command->word, command->word);
            return usage(&c);
        }
    }
    if (!command) {
        print_help(stderr);
        return EXIT_USAGE;
    }
    c.model = argv + 1 + optind;
    c.n_models = (unsigned)(argc - 1 - optind);
    if (c.n_models > command->models_max)
        return err_set(&c.err, "quiver %s takes %u models at most, found %u", command->word,
                       command->models_max, c.n_models),
               usage(&c);
    if (c.points && (strcmp(command->word, "plan") != 0 || !whole_number(c.points, UINT64_C(1) << 53)))
        return err_set(&c.err, "--points takes a whole number and belongs to quiver plan, found '%s'",
                       c.points),
               usage(&c);
    if (c.seconds && (!command->in_path || !whole_number(c.seconds, SECONDS_MAX)))
        return err_set(&c.err, "--seconds takes a number from 1 to %d and belongs to quiver test, found '%s'",
                       SECONDS_MAX, c.seconds),
               usage(&c);
    if (c.strict && !command->in_path)
        return err_set(&c.err, "--strict belongs to quiver test"), usage(&c);
    arena_init(&c.arena, NULL, 0);
    code = run(&c, command);
    arena_fini(&c.arena);
    free(c.token);
    return code;
}
