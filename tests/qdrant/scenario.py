"""Asked of each side, in this order: every row of ops.def, by a real client where it offers that.

The steps work in two collections, `side.c` with one unnamed vector and `side.named` with several kinds, and
undo nothing: the side is cleaned when it ends. Reads come after the writes whose effect they should show.
"""

import random
from typing import Any, Callable

from lib.ops import OPS
from qdrant_client import models as m
from side import Side, Step

SIZE, POINTS = 16, 200
READ = {"reads": True}
STEPS: list[Step] = []


def step(**how: Any) -> Callable[[Callable[[Side], Any]], Callable[[Side], Any]]:
    def add(function: Callable[[Side], Any]) -> Callable[[Side], Any]:
        STEPS.append(Step(function.__name__, function, **how))
        return function

    return add


def vector(n: int, size: int = SIZE) -> list[float]:
    r = random.Random(n * 31 + size)
    return [round(r.uniform(-1, 1), 4) for _ in range(size)]


def payload(n: int) -> dict:
    return {
        "n": n,
        "color": ("red", "green", "blue")[n % 3],
        "tags": [f"t{n % 7}", f"t{n % 5}"],
        "at": {"x": n / 2},
    }


RED = m.Filter(must=[m.FieldCondition(key="color", match=m.MatchValue(value="red"))])
RED_DOC = {"must": [{"key": "color", "match": {"value": "red"}}]}


# -- collections --------------------------------------------------------------------------------------------


@step()
def create_collections(s: Side) -> Any:
    plain = s.client.create_collection(
        s.c, vectors_config=m.VectorParams(size=SIZE, distance=m.Distance.COSINE)
    )
    named = s.client.create_collection(
        s.named,
        vectors_config={
            "text": m.VectorParams(size=SIZE, distance=m.Distance.DOT),
            "image": m.VectorParams(size=8, distance=m.Distance.EUCLID),
            "late": m.VectorParams(
                size=8,
                distance=m.Distance.COSINE,
                multivector_config=m.MultiVectorConfig(comparator=m.MultiVectorComparator.MAX_SIM),
            ),
        },
        sparse_vectors_config={"words": m.SparseVectorParams()},
    )
    return [plain, named]


@step()
def create_again_is_a_conflict(s: Side) -> Any:
    return s.client.create_collection(s.c, vectors_config=m.VectorParams(size=4, distance=m.Distance.DOT))


@step(reads=True)
def collection_exists(s: Side) -> Any:
    return [s.client.collection_exists(s.c), s.client.collection_exists(s.prefix + "_none")]


@step(reads=True)
def list_collections(s: Side) -> Any:
    return sorted(c.name for c in s.client.get_collections().collections if c.name.startswith(s.prefix))


# -- points -------------------------------------------------------------------------------------------------


@step()
def upsert(s: Side) -> Any:
    points = [m.PointStruct(id=n, vector=vector(n), payload=payload(n)) for n in range(POINTS)]
    return s.client.upsert(s.c, points=points, wait=True)


@step()
def upsert_named(s: Side) -> Any:
    points = [
        m.PointStruct(
            id=n,
            vector={
                "text": vector(n),
                "image": vector(n, 8),
                "late": [vector(n, 8), vector(n + 1000, 8)],
                "words": m.SparseVector(indices=[n % 10, 20 + n % 7], values=[0.5, 1.5]),
            },
            payload=payload(n),
        )
        for n in range(60)
    ]
    return s.client.upsert(s.named, points=points, wait=True)


@step()
def upload_points(s: Side) -> Any:
    points = (m.PointStruct(id=n, vector=vector(n), payload=payload(n)) for n in range(POINTS, POINTS + 40))
    return s.client.upload_points(s.c, points, batch_size=16, wait=True)


@step()
def create_index(s: Side) -> Any:
    out = []
    for field, kind in (("color", "keyword"), ("tags", "keyword"), ("n", "integer")):
        out.append(s.client.create_payload_index(s.c, field, field_schema=kind, wait=True))
    return out


