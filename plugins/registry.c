/* registry.c - the plugins, in the order in which they see a request. */
#include "engine/plugin.h"
#include "plugins/cache/cache.h"
#include "plugins/rewrite/rewrite.h"

const struct plugin *const plugin_registry[] = {
    &rewrite_plugin, /* first: the cache's key is made of the body as it goes upstream */
    &cache_plugin,
    NULL,
};
