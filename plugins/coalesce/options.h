/* options.h - which models' equal searches are sent together. Filled by conf; constant afterwards. Any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "conf/opt.h"

struct coalesce_model_conf {
    bool on;
    uint64_t max_answer; /* bytes */
};

extern const struct opt_table coalesce_model_table;
