"""The control API's routes: what they answer, what they refuse, who may."""

import json
import re
import threading
import time
from typing import Callable

import pytest
from apilib import Api, ab, error_of
from lib import Conn, FakeQdrant, head_of, request, wait_until

V1 = "/api/v1"
SEARCH = "/collections/hermes/points/search"


# searches
def test_a_probe_goes_through_the_pipeline_and_is_cached(api: Api, fake: FakeQdrant) -> None:
    first = api.ask("GET", f"{V1}/models/hermes/search")
    second = api.ask("GET", f"{V1}/models/hermes/search")
    assert first.status == second.status == 200
    assert not first.hit and second.hit
    (asked,) = fake.seen(path=SEARCH)
    assert len(asked.json()["vector"]) == 16 and asked.json()["limit"] == 10
    assert first.json()["result"] == second.json()["result"]
    assert first.json()["result"][0]["id"] == 2**64 - 1


def test_all_answers_for_one_result_have_one_length(api: Api) -> None:
    path = f"{V1}/models/hermes/search"
    answers = [api.ask("GET", path, headers={"Cache-Control": "no-cache"}) for _ in range(5)]
    answers += [api.ask("GET", path) for _ in range(5)]
    assert len({len(a.body) for a in answers}) == 1 and len({a.hit for a in answers}) == 2
    for a in answers:
        assert re.search(rb'"time":\d+\.\d{9}\}$', a.body), a.body


def test_ab_reports_no_failed_request(api: Api) -> None:
    ab(api, "hermes", 1000, 10)


def test_limit_vector_and_name_of_the_vector(api: Api, fake: FakeQdrant) -> None:
    assert api.ask("GET", f"{V1}/models/notes/search?vector=0.10,-2,3e5&limit=3").status == 200
    (asked,) = fake.seen(path="/collections/notebook/points/search")
    assert asked.body == b'{"vector":[0.10,-2,3e5],"limit":3}'
    assert api.ask("GET", f"{V1}/models/unsized/search?vector=%5B1%2C2%5D&using=text").status == 200
    (asked,) = fake.seen(path="/collections/unsized/points/search")
    assert asked.json() == {"vector": {"name": "text", "vector": [1, 2]}, "limit": 10}


def test_a_body_goes_on_byte_by_byte(api: Api, fake: FakeQdrant) -> None:
    body = b'{ "vector": [0.10, 1e-3],"limit":18446744073709551615 , "filter":{"must":[]}}'
    assert api.ask("POST", f"{V1}/models/hermes/search", body).status == 200
    assert fake.last.body == body and fake.last.path == SEARCH
    body = b'{"query":[0.1],"limit":1}'
    assert api.ask("POST", f"{V1}/models/hermes/search", body).status == 200
    assert fake.last.body == body and fake.last.path == "/collections/hermes/points/query"


def test_vectors_of_4096_numbers_and_large_bodies_come_through(start: Callable[..., Api], fake: FakeQdrant) -> None:
    q = start(optimizations={"wide": {"vector_size": 4096}})
    path = f"{V1}/models/wide/search"
    vector = [f"-0.{i:016}" for i in range(4096)]
    for comma in (",", "%2C"):
        answer = q.ask("GET", f"{path}?vector={comma.join(vector)}", headers={"Cache-Control": "no-store"})
        assert answer.status == 200, answer.body
        assert fake.last.body == b'{"vector":[%s],"limit":10}' % ",".join(vector).encode()
    assert q.ask("GET", f"{path}?vector={'0' * 131072}").status == 414
    body = b'{"vector":[%s],"limit":1}' % b",".join([b"0.%050d" % i for i in range(65536)])
    assert q.ask("POST", path, body).status == 200 and fake.last.body == body
    assert q.ask("POST", path, b"[" + b" " * 2**25).status == 413


def test_many_clients_at_once(api: Api) -> None:
    ab(api, "hermes", 1200, 300)


def test_a_head_that_a_search_could_not_pass_on_is_refused(api: Api) -> None:
    path = f"{V1}/models/hermes/search"
    for fields in ([("Cache-Control", "no-cache")] * 98, [("Authorization", "x" * 32500)]):
        with Conn(api.api) as c:
            c.send(head_of("GET", path, fields))
            assert c.read().status == 431
    assert api.ask("GET", path).status == 200


