"""The OpenAPI document is true: what comes is what it says."""

from typing import Callable

import pytest
from apilib import Api, error_of
from lib import Conn, FakeQdrant, Response, wait_until

jsonschema = pytest.importorskip("jsonschema")
V1 = "/api/v1"
NOT_HERE = {"/graphql"}  # below: it needs a query


def checker(api: Api) -> Callable[[str, str, Response], None]:
    """check(method, path of the document, answer)."""
    doc = api.ask("GET", f"{V1}/openapi.json").json()

    def check(method: str, path: str, answer: Response) -> None:
        responses = doc["paths"][path][method.lower()]["responses"]
        response = responses.get(str(answer.status)) or responses["default"]
        if "$ref" in response:
            response = doc["components"]["responses"][response["$ref"].rsplit("/", 1)[-1]]
        content, media = response["content"], (answer.get("content-type") or "").split(";")[0]
        assert media in content, (path, answer.status, media)
        if media.endswith("json"):
            schema = content[media]["schema"]
            jsonschema.Draft202012Validator({**schema, "components": doc["components"]}).validate(answer.json())

    check.doc = doc  # type: ignore[attr-defined]
    return check


def test_answers_to_reads_are_as_described(api: Api, fake: FakeQdrant) -> None:
    check = checker(api)
    for n in range(3):
        api.post("/collections/hermes/points/search", {"vector": [n] * 16, "limit": 1, "filter": {"must": [{"has_id": [n]}]}})
    seen = 0
    for path, operations in check.doc["paths"].items():  # type: ignore[attr-defined]
        if "get" not in operations or "{id}" in path or path in NOT_HERE:
            continue
        answer = api.ask("GET", path.replace("{model}", "hermes"))
        assert answer.status == 200, (path, answer.body)
        check("GET", path, answer)
        seen += 1
    assert seen >= 13


def test_answers_to_searches_and_changes_are_as_described(api: Api) -> None:
    check = checker(api)
    rows = [
        (f"{V1}/models/{{model}}/search", {"vector": [1] * 16, "limit": 1}),
        (f"{V1}/models/{{model}}/search/optimized", None),
        (f"{V1}/models/{{model}}/optimizations", {"rewrite": True}),
        (f"{V1}/models/{{model}}/cache/purge", None),
        (f"{V1}/cache/purge", {"collection": "c"}),
        (f"{V1}/optimizations/queries/stats/reset", None),
        (f"{V1}/optimizations/rollback?wait=true", None),
        (f"{V1}/optimizations/apply", {"models": ["hermes"]}),
    ]
    for path, body in rows:
        answer = api.ask("POST", path.replace("{model}", "hermes"), body)
        path = path.split("?")[0]
        assert answer.status in (200, 202), (path, answer.body)
        check("POST", path, answer)


def test_queries_are_described_to_the_last_member(api: Api) -> None:
    check = checker(api)
    api.post("/collections/hermes/points/search", {"vector": [1] * 16, "limit": 1})
    stats = f"{V1}/optimizations/queries/stats"
    doc = wait_until(lambda: (d := api.ask("GET", stats).json())["queries"] and d, 5, "it is counted")
    schemas = check.doc["components"]["schemas"]  # type: ignore[attr-defined]
    figures = set(schemas["QueryFigures"]["properties"])
    assert set(doc) == set(schemas["Queries"]["properties"]) and set(doc["other"]) == figures
    assert set(doc["queries"][0]) == set(schemas["Query"]["properties"]) | figures
    done = api.ask("POST", f"{V1}/models/hermes/search/optimized").json()["optimization"]
    assert set(done) == set(schemas["OptimizedAnswer"]["properties"]["optimization"]["properties"])


def test_graphql_is_as_described(api: Api) -> None:
    check = checker(api)
    modern = "application/graphql-response+json"
    for query, kind, status in (
        ("{models{name}}", "application/json", 200),
        ("{modls{name}}", "application/json", 400),
        ('{optimizedSearch(model:"nope")}', "application/json", 404),
        ("mutation{purgeCache{models}}", "text/plain", 415),
        ("mutation{purgeCache{models}}", "application/json", 200),
    ):
        for accept in (modern, "*/*"):
            answer = api.graphql(query, {"Accept": accept, "Content-Type": kind})
            assert answer.status == status and (modern in (answer.get("content-type") or "")) == (accept == modern)
            assert ("errors" in answer.json()) == (status != 200)
            check("POST", "/graphql", answer)
    check("GET", "/graphql", api.ask("GET", "/graphql?query={models{name}}", headers={"Accept": modern}))
    check("GET", "/graphql", api.ask("GET", "/graphql"))
    check("GET", "/graphql", api.ask("GET", "/graphql?query=a&query=b"))


def test_refusals_are_as_described(api: Api, start: Callable[..., Api]) -> None:
    check = checker(api)
    search, openapi = f"{V1}/models/{{model}}/search", f"{V1}/openapi.json"
    hermes = search.replace("{model}", "hermes")
    for method, path, asked, body, headers, status in (
        ("GET", search, f"{hermes}?limit=0", None, {}, 400),
        ("GET", search, search.replace("{model}", "nope"), None, {}, 404),
        ("GET", search, f"{hermes}?vector={'0' * 2**17}", None, {}, 414),
        ("GET", search, hermes, None, {"X": "a" * 20000}, 431),
        ("POST", search, hermes, b" " * (2**25 + 1), {}, 413),
        ("GET", openapi, openapi, None, {"Content-Length": "x"}, 400),
        ("GET", openapi, openapi, None, {"Transfer-Encoding": "gzip"}, 501),
        ("GET", openapi, openapi, None, {"Expect": "more"}, 417),
    ):
        answer = api.ask(method, asked, body, headers)
        assert answer.status == status, (path, answer)
        check(method, path, answer)
    for head, status in (("TRACE / HTTP/1.1", 501), ("get / HTTP/1.1", 501), ("GET / HTTP/2.0", 505), ("GET /", 400)):
        with Conn(api.api) as c:
            c.send(f"{head}\r\nHost: localhost\r\n\r\n".encode())
            answer = c.read()
        assert answer.status == status and error_of(answer)
        check("GET", openapi, answer)
    away = start("http://no-such-host.invalid:6333", ready=False)
    check("GET", "/readyz", answer := away.ask("GET", "/readyz"))
    assert answer.status == 503
