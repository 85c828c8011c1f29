"""What is answered from memory, for how long, and what ends it."""

import json
import re
import threading
import time

import pytest
from lib import FakeQdrant, Quiver, head_of, wait_until
from lib.cached import BODY, SEARCH, cached, served
from lib.ops import OPS, Op

@pytest.fixture
def q(fake: FakeQdrant, start) -> Quiver:
    return start(fake.url, quiver={"coherence": {"quarantine": "600ms"}})


def test_the_second_time_is_a_hit(q: Quiver, fake: FakeQdrant) -> None:
    first, second = served(q), served(q)
    assert not first.hit and second.hit
    assert first.json()["result"] == second.json()["result"]
    assert len(fake.seen(path=SEARCH)) == 1
    wait_until(lambda: q.metric("cache_hits_total", store="memory", model="default") == 1, 5, "it is counted")
    wait_until(lambda: q.metric("cache_stores_total", store="memory") == 1, 5, "it is counted")


def test_cache_status_and_age_are_as_rfc_9211_says(q: Quiver) -> None:
    first, second = served(q), served(q)
    assert re.fullmatch(r"quiver; fwd=uri-miss; stored", first.get("cache-status") or ""), first.headers
    match = re.fullmatch(r"quiver; hit; ttl=(\d+)", second.get("cache-status") or "")
    assert match and 0 <= int(match[1]) <= 60
    assert re.fullmatch(r"\d+", second.get("age") or "") and first.get("age") in (None, "0")
    assert second.get("content-type") == "application/json"


def test_a_hit_writes_its_own_time_with_nine_decimals(q: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, b'{"result":[1],"status":"ok","time":5.0}')
    lengths = set()
    first = served(q)
    assert first.json()["time"] == 5.0
    for _ in range(5):
        r = served(q)
        assert r.hit and re.search(rb',"time":0\.\d{9}\}$', r.body), r.body
        lengths.add(len(r.body))
    assert len(lengths) == 1
    assert first.body.split(b'"time"')[0] == r.body.split(b'"time"')[0]


CACHEABLE = [
    ("POST", "points/search", BODY),
    ("POST", "points/search/batch", {"searches": [BODY]}),
    ("POST", "points/query", {"query": [0.1]}),
    ("POST", "points/query/batch", {"searches": [{"query": [0.1]}]}),
    ("POST", "points/search/groups", {**BODY, "group_by": "a", "group_size": 1}),
    ("POST", "points/query/groups", {"query": [0.1], "group_by": "a"}),
    ("POST", "points/recommend", {"positive": [1], "limit": 3}),
    ("POST", "points/recommend/batch", {"searches": [{"positive": [1], "limit": 3}]}),
    ("POST", "points/discover", {"target": [0.1], "limit": 1}),
    ("POST", "points/scroll", {"limit": 1}),
    ("POST", "points/count", {}),
    ("POST", "points", {"ids": [1]}),
    ("GET", "points/1", None),
    ("POST", "facet", {"key": "k"}),
]


@pytest.mark.parametrize("method, path, body", CACHEABLE, ids=[row[1] for row in CACHEABLE])
def test_cacheable_reads_are_cached(
    q: Quiver, fake: FakeQdrant, method: str, path: str, body: object
) -> None:
    data = None if body is None else json.dumps(body).encode()
    answers = [q.ask(method, f"/collections/mine/{path}", data) for _ in range(3)]
    assert [r.status for r in answers] == [200] * 3
    assert [r.hit for r in answers] == [False, True, True]
    assert len(fake.requests) == 1


UNCACHEABLE = [
    ("a random sample", "points/query", {"query": {"sample": "random"}}),
    (
        "a random sample in a prefetch",
        "points/query",
        {"prefetch": [{"query": {"sample": "random"}}], "query": [0.1]},
    ),
    (
        "a random sample in a batch",
        "points/query/batch",
        {"searches": [{"query": [0.1]}, {"query": {"sample": "random"}}]},
    ),
    ("a matrix", "points/search/matrix/pairs", {"sample": 10}),
    ("a text to embed", "points/query", {"query": {"text": "cats", "model": "m"}}),
    ("an image to embed", "points/query", {"query": {"nearest": {"image": "http://x", "model": "m"}}}),
    ("an object to embed", "points/query", {"prefetch": {"query": {"object": {}, "model": "m"}}}),
    (
        "a text in recommend",
        "points/query",
        {"query": {"recommend": {"positive": [{"text": "x", "model": "m"}]}}},
    ),
    ("a text as an array", "points/query", {"query": ["cats", "m"]}),
    ("a nearest text as an array", "points/query", {"query": {"nearest": ["cats", "m"]}}),
    ("an object as an array", "points/query", {"query": [{"url": "x"}, "m"]}),
    (
        "a text as an array in recommend",
        "points/query",
        {"query": {"recommend": {"positive": [["cats", "m"]]}}},
    ),
    (
        "a text as an array in a prefetch",
        "points/query",
        {"prefetch": [{"query": {"nearest": ["cats", "m"]}}], "query": [0.1]},
    ),
    (
        "a text as an array in a batch",
        "points/query/batch",
        {"searches": [{"query": {"discover": {"target": ["cats", "m"], "context": []}}}]},
    ),
    ("a shard's points", "shards/0/points/scroll", {"limit": 1}),
    ("a key written with an escape", "points/search", b'{"vector":[1],"limit":1,"\\u0070arams":{}}'),
    ("a duplicate key", "points/search", b'{"vector":[1],"limit":1,"params":{},"params":{"hnsw_ef":1}}'),
    ("a wrong type", "points/search", b'{"vector":[1],"limit":1,"params":[]}'),
    ("65 levels", "points/query", b'{"filter":' + b'{"must":' * 70 + b"{}" + b"}" * 71),
    ("not JSON", "points/search", b'{"vector":[1],"limit":1'),
    ("bytes behind the JSON", "points/search", b'{"vector":[1],"limit":1}}'),
    ("no body", "points/search", b""),
]