def test_what_was_done_is_told(start: Callable[..., Api]) -> None:
    q = start(optimizations={"hermes": {"vector_size": 8, "search": {"default": {"hnsw_ef": 32}}}})
    doc = q.ask("POST", f"{V1}/models/hermes/search/optimized").json()
    done = doc["optimization"]
    assert doc["model"] == "hermes" and doc["answer"]["status"] == "ok"
    assert done["params"] == {"before": None, "after": {"hnsw_ef": 32}} and done["parameters_changed"] == 1
    assert done["cache"] == "miss" and done["upstream"] == q.upstream and not done["coalesced"]
    steps, upstream = done["steps_us"], done["upstream_us"]
    taken = {name for name, usec in steps.items() if usec is not None} - {"total"}
    assert {"head", "body", "request", "fetch", "fetched", "response", "gather", "done"} <= taken
    assert not taken & {"open", "fail", "proof", "close"}  # those of writes and failures
    assert 0 < sum(steps[name] for name in taken) <= steps["total"] + 1000
    assert steps["fetched"] > 0 and upstream["first_byte"] > 0
    again = q.ask("POST", f"{V1}/models/hermes/search/optimized").json()["optimization"]
    assert again["cache"] == "hit" and again["upstream"] is None and again["upstream_us"]["first_byte"] is None
    assert again["steps_us"]["fetched"] is None and again["params"] == done["params"]


def test_the_upstreams_refusal_is_passed_on(api: Api, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.error(400, "Wrong input: Vector dimension error: expected dim: 4, got 16")
    answer = api.ask("GET", f"{V1}/models/hermes/search")
    assert answer.status == 400 and "expected dim: 4" in error_of(answer)


def test_an_upstream_that_is_away(api: Api, fake: FakeQdrant) -> None:
    fake.stop()
    for method, path in (("GET", "models/hermes/search"), ("POST", "models/hermes/search/optimized")):
        answer = api.ask(method, f"{V1}/{path}")
        assert answer.status in (502, 503) and "upstream" in error_of(answer)
    answer = api.ask("POST", f"{V1}/optimizations/apply?wait=true")
    assert answer.status in (502, 503) and error_of(answer)


def test_a_client_that_leaves_stops_its_search(api: Api, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go)
    with Conn(api.api) as c:
        c.send(head_of("GET", f"{V1}/models/hermes/search"))
        wait_until(lambda: fake.seen(path=SEARCH), what="the search is under way")
    wait_until(lambda: api.metric("quiver_tx_state", state="fetched") == 0, 5, "nothing waits any more")
    go.set()
    assert api.ask("GET", "/healthz").status == 200


def test_the_end_of_the_process_while_searches_run(start: Callable[..., Api], fake: FakeQdrant) -> None:
    q = start()
    go = threading.Event()
    fake.handler = lambda x: x.wait(go)
    conns = [Conn(q.api) for _ in range(5)]
    for n, c in enumerate(conns):
        c.send(head_of("GET", f"{V1}/models/hermes/search?limit={n + 1}"))
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 5, what="all are under way")
    q.stop()
    go.set()
    for c in conns:
        c.close()


