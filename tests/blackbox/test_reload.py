"""SIGHUP: everything but workers and state_dir changes, nobody notices a thing."""

import random
import socket
import threading
import time

import pytest
from lib import Conn, FakeQdrant, Quiver, a_search, free_port, head_of, request, wait_until

SEARCH = "/collections/mine/points/search"
VECTOR = b"[" + b",".join(b"%.17f" % (n / 4096) for n in range(4096)) + b"]"  # some 85 KB


def setting(value: int) -> dict:
    return {"m": {"collections": ["mine"], "search": {"force": {"hnsw_ef": value}}}}


@pytest.mark.timeout(180)
def test_a_hundred_reloads_under_load(fake: FakeQdrant, start, long: bool) -> None:
    body = (
        b'{"vector":'
        + VECTOR
        + b',"limit":3,"pad":"'
        + b"p" * (92_000 - len(VECTOR))
        + b'","filter":{"must":[]},"searches":'
        + b"[]}"
    )
    batch = b'{"searches":[{"vector":[1],"limit":1},' + body + b',{"vector":[2],"limit":1}]}'
    fake.handler = lambda x: x.ok(
        {
            "efs": sorted({w.split(b"}")[0].decode() for w in x.request.body.split(b'"hnsw_ef":')[1:]}),
            "n": x.request.body.count(b'"hnsw_ef":'),
        }
    )
    q = start(fake.url, optimizations=setting(11), workers=2, flags=["--cache", "off"])
    over = threading.Event()
    problems: list[str] = []
    counts = {"11": 0, "22": 0}

    def client(me: int) -> None:
        rng = random.Random(me)
        try:
            c = q.conn(timeout=30)
            while not over.is_set():
                target, data, n = (SEARCH, body, 1) if rng.random() < 0.5 else (SEARCH + "/batch", batch, 3)
                r = c.post(target, data)
                got = r.json()["result"] if r.status == 200 else {}
                if r.status != 200 or got["n"] != n or len(got["efs"]) != 1 or got["efs"][0] not in counts:
                    problems.append(f"{r.status} {got} {r}")
                    return
                counts[got["efs"][0]] += 1
                if rng.random() < 0.1:
                    c.close()
                    c = q.conn(timeout=30)
            c.close()
        except (OSError, AssertionError) as e:
            problems.append(repr(e))

    threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
    for t in threads:
        t.start()
    good = bad = 0
    for n in range(100):
        broken = n % 10 == 9
        if broken:
            q.write(
                "model-optimizations.yaml",
                "optimizations:\n  m: {collections: [mine], search: {force: {hnsw_ef: eleven}}}\n",
            )
        else:
            q.configure(optimizations=setting(22 if n % 2 else 11))
        q.hup()
        good, bad = good + (not broken), bad + broken
        wait_until(
            lambda: (
                q.metric("quiver_reloads_total", result="ok") == good
                and q.metric("quiver_reloads_total", result="failed") == bad
            ),
            20,
            f"reload {n} is counted",
        )
        assert not problems, problems[0]
    over.set()
    for t in threads:
        t.join()
    assert not problems, problems[0]
    assert counts["11"] > 10 and counts["22"] > 10, counts
    assert q.metric("quiver_config_generation") == 91
    wait_until(
        lambda: q.metric("model_requests_total", model="m", status="200") == sum(counts.values()),
        5,
        "it is counted",
    )


def test_a_bad_file_changes_nothing_and_shows(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=setting(11), flags=["--cache", "off"])
    for text, word in (
        ("optimizations:\n  m: {search: {force: {hnsw_eff: 1}}}\n", "hnsw_eff"),
        ("optimizations: [\n", "model-optimizations.yaml"),
        ("optimizations:\n  m: {cache_ttl: soon}\n", "soon"),
    ):
        before = q.metric("quiver_reloads_total", result="failed")
        q.write("model-optimizations.yaml", text)
        q.hup()
        wait_until(
            lambda: q.metric("quiver_reloads_total", result="failed") == before + 1,
            5,
            "the failure is counted",
        )
        wait_until(
            lambda: q.log_has("reload", "model-optimizations.yaml:", word),
            5,
            f"a line that names file, line and {word}",
        )
        q.post(SEARCH, b'{"vector":[1],"limit":1}')
        assert b'"hnsw_ef":11' in fake.last.body
    q.reload(optimizations=setting(22))
    q.post(SEARCH, b'{"vector":[1],"limit":1}')
    assert b'"hnsw_ef":22' in fake.last.body


def test_a_request_keeps_the_configuration_it_began_with(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=setting(11), flags=["--cache", "off"])
    data = b'{"vector":[1],"limit":1}'
    with q.conn() as c:
        c.send(head_of("POST", SEARCH, {"Content-Length": str(len(data))}) + data[:5])
        other = q.conn()
        assert other.post(SEARCH, data).status == 200
        wait_until(lambda: q.metric("quiver_tx_state") >= 1, 5, "the half-sent request is known")
        q.reload(optimizations=setting(22))
        assert other.post(SEARCH, data).status == 200 and b'"hnsw_ef":22' in fake.last.body
        assert c.send(data[5:]).read().status == 200
        assert b'"hnsw_ef":11' in fake.last.body
        other.close()


