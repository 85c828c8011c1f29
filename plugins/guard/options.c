#include "plugins/guard/options.h"

#define M struct guard_model_conf

static const char *const policies[] = {[GUARD_WARN] = "warn", [GUARD_REFUSE] = "refuse", [GUARD_OFF] = "off", NULL};

static const struct opt guard_model_options[] = {
    OPT_ENUM(M, policy, "memory_policy", CONF_TUNING, "warn", policies,
             "an upsert that would bring the collection over memory_limit: warn of it, refuse it with 507, or off"),
};

const struct opt_table guard_model_table = {
    "guard", guard_model_options, sizeof guard_model_options / sizeof *guard_model_options, sizeof(M), NULL,
};