# bad input
@pytest.mark.parametrize(
    "method, path, body, status, says",
    [
        ("GET", "/models/nope/search", None, 404, "hermes, notes, unsized"),
        ("GET", "/models/no%2Fpe/search", None, 404, "'no/pe'"),
        ("GET", "/models/unsized/search", None, 400, "vector_size"),
        ("GET", "/models/hermes/search?limit=0", None, 400, "limit: found '0'"),
        ("GET", "/models/hermes/search?limit=x", None, 400, "limit: found 'x'"),
        ("GET", "/models/hermes/search?limit=1&limit=2", None, 400, "2 times"),
        ("GET", "/models/hermes/search?vector=1,,2", None, 400, "number 2 is ''"),
        ("GET", "/models/hermes/search?vector=1,NaN", None, 400, "number 2 is 'NaN'"),
        ("POST", "/models/hermes/search", b'{"vector":[1,2]', 400, "line 1, column 16"),
        ("POST", "/models/hermes/search", b'{"vector":[1,2]}\n}', 400, "line 2, column 1"),
        ("POST", "/models/hermes/search", b'{"vector":[1],"vector":[2]}', 400, "once"),
        ("POST", "/models/hermes/search", b"[1]", 400, "a list"),
        ("POST", "/models/hermes/search/optimized", b"nul", 400, "line 1, column 1"),
        ("GET", "/jobs/0x1", None, 400, "a job's number"),
        ("GET", "/jobs/99", None, 404, "no job 99"),
        ("GET", "/optimizations/plan?model=nope", None, 404, "hermes"),
        ("GET", "/optimizations/plan?points=-1", None, 400, "points: found '-1'"),
        ("POST", "/optimizations/apply", b'{"modl":"hermes"}', 400, "line 1, column 9"),
        ("POST", "/optimizations/apply", b'{"models":["hermes",3]}', 400, "line 1, column 21"),
        ("POST", "/optimizations/apply", b'{"models":[]}', 400, "empty"),
        ("POST", "/optimizations/apply?wait=maybe", None, 400, "expected true or false"),
        ("POST", "/optimizations/rollback?model=hermes,notes", None, 400, "expected one"),
        ("POST", "/optimizations/rollback?models=hermes,notes", None, 400, "expected one"),
        ("POST", "/optimizations/apply?models=nope", None, 404, "hermes"),
        ("POST", "/optimizations/apply?models=", None, 404, "there is no model ''"),
        ("POST", "/optimizations/apply?wait=true&mode%6C=", None, 404, "there is no model ''"),
        ("POST", "/optimizations/apply?modls=hermes", None, 400, "the query has 'modls', POST /api/v1/optimizations/apply takes model, models, wait"),
        ("POST", "/optimizations/test/hermes?second=1", None, 400, "takes wait, seconds, model, models"),
        ("POST", "/cache/purge?model=hermes", None, 400, "takes no parameters"),
        ("GET", "/models?x", None, 400, "the query has 'x'"),
        ("POST", "/models/nope/cache/purge", None, 404, "hermes"),
        ("POST", "/cache/purge", b'{"model":"nope"}', 404, "hermes"),
        ("POST", "/cache/purge", b'{"model":1}', 400, 'line 1, column 10: "model" is a number'),
        ("POST", "/cache/purge", b'{\n"colection":"c"}', 400, 'line 2, column 13: "colection" is there'),
        ("POST", "/cache/purge", b'{"model":"hermes","collection":"c"}', 400, "beside another"),
        ("POST", "/cache/purge", b'"all"', 400, "line 1, column 1"),
        ("GET", "/models/nope/optimizations", None, 404, "hermes"),
        ("POST", "/models/nope/optimizations", b'{"cache":false}', 404, "hermes"),
        ("POST", "/models/hermes/optimizations", b'{"cache":false', 400, "line 1, column 15"),
        ("POST", "/models/hermes/optimizations", b'{"cache":0}', 400, "line 1, column 10: cache is a number"),
        ("POST", "/models/hermes/optimizations", b'{"cache":false,"x":1}', 400, 'line 1, column 20: found "x"'),
        ("POST", "/models/hermes/optimizations", b'{"enforce":"on"}', 400, "line 1, column 12"),
        ("POST", "/models/hermes/optimizations", None, 400, "expected an object"),
        ("GET", "/optimizations/memory/usage?model=nope", None, 404, "hermes"),
        ("GET", "/optimizations/status?model=nope", None, 404, "hermes"),
        ("POST", "/optimizations/rollback?model=nope", None, 404, "hermes"),
        ("POST", "/optimizations/test/nope", None, 404, "hermes"),
        ("GET", "/nothing", None, 404, "/api/v1/models/{model}/search"),
    ],
)
def test_bad_input(api: Api, method: str, path: str, body: bytes | None, status: int, says: str) -> None:
    answer = api.ask(method, V1 + path, body)
    assert answer.status == status, answer.body
    assert says in error_of(answer)


def test_a_wrong_method_is_told_the_right_ones(api: Api) -> None:
    answer = api.ask("DELETE", f"{V1}/models/hermes/search")
    assert answer.status == 405 and answer.get("allow") == "GET, HEAD, POST" and "DELETE" in error_of(answer)
    assert api.ask("HEAD", f"{V1}/models").body == b""


