/* rewrite.h - sets, forces and clamps search parameters as the model wishes, by splicing bytes into the held body. */
#pragma once

#include "engine/plugin.h"

extern const struct plugin rewrite_plugin;
