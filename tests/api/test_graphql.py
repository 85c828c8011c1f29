"""GraphQL on the control port: fields, faults, transport; and what the JavaScript world says of it."""

import json
import shutil
import subprocess
from typing import Any, Callable
from urllib.parse import quote

import pytest
from apilib import HERE, Api
from lib import ROOT, FakeQdrant, wait_until

SEARCH = "/collections/hermes/points/search"


def data(api: Api, query: str, **members: Any) -> Any:
    answer = api.graphql(query, **members)
    doc = answer.json()
    assert answer.status == 200 and "errors" not in doc, doc
    return doc["data"]


def test_the_scalar_works_as_it_stands(api: Api) -> None:
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        answer = api.ask(
            "POST",
            "/graphql",
            b'{"query":"query{optimizedSearch(model:\\"hermes\\")}"}',
            {"Content-Type": kind},
        )
        found = answer.json()["data"]["optimizedSearch"]
        assert found["answer"]["result"][0]["id"] == 2**64 - 1 and found["optimization"]["cache"] in (
            "miss",
            "hit",
        )


def test_a_search_part_by_part(api: Api, fake: FakeQdrant) -> None:
    query = """query One($v: [Float!], $f: JSON) {
        best: search(model: "hermes", vector: $v, limit: 2, filter: {must: $f}, withPayload: true) {
          ...p time status optimization { cache params { after } upstream } }
      }
      fragment p on SearchResult { points { id score payload vector } }"""
    got = data(
        api, query, variables={"v": [0.5, 2], "f": [{"key": "n", "match": {"value": 18446744073709551615}}]}
    )["best"]
    assert got["points"] == [
        {"id": 2**64 - 1, "score": 0.5123456789012345, "payload": {"a_b": 1}, "vector": None}
    ]
    assert got["optimization"]["cache"] == "miss" and got["status"] == "ok"
    assert b'"value":18446744073709551615' in fake.last.body
    assert fake.last.json() == {
        "vector": [0.5, 2],
        "limit": 2,
        "filter": {"must": [{"key": "n", "match": {"value": 2**64 - 1}}]},
        "with_payload": True,
    }


def test_null_is_the_default_and_whole_numbers_are_written_whole(api: Api, fake: FakeQdrant) -> None:
    query = 'query($l:Int){optimizedSearch(model:"hermes",limit:$l)}'
    for variables, limit in (({"l": None}, b"10"), ({}, b"10"), ({"l": 3.0}, b"3"), ({"l": -0.0}, b"0")):
        data(api, query, variables=variables)
        assert fake.last.body.endswith(b',"limit":%s}' % limit), fake.last.body
    data(api, '{search(model:"hermes",limit:null,vector:[1],using:null,filter:null){time}}')
    assert fake.last.body == b'{"vector":[1],"limit":10}'
    assert api.graphql(query, variables={"l": 3.5}).status == 400


def test_a_wrong_switch_is_named_without_a_place_that_is_none(api: Api) -> None:
    for given, said in (
        ('enforce:"on"', "argument 'enforce': found another word, expected \"off\""),
        ('memoryPolicy:"on"', "argument 'memoryPolicy': found another word"),
        ("cache:null", "expected one or more of cache"),
    ):
        answer = api.graphql('mutation{setSwitches(model:"hermes",%s){cache}}' % given)
        (error,) = answer.json()["errors"]
        assert answer.status == 400 and said in error["message"] and "line 0" not in error["message"], error
        assert error["locations"] == [{"line": 1, "column": 10}]


def test_searches_of_one_request_run_together(api: Api, fake: FakeQdrant) -> None:
    import threading

    go = threading.Event()
    plain = fake.handler

    def both(x: Any) -> None:
        if x.request.path == SEARCH:
            x.wait(go)
        plain(x)

    fake.handler = both
    answers: list[Any] = []
    query = "{" + " ".join(f'a{n}: search(model:"hermes",limit:{n + 1}) {{ status }}' for n in range(4)) + "}"
    t = threading.Thread(target=lambda: answers.append(data(api, query)))
    t.start()
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 4, what="all four are under way")
    go.set()
    t.join()
    assert answers[0] == {f"a{n}": {"status": "ok"} for n in range(4)}


