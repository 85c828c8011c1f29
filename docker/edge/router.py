"""The routes, one table. A row: method, path, handler, kind (how the query string is checked), body.

`{c}` is a collection's name or alias, `{}` the variable end of a path. body: "json" is parsed, "drop" is
read and not looked at, None is left unread. What is not here is 404 with an empty body, as in Qdrant.
"""

from typing import NamedTuple

import collections_api as c
import groups as g
import reads as r
import service as s
import snapshots as n
import writes as w
from errors import ApiError


class Route(NamedTuple):
    handler: object
    kind: str
    body: str | None


SEARCH_GROUPS = g.grouped(r.SEARCH, "search_group_request.")
RECOMMEND_GROUPS = g.grouped(r.RECOMMEND, "recommend_group_request.")
QUERY_GROUPS = g.grouped(r.QUERY, "search_group_request.", 10, 3)

TABLE = (
    ("GET", "", s.root, "", None),
    ("GET", "healthz", s.health, "", None),
    ("GET", "livez", s.health, "", None),
    ("GET", "readyz", s.ready, "", None),
    ("GET", "metrics", s.metrics, "", None),
    ("GET", "telemetry", s.telemetry, "", None),
    ("GET", "cluster", s.cluster, "", None),
    ("GET", "issues", s.issues, "", None),
    ("DELETE", "issues", s.clear_issues, "", None),
    ("GET", "aliases", c.list_aliases, "", None),
    ("GET", "snapshots", n.list_none, "", None),
    ("POST", "snapshots", n.not_here, "", "drop"),
    ("GET", "collections", c.list_collections, "", None),
    ("POST", "collections/aliases", c.change_aliases, "config", "json"),
    ("PUT", "collections/{c}", c.create, "config", "json"),
    ("PATCH", "collections/{c}", c.patch, "config", "json"),
    ("DELETE", "collections/{c}", c.delete, "config", None),
    ("GET", "collections/{c}", c.info, "", None),
    ("GET", "collections/{c}/exists", c.exists, "", None),
    ("GET", "collections/{c}/aliases", c.collection_aliases, "", None),
    ("GET", "collections/{c}/cluster", c.cluster, "", None),
    ("POST", "collections/{c}/cluster", c.change_cluster, "", "json"),
    ("GET", "collections/{c}/optimizations", c.optimizations, "", None),
    ("GET", "collections/{c}/memory", c.memory, "", None),
    ("PUT", "collections/{c}/index", w.create_index, "write", "json"),
    ("DELETE", "collections/{c}/index/{}", w.delete_index, "write", None),
    ("PUT", "collections/{c}/vectors/{}", w.add_vector, "write", "json"),
    ("DELETE", "collections/{c}/vectors/{}", w.drop_vector, "write", None),
    ("GET", "collections/{c}/snapshots", n.list_all, "", None),
    ("POST", "collections/{c}/snapshots", n.create, "", "drop"),
    ("GET", "collections/{c}/snapshots/{}", n.download, "", None),
    ("DELETE", "collections/{c}/snapshots/{}", n.delete, "", None),
    ("PUT", "collections/{c}/snapshots/recover", n.not_here, "", "drop"),
    ("POST", "collections/{c}/snapshots/upload", n.not_here, "", None),
    ("GET", "collections/{c}/points/{}", r.get_point, "read", None),
    ("POST", "collections/{c}/points", r.retrieve, "read", "json"),
    ("POST", "collections/{c}/points/search", r.single(r.SEARCH), "read", "json"),
    ("POST", "collections/{c}/points/search/batch", r.batch(r.SEARCH), "read", "json"),
    ("POST", "collections/{c}/points/search/groups", SEARCH_GROUPS, "read", "json"),
    ("POST", "collections/{c}/points/search/matrix/pairs", g.matrix_pairs, "read", "json"),
    ("POST", "collections/{c}/points/search/matrix/offsets", g.matrix_offsets, "read", "json"),
    ("POST", "collections/{c}/points/recommend", r.single(r.RECOMMEND), "read", "json"),
    ("POST", "collections/{c}/points/recommend/batch", r.batch(r.RECOMMEND), "read", "json"),
    ("POST", "collections/{c}/points/recommend/groups", RECOMMEND_GROUPS, "read", "json"),
    ("POST", "collections/{c}/points/discover", r.single(r.DISCOVER), "read", "json"),
    ("POST", "collections/{c}/points/discover/batch", r.batch(r.DISCOVER), "read", "json"),
    ("POST", "collections/{c}/points/query", r.single(r.QUERY), "read", "json"),
    ("POST", "collections/{c}/points/query/batch", r.batch(r.QUERY), "read", "json"),
    ("POST", "collections/{c}/points/query/groups", QUERY_GROUPS, "read", "json"),
    ("POST", "collections/{c}/points/scroll", r.scroll, "read", "json"),
    ("POST", "collections/{c}/points/count", r.count, "read", "json"),
    ("POST", "collections/{c}/facet", r.facet, "read", "json"),
    ("PUT", "collections/{c}/points", w.single(w.upsert), "write", "json"),
    ("POST", "collections/{c}/points/delete", w.single(w.delete), "write", "json"),
    ("PUT", "collections/{c}/points/vectors", w.single(w.update_vectors), "write", "json"),
    ("POST", "collections/{c}/points/vectors/delete", w.single(w.delete_vectors), "write", "json"),
    ("POST", "collections/{c}/points/payload", w.single(w.set_payload), "write", "json"),
    ("PUT", "collections/{c}/points/payload", w.single(w.overwrite_payload), "write", "json"),
    ("POST", "collections/{c}/points/payload/delete", w.single(w.delete_payload), "write", "json"),
    ("POST", "collections/{c}/points/payload/clear", w.single(w.clear_payload), "write", "json"),
    ("POST", "collections/{c}/points/batch", w.batch, "write", "json"),
)


class Router:
    """Finds by two look-ups: the path as it is, then with its last segment variable."""

    def __init__(self):
        self.routes = {
            (method, path): Route(handler, kind, body) for method, path, handler, kind, body in TABLE
        }

    def find(self, method: str, segments: list):
        """Returns (Route or None, collection's name or None, variable end or None)."""
        if len(segments) < 2 or segments[0] != "collections":
            return self.routes.get((method, "/".join(segments))), None, None
        if len(segments) == 2 and method == "POST" and segments[1] == "aliases":
            return self.routes[method, "collections/aliases"], None, None
        name, rest = segments[1], segments[2:]
        path = "/".join(["collections/{c}", *rest])
        route, tail = self.routes.get((method, path)), None
        if route is None and rest:
            tail = rest[-1]
            route = self.routes.get((method, "/".join(["collections/{c}", *rest[:-1], "{}"])))
        if route is not None and "/" in name:
            raise ApiError(422, f"Validation error in path parameters: [name: value {name} invalid, "
                                f"must not contain /]", instant=True)
        return route, name, tail
