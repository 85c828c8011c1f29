"""Readers and writers on raw connections, each with one request under way; what they saw goes to the bench."""

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from checker import Bench

now = time.monotonic_ns


def request(method: str, path: str, body: bytes = b"", extra: str = "") -> bytes:
    length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
    return f"{method} {path} HTTP/1.1\r\nHost: q\r\n{extra}{length}\r\n".encode() + body


class Question:
    """A read: its bytes, the names its answer depends on, how its answer must begin, and what group it counts for."""

    __slots__ = ("data", "names", "expect", "group")

    def __init__(self, group: str, name: str, operation: str, n: int, others: tuple[str, ...] = (), pad: int = 0,
                 headers: str = "", vector: str = "[0.5,0.25]"):  # fmt: skip
        self.group, self.names = group, (name, *others)
        self.expect = f"{n} {operation} ".encode()
        if operation == "get":
            self.data = request("GET", f"/collections/{name}/points/{n}")
            return
        body = BODIES[operation].replace("VECTOR", vector)
        if others:
            body = LOOKUPS[operation].replace("OTHER", others[0])
        tail = f',"n":{n}' + (f',"pad":{pad}' if pad else "") + "}"
        folder = "" if operation in ("facet", "points") else "points/"
        self.data = request(
            "POST",
            f"/collections/{name}/{folder}{operation}",
            (body[:-1] + tail).encode(),
            "Content-Type: application/json\r\n" + headers,
        )


BODIES = {
    "search": '{"vector":VECTOR,"limit":3}',
    "query": '{"query":VECTOR,"limit":3}',
    "scroll": '{"limit":3}',
    "count": '{"exact":true}',
    "points": '{"ids":[1]}',
    "facet": '{"key":"k"}',
    "search/batch": '{"searches":[{"vector":VECTOR,"limit":3}]}',
    "query/groups": '{"query":VECTOR,"group_by":"k"}',
    "recommend": '{"positive":[1],"limit":3}',
}
LOOKUPS = {
    "query": '{"query":{"fusion":"rrf"},"prefetch":[{"prefetch":{"query":1,"lookup_from":{"collection":"OTHER"}},"query":[0.5,0.25]}]}',
    "recommend": '{"positive":[1],"lookup_from":{"collection":"OTHER"},"limit":3}',
    "query/groups": '{"query":[0.5,0.25],"group_by":"k","with_lookup":"OTHER"}',
}


class Link(asyncio.Protocol):
    """A connection to quiver number `which` that comes back by itself."""

    def __init__(self, bench: "Bench", which: int):
        self.bench, self.which = bench, which
        self.transport: Any = None
        self.buffer = b""
        self.begun = 0  # of the request under way; 0: none

    def open(self) -> None:
        asyncio.ensure_future(self._connect())

    async def _connect(self) -> None:
        while not self.bench.over:
            try:
                port = self.bench.quivers[self.which].port
                await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", port)
                return
            except OSError as e:
                self.bench.failed(self.which, f"connect: {e}")
                await asyncio.sleep(0.02)

    def connection_made(self, transport: Any) -> None:
        self.transport, self.buffer = transport, b""
        self.connected()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.begun:
            self.begun = 0
            self.lost()
        if not self.bench.over:
            asyncio.get_running_loop().call_later(0.01, self.open)

    def send(self, data: bytes) -> None:
        self.begun = now()
        self.transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self.buffer:
            data = self.buffer + data
        end = data.find(b"\r\n\r\n")
        at = data.find(b"ontent-length: ", 0, end)
        if at < 0:
            at = data.find(b"ontent-Length: ", 0, end)
        if end < 0 or at < 0 or len(data) < (whole := end + 4 + int(data[at + 15 : data.find(b"\r", at)])):
            self.buffer = data
            return
        self.buffer = data[whole:]
        begun, self.begun = self.begun, 0
        if not begun:
            self.bench.failed(self.which, f"an answer nobody asked for: {data[:300]!r}", True)
            return
        self.answered(int(data[9:12]), data, end, begun, now())

    def connected(self) -> None: ...
    def lost(self) -> None: ...
    def answered(self, status: int, data: bytes, end: int, begun: int, ended: int) -> None: ...


