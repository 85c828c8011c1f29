/* options.h - what an operator wishes for a model's searches, and the same as rules for the scanner.
 * Filled by conf from option tables; constant afterwards. Any thread. */
#pragma once

#include <stdbool.h>

#include "conf/opt.h"
#include "qdrant/query.h"

/* Texts as they go into the JSON ("64", "true", "1.5"); NULL where there is no wish. */
struct rewrite_model_conf {
    bool on;
    const char *set_default[KNOB_COUNT]; /* written where the client says nothing */
    const char *force[KNOB_COUNT];       /* written whatever the client says */
    const char *min[KNOB_COUNT], *max[KNOB_COUNT]; /* hnsw_ef and quantization.oversampling only */
};

struct rewrite_process_conf {
    bool enabled;
    bool allow_header; /* a request may say X-Quiver-Rewrite: off */
};

extern const struct opt_table rewrite_model_table, rewrite_process_table;

/* The rules point into the configuration's texts and live as long as its snapshot. */
void rewrite_rules_build(const struct rewrite_model_conf *, struct rewrite_rules *);
