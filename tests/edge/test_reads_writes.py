"""Reads against plain numpy, and what each write does to what is read."""
import uuid

import numpy as np
import pytest

N = 60
RNG = np.random.default_rng(5)
DENSE = RNG.standard_normal((N, 8)).astype(np.float32)
AT = "/collections/rw/points"
UUID = str(uuid.UUID(int=7))


def name_of(i):
    return UUID if i == 0 else i


@pytest.fixture(scope="module", autouse=True)
def collection(edge):
    edge.result("PUT", "/collections/rw", {
        "vectors": {"d": {"size": 8, "distance": "Dot"},
                    "m": {"size": 2, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}},
        "sparse_vectors": {"s": {}}})
    points = [
        {
            "id": name_of(i),
            "payload": {"n": i, "c": f"c{i % 3}", "tags": [f"t{i % 2}", "all"], "doc": i % 2},
            "vector": {
                "d": DENSE[i].tolist(),
                "m": [[i, 1.5], [1.5, 2.5]],
                "s": {"indices": [9, i % 5], "values": [0.5, 1.0]},
            },
        }
        for i in range(N)
    ]
    edge.result("PUT", AT + "?wait=true", {"points": points})
    for field, schema in (("n", "integer"), ("c", "keyword"), ("tags", "keyword")):
        edge.result("PUT", "/collections/rw/index?wait=true", {"field_name": field, "field_schema": schema})
    edge.result("PUT", "/collections/docs", {"vectors": {"size": 8, "distance": "Dot"}})
    docs = {"ids": [0, 1], "vectors": DENSE[:2].tolist(), "payloads": [{"t": "zero"}, {"t": "one"}]}
    edge.result("PUT", "/collections/docs/points?wait=true", {"batch": docs})


def best(vector, limit, among=range(N)):
    """Ids by descending dot product."""
    scores = DENSE @ np.asarray(vector, dtype=np.float32)
    return [name_of(i) for i in sorted(among, key=lambda i: -scores[i])[:limit]]


def query(edge, **doc):
    return [p["id"] for p in edge.result("POST", AT + "/query", {"using": "d", **doc})["points"]]


V = [1.0, -1.0, 0.5, 0.0, 0.2, 0.3, -0.7, 0.9]
W = [0.1, 0.4, -0.5, 1.0, 0.0, -0.3, 0.7, 0.2]


def test_search_and_query_agree_with_numpy(edge):
    search = edge.result(
        "POST", AT + "/search", {"vector": {"name": "d", "vector": V}, "limit": 5, "offset": 2}
    )
    assert [p["id"] for p in search] == best(V, 7)[2:] == query(edge, query=V, limit=5, offset=2)
    assert search[0]["score"] == pytest.approx(float(DENSE[best(V, 3)[2]] @ np.float32(V)), rel=1e-5)
    assert set(search[0]) == {"id", "version", "score"}
    assert len(query(edge, query=V)) == 10


def test_batches_equal_singles(edge):
    docs = [
        {"query": V, "using": "d", "limit": 3, "with_payload": True},
        {"query": 5, "using": "d", "limit": 2},
        {"query": {"indices": [3], "values": [1.0]}, "using": "s", "limit": 2},
        {"limit": 2},
    ]
    singles = [edge.result("POST", AT + "/query", doc) for doc in docs]
    assert edge.result("POST", AT + "/query/batch", {"searches": docs}) == singles
    assert edge.result("POST", AT + "/search/batch", {"searches": []}) == []


def test_by_id_leaves_itself_out(edge):
    assert query(edge, query=5, limit=4) == [i for i in best(DENSE[5], 5) if i != 5][:4]
    assert query(edge, query=UUID, limit=3) == [i for i in best(DENSE[0], 4) if i != UUID][:3]


def test_lookup_from_another_collection(edge):
    lookup = {"collection": "docs", "vector": ""}
    assert query(edge, query=1, limit=3, lookup_from=lookup) == best(
        DENSE[1], 3
    )  # 1 itself is no reference here
    assert (
        edge.error("POST", AT + "/query", {"query": 1, "using": "d", "lookup_from": {"collection": "docs"}})[
            0
        ]
        == 400
    )
    found = edge.result("POST", "/collections/docs/points/recommend", {
        "positive": [5], "limit": 2, "lookup_from": {"collection": "rw", "vector": "d"}})
    assert {p["id"] for p in found} == {0, 1}
    nested = query(
        edge, prefetch={"query": 1, "using": "d", "lookup_from": lookup, "limit": 5}, query=V, limit=5
    )
    assert set(nested) == set(best(DENSE[1], 5))


