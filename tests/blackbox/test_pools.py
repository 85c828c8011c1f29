"""Pools: which model a request belongs to, how many connections it may have, and how they live."""

import threading
import time

import pytest
from lib import FakeQdrant, Quiver, a_search, head_of, unlike, wait_until

SEARCH = "/collections/x/points/search"


def ask_many(q: Quiver, clients: int, each: int, target: str = SEARCH) -> list[list[int]]:
    """Statuses by client; every client has its own connection."""
    out: list[list[int]] = [[] for _ in range(clients)]

    def client(n: int) -> None:
        with q.conn(timeout=60) as c:
            for _ in range(each):
                out[n].append(c.post(target, unlike()).status)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


@pytest.mark.parametrize("limit", [1, 4])
def test_never_more_sockets_than_the_limit_and_nobody_starves(fake: FakeQdrant, start, limit: int) -> None:
    q = start(fake.url, tuning={"default": {"connections": limit}}, workers=2, flags=["--cache", "off"])
    pause = threading.Event()
    fake.handler = lambda x: pause.wait(0.002) and None
    got = ask_many(q, clients=24, each=25)
    assert all(statuses == [200] * 25 for statuses in got)
    assert fake.open_max <= limit
    assert 1 <= q.metric("model_pool_connections", model="default") <= limit


@pytest.mark.parametrize("limit", [1, 4])
def test_both_workers_get_their_share(fake: FakeQdrant, start, limit: int) -> None:
    """Long queues on both workers: the longest wait stays near the average, nobody waits for all others."""
    q = start(fake.url, tuning={"default": {"connections": limit}}, workers=2, flags=["--cache", "off"])
    pause = threading.Event()
    fake.handler = lambda x: pause.wait(0.005) and None
    until = time.monotonic() + 4
    counts = [0] * 32

    def client(n: int) -> None:
        with q.conn(timeout=60) as c:
            while time.monotonic() < until:
                assert c.post(SEARCH, unlike()).status == 200
                counts[n] += 1

    threads = [threading.Thread(target=client, args=(n,)) for n in range(32)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert fake.open_max <= limit
    assert min(counts) > 0 and min(counts) * 8 >= max(counts), counts


def test_a_models_pool_is_its_own(fake: FakeQdrant, start) -> None:
    q = start(
        fake.url,
        optimizations={"alpha": {"collections": ["a", "a_*"]}, "beta": {"collections": "b"}},
        tuning={"alpha": {"connections": 1}, "beta": {"connections": 1}},
        flags=["--cache", "off"],
    )
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None if x.request.path.startswith("/collections/a/") else None
    with q.conn() as blocked:
        blocked.send(a_search("/collections/a/points/search"))
        wait_until(lambda: fake.requests, what="alpha's only connection is taken")
        assert q.post("/collections/b/points/search", b"{}").status == 200
        assert q.post("/collections/else/points/search", b"{}").status == 200
        with q.conn() as waiting:
            waiting.send(a_search("/collections/a_1/points/search"))
            wait_until(
                lambda: q.metric("model_queue_length", model="alpha") == 1,
                what="alpha's second request waits",
            )
            go.set()
            assert blocked.read().status == 200 and waiting.read().status == 200
    wait_until(lambda: q.metric("model_requests_total", model="alpha") == 2, 5, "it is counted")
    wait_until(lambda: q.metric("model_requests_total", model="beta") == 1, 5, "it is counted")
    assert q.metric("model_requests_total", model="default") >= 1


ROUTES = [
    ("exact", "wanted"),
    ("ex_long_1", "longer"),
    ("ex_1", "glob"),
    ("other", "default"),
    ("EXACT", "default"),
]


@pytest.mark.parametrize("collection, model", ROUTES)
def test_exact_beats_longer_glob_beats_shorter(fake: FakeQdrant, start, collection: str, model: str) -> None:
    q = start(
        fake.url,
        optimizations={
            "glob": {"collections": ["ex*"]},
            "longer": {"collections": ["ex_long*"]},
            "wanted": {"collections": ["exact"]},
        },
    )
    assert q.post(f"/collections/{collection}/points/search", b"{}").status == 200
    wait_until(
        lambda: q.metric("model_requests_total", model=model, operation="search") == 1, 5, "it is counted"
    )


@pytest.mark.parametrize(
    "target",
    [
        "/collections/mine/points/search",
        "//collections//mine//points/search/",
        "/collections/%6Dine/points/search",
        "/collections/mine/points/search?timeout=5",
        "/collections/mine/points/%73earch",
    ],
)
def test_paths_are_read_as_qdrant_reads_them(fake: FakeQdrant, start, target: str) -> None:
    q = start(fake.url, optimizations={"m": {"collections": ["mine"]}})
    assert q.post(target, b"{}").status in (200, 404)
    assert fake.last.target == target
    wait_until(
        lambda: q.metric("model_requests_total", model="m", operation="search") == 1, 5, "it is counted"
    )


def test_a_model_without_collections_serves_its_own_name(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"hermes": {"cache_ttl": 600}})
    q.post("/collections/hermes/points/search", b"{}")
    wait_until(lambda: q.metric("model_requests_total", model="hermes") == 1, 5, "it is counted")


