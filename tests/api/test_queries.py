"""Query digests: what is asked, by shape, with values erased."""

import json
import threading
from typing import Any, Callable

import pytest
from apilib import Api, error_of
from lib import FakeQdrant, wait_until

V1 = "/api/v1"
STATS = f"{V1}/optimizations/queries/stats"
SEARCH = "/collections/hermes/points/search"


def filtered(city: str, **more: Any) -> dict:
    return {
        "vector": [0.1] * 16,
        "limit": 3,
        "filter": {"must": [{"key": "city", "match": {"value": city}}, {"key": "price", "range": {"gte": 17.25}}]},
        **more,
    }


def stats(q: Api, query: str = "", asked: int = 0) -> dict:
    """The document, once so many queries are counted: a client has its answer a little before."""

    def get(query: str) -> dict:
        answer = q.ask("GET", STATS + query)
        assert answer.status == 200, answer.body
        return answer.json()

    def counted() -> int:
        doc = get("")
        return sum(row["count"] for row in [*doc["queries"], doc["other"]])

    wait_until(lambda: counted() >= asked, 5, f"{asked} queries are counted")
    return get(query)


def test_searches_that_differ_in_values_only_share_a_row(start: Callable[..., Api]) -> None:
    q = start(optimizations={"hermes": {"vector_size": 16, "search": {"default": {"hnsw_ef": 32}}}})
    for n in range(6):
        assert q.post(SEARCH, filtered(f"city-{n % 3}")).status == 200
    assert q.post(SEARCH, {"vector": [0.2] * 16, "limit": 3, "params": {"exact": True}}).status == 200
    doc = stats(q, "?sort=count", asked=7)
    first, second = doc["queries"]
    assert (first["model"], first["collection"], first["operation"]) == ("hermes", "hermes", "search")
    assert first["filter"] == "must[key=city match.value, key=price range.gte]"
    assert first["parameters"] == ["hnsw_ef"] and second["parameters"] == ["hnsw_ef", "exact"]
    assert (first["count"], first["hits"], first["lookups"], first["hit_rate"]) == (6, 3, 6, 0.5)
    assert first["errors"] == 0 and first["rewritten"] == 6
    assert 0 < first["p50_us"] <= first["p99_us"] <= first["slowest_us"] <= first["total_us"]
    assert second["filter"] == "" and second["count"] == 1 and second["hit_rate"] == 0
    assert doc["other"]["count"] == 0 and doc["rows"] == 2 and doc["rows_limit"] == 500
    assert doc["since"] <= first["first"] <= first["last"]


ODD = [
    {"must": [{"key": "city", "match": {"value": "SECRET"}}]},
    {"must": [{"has_id": ["SECRET", 987654321]}]},
    {"must": [{"key": "SECRET place 7", "match": {"any": ["SECRET"]}}]},
    {"must": [{"key": "loc", "geo_radius": {"center": {"lon": 98765.5, "lat": 98765.5}, "radius": 987654321}}]},
    {"must_not": [{"nested": {"key": "a", "filter": {"must": [{"key": "b", "match": {"text": "SECRET"}}]}}}]},
    {"SECRET": [{"key": "SECRET"}], "should": {"SECRET": {"key": "SECRET"}}},
    {"must": [{"key": "city", "match": {"SECRET": "SECRET"}, "range": {"SECRET": 987654321}}]},
    {"must": "SECRET"},
    ["SECRET"],
]


def test_no_value_of_a_query_is_kept(api: Api) -> None:
    for filter in ODD:
        body = {"vector": [98765.25] * 16, "limit": 987654321, "filter": filter, "params": {"hnsw_ef": 987654321, "SECRET": "SECRET"}}
        assert api.post(SEARCH, body).status == 200
    assert api.post("/collections/hermes/points/scroll", {"filter": ODD[0], "offset": "SECRET"}).status == 200
    assert api.ask("GET", "/api/v1/models/hermes/search?vector=98765.5&limit=9876").status == 200
    stats(api, asked=len(ODD) + 2)
    answer = api.ask("GET", STATS)
    assert sum(row["count"] for row in answer.json()["queries"]) == len(ODD) + 2
    assert b"SECRET" not in answer.body and b"98765" not in answer.body


