"""What operators turn on and off for one model while quiver runs."""

import json

from lib import FakeQdrant, Quiver, wait_until

SEARCH = "/collections/mixtral/points/search"
BODY = {"vector": [0.1, 0.2], "limit": 3}
MODELS = {"mixtral": {"search": {"default": {"hnsw_ef": 64}}}, "hermes": {"cache_ttl": 60}}


def switch(q: Quiver, model: str = "mixtral", **what: object):
    return q.control("POST", f"/api/v1/models/{model}/optimizations", json.dumps(what).encode())


def word(q: Quiver) -> str:
    return q.post(SEARCH, BODY).get("cache-status") or ""


def hits(q: Quiver) -> bool:
    return wait_until(lambda: q.post(SEARCH, BODY).hit, 5, "a hit")


def test_the_cache_of_a_model_is_switched_off_and_on(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    hits(q)
    assert switch(q, cache=False).status == 200
    wait_until(lambda: word(q) == "", 5, "mixtral is not cached any more")
    wait_until(lambda: q.post("/collections/hermes/points/search", BODY).hit, 5, "hermes still is")
    assert switch(q, cache=True).status == 200
    hits(q)


def test_rewriting_of_a_model_is_switched_off(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS, flags=["--cache", "off"])
    q.post(SEARCH, BODY)
    assert fake.last.json()["params"] == {"hnsw_ef": 64}
    assert switch(q, rewrite=False).status == 200
    wait_until(lambda: q.post(SEARCH, BODY) and "params" not in fake.last.json(), 5, "searches go on as they came")


def test_a_switch_survives_a_reload_and_ends_with_the_process(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    assert switch(q, cache=False).status == 200
    q.reload(optimizations=MODELS)
    assert word(q) == ""
    q.stop()
    again = start(fake.url, optimizations=MODELS)
    hits(again)


def test_bad_switches_are_told_what_would_be_right(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=MODELS)
    for what, expected in (
        ({}, "expected an object"),
        ({"cache": "no"}, "expected true or false"),
        ({"cachet": True}, "expected an object"),
        ({"enforce": True}, "observe"),
    ):
        r = switch(q, **what)
        assert r.status == 400 and expected in r.json()["status"]["error"], (what, r)
    assert switch(q, "mistral", cache=False).status == 404