def test_an_alias_gets_the_settings_of_what_it_stands_for(fake: FakeQdrant, start) -> None:
    fake.aliases["nick"] = "mine"
    q = start(
        fake.url,
        optimizations={"m": {"collections": ["mine"], "search": {"force": {"hnsw_ef": 77}}}},
        quiver={"coherence": {"alias_poll": "200ms"}},
    )

    def forced() -> bool:
        q.post("/collections/nick/points/search", {"vector": [time.monotonic()], "limit": 1})
        return b'"hnsw_ef":77' in fake.last.body

    wait_until(forced, 10, "the alias is known")


def test_two_upstream_groups(fake: FakeQdrant, start) -> None:
    with FakeQdrant() as second:
        q = start(
            quiver={"upstreams": {"default": fake.url, "far": [second.url]}},
            optimizations={"m": {"collections": ["mine"], "upstream": "far"}},
        )
        q.post("/collections/mine/points/search", b"{}")
        q.post("/collections/else/points/search", b"{}")
        assert [r.path for r in second.requests] == ["/collections/mine/points/search"]
        assert [r.path for r in fake.requests] == ["/collections/else/points/search"]


def test_the_upstream_flag_is_enough(fake: FakeQdrant, start) -> None:
    q = start(None, flags=["--upstream", fake.url])
    assert q.post(SEARCH, b"{}").status == 200


