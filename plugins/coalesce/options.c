#include "plugins/coalesce/options.h"

#define M struct coalesce_model_conf

static const struct opt coalesce_model_options[] = {
    OPT_BOOL(M, on, "coalesce", CONF_CACHING, "true", "equal reads that run at the same time go to Qdrant once"),
    OPT_BYTES(M, max_answer, "coalesce_max_answer", CONF_CACHING, "4MiB", "1KiB", "64MiB",
              "larger answers are not shared: those that waited ask for themselves"),
};

const struct opt_table coalesce_model_table = {
    "coalesce", coalesce_model_options, sizeof coalesce_model_options / sizeof *coalesce_model_options, sizeof(M), NULL,
};
