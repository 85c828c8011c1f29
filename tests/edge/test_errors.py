"""What is refused, with which status, in which words."""
import json

import pytest

SEARCH = "/collections/err/points/search"
QUERY = "/collections/err/points/query"
V = [0.1, 0.2, 0.3, 0.4]


@pytest.fixture(scope="module", autouse=True)
def collection(edge):
    edge.result("PUT", "/collections/err", {"vectors": {"size": 4, "distance": "Cosine"}})
    points = [{"id": i, "vector": [i, 1, 0, 1], "payload": {"n": i}} for i in range(1, 6)]
    edge.result("PUT", "/collections/err/points?wait=true", {"points": points})


@pytest.mark.parametrize(
    "body,status,part",
    [
        ({"vector": V}, 400, "missing field `limit`"),
        ({"limit": 1}, 400, "missing field `vector`"),
        ({"vector": V, "limit": 0}, 422, "search_request.limit: value 0 invalid, must be 1 or larger"),
        ({"vector": V, "limit": 1.5}, 400, "floating point `1.5`, expected usize"),
        ({"vector": V, "limit": -1}, 400, "expected usize"),
        ({"vector": V, "limit": 1, "top": 1}, 400, "duplicate field `limit`"),
        ({"vector": V, "limit": 1, "with_vector": True, "with_vectors": True}, 400, "duplicate field"),
        (
            {"vector": V, "limit": 1, "params": {"hnsw_ef": 10.0}},
            400,
            "floating point `10.0`, expected usize",
        ),
        ({"vector": V, "limit": 1, "params": {"hnsw_ef": "10"}}, 400, 'string "10", expected usize'),
        ({"vector": V, "limit": 1, "params": {"exact": 1}}, 400, "expected a boolean"),
        ({"vector": V, "limit": 1, "params": []}, 400, "expected struct SearchParams"),
        (
            {"vector": V, "limit": 1, "params": {"quantization": {"oversampling": 0.5}}},
            422,
            "must be 1.0 or larger",
        ),
        ({"vector": [1.0], "limit": 1}, 400, "Vector dimension error: expected dim: 4, got 1"),
        ({"vector": {"name": "x", "vector": V}, "limit": 1}, 400, "Not existing vector name error: x"),
        ({"vector": V, "limit": 1, "filter": {"most": []}}, 400, "unknown field `most`"),
        ({"vector": V, "limit": 1, "filter": {"must": [{"key": "n"}]}}, 422, "field condition"),
        ({"vector": V, "limit": 1, "filter": 5}, 400, "struct Filter"),
        ({"vector": "text", "limit": 1}, 400, "VectorStruct"),
        ({"vector": ["a", "b", "c", "d"], "limit": 1}, 400, "Format error"),
    ],
)
def test_search(edge, body, status, part):
    got, text = edge.error("POST", SEARCH, body)
    assert got == status and part in text, text


@pytest.mark.parametrize(
    "body,part",
    [
        (b"", "EOF while parsing a value at line 1 column 0"),
        (b'{"vector":[0.1,', "EOF while parsing a value at line 1 column 15"),
        (b"[]", "expected struct"),
        (b'{"vector":[0.1,0.2,0.3,0.4],"limit":1,"limit":2}', "duplicate field `limit` at line 1 column 48"),
        (
            b'{"vector":[0.1,0.2,0.3,0.4],"limit":1,"params":{"exact":true,"exact":false}}',
            "duplicate field `exact`",
        ),
        (b'{"vector":[NaN,0,0,0],"limit":1}', "Format error in JSON body"),
    ],
)
def test_bodies_that_do_not_parse(edge, body, part):
    status, text = edge.error("POST", SEARCH, content=body)
    assert status == 400 and part in text, text


def test_what_looks_like_a_duplicate_but_is_not(edge):
    body = {"vector": V, "limit": 1, "filter": {"must": [{"key": 'a"b', "match": {"value": '"limit":"x"'}}]}}
    assert edge.call("POST", SEARCH, body)[0] in (200, 400)
    body["filter"]["must"][0]["key"] = "n"
    assert edge.result("POST", SEARCH, body) == []
    twice = b'{"points":[{"id":9,"vector":[1,1,1,1],"payload":{"a":1,"a":2}}]}'
    assert edge.call("PUT", "/collections/err/points?wait=true", content=twice)[0] == 200
    assert edge.result("GET", "/collections/err/points/9")["payload"] == {"a": 2}