@step(reads=True)
def get_collection(s: Side) -> Any:
    info = s.client.get_collection(s.c)
    return [info.points_count, info.config, {k: v.data_type for k, v in (info.payload_schema or {}).items()}]


@step(reads=True)
def retrieve(s: Side) -> Any:
    return s.client.retrieve(s.c, ids=[3, 1, 99999], with_payload=True, with_vectors=True)


@step(reads=True)
def get_point(s: Side) -> Any:
    return s.client.http.points_api.get_point(collection_name=s.c, id=7).result


@step(reads=True)
def get_point_that_is_not_there(s: Side) -> Any:
    return s.raw("GET", f"/collections/{s.c}/points/424242")


@step(reads=True)
def scroll(s: Side) -> Any:
    first, after = s.client.scroll(s.c, scroll_filter=RED, limit=20, with_payload=["n"])
    return [first, after, s.client.scroll(s.c, limit=15, offset=after)]


@step(reads=True)
def scroll_in_order(s: Side) -> Any:
    return s.client.scroll(s.c, limit=8, order_by=m.OrderBy(key="n", direction=m.Direction.DESC))


@step(reads=True)
def count(s: Side) -> Any:
    return [s.client.count(s.c, count_filter=RED), s.client.count(s.c)]


@step(reads=True)
def facet(s: Side) -> Any:
    return s.client.facet(s.c, key="color", exact=True)


# -- searches -----------------------------------------------------------------------------------------------


@step(reads=True)
def query(s: Side) -> Any:
    return s.client.query_points(s.c, query=vector(5001), limit=7, with_payload=True, with_vectors=True)


@step(reads=True)
def query_with_params(s: Side) -> Any:
    params = m.SearchParams(hnsw_ef=64, exact=False, quantization=m.QuantizationSearchParams(rescore=True))
    return s.client.query_points(s.c, query=vector(5002), query_filter=RED, search_params=params, offset=2)


@step(reads=True)
def query_by_id_and_threshold(s: Side) -> Any:
    return s.client.query_points(
        s.c, query=11, score_threshold=0.1, with_payload=m.PayloadSelectorExclude(exclude=["at"])
    )


@step(reads=True)
def query_fusion_of_prefetches(s: Side) -> Any:
    """By scores: by ranks the engine breaks its many ties at random."""
    parts = [
        m.Prefetch(query=vector(5003), using="text", limit=20),
        m.Prefetch(query=m.SparseVector(indices=[3, 22], values=[1.0, 0.5]), using="words", limit=20),
    ]
    return s.client.query_points(s.named, prefetch=parts, query=m.FusionQuery(fusion=m.Fusion.DBSF), limit=9)


@step(reads=True)
def query_of_nested_prefetch(s: Side) -> Any:
    inner = m.Prefetch(query=vector(5004), using="text", limit=40, params=m.SearchParams(exact=True))
    outer = m.Prefetch(prefetch=[inner], query=vector(5005, 8), using="image", limit=20)
    return s.client.query_points(s.named, prefetch=outer, query=[vector(5006, 8)], using="late", limit=5)


@step(reads=True)
def query_recommend_and_discover(s: Side) -> Any:
    recommend = m.RecommendQuery(recommend=m.RecommendInput(positive=[1, 2], negative=[3]))
    discover = m.DiscoverQuery(
        discover=m.DiscoverInput(target=4, context=[m.ContextPair(positive=5, negative=6)])
    )
    return [s.client.query_points(s.c, query=q, limit=5) for q in (recommend, discover)]


@step(reads=True)
def query_looks_up_another_collection(s: Side) -> Any:
    lookup = m.LookupLocation(collection=s.named, vector="text")
    return s.client.query_points(s.c, query=21, lookup_from=lookup, limit=5)


@step(reads=True, shape=True, cached=False)
def query_at_random(s: Side) -> Any:
    return s.client.query_points(s.c, query=m.SampleQuery(sample=m.Sample.RANDOM), limit=3)