def test_cached_answers_survive_a_reload_that_does_not_concern_them(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=setting(11))
    wait_until(lambda: q.post(SEARCH, b'{"vector":[1],"limit":1}').hit, 5, "cached")
    q.reload(tuning={"m": {"connections": 5}})
    assert q.post(SEARCH, b'{"vector":[1],"limit":1}').hit
    q.reload(optimizations=setting(22))
    assert not q.post(SEARCH, b'{"vector":[1],"limit":1}').hit


def test_a_ttl_and_a_limit_can_change(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=setting(11), tuning={"m": {"connections": 4}}, flags=["--cache", "off"])
    q.reload(tuning={"m": {"connections": 1}})
    fake.forget()
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    conns = [q.conn() for _ in range(6)]
    for c in conns:
        c.send(a_search(SEARCH))
    wait_until(lambda: q.metric("model_queue_length", model="m") == 5, 5, "five wait")
    wait_until(lambda: fake.open_now == 1, 5, "one is upstream")
    go.set()
    assert [c.read().status for c in conns] == [200] * 6
    assert fake.open_max == 1


def listens(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with Conn(port, host=host, timeout=2) as c:
            return c.ask("GET", "/collections/x").status == 200
    except (OSError, AssertionError):
        return False


def test_listeners_come_and_go(fake: FakeQdrant) -> None:
    q = Quiver(fake.url, start=False)
    q.listen_flag = False
    extra = free_port()

    def where(*ports: int) -> dict:
        return {"listen": [f"127.0.0.1:{p}" for p in ports], "api": f"127.0.0.1:{q.api}"}

    try:
        q.configure(quiver=where(q.port)).start()
        kept = q.conn()
        assert kept.ask("GET", "/collections/x").status == 200
        q.reload(quiver=where(q.port, extra))
        wait_until(lambda: listens(extra), 5, "the new listener answers")
        assert listens(q.port) and kept.ask("GET", "/collections/x").status == 200
        q.reload(quiver=where(extra))
        wait_until(lambda: not listens(q.port), 5, "the removed listener is gone")
        assert listens(extra)
        kept.close()
        q.reload(quiver=where(q.port, extra))
        wait_until(lambda: listens(q.port), 5, "it is back")
    finally:
        q.stop()


def on_own_ports(fake: FakeQdrant, **keys) -> Quiver:
    """Its ports are the configuration's, so that a reload may change them."""
    q = Quiver(fake.url, start=False, listen_flag=False)
    return q.configure(quiver=ports_of(q, **keys)).start()


def ports_of(q: Quiver, **keys) -> dict:
    return {"listen": f"127.0.0.1:{q.port}", "api": f"127.0.0.1:{q.api}", **keys}


def try_reload(q: Quiver, **keys) -> None:
    """A reload that fails, or that moves the control port: its line in the log tells when it is over."""
    n = len(q.lines)
    q.configure(quiver=ports_of(q, **keys)).hup()
    wait_until(lambda: any("event=reload" in line for line in q.lines[n:]), 10, "the reload is over")


@pytest.mark.parametrize("api", ["moved", "off"])
def test_an_address_that_is_taken_changes_nothing(fake: FakeQdrant, api: str, tmp_path) -> None:
    """Neither the control port nor the other new listeners: all are opened before one is used."""
    moved, other, path = free_port(), free_port(), tmp_path / "listen.sock"
    with FakeQdrant() as squatter:
        q = on_own_ports(fake)
        try:
            places = [f"127.0.0.1:{other}", f"unix:{path}", f"127.0.0.1:{squatter.port}"]
            try_reload(q, api="off" if api == "off" else f"127.0.0.1:{moved}", listen=places)
            assert q.log_has("event=reload_failed", f"127.0.0.1:{squatter.port}: cannot listen")
            assert q.control("GET", "/healthz").status == 200 and listens(q.port)
            assert not listens(moved) and not listens(other) and not path.exists()
            try_reload(q, listen=places[:2])
            wait_until(lambda: listens(other) and not listens(q.port), 5, "free places can be used")
        finally:
            q.stop()


def test_listeners_can_be_widened_narrowed_and_exchanged(fake: FakeQdrant) -> None:
    q = on_own_ports(fake)
    other = free_port()
    places = [
        {"listen": f"0.0.0.0:{q.port}"},
        {"api": str(q.api)},
        {"api": f"0.0.0.0:{q.api}", "listen": [f"127.0.0.1:{q.port}", f"127.0.0.1:{other}"]},
        {"listen": f"127.0.0.1:{q.api}", "api": f"127.0.0.1:{q.port}"},
    ]
    try:
        for n, place in enumerate(places):
            try_reload(q, **place)
            assert not q.log_has("reload_failed"), q.stderr
            data, control = (q.port, q.api) if n < 3 else (q.api, q.port)
            wait_until(lambda: listens(data) and healthy(control), 5, f"both answer at {place}")
        wait_until(lambda: not listens(other), 5, "what was left out is gone")
    finally:
        q.stop()


def healthy(port: int) -> bool:
    try:
        return request(port, "GET", "/healthz", timeout=2).status == 200
    except (OSError, AssertionError):
        return False


def test_a_place_that_another_process_serves_is_never_shared(fake: FakeQdrant) -> None:
    """Not even one that would let its port be shared."""
    q = on_own_ports(fake)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", free_port()))
        other.listen()
        try:
            try_reload(q, listen=f"0.0.0.0:{other.getsockname()[1]}")
            assert q.log_has("event=reload_failed", "is another quiver or Qdrant itself running there?")
            assert listens(q.port)
        finally:
            q.stop()


def test_a_listener_that_stays_loses_no_connection(fake: FakeQdrant) -> None:
    q = Quiver(fake.url, start=False)
    q.listen_flag = False
    other = free_port()
    base = {"api": f"127.0.0.1:{q.api}"}
    try:
        q.configure(quiver={**base, "listen": [f"127.0.0.1:{q.port}"]}).start()
        over, problems, done = threading.Event(), [], [0]

        def client() -> None:
            while not over.is_set():
                try:
                    with q.conn(timeout=10) as c:
                        assert c.ask("GET", "/collections/x").status == 200
                        done[0] += 1
                except (OSError, AssertionError) as e:
                    problems.append(repr(e))

        threads = [threading.Thread(target=client) for _ in range(4)]
        for t in threads:
            t.start()
        for n in range(20):
            ports = [q.port, other] if n % 2 else [q.port]
            q.reload(quiver={**base, "listen": [f"127.0.0.1:{p}" for p in ports]})
        over.set()
        for t in threads:
            t.join()
        assert problems == [] and done[0] > 50
    finally:
        q.stop()


def test_a_removed_listener_drains_its_accept_queue(fake: FakeQdrant) -> None:
    """Connections made before the reload are served, whether they had been accepted or not."""
    q = Quiver(fake.url, start=False)
    q.listen_flag = False
    other = free_port()
    base = {"api": f"127.0.0.1:{q.api}"}
    try:
        q.configure(quiver={**base, "listen": [f"127.0.0.1:{q.port}", f"127.0.0.1:{other}"]}).start()
        conns = [Conn(other) for _ in range(50)]
        q.reload(quiver={**base, "listen": [f"127.0.0.1:{q.port}"]})
        for c in conns:
            assert c.ask("GET", "/collections/x").status == 200
            c.close()
    finally:
        q.stop()


def test_upstreams_can_be_exchanged(fake: FakeQdrant, start) -> None:
    with FakeQdrant() as second:
        q = start(fake.url, flags=["--cache", "off"])
        assert q.post(SEARCH, b"{}").status == 200
        q.reload(quiver={"upstreams": {"default": second.url}})
        fake.forget()
        for _ in range(5):
            assert q.post(SEARCH, b"{}").status == 200
        assert len(second.requests) == 5 and fake.requests == []
        wait_until(lambda: fake.sockets_now == 0, 8, "connections to the old one are closed")


def test_a_model_can_come_and_go(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    q.post(SEARCH, b"{}")
    q.reload(optimizations=setting(11))
    q.post(SEARCH, b"{}")
    wait_until(lambda: q.metric("model_requests_total", model="m") == 1, 5, "it is counted")
    q.reload(optimizations={})
    q.post(SEARCH, b"{}")
    wait_until(lambda: q.metric("model_requests_total", model="m") == 1, 5, "it is counted")


def test_the_environment_still_wins_after_a_reload(fake: FakeQdrant, start) -> None:
    q = start(
        fake.url,
        optimizations={"m": {"collections": ["mine"], "cache_ttl": 600}},
        env={"MODEL_CACHE_TTL_M": "1"},
    )
    q.reload(optimizations={"m": {"collections": ["mine"], "cache_ttl": 900}})
    begin = time.monotonic()
    wait_until(lambda: q.post(SEARCH, b"{}").hit, 5, "cached")
    wait_until(lambda: not q.post(SEARCH, b"{}").hit, 4, "run out after the environment's second")
    assert time.monotonic() - begin < 4


def test_two_hups_at_once_are_no_harm(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations=setting(11), flags=["--cache", "off"])
    q.configure(optimizations=setting(22))
    for _ in range(20):
        q.hup()
    wait_until(
        lambda: (
            q.post(SEARCH, b'{"vector":[1],"limit":1}').status == 200 and b'"hnsw_ef":22' in fake.last.body
        ),
        5,
        "the new setting",
    )
    assert q.alive()