@pytest.mark.parametrize("body,status,part", [
    ({"query": V, "limit": 0}, 422, "limit: value 0 invalid"),
    ({"query": 99}, 404, "No point with id 99 found"),
    ({"query": "no-uuid"}, 400, "not a valid point ID"),
    ({"query": {"unknown": 1}}, 400, "did not match any variant"),
    ({"query": {"fusion": "xyz"}, "prefetch": {"query": V}}, 400, "expected `rrf` or `dbsf`"),
    ({"prefetch": {"query": V}}, 400, "prefetch"),
    ({"query": V, "prefetch": {"query": V, "params": {"hnsw_ef": 1.5}}}, 400, "expected usize"),
    ({"query": {"text": "hello", "model": "m"}}, 500, "InferenceService"),
    ({"query": V, "lookup_from": {"collection": "nowhere"}}, 404, "Collection nowhere not found"),
])
def test_query(edge, body, status, part):
    got, text = edge.error("POST", QUERY, body)
    assert got == status and part in text, text


@pytest.mark.parametrize("body,status,part", [
    ({"points": [{"id": -1, "vector": V}]}, 400, "not a valid point ID"),
    ({"points": [{"id": 1.0, "vector": V}]}, 400, "not a valid point ID"),
    ({"points": [{"vector": V}]}, 400, "missing field `id`"),
    ({"points": [{"id": 1}]}, 400, "missing field `vector`"),
    ({"points": [{"id": 1, "vector": [1.0, 2.0]}]}, 400, "expected dim: 4, got 2"),
    ({"points": [{"id": 1, "vector": {"x": V}}]}, 400, "Not existing vector name error: x"),
    ({"batch": {"ids": [1, 2], "vectors": [V]}}, 422, "must be equal"),
    ({}, 400, "PointInsertOperations"),
])
def test_upsert(edge, body, status, part):
    before = edge.result("POST", "/collections/err/points/delete?wait=true", {"points": [77]})["operation_id"]
    got, text = edge.error("PUT", "/collections/err/points?wait=true", body)
    assert got == status and part in text, text
    after = edge.result("POST", "/collections/err/points/delete?wait=true", {"points": [77]})["operation_id"]
    assert after == before + 1, "a refused write used up an operation number"


@pytest.mark.parametrize(
    "body,status,part",
    [
        (
            {"vectors": {"size": 0, "distance": "Dot"}},
            422,
            "vectors.size: value 0 invalid, must be from 1 to 65536",
        ),
        ({"vectors": {"size": 4}}, 400, "missing field `distance`"),
        ({"vectors": {"size": 4, "distance": "Far"}}, 400, "unknown variant `Far`"),
        (
            {"vectors": {"size": 4, "distance": "Dot"}, "hnsw_config": {"ef_construct": 1}},
            422,
            "must be 4 or larger",
        ),
        ({"vectors": {"size": 4, "distance": "Dot"}, "hnsw_config": {"m": 1.5}}, 400, "expected usize"),
        (
            {"vectors": {"size": 4, "distance": "Dot"}, "quantization_config": {"odd": {}}},
            400,
            "QuantizationConfig",
        ),
    ],
)
def test_create(edge, body, status, part):
    got, text = edge.error("PUT", "/collections/never", body)
    assert got == status and part in text, text
    assert edge.result("GET", "/collections/never/exists") == {"exists": False}


def test_names(edge):
    good = {"vectors": {"size": 4, "distance": "Dot"}}
    assert edge.error("PUT", "/collections/a%3Cb", good)[0] == 400
    assert edge.error("PUT", "/collections/a%2Fb", good)[0] == 422
    assert edge.error("PUT", "/collections/err", good) == (
        409,
        "Wrong input: Collection `err` already exists!",
    )
    assert edge.error("GET", "/collections/gone") == (404, "Not found: Collection `gone` doesn't exist!")


