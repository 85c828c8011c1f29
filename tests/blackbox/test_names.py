"""Which names an answer depends on: aliases and what they stand for, other collections, aliases that nobody may see."""

import threading
import time

import pytest
from lib import FakeQdrant, Quiver, wait_until
from lib.cached import BODY, cached, served


@pytest.fixture
def q(fake: FakeQdrant, start) -> Quiver:
    return start(fake.url, quiver={"coherence": {"quarantine": "600ms"}})


def test_more_names_than_a_look_takes_are_not_cached(fake: FakeQdrant, start) -> None:
    fake.aliases = {f"alias{n}": "mine" for n in range(20)}
    fake.aliases |= {f"other{n}": "few" for n in range(5)}
    q = start(fake.url)
    wait_until(lambda: "names" in served(q).get("cache-status", ""), 5, "it is not cached")
    cached(q, "/collections/few/points/search")
    assert q.ask("PUT", "/collections/other3/points?wait=true", b"{}").status == 200
    assert not served(q, "/collections/few/points/search").hit


def test_lookups_in_other_collections_are_part_of_an_answer(q: Quiver, fake: FakeQdrant) -> None:
    body = {"query": 1, "lookup_from": {"collection": "far", "vector": "v"}}
    target = "/collections/mine/points/query"
    cached(q, target, body)
    assert q.ask("PUT", "/collections/far/points?wait=true", b"{}").status == 200
    assert not served(q, target, body).hit
    nested = {"prefetch": [{"query": 1, "lookup_from": {"collection": "far"}}], "query": [0.1]}
    cached(q, target, nested)
    assert q.ask("PUT", "/collections/far/points?wait=true", b"{}").status == 200
    assert not served(q, target, nested).hit
    groups = {**BODY, "group_by": "g", "group_size": 1, "with_lookup": "far"}
    cached(q, "/collections/mine/points/search/groups", groups)
    assert q.ask("PUT", "/collections/far/points?wait=true", b"{}").status == 200
    assert not served(q, "/collections/mine/points/search/groups", groups).hit


def test_a_change_of_aliases_ends_answers_under_those_names(q: Quiver, fake: FakeQdrant) -> None:
    def alias(target: str) -> None:
        actions = {"actions": [{"create_alias": {"alias_name": "nick", "collection_name": target}}]}
        assert q.post("/collections/aliases", actions).status == 200

    alias("one")
    cached(q, "/collections/nick/points/search")
    old = served(q, "/collections/nick/points/search").json()["result"]
    go, known = threading.Event(), fake.default
    fake.default = lambda x: known(x) if x.request.path != "/aliases" or x.wait(go) else None  # type: ignore[method-assign]
    alias("two")
    fresh = served(q, "/collections/nick/points/search")
    assert not fresh.hit and fresh.json()["result"] != old
    assert "detail=aliases" in fresh.get("cache-status", ""), "what they stand for is not known yet"
    wait_until(lambda: q.metric("cache_bypasses_total", reason="aliases") >= 1, 5, "the refusal is counted")
    go.set()
    cached(q, "/collections/nick/points/search")


def is_cached_once_servers_agree(q: Quiver) -> None:
    """Not before 5 s after an alias was made."""
    cached(q)
    actions = {"actions": [{"create_alias": {"alias_name": "nick", "collection_name": "mine"}}]}
    assert q.post("/collections/aliases", actions).status == 200
    begin = time.monotonic()
    wait_until(lambda: served(q).hit, 10, "it is cached again")
    assert time.monotonic() - begin > 4.5


def test_the_request_behind_each_change_of_aliases_goes_by_the_new_ones(fake: FakeQdrant, start) -> None:
    with FakeQdrant() as other:
        servers = {"one": fake, "two": other}
        models = {"a": {"collections": ["one"], "upstream": "default"}, "b": {"collections": ["two"], "upstream": "other"}}
        groups = {"upstreams": {"default": fake.url, "other": other.url}, "coherence": {"alias_poll": "1h"}}
        q = start(None, workers=1, quiver=groups, optimizations=models)
        for target in ("one", "two") * 3:
            for server in servers.values():
                server.aliases["nick"] = target
            actions = {"actions": [{"create_alias": {"alias_name": "nick", "collection_name": target}}]}
            assert q.post("/collections/aliases", actions).status == 200
            seen = {name: len(server.requests) for name, server in servers.items()}
            assert q.post("/collections/nick/points/search", BODY).status == 200
            asked = [n for n, s in servers.items() if any("search" in r.path for r in s.requests[seen[n] :])]
            assert asked == [target]


EF = {"search": {"force": {"hnsw_ef": 77}}}


@pytest.mark.parametrize("status", [0, 401, 429, 500])
def test_while_a_group_does_not_list_its_aliases_requests_go_by_what_was_known(fake: FakeQdrant, start, status: int) -> None:
    with FakeQdrant() as second:
        second.aliases["nick"] = "far"
        groups = {"upstreams": {"default": fake.url, "second": second.url}, "coherence": {"alias_poll": "100ms"}}
        q = start(None, quiver=groups, optimizations={"m": {"collections": ["far"], "upstream": "second", **EF}})
        cached(q, "/collections/nick/points/search")

        def default(x) -> None:
            if x.request.path != "/aliases":
                known(x)
                return
            asked.set()
            x.close() if status == 0 else x.error(status, "not now")

        asked, known, second.default = threading.Event(), second.default, default  # type: ignore[method-assign]
        for _ in range(3):  # rounds
            asked.clear()
            assert asked.wait(5)
            assert served(q, "/collections/nick/points/search", {**BODY, "limit": 5}).status == 200
            assert q.ask("PUT", "/collections/nick/points?wait=true", b"{}").status == 200
        assert not [r.path for r in fake.requests]
        assert '"hnsw_ef":77' in second.seen("POST", "/collections/nick/points/search")[-1].body.decode()


