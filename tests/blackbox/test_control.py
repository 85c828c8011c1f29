"""The control port: health, readiness, metrics; and it is as strict as the data port."""

import re
import threading

import pytest
from lib import (
    Conn,
    FakeQdrant,
    Quiver,
    a_search,
    free_port,
    head_of,
    unlike,
    wait_until,
)

SEARCH = "/collections/x/points/search"


def test_healthz_and_readyz(quiver: Quiver) -> None:
    assert quiver.control("GET", "/healthz").status == 200
    assert quiver.control("GET", "/readyz").status == 200


def test_ready_means_that_the_data_port_answers(fake: FakeQdrant) -> None:
    for _ in range(8):
        q = Quiver(fake.url, start=False)
        q.listens = lambda: True  # type: ignore[method-assign]
        try:
            q.start()
            with q.conn() as c:
                assert c.ask("GET", "/collections/x").status == 200
        finally:
            q.stop()


def test_not_ready_without_an_upstream_that_resolves(start) -> None:
    q = start("http://no-such-host.invalid:6333", ready=False)
    r = q.control("GET", "/readyz")
    assert r.status == 503 and r.body
    assert q.control("GET", "/healthz").status == 200
    assert q.post(SEARCH, b"{}").status in (502, 503)


def test_not_ready_while_draining(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    with q.conn() as c:
        c.send(a_search(SEARCH))
        wait_until(lambda: fake.seen(path=SEARCH), what="a request runs")
        q.term()
        wait_until(lambda: q.control("GET", "/readyz").status == 503, 5, "not ready while draining")
        assert q.control("GET", "/healthz").status == 200
        go.set()
        assert c.read().status == 200
    assert q.wait() == 0


def test_metrics_are_well_formed_and_well_named(quiver: Quiver) -> None:
    for _ in range(3):
        quiver.post(SEARCH, b"{}")
    r = quiver.control("GET", "/metrics")
    assert r.status == 200 and (r.get("content-type") or "").startswith("text/plain; version=0.0.4")
    kinds: dict[str, str] = {}
    helps: set[str] = set()
    for line in r.body.decode().splitlines():
        if line.startswith("# HELP "):
            name = line.split()[2]
            assert name not in helps, f"HELP twice: {name}"
            helps.add(name)
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name not in kinds, f"TYPE twice: {name}"
            kinds[name] = kind
    series = quiver.metrics()
    seen = set()
    for name, labels, value in series:
        assert re.match("(model|optimization|cache|quiver)_", name), name
        key = (name, tuple(sorted(labels.items())))
        assert key not in seen, f"twice: {key}"
        seen.add(key)
        base = re.sub("_(bucket|sum|count)$", "", name)
        assert name in kinds or kinds.get(base) == "histogram", f"no TYPE: {name}"
        assert name in helps or base in helps, f"no HELP: {name}"
        assert kinds.get(name) != "counter" or value >= 0
    assert {
        "model_requests_total",
        "model_request_duration_seconds_bucket",
        "cache_hit_rate",
        "quiver_build_info",
        "quiver_workers",
    } <= {n for n, _, _ in series}


def test_requests_are_counted_by_model_operation_and_status(fake: FakeQdrant, start) -> None:
    q = start(fake.url, optimizations={"m": {"collections": ["mine"]}}, flags=["--cache", "off"])
    for _ in range(3):
        q.post("/collections/mine/points/search", b"{}")
    fake.handler = lambda x: x.error(404, "gone")
    q.post("/collections/mine/points/query", b"{}")
    wait_until(
        lambda: q.metric("model_requests_total", model="m", operation="search", status="200") == 3,
        5,
        "it is counted",
    )
    wait_until(
        lambda: q.metric("model_requests_total", model="m", operation="query", status="404") == 1,
        5,
        "it is counted",
    )
    wait_until(lambda: q.metric("model_request_duration_seconds_count", model="m") == 4, 5, "it is timed")


def test_each_upstream_server_shows_once_and_whether_connecting_works(fake: FakeQdrant, start) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    groups = {"default": [fake.url], "second": [fake.url, dead]}
    q = start(quiver={"upstreams": groups}, optimizations={"m": {"upstream": "second"}})

    def servers() -> list[tuple[str, float]]:
        return sorted((labels["upstream"], v) for n, labels, v in q.metrics() if n == "quiver_upstream_up")

    wait_until(lambda: servers() == sorted([(fake.url, 1), (dead, 0)]), 10, "one is there, one is not")
    q.reload(quiver={"upstreams": {"default": [fake.url]}}, optimizations={"m": {"collections": ["m"]}})
    wait_until(lambda: servers() == [(fake.url, 1)], 5, "who is not named any more is gone")
    fake.stop()
    wait_until(lambda: servers() == [(fake.url, 0)], 15, "it is away")
    wait_until(lambda: q.metric("quiver_ready") == 0, 15, "not ready without it")


def test_limits_and_targets_of_models_are_on_the_page(fake: FakeQdrant, start) -> None:
    target = {"p50": "8ms", "ops": 1200, "hit_rate": 0.85}
    q = start(
        quiver={"upstreams": {"default": [fake.url], "two": [fake.url, "http://127.0.0.1:9"]}},
        optimizations={"m": {"upstream": "two"}, "n": {}},
        tuning={"m": {"connections": 7, "target": target}},
    )
    assert q.metric("model_pool_limit", model="m") == 14 and q.metric("model_pool_limit", model="n") == 32
    shown = {(n, labels["model"]): v for n, labels, v in q.metrics() if n.startswith("model_target_")}
    assert shown == {
        ("model_target_p50_seconds", "m"): 0.008,
        ("model_target_ops", "m"): 1200,
        ("model_target_hit_rate", "m"): 0.85,
    }


def test_histograms_are_cumulative(quiver: Quiver) -> None:
    for _ in range(5):
        quiver.post(SEARCH, b"{}")
    wait_until(
        lambda: quiver.metric("model_request_duration_seconds_count", model="default") >= 5, 5, "timed"
    )
    buckets = [
        (labels["le"], v)
        for n, labels, v in quiver.metrics()
        if n == "model_request_duration_seconds_bucket" and labels["model"] == "default"
    ]
    values = [v for _, v in buckets]
    assert values == sorted(values) and buckets[-1][0] == "+Inf"
    assert values[-1] == quiver.metric("model_request_duration_seconds_count", model="default")


def test_gauges_return_to_zero(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    conns = [q.conn() for _ in range(20)]
    for c in conns:
        c.send(a_search(SEARCH))
    for c in conns:
        assert c.read().status == 200
    assert q.metric("quiver_client_connections") == 20
    for c in conns:
        c.close()
    wait_until(lambda: q.metric("quiver_client_connections") == 0, 5, "no client is counted any more")
    wait_until(
        lambda: q.metric("model_pool_connections", model="default") <= 1,
        8,
        "no pool connection is counted any more",
    )
    assert q.metric("quiver_held_bytes") == 0 and q.metric("model_queue_length") == 0


def test_unknown_paths_and_methods(quiver: Quiver) -> None:
    r = quiver.control("GET", "/nope")
    assert r.status == 404 and "/metrics" in r.json()["status"]["error"]
    r = quiver.control("DELETE", "/metrics")
    assert r.status == 405 and "GET" in (r.get("allow") or "")
    assert quiver.control("GET", "/metricsfoo").status == 404


def test_head_keep_alive_and_pipelining(quiver: Quiver) -> None:
    with Conn(quiver.api) as c:
        assert c.ask("HEAD", "/healthz").body == b""
        for _ in range(3):
            assert c.ask("GET", "/healthz").status == 200
        c.send(head_of("GET", "/healthz") * 5)
        assert [c.read().status for _ in range(5)] == [200] * 5


@pytest.mark.parametrize(
    "raw",
    [
        b"GET /healthz\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nContent-Length : 5\r\n\r\nhello",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET http://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n",
        b"GET /healthz HTTP/1.2\r\nHost: h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 40000 + b"\r\n\r\n",
        b"GET /a\0b HTTP/1.1\r\nHost: h\r\n\r\n",
    ],
)
def test_bad_heads_are_refused(quiver: Quiver, raw: bytes) -> None:
    with Conn(quiver.api) as c:
        c.send_quietly(raw + b"GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n")
        r = c.read()
        assert r.status in (400, 414, 431, 501, 505)
        assert c.is_closed()


def test_a_head_in_pieces_is_one_head(quiver: Quiver) -> None:
    with Conn(quiver.api) as c:
        for byte in head_of("GET", "/healthz"):
            c.send(bytes([byte]))
        assert c.read().status == 200


def test_metrics_while_the_workers_are_busy(fake: FakeQdrant, start) -> None:
    q = start(fake.url, flags=["--cache", "off"])
    over = threading.Event()

    def client() -> None:
        with q.conn() as c:
            while not over.is_set():
                assert c.post(SEARCH, unlike()).status == 200

    threads = [threading.Thread(target=client) for _ in range(4)]
    for t in threads:
        t.start()
    last = 0.0
    for _ in range(50):
        now = q.metric("model_requests_total", model="default")
        assert now >= last
        last = now
    over.set()
    for t in threads:
        t.join()


def test_the_control_port_can_be_off(fake: FakeQdrant) -> None:
    q = Quiver(fake.url, start=False)
    q.listen_flag = False
    q.flags = ["--listen", f"127.0.0.1:{q.port}", "--api", "off"]
    q._answers = lambda path: _serves(q.port)  # type: ignore[method-assign]
    try:
        q.start()
        assert q.post(SEARCH, b"{}").status == 200
        with pytest.raises(OSError):
            Conn(q.api, timeout=1)
    finally:
        q.stop()


def _serves(port: int) -> bool:
    try:
        with Conn(port, timeout=2) as c:
            return c.ask("GET", "/healthz").status == 200
    except (OSError, AssertionError):
        return False


def test_control_and_data_ports_are_apart(quiver: Quiver, fake: FakeQdrant) -> None:
    fake.handler = lambda x: x.reply(200, b"the server's own metrics", content_type="text/plain")
    assert quiver.ask("GET", "/metrics").body == b"the server's own metrics"
    assert free_port() != quiver.api
