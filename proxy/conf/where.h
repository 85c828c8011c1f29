/* where.h - the addresses that a configuration names: listeners, upstream servers, Redis. Texts only; names
 * are resolved elsewhere. One thing reads this host's state: where_is_own asks for its interfaces' addresses.
 * Any thread. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "conf/conf.h"

/* WHERE: PORT (two addresses), ADDR:PORT, [IPv6]:PORT, unix:/path. The message begins with what was found. */
bool where_parse(struct arena *, const char *text, struct conf_where out[2], unsigned *n, struct err *);

/* The kernel could not tell them apart: the same path, or the same port with equal or wildcard addresses. */
bool where_overlaps(const struct conf_where *, const struct conf_where *);

/* http://HOST:PORT of an upstream, made canonical. */
bool where_server(struct arena *, const char *url, struct conf_server *out, struct err *);

/* The server is certainly this listener: localhost or an address of this host, and the same port. */
bool where_is_own(const struct conf_where *, const struct conf_server *);

/* redis://[user[:password]@]host[:port][/db], unix:/path[?db=N&user=U&password=P], off. */
bool where_redis(struct arena *, const char *url, struct conf_redis *out, struct err *);
