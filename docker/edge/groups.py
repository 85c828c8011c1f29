"""Groups and matrix: the engine has neither, so both are made from plain queries.

Groups: ask for more and more points that have the key, until enough groups are full or all points were seen.
Matrix: a random sample, then for each point its neighbours among the others of the sample.
"""
import qdrant_edge as q

import convert
import errors
import queries
import reads
import strict
from errors import FormatError, wrong_type

OVERFETCH = 4


def grouped(kind: reads.Kind, at: str, default_limit=None, default_size=None):
    """at: the path in messages; without defaults both numbers are required, as in search/groups."""
    def handler(request):
        doc = request.doc
        if type(errors.field(doc, "group_by")) is not str:
            raise wrong_type(doc["group_by"], "a string")
        size = queries.need_limit(doc, at, default_size, key="group_size")
        limit = queries.need_limit(doc, at, default_limit)
        kind.check(doc)
        collection = request.store.get(request.name)
        strict.check_read(collection, [doc], request.timeout)
        lookup = lookup_of(request.store, doc.get("with_lookup"))
        groups = collect(collection, kind, doc, limit, size)
        return {"groups": [render(collection, doc, key, hits, lookup) for key, hits in groups]}
    return handler


def collect(collection, kind, doc: dict, limit: int, size: int) -> list:
    """[(key, [ScoredPoint])] in the order of each group's best hit."""
    key = doc["group_by"]
    inner = {k: v for k, v in doc.items() if k != "offset"}
    has_key = {"must_not": [{"is_empty": {"key": key}}]}
    inner["filter"] = {"must": [doc["filter"], has_key]} if doc.get("filter") else has_key
    total = max(1, collection.shard.info().points_count)
    ask = min(total, limit * size * OVERFETCH)
    while True:
        found = collection.shard.query(
            kind.build(collection, inner, ask, with_payload=[key], with_vector=False)
        )
        groups = {}
        for point in found:
            for value in values_at(point.payload, key):
                members = groups.setdefault(value, [])
                if len(members) < size:
                    members.append(point)
        best = list(groups.items())[:limit]
        full = len(best) == limit and all(len(members) == size for _, members in best)
        if full or len(found) < ask or ask >= total:
            return best
        ask = min(total, ask * OVERFETCH)


def values_at(payload, path: str) -> list:
    """The strings and integers under a payload path, arrays spread out, each once."""
    nodes = [payload]
    for part in path.split("."):
        part = part.removesuffix("[]")
        nodes = [n[part] for n in nodes if type(n) is dict and part in n]
        nodes = [v for n in nodes for v in (n if type(n) is list else [n])]
    return list(dict.fromkeys(v for v in nodes if type(v) in (str, int)))


def render(collection, doc: dict, key, hits: list, lookup) -> dict:
    with_payload = convert.payload_selector(doc.get("with_payload"), False)
    with_vector = convert.vector_selector(doc)
    out = convert.scored(hits, False, False)
    if with_payload is not False or with_vector is not False:
        rows = reads.fetch(collection, [p["id"] for p in out], with_payload, with_vector)
        parts = {
            r["id"]: r for r in convert.records(rows, with_payload is not False, with_vector is not False)
        }
        out = [point | parts.get(point["id"], {}) for point in out]
    group = {"hits": out, "id": key}
    if lookup is not None:
        record = lookup(key)
        if record is not None:
            group["lookup"] = record
    return group


def lookup_of(store, doc):
    """`with_lookup` -> a function from a group's key to the record of that id, or None if not asked for."""
    if doc is None:
        return None
    doc = {"collection": doc} if type(doc) is str else doc
    if type(doc) is not dict or "collection" not in doc:
        raise FormatError("data did not match any variant of untagged enum WithLookupInterface")
    name = doc["collection"]
    other = store.collections.get(name) or store.collections.get(store.aliases.get(name))
    if other is None:
        raise errors.no_lookup(name)
    with_payload = convert.payload_selector(doc.get("with_payload"), True)
    with_vector = convert.vector_selector(doc)

    def find(key):
        try:
            rows = other.shard.retrieve([convert.point_id(key)], with_payload, with_vector)
        except FormatError:       # a group whose key is no id has nothing to look up
            return None
        found = convert.records(rows, with_payload is not False, with_vector is not False)
        return found[0] if found else None
    return find


def neighbours(request) -> tuple[list, list]:
    """The sampled ids, sorted, and for each its nearest others: [(id, score)]."""
    doc = request.doc
    sample = queries.need_limit(doc, "search_matrix_request.", 10, key="sample")
    if sample < 2:
        raise errors.invalid("search_matrix_request.sample", sample, "2 or larger")
    limit = queries.need_limit(doc, "search_matrix_request.", 3)
    using = doc.get("using") or ""
    if type(using) is not str:
        raise wrong_type(using, "a string")
    collection = request.store.get(request.name)
    strict.check_read(collection, [{"filter": doc.get("filter")}], request.timeout)
    if using not in collection.dense and using not in collection.sparse:
        raise errors.wrong_input(f"Not existing vector name error: {using}")
    must = [q.HasVectorCondition(using)]
    if (given := convert.filter_in(doc.get("filter"))) is not None:
        must.append(given)
    drawn = collection.shard.query(
        q.QueryRequest(
            limit=sample,
            query=q.Sample.Random,
            filter=q.Filter(must=must),
            with_vector=[using] if using else True,
        )
    )
    points = {convert.id_out(p.id): p.vector[using] if type(p.vector) is dict else p.vector for p in drawn}
    ids = sorted(points, key=lambda i: (type(i) is str, i))
    built = [q.QueryRequest(limit=limit, query=q.Query.Nearest(points[i], using or None),
                            filter=q.Filter(must=[q.HasIdCondition(set(ids) - {i})])) for i in ids]
    found = collection.shard.query_batch(q.QueryBatchRequest(built)) if len(ids) > 1 else [[] for _ in ids]
    return ids, [[(convert.id_out(p.id), convert.F32(p.score)) for p in row] for row in found]


def matrix_pairs(request):
    ids, rows = neighbours(request)
    return {"pairs": [{"a": a, "b": b, "score": score} for a, row in zip(ids, rows) for b, score in row]}


def matrix_offsets(request):
    ids, rows = neighbours(request)
    place = {point_id: n for n, point_id in enumerate(ids)}
    cells = [(r, place[b], score) for r, row in enumerate(rows) for b, score in row]
    return {"offsets_row": [c[0] for c in cells], "offsets_col": [c[1] for c in cells],
            "scores": [c[2] for c in cells], "ids": ids}
