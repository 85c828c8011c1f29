/* stage.h - a worker built by hand between a fake front and fake peers, under a clock that the test owns. One stage a test, one thread.
 * A scenario reads like: who = ask(s, ...); expect_up(s, ...); up_answers(s, ...); expect_status(who, 200).
 * stage_close checks what every scenario must leave behind: nothing. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/tx.h"

enum { TEXT_FIRST = 256 * 1024, ASKERS_MAX = 16, EXCHANGES_MAX = 32, EVENTS_MAX = 64 };

struct text { /* bytes that grow and stay where they are, NUL-terminated for messages */
    char *p;
    size_t n;
};

/* A client and its one request. */
struct asker {
    struct client client; /* first: what the engine sees */
    struct stage *stage;
    struct http_head head;
    struct text sent;     /* of the body: what has come */
    size_t used;          /* of it: what the engine took */
    uint64_t n_body;      /* how long it will be; chunked: decoded already, ended says when it is over */
    bool ended;
    struct text got;      /* what the engine answered */
    size_t room;          /* how much more the socket takes */
    bool was_reset;       /* ended by client_abort */
    bool done, kept;      /* ended by client_next, and whether the connection goes on */
};

/* An exchange with the upstream, as the fake peer sees it. */
struct exchange {
    struct stage *stage;
    struct fetch *fetch;  /* NULL: over */
    bool lent, connected; /* a connection was lent; it is up */
    struct text sent;     /* what went up */
    size_t takes;         /* how much more the socket takes */
    struct text answer;   /* what came down and was not used; front part */
    size_t at;
    bool closed;          /* the peer closed after that */
    bool reused;          /* given back to the pool, not closed */
};

struct stage {
    struct worker worker;
    struct engine_shared shared;
    char folder[64], file[80], upstream_url[64];
    struct conf_sources sources;
    const char *upstream[1];
    struct asker *asker[ASKERS_MAX];
    unsigned n_askers;
    struct exchange exchange[EXCHANGES_MAX];
    unsigned n_exchanges;
    bool hold_slots, hold_connects; /* exchanges wait for lend() and connect_up() */
    const char *watched;            /* the collection whose hold is noted with each event */
    char event[EVENTS_MAX][48];     /* "up held", "down clear", ... in the order they happened */
    unsigned n_events;
    unsigned n_names_changed;
};

extern struct stage *stage_now; /* the fakes' way to it */

/* plugins: a registry that ends in NULL; NULL: rewrite and cache. yaml: of all five files in one. */
struct stage *stage_open(const struct plugin *const *plugins, const char *yaml);
void stage_close(struct stage **);
void stage_reload(struct stage *, const char *yaml);
void stage_pass(struct stage *, uint64_t usec); /* time passes; what is due is woken */
void stage_run(struct stage *);                 /* runs what was woken */
void stage_event(struct stage *, const char *what);
void stage_facts(struct stage *, const char *alias, const char *collection); /* a map under the present token of "@names"; "hermes" and "chat" are known */
void stage_facts_hidden(struct stage *);        /* the same where Qdrant does not tell its aliases */
bool stage_held(struct stage *, const char *collection);

/* A request with its head; the body comes with `say` unless it is given whole. */
struct asker *ask(struct stage *, const char *method, const char *path, const char *fields, const char *body);
struct asker *ask_head(struct stage *, const char *head); /* the head as it is; no body yet */
void say(struct asker *, const char *piece);
void say_end(struct asker *);      /* of a chunked body */
void hang_up(struct asker *);
void drop_dead(struct asker *);    /* the socket fails */
void too_late(struct asker *);     /* the front's deadline for this client passes */
void take_more(struct asker *, size_t n);
void text_add(struct text *, const char *p, size_t n);

struct exchange *up(struct stage *);                       /* the latest exchange */
void lend(struct exchange *);
void connect_up(struct exchange *);
void up_says(struct exchange *, const char *bytes);        /* raw bytes of an answer */
void up_answers(struct exchange *, unsigned status, const char *fields, const char *body);
void up_closes(struct exchange *);
void up_takes(struct exchange *, size_t n);
const char *up_body(const struct exchange *);              /* what went up behind the head */

unsigned status_of(const struct asker *);                  /* 0: nothing came */
const char *body_of(const struct asker *);
void expect(const struct asker *, unsigned status, const char *body); /* body NULL: any */
void expect_event(struct stage *, unsigned i, const char *what);
enum tx_state state_of(const struct asker *);