@pytest.mark.parametrize("name, path, body", UNCACHEABLE, ids=[row[0] for row in UNCACHEABLE])
def test_what_may_differ_each_time_is_not_cached(
    q: Quiver, fake: FakeQdrant, name: str, path: str, body: object
) -> None:
    fake.handler = lambda x: x.ok({"serial": fake.serial()})
    answers = [q.post(f"/collections/mine/{path}", body) for _ in range(3)]
    assert not any(r.hit for r in answers) and len(fake.requests) == 3
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    assert all(r.body == sent for r in fake.requests)


def test_lists_and_service_answers_are_not_cached(q: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.ok({"serial": fake.serial()})
    for path in (
        "/collections",
        "/aliases",
        "/collections/mine",
        "/collections/mine/exists",
        "/collections/mine/aliases",
        "/telemetry",
        "/metrics",
        "/",
    ):
        assert q.ask("GET", path).body != q.ask("GET", path).body, path


@pytest.mark.parametrize("status", [201, 202, 400, 401, 403, 404, 408, 422, 429, 500, 503])
def test_only_200_is_kept(q: Quiver, fake: FakeQdrant, status: int) -> None:
    fake.handler = lambda x: x.reply(status, {"status": {"error": "no"}, "time": 0.0})
    for _ in range(3):
        r = q.post(SEARCH, BODY)
        assert r.status == status and not r.hit
    assert len(fake.requests) == 3
    wait_until(lambda: q.metric("cache_unstored_total", reason="status") == 3, 5, "the refusals are counted")


def test_different_bodies_and_parameters_are_different_answers(q: Quiver, fake: FakeQdrant) -> None:
    asked = [
        (SEARCH, {**BODY, "limit": 4}),
        (SEARCH, {**BODY, "offset": 1}),
        (SEARCH + "?timeout=5", BODY),
        (SEARCH + "?consistency=1", BODY),
        ("/collections/mine/points/query", BODY),
        ("/collections/other/points/search", BODY),
        (SEARCH, BODY),
    ]
    for target, body in asked:
        assert not served(q, target, body).hit
    for target, body in asked:
        assert served(q, target, body).hit


def test_the_order_of_query_parameters_does_not_matter(q: Quiver) -> None:
    assert not served(q, SEARCH + "?timeout=5&consistency=1").hit
    assert served(q, SEARCH + "?consistency=1&timeout=5").hit


def test_credentials_do_not_share_answers(q: Quiver, fake: FakeQdrant) -> None:
    who = [
        {},
        {"api-key": "a"},
        {"api-key": "b"},
        {"Authorization": "Bearer a"},
        {"api-key": "a", "Authorization": "Bearer b"},
    ]
    bodies = [served(q, headers=h).body for h in who]
    assert len(fake.requests) == len(who)
    for h, body in zip(who, bodies):
        r = served(q, headers=h)
        assert r.hit and r.json()["result"] == json.loads(body)["result"]


@pytest.mark.parametrize(
    "vary, kept",
    [("Origin, Access-Control-Request-Method, Access-Control-Request-Headers", True), ("accept-encoding, Origin", True),
     ("X-Tenant", False), ("Origin, Accept-Language", False), ("*", False)],
)  # fmt: skip
def test_what_varies_with_more_than_the_key_has_is_not_kept(q: Quiver, fake: FakeQdrant, vary: str, kept: bool) -> None:
    """Qdrant's own varies with headers that send a request past the cache, or are not passed on."""
    fake.handler = lambda x: x.ok([fake.serial()], [("vary", vary)]) if x.request.path == SEARCH else None
    assert [served(q).hit for _ in range(3)][2] is kept


def test_route_affinity_is_part_of_the_key(q: Quiver) -> None:
    assert not served(q, headers={"x-qdrant-route-affinity": "1"}).hit
    assert not served(q, headers={"x-qdrant-route-affinity": "2"}).hit
    assert served(q, headers={"x-qdrant-route-affinity": "1"}).hit


def test_no_cache_asks_again_and_stores(q: Quiver, fake: FakeQdrant) -> None:
    cached(q)
    old = served(q).json()["result"]
    fresh = served(q, headers={"Cache-Control": "no-cache"})
    assert not fresh.hit and fresh.json()["result"] != old
    again = served(q)
    assert again.hit and again.json()["result"] == fresh.json()["result"]


def test_no_store_leaves_nothing(q: Quiver, fake: FakeQdrant) -> None:
    assert not served(q, headers={"Cache-Control": "no-store"}).hit
    assert "stored" not in (
        served(q, headers={"Cache-Control": "max-age=0, no-store"}).get("cache-status") or ""
    )
    assert not served(q).hit


@pytest.mark.parametrize(
    "method, headers",
    [
        ("HEAD", {}),
        ("GET", {"Range": "bytes=0-1"}),
        ("GET", {"If-None-Match": '"x"'}),
        ("GET", {"If-Modified-Since": "Mon, 01 Jan 2024 00:00:00 GMT"}),
    ],
)
def test_head_range_and_conditions_go_to_qdrant(
    q: Quiver, fake: FakeQdrant, method: str, headers: dict
) -> None:
    target = "/collections/mine/points/7"
    q.ask("GET", target)
    assert q.ask("GET", target).hit
    fake.forget()
    for _ in range(2):
        assert not q.ask(method, target, headers=headers).hit
    assert len(fake.requests) == 2
    assert q.ask("GET", target).hit


def test_a_ttl_runs_out_visibly(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"mine": {"cache_ttl": 1}})
    begin = time.monotonic()
    cached(q)
    wait_until(lambda: not served(q).hit, 5, "the entry has run out")
    assert time.monotonic() - begin >= 0.5