def test_models(api: Api) -> None:
    got = data(
        api,
        '{models{name vectorSize batchSize} model(name:"notes")'
        "{__typename collections collection targets{ops} metrics}}",
    )
    assert [m["name"] for m in got["models"]] == ["default", "hermes", "notes", "unsized"]
    assert [m["batchSize"] for m in got["models"]] == [None, 75, None, None]
    assert (
        got["model"]["collections"] == ["n*", "notebook"]
        and got["model"]["metrics"]["requests"]["total"] == 0
    )


def test_operations_variables_and_directives(api: Api) -> None:
    query = (
        "query A($n:String!,$x:Boolean=false){model(name:$n){name collection @include(if:$x)}}"
        "query B{__typename}"
    )
    assert data(api, query, operationName="A", variables={"n": "notes"}) == {"model": {"name": "notes"}}
    assert (
        data(api, query, operationName="A", variables={"n": "notes", "x": True})["model"]["collection"]
        == "notebook"
    )
    assert data(api, query, operationName="B") == {"__typename": "Query"}


def test_mutations_run_one_after_the_other(api: Api) -> None:
    path = "/api/v1/models/hermes/search"
    api.ask("GET", path)
    assert api.ask("GET", path).hit
    got = data(api, 'mutation{a:purgeCache(model:"hermes"){models purged} b:purgeCache{purged}}')
    assert got == {"a": {"models": ["hermes"], "purged": ["hermes"]}, "b": {"purged": ["*"]}}
    assert not api.ask("GET", path).hit
    job = data(api, 'mutation{applyOptimizations(models:["hermes"]){id kind state}}')["applyOptimizations"]
    assert (
        job["kind"] == "apply"
        and api.ask("GET", f"/api/v1/jobs/{job['id']}?wait=true").json()["id"] == job["id"]
    )


def test_optimization_status(api: Api) -> None:
    got = data(
        api,
        '{optimizationStatus(model:"hermes")'
        "{model mode wish collections{collection exists error drift{path} gaveUp waits} targets{ops}}}",
    )
    for of in got["optimizationStatus"][0]["collections"]:
        assert of["exists"] is True and of["error"] is None
        assert of["gaveUp"] == of["waits"] == []
    assert (
        got["optimizationStatus"][0]["model"] == "hermes"
        and got["optimizationStatus"][0]["mode"] == "observe"
    )