@step(reads=True)
def query_batch(s: Side) -> Any:
    requests = [m.QueryRequest(query=vector(5100 + n), limit=3, filter=RED) for n in range(4)]
    return s.client.query_batch_points(s.c, requests=requests)


@step(reads=True)
def query_groups(s: Side) -> Any:
    return s.client.query_points_groups(s.c, group_by="color", query=vector(5200), limit=3, group_size=2)


@step(reads=True)
def search(s: Side) -> Any:
    return s.post(
        "/points/search", {"vector": vector(5300), "limit": 5, "filter": RED_DOC, "with_payload": True}
    )


@step(reads=True)
def search_batch(s: Side) -> Any:
    return s.post(
        "/points/search/batch", {"searches": [{"vector": vector(5400 + n), "limit": 3} for n in range(3)]}
    )


@step(reads=True)
def search_groups(s: Side) -> Any:
    doc = {"vector": vector(5500), "group_by": "color", "group_size": 2, "limit": 3}
    return s.post("/points/search/groups", doc)


@step(reads=True)
def recommend(s: Side) -> Any:
    return s.post("/points/recommend", {"positive": [1, 2], "negative": [9], "limit": 4})


@step(reads=True)
def recommend_batch(s: Side) -> Any:
    doc = {"searches": [{"positive": [n], "limit": 3, "params": {"hnsw_ef": 32}} for n in (1, 5)]}
    return s.post("/points/recommend/batch", doc)


@step(reads=True)
def recommend_groups(s: Side) -> Any:
    return s.post(
        "/points/recommend/groups", {"positive": [8], "group_by": "color", "group_size": 2, "limit": 2}
    )


@step(reads=True)
def discover(s: Side) -> Any:
    return s.post("/points/discover", {"target": 4, "context": [{"positive": 5, "negative": 6}], "limit": 4})


@step(reads=True)
def discover_batch(s: Side) -> Any:
    return s.post(
        "/points/discover/batch", {"searches": [{"target": 4, "limit": 3}, {"target": 5, "limit": 2}]}
    )


@step(reads=True, shape=True)
def matrix(s: Side) -> Any:
    pairs = s.client.search_matrix_pairs(s.c, sample=10, limit=2)
    return [pairs, s.client.search_matrix_offsets(s.c, sample=10, limit=2)]


@step(reads=True)
def searches_that_are_wrong(s: Side) -> Any:
    """Every error as Qdrant gives it, and none of them from a cache."""
    wrong: list[Any] = [
        {"query": [1.0, 2.0], "limit": 3},
        {"query": vector(1), "limit": 0},
        {"query": vector(1), "limit": -1},
        {"query": vector(1), "using": "none"},
        {"query": vector(1), "filter": {"must": [{"key": "n", "no_such": 1}]}},
        {},
        [],
    ]
    return [s.post("/points/query", doc) for doc in wrong]


@step(reads=True)
def bodies_that_are_no_json(s: Side) -> Any:
    path = f"/collections/{s.c}/points/query"
    return [s.raw("POST", path, content=c) for c in (b"", b"{", b'{"query":[1,2', b"nonsense")]


@step(reads=True)
def a_collection_that_is_not_there(s: Side) -> Any:
    path = f"/collections/{s.prefix}_none/points"
    return [s.raw("POST", path + "/query", {"query": [1.0]}), s.raw("POST", path + "/count", {})]


# -- writes, each followed by a look ------------------------------------------------------------------------


def look(s: Side) -> Any:
    """Reads that were asked before the write, and must show it."""
    found = s.client.query_points(s.c, query=vector(5001), limit=7, with_payload=True, with_vectors=True)
    return [found, s.client.count(s.c), s.client.retrieve(s.c, ids=[1, 2, 3, 4, 5], with_vectors=True)]


