"""Tests of models over HTTP: shapes, one at a time, waiting, bad input, what the other calls show of them."""

from typing import Any, Callable

import pytest
from apilib import Api, error_of
from lib import Engine, wait_until

V1 = "/api/v1"
TEST = f"{V1}/optimizations/test"
DIM = 16


@pytest.fixture(scope="module")
def asked(engine: Engine) -> Engine:
    engine.call("PUT", "/collections/asked", {"vectors": {"size": DIM, "distance": "Cosine"}})
    points = [{"id": i, "vector": [((i * 37 + k * 11) % 97) / 97 for k in range(DIM)]} for i in range(100)]
    engine.call("PUT", "/collections/asked/points?wait=true", {"points": points})
    return engine


@pytest.fixture
def api(start: Callable[..., Api], asked: Engine) -> Api:
    tuning = {"asked": {"target": {"p50": "1h", "hit_rate": 0.5, "recall": 0.99}}}
    return start(asked.url, optimizations={"asked": {"vector_size": DIM}, "absent": {}}, tuning=tuning)


def test_a_test_is_a_job(api: Api) -> None:
    answer = api.ask("POST", f"{TEST}/asked?seconds=2")
    assert answer.status == 202
    job: Any = answer.json()
    assert (job["kind"], job["model"], job["state"], job["progress"]) == ("test", "asked", "running", 0)
    for path in (f"{TEST}/asked", f"{TEST}/absent", f"{TEST}/all-models?wait=true"):
        refused = api.ask("POST", path)
        assert refused.status == 409 and f"/api/v1/jobs/{job['id']}" in error_of(refused), refused.body
    wait_until(lambda: api.ask("GET", f"{V1}/jobs/{job['id']}").json()["text"].startswith("asked:"), 10, "it is said what runs")
    ended = api.ask("GET", f"{V1}/jobs/{job['id']}?wait=true")
    assert ended.status == 200 and ended.json()["state"] == "done" and ended.json()["progress"] == 1
    (found,) = ended.json()["result"]["models"]
    assert set(found["optimised"]) == {"cold", "warm"}
    for run in (found["baseline"], *found["optimised"].values()):
        assert set(run) == {"requests", "ops", "p50_us", "p95_us", "p99_us", "hit_rate", "recall"}
    assert found["targets"]["ops"] is None and set(found["targets"]["recall"]) == {"target", "is", "met"}
    assert api.ask("POST", f"{TEST}/asked?seconds=1&wait=true").status == 200  # the next one may run


def test_what_was_measured_is_shown_everywhere(api: Api) -> None:
    (found,) = api.ask("POST", f"{TEST}/asked?seconds=1&wait=true").json()["result"]["models"]
    status = api.ask("GET", f"{V1}/optimizations/status?model=asked").json()["models"][0]
    assert status["last_test"]["baseline"] == found["baseline"] and status["met"] is found["met"] is True
    assert status["first_baseline"]["baseline"] == found["baseline"]
    assert {"wish", "collections", "mode", "switches", "targets", "resting"} <= set(status)
    metrics = api.ask("GET", f"{V1}/models/asked/metrics").json()
    assert metrics["recall"] == found["optimised"]["cold"]["recall"] > 0.9
    assert metrics["last_test"]["time"] == found["time"]
    query = '{optimizationStatus(model:"asked"){model met switches targets{p50Us recall} lastTest firstBaseline}}'
    (of_graphql,) = api.graphql(query).json()["data"]["optimizationStatus"]
    assert of_graphql["met"] is True and of_graphql["targets"]["recall"] == 0.99
    assert of_graphql["lastTest"]["baseline"] == found["baseline"]
    assert of_graphql["firstBaseline"] == status["first_baseline"]


def test_before_a_test_nothing_is_claimed(api: Api) -> None:
    status = api.ask("GET", f"{V1}/optimizations/status?model=asked").json()["models"][0]
    assert status["last_test"] is status["met"] is status["first_baseline"] is None
    assert api.ask("GET", f"{V1}/models/asked/metrics").json()["recall"] is None


def test_what_cannot_be_tested_fails_with_a_sentence(api: Api) -> None:
    answer = api.ask("POST", f"{TEST}/absent?wait=true")
    assert answer.status == 502 and "'absent' does not exist" in error_of(answer)
    assert answer.json()["state"] == "failed"


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/nothing", None, 404, "asked"),
        ("/asked?seconds=0", None, 400, "1 to 60"),
        ("/asked?seconds=61", None, 400, "1 to 60"),
        ("/asked?seconds=fast", None, 400, "'fast'"),
        ("/asked?seconds=1&seconds=2", None, 400, "seconds"),
        ("/asked?wait=maybe", None, 400, "true or false"),
        ("/all-models", b"{", 400, "line 1"),
        ("/all-models", b'{"modles":["asked"]}', 400, "column"),
        ("/all-models", b'{"models":["asked","absent"]}', 400, "POST /api/v1/optimizations/test/asked"),
        ("/all-models?model=asked", None, 400, "the path says all models"),
        ("/all-models", b'{"model":"asked"}', 400, "POST /api/v1/optimizations/test/asked"),
        ("/asked?model=absent", None, 400, "the path says asked"),
        ("/asked", b'{"model":"absent"}', 400, "path"),
    ],
)
def test_bad_input_begins_nothing(api: Api, path: str, body: bytes | None, status: int, said: str) -> None:
    answer = api.ask("POST", TEST + path, body)
    assert answer.status == status and said in error_of(answer), answer.body
    assert api.ask("GET", f"{V1}/jobs").json()["jobs"] == []


def test_only_post_begins_a_test(api: Api) -> None:
    assert api.ask("GET", f"{TEST}/asked").status == 405