@pytest.mark.parametrize(
    "query, place, says",
    [
        ("{", (1, 2), "expected a field"),
        ("{models}", (1, 2), "say which"),
        ("{\n  nope\n}", (2, 3), "no field 'nope'"),
        ("{optimizedSearch(model:5)}", (1, 24), "expected String!"),
        ("subscription{models{name}}", (1, 1), "no subscriptions"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(
    api: Api, query: str, place: tuple[int, int], says: str
) -> None:
    answer = api.graphql(query)
    (error,) = answer.json()["errors"]
    assert answer.status == 400 and "data" not in answer.json()
    assert error["locations"] == [{"line": place[0], "column": place[1]}] and says in error["message"]


@pytest.mark.parametrize(
    "body, says",
    [
        (b"", "line 1, column 1"),
        (b'{"query":"{models{name}}"', "line 1, column 26"),
        (b'{"query":5}', '"query" is a number'),
        (b'{"query":"{__typename}","variables":[]}', '"variables" is a list'),
        (b'{"query":"{__typename}","query":"{__typename}"}', "once"),
        (b"{}", 'no "query"'),
        (b"[]", "a list"),
    ],
)
def test_a_body_that_is_none(api: Api, body: bytes, says: str) -> None:
    answer = api.ask("POST", "/graphql", body)
    assert answer.status == 400 and says in answer.json()["errors"][0]["message"]


def test_errors_of_fields_have_a_path_and_a_status(api: Api, fake: FakeQdrant) -> None:
    answer = api.graphql('{model(name:"nope"){name} models{name}}')
    doc = answer.json()
    assert answer.status == 200 and doc["data"]["model"] is None and doc["data"]["models"]
    assert doc["errors"][0]["path"] == ["model"] and doc["errors"][0]["extensions"]["status"] == 404
    assert "hermes, notes, unsized" in doc["errors"][0]["message"]
    answer = api.graphql('{optimizedSearch(model:"nope")}')
    assert answer.status == 404 and answer.json()["data"] is None
    fake.stop()
    answer = api.graphql('{optimizedSearch(model:"hermes")}')
    assert answer.status in (502, 503) and answer.json()["data"] is None


def test_get_is_for_queries(api: Api) -> None:
    answer = api.ask(
        "GET",
        f"/graphql?query={quote('query($n:String!){model(name:$n){name}}')}"
        f"&variables={quote(json.dumps({'n': 'notes'}))}",
    )
    assert answer.json() == {"data": {"model": {"name": "notes"}}}
    answer = api.ask("GET", f"/graphql?query={quote('mutation{purgeCache{purged}}')}")
    assert answer.status == 405 and answer.get("allow") == "POST"


def test_mutations_come_as_json_only(api: Api) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = api.graphql("mutation{purgeCache{purged}}", {"Content-Type": kind})
        assert answer.status == 415 and answer.json()["errors"]


def test_the_read_token_may_query_and_not_mutate(start: Callable[..., Api]) -> None:
    q = start(env={"QUIVER_API_TOKEN": "all", "QUIVER_API_READ_TOKEN": "read"})
    assert q.graphql("{models{name}}").status == 401
    assert q.graphql("{models{name}}", {"X-Quiver-Token": "read"}).status == 200
    assert q.graphql("mutation{purgeCache{purged}}", {"X-Quiver-Token": "read"}).status == 403
    assert q.graphql("mutation{purgeCache{purged}}", {"X-Quiver-Token": "all"}).status == 200


@pytest.fixture(scope="module")
def node_modules() -> str:
    """npm's packages, under build/."""
    if not shutil.which("npm"):
        pytest.skip("no npm here")
    folder = ROOT / "build" / "js-graphql"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (HERE / "package.json").read_text()
    have = folder / "package.json"
    if not (folder / "node_modules").is_dir() or not have.exists() or have.read_text() != wanted:
        have.write_text(wanted)
        done = subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            pytest.skip(f"npm's packages cannot be had: {done.stderr[-300:]}")
    shutil.copy(HERE / "audit.mjs", folder / "audit.mjs")
    return str(folder)


# "SHOULD respond with 4xx if content-type is not supplied": here a query may come as anything, as curl -d
# sends it.
OTHERWISE = {"9ABE"}


def test_audits_and_introspection(api: Api, node_modules: str) -> None:
    done = subprocess.run(
        ["node", "audit.mjs", f"http://127.0.0.1:{api.api}/graphql"],
        cwd=node_modules,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    doc = json.loads(done.stdout)
    assert len(doc["audits"]) > 50
    failed = {
        a["id"]: (a["status"], a["name"], a.get("reason")) for a in doc["audits"] if a["status"] != "ok"
    }
    assert set(failed) == OTHERWISE, failed
    assert "optimizedSearch(model: String!, vector: [Float!], limit: Int = 10, using: String): JSON!" in doc["schema"]
    assert doc["schemaErrors"] == []


def test_verdicts_agree_with_graphql_js(api: Api, node_modules: str) -> None:
    """The documents of the fuzzer's corpus: right or wrong, here and by the reference implementation."""
    corpus = sorted((ROOT / "tests/fuzz/corpus/graphql").glob("request_*"))
    documents = [p.read_bytes()[1:].decode("utf-8", "replace") for p in corpus]
    done = subprocess.run(
        ["node", "audit.mjs", f"http://127.0.0.1:{api.api}/graphql", "--documents"],
        input=json.dumps(documents),
        cwd=node_modules,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    differ = []
    for row in json.loads(done.stdout)["verdicts"]:
        # variables are not given here: their coercion is judged elsewhere, in both
        ours = [e for e in row["ours"] if not e.startswith(("variable $", "there are 2 operations"))]
        if bool(ours) != bool(row["theirs"]):
            differ.append(row)
    assert not differ, differ