def write(function: Callable[[Side], Any]) -> Callable[[Side], Any]:
    STEPS.append(Step(function.__name__, function))
    STEPS.append(Step("after_" + function.__name__, look, reads=True))
    return function


@write
def set_payload(s: Side) -> Any:
    return s.client.set_payload(s.c, payload={"seen": True}, points=[1, 2], wait=True)


@write
def overwrite_payload(s: Side) -> Any:
    return s.client.overwrite_payload(s.c, payload={"only": 1}, points=[3], wait=True)


@write
def delete_payload(s: Side) -> Any:
    return s.client.delete_payload(s.c, keys=["tags"], points=[1], wait=True)


@write
def clear_payload(s: Side) -> Any:
    return s.client.clear_payload(s.c, points_selector=[4], wait=True)


@write
def update_vectors(s: Side) -> Any:
    return s.client.update_vectors(s.c, points=[m.PointVectors(id=5, vector=vector(9005))], wait=True)


@write
def delete_points(s: Side) -> Any:
    return s.client.delete(s.c, points_selector=[10, 11], wait=True)


@write
def points_batch(s: Side) -> Any:
    operations = [
        m.UpsertOperation(upsert=m.PointsList(points=[m.PointStruct(id=900, vector=vector(5001))])),
        m.SetPayloadOperation(set_payload=m.SetPayload(payload={"b": 1}, points=[900])),
        m.DeleteOperation(delete=m.PointIdsList(points=[12])),
    ]
    return s.client.batch_update_points(s.c, update_operations=operations, wait=True)


@write
def a_batch_that_fails_half_way(s: Side) -> Any:
    points = [{"id": 901, "vector": vector(5001)}, {"id": 902, "vector": [1.0]}]
    return s.raw("PUT", f"/collections/{s.c}/points?wait=true", {"points": points})


@step()
def delete_vectors(s: Side) -> Any:
    return s.client.delete_vectors(s.named, vectors=["image"], points=[1, 2], wait=True)


@step(reads=True)
def after_delete_vectors(s: Side) -> Any:
    return s.client.retrieve(s.named, ids=[1, 3], with_vectors=["image", "text"], with_payload=False)


@step()
def add_vector_name(s: Side) -> Any:
    return s.raw(
        "PUT", f"/collections/{s.named}/vectors/extra?wait=true", {"dense": {"size": 4, "distance": "Dot"}}
    )


@step()
def drop_vector_name(s: Side) -> Any:
    return s.raw("DELETE", f"/collections/{s.named}/vectors/extra?wait=true")


@write
def delete_index(s: Side) -> Any:
    return s.client.delete_payload_index(s.c, "n", wait=True)


@write
def update_collection(s: Side) -> Any:
    return s.client.update_collection(s.c, hnsw_config=m.HnswConfigDiff(m=24))


# -- aliases ------------------------------------------------------------------------------------------------


def point_alias(s: Side, to: str) -> Any:
    name = s.prefix + "_alias"
    create = m.CreateAliasOperation(create_alias=m.CreateAlias(collection_name=to, alias_name=name))
    return s.client.update_collection_aliases([create])


def ask_alias(s: Side) -> Any:
    name = s.prefix + "_alias"
    return [s.client.count(name), s.client.retrieve(name, ids=[1, 2], with_payload=True)]


@step()
def update_aliases(s: Side) -> Any:
    return point_alias(s, s.c)


@step(reads=True)
def list_aliases(s: Side) -> Any:
    every = s.client.get_aliases().aliases
    return [
        sorted(a.alias_name for a in every if a.alias_name.startswith(s.prefix)),
        s.client.get_collection_aliases(s.c),
    ]


STEPS.append(Step("ask_the_alias", ask_alias, reads=True))


@step()
def move_the_alias(s: Side) -> Any:
    return point_alias(s, s.named)


STEPS.append(Step("ask_the_alias_that_moved", ask_alias, reads=True))


# -- reports, snapshots, shards, the server -----------------------------------------------------------------


