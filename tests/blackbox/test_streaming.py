"""Gigabytes pass in constant memory."""

import threading
import time

import pytest
from lib import Conn, FakeQdrant, Quiver, head_of, wait_until

MB = 1 << 20
RATE = 5 * MB


def total(long: bool) -> int:
    return (512 if long else 48) * MB


def slope(sanitized: bool) -> int:
    return (8 if not sanitized else 24) * MB


class Memory(threading.Thread):
    """The largest resident size seen while it runs."""

    def __init__(self, q: Quiver):
        super().__init__(daemon=True)
        self.q, self.over = q, threading.Event()
        self.most = self.first = q.memory()

    def run(self) -> None:
        while not self.over.wait(0.05):
            self.most = max(self.most, self.q.memory())

    def growth(self) -> int:
        self.over.set()
        self.join()
        return self.most - self.first


def warm(q: Quiver, fake: FakeQdrant) -> None:
    """Buffers that every worker takes once are no growth."""
    for _ in range(8):
        q.ask("PUT", "/collections/x/points", b"x" * MB)
        q.ask("GET", "/collections/x")


@pytest.mark.big
@pytest.mark.timeout(300)
def test_a_download_through_a_slow_reader(fake: FakeQdrant, start, long: bool, sanitized: bool) -> None:
    n = total(long)
    block = bytes(range(256)) * 1024

    def answer(x) -> None:
        if "snapshots" not in x.request.path:
            return
        x.send(f"HTTP/1.1 200 OK\r\ncontent-length: {n}\r\ncontent-type: x/y\r\n\r\n".encode())
        for _ in range(n // len(block)):
            x.send(block)

    fake.handler = answer
    q = start(fake.url)
    warm(q, fake)
    memory = Memory(q)
    memory.start()
    with q.conn(timeout=60) as c:
        c.send(head_of("GET", "/collections/x/snapshots/big"))
        c.read_head()
        got, c.buffer, begin = len(c.buffer), b"", time.monotonic()
        while got < n:
            data = c.sock.recv(256 * 1024)
            assert data, f"closed after {got} of {n}"
            if got % len(block) == 0:
                assert data == block[: len(data)]
            got += len(data)
            ahead = got / RATE - (time.monotonic() - begin)
            if ahead > 0:
                threading.Event().wait(ahead)  # the reader's speed
    assert got == n
    assert memory.growth() < slope(sanitized)


@pytest.mark.big
@pytest.mark.timeout(300)
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_an_upload_to_a_slow_reader(start, long: bool, sanitized: bool, framing: str) -> None:
    n = total(long) if framing == "length" else total(long) // 2
    took: dict[str, int] = {}

    def slow(x) -> None:
        if "snapshots" not in x.request.path:
            x.read_body()
            return
        got, begin, tail = 0, time.monotonic(), b""
        while not tail.endswith(b"END\r\n0\r\n\r\n" if framing == "chunked" else b"END"):
            data = x.fake._recv(x.sock)
            if not data:
                return
            got += len(data)
            tail = (tail + data)[-16:]
            ahead = got / RATE - (time.monotonic() - begin)
            if ahead > 0:
                threading.Event().wait(ahead)
        x.request.complete = True
        took["bytes"] = got
        x.ok(True)

    with FakeQdrant(slow, lazy=True) as fake:
        q = start(fake.url)
        warm(q, fake)
        memory = Memory(q)
        memory.start()
        block = b"u" * (256 * 1024)
        with q.conn(timeout=120) as c:
            how = {"Transfer-Encoding": "chunked"} if framing == "chunked" else {"Content-Length": str(n + 3)}
            c.send(
                head_of(
                    "POST",
                    "/collections/x/snapshots/upload",
                    {**how, "Content-Type": "multipart/form-data; boundary=b"},
                )
            )
            for _ in range(n // len(block)):
                c.send(b"%x\r\n%s\r\n" % (len(block), block) if framing == "chunked" else block)
            c.send(b"3\r\nEND\r\n0\r\n\r\n" if framing == "chunked" else b"END")
            assert c.read().status == 200
        assert took["bytes"] >= n + 3
        assert memory.growth() < slope(sanitized)


@pytest.mark.big
def test_a_reader_that_stands_still_stops_the_sender(fake: FakeQdrant, start, sanitized: bool) -> None:
    sent = [0]

    def answer(x) -> None:
        if "snapshots" not in x.request.path:
            return
        x.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(4000):
            x.send(b"10000\r\n" + b"z" * 65536 + b"\r\n")
            sent[0] += 65536
        x.send(b"0\r\n\r\n")

    fake.handler = answer
    q = start(fake.url)
    warm(q, fake)
    before = q.memory()
    with Conn(q.port, rcvbuf=65536) as c:
        c.send(head_of("GET", "/collections/x/snapshots/s"))
        wait_until(lambda: sent[0], what="the first bytes")
        last = [-1]

        def still() -> bool:
            same, last[0] = sent[0] == last[0], sent[0]
            return same

        wait_until(still, 20, "the sender stands still", every=0.5)
        assert sent[0] < 40 * MB
        assert q.memory() - before < slope(sanitized)
        r = c.read()
        assert len(r.body) == 4000 * 65536


@pytest.mark.big
def test_many_large_searches_at_once_are_bounded(fake: FakeQdrant, start, sanitized: bool) -> None:
    """hold_total bounds what is held: beyond it reading pauses, and everyone is answered in the end."""
    q = start(
        fake.url,
        quiver={"limits": {"hold_body": "4MiB", "hold_total": "8MiB"}},
        flags=["--cache", "off"],
        workers=2,
    )
    warm(q, fake)
    before = q.memory()
    memory = Memory(q)
    memory.start()
    body = b'{"vector":[' + b"0.123456789," * 170_000 + b'1],"limit":1}'
    results: list[int] = []

    def client() -> None:
        with q.conn(timeout=60) as c:
            results.append(c.post("/collections/x/points/search", body).status)

    threads = [threading.Thread(target=client) for _ in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert set(results) <= {200, 503} and results.count(200) >= 8, results
    assert memory.growth() < (24 if not sanitized else 96) * MB, before


def test_a_search_in_chunks_needs_no_more_room_than_one_with_a_length(fake: FakeQdrant, start) -> None:
    held: list[float] = []

    def handler(x) -> None:
        held.append(q.metric("quiver_held_bytes"))
        x.ok([])

    q = start(
        fake.url,
        quiver={"limits": {"hold_body": "1MiB", "hold_total": "1MiB"}, "upstream": {"queue_timeout": "1s"}},
        flags=["--cache", "off"],
        workers=1,
    )
    fake.handler = handler
    body = b'{"vector":[' + b"0.123456789," * 65_000 + b'1],"limit":1}'
    assert 512 * 1024 < len(body) < 1 << 20
    with q.conn() as c:
        assert c.post("/collections/x/points/search", body).status == 200
        c.send(head_of("POST", "/collections/x/points/search", {"Transfer-Encoding": "chunked"}))
        assert c.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)).read().status == 200
    assert held == [len(body)] * 2
    wait_until(lambda: q.metric("quiver_held_bytes") == 0, 5, "nothing is held")


def test_slow_bodies_do_not_keep_the_room_of_others(fake: FakeQdrant, start) -> None:
    """All room belongs to one whose body hardly comes: it is given up when somebody else needs it, not before."""
    limits = {"limits": {"hold_body": "1MiB", "hold_total": "1MiB"}}
    q = start(fake.url, quiver=limits, flags=["--cache", "off"])
    with q.conn() as slow:
        slow.send(head_of("POST", "/collections/x/points/search", {"Content-Length": str(1 << 20)}) + b"{")
        wait_until(lambda: q.metric("quiver_held_bytes") == 1 << 20, 5, "the room is taken")
        threading.Event().wait(2)  # longer than it is given when others wait
        assert q.post("/collections/x/points/search", {"vector": [1.0], "limit": 1}).status == 200
        r = slow.read()
        assert r.status == 408 and "hold_total" in r.json()["status"]["error"]
        assert slow.is_closed()
    assert q.metric("quiver_client_timeouts_total") == 1
    wait_until(lambda: q.metric("quiver_held_bytes") == 0, 5, "its room is free again")