def test_rows_can_be_ordered_limited_and_chosen(api: Api, fake: FakeQdrant) -> None:
    for n, city in enumerate(["a", "b", "c"]):
        for k in range(n + 1):
            api.post(SEARCH, {**filtered(city), "filter": {"must": [{"key": city, "match": {"value": k}}]}})
    api.post("/collections/notebook/points/scroll", {"limit": 1})
    counts = [row["count"] for row in stats(api, "?sort=count&model=hermes", asked=7)["queries"]]
    assert counts == [3, 2, 1]
    assert [row["count"] for row in stats(api, "?sort=count&order=asc&model=hermes")["queries"]] == [1, 2, 3]
    assert [row["count"] for row in stats(api, "?sort=count&limit=1")["queries"]] == [3]
    assert {row["model"] for row in stats(api, "?model=notes")["queries"]} == {"notes"}
    assert len(stats(api, "?model=notes,hermes")["queries"]) == 4
    for by in ("total", "mean", "p50", "p99", "slowest", "hit_rate", "errors", "last"):
        rows = stats(api, f"?sort={by}")["queries"]
        key = by if by in ("hit_rate", "errors", "last") else f"{by}_us"
        values = [-1 if row[key] is None else row[key] for row in rows]
        assert len(rows) == 4 and values == sorted(values, reverse=True), by
    assert [r["p99_us"] for r in stats(api, "?sort=p99_us")["queries"]] == [r["p99_us"] for r in stats(api, "?sort=p99")["queries"]]


@pytest.mark.parametrize(
    "query, status, says",
    [
        ("?sort=size", 400, "sort: found 'size', expected one of total, count"),
        ("?order=up", 400, "desc, asc"),
        ("?limit=0", 400, "limit: found '0'"),
        ("?limit=1&limit=2", 400, "2 times"),
        ("?model=nope", 404, "hermes, notes, unsized"),
        ("?model=", 404, "hermes"),
    ],
)
def test_bad_questions(api: Api, query: str, status: int, says: str) -> None:
    answer = api.ask("GET", STATS + query)
    assert answer.status == status and says in error_of(answer)


def test_what_finds_no_room_is_one_row(start: Callable[..., Api]) -> None:
    q = start(quiver={"queries": {"digests": 2}})
    for name in ("a", "b", "c", "d"):
        for _ in range(2):
            q.post(f"/collections/{name}/points/count", {})
    doc = stats(q, asked=8)
    assert {row["collection"] for row in doc["queries"]} == {"a", "b"} and doc["rows"] == doc["rows_limit"] == 2
    assert doc["other"]["count"] == 4 and doc["other"]["hits"] == 2
    assert (q.metric("optimization_query_digests"), q.metric("optimization_query_digests_other_total")) == (2, 4)
    q.reload(quiver={"state_dir": str(q.folder), "queries": {"digests": 3}})
    wait_until(lambda: stats(q)["rows_limit"] == 3, 5, "the new table")
    assert stats(q)["queries"] == [] and stats(q)["other"]["count"] == 0


def test_failures_are_counted_and_names_that_do_not_exist_take_no_row(api: Api, fake: FakeQdrant) -> None:
    api.post(SEARCH, {"vector": [0.5] * 16, "limit": 1})
    fake.handler = lambda x: x.error(404, "Not found: Collection doesn't exist!")
    for n in range(5):
        assert api.post(f"/collections/guess{n}/points/search", {"vector": [1], "limit": 1}).status == 404
    assert api.post(SEARCH, {"vector": [0.6] * 16, "limit": 1}).status == 404
    doc = stats(api, asked=7)
    (row,) = doc["queries"]
    assert (row["count"], row["errors"]) == (2, 1)
    assert (doc["other"]["count"], doc["other"]["errors"]) == (5, 5)


def test_counting_can_begin_anew(api: Api) -> None:
    api.post(SEARCH, filtered("x"))
    before = stats(api, asked=1)
    answer = api.ask("POST", STATS + "/reset")
    assert answer.status == 200 and answer.json()["since"] > before["since"]
    assert stats(api)["queries"] == []
    # the order to a worker may arrive a little after a request
    wait_until(lambda: api.post(SEARCH, filtered("x")) and stats(api)["queries"], 5, "the workers count in the new table")
    (row,) = stats(api)["queries"]
    assert row["count"] == row["hits"] > 0


def test_a_body_that_nobody_read_has_no_shape(start: Callable[..., Api]) -> None:
    q = start(caching={"hermes": {"cache": False, "coalesce": False}})
    q.post(SEARCH, filtered("x"))
    (row,) = stats(q, asked=1)["queries"]
    assert row["filter"] is None and row["hit_rate"] is None and row["count"] == 1


def test_counts_are_exact_while_many_ask_and_some_begin_anew(start: Callable[..., Api]) -> None:
    q = start(workers=3)

    def client(n: int) -> None:
        with q.conn() as c:
            for i in range(100):
                c.post(SEARCH, filtered(f"{n}-{i % 4}"))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    for _ in range(5):
        json.dumps(stats(q))
    for t in threads:
        t.join()
    (row,) = stats(q, asked=600)["queries"]
    assert row["count"] == 600 and row["lookups"] == 600