@step(reads=True, shape=True)
def reports_on_a_collection(s: Side) -> Any:
    tails = ("/optimizations", "/memory", "/cluster")
    return [s.raw("GET", f"/collections/{s.c}{tail}") for tail in tails]


@step(shape=True)
def snapshot(s: Side) -> Any:
    made = s.client.create_snapshot(s.c)
    listed = s.client.list_snapshots(s.c)
    r = s.http.get(f"/collections/{s.c}/snapshots/{made.name}", headers={"accept-encoding": "identity"})
    ranged = s.http.get(f"/collections/{s.c}/snapshots/{made.name}", headers={"range": "bytes=5-14"})
    whole = len(r.content) == int(r.headers.get("content-length", len(r.content)))
    gone = s.client.delete_snapshot(s.c, made.name)
    return [made, listed, r.status_code, whole, ranged.status_code, gone, s.client.list_snapshots(s.c)]


@step()
def snapshot_recover_of_nothing(s: Side) -> Any:
    return s.raw("PUT", f"/collections/{s.c}_new/snapshots/recover", {"location": "file:///no/such/file"})


@step()
def snapshot_upload_of_nothing(s: Side) -> Any:
    body = b"--b\r\ncontent-disposition: form-data; name=snapshot; filename=x\r\n\r\nnothing\r\n--b--\r\n"
    path = f"/collections/{s.c}_new/snapshots/upload?wait=true"
    return s.raw("POST", path, content=body, content_type="multipart/form-data; boundary=b")["status"]


@step(reads=True, shape=True)
def service(s: Side) -> Any:
    paths = (
        "/",
        "/healthz",
        "/livez",
        "/readyz",
        "/telemetry",
        "/telemetry?details_level=3",
        "/cluster",
        "/issues",
    )
    return [s.raw("GET", path) for path in paths]


@step(reads=True)
def metrics(s: Side) -> Any:
    """Names only: values move."""
    text = s.raw("GET", "/metrics")
    return [text["status"], sorted({line.split("{")[0].split(" ")[0] for line in text["body"].splitlines()})]


@step(reads=True)
def dashboard(s: Side) -> Any:
    r = s.http.head("/dashboard/")
    return [s.raw("GET", "/dashboard")["status"], s.raw("GET", "/dashboard/x.js"), r.status_code, r.text]


@step(whole_server=True)
def clear_issues(s: Side) -> Any:
    return s.raw("DELETE", "/issues")


@step(reads=True)
def odd_paths(s: Side) -> Any:
    """Normalised, escaped, unknown, with methods that are not there."""
    c = s.c
    return [
        s.raw("GET", f"//collections//{c}/exists/"),
        s.raw("POST", f"/collections/{c[:-1]}%{ord(c[-1]):02x}/points/count", {"exact": True}),
        s.raw("GET", "/no/such/path"),
        s.raw("POST", "/healthz", {}),
        s.raw("OPTIONS", f"/collections/{c}"),
        s.raw("HEAD", f"/collections/{c}"),
        s.raw("GET", f"/collections/{c}/points/not-an-id"),
    ]


@step(reads=True)
def compressed_answers(s: Side) -> Any:
    """The client decompresses; what it sees is the same."""
    path = f"/collections/{s.c}/points/scroll"
    return [s.raw("POST", path, {"limit": 50}, accept_encoding=e) for e in ("gzip", "deflate", "identity")]