def test_recommend_strategies(edge):
    target = DENSE[[3, 4]].mean(axis=0) * 2 - DENSE[6]
    expect = [i for i in best(target, 10) if i not in (3, 4, 6)][:3]
    doc = {"positive": [3, 4], "negative": [6], "using": "d", "limit": 3}
    assert [p["id"] for p in edge.result("POST", AT + "/recommend", doc)] == expect
    assert query(edge, query={"recommend": {"positive": [3, 4], "negative": [6]}}, limit=3) == expect
    for strategy in ("best_score", "sum_scores"):
        got = edge.result("POST", AT + "/recommend", doc | {"strategy": strategy})
        assert len(got) == 3 and not {p["id"] for p in got} & {3, 4, 6}
    assert len(edge.result("POST", AT + "/recommend/batch", {"searches": [doc, doc]})) == 2
    mixed = query(edge, query={"recommend": {"positive": [V], "negative": []}}, limit=2)
    assert mixed == best(V, 2)


def test_discover_and_context(edge):
    doc = {"target": 1, "context": [{"positive": 2, "negative": 3}], "using": "d", "limit": 4}
    single = edge.result("POST", AT + "/discover", doc)
    assert not {p["id"] for p in single} & {1, 2, 3}
    assert edge.result("POST", AT + "/discover/batch", {"searches": [doc]}) == [single]
    assert query(edge, query={"discover": {"target": 1, "context": {"positive": 2, "negative": 3}}},
                 limit=4) == [p["id"] for p in single]
    assert len(query(edge, query={"context": [{"positive": 2, "negative": 3}]}, limit=4)) == 4


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_prefetch_trees(edge, depth):
    """Each level narrows to the best of the level below; the leaf has a filter of its own."""
    sizes = {1: [20], 2: [20, 12], 3: [20, 12, 7]}[depth]
    among = [i for i in range(N) if i % 3 == 1]
    tree = {"query": W, "using": "d", "limit": sizes[0], "params": {"exact": True},
            "filter": {"must": {"key": "c", "match": {"value": "c1"}}}}
    chosen = best(W, sizes[0], among)
    for level, size in enumerate(sizes[1:]):
        vector = V if level % 2 == 0 else W
        tree = {"prefetch": tree if level % 2 else [tree], "query": vector, "using": "d", "limit": size}
        chosen = best(vector, size, chosen)
    got = query(edge, prefetch=[tree], query=DENSE[2].tolist(), limit=3, params={"hnsw_ef": 8})
    assert got == best(DENSE[2], 3, chosen)


def test_fusion(edge):
    legs = [{"query": V, "using": "d", "limit": 5}, {"query": W, "using": "d", "limit": 5}]
    ranks = {}
    for leg in (best(V, 5), best(W, 5)):
        for rank, point in enumerate(leg):
            ranks[point] = ranks.get(point, 0) + 1 / (2 + rank)
    got = edge.result("POST", AT + "/query", {"prefetch": legs, "query": {"fusion": "rrf"}, "limit": 10})[
        "points"
    ]
    assert {p["id"]: pytest.approx(p["score"], rel=1e-5) for p in got} == ranks
    for form in ({"fusion": "dbsf"}, {"rrf": {"k": 60}}, {"rrf": {"weights": [2.0, 1.0]}}):
        assert len(query(edge, prefetch=legs, query=form, limit=3)) == 3


def test_formula(edge):
    form = {"formula": {"sum": ["$score", {"mult": [100.0, {"key": "n", "match": {"value": 30}}]}]}}
    assert query(edge, prefetch={"query": V, "using": "d", "limit": N}, query=form, limit=1) == [30]


