"""Collections: aliases, strict mode, PATCH that rebuilds, what a restart and a crash keep."""
import signal
import threading

import httpx
import numpy as np
import pytest

SIZE, POINTS = 64, 2000
INDEXED = {
    "hnsw_config": {"m": 8, "full_scan_threshold": 10},
    "optimizers_config": {"indexing_threshold": 100},
}
ALIASES = "/collections/aliases"


def vectors(seed, count):
    return np.random.default_rng(seed).standard_normal((count, SIZE)).astype(np.float32)


def load(edge, name, count=POINTS, **config):
    """A collection of `count` points, indexed and green."""
    edge.result(
        "PUT", f"/collections/{name}", {"vectors": {"size": SIZE, "distance": "Cosine"}, **INDEXED, **config}
    )
    rows = vectors(1, count).tolist()
    for first in range(0, count, 500):
        points = [
            {"id": i, "vector": rows[i], "payload": {"n": i}} for i in range(first, min(count, first + 500))
        ]
        edge.result("PUT", f"/collections/{name}/points?wait=true", {"points": points})
    edge.wait_green(name)


def ids(edge, name, vector, **params):
    doc = {"vector": vector, "limit": 10, "params": params}
    return {p["id"] for p in edge.result("POST", f"/collections/{name}/points/search", doc)}


def recall(edge, name, **params):
    """Recall@10 over 20 random queries against the exact answer."""
    hits = 0
    for vector in vectors(2, 20).tolist():
        hits += len(ids(edge, name, vector, exact=True) & ids(edge, name, vector, **params))
    return hits / 200


@pytest.fixture(scope="module")
def tuned(edge):
    load(edge, "tuned")
    return "tuned"


def test_yellow_until_indexed(edge):
    edge.result("PUT", "/collections/colour", {"vectors": {"size": SIZE, "distance": "Dot"}, **INDEXED})
    points = [{"id": i, "vector": v} for i, v in enumerate(vectors(3, 1000).tolist())]
    edge.result("PUT", "/collections/colour/points", {"points": points})
    info = edge.result("GET", "/collections/colour")
    assert (info["status"], info["points_count"], info["indexed_vectors_count"]) == ("yellow", 1000, 0)
    queue = edge.result("GET", "/collections/colour/optimizations?with=queued")
    assert queue["summary"]["queued_optimizations"] == 1 == len(queue["queued"])
    edge.wait_green("colour")
    assert edge.result("GET", "/collections/colour")["indexed_vectors_count"] == 1000
    done = edge.result("GET", "/collections/colour/optimizations?with=completed")
    assert done["summary"]["queued_optimizations"] == 0 and done["completed"][0]["status"] == "done"


def test_ef_shows(edge, tuned):
    low, high = recall(edge, tuned, hnsw_ef=4), recall(edge, tuned, hnsw_ef=512)
    assert low < 0.8 and high > 0.95, (low, high)


def test_patch_hnsw_rebuilds(edge, tuned):
    before = recall(edge, tuned, hnsw_ef=16)
    for m, better in ((48, True), (8, False)):
        edge.result("PATCH", f"/collections/{tuned}", {"hnsw_config": {"m": m}})
        assert edge.result("GET", f"/collections/{tuned}")["status"] == "yellow"
        edge.wait_green(tuned)
        info = edge.result("GET", f"/collections/{tuned}")
        assert info["config"]["hnsw_config"]["m"] == m and info["indexed_vectors_count"] == POINTS
        now = recall(edge, tuned, hnsw_ef=16)
        assert (now > before + 0.1) is better, (m, before, now)


def test_patch_quantization_and_disabled(edge, tuned):
    raw = {"hnsw_ef": 512, "quantization": {"rescore": False}}
    assert recall(edge, tuned, **raw) > 0.95
    edge.result("PATCH", f"/collections/{tuned}", {"quantization_config": {"binary": {"always_ram": True}}})
    edge.wait_green(tuned)
    assert recall(edge, tuned, **raw) < 0.6
    assert recall(edge, tuned, hnsw_ef=512, quantization={"ignore": True}) > 0.95
    edge.result("PATCH", f"/collections/{tuned}", {"quantization_config": "Disabled"})
    edge.wait_green(tuned)
    assert edge.result("GET", f"/collections/{tuned}")["config"]["quantization_config"] is None
    assert recall(edge, tuned, **raw) > 0.95


