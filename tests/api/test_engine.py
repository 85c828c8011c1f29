"""The control API in front of a real engine."""

from pathlib import Path
from typing import Any, Callable

import pytest
from apilib import Api, ab
from lib import Engine, request

V1 = "/api/v1"
DIM = 32


@pytest.fixture(scope="module")
def filled(engine: Engine) -> Engine:
    engine.call("PUT", "/collections/small", {"vectors": {"size": DIM, "distance": "Cosine"}})
    points = [
        {"id": i, "vector": [((i * 37 + k * 11) % 97) / 97 for k in range(DIM)], "payload": {"n": i}}
        for i in range(200)
    ]
    engine.call("PUT", "/collections/small/points?wait=true", {"points": points})
    return engine


@pytest.fixture
def api(start: Callable[..., Api], filled: Engine) -> Api:
    return start(filled.url, optimizations={"small": {"vector_size": DIM}})


def test_a_search_is_what_the_engine_says(api: Api, filled: Engine) -> None:
    body = b'{"vector":[%s],"limit":5,"with_payload":true}' % b",".join(
        b"0.%d" % (k % 9 + 1) for k in range(DIM)
    )
    direct = request(filled.port, "POST", "/collections/small/points/search", body).json()["result"]
    assert api.ask("POST", f"{V1}/models/small/search", body).json()["result"] == direct
    vector = [float(f"0.{k % 9 + 1}") for k in range(DIM)]
    got: Any = api.graphql(
        'query($v:[Float!]){search(model:"small",vector:$v,limit:5,withPayload:true)'
        "{points{id version score payload}}}",
        variables={"v": vector},
    ).json()["data"]["search"]["points"]
    assert got == [{k: p[k] for k in ("id", "version", "score", "payload")} for p in direct]


def test_searches_ask_the_vector_that_is_meant(start: Callable[..., Api], filled: Engine) -> None:
    named = {"text": {"size": DIM, "distance": "Cosine"}, "image": {"size": DIM, "distance": "Dot"}}
    filled.call("PUT", "/collections/named", {"vectors": named})
    vectors = [[((i * 37 + k * 11) % 97) / 97 for k in range(DIM)] for i in range(20)]
    points = [{"id": i, "vector": {"text": v, "image": [10 * x for x in v]}} for i, v in enumerate(vectors)]
    filled.call("PUT", "/collections/named/points?wait=true", {"points": points})
    q = start(filled.url, optimizations={"named": {"vector_size": DIM, "vector": "text"}})
    path, given = f"{V1}/models/named/search", ",".join(str(x) for x in vectors[7])
    fields = ['optimizedSearch(model:"named")', f'optimizedSearch(model:"named",vector:[{given}])']

    def scalar(field: str) -> Any:
        doc = q.graphql("{%s}" % field).json()
        assert "errors" not in doc, doc
        return doc["data"]["optimizedSearch"]["answer"]["result"]

    for answer in (
        q.ask("GET", f"{path}?limit=1"),
        q.ask("GET", f"{path}?limit=1&using=text"),
        q.ask("GET", f"{path}?limit=1&using=image"),
        q.ask("POST", path),
        q.ask("POST", f"{path}/optimized"),
    ):
        assert answer.status == 200, answer.body
    assert q.ask("GET", f"{path}?limit=1&using=other").status == 400
    near = q.ask("GET", f"{path}?limit=1&vector={given}").json()["result"][0]
    assert near["id"] == 7 and near["score"] == pytest.approx(1, abs=1e-5)  # cosine: it is the text
    image = q.ask("GET", f"{path}?limit=1&using=image&vector={given}").json()["result"][0]
    assert image["score"] > 10
    probe, by_vector = (scalar(f) for f in fields)
    assert len(probe) == len(by_vector) == 10 and by_vector[0] == near
    assert scalar(fields[1][:-1] + ',using:"image")')[0]["score"] > 10
    got = q.graphql('{search(model:"named",vector:[%s],limit:1){points{id}}}' % given).json()
    assert got["data"]["search"]["points"] == [{"id": 7}]


def test_the_engines_own_error_is_passed_on(api: Api) -> None:
    answer = api.ask("POST", f"{V1}/models/small/search", b'{"vector":[0.1,0.2,0.3],"limit":10}')
    assert answer.status == 400 and "dimension" in answer.json()["status"]["error"]
    doc = api.graphql('{search(model:"small",vector:[1,2]){time}}').json()
    assert "dimension" in doc["errors"][0]["message"]


def test_ab_against_the_real_path(api: Api) -> None:
    ab(api, "small", 1000, 10)
    assert api.ask("GET", f"{V1}/models/small/metrics").json()["requests"]["total"] >= 1000


def test_a_plan_is_applied_and_taken_back(start: Callable[..., Api], filled: Engine, tmp_path: Path) -> None:
    q = start(
        filled.url,
        optimizations={"small": {"vector_size": DIM}},
        indexing={"small": {"index_params": {"m": 24}}},
    )
    (model,) = q.ask("GET", f"{V1}/optimizations/plan").json()["models"]
    assert [c["path"] for c in model["collections"][0]["changes"]] and model["collections"][0]["patch"]
    job = q.ask("POST", f"{V1}/optimizations/apply").json()
    done = q.ask("GET", f"{V1}/jobs/{job['id']}?wait=true", timeout=100)
    assert done.status == 200 and done.json()["state"] == "done", done.body
    assert filled.call("GET", "/collections/small")["config"]["hnsw_config"]["m"] == 24
    done = q.ask("POST", f"{V1}/optimizations/rollback?wait=true", timeout=100)
    assert done.status == 200 and filled.call("GET", "/collections/small")["config"]["hnsw_config"]["m"] == 16
    assert [j["kind"] for j in q.ask("GET", f"{V1}/jobs").json()["jobs"]] == ["rollback", "apply"]
