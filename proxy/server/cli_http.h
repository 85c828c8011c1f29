/* cli_http.h - one blocking exchange with the control API: connect, ask, read to the end. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "conf/conf.h"

struct cli_answer {
    unsigned status;
    char *body; /* NUL-terminated; the caller's to free */
    size_t n_body;
};

/* path: raw. token NULL: none. false with err: nobody is there, or no HTTP came back. */
bool cli_exchange(const struct conf_where *at, const char *token, const char *method, const char *path,
                  struct cli_answer *, struct err *);