def test_the_environment_sets_a_models_ttl(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"hermes": {"cache_ttl": 600}}, env={"MODEL_CACHE_TTL_HERMES": "1"})
    target = "/collections/hermes/points/search"
    cached(q, target)
    assert int(re.search(r"ttl=(\d+)", served(q, target).get("cache-status") or "ttl=0")[1]) <= 1
    wait_until(lambda: not served(q, target).hit, 5, "hermes' entry has run out after its second")


def test_a_model_can_have_no_cache(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"mine": {"cache": False}})
    assert not served(q).hit and not served(q).hit
    cached(q, "/collections/other/points/search")


def test_cache_off_caches_nothing(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    for _ in range(3):
        r = served(q)
        assert not r.hit
    assert len(fake.requests) == 3


# --- what ends an entry ---

DONE_WRITES = [
    ("PUT", "points?wait=true", {"points": []}),
    ("POST", "points/delete?wait=true", {"points": [1]}),
    ("PUT", "points/vectors?wait=true", {"points": []}),
    ("POST", "points/vectors/delete?wait=true", {}),
    ("POST", "points/payload?wait=true", {}),
    ("PUT", "points/payload?wait=true", {}),
    ("POST", "points/payload/delete?wait=true", {}),
    ("POST", "points/payload/clear?wait=true", {}),
    ("POST", "points/batch?wait=true", {}),
    ("PUT", "index?wait=true", {}),
    ("DELETE", "index/f?wait=true", None),
    ("PATCH", "", {}),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(
    "method, path, body", DONE_WRITES, ids=[f"{r[0]} {r[1].split('?')[0]}" for r in DONE_WRITES]
)
def test_a_finished_write_ends_what_was_cached_and_caching_goes_on(
    fake: FakeQdrant, start, method: str, path: str, body: object
) -> None:
    q = start(fake.url, quiver={"coherence": {"quarantine": "30s"}})
    cached(q)
    old = served(q).json()["result"]
    assert (
        q.ask(
            method,
            f"/collections/mine/{path}".rstrip("/"),
            None if body is None else json.dumps(body).encode(),
        ).status
        == 200
    )
    fresh = served(q)
    assert not fresh.hit and fresh.json()["result"] != old
    cached(q)  # long before a hold would end


WRITES = [op for op in OPS if not op.kind.startswith(("CLASS_READ", "CLASS_SERVICE"))]
MOVES_A_NAME = b'{"actions":[{"create_alias":{"alias_name":"nick","collection_name":"mine"}}]}'


@pytest.mark.parametrize("op", WRITES, ids=[op.name for op in WRITES])
def test_every_operation_that_is_no_read_ends_what_was_cached(q: Quiver, fake: FakeQdrant, op: Op) -> None:
    """Each row of ops.def; Qdrant confirms all of them."""
    cached(q)
    old = served(q).json()["result"]
    target = op.pattern.replace("{c}", "mine").replace("{}", "7") + ("?wait=true" if op.has_wait else "")
    assert q.ask(op.method, target, MOVES_A_NAME if op.name == "update_aliases" else b"{}").status == 200
    fresh = served(q)
    assert not fresh.hit and fresh.json()["result"] != old
    cached(q)
    assert len(WRITES) > 30, "the table was read"


SERVICES = {
    "create_snapshot", "delete_snapshot", "shard_create_snapshot", "shard_delete_snapshot", "partial_snapshot_create",
    "create_full_snapshot", "delete_full_snapshot", "cluster_metadata_set", "cluster_metadata_delete", "set_quotas", "clear_issues",
    "set_logger", "set_debugger", "audit_logs",
}  # fmt: skip


def test_only_these_change_something_and_no_answer() -> None:
    """The others are held to end what was cached, above."""
    named = {op.name for op in OPS if op.kind == "CLASS_SERVICE" and op.method not in ("GET", "HEAD")}
    assert named == SERVICES


BODY_OF_A_WRITE = b'{"points":[{"id":1,"vector":[0.1]}]}'
FRAMED_WRITES = [
    ("in chunks", "/collections/mine/points?wait=true", "Transfer-Encoding: chunked", b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY_OF_A_WRITE), BODY_OF_A_WRITE)),
    ("after a 100", "/collections/mine/points?wait=true", f"Expect: 100-continue\r\nContent-Length: {len(BODY_OF_A_WRITE)}", BODY_OF_A_WRITE),
    ("in HTTP/1.0", "/collections/mine/points?wait=true", f"Content-Length: {len(BODY_OF_A_WRITE)}", BODY_OF_A_WRITE),
    ("with percent signs", "/c%6Fllections/%6Dine/points?wait=true", f"Content-Length: {len(BODY_OF_A_WRITE)}", BODY_OF_A_WRITE),
    ("with more slashes", "//collections///mine/points/?wait=true", f"Content-Length: {len(BODY_OF_A_WRITE)}", BODY_OF_A_WRITE),
    ("without a body", "/collections/mine/points?wait=true", "Content-Length: 0", b""),
]  # fmt: skip