def test_patch_merges(edge):
    edge.result(
        "PUT",
        "/collections/merge",
        {
            "vectors": {"a": {"size": 4, "distance": "Dot", "hnsw_config": {"m": 20}}},
            "metadata": {"x": 1, "y": 2},
        },
    )
    change = {"hnsw_config": {"ef_construct": 77, "m": None}, "optimizers_config": {"indexing_threshold": 5},
              "params": {"replication_factor": 2}, "metadata": {"x": None, "z": 3}, "nonsense": 1,
              "vectors": {"a": {"hnsw_config": {"ef_construct": 50},
                                "quantization_config": {"scalar": {"type": "int8"}}, "on_disk": True}}}
    assert edge.result("PATCH", "/collections/merge", change) is True
    config = edge.result("GET", "/collections/merge")["config"]
    assert config["hnsw_config"]["m"] == 16 and config["hnsw_config"]["ef_construct"] == 77
    assert (
        config["optimizer_config"]["indexing_threshold"] == 5 and config["params"]["replication_factor"] == 2
    )
    assert config["metadata"] == {"y": 2, "z": 3}
    assert config["params"]["vectors"]["a"] == {
        "size": 4, "distance": "Dot", "hnsw_config": {"m": 20, "ef_construct": 50},
        "quantization_config": {"scalar": {"type": "int8"}}, "on_disk": True}
    edge.result("PATCH", "/collections/merge", {"vectors": {"a": {"quantization_config": "Disabled"}}})
    vector = edge.result("GET", "/collections/merge")["config"]["params"]["vectors"]["a"]
    assert "quantization_config" not in vector
    assert edge.error("PATCH", "/collections/merge", {"vectors": {"b": {"on_disk": True}}})[0] == 400


def test_aliases(edge):
    for name in ("one", "two"):
        edge.result("PUT", f"/collections/{name}", {"vectors": {"size": 1, "distance": "Dot"}})
        edge.result(
            "PUT",
            f"/collections/{name}/points",
            {"points": [{"id": 1, "vector": [1], "payload": {"c": name}}]},
        )

    def change(*actions):
        return edge.call("POST", ALIASES, {"actions": list(actions)})

    def behind(alias):
        return edge.result("GET", f"/collections/{alias}/points/1")["payload"]["c"]

    create = {"create_alias": {"collection_name": "one", "alias_name": "al"}}
    assert change(create)[1]["result"] is True and behind("al") == "one"
    assert (
        change({"create_alias": {"collection_name": "two", "alias_name": "al"}})[0] == 200
        and behind("al") == "two"
    )
    assert change({"rename_alias": {"old_alias_name": "al", "new_alias_name": "al2"}})[0] == 200
    assert behind("al2") == "two" and edge.error("GET", "/collections/al")[0] == 404
    # One bad action undoes them all.
    status, _ = change(
        {"delete_alias": {"alias_name": "al2"}},
        {"create_alias": {"collection_name": "zz", "alias_name": "x"}},
    )
    assert status == 404 and behind("al2") == "two"
    assert change({"create_alias": {"collection_name": "one", "alias_name": "two"}})[0] == 409
    assert change({"rename_alias": {"old_alias_name": "nope", "new_alias_name": "x"}})[0] == 404
    assert change({"odd": {}})[0] == 400
    status, text = edge.error("PUT", "/collections/al2", {"vectors": {"size": 1, "distance": "Dot"}})
    assert status == 400 and "Alias with the same name" in text
    assert edge.result("GET", "/collections/al2/exists") == {"exists": True}
    assert edge.result("DELETE", "/collections/al2") is False
    assert edge.result("GET", "/collections/two/aliases")["aliases"] == [
        {"alias_name": "al2", "collection_name": "two"}
    ]
    edge.result("DELETE", "/collections/two")
    assert edge.result("GET", "/aliases") == {"aliases": []}


def strict(edge, name, **settings):
    edge.result("PUT", f"/collections/{name}", {
        "vectors": {"size": 2, "distance": "Dot"}, "strict_mode_config": {"enabled": True, **settings}})
    return f"/collections/{name}/points"


def test_strict_mode(edge):
    at = strict(edge, "strict", search_max_hnsw_ef=64, search_allow_exact=False, search_max_oversampling=2.0,
                max_query_limit=5, search_max_batchsize=2, upsert_max_batchsize=3, max_timeout=10,
                unindexed_filtering_retrieve=False, filter_max_conditions=2)
    query = {"query": [1.0, 0.0], "limit": 1}
    refused = [
        (
            {"params": {"hnsw_ef": 65}},
            'Limit exceeded 65 > 64 for "hnsw_ef". Help: Reduce the "hnsw_ef" parameter to or below 64.',
        ),
        ({"prefetch": {"query": [1.0, 0.0], "params": {"hnsw_ef": 65}}}, "65 > 64"),
        ({"params": {"exact": True}}, "Exact search disabled!. Help: Set exact=false."),
        ({"params": {"quantization": {"oversampling": 3.0}}}, '3.0 > 2.0 for "oversampling"'),
        ({"limit": 6}, '6 > 5 for "limit"'),
        ({"filter": {"must": {"key": "k", "match": {"value": 1}}}}, 'Index required but not found for "k"'),
        ({"filter": {"must": [{"has_id": [1]}] * 3}}, "3 > 2"),
    ]
    for change, part in refused:
        status, text = edge.error("POST", at + "/query", query | change)
        assert status == 400 and text.startswith("Bad request: ") and part in text, text
    assert edge.error("POST", at + "/query?timeout=11", query)[0] == 400
    assert edge.error("POST", at + "/query/batch", {"searches": [query] * 3})[0] == 400
    assert edge.error("PUT", at, {"points": [{"id": i, "vector": [0, 1]} for i in range(4)]})[0] == 400
    assert edge.call("POST", at + "/query?timeout=10", query | {"params": {"hnsw_ef": 64}})[0] == 200
    edge.result("PATCH", "/collections/strict", {"strict_mode_config": {"search_max_hnsw_ef": 128}})
    assert edge.call("POST", at + "/query", query | {"params": {"hnsw_ef": 65}})[0] == 200
    edge.result("PATCH", "/collections/strict", {"strict_mode_config": {"enabled": False}})
    assert edge.call("POST", at + "/query", query | {"params": {"exact": True}})[0] == 200