def test_order_sample_mmr_sparse_multi(edge):
    assert query(edge, query={"order_by": {"key": "n", "direction": "desc"}}, limit=3) == [59, 58, 57]
    assert len(set(query(edge, query={"sample": "random"}, limit=20))) == 20
    assert query(edge, query={"nearest": V, "mmr": {"diversity": 0.0}}, limit=3) == best(V, 3)
    assert (
        len(query(edge, query={"nearest": V, "mmr": {"diversity": 0.9, "candidates_limit": 20}}, limit=3))
        == 3
    )
    sparse = edge.result("POST", AT + "/query", {"query": {"indices": [4], "values": [2.0]}, "using": "s",
                                                 "with_vector": ["s"], "limit": N})["points"]
    assert len(sparse) == N // 5 and sparse[0]["score"] == 2.0
    assert sparse[0]["vector"]["s"] == {"indices": [4, 9], "values": [1.0, 0.5]}
    multi = edge.result("POST", AT + "/query", {"query": [[1.0, 0.0], [0.5, 0.5]], "using": "m", "limit": 1})[
        "points"
    ]
    assert multi[0]["id"] == 59


@pytest.mark.parametrize(
    "condition,keep",
    [
        ({"must": [{"key": "n", "range": {"gte": 10, "lt": 13}}]}, lambda i: 10 <= i < 13),
        (
            {"should": [{"key": "c", "match": {"any": ["c1"]}}, {"has_id": [UUID]}]},
            lambda i: i % 3 == 1 or i == 0,
        ),
        ({"must_not": [{"key": "c", "match": {"except": ["c1"]}}]}, lambda i: i % 3 == 1),
        ({"must": {"must_not": [{"key": "n", "match": {"value": 4}}]}}, lambda i: i != 4),
        (
            {
                "min_should": {
                    "conditions": [{"key": "c", "match": {"value": "c0"}}, {"key": "n", "range": {"lt": 9}}],
                    "min_count": 2,
                }
            },
            lambda i: i % 3 == 0 and i < 9,
        ),
        ({"must": [{"is_empty": {"key": "nothing"}}, {"has_vector": "s"}]}, lambda i: True),
        (
            {"must": [{"key": "tags", "values_count": {"gt": 1}}, {"key": "tags", "match": {"value": "t1"}}]},
            lambda i: i % 2 == 1,
        ),
    ],
)
def test_filters(edge, condition, keep):
    want = {name_of(i) for i in range(N) if keep(i)}
    assert edge.result("POST", AT + "/count", {"filter": condition}) == {"count": len(want)}
    rows = edge.result("POST", AT + "/scroll", {"filter": condition, "limit": N, "with_payload": False})[
        "points"
    ]
    assert {r["id"] for r in rows} == want and all(set(r) == {"id"} for r in rows)
    assert set(query(edge, query=V, limit=N, filter=condition)) == want


def test_scroll_pages(edge):
    seen, offset = [], None
    while True:
        page = edge.result("POST", AT + "/scroll", {"limit": 7, "offset": offset})
        seen += [r["id"] for r in page["points"]]
        offset = page["next_page_offset"]
        if offset is None:
            break
    assert len(seen) == len(set(seen)) == N
    ordered = edge.result("POST", AT + "/scroll", {"limit": 2, "order_by": {"key": "n", "start_from": 50}})
    assert [r["order_value"] for r in ordered["points"]] == [50, 51] and ordered["next_page_offset"] is None


def test_retrieve_order_and_selectors(edge):
    rows = edge.result("POST", AT, {"ids": [5, UUID, 999, 3]})
    assert rows == [{"id": 5}, {"id": UUID}, {"id": 3}]
    for selector, keys in (
        (["n"], {"n"}),
        ({"include": ["c"]}, {"c"}),
        ({"exclude": ["n", "c"]}, {"tags", "doc"}),
    ):
        assert set(edge.result("POST", AT, {"ids": [5], "with_payload": selector})[0]["payload"]) == keys
    assert set(edge.result("POST", AT, {"ids": [5], "with_vector": ["d"]})[0]["vector"]) == {"d"}
    whole = edge.result("GET", AT + "/5")
    assert set(whole["vector"]) == {"d", "m", "s"} and list(whole) == ["id", "payload", "vector"]