@pytest.mark.parametrize("name, target, framing, body", FRAMED_WRITES, ids=[row[0] for row in FRAMED_WRITES])
def test_a_write_is_one_however_it_is_sent(
    q: Quiver, fake: FakeQdrant, name: str, target: str, framing: str, body: bytes
) -> None:
    cached(q)
    old = served(q).json()["result"]
    version = "1.0" if "1.0" in name else "1.1"
    with q.conn() as c:
        c.send(f"PUT {target} HTTP/{version}\r\nHost: q\r\n{framing}\r\n\r\n".encode() + body)
        c.read()
    fresh = served(q)
    assert not fresh.hit and fresh.json()["result"] != old


def test_a_read_behind_a_write_on_the_same_connection_sees_it(q: Quiver) -> None:
    cached(q)
    old = served(q).json()["result"]
    search = json.dumps(BODY).encode()
    with q.conn() as c:
        c.send(
            head_of("PUT", "/collections/mine/points?wait=true", {"Content-Length": "2"}) + b"{}"
            + head_of("POST", SEARCH, {"Content-Length": str(len(search))}) + search
        )  # fmt: skip
        assert c.read().status == 200
        assert c.read().json()["result"] != old


@pytest.mark.parametrize("how", ["model", "process"])
def test_a_write_counts_while_the_cache_is_switched_off_for_a_time(fake: FakeQdrant, start, how: str) -> None:
    q = start(fake.url, optimizations={"mine": {"collections": ["mine"]}})

    def switch(on: bool) -> None:
        if how == "process":
            q.reload(quiver={"cache": {"enabled": on}})
            return
        body = json.dumps({"cache": on}).encode()
        assert q.control("POST", "/api/v1/models/mine/optimizations", body).status == 200

    cached(q)
    old = served(q).json()["result"]
    switch(False)
    wait_until(lambda: not served(q).hit, 5, "the cache is off")
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    switch(True)
    wait_until(lambda: served(q).hit, 5, "the cache is on")
    assert served(q).json()["result"] != old


def test_another_collections_write_changes_nothing(q: Quiver) -> None:
    cached(q)
    assert q.ask("PUT", "/collections/other/points?wait=true", b"{}").status == 200
    assert served(q).hit


