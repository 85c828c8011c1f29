"""A Qdrant as far as coherence goes, in a process of its own: it knows to the nanosecond which state it had when.

A collection's state is a number that grows by one with every point applied, whatever the operation. Every answer to a
read says which states it saw: "at":"<n> <operation> <name>=<incarnation>.<state> ..." with the names as they were
spelled, so that an answer can be judged by what Qdrant could have said between the question and the answer.

Updates run as in Qdrant: a queue per shard, in order, point by point; wait=false and its kin are answered before. The
header x-fate of a write decides how it ends (FATES), x-write is its tag in the log. Readers' questions carry "n".

usage: model.py PORT CONTROL_PORT SEED; line-wise JSON on the control port, one client.
"""

import asyncio
import json
import random
import re
import socket
import struct
import sys
import time
from collections import deque
from typing import Any, Callable

try:
    import uvloop
except ImportError:  # slower, as good
    uvloop = None

# How a write may end: status, is it answered before it is applied, is it applied at all.
FATES: dict[str, tuple[int, bool, bool]] = {
    "": (200, False, True),
    "late": (200, False, True),  # applied, and answered a while later
    "timeout": (200, True, True),  # wait_timeout
    "202": (202, True, True),
    "408": (408, True, True),
    "500": (500, True, True),
    "500_never": (500, True, False),
    "400_never": (400, True, False),
    "400_part": (400, False, True),  # a batch: the first point is stored, the second is refused
    "401": (401, True, False),
    "lost_before": (0, True, True),  # no answer: the connection ends before it is applied
    "lost_after": (0, False, True),  # no answer: it ends afterwards
    "lost_never": (0, True, False),
    "held": (200, False, True),  # applied and answered when the control port says so
}
READS = {
    "search", "query", "scroll", "count", "points", "facet", "search/batch", "query/batch", "query/groups",
    "search/groups", "recommend", "discover",
}  # fmt: skip
OTHER_NAMES = re.compile(rb'"(?:lookup_from|with_lookup)"\s*:\s*(?:\{[^{}]*?"collection"\s*:\s*)?"([^"]+)"')
NUMBER = re.compile(rb'"n":(\d+)')
PAD = re.compile(rb'"pad":(\d+)')


class Update:
    """One operation on its way through the queue of a shard."""

    def __init__(self, tag: str, steps: int, delay: float, done: Callable[[], None]):
        self.tag, self.steps, self.delay, self.done = tag, steps, delay, done
        self.id = 0
        self.waits = False  # for the control port


class Shard:
    def __init__(self) -> None:
        self.queue: deque[Update] = deque()
        self.next_id, self.op_num = 1, 0


class Incarnation:
    """A collection from its creation to its deletion."""

    def __init__(self, uid: int, name: str, shards: int):
        self.uid, self.name, self.alive = uid, name, True
        self.state = 0
        self.shards = [Shard() for _ in range(shards)]


class World:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.collections: dict[str, Incarnation] = {}
        self.aliases: dict[str, str] = {}
        self.last_uid = 0
        self.log: list[list] = []
        self.started = time.time_ns()
        self.requests: dict[str, int] = {}
        self.writes: dict[str, list[int]] = {}  # tag -> received, applied, answered
        self.held: dict[str, Callable[[], None]] = {}
        self.apply_within = 0.05  # what is answered before it is applied takes up to this
        self.read_least, self.read_delay, self.read_share = 0.0, 0.003, 0.3  # seconds; how many take them
        self.all_shards = False  # every update has points in each of them
        self.hides_aliases = False  # who asks for their list is told to come later
        self.tell: Callable[[dict], None] = lambda event: None

    # what readers see
    def resolve(self, name: str) -> Incarnation | None:
        return self.collections.get(self.aliases.get(name, name))

    def name_changed(self, *names: str) -> None:
        now = time.monotonic_ns()
        for name in names:
            found = self.resolve(name)
            self.log.append(["n", name, found.uid if found else 0, now])

    def names_of(self, collection: str) -> list[str]:
        return [collection] + [a for a, c in self.aliases.items() if c == collection]

    def bump(self, inc: Incarnation, tag: str) -> None:
        inc.state += 1
        self.log.append(["s", inc.uid, inc.state, time.monotonic_ns(), tag])

    def create(self, name: str, shards: int = 1) -> None:
        self.last_uid += 1
        self.collections[name] = Incarnation(self.last_uid, name, shards)
        self.log.append(["s", self.last_uid, 0, time.monotonic_ns(), "create"])
        self.name_changed(*self.names_of(name))

    def drop(self, name: str) -> bool:
        inc = self.collections.pop(name, None)
        if inc is None:
            return False
        inc.alive = False
        names = self.names_of(name)
        for alias in names[1:]:
            del self.aliases[alias]
        self.name_changed(*names)
        return True

    def change_aliases(self, actions: list[dict]) -> None:
        touched: list[str] = []
        for action in actions:
            ((kind, what),) = action.items()
            if kind == "create_alias":
                self.aliases[what["alias_name"]] = what["collection_name"]
                touched.append(what["alias_name"])
            elif kind == "delete_alias":
                self.aliases.pop(what["alias_name"], None)
                touched.append(what["alias_name"])
            elif kind == "rename_alias":
                old, new = what["old_alias_name"], what["new_alias_name"]
                if old in self.aliases:
                    self.aliases[new] = self.aliases.pop(old)
                touched += [old, new]
        self.name_changed(*touched)

    # updates
    def submit(self, inc: Incarnation, shard: Shard, update: Update) -> None:
        update.id = shard.next_id
        shard.next_id += 1
        shard.queue.append(update)
        if len(shard.queue) == 1:
            self.run(inc, shard)

    def run(self, inc: Incarnation, shard: Shard) -> None:
        update = shard.queue[0]
        if update.waits:
            self.held[update.tag] = lambda: self.step(inc, shard, update, update.steps)
            return
        asyncio.get_running_loop().call_later(
            update.delay / update.steps, self.step, inc, shard, update, update.steps
        )

    def step(self, inc: Incarnation, shard: Shard, update: Update, left: int) -> None:
        if not inc.alive:
            for lost in list(shard.queue):
                lost.done()
            shard.queue.clear()
            return
        self.bump(inc, update.tag)
        if left > 1:
            asyncio.get_running_loop().call_later(
                update.delay / update.steps, self.step, inc, shard, update, left - 1
            )
            return
        shard.op_num = update.id
        shard.queue.popleft()
        update.done()
        if shard.queue:
            self.run(inc, shard)