def test_groups(edge):
    order = best(V, N)
    group = {}
    for point in order:
        if point != UUID:
            group.setdefault(f"c{point % 3}", []).append(point)
        else:
            group.setdefault("c0", []).append(point)
    doc = {"group_by": "c", "limit": 2, "group_size": 4, "with_payload": ["n"], "with_vector": ["d"]}
    found = edge.result("POST", AT + "/query/groups", {"query": V, "using": "d", **doc})["groups"]
    assert [(g["id"], [h["id"] for h in g["hits"]]) for g in found] == [
        (k, v[:4]) for k, v in list(group.items())[:2]
    ]
    assert all(set(h) == {"id", "version", "score", "payload", "vector"} for g in found for h in g["hits"])
    old = edge.result("POST", AT + "/search/groups", {"vector": {"name": "d", "vector": V}, **doc})["groups"]
    assert old == found
    arrays = edge.result("POST", AT + "/query/groups", {"query": V, "using": "d", "group_by": "tags"})[
        "groups"
    ]
    assert {g["id"] for g in arrays} == {"all", "t0", "t1"}
    recommended = edge.result("POST", AT + "/recommend/groups", {"positive": [1], "using": "d", **doc})[
        "groups"
    ]
    assert len(recommended) == 2


def test_groups_with_lookup(edge):
    doc = {
        "query": V,
        "using": "d",
        "group_by": "doc",
        "with_lookup": {"collection": "docs", "with_vectors": True},
    }
    found = edge.result("POST", AT + "/query/groups", doc)["groups"]
    assert {g["id"]: g["lookup"]["payload"]["t"] for g in found} == {0: "zero", 1: "one"}
    assert all(len(g["lookup"]["vector"]) == 8 for g in found)
    assert edge.error("POST", AT + "/query/groups", doc | {"with_lookup": "nowhere"})[0] == 404


def test_matrix(edge):
    pairs = edge.result("POST", AT + "/search/matrix/pairs", {"sample": 8, "limit": 3, "using": "d"})["pairs"]
    assert len(pairs) == 24 and len({p["a"] for p in pairs}) == 8 and all(p["a"] != p["b"] for p in pairs)
    offsets = edge.result("POST", AT + "/search/matrix/offsets", {"sample": 8, "limit": 3, "using": "d"})
    assert len(offsets["ids"]) == 8 and len(offsets["scores"]) == len(offsets["offsets_row"]) == 24


def test_facet(edge):
    hits = edge.result("POST", "/collections/rw/facet", {"key": "c", "exact": True})["hits"]
    assert {h["value"]: h["count"] for h in hits} == {"c0": 20, "c1": 20, "c2": 20}


def test_payload_writes(edge):
    edge.result(
        "PUT", AT + "?wait=true", {"points": [{"id": 500, "vector": {"d": V}, "payload": {"a": {"b": 1}}}]}
    )

    def write(method, route, **doc):
        edge.result(method, f"{AT}/payload{route}?wait=true", {"points": [500], **doc})
        return edge.result("GET", AT + "/500")["payload"]

    assert write("POST", "", payload={"x": 1}) == {"a": {"b": 1}, "x": 1}
    assert write("POST", "", payload={"c": 2}, key="a") == {"a": {"b": 1, "c": 2}, "x": 1}
    assert write("POST", "/delete", keys=["x"]) == {"a": {"b": 1, "c": 2}}
    assert write("PUT", "", payload={"y": 2}) == {"y": 2}
    assert write("POST", "/clear") == {}
    by_filter = {"filter": {"must": [{"has_id": [500]}]}, "payload": {"f": True}}
    edge.result("POST", AT + "/payload?wait=true", by_filter)
    assert edge.result("GET", AT + "/500")["payload"] == {"f": True}
    for value, left in ((1, 1), (False, 1), (True, 0)):       # a boolean is not a number
        by_filter = {"filter": {"must": [{"key": "f", "match": {"value": value}}]}}
        edge.result("POST", AT + "/delete?wait=true", by_filter)
        assert len(edge.result("POST", AT, {"ids": [500]})) == left
    assert edge.error("GET", AT + "/500")[0] == 404


