/* registry.c - the plugins, in the order in which they see a request. */
#include "engine/plugin.h"
#include "plugins/cache/cache.h"
#include "plugins/coalesce/coalesce.h"
#include "plugins/guard/guard.h"
#include "plugins/rewrite/rewrite.h"

const struct plugin *const plugin_registry[] = {
    &guard_plugin,   /* what is refused costs the others nothing */
    &rewrite_plugin, /* before the cache, whose key is made of the body as it goes upstream */
    &cache_plugin,
    &coalesce_plugin, /* behind the cache: only what must go upstream is sent together */
    NULL,
};