def test_rate_limits(edge):
    at = strict(edge, "rates", read_rate_limit=3, write_rate_limit=2)
    query = {"query": [1.0, 0.0]}
    answers = [edge.client.post(at + "/query", json=query) for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert 0 < int(answers[3].headers["retry-after"]) <= 20
    assert "Operation requires 1 tokens" in answers[3].json()["status"]["error"]
    large = edge.client.post(at + "/query/batch", json={"searches": [query] * 4})
    assert large.status_code == 429 and "retry-after" not in large.headers
    writes = [edge.call("POST", at + "/delete", {"points": [1]})[0] for _ in range(3)]
    assert writes == [200, 200, 429]


def test_reads_go_on_while_it_is_written_and_rebuilt(edge):
    load(edge, "busy", 1000)
    statuses, stop = [], threading.Event()
    body = {"vector": [0.5] * SIZE, "limit": 5}

    def reader():
        with httpx.Client(base_url=f"http://127.0.0.1:{edge.port}", timeout=30) as client:
            while not stop.is_set():
                answer = client.post("/collections/busy/points/search", json=body)
                statuses.append((answer.status_code, len(answer.json().get("result", ()))))

    readers = [threading.Thread(target=reader) for _ in range(3)]
    for thread in readers:
        thread.start()
    try:
        rows = vectors(9, 600).tolist()
        for m in (12, 6):
            points = [{"id": 5000 + i, "vector": row} for i, row in enumerate(rows)]
            edge.result("PUT", "/collections/busy/points", {"points": points})
            edge.result("PATCH", "/collections/busy", {"hnsw_config": {"m": m}})
            edge.wait_green("busy")
    finally:
        stop.set()
        for thread in readers:
            thread.join()
    assert len(statuses) > 20 and set(statuses) == {(200, 5)}
    assert edge.result("GET", "/collections/busy")["indexed_vectors_count"] == 1600


def test_delete_and_recreate(edge):
    make = {"vectors": {"size": 2, "distance": "Dot"}}
    edge.result("PUT", "/collections/again", make)
    edge.result("PUT", "/collections/again/points", {"points": [{"id": 1, "vector": [1, 1]}]})
    assert edge.result("DELETE", "/collections/again") is True
    assert edge.result("DELETE", "/collections/again") is False
    edge.result("PUT", "/collections/again", make)
    assert edge.result("POST", "/collections/again/points/count", {}) == {"count": 0}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_restart_keeps_everything(edge, how):
    name = f"kept{how.value}"
    load(edge, name, 300, strict_mode_config={"enabled": True, "search_max_hnsw_ef": 64}, metadata={"a": 1})
    edge.result("PUT", f"/collections/{name}/index?wait=true", {"field_name": "n", "field_schema": "integer"})
    edge.result("PATCH", f"/collections/{name}", {"quantization_config": {"scalar": {"type": "int8"}}})
    edge.wait_green(name)
    edge.result(
        "POST", ALIASES, {"actions": [{"create_alias": {"collection_name": name, "alias_name": "a" + name}}]}
    )
    edge.result("POST", f"/collections/{name}/points/delete", {"points": [7]})
    last = edge.result("POST", f"/collections/{name}/points/payload", {"payload": {"n": -1}, "points": [8]})
    before = edge.result("GET", f"/collections/{name}")
    assert edge.stop(how) == (0 if how == signal.SIGTERM else -how)
    edge.start()
    after = edge.result("GET", f"/collections/a{name}")
    assert after["config"] == before["config"] and after["payload_schema"] == before["payload_schema"]
    assert after["points_count"] == before["points_count"] == 299
    assert edge.result("GET", f"/collections/{name}/points/8")["payload"] == {"n": -1}
    assert edge.error("GET", f"/collections/{name}/points/7")[0] == 404
    body = {"vector": [1.0] * SIZE, "limit": 1, "params": {"hnsw_ef": 65}}
    assert edge.error("POST", f"/collections/{name}/points/search", body)[0] == 400
    edge.wait_green(name)
    following = edge.result("POST", f"/collections/{name}/points/delete", {"points": [9]})["operation_id"]
    assert following > last["operation_id"], "operation numbers went back"