@pytest.mark.parametrize(
    "name, target, answer",
    [
        ("acknowledged", "points", None),
        (
            "wait_timeout",
            "points?wait=true&timeout=1",
            lambda x: x.ok({"operation_id": 3, "status": "wait_timeout"}),
        ),
        ("202", "points?wait=true", lambda x: x.reply(202, {"status": "accepted", "time": 0.1})),
        ("408", "points?wait=true", lambda x: x.error(408, "timeout")),
        ("500", "points?wait=true", lambda x: x.error(500, "broken")),
        ("a lost answer", "points?wait=true", lambda x: x.close()),
        (
            "half an answer",
            "points?wait=true",
            lambda x: (x.send(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"), x.close()),
        ),
    ],
)
def test_a_write_of_unknown_outcome_quarantines_its_collection(
    q: Quiver, fake: FakeQdrant, name: str, target: str, answer
) -> None:
    cached(q)
    fake.handler = lambda x: answer(x) if answer and x.request.method == "PUT" else None
    with q.conn() as c:
        c.send(head_of("PUT", f"/collections/mine/{target}", {"Content-Length": "2"}) + b"{}")
        try:
            c.read()
        except AssertionError:
            pass
    begin = time.monotonic()
    assert not served(q).hit and not served(q).hit, (
        "stored or served while the write may still become visible"
    )
    cached(q)
    assert time.monotonic() - begin > 0.3, "the hold ended too early"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429])
def test_a_refused_write_ends_what_was_cached_too(q: Quiver, fake: FakeQdrant, status: int) -> None:
    """400 may have applied a part; a refusal holds nothing."""
    cached(q)
    old = served(q).json()["result"]
    fake.handler = lambda x: x.error(status, "no") if x.request.method == "PUT" else None
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == status
    assert served(q).json()["result"] != old
    cached(q)


def test_nothing_is_stored_or_served_while_a_write_runs(q: Quiver, fake: FakeQdrant) -> None:
    cached(q)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None if x.request.method == "PUT" else None
    with q.conn() as writer:
        writer.send(head_of("PUT", "/collections/mine/points?wait=true", {"Content-Length": "2"}) + b"{}")
        wait_until(lambda: fake.seen("PUT"), what="the write is upstream")
        for _ in range(3):
            assert not served(q).hit
        go.set()
        assert writer.read().status == 200
    cached(q)


