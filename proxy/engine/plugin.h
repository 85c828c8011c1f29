/* plugin.h - what a policy is made of. A plugin lives in plugins/<name>/, includes this and what lies below, and has a row in
 * plugins/registry.c, whose order is the order of the chain. All calls come from the worker's thread that runs the transaction.
 *
 * A request's way: request() of each plugin in order. CONTINUE lets it pass; ANSWER means the plugin has answered (by tx_error, or in
 * tx->answer) and the request goes no further; SUSPEND waits: the plugin has arranged to be woken by loop_wake(&tx->task) and is asked again by
 * resume(). The answer passes back through response() of those that let the request pass, in reverse. */
#pragma once

#include "conf/opt.h"
#include "engine/worker.h"
#include "qdrant/ops.h"
#include "qdrant/query.h"

struct tx;
struct plug;

enum verdict { CONTINUE, ANSWER, SUSPEND };

struct plugin {
    const char *name, *summary;
    const struct opt_table *model_options;   /* one struct per model; NULL: none */
    const struct opt_table *process_options; /* one struct for the process; NULL: none */
    void *(*open)(struct worker *);          /* per worker: no locks inside; survives reloads; NULL: no state */
    void (*configure)(void *self, const struct conf *); /* a snapshot came into use; NULL: nothing to do */
    void (*close)(void *self);
    void (*figures)(void *self, struct metrics *); /* gauges of the process; control thread, now and then; NULL: none */
    size_t tx_size;                          /* zeroed scratch per request: plug_tx() */
    bool (*holds)(const struct tx *, const struct plug *); /* before request: should the body be whole by then? NULL: as the operation has it */
    enum verdict (*request)(struct tx *, const struct plug *);
    enum verdict (*resume)(struct tx *, const struct plug *);   /* after a SUSPEND of request or response was woken */
    enum verdict (*response)(struct tx *, const struct plug *); /* CONTINUE or SUSPEND */
    void (*cancel)(struct tx *, const struct plug *); /* a suspended plugin's request ends: stop waiting */
    void (*done)(struct tx *, const struct plug *);   /* exactly once if request() ran, whatever happened */
};

struct plug { /* a plugin's place in the chain */
    const struct plugin *type;
    unsigned index;                       /* in the chain, in worker->self, in tx->scratch */
    int model_table, process_table;       /* index in conf's parts; -1: none */
};

extern const struct plugin *const plugin_registry[]; /* plugins/registry.c; ends in NULL */

/* The chain, made once at the start from the registry. */
struct chain {
    unsigned n;
    struct plug plug[PLUGINS_MAX];
    const struct opt_table *model_table[PLUGINS_MAX], *process_table[PLUGINS_MAX];
    unsigned n_model_tables, n_process_tables;
};
extern struct chain chain;
void chain_init(const struct plugin *const *registry);
void chain_open(struct worker *);
void chain_configure(struct worker *, const struct conf *);
void chain_close(struct worker *);
void chain_figures(struct worker *);
bool chain_holds(const struct tx *); /* a plugin wants the request's body whole */

const void *plug_conf(const struct tx *, const struct plug *);         /* this request's model's options */
const void *plug_process_conf(const struct tx *, const struct plug *);
void *plug_self(const struct tx *, const struct plug *);
void *plug_tx(struct tx *, const struct plug *);