# What the engine does not serve, why, and still asked: the refusal must come through as it is. The path's
# variable ends are 0, the body is {}.
NOT_SERVED = {
    "collection_debug": "only in Qdrant's staging builds",
    "update_collection_cluster": "one node: shards have nowhere to go",
    "list_shard_keys": "no sharding by key",
    "create_shard_key": "no sharding by key",
    "delete_shard_key": "no sharding by key",
    "shard_retrieve": "internal to a cluster",
    "shard_scroll": "internal to a cluster",
    "shard_count": "internal to a cluster",
    "shard_cleanup": "internal to a cluster",
    "truncate_unapplied_wal": "nothing is ever unapplied",
    "shard_recover_snapshot": "no snapshots of shards",
    "shard_upload_snapshot": "no snapshots of shards",
    "shard_list_snapshots": "no snapshots of shards",
    "shard_create_snapshot": "no snapshots of shards",
    "shard_get_snapshot": "no snapshots of shards",
    "shard_delete_snapshot": "no snapshots of shards",
    "shard_stream_snapshot": "no snapshots of shards",
    "partial_snapshot_create": "no snapshots of shards",
    "partial_snapshot_recover": "no snapshots of shards",
    "partial_snapshot_recover_from": "no snapshots of shards",
    "partial_snapshot_manifest": "no snapshots of shards",
    "list_full_snapshots": "no snapshots of the whole storage",
    "create_full_snapshot": "no snapshots of the whole storage",
    "get_full_snapshot": "no snapshots of the whole storage",
    "delete_full_snapshot": "no snapshots of the whole storage",
    "cluster_recover": "one node",
    "cluster_remove_peer": "one node",
    "cluster_telemetry": "one node",
    "cluster_metadata_keys": "one node",
    "cluster_metadata_get": "one node",
    "cluster_metadata_set": "one node",
    "cluster_metadata_delete": "one node",
    "get_quotas": "from Qdrant 1.19 on",
    "set_quotas": "from Qdrant 1.19 on",
    "stacktrace": "a debugging aid of Qdrant's process",
    "get_logger": "a debugging aid of Qdrant's process",
    "set_logger": "a debugging aid of Qdrant's process",
    "get_debugger": "a debugging aid of Qdrant's process",
    "set_debugger": "a debugging aid of Qdrant's process",
    "slow_requests": "a debugging aid of Qdrant's process",
    "audit_logs": "a debugging aid of Qdrant's process",
}


def ask_row(op: Any) -> Callable[[Side], Any]:
    def run(s: Side) -> Any:
        path = op.pattern.replace("{c}", s.c).replace("{}", "0")
        return s.raw(op.method, path, None if op.method == "GET" else {})

    return run


for _op in OPS:
    if _op.name in NOT_SERVED:
        _service_write = _op.method != "GET" and "{c}" not in _op.pattern
        # where a server has it, values are its own: ids, times, sizes
        STEPS.append(Step(f"row_{_op.name}", ask_row(_op), shape=True, whole_server=_service_write))


# -- the end ------------------------------------------------------------------------------------------------


@step()
def a_write_that_is_not_waited_for(s: Side) -> Any:
    s.client.set_payload(s.named, payload={"late": True}, points=[1], wait=False)
    return s.client.set_payload(s.named, payload={"late": 2}, points=[2], wait=True)


@step(reads=True, cached=False)
def after_a_write_that_is_not_waited_for(s: Side) -> Any:
    return s.client.retrieve(s.named, ids=[1, 2], with_payload=["late"])


@step()
def delete_collection(s: Side) -> Any:
    return [s.client.delete_collection(s.c), s.client.delete_collection(s.c)]


@step(reads=True)
def after_delete_collection(s: Side) -> Any:
    """What was cached of it is gone with it."""
    path = f"/collections/{s.c}/points"
    return [
        s.raw("POST", path + "/count", {"exact": True}),
        s.raw("GET", path + "/7"),
        s.client.collection_exists(s.c),
    ]


@step()
def create_it_anew(s: Side) -> Any:
    made = s.client.create_collection(
        s.c, vectors_config=m.VectorParams(size=SIZE, distance=m.Distance.COSINE)
    )
    return [made, s.client.upsert(s.c, points=[m.PointStruct(id=7, vector=vector(1))], wait=True)]


@step(reads=True)
def after_create_it_anew(s: Side) -> Any:
    return [s.client.count(s.c), s.client.http.points_api.get_point(collection_name=s.c, id=7).result]