def test_what_was_read_while_an_alias_led_elsewhere_past_quiver_does_not_come_back(fake: FakeQdrant, start) -> None:
    fake.aliases["nick"] = "one"
    fake.handler = lambda x: x.ok(dict(fake.aliases)) if x.request.path.endswith("/search") else None
    q = start(fake.url, quiver={"coherence": {"alias_poll": "500ms"}})
    target, read = "/collections/nick/points/search", lambda: served(q, target).json()["result"]["nick"]
    cached(q, target)
    polls = lambda: sum(r.path == "/aliases" for r in list(fake.own))  # noqa: E731
    before = polls()
    wait_until(lambda: polls() > before, 5, "a round")
    for leads in ("two", "one"):
        fake.aliases["nick"] = leads
        served(q, target, {**BODY, "limit": 9})  # read within the time in which quiver does not know
        wait_until(lambda: read() == leads, 5, "it is seen")  # noqa: B023
        cached(q, target)
        assert read() == leads
        assert served(q, target, {**BODY, "limit": 9}).json()["result"]["nick"] == leads


def test_servers_that_agree_among_themselves_are_given_time_to(fake: FakeQdrant, start) -> None:
    """An alias that one server has moved is moved on the others a moment later: nothing is kept meanwhile."""
    with FakeQdrant() as other:
        q = start([fake.url, other.url])
        is_cached_once_servers_agree(q)


def test_a_change_of_aliases_is_given_time_if_any_group_has_several_servers(fake: FakeQdrant, start) -> None:
    """Its path names no collection: it is one of the group that the default model asks, and of the others too."""
    with FakeQdrant() as other:
        q = start(
            quiver={"upstreams": {"default": fake.url, "pair": [fake.url, other.url]}},
            optimizations={"mine": {"collections": ["mine"], "upstream": "pair"}},
        )
        is_cached_once_servers_agree(q)


@pytest.mark.parametrize("status", [200, 401, 403, 500, 404])
def test_where_aliases_are_hidden_each_write_ends_all_answers(fake: FakeQdrant, start, status: int) -> None:
    """404 says that there is no such list, so there are no aliases; all else may hide some, also a 200 that brings no list."""
    known = fake.default
    fake.default = lambda x: x.error(status, "no") if x.request.path == "/aliases" else known(x)  # type: ignore
    q = start(fake.url)
    cached(q, "/collections/nick/points/search")
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    assert served(q, "/collections/nick/points/search").hit is (status == 404)
    cached(q, "/collections/nick/points/search")
    assert q.log_has("no_aliases", f"status={status}")


def test_a_list_of_aliases_that_fails_now_and_then_makes_nothing_old(fake: FakeQdrant, start) -> None:
    """What was read while it failed is known by the alias alone; a write while it does not names the collection."""
    known, fails = fake.default, threading.Event()
    fake.default = lambda x: x.error(503, "no") if fails.is_set() and x.request.path == "/aliases" else known(x)  # type: ignore
    fake.aliases = {"nick": "mine"}
    q = start(fake.url, quiver={"coherence": {"alias_poll": "100ms"}})
    nick = "/collections/nick/points/search"

    def asked() -> int:
        return sum(r.path == "/aliases" for r in list(fake.own))

    def polled() -> None:
        n = asked()
        wait_until(lambda: asked() >= n + 3, 5, "the list was asked for, and read")

    fails.set(), polled()
    cached(q, nick)
    old = served(q, nick).json()["result"]
    fails.clear(), polled()
    assert not served(q, nick).hit, "now it is known what it stands for"
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    fails.set(), polled()
    assert served(q, nick).json()["result"] != old


def test_where_aliases_are_hidden_a_finished_write_proves_nothing_about_another(fake: FakeQdrant, start) -> None:
    """The name may be an alias, and have been moved between the two."""
    known = fake.default
    fake.default = lambda x: x.error(403, "no") if x.request.path == "/aliases" else known(x)  # type: ignore
    q = start(fake.url, quiver={"coherence": {"quarantine": "1500ms"}})
    cached(q)
    wait_until(lambda: q.metric("model_collection_points", collection="mine"), 5, "that it has one shard is known")
    begin = time.monotonic()
    assert q.ask("PUT", "/collections/mine/points?wait=false", b"{}").status == 200
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    cached(q)
    assert time.monotonic() - begin > 1.4, "the first one's hold goes on"


def test_a_write_to_the_collection_ends_answers_under_its_alias(q: Quiver, fake: FakeQdrant) -> None:
    assert (
        q.post(
            "/collections/aliases",
            {"actions": [{"create_alias": {"alias_name": "nick", "collection_name": "mine"}}]},
        ).status
        == 200
    )
    cached(q, "/collections/nick/points/search")
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    assert not served(q, "/collections/nick/points/search").hit
    cached(q)
    assert q.ask("PUT", "/collections/nick/points?wait=true", b"{}").status == 200
    assert not served(q).hit, "a write through the alias is a write to what it stands for"