# models
def test_models_and_their_figures(api: Api) -> None:
    models = {m["model"]: m for m in api.ask("GET", f"{V1}/models").json()["models"]}
    assert set(models) == {"default", *api_models()}
    assert models["notes"]["collection"] == "notebook" and models["hermes"]["vector_size"] == 16
    assert models["hermes"]["batch_size"] == 75 and models["notes"]["batch_size"] is None
    for _ in range(4):
        api.ask("GET", f"{V1}/models/hermes/search")
    api.ask("GET", f"{V1}/models/hermes/search?vector=1")
    doc = api.ask("GET", f"{V1}/models/hermes/metrics").json()
    assert doc["requests"] == {"total": 5, "by_operation": {"search": {"200": 5}}}
    assert doc["cache"]["lookups"] == 5 and doc["cache"]["hit_rate"] == 0.6
    wait_until(lambda: api.ask("GET", f"{V1}/models/hermes/metrics").json()["cache"]["entries"] == 2, 5, "entries are counted")
    cache = api.ask("GET", f"{V1}/models/hermes/metrics").json()["cache"]
    assert (cache["hits_memory"], cache["misses_memory"], cache["stores_memory"]) == (3, 2, 2)
    assert cache["bytes"] > 0 and cache["hit_age_us"]["count"] == 3
    assert cache["holds"] == cache["evictions"] == cache["coalesced"] == sum(cache["refused"].values()) == 0
    assert doc["latency_us"]["total"]["count"] == 5
    assert 0 < doc["latency_us"]["total"]["p50"] <= doc["latency_us"]["total"]["p99"]
    assert doc["requests_per_second"]["10s"] > 0 and doc["queue"]["length"] == 0
    assert "memory" in doc and doc["last_test"] is None


def test_counts_of_a_model_do_not_wait_for_qdrant(api: Api, fake: FakeQdrant) -> None:
    go, default = threading.Event(), fake.default
    fake.default = lambda x: (x.wait(go), default(x))  # type: ignore[method-assign]
    path, began = f"{V1}/models/hermes/metrics", time.monotonic()
    doc = api.ask("GET", path).json()
    assert 0.8 < time.monotonic() - began < 4 and doc["memory"] is None and doc["pool"]["limit"] > 0
    with Conn(api.api) as c:  # one that leaves before
        c.send(head_of("GET", path))
        time.sleep(0.1)
    go.set()
    wait_until(lambda: api.ask("GET", path).json()["memory"], 10, "memory is known again")


def test_who_waits_for_a_job_hears_that_quiver_ends(start: Callable[..., Api], fake: FakeQdrant) -> None:
    go, default = threading.Event(), fake.default
    q = start(indexing={"hermes": {"index_params": {"m": 24}}})
    fake.default = lambda x: (x.wait(go), default(x))  # type: ignore[method-assign]
    with Conn(q.api) as begins, Conn(q.api) as looks:
        begins.send(head_of("POST", f"{V1}/optimizations/apply?model=hermes&wait=true", {"Host": "localhost", "Content-Length": "0"}))
        wait_until(lambda: q.ask("GET", f"{V1}/jobs").json()["jobs"], 5, "the job runs")
        looks.send(head_of("GET", f"{V1}/jobs/1?wait=true"))
        time.sleep(0.1)
        q.term()
        for c in (begins, looks):
            answer = c.read()
            assert answer.status == 502 and "quiver ended" in answer.json()["status"]["error"], answer
            assert answer.json()["state"] == "failed"
    assert q.wait() == 0
    go.set()


def api_models() -> list[str]:
    return ["hermes", "notes", "unsized"]


def test_a_purge_ends_what_was_cached(api: Api) -> None:
    path = f"{V1}/models/hermes/search"
    api.ask("GET", path)
    assert api.ask("GET", path).hit
    assert api.ask("POST", f"{V1}/models/hermes/cache/purge").json() == {
        "model": "hermes",
        "purged": ["hermes"],
    }
    assert not api.ask("GET", path).hit
    assert api.ask("GET", path).hit
    assert api.ask("POST", f"{V1}/models/notes/cache/purge").json()["purged"] == ["*"]
    assert not api.ask("GET", path).hit


def test_the_openapi_document_is_valid_and_complete(api: Api) -> None:
    doc = api.ask("GET", f"{V1}/openapi.json").json()
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(doc)
    listed = error_of(api.ask("GET", "/nope")).split("it has: ")[1].split(", ")
    assert sorted(doc["paths"]) == sorted(listed)
    ids = [op["operationId"] for path in doc["paths"].values() for op in path.values()]
    assert len(ids) == len(set(ids))