class Reader(Link):
    """Asks questions until the bench is over: without pause, or with one of about `pause` seconds, also before the first, so
    that many readers do not march in step."""

    def __init__(
        self, bench: "Bench", which: int, questions: list[Question], weights: list[float], pause: float = 0
    ):
        super().__init__(bench, which)
        self.questions, self.weights, self.pause = questions, weights, pause
        self.plan: list[Question] = []
        self.once = False  # the plan is all
        self.question = questions[0]

    def connected(self) -> None:
        self.rest()

    def rest(self) -> None:
        """Until the next question; one that comes too early, or too late, is none (ready())."""
        if self.pause:
            pause = self.pause * self.bench.random.uniform(0.5, 1.5)
            asyncio.get_running_loop().call_later(pause, lambda: self.ready())
        else:
            self.ready()

    def ready(self) -> None:
        if self.bench.over or self.transport is None or self.begun:
            return
        if not self.plan and self.once:
            return
        if not self.plan:
            self.plan = self.bench.random.choices(self.questions, cum_weights=self.weights, k=500)
        self.question = self.plan.pop()
        self.send(self.question.data)

    def lost(self) -> None:
        self.bench.failed(self.which, f"the connection ended during a read of {self.question.names}")

    def answered(self, status: int, data: bytes, end: int, begun: int, ended: int) -> None:
        q = self.question
        if status == 200:
            at = data.find(b'"at":"', end) + 6
            if at > 5 and data.startswith(q.expect, at):
                at += len(q.expect)
                hit = data.find(b"quiver; hit", 0, end) > 0
                joined = not hit and data.find(b"collapsed", 0, end) > 0
                self.bench.took(self.which, q, data[at : data.find(b'"', at)], begun, ended, hit, joined)
            else:
                self.bench.failed(
                    self.which, f"not the answer to {q.expect!r}: {data[end : end + 200]!r}", True
                )
        elif status == 404:
            self.bench.took(self.which, q, b"", begun, ended, False, False)
        else:
            self.bench.failed(self.which, f"{status} to a read of {q.names}: {data[end : end + 200]!r}")
        self.rest()


class Writer(Link):
    """ask() sends one write and waits for its end: a status, or 0 when the connection ended."""

    def __init__(self, bench: "Bench", which: int):
        super().__init__(bench, which)
        self.up = asyncio.Event()
        self.result: asyncio.Future | None = None

    def connected(self) -> None:
        self.up.set()

    def lost(self) -> None:
        self.up.clear()
        if self.result and not self.result.done():
            self.result.set_result((0, now()))

    def answered(self, status: int, data: bytes, end: int, begun: int, ended: int) -> None:
        if self.result and not self.result.done():
            self.result.set_result((status, ended))

    async def ask(self, data: bytes) -> tuple[int, int, int]:
        """status, begun, ended"""
        while self.transport is None and not self.bench.over:
            self.up.clear()
            try:
                await asyncio.wait_for(self.up.wait(), 0.1)
            except TimeoutError:
                pass
        if self.transport is None:
            return -1, 0, 0
        self.result = asyncio.get_running_loop().create_future()
        self.send(data)
        begun = self.begun
        status, ended = await self.result
        self.result = None
        return status, begun, ended


class Pen:
    """Writes through every quiver in turn or at random; names each write and reports how it went."""

    def __init__(self, bench: "Bench", only: int = -1):
        self.bench, self.only = bench, only
        self.links = [Writer(bench, i) for i in range(len(bench.quivers)) if only < 0 or i == only]
        for link in self.links:
            link.open()

    async def write(
        self, method: str, path: str, body: dict | None = None, fate: str = "", watch: bool = False
    ) -> int:
        bench = self.bench
        link = bench.random.choice(self.links)
        bench.n_writes += 1
        tag = f"w{bench.n_writes}"
        extra = (
            f"x-write: {tag}\r\n"
            + (f"x-fate: {fate}\r\n" if fate else "")
            + ("x-watch: 1\r\n" if watch else "")
        )
        data = request(
            method, path, json.dumps(body or {}).encode(), "Content-Type: application/json\r\n" + extra
        )
        status, begun, ended = await link.ask(data)
        if status >= 0:
            bench.wrote(link.which, tag, method + " " + path, fate, status, begun, ended)
        return status

    # the forms
    async def points(self, name: str, wait: bool = True, fate: str = "", **how: Any) -> int:
        method, suffix = self.bench.random.choice(POINT_WRITES)
        if fate == "400_part":
            method, suffix = "POST", "points/batch"
        query = "wait=true" if wait else self.bench.random.choice(("wait=false", ""))
        if fate == "timeout":
            query += "&timeout=1"
        return await self.write(method, f"/collections/{name}/{suffix}?{query}", {"points": [1]}, fate, **how)

    async def recover(self, name: str, wait: bool = True) -> int:
        """Another snapshot's content; waits unless told otherwise."""
        path = f"/collections/{name}/snapshots/recover" + ("" if wait else "?wait=false")
        return await self.write("PUT", path, {"location": "file:///s"}, "" if wait else "202")

    async def aliases(self, *actions: dict, fate: str = "") -> int:
        return await self.write("POST", "/collections/aliases", {"actions": list(actions)}, fate)


POINT_WRITES = [
    ("PUT", "points"),
    ("PUT", "points"),
    ("PUT", "points"),
    ("POST", "points/delete"),
    ("POST", "points/payload"),
    ("PUT", "points/payload"),
    ("POST", "points/payload/delete"),
    ("POST", "points/payload/clear"),
    ("PUT", "points/vectors"),
    ("POST", "points/vectors/delete"),
    ("POST", "points/batch"),
    ("PUT", "index"),
    ("DELETE", "index/field"),
    ("PUT", "points/something-new"),
]