def test_a_read_that_began_before_a_write_is_not_kept(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: (
        x.wait(go) and None if x.request.path == SEARCH and len(fake.seen(path=SEARCH)) == 1 else None
    )
    with q.conn() as reader:
        data = json.dumps(BODY).encode()
        reader.send(head_of("POST", SEARCH, {"Content-Length": str(len(data))}) + data)
        wait_until(lambda: fake.seen(path=SEARCH), what="the read is upstream")
        assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
        go.set()
        late = reader.read()
        assert late.status == 200
    fresh = served(q)
    assert not fresh.hit and fresh.json()["result"] != late.json()["result"]


def test_a_client_that_hangs_up_on_a_write_leaves_a_hold_or_a_finished_write(
    q: Quiver, fake: FakeQdrant
) -> None:
    cached(q)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None if x.request.method == "PUT" else None
    c = q.conn()
    c.send(head_of("PUT", "/collections/mine/points?wait=true", {"Content-Length": "2"}) + b"{}")
    wait_until(lambda: fake.seen("PUT"), what="the write is upstream")
    c.reset()
    assert not served(q).hit
    go.set()
    cached(q)


def test_a_half_sent_write_holds_its_collection(q: Quiver, fake: FakeQdrant) -> None:
    cached(q)
    c = q.conn()
    c.send(head_of("PUT", "/collections/mine/points?wait=true", {"Content-Length": "100"}) + b"{")
    wait_until(lambda: fake.seen("PUT"), what="the write's head is upstream")
    c.reset()
    assert not served(q).hit
    cached(q)


@pytest.mark.parametrize(
    "method, target",
    [
        ("POST", "/collections"),
        ("POST", "/something/unknown"),
        ("FROB", "/"),
        ("DELETE", "/cluster/peer/1?force=true"),
        ("POST", "/cluster/recover"),
    ],
)
def test_what_is_not_known_to_be_a_read_and_names_nothing_is_a_write_to_everything(
    q: Quiver, fake: FakeQdrant, method: str, target: str
) -> None:
    cached(q)
    old = served(q).json()["result"]
    q.ask(method, target, b"{}")
    assert served(q).json()["result"] != old
    cached(q)


@pytest.mark.parametrize("op", [op for op in OPS if op.name in SERVICES], ids=lambda op: op.name)
def test_service_endpoints_are_no_writes(q: Quiver, fake: FakeQdrant, op: Op) -> None:
    """Neither while they run, which a snapshot may do for minutes, nor when nobody knows whether they are done."""
    target = op.pattern.replace("{c}", "mine").replace("{}", "7")
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.reply(202, {"status": "accepted"}) if x.request.target == target else None
    cached(q)
    with q.conn() as c:
        c.send(head_of(op.method, target, {"Content-Length": "2"}) + b"{}")
        wait_until(lambda: fake.seen(op.method, target), 5, "it runs")
        assert served(q).hit
        go.set()
        assert c.read().status == 202
    assert served(q).hit


@pytest.mark.parametrize("status, holds", [(200, False), (400, False), (404, False), (408, True), (500, True)])
def test_an_operation_without_wait_is_over_when_it_is_answered_unless_it_failed(
    q: Quiver, fake: FakeQdrant, status: int, holds: bool
) -> None:
    cached(q)
    fake.handler = lambda x: x.reply(status, {"result": True}) if x.request.method == "PATCH" else None
    begin = time.monotonic()
    assert q.ask("PATCH", "/collections/mine", b"{}").status == status
    assert not served(q).hit
    cached(q)
    assert (time.monotonic() - begin > 0.5) is holds


@pytest.mark.parametrize(
    "status, body, holds",
    [
        (404, b"", False),  # no such route
        (405, b"", False),  # not by this method
        (405, b"Request did not meet this resource's requirements.", False),
        (404, b'{"status":{"error":"Not found: Point 7"},"time":0.0}', True),
        (400, b'{"status":{"error":"Bad request"},"time":0.0}', True),
        (200, b'{"result":{"operation_id":1,"status":"completed"},"status":"ok","time":0.0}', False),
        (200, b'{"result":[{"operation_id":1,"status":"completed"}],"status":"ok","time":0.0}', False),
        (200, b'{"result":{"operation_id":1,"status":"acknowledged"},"status":"ok","time":0.0}', True),
        (200, b'{"result":[],"status":"ok","time":0.0}', True),
        (200, b'{"result":true,"status":"ok","time":0.0}', True),
        (200, b"", True),
    ],
)
def test_an_operation_that_is_not_known_is_over_when_its_answer_says_so(
    start, fake: FakeQdrant, status: int, body: bytes, holds: bool
) -> None:
    """A newer Qdrant's: it may have a `wait`, and have done a part of it."""
    q = start(fake.url, quiver={"coherence": {"quarantine": "600ms" if holds else "60s"}})
    cached(q)
    fake.handler = lambda x: x.reply(status, body) if x.request.path.endswith("/points/new") else None
    begin = time.monotonic()
    assert q.post("/collections/mine/points/new?wait=true", {}).status == status
    assert not served(q).hit
    cached(q)
    assert time.monotonic() - begin > 0.5 or not holds


def test_shards_by_key_are_more_than_their_number(fake: FakeQdrant, start) -> None:
    """shard_number counts those of one key: a finished write proves nothing about one to another key."""
    fake.params = {"sharding_method": "custom"}
    q = start(fake.url, quiver={"coherence": {"quarantine": "1500ms"}})
    cached(q)
    begin = time.monotonic()
    assert q.ask("PUT", "/collections/mine/points?wait=false", b"{}").status == 200
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    cached(q)
    assert time.monotonic() - begin > 1.4, "the first one's hold goes on"


def test_points_that_wait_to_be_indexed_keep_a_collection_out_of_the_cache(fake: FakeQdrant, start) -> None:
    """They appear without a further write, whenever they are indexed."""
    fake.config = {"optimizer_config": {"prevent_unoptimized": True}}
    fake.update_queue = {"length": 0, "deferred_points": 5}
    q = start(fake.url, quiver={"coherence": {"alias_poll": "100ms"}})
    for _ in range(2):
        wait_until(lambda: "unindexed" in served(q).get("cache-status", ""), 5, "it is not cached")
        assert not served(q).hit
        assert q.metric("cache_bypasses_total", reason="unindexed") > 0
        last = served(q).json()["result"][0]["id"]
        fake.update_queue = {"length": 0, "deferred_points": 0}
        cached(q)
        assert served(q).json()["result"][0]["id"] > last, "what was kept before they were hidden does not come back"
        fake.update_queue = {"length": 0, "deferred_points": 5}
        q.ask("PATCH", "/collections/other", b"{}")  # facts are read anew


LIMITED = {"strict_mode_config": {"enabled": True, "read_rate_limit": 100}}
LOOKS_INTO_FAR = {"query": 1, "lookup_from": {"collection": "far", "vector": "v"}}


def test_a_limit_of_reads_keeps_a_collection_out_of_the_cache(fake: FakeQdrant, start) -> None:
    """Qdrant would not count what a cache answers; who does not mind says so."""
    fake.config = LIMITED
    q = start(fake.url)
    wait_until(lambda: "rate-limit" in served(q).get("cache-status", ""), 5, "it is not cached")
    assert not served(q).hit
    wait_until(lambda: q.metric("cache_bypasses_total", reason="rate_limit") >= 2, 5, "the refusals are counted")
    q.reload(quiver={"cache": {"rate_limited_collections": True}})
    cached(q)


@pytest.mark.parametrize(
    "what, purged", [({}, "*"), ({"model": "m"}, "mine"), ({"collection": "mine"}, "mine")], ids=["all", "model", "collection"]
)
def test_a_purge_takes_what_it_names_and_leaves_the_rest(fake: FakeQdrant, start, what: dict, purged: str) -> None:
    q = start(fake.url, optimizations={"m": {"collections": ["mine"]}})
    other = "/collections/other/points/search"
    cached(q), cached(q, other)
    answer = q.control("POST", "/api/v1/cache/purge", json.dumps(what).encode())
    assert answer.status == 200 and answer.json()["purged"] == [purged]
    assert not served(q).hit
    assert served(q, other).hit is (purged != "*")


def test_an_answer_lives_as_long_as_the_least_of_the_collections_that_it_looks_into(fake: FakeQdrant, start) -> None:
    models = {"mine": {"collections": ["mine"]}, "far": {"collections": ["far"]}}
    short = {"mine": {"cache_ttl": "60s"}, "far": {"external_writes": True, "external_writes_ttl": "1s"}}
    q = start(fake.url, optimizations=models, caching=short)
    target = "/collections/mine/points/query"
    cached(q, target, LOOKS_INTO_FAR)
    assert int(served(q, target, LOOKS_INTO_FAR).get("cache-status").partition("ttl=")[2]) <= 1
    wait_until(lambda: not served(q, target, LOOKS_INTO_FAR).hit, 5, "its time is over")
    cached(q, target, {"query": 1})
    assert int(served(q, target, {"query": 1}).get("cache-status").partition("ttl=")[2]) > 50


def test_a_limit_of_reads_of_a_collection_that_it_looks_into_keeps_an_answer_out(fake: FakeQdrant, start) -> None:
    def default(x) -> None:
        fake.config = LIMITED if x.request.path == "/collections/far" else {}
        known(x)

    known, fake.default = fake.default, default  # type: ignore[method-assign]
    q = start(fake.url)
    target = "/collections/mine/points/query"
    cached(q, target, {"query": 1})
    wait_until(lambda: "detail=rate-limit" in served(q, target, LOOKS_INTO_FAR).get("cache-status"), 5, "it is counted")


def test_writes_count_with_the_cache_off_for_the_model(fake: FakeQdrant, start) -> None:
    """Answers of another model that look into its collections depend on them."""
    q = start(fake.url, optimizations={"mine": {"collections": ["mine"], "cache": False}})
    target, looks = "/collections/other/points/query", {"query": 1, "lookup_from": {"collection": "mine"}}
    for write in ("points?wait=true", "something/unknown"):
        cached(q, target, looks)
        assert not served(q).hit and not served(q).hit, "the model's cache is off"
        assert q.ask("PUT", f"/collections/mine/{write}", b"{}").status == 200
        assert not served(q, target, looks).hit


def test_answers_that_are_no_envelope_are_passed_but_not_broken(q: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, b"not json at all")
    for _ in range(3):
        assert served(q).body == b"not json at all"


ODD = b'{"result":[{"id":1,"payload":{"time":5,"t":"\\"time\\":1"}}],"status":"ok","time":8.542e-6%s}'


def test_a_hit_in_http_1_0_ends_the_connection_unless_asked_to_keep_it(q: Quiver) -> None:
    cached(q, body=BODY)
    data = json.dumps(BODY).encode()
    for extra, kept in (("", False), ("Connection: keep-alive\r\n", True)):
        with q.conn() as c:
            c.send(f"POST {SEARCH} HTTP/1.0\r\n{extra}Content-Length: {len(data)}\r\n\r\n".encode() + data)
            r = c.read()
            assert r.hit and r.get("transfer-encoding") is None and int(r.get("content-length")) == len(r.body)
            assert (r.get("connection") or "").lower() == ("keep-alive" if kept else "close")
            if kept:
                assert c.post(SEARCH, BODY).hit


def test_a_page_of_another_origin_is_answered_by_qdrant(q: Quiver, fake: FakeQdrant) -> None:
    """What CORS allows is Qdrant's to say, for each origin; and what it said to one is not kept for others."""
    cached(q)
    fake.handler = lambda x: x.ok(1, [("access-control-allow-origin", x.request.get("origin") or "-")])
    for origin in ("http://a", "http://b"):
        r = served(q, headers={"Origin": origin})
        assert not r.hit and r.get("access-control-allow-origin") == origin
    assert served(q).hit and served(q).get("access-control-allow-origin") is None


def test_figures_of_a_model_say_what_was_refused_and_why(fake: FakeQdrant, start) -> None:
    q = start(
        fake.url,
        quiver={"coherence": {"quarantine": "10s"}},
        optimizations={"mine": {"collections": ["mine"]}},
        caching={"mine": {"cache_max_entry": "1KiB"}},
    )
    cached(q)
    served(q, headers={"Origin": "http://a"})
    served(q, "/collections/mine/points/query", {"query": {"sample": "random"}})
    fake.handler = lambda x: x.ok("x" * 2000) if x.request.json().get("limit") == 77 else None
    served(q, body={**BODY, "limit": 77})
    fake.handler = None
    assert q.ask("PUT", "/collections/mine/points", b"{}").status == 200
    served(q)

    def counted(name: str, **labels: str) -> float:
        return q.metric(name, model="mine", **labels)

    wait_until(lambda: counted("cache_bypasses_total", reason="held") == 1, 5, "the last refusal is counted")
    assert counted("cache_bypasses_total", reason="client") == 1
    assert counted("cache_bypasses_total", reason="body") == 1
    assert counted("cache_unstored_total", reason="large") == 1
    assert counted("cache_holds_total") == 1
    cache = q.control("GET", "/api/v1/models/mine/metrics").json()["cache"]
    assert cache["holds"] == 1 and {k: n for k, n in cache["refused"].items() if n} == {
        "client": 1, "body": 1, "held": 1, "large": 1,
    }  # fmt: skip


def test_odd_envelopes_keep_their_result(q: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, ODD % b"")
    first = served(q).json()
    assert {k: v for k, v in first.items() if k != "time"} == {
        k: v for k, v in json.loads(ODD % b"").items() if k != "time"
    }
    r = served(q)
    assert r.hit and r.json()["result"] == json.loads(ODD % b"")["result"] and r.json()["status"] == "ok"
    assert re.search(rb'"status":"ok","time":\d+\.\d{9}\}$', r.body)


def test_a_hit_leaves_out_the_usage_of_the_first_search(q: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, ODD % b',"usage":{"hardware":{"cpu":3}}')
    first, second = served(q).json(), served(q)
    assert first["usage"] == {"hardware": {"cpu": 3}}
    assert second.hit and second.json()["result"] == first["result"] and "usage" not in second.json()


def test_a_hit_answers_head_to_tail_on_a_kept_connection(q: Quiver) -> None:
    data = json.dumps(BODY).encode()
    raw = (
        head_of("POST", SEARCH, {"Content-Length": str(len(data)), "Content-Type": "application/json"}) + data
    )
    cached(q)
    with q.conn() as c:
        c.send(raw * 50)
        assert all(c.read().hit for _ in range(50))


def test_chunked_answers_are_cached_as_whole_ones(q: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.chunked(
        [b'{"result":[1', b'],"status":"ok"', b',"time":0.1}'], headers=[("content-type", "application/json")]
    )
    assert not served(q).hit
    r = served(q)
    assert r.hit and r.json()["result"] == [1] and r.get("content-length") == str(len(r.body))


def test_large_answers_are_passed_and_not_kept(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    fake.handler = lambda x: x.ok("x" * 3_000_000)
    for _ in range(2):
        r = served(q)
        assert not r.hit and len(r.json()["result"]) == 3_000_000


def test_memory_for_answers_is_bounded(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"cache": {"memory": "4MiB"}}, workers=1)
    fake.handler = lambda x: x.ok("x" * 20_000)
    with q.conn() as c:
        for n in range(600):
            assert c.post(SEARCH, {**BODY, "offset": n}).status == 200
    assert q.memory() < 200 * 2**20
    wait_until(lambda: q.metric("cache_evictions_total") > 0, 5, "evictions show")
    assert q.metric("cache_model_evictions_total", model="default") > 0
    assert 2**20 < q.metric("cache_memory_bytes") <= 4.2 * 2**20
    assert 0 <= q.metric("cache_hit_rate", model="default") <= 1


def test_a_model_fills_its_share_of_the_memory_and_no_more(fake: FakeQdrant, start) -> None:
    memory = 10 * 2**20
    q = start(
        fake.url,
        quiver={"cache": {"memory": memory}},
        optimizations={"mine": {"collections": ["mine"]}},
        caching={"mine": {"cache_share": 10}},
        workers=1,
    )
    fake.handler = lambda x: x.ok("x" * 20_000)
    cached(q, "/collections/other/points/search")
    with q.conn() as c:
        for n in range(200):
            assert c.post(SEARCH, {**BODY, "offset": n}).status == 200
    wait_until(lambda: q.metric("cache_model_evictions_total", model="mine") > 0, 5, "its evictions show")
    assert memory / 20 < q.metric("cache_bytes", model="mine") <= memory / 10
    assert served(q, "/collections/other/points/search").hit
    assert q.metric("cache_model_evictions_total", model="default") == 0