def test_vector_writes(edge):
    edge.result(
        "PUT",
        AT + "?wait=true",
        {"points": [{"id": 501, "vector": {"d": V, "s": {"indices": [1], "values": [1]}}}]},
    )
    edge.result("PUT", AT + "/vectors?wait=true", {"points": [{"id": 501, "vector": {"d": W}}]})
    vector = edge.result("GET", AT + "/501")["vector"]
    assert vector["d"] == pytest.approx(W) and "s" in vector
    edge.result("POST", AT + "/vectors/delete?wait=true", {"points": [501], "vector": ["s"]})
    assert set(edge.result("GET", AT + "/501")["vector"]) == {"d"}
    assert edge.error("PUT", AT + "/vectors", {"points": [{"id": 999, "vector": {"d": W}}]})[0] == 404
    edge.result("POST", AT + "/delete", {"points": [501]})


def test_points_batch_is_not_atomic(edge):
    good = {"upsert": {"points": [{"id": 502, "vector": {"d": V}}]}}
    bad = {"upsert": {"points": [{"id": 503, "vector": {"d": [1.0]}}]}}
    assert edge.error("POST", AT + "/batch?wait=true", {"operations": [good, bad]})[0] == 400
    assert edge.call("GET", AT + "/502")[0] == 200
    done = edge.result(
        "POST",
        AT + "/batch?wait=true",
        {
            "operations": [
                {"set_payload": {"payload": {"q": 1}, "points": [502]}},
                {"delete_payload": {"keys": ["q"], "points": [502]}},
                {"overwrite_payload": {"payload": {"r": 1}, "points": [502]}},
                {"clear_payload": {"points": [502]}},
                {"update_vectors": {"points": [{"id": 502, "vector": {"d": W}}]}},
                {"delete_vectors": {"points": [502], "vector": ["d"]}},
                {"delete": {"points": [502]}},
            ]
        },
    )
    numbers = [d["operation_id"] for d in done]
    assert numbers == list(range(numbers[0], numbers[0] + 7)) and {d["status"] for d in done} == {"completed"}


def test_conditional_upsert(edge):
    point = {"id": 504, "vector": {"d": V}, "payload": {"v": 1}}
    edge.result("PUT", AT, {"points": [point]})
    changed = {"points": [point | {"payload": {"v": 2}}]}
    edge.result("PUT", AT, changed | {"update_mode": "insert_only"})
    assert edge.result("GET", AT + "/504")["payload"] == {"v": 1}
    edge.result("PUT", AT, changed | {"update_filter": {"must": [{"key": "v", "match": {"value": 1}}]}})
    assert edge.result("GET", AT + "/504")["payload"] == {"v": 2}
    edge.result("POST", AT + "/delete", {"points": [504]})


def test_named_vectors_come_and_go_and_survive_a_rebuild(edge):
    at = "/collections/rw/vectors/extra"
    edge.result("PUT", at + "?wait=true", {"dense": {"size": 2, "distance": "Dot"}})
    assert edge.error("PUT", at, {"dense": {"size": 2, "distance": "Dot"}})[0] == 400
    edge.result("PUT", AT + "/vectors?wait=true", {"points": [{"id": 1, "vector": {"extra": [1.0, 2.0]}}]})
    edge.result("PATCH", "/collections/rw", {"hnsw_config": {"m": 20}})
    edge.wait_green("rw")
    found = edge.result("POST", AT + "/query", {"query": [1.0, 0.0], "using": "extra"})["points"]
    assert [p["id"] for p in found] == [1]
    edge.result("DELETE", at + "?wait=true")
    assert edge.error("POST", AT + "/query", {"query": [1.0, 0.0], "using": "extra"})[0] == 400
    edge.result("PATCH", "/collections/rw", {"hnsw_config": {"m": 16}})
    edge.wait_green("rw")
    assert query(edge, query=V, limit=3) == best(V, 3)


def test_index_schema_in_info(edge):
    text = {"type": "text", "tokenizer": "word", "lowercase": True, "min_token_len": 2}
    edge.result("PUT", "/collections/rw/index?wait=true", {"field_name": "t", "field_schema": text})
    schema = edge.result("GET", "/collections/rw")["payload_schema"]
    assert schema["t"] == {"data_type": "text", "params": text, "points": 0}
    assert schema["c"] == {"data_type": "keyword", "points": N}
    edge.result("DELETE", "/collections/rw/index/t?wait=true")
    assert "t" not in edge.result("GET", "/collections/rw")["payload_schema"]
