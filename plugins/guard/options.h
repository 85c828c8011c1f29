/* options.h - what becomes of upserts that would break memory_limit. */
#pragma once

#include "conf/opt.h"

enum guard_policy { GUARD_WARN, GUARD_REFUSE, GUARD_OFF };

struct guard_model_conf {
    unsigned policy; /* enum guard_policy */
};

extern const struct opt_table guard_model_table;
