/* coalesce.h - equal reads that run at the same time are sent to Qdrant once (per worker): one leads, the others follow and get its answer. */
#pragma once

#include "engine/plugin.h"

extern const struct plugin coalesce_plugin;
