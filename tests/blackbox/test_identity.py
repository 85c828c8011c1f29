"""Who answers behind the address, and who asks: a restarted server and an ended token take their entries with them."""

import base64
import json
import threading
import time

import pytest
from lib import FakeQdrant, Quiver, wait_until

SEARCH = "/collections/mine/points/search"
BODY = {"vector": [0.1, 0.2], "limit": 3}


def ask(q: Quiver, headers: dict[str, str] | None = None):
    r = q.post(SEARCH, BODY, headers)
    assert r.status == 200, r
    return r


def cached(q: Quiver, headers: dict[str, str] | None = None):
    return wait_until(lambda: (r := ask(q, headers)).hit and r, 5, "it is answered from the cache")


def jwt(**claims: object) -> str:
    parts = [{"alg": "HS256", "typ": "JWT"}, claims]
    text = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts]
    return ".".join([*text, "c2lnbmF0dXJl"])


def test_a_restarted_server_takes_its_entries_with_it(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    old = cached(q).json()["result"]
    fake.startup = "2026-01-01T00:00:01Z"
    fake.drop_connections()
    wait_until(lambda: ask(q).json()["result"] != old, 10, "the new process is asked")
    assert cached(q).json()["result"] != old
    assert q.metric("quiver_upstream_changed_total") == 1
    assert q.log_has("upstream_changed")


def test_a_restart_that_breaks_no_connection_is_found_by_the_poll(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    old = cached(q).json()["result"]
    fake.startup = "2026-01-01T00:00:02Z"
    wait_until(lambda: ask(q).json()["result"] != old, 10, "the new process is asked")


def test_broken_connections_to_the_same_server_cost_nothing_for_long(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    old = cached(q).json()["result"]
    go, known = threading.Event(), fake.default
    fake.default = lambda x: known(x) if x.request.path != "/telemetry" or x.wait(go) else None  # type: ignore[method-assign]
    fake.drop_connections()
    wait_until(lambda: "detail=upstream" in (ask(q).get("cache-status") or ""), 5, "who it is is not known yet")
    wait_until(lambda: q.metric("cache_bypasses_total", reason="upstream") >= 1, 5, "the refusal is counted")
    go.set()
    assert cached(q).json()["result"] == old
    assert q.metric("quiver_upstream_changed_total") == 0


def test_answers_do_not_follow_a_model_to_another_server(fake: FakeQdrant, start) -> None:
    """A reload names servers that quiver knows nothing of yet: they are not taken for each other meanwhile."""
    with FakeQdrant() as second, FakeQdrant() as third:
        q = start(fake.url)
        cached(q)
        for n, server in ((1000, second), (2000, third)):
            server.startup, server._serial = f"{n}-01-01T00:00:00Z", n
            q.reload(quiver={"upstreams": {"default": server.url}})
            answers = [q.post(SEARCH, BODY).json()["result"][0]["id"] for _ in range(5)]
            assert all(n < one <= n + 1000 for one in answers), answers
        cached(q)


def test_a_lookup_through_an_alias_that_was_moved_past_quiver_is_found_by_the_poll(fake: FakeQdrant, start) -> None:
    fake.aliases = {"far": "one"}
    q = start(fake.url, quiver={"coherence": {"alias_poll": "200ms"}})
    body = {"query": 1, "lookup_from": {"collection": "far"}}

    def ask():
        return q.post("/collections/mine/points/query", body)

    wait_until(lambda: ask().hit, 5, "cached")
    old = ask().json()["result"]
    fake.aliases = {"far": "two"}
    wait_until(lambda: ask().json()["result"] != old, 5, "what the alias stands for now")


def test_a_server_that_tells_nothing_is_cached_all_the_same(fake: FakeQdrant, start) -> None:
    fake.handler = None
    known = fake.default

    def mute(x) -> None:
        x.reply(401, "Must provide an API key") if x.request.path == "/telemetry" else known(x)

    fake.default = mute
    q = start(fake.url)
    old = cached(q).json()["result"]
    fake.drop_connections()
    assert cached(q).json()["result"] == old


@pytest.mark.parametrize("how", ["api-key", "bearer"])
def test_an_entry_ends_with_the_token_it_was_made_for(fake: FakeQdrant, start, how: str) -> None:
    q = start(fake.url)
    token = jwt(exp=int(time.time()) + 4, access="r")
    headers = {"api-key": token} if how == "api-key" else {"Authorization": f"Bearer {token}"}
    ttl = int((cached(q, headers).get("cache-status") or "").rsplit("ttl=", 1)[1])
    assert ttl <= 4
    wait_until(lambda: not ask(q, headers).hit, 10, "the token has ended")
    assert "detail=token" in (ask(q, headers).get("cache-status") or "")


def test_a_token_that_a_point_can_revoke_is_never_cached(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    value_exists = {"collection": "users", "matches": [{"key": "id", "value": 1}]}
    headers = {"api-key": jwt(value_exists=value_exists)}
    results = [ask(q, headers).json()["result"] for _ in range(3)]
    assert len({str(r) for r in results}) == 3
    wait_until(lambda: q.metric("cache_bypasses_total", reason="token") == 3, 5, "the refusals are counted")


def test_a_token_too_long_to_be_read_is_never_cached(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    access = [{"collection": f"c{n:04}", "access": "r"} for n in range(330)]
    headers = {"api-key": jwt(exp=int(time.time()) + 60, access=access)}
    assert len(headers["api-key"]) > 16 * 1024
    cached(q)
    for _ in range(3):
        assert "detail=token" in (ask(q, headers).get("cache-status") or "")


@pytest.mark.parametrize("ends", ["exp", "value_exists"])
@pytest.mark.parametrize("key", [b"\xe9", b"", b"plain"], ids=repr)
def test_of_two_credentials_either_may_end_an_entry(fake: FakeQdrant, start, key: bytes, ends: str) -> None:
    """Qdrant takes Authorization where it cannot read the api-key."""
    q = start(fake.url)
    token = jwt(exp=int(time.time()) + 4) if ends == "exp" else jwt(value_exists={"collection": "users", "matches": []})
    body = json.dumps(BODY).encode()
    head = b"POST %s HTTP/1.1\r\nHost: a\r\napi-key: %s\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n"

    def status() -> str:
        with q.conn() as c:
            c.send(head % (SEARCH.encode(), key, token.encode(), len(body)) + body)
            return c.read().get("cache-status") or ""

    cached(q)
    if ends == "exp":
        wait_until(lambda: "hit" in status(), 3, "it is answered from the cache")
        assert int(status().rsplit("ttl=", 1)[1]) <= 4
        wait_until(lambda: "detail=token" in status(), 10, "the token has ended")
    assert "detail=token" in status() and "detail=token" in status()


def test_external_writes_bound_the_age(fake: FakeQdrant, start) -> None:
    q = start(fake.url, caching={"default": {"external_writes": True, "external_writes_ttl": "1s"}})
    old = cached(q).json()["result"]
    wait_until(lambda: ask(q).json()["result"] != old, 5, "it is asked for anew within a second or so")


def test_writes_past_quiver_are_found_by_the_poll_where_announced(fake: FakeQdrant, start) -> None:
    fake.telemetry_of = ["mine"]
    slow = {"external_writes": True, "external_writes_ttl": "60s"}
    q = start(fake.url, caching={"default": slow}, quiver={"coherence": {"alias_poll": "200ms"}})
    cached(q)
    wait_until(lambda: any("details_level" in r.query for r in fake.own), 5, "the poll has read where Qdrant is")
    old = cached(q).json()["result"]
    fake.op_num += 1
    wait_until(lambda: ask(q).json()["result"] != old, 5, "what was cached before the foreign write is gone")


@pytest.mark.parametrize("telemetry", [200, 401])
def test_an_upgraded_server_takes_its_entries_with_it(fake: FakeQdrant, start, telemetry: int) -> None:
    """The same start, another version; where telemetry is refused GET / tells."""
    fake.telemetry_status = telemetry
    q = start(fake.url)
    old = cached(q).json()["result"]
    fake.version = "1.19.0"
    fake.drop_connections()
    wait_until(lambda: q.log_has("upstream_changed"), 10, "it is said")
    assert q.metric("quiver_upstream_changed_total") == 1
    assert cached(q).json()["result"] != old


def test_a_write_through_an_alias_that_has_just_moved_is_nobody_elses(fake: FakeQdrant, start) -> None:
    """Where it went to, its number is missing among those of quiver's own writes, as one of another writer would be."""
    fake.aliases = {"now": "right"}
    q = start(fake.url)
    numbers = {"left": 100, "right": 5}
    go, go_on = threading.Event(), fake.default
    go.set()
    fake.default = lambda x: go_on(x) if x.request.path != "/aliases" or x.wait(go) else None  # type: ignore[method-assign]

    def numbered(x) -> None:
        if x.request.method == "PUT":
            name = x.request.path.split("/")[2]
            name = fake.aliases.get(name, name)
            numbers[name] += 1
            x.ok({"operation_id": numbers[name], "status": "completed"})

    def write(name: str) -> None:
        assert q.ask("PUT", f"/collections/{name}/points?wait=true", b"{}").status == 200

    def points_known(name: str) -> float:
        return q.metric("model_collection_points", collection=name)

    fake.handler = numbered
    write("left"), write("right")
    wait_until(lambda: points_known("left") and points_known("right"), 5, "that they have one shard is known")
    write("left"), write("right")
    go.clear()
    actions = {"actions": [{"create_alias": {"alias_name": "now", "collection_name": "left"}}]}
    assert q.post("/collections/aliases", actions).status == 200
    write("now")
    go.set()
    wait_until(lambda: q.post("/collections/now/points/search", BODY).hit, 5, "the new map is there")
    for _ in range(2):
        write("left"), write("right")
    assert q.metric("quiver_external_writes_total") == 0
    numbers["left"] += 3
    write("left")
    wait_until(lambda: q.log_has("external_writes", "collection=left", "writes=3"), 5, "this one is said")