# who may
TOKENS = {"api": {"token": "all-of-it", "read_token": "only-read"}, "upstream": {"api_key": "of-qdrant"}}
READS = [
    ("GET", f"{V1}/models"),
    ("GET", "/metrics"),
    ("GET", f"{V1}/models/hermes/search"),
    ("GET", f"{V1}/jobs"),
    ("GET", f"{V1}/config"),
    ("GET", f"{V1}/models/hermes/optimizations"),
]
WRITES = [("POST", f"{V1}/optimizations/apply"), ("POST", f"{V1}/models/hermes/cache/purge")]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def with_tokens(start: Callable[..., Api], **upstream: str) -> Api:
    q = start(
        quiver={"upstream": {"api_key": "of-qdrant"}},
        env={"QUIVER_API_TOKEN": "all-of-it", "QUIVER_API_READ_TOKEN": "only-read"},
    )
    return q


def test_tokens(start: Callable[..., Api]) -> None:
    q = with_tokens(start)
    assert q.ask("GET", "/healthz").status == q.ask("GET", "/readyz").status == 200
    for method, path in READS + WRITES:
        for headers in ({}, bearer("all-of-i"), bearer(""), {"api-key": "all-of-it"}):
            answer = q.ask(method, path, headers=headers)
            assert answer.status == 401 and answer.get("www-authenticate"), (path, headers)
    for method, path in READS:
        assert q.ask(method, path, headers=bearer("only-read")).status == 200
        assert q.ask(method, path, headers={"X-Quiver-Token": "all-of-it"}).status == 200
    for method, path in WRITES:
        assert q.ask(method, path, headers=bearer("only-read")).status == 403
        assert q.ask(method, path, headers=bearer("all-of-it")).status in (200, 202)


def test_the_configuration_shows_no_secret(start: Callable[..., Api]) -> None:
    q = with_tokens(start)
    text = q.ask("GET", f"{V1}/config", headers=bearer("only-read")).body.decode()
    assert "hermes" in text and not any(word in text for word in ("all-of-it", "only-read", "of-qdrant"))


def test_switches_are_for_who_may_change(start: Callable[..., Api]) -> None:
    q = with_tokens(start)
    path, off = f"{V1}/models/hermes/optimizations", {"cache": False}
    assert q.ask("POST", path, off).status == 401
    assert q.ask("POST", path, off, headers=bearer("only-read")).status == 403
    assert q.ask("POST", path, off, headers={**bearer("all-of-it"), "Origin": "http://evil.example"}).status == 403
    assert q.ask("GET", path, headers=bearer("only-read")).json()["switches"]["cache"] is True
    assert q.ask("POST", path, off, headers=bearer("all-of-it")).json()["switches"]["cache"] is False


def test_nothing_is_half_applied_when_one_of_the_names_is_wrong(api: Api, fake: FakeQdrant) -> None:
    answer = api.ask("POST", f"{V1}/optimizations/apply", {"models": ["hermes", "nope"]})
    assert answer.status == 404 and api.ask("GET", f"{V1}/jobs").json() == {"jobs": []}
    assert not [r for r in fake.own if r.method == "PATCH"]


@pytest.mark.parametrize("query", ["model=hermes", "models=hermes", "model=hermes&models=hermes"])
def test_both_names_of_the_parameter_name_a_model(api: Api, query: str) -> None:
    for deed in ("apply", "rollback"):
        job = api.ask("POST", f"{V1}/optimizations/{deed}?{query}").json()
        assert job["kind"] == deed and job["model"] == "hermes"
        assert api.ask("GET", f"{V1}/jobs/{job['id']}?wait=true").json()["model"] == "hermes"
    for path in ("plan", "status", "memory/usage"):
        doc = api.ask("GET", f"{V1}/optimizations/{path}?{query}").json()
        assert [m["model"] for m in doc["models"]] == ["hermes"], path
    assert api.ask("GET", f"{V1}/optimizations/queries/stats?{query}").status == 200