def body_of(result: str) -> bytes:
    return ('{"result":%s,"status":"ok","time":0.000012345}' % result).encode()


def error_of(text: str) -> bytes:
    return json.dumps({"status": {"error": text}, "time": 0.000001}).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 as quiver speaks it upstream: one request at a time, a length or chunks."""

    def __init__(self, server: "Server"):
        self.server, self.world = server, server.world
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end].decode("latin-1").split("\r\n")
            headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:])}
            length, chunked = int(headers.get("content-length", 0)), "transfer-encoding" in headers
            if chunked:
                last = self.buffer.find(b"0\r\n\r\n", end + 4)
                if last < 0:
                    return
                body, rest = unchunk(self.buffer[end + 4 : last + 5]), last + 5
            else:
                if len(self.buffer) < end + 4 + length:
                    return
                body, rest = self.buffer[end + 4 : end + 4 + length], end + 4 + length
            self.buffer = self.buffer[rest:]
            method, target, _ = head[0].split(" ")
            self.request(method, target, headers, body)

    # answers
    def answer(self, status: int, body: bytes, delay: float = 0.0) -> None:
        if delay:
            asyncio.get_running_loop().call_later(delay, self.answer, status, body)
            return
        if not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 %d X\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%s"
                % (status, len(body), body)
            )

    def lose(self) -> None:
        self.transport.abort()

    # requests
    def request(self, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        path, _, query = target.partition("?")
        w = self.world
        parts = path.strip("/").split("/")
        if parts[0] == "collections" and len(parts) > 1 and parts[1] != "aliases":
            if method == "POST" and "/".join(parts[3:] or parts[2:]) in READS and len(parts) > 2:
                return self.read(parts[1], "/".join(parts[3:] or parts[2:]), body)
            if method == "GET" and len(parts) == 4 and parts[2] == "points":
                return self.read(parts[1], "get", b'"n":' + parts[3].encode())
        w.requests[method + " " + path] = w.requests.get(method + " " + path, 0) + 1
        if method == "GET":
            return self.facts(path, parts)
        self.write(method, parts, query, headers, body)

    def read(self, name: str, operation: str, body: bytes) -> None:
        w = self.world
        w.requests[operation] = w.requests.get(operation, 0) + 1
        others = OTHER_NAMES.findall(body)
        seen = []
        for one in [name] + [o.decode() for o in others]:
            inc = w.resolve(one)
            if inc is None:
                return self.answer(404, error_of(f"Not found: Collection `{one}` doesn't exist!"))
            seen.append(f"{one}={inc.uid}.{inc.state}")
        n = NUMBER.search(body)
        pad = PAD.search(body)
        result = '[{"id":1,"version":1,"score":0.5,"payload":{"at":"%s %s %s"%s}}]' % (
            n[1].decode() if n else "-",
            operation,
            " ".join(seen),
            ',"pad":"' + "x" * int(pad[1]) + '"' if pad else "",
        )
        # the state was seen now; the answer may take its time
        slow = w.random.random() < w.read_share
        self.answer(200, body_of(result), max(w.read_least, w.read_delay * w.random.random()) if slow else 0)

    def facts(self, path: str, parts: list[str]) -> None:
        w = self.world
        if path == "/":
            return self.answer(
                200, b'{"title":"qdrant - vector search engine","version":"1.18.3","commit":"0"}'
            )
        if path == "/collections":
            return self.answer(
                200, body_of(json.dumps({"collections": [{"name": c} for c in w.collections]}))
            )
        if path == "/aliases" and w.hides_aliases:
            return self.answer(503, error_of("not now"))
        if path == "/aliases":
            rows = [{"alias_name": a, "collection_name": c} for a, c in w.aliases.items()]
            return self.answer(200, body_of(json.dumps({"aliases": rows})))
        if path == "/telemetry":
            return self.answer(200, body_of(json.dumps(self.telemetry())))
        if parts[0] == "collections" and len(parts) == 2:
            inc = w.resolve(parts[1])
            if inc is None:
                return self.answer(404, error_of(f"Not found: Collection `{parts[1]}` doesn't exist!"))
            return self.answer(200, body_of(json.dumps(self.info(inc))))
        if path in ("/readyz", "/healthz", "/livez"):
            return self.answer(200, b"ok")
        self.answer(404, b"")

    def info(self, inc: Incarnation) -> dict:
        return {
            "status": "green",
            "optimizer_status": "ok",
            "points_count": inc.state,
            "segments_count": 1,
            "config": {
                "params": {
                    "vectors": {"size": 2, "distance": "Dot"},
                    "shard_number": len(inc.shards),
                    "replication_factor": 1,
                    "write_consistency_factor": 1,
                },
                "hnsw_config": {"m": 16, "ef_construct": 100},
                "optimizer_config": {"prevent_unoptimized": None},
                "strict_mode_config": {"enabled": False},
            },
            "payload_schema": {},
            "update_queue": {"length": 0},  # what is being applied is not counted, as in Qdrant
        }

    def telemetry(self) -> dict:
        rows = []
        for name, inc in self.world.collections.items():
            shards = [
                {
                    "id": i,
                    "key": None,
                    "local": {"status": "green", "update_queue": {"length": 0, "op_num": s.op_num}},
                    "remote": [],
                }
                for i, s in enumerate(inc.shards)
            ]
            rows.append({"id": name, "config": self.info(inc)["config"], "shards": shards})
        startup = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(self.world.started // 10**9))
        return {
            "id": "model",
            "app": {
                "name": "qdrant",
                "version": "1.18.3",
                "startup": f"{startup}.{self.world.started % 10**9:09d}Z",
            },
            "collections": {"number_of_collections": len(rows), "collections": rows},
        }

    def write(self, method: str, parts: list[str], query: str, headers: dict[str, str], body: bytes) -> None:
        w = self.world
        fate, tag = headers.get("x-fate", ""), headers.get("x-write", "")
        times = w.writes[tag] = [time.monotonic_ns(), 0, 0]
        if headers.get("x-watch"):
            w.tell({"event": "received", "tag": tag})
        wait = "wait=true" in query or ("snapshots" in parts and "wait=false" not in query)
        status, early, applied = FATES[fate]
        name = parts[1] if len(parts) > 1 else ""
        points = parts[0] == "collections" and len(parts) > 2
        operation = 0

        def finish(result: str = "", code: int = 0) -> None:
            times[2] = time.monotonic_ns()
            w.log.append(["w", tag, *times])
            if headers.get("x-watch"):
                w.tell({"event": "answered", "tag": tag})
            if code or status == 202:
                self.answer(code or 202, error_of("no") if code else b'{"status":"accepted","time":0.0}')
            elif status == 0:
                self.lose()
            elif status != 200:
                self.answer(status, error_of(f"fate {fate}"))
            elif result:
                self.answer(200, body_of(result))
            else:
                said = "wait_timeout" if fate == "timeout" else "completed" if wait else "acknowledged"
                one = '{"operation_id":%d,"status":"%s"}' % (operation, said)
                self.answer(200, body_of(f"[{one}]" if parts[-1] == "batch" else one))

        def done() -> None:
            times[1] = time.monotonic_ns()
            if early or (points and not wait):
                w.log.append(["w", tag, *times])  # once more, now with when it was applied
            elif fate == "late":
                asyncio.get_running_loop().call_later(0.001 + 0.008 * w.random.random(), finish, result_of_it)
            else:
                finish(result_of_it)

        result_of_it = "" if points else "true"
        delay = w.random.random() * (w.apply_within if early or not wait else 0.004)
        if points:
            inc = w.resolve(name)
            if inc is None:
                return finish(code=404)
            operation = self.update(inc, tag, fate, delay, applied, done)
            if early or not wait:
                finish()
            return
        self.change(method, parts, name, body, early, applied, delay, finish, done)

    def update(
        self, inc: Incarnation, tag: str, fate: str, delay: float, applied: bool, done: Callable[[], None]
    ) -> int:
        """Queues it where its points are: in one shard, some or all of them; the largest id it got."""
        w = self.world
        if not applied:
            return 0
        shards = (
            inc.shards if w.all_shards else w.random.sample(inc.shards, w.random.randint(1, len(inc.shards)))
        )
        left = len(shards)

        def part_done() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done()

        steps = 1 if fate == "400_part" else 1 + w.random.randrange(4)
        updates = [Update(tag, steps, delay * w.random.random(), part_done) for _ in shards]
        for shard, update in zip(shards, updates):
            update.waits = fate == "held"
            w.submit(inc, shard, update)
        return max(u.id for u in updates)

    def change(self, method: str, parts: list[str], name: str, body: bytes, early: bool, applied: bool,
               delay: float, finish: Callable[..., None], done: Callable[[], None]) -> None:  # fmt: skip
        """Operations on collections and aliases: no queue, no wait."""
        w = self.world
        if parts[:2] == ["collections", "aliases"]:
            effect = lambda: w.change_aliases(json.loads(body)["actions"])  # noqa: E731
        elif method == "PUT" and parts[0] == "collections":
            if name in w.collections:
                return finish(code=409)
            effect = lambda: name in w.collections or w.create(name, shards_of(body))  # noqa: E731
        elif method == "DELETE" and parts[0] == "collections":
            effect = lambda: w.drop(name)  # noqa: E731
        elif method == "PATCH" and name in w.collections:
            effect = lambda: name in w.collections and w.bump(w.collections[name], "patch")  # noqa: E731
        else:
            return finish(code=404)

        def both() -> None:
            effect()
            done()

        if applied:
            asyncio.get_running_loop().call_later(delay, both)
        if early:
            finish("true")


def shards_of(body: bytes) -> int:
    found = re.search(rb'"shard_number"\s*:\s*(\d+)', body)
    return int(found[1]) if found else 1


def unchunk(data: bytes) -> bytes:
    out = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        n = int(size, 16)
        if n == 0:
            return out
        out, data = out + data[:n], data[n + 2 :]


class Server:
    def __init__(self, port: int, seed: int):
        self.port, self.world = port, World(seed)
        self.connections: set[Connection] = set()
        self.server: asyncio.Server | None = None

    async def listen(self) -> None:
        self.server = await asyncio.get_running_loop().create_server(
            lambda: Connection(self), "127.0.0.1", self.port, backlog=2048
        )

    async def restart(self, down: float, changed: bool) -> None:
        """Away for a time; comes back with another startup, and, if changed, with other data in every collection."""
        assert self.server
        self.server.close()
        for c in list(self.connections):
            sock = c.transport.get_extra_info("socket")
            if sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            c.transport.abort()
        await asyncio.sleep(down)
        self.world.started = time.time_ns()
        if changed:
            for inc in self.world.collections.values():
                self.world.bump(inc, "restart")
        await self.listen()

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        w = self.world

        def tell(what: dict) -> None:
            writer.write(json.dumps(what).encode() + b"\n")

        w.tell = tell
        async for line in reader:
            order = json.loads(line)
            reply: dict = {"id": order["id"]}
            match order["do"]:
                case "log":
                    reply["log"], w.log = w.log, []
                    reply["now"] = time.monotonic_ns()
                case "create":
                    for name, shards in order["collections"].items():
                        w.create(name, shards)
                    w.change_aliases(order.get("aliases", []))
                case "aliases":
                    w.change_aliases(order["actions"])
                case "write":  # past quiver
                    inc = w.collections[order["collection"]]
                    for _ in range(order.get("n", 1)):
                        inc.shards[0].op_num = inc.shards[0].next_id
                        inc.shards[0].next_id += 1
                        w.bump(inc, "external")
                case "release":
                    while w.held:
                        w.held.popitem()[1]()
                case "set":
                    vars(w).update(order["values"])
                case "restart":
                    await self.restart(order["down"], order["changed"])
                case "requests":
                    reply["requests"], w.requests = w.requests, {}
            tell(reply)
        asyncio.get_running_loop().stop()


def main() -> None:
    port, control, seed = (int(a) for a in sys.argv[1:4])
    loop = (uvloop or asyncio).new_event_loop()
    asyncio.set_event_loop(loop)
    server = Server(port, seed)
    loop.run_until_complete(server.listen())
    loop.run_until_complete(asyncio.start_server(server.control, "127.0.0.1", control, limit=1 << 26))
    print("ready", flush=True)
    loop.run_forever()


if __name__ == "__main__":
    main()
