"""Read routes: search, recommend, discover, query (single and batch), retrieve, scroll, count, facet."""
import qdrant_edge as q

import convert
import queries
import strict
from errors import ApiError, FormatError, missing, wrong_type


class Kind:
    """One family of read: how its body is checked and made into an engine request.
    default_limit None means the body must name one; wrap: answers are {"points": [...]}."""

    def __init__(self, check, build, default_limit=None, wrap=False, at=""):
        self.check, self.build, self.default_limit, self.wrap, self.at = check, build, default_limit, wrap, at

    def answer(self, doc: dict, points: list):
        payload, vector = wants(doc)
        out = convert.scored(points, payload, vector)
        return {"points": out} if self.wrap else out

    def limit(self, doc: dict) -> int:
        return queries.need_limit(doc, self.at, self.default_limit)


SEARCH = Kind(queries.check_search, queries.search, at="search_request.")
RECOMMEND = Kind(
    lambda d: queries.check_examples(d, "recommend_request."), queries.recommend, at="recommend_request."
)
DISCOVER = Kind(
    lambda d: queries.check_examples(d, "discover_request."), queries.discover, at="discover_request."
)
QUERY = Kind(queries.check_query, queries.universal, queries.QUERY_LIMIT, wrap=True, at="internal.")


def wants(doc: dict) -> tuple[bool, bool]:
    """Whether the answer may hold payloads and vectors at all."""
    payload = doc.get("with_payload")
    vector = doc.get("with_vector", doc.get("with_vectors"))
    return payload is not None and payload is not False, vector is not None and vector is not False


def single(kind: Kind):
    def handler(request):
        doc = request.doc
        kind.check(doc)
        collection = request.store.get(request.name)
        strict.check_read(collection, [doc], request.timeout)
        return kind.answer(doc, collection.shard.query(kind.build(collection, doc, kind.limit(doc))))
    return handler


def batch(kind: Kind):
    def handler(request):
        docs = request.doc.get("searches")
        if docs is None:
            raise missing("searches")
        if type(docs) is not list:
            raise wrong_type(docs, "a sequence")
        for doc in docs:
            if type(doc) is not dict:
                raise wrong_type(doc, "struct")
            kind.check(doc)
        collection = request.store.get(request.name)
        if not docs:
            return []
        strict.check_read(collection, docs, request.timeout, batched=True)
        built = [kind.build(collection, doc, kind.limit(doc)) for doc in docs]
        answers = collection.shard.query_batch(q.QueryBatchRequest(built))
        return [kind.answer(doc, points) for doc, points in zip(docs, answers)]
    return handler


def retrieve(request):
    doc = request.doc
    if "ids" not in doc:
        raise missing("ids")
    ids = convert.id_list(doc["ids"], "ids")
    with_payload = convert.payload_selector(doc.get("with_payload"), False)
    with_vector = convert.vector_selector(doc)
    collection = request.store.get(request.name)
    strict.check_read(collection, [{}], request.timeout)
    rows = fetch(collection, ids, with_payload, with_vector)
    return convert.records(rows, with_payload is not False, with_vector is not False)


def fetch(collection, ids: list, with_payload, with_vector) -> list:
    """Records in the order asked for, the missing ones left out."""
    rows = collection.shard.retrieve(ids, with_payload, with_vector)
    by_id = {convert.id_out(r.id): r for r in rows}
    return [by_id[i] for i in dict.fromkeys(ids) if i in by_id]


def get_point(request):
    point_id = convert.path_id(request.tail)
    collection = request.store.get(request.name)
    strict.check_read(collection, [{}], request.timeout)
    rows = collection.shard.retrieve([point_id], True, True)
    if not rows:
        raise ApiError(404, f"Not found: Point with id {point_id} does not exists!")
    return convert.records(rows, True, True)[0]


def scroll(request):
    doc = request.doc
    limit = queries.need_limit(doc, "scroll_request.", 10)
    with_payload = convert.payload_selector(doc.get("with_payload"), True)
    with_vector = convert.vector_selector(doc)
    offset = None if doc.get("offset") is None else convert.point_id(doc["offset"])
    order = None if doc.get("order_by") is None else queries.order_by(doc["order_by"])
    if order is not None and offset is not None:
        raise ApiError(
            400,
            "Wrong input: Cannot use an `offset` when using `order_by`. The alternative for paging is "
            "to use `order_by.start_from` and a filter to exclude the IDs that you've already seen "
            "for the `order_by.start_from` value",
        )
    condition = convert.filter_in(doc.get("filter"))
    collection = request.store.get(request.name)
    strict.check_read(collection, [doc], request.timeout)
    rows, following = collection.shard.scroll(q.ScrollRequest(
        offset=offset, limit=limit, filter=condition, with_payload=with_payload, with_vector=with_vector,
        order_by=order))
    points = convert.records(rows, with_payload is not False, with_vector is not False)
    return {
        "points": points,
        "next_page_offset": None if following is None or order else convert.id_out(following),
    }


def count(request):
    doc = request.doc
    exact = queries.need_bool(doc, "exact")
    condition = convert.filter_in(doc.get("filter"))
    collection = request.store.get(request.name)
    strict.check_read(collection, [{"filter": doc.get("filter")}], request.timeout)
    return {"count": collection.shard.count(q.CountRequest(exact=exact is not False, filter=condition))}


def facet(request):
    doc = request.doc
    if type(doc.get("key")) is not str:
        raise missing("key") if "key" not in doc else FormatError("invalid type for `key`, expected a string")
    limit = queries.need_limit(doc, "facet_request.", 10)
    exact = queries.need_bool(doc, "exact") or False
    condition = convert.filter_in(doc.get("filter"))
    collection = request.store.get(request.name)
    strict.check_read(collection, [{"filter": doc.get("filter")}], request.timeout)
    found = collection.shard.facet(q.FacetRequest(key=doc["key"], limit=limit, exact=exact, filter=condition))
    return {"hits": [{"value": h.value, "count": h.count} for h in found.hits]}
