"""Every wait has an end, and what the client hears then."""

import threading
import time

import pytest
from lib import (
    Conn,
    ConnClosed,
    FakeQdrant,
    Quiver,
    a_search,
    free_port,
    head_of,
    wait_until,
)

SEARCH = "/collections/x/points/search"
LIMITS = {
    "limits": {"head_timeout": "500ms", "body_timeout": "500ms", "write_timeout": "1s", "keep_alive": "1s"}
}


def closed_within(c: Conn, least: float, most: float) -> bytes:
    begin = time.monotonic()
    got = c.read_all()
    took = time.monotonic() - begin
    assert least <= took <= most, f"closed after {took:.2f} s, got {got[:200]!r}"
    return got


def test_half_a_head_is_waited_for_so_long(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    with q.conn() as c:
        c.send(b"GET /collections/x HTTP/1.1\r\nHost:")
        got = closed_within(c, 0.3, 3)
        assert got == b"" or got.startswith(b"HTTP/1.1 408 ")
    assert fake.requests == []


def test_a_dripped_head_gets_no_more_time(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    with q.conn() as c:
        begin = time.monotonic()
        c.send(b"GET /collections/x HTTP/1.1\r\nHost: h\r\nX-A: ")
        c.sock.settimeout(0.1)
        while time.monotonic() - begin < 5:
            try:
                c.send(b"a")
                if c.sock.recv(1000) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - begin < 3


def test_a_body_that_stops_is_waited_for_so_long(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    for method, path in (("POST", SEARCH), ("PUT", "/collections/x/points")):
        with q.conn() as c:
            c.send(head_of(method, path, {"Content-Length": "100"}) + b"{")
            got = closed_within(c, 0.3, 5)
            assert got == b"" or got.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 400 "))
    wait_until(lambda: fake.open_now == 0, what="nothing of it is left upstream")
    assert not [r for r in fake.requests if r.complete]


def test_a_slow_but_moving_body_is_fine(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    with q.conn() as c:
        c.send(head_of("PUT", "/collections/x/points", {"Content-Length": "8"}))
        for _ in range(8):
            threading.Event().wait(0.2)  # the time between bytes is what is tested
            c.send(b"x")
        assert c.read().status == 200


def test_an_idle_connection_is_closed(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    with q.conn() as c:
        assert c.ask("GET", "/collections/x").status == 200
        assert closed_within(c, 0.5, 5) == b""
    with q.conn() as c:  # and one that never asks
        closed_within(c, 0.3, 5)


def test_a_connection_that_is_not_kept_is_closed_in_order(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"limits": {"keep_alive": "0s"}})
    with q.conn() as c:
        r = c.ask("GET", "/collections/x")
        assert r.status == 200 and (r.get("connection") or "").lower() == "close"
        assert c.is_closed()


def test_a_reader_that_takes_nothing_is_cut(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    fake.handler = lambda x: x.reply(200, b"z" * 30_000_000, content_type="application/octet-stream")
    with Conn(q.port, rcvbuf=4096) as c:
        c.send(head_of("GET", "/collections/x/snapshots/s"))
        wait_until(lambda: fake.requests, what="the request upstream")
        wait_until(lambda: fake.open_now == 0, 15, "the upstream connection is given up")
        got = c.read_all()
        assert len(got) < 30_000_000


def test_deadlines_of_clients_are_counted(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver=LIMITS)
    fake.handler = lambda x: x.reply(200, b"z" * 30_000_000, content_type="application/octet-stream")
    with q.conn() as head, q.conn() as body, q.conn() as held, Conn(q.port, rcvbuf=4096) as answer, q.conn():
        head.send(b"GET / HTTP/1.1\r\nHost:")
        body.send(head_of("PUT", "/collections/x/points", {"Content-Length": "100"}) + b"{")
        held.send(head_of("POST", SEARCH, {"Content-Length": "100"}) + b"{")
        answer.send(head_of("GET", "/collections/x/snapshots/s"))
        wait_until(lambda: q.metric("quiver_client_timeouts_total") >= 4, 10, "all deadlines pass")
        wait_until(lambda: q.metric("quiver_client_connections") == 0, 10, "all are closed")
    assert q.metric("quiver_client_timeouts_total") == 4  # the fifth said nothing at all: idle


def test_a_refused_connect_is_502(start) -> None:
    q = start(f"http://127.0.0.1:{free_port()}", ready=False)
    for _ in range(3):
        r = q.post(SEARCH, b"{}")
        assert r.status == 502 and "error" in r.json()["status"] and "time" in r.json()


def test_an_upstream_that_comes_up_later_is_found(start) -> None:
    port = free_port()
    q = start(f"http://127.0.0.1:{port}", ready=False)
    assert q.post(SEARCH, b"{}").status == 502
    with FakeQdrant(port=port):
        wait_until(lambda: q.post(SEARCH, b"{}").status == 200, 10, "answers once the upstream is there")


def test_no_first_byte_in_time_is_504(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"upstream": {"first_byte_timeout": "300ms"}})
    fake.handler = lambda x: x.wait_for_hang_up()
    r = q.post(SEARCH, b"{}")
    assert r.status == 504 and "error" in r.json()["status"]
    wait_until(lambda: fake.open_now == 0, what="the late connection is thrown away")
    assert len(fake.seen(path=SEARCH)) == 1, "a read that timed out was sent again"


def test_writes_wait_as_long_as_they_must(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"upstream": {"first_byte_timeout": "200ms"}})
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    with q.conn() as c:
        c.send(head_of("PUT", "/collections/x/points?wait=true", {"Content-Length": "2"}) + b"{}")
        assert not c.is_closed(1.0)
        go.set()
        assert c.read().status == 200


def test_a_configured_write_deadline_is_504(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"upstream": {"write_timeout": "300ms"}})
    fake.handler = lambda x: x.wait_for_hang_up()
    assert q.ask("PUT", "/collections/x/points?wait=true", b"{}").status == 504


def test_an_answer_that_stops_is_cut(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"upstream": {"body_timeout": "300ms"}})

    def answer(x) -> None:
        x.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")
        x.wait_for_hang_up()

    fake.handler = answer
    with q.conn() as c:
        c.send(head_of("GET", "/metrics"))
        try:
            assert c.read().status in (502, 504)
        except ConnClosed as e:
            assert e.got == b"half"


def test_a_full_queue_is_503_with_retry_after(fake: FakeQdrant, start) -> None:
    q = start(
        fake.url, tuning={"default": {"connections": 1, "queue": 2}}, workers=1, flags=["--cache", "off"]
    )
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    conns = [q.conn() for _ in range(8)]
    for n, c in enumerate(conns):
        body = b'{"limit":%d}' % (n + 1)  # each its own: equal ones would be sent together
        c.send(head_of("POST", SEARCH, {"Content-Length": str(len(body))}) + body)
        if n == 0:
            wait_until(lambda: fake.requests, what="the first is upstream")
    wait_until(
        lambda: q.metric("model_queue_refused_total", model="default", reason="full") == 5,
        what="five refused",
    )
    go.set()
    answers = [c.read() for c in conns]
    assert sorted(r.status for r in answers) == [200] * 3 + [503] * 5
    for r in answers:
        if r.status == 503:
            assert int(r.get("retry-after") or -1) >= 0 and "error" in r.json()["status"]


def test_waiting_too_long_in_the_queue_is_503(fake: FakeQdrant, start) -> None:
    q = start(
        fake.url,
        tuning={"default": {"connections": 1}},
        quiver={"upstream": {"queue_timeout": "300ms"}},
        flags=["--cache", "off"],
    )
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    with q.conn() as first, q.conn() as second:
        first.send(a_search(SEARCH))
        wait_until(lambda: fake.requests, what="the first is upstream")
        r = second.post(SEARCH, b"{}")
        assert r.status == 503 and r.get("retry-after")
        go.set()
        assert first.read().status == 200
        assert second.post(SEARCH, b"{}").status == 200


@pytest.mark.parametrize(
    "method, path", [("PUT", "/collections/x/points"), ("POST", "/collections/x/snapshots/upload")]
)
def test_an_answer_before_the_bodys_end_goes_out_at_once(start, method: str, path: str) -> None:
    def early(x) -> None:
        x.error(403, "not for you")
        x.wait_for_hang_up(5)
        x.close()

    with FakeQdrant(early, lazy=True) as fake:
        q = start(fake.url, flags=["--cache", "off"])
        with q.conn() as c:
            c.send(head_of(method, path, {"Content-Length": "10000000"}) + b"x" * 1000)
            r = c.read()
            assert r.status == 403 and r.json()["status"]["error"] == "not for you"
            c.send_quietly(b"y" * 100000)
            assert c.read_all() == b""
        wait_until(lambda: fake.open_now == 0, what="the half-used upstream connection is closed")
        assert not [r for r in fake.requests if r.complete]


def test_an_answer_before_the_bodys_end_reaches_a_client_that_keeps_sending(start) -> None:
    def early(x) -> None:
        x.error(400, "too big")
        x.wait_for_hang_up(5)
        x.close()

    with FakeQdrant(early, lazy=True) as fake:
        q = start(fake.url, flags=["--cache", "off"])
        with q.conn() as c:
            c.send(head_of("PUT", "/collections/x/points", {"Content-Length": "4000000"}))
            for _ in range(40):
                c.send_quietly(b"z" * 100000)
            assert c.read().status == 400


def test_out_of_descriptors_accepting_pauses_and_comes_back(fake: FakeQdrant, start, sanitized: bool) -> None:
    q = start(fake.url, nofile=64, workers=1, flags=["--cache", "off"])
    conns = []
    try:
        for _ in range(100):
            conns.append(q.conn())
        wait_until(lambda: q.log_has("accept"), 10, "a line about accepting")
        before = q.cpu_seconds()
        threading.Event().wait(1.0)  # a spin would show as processor time in this second
        assert q.cpu_seconds() - before < 0.5, "quiver spins while it is out of descriptors"
        assert len([line for line in q.lines if "accept" in line]) < 20
    finally:
        for c in conns:
            c.close()
    wait_until(lambda: _answers(q), 10, "quiver serves again")


def test_clients_cannot_take_the_descriptors_that_their_answers_need(fake: FakeQdrant, start) -> None:
    q = start(fake.url, nofile=160, workers=1, flags=["--cache", "off"])  # one takes them in their order
    conns = [q.conn() for _ in range(200)]
    try:
        wait_until(lambda: q.log_has("accept_paused"), 10, "a line about accepting")
        threading.Event().wait(0.5)  # several pauses end meanwhile
        for c in conns[:60]:
            assert c.ask("GET", "/collections/x").status == 200
        assert q.metric("quiver_client_connections") < 160
    finally:
        for c in conns:
            c.close()
    wait_until(lambda: _answers(q), 10, "quiver serves again")


def _answers(q: Quiver) -> bool:
    try:
        with q.conn(timeout=2) as c:
            return c.ask("GET", "/collections/x").status == 200
    except (OSError, AssertionError):
        return False