def test_a_token_from_a_file(start: Callable[..., Api], tmp_path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    q = start(quiver={"api": {"token_file": str(tmp_path / "token")}})
    assert q.ask("GET", f"{V1}/models").status == 401
    assert q.ask("GET", f"{V1}/models", headers=bearer("from-a-file")).status == 200


def keys(fake: FakeQdrant) -> list[tuple[str, str]]:
    return [
        (n.lower(), v)
        for n, v in fake.seen(path=SEARCH)[-1].headers
        if n.lower() in ("api-key", "authorization")
    ]


def test_searches_carry_the_callers_own_keys(start: Callable[..., Api], fake: FakeQdrant) -> None:
    q = start(quiver={"upstream": {"api_key": "of-qdrant"}})
    path = f"{V1}/models/hermes/search?vector="
    for n, headers in enumerate([{"api-key": "mine"}, {"Authorization": "Bearer jwt"}, {}]):
        q.ask("GET", f"{path}{n}", headers=headers)
        assert keys(fake) == [(k.lower(), v) for k, v in headers.items()]


def test_quivers_key_is_for_who_showed_the_token(start: Callable[..., Api], fake: FakeQdrant) -> None:
    q = with_tokens(start)
    path = f"{V1}/models/hermes/search?vector="
    rows = [
        (bearer("all-of-it"), [("api-key", "of-qdrant")]),
        ({**bearer("all-of-it"), "api-key": "mine"}, [("api-key", "mine")]),
        ({"X-Quiver-Token": "only-read", **bearer("jwt")}, [("authorization", "Bearer jwt")]),
        ({"X-Quiver-Token": "only-read", "api-key": "all-of-it"}, [("api-key", "of-qdrant")]),
        ({"X-Quiver-Token": "only-read", "Authorization": "all-of-it"}, [("api-key", "of-qdrant")]),
        ({"X-Quiver-Token": "all-of-it", "Authorization": "Token only-read"}, [("api-key", "of-qdrant")]),
        ({**bearer("all-of-it"), "api-key": "only-read"}, [("api-key", "of-qdrant")]),
    ]
    for n, (headers, wanted) in enumerate(rows):
        assert q.ask("GET", f"{path}{n}", headers=headers).status == 200
        assert keys(fake) == wanted


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_foreign_pages_change_nothing(api: Api, headers: dict[str, str]) -> None:
    for method, path in WRITES:
        answer = api.ask(method, path, headers=headers)
        assert answer.status == 403 and error_of(answer)
    answer = api.graphql("mutation{purgeCache{purged}}", headers)
    assert answer.status == 403 and answer.json()["errors"]
    assert api.ask("GET", f"{V1}/models/hermes/search", headers=headers).status == 200
    assert api.ask("GET", f"{V1}/jobs").json() == {"jobs": []}


def test_names_that_are_configured_are_not_foreign(start: Callable[..., Api]) -> None:
    q = start(env={"QUIVER_API_HOSTS": "quiver.internal"})
    purge = f"{V1}/models/hermes/cache/purge"
    assert q.ask("POST", purge, headers={"Host": "quiver.internal:8000"}).status == 200
    assert (
        q.ask("POST", purge, headers={"Host": "quiver.internal", "Origin": "http://quiver.internal"}).status
        == 200
    )
    assert q.ask("POST", purge, headers={"Host": "other.internal"}).status == 403


def test_many_at_once(api: Api) -> None:
    problems: list[str] = []

    def client(n: int) -> None:
        with Conn(api.api) as c:
            for i in range(20):
                answer = c.ask("GET", f"{V1}/models/hermes/search?vector={n},{i}")
                if answer.status != 200 or len(answer.json()["result"]) != 1:
                    problems.append(repr(answer))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems, problems[:3]
    assert json.loads(request(api.api, "GET", f"{V1}/models/hermes/metrics").body)["requests"]["total"] == 160


@pytest.mark.parametrize("said", [b"\xff\xfe is no text", b'{"status":{"error":"' + "é".encode() * 400 + b'"}}'])
def test_what_qdrant_says_in_bytes_that_are_no_text_stays_json(start: Callable[..., Api], fake: FakeQdrant, said: bytes) -> None:
    plain = fake.default  # what answers quiver's own questions
    api = start(indexing={"hermes": {"index_params": {"m": 24}}})
    fake.default = lambda x: x.reply(500, said) if x.request.target == "/collections" else plain(x)  # type: ignore[method-assign]
    for method, path in (("GET", "plan?model=hermes"), ("POST", "apply?model=hermes&wait=true")):
        answer = api.ask(method, f"{V1}/optimizations/{path}")
        json.loads(answer.body.decode("utf-8"))
        assert b"500" in answer.body
