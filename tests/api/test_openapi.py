"""The OpenAPI document is true: what comes is what it says."""

from typing import Callable

import pytest
from apilib import Api
from lib import FakeQdrant, Response, wait_until

jsonschema = pytest.importorskip("jsonschema")
V1 = "/api/v1"
NOT_HERE = {"/graphql"}  # test_graphql.py


def checker(api: Api) -> Callable[[str, str, Response], None]:
    """check(method, path of the document, answer)."""
    doc = api.ask("GET", f"{V1}/openapi.json").json()

    def check(method: str, path: str, answer: Response) -> None:
        content = doc["paths"][path][method.lower()]["responses"][str(answer.status)]["content"]
        (media,) = content
        assert (answer.get("content-type") or "").split(";")[0] == media, path
        if media == "application/json":
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
