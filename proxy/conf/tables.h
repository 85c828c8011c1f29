/* tables.h - the option tables of conf itself; plugins bring theirs through conf_sources. Constant. */
#pragma once

#include "conf/conf.h"

extern const struct opt_table conf_process_table; /* fills struct conf_process: quiver.yaml */
extern const struct opt_table conf_model_table;   /* fills struct conf_model_base: the four files per model */

/* The environment variable that sets a process option by a shorter name than QUIVER_ and its key, or NULL. */
const char *conf_short_env(const char *key);
/* A second name that operators know for a model's key, as it stands in MODEL_<KEY>_<MODEL>, or NULL. */
const char *conf_model_env_alias(const char *key);
