/* guard.h - an upsert that would bring a collection over its memory_limit is warned of or refused. */
#pragma once

#include "engine/plugin.h"

extern const struct plugin guard_plugin;