def test_no_connection_before_it_is_needed(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    with q.conn() as c:
        c.send(b"GET /collections/x HTTP/1.1\r\n")
        assert fake.seen() == [] and fake.open_max == 0
    assert q.metric("model_pool_connections", model="default") <= 1  # quiver's own polls may keep one


def test_idle_connections_end_before_qdrants_five_seconds(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    assert q.ask("GET", "/collections/x").status == 200
    begin = time.monotonic()
    wait_until(lambda: fake.open_now == 0, 8, "the idle connection is closed")
    assert 2.5 < time.monotonic() - begin < 4.9


def test_a_hung_up_client_frees_its_place_in_the_queue(fake: FakeQdrant, start) -> None:
    q = start(fake.url, tuning={"default": {"connections": 1}}, flags=["--cache", "off"], workers=1)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    first = q.conn()
    first.send(a_search(SEARCH))
    wait_until(lambda: fake.requests, what="the first is upstream")
    gone = [q.conn() for _ in range(5)]
    for n, c in enumerate(gone):
        body = b'{"limit":%d}' % (n + 1)  # each its own: equal ones would be sent together
        c.send(head_of("POST", "/collections/gone/points/search", {"Content-Length": str(len(body))}) + body)
    wait_until(lambda: q.metric("model_queue_length", model="default") == 5, what="five wait")
    for n, c in enumerate(gone):
        c.close() if n % 2 else c.reset()
    wait_until(lambda: q.metric("model_queue_length", model="default") == 0, 5, "their places are free")
    go.set()
    assert first.read().status == 200
    assert fake.seen(path="/collections/gone/points/search") == []


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_hung_up_client_frees_its_connection_at_once(fake: FakeQdrant, start, how: str) -> None:
    q = start(fake.url, tuning={"default": {"connections": 1}}, flags=["--cache", "off"])
    ended = threading.Event()

    def answer(x) -> None:
        if x.request.path == SEARCH and x.wait_for_hang_up():
            ended.set()

    fake.handler = answer
    c = q.conn()
    c.send(a_search(SEARCH))
    wait_until(lambda: fake.requests, what="the request is upstream")
    c.close() if how == "fin" else c.reset()
    assert ended.wait(5), "the upstream connection of a client that is gone stays open"
    assert q.post("/collections/y/points/search", b"{}").status == 200


def test_a_write_outlives_its_client(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    go, hung_up = threading.Event(), threading.Event()

    def answer(x) -> None:
        if x.request.method == "PUT":
            if x.wait_for_hang_up(1.0):
                hung_up.set()
            x.wait(go)

    fake.handler = answer
    c = q.conn()
    c.send(head_of("PUT", "/collections/x/points?wait=true", {"Content-Length": "2"}) + b"{}")
    wait_until(lambda: fake.requests and fake.requests[0].complete, what="the write is upstream")
    c.close()
    go.set()
    wait_until(lambda: fake.answers >= 1, what="the write is answered")
    assert not hung_up.is_set(), "a write that was wholly sent was cut"


def test_a_held_read_is_retried_once_on_a_dead_connection(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    died: list[int] = []

    def answer(x) -> None:
        if x.request.nth > 0:  # a reused connection dies without a byte
            died.append(x.request.connection)
            x.close() if len(died) % 2 else x.reset()

    fake.handler = answer
    with q.conn() as c:
        for n in range(6):
            assert c.post(SEARCH, {"n": n}).json()["status"] == "ok"
    assert died and [r.json()["n"] for r in fake.requests if r.nth == 0] == list(range(6))
    wait_until(lambda: q.metric("quiver_upstream_retries_total") == len(died), 5, "it is counted")


def test_a_read_is_retried_only_once_and_never_from_a_fresh_connection(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    fake.handler = lambda x: x.close() if x.request.path == SEARCH else None
    assert q.post(SEARCH, b"{}").status == 502
    assert len(fake.seen(path=SEARCH)) == 1
    assert q.ask("GET", "/collections/x").status == 200
    fake.forget()
    assert q.post(SEARCH, b"{}").status == 502
    assert len(fake.seen(path=SEARCH)) <= 2


@pytest.mark.parametrize(
    "method, path",
    [
        ("PUT", "/collections/x/points?wait=true"),
        ("POST", "/collections/x/points/delete"),
        ("DELETE", "/collections/x"),
        ("PATCH", "/collections/x"),
        ("POST", "/collections/aliases"),
        ("POST", "/collections/x/unknown"),
    ],
)
def test_a_write_is_never_sent_twice(fake: FakeQdrant, start, method: str, path: str) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    body = b'{"actions":[]}'

    def answer(x) -> None:
        if x.request.target == path:
            x.close()

    fake.handler = answer
    with q.conn() as c:
        for _ in range(3):
            assert c.ask("GET", "/collections/y").status == 200  # leaves a connection to reuse
            fake.forget()
            r = c.ask(method, path, body)
            assert r.status == 502
            assert len(fake.seen(method, path.split("?")[0])) == 1
            if c.is_closed(0.02):
                c = q.conn()
    fake.handler = None


def test_idle_connections_that_qdrant_closed_do_not_fail_writes(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"m": {"collections": ["x"]}}, flags=["--cache", "off"])
    for _ in range(10):
        assert q.ask("GET", "/collections/x").status == 200
        fake.drop_connections()
        wait_until(lambda: fake.open_now == 0, what="the server has closed")
        wait_until(lambda: q.metric("model_pool_idle", model="m") == 0, what="quiver has noticed")
        assert q.ask("PUT", "/collections/x/points", b"{}").status == 200


def test_more_clients_than_connections_all_get_answers(fake: FakeQdrant, start) -> None:
    q = start(fake.url, tuning={"default": {"connections": 2}}, flags=["--cache", "off"])
    got = ask_many(q, clients=60, each=5)
    assert all(s == [200] * 5 for s in got) and fake.open_max <= 2


def test_an_idle_slot_of_one_worker_serves_the_other(fake: FakeQdrant, start) -> None:
    """limit 1, two workers, clients that take turns: whoever has the idle connection gives it up at once."""
    q = start(fake.url, tuning={"default": {"connections": 1}}, workers=2, flags=["--cache", "off"])
    conns = [q.conn() for _ in range(16)]
    begin = time.monotonic()
    for _ in range(5):
        for c in conns:
            assert c.post(SEARCH, unlike()).status == 200
    assert time.monotonic() - begin < 10
    assert fake.open_max == 1
    for c in conns:
        c.close()


def test_quiver_keeps_within_the_limit_across_restarts_of_the_upstream(start) -> None:
    with FakeQdrant() as fake:
        q = start(fake.url, tuning={"default": {"connections": 2}}, flags=["--cache", "off"])
        for _ in range(3):
            ask_many(q, clients=8, each=3)
            fake.stop_listening()
            fake.drop_connections()
            wait_until(lambda: q.post(SEARCH, b"{}").status == 502, 10, "the loss shows")
            fake.listen_again()
            wait_until(lambda: q.post(SEARCH, b"{}").status == 200, 10, "it comes back")
        assert fake.open_max <= 2


def test_as_many_workers_as_are_asked_for(fake: FakeQdrant, start) -> None:
    """And a slot finds its way between any two of them."""
    q = start(fake.url, tuning={"default": {"connections": 1}}, workers=100, flags=["--cache", "off"])
    assert q.metric("quiver_workers") == 100
    conns = [q.conn() for _ in range(300)]
    for c in conns:
        assert c.post(SEARCH, unlike()).status == 200
        c.close()
    assert fake.open_max == 1
