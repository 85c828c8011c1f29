/* cache.h - answers repeated reads from memory and from Redis, where proxy/coherence/ says that it may. */
#pragma once

#include "engine/plugin.h"

extern const struct plugin cache_plugin;