@pytest.mark.parametrize(
    "method,path,body,status",
    [
        ("GET", "/collections/err/points/abc", None, 400),
        ("GET", "/collections/err/points/999", None, 404),
        ("POST", "/collections/err/points", {}, 400),
        ("POST", "/collections/err/points/scroll", {"limit": 0}, 422),
        ("POST", "/collections/err/points/scroll", {"order_by": "n"}, 400),
        ("POST", "/collections/err/points/count", {"exact": 1}, 400),
        ("POST", "/collections/err/facet", {"key": "n"}, 400),
        (
            "POST",
            "/collections/err/points/search/batch",
            {"searches": [{"vector": V, "limit": 1}, {"vector": V}]},
            400,
        ),
        ("POST", "/collections/err/points/search/matrix/pairs", {"sample": 1}, 422),
        ("POST", "/collections/err/points/search/groups", {"vector": V, "limit": 1, "group_by": "n"}, 400),
        ("POST", "/collections/err/points/recommend", {"positive": [], "limit": 1}, 400),
        ("POST", "/collections/err/points/payload", {"payload": {"a": 1}}, 400),
        ("POST", "/collections/err/points/batch", {"operations": [{"odd": {}}]}, 400),
        ("PUT", "/collections/err/index", {"field_name": "n", "field_schema": "odd"}, 400),
        ("PATCH", "/collections/err", {"hnsw_config": {"ef_construct": 1}}, 422),
    ],
)
def test_other_routes(edge, method, path, body, status):
    got, text = edge.error(method, path, body)
    assert got == status, text


def test_a_read_timeout_of_zero(edge):
    status, text = edge.error("POST", SEARCH + "?timeout=0", {"vector": V, "limit": 1})
    assert status == 400 and text == ("Deserialize error in query parameters: "
                                      "invalid value: integer `0`, expected a nonzero u64")


def test_garbage_never_breaks_the_server(edge):
    """Every route that takes a body, with bodies of the wrong kind: an answer in shape, never a 500."""
    bodies = [
        {"points": 5},
        {"filter": []},
        {"searches": {}},
        {"ids": {}},
        {"query": {"recommend": 5}, "limit": 1},
        {"vector": V, "limit": 1, "filter": {"must": [5]}},
        {"query": V, "prefetch": [5]},
        {"query": {"discover": []}},
        {"payload": [], "points": [1]},
        {"vectors": 5},
        {"actions": [5]},
        {"vector": V, "limit": 1, "params": {"quantization": 5}},
        {"query": {"formula": {}}, "prefetch": {}},
        {"query": V, "lookup_from": 5},
        {"vector": V, "limit": 1, "with_payload": 5},
        {"key": 5},
        {"vector": V, "limit": 1, "filter": {"must": [{"key": "n", "match": 5}]}},
        {"vector": V, "limit": 1, "filter": {"must": [{"has_id": 5}]}},
        {"vector": V, "limit": 1, "filter": {"must": [{"key": "n", "geo_radius": {}}]}},
        {"vector": V, "limit": 1, "score_threshold": "x"},
        {"vector": V, "limit": 1, "offset": 1.5},
        {"vector": V, "limit": 10**30},
        {"query": V, "using": 5},
        {"hnsw_config": 5},
        {"strict_mode_config": []},
    ]
    routes = [
        ("POST", "points"),
        ("PUT", "points"),
        ("POST", "points/search"),
        ("POST", "points/search/batch"),
        ("POST", "points/query"),
        ("POST", "points/query/batch"),
        ("POST", "points/recommend"),
        ("POST", "points/discover"),
        ("POST", "points/scroll"),
        ("POST", "points/count"),
        ("POST", "facet"),
        ("POST", "points/delete"),
        ("POST", "points/payload"),
        ("PUT", "points/vectors"),
        ("PUT", "index"),
        ("POST", "points/vectors/delete"),
        ("PATCH", ""),
    ]
    faults = []
    for method, route in routes:
        for body in bodies:
            status, answer = edge.call(method, f"/collections/err/{route}", body)
            if status >= 500:
                faults.append((method, route, json.dumps(body), answer))
    assert not faults
