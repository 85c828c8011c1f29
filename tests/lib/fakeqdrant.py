"""A scripted Qdrant: raw sockets, a thread a connection. The handler decides what bytes come back and how."""

import json
import re
import socket
import struct
import threading
import time
from typing import Any, Callable

from .ports import free_port


class Request:
    """One request as it came: `raw` is head and body with their framing; `complete`: all of it is there."""

    def __init__(self, raw_head: bytes, connection: int, nth: int):
        self.raw_head, self.connection, self.nth = raw_head, connection, nth
        lines = raw_head[:-4].split(b"\r\n")
        self.method, self.target, self.version = lines[0].decode("latin-1").split(" ")
        self.path, _, self.query = self.target.partition("?")
        self.headers = [
            (n.decode("latin-1"), v.strip().decode("latin-1"))
            for n, _, v in (line.partition(b":") for line in lines[1:])
        ]
        self.body = b""
        self.raw_body = b""
        self.complete = False
        self.at = time.monotonic()

    def get(self, name: str, default: str | None = None) -> str | None:
        found = self.all(name)
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def raw(self) -> bytes:
        return self.raw_head + self.raw_body

    def __repr__(self) -> str:
        cut = "" if self.complete else " CUT"
        return f"<Request {self.method} {self.target} {self.headers} {len(self.body)} B{cut}>"


class Gone(Exception):
    """The peer closed, or the script did."""


class Exchange:
    """What a handler holds: the request and ways to answer it."""

    def __init__(self, fake: "FakeQdrant", sock: socket.socket, request: Request):
        self.fake, self.sock, self.request = fake, sock, request
        self.open = True

    def send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone from e

    def reply(
        self,
        status: int = 200,
        body: bytes | str | dict | list = b"",
        headers: list[tuple[str, str]] = (),  # type: ignore
        content_type: str = "application/json",
        reason: str = "",
    ) -> None:
        self.send(
            self.head(status, body := to_bytes(body), headers, content_type, reason)
            + (b"" if self.request.method == "HEAD" else body)
        )

    def head(
        self,
        status: int,
        body: bytes,
        headers: list[tuple[str, str]] = (),
        content_type: str = "application/json",  # type: ignore
        reason: str = "",
    ) -> bytes:
        items = [("content-length", str(len(body)))] if status not in (204, 304) else []
        if content_type and not any(n.lower() == "content-type" for n, _ in headers):
            items.append(("content-type", content_type))
        items += list(headers)
        return (
            f"HTTP/1.1 {status} {reason or 'X'}\r\n".encode()
            + b"".join(f"{n}: {v}\r\n".encode("latin-1") for n, v in items)
            + b"\r\n"
        )

    def chunked(
        self,
        pieces: list[bytes],
        status: int = 200,
        headers: list[tuple[str, str]] = (),  # type: ignore
        finish: bool = True,
        each: Callable[[int], None] = lambda n: None,
    ) -> None:
        head = f"HTTP/1.1 {status} X\r\ntransfer-encoding: chunked\r\n".encode()
        self.send(head + b"".join(f"{n}: {v}\r\n".encode() for n, v in headers) + b"\r\n")
        for n, piece in enumerate(pieces):
            each(n)
            self.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        if finish:
            self.send(b"0\r\n\r\n")

    def close(self) -> None:
        self.open = False

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.open = False

    def wait(self, event: threading.Event, timeout: float = 30.0) -> bool:
        """Waits for a test's go; also ends when the fake stops."""
        end = time.monotonic() + timeout
        while not event.wait(0.02):
            if self.fake.stopping or time.monotonic() > end:
                raise Gone
        return True

    def wait_for_hang_up(self, timeout: float = 30.0) -> bool:
        """True once the peer has closed this connection."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and not self.fake.stopping:
            self.sock.settimeout(0.05)
            try:
                if self.sock.recv(1, socket.MSG_PEEK) == b"":
                    return True
                time.sleep(0.02)
            except TimeoutError:
                continue
            except OSError:
                return True
        return False

    def read_body(self) -> bytes:
        """For lazy handlers: the rest of the request's body."""
        self.fake._read_body(self.sock, self.request)
        return self.request.body

    # Qdrant's own answers
    def ok(self, result: Any = None, headers: list[tuple[str, str]] = ()) -> None:  # type: ignore
        self.reply(200, {"result": result, "status": "ok", "time": 0.000123456}, headers)

    def error(self, status: int, text: str) -> None:
        self.reply(status, {"status": {"error": text}, "time": 0.0})


Handler = Callable[[Exchange], None]


def to_bytes(body: bytes | str | dict | list) -> bytes:
    if isinstance(body, (dict, list)):
        return json.dumps(body, separators=(",", ":")).encode()
    return body.encode() if isinstance(body, str) else body


def _established(sock: socket.socket) -> bool:
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1
    except OSError:
        return False


class FakeQdrant:
    """`requests` are clients' requests in the order of their heads; quiver's own are in `own`.
    `handler(exchange)` answers; one that sends nothing gets the default answer of a small Qdrant."""

    def __init__(
        self,
        handler: Handler | None = None,
        port: int = 0,
        idle_close: float = 0,
        lazy: bool = False,
        backlog: int = 512,
    ):
        self.handler, self.idle_close, self.lazy = handler, idle_close, lazy
        self.port = port or free_port()
        self.lock = threading.Lock()
        self.requests: list[Request] = []
        self.own: list[Request] = []
        self.accepted = 0
        self.open_max = 0  # most of open_now, looked at whenever a connection carries its first request
        self.sockets_now = 0  # all of them
        self.answers = 0
        self.aliases: dict[str, str] = {}
        self.points, self.vector_size = 1, 4
        self.absent: set[str] = set()  # collections that are not there when asked about
        self.memory: dict[str, int] = {}  # bytes by collection, as its report shows them; others have no report
        self.op_num = 1
        self.params: dict = {}  # of every collection, beside those that default() says
        self.config: dict = {}  # and what its configuration says beside the params
        self.update_queue: dict = {"length": 0}
        self.telemetry_of: list[str] = []  # collections that telemetry tells op_num of
        self.queue_length, self.remote = 0, []  # of their shards: updates that wait, replicas on other nodes
        self.telemetry_status = 200
        self.version = "1.18.3"
        self.startup = "2026-01-01T00:00:00Z"  # another one: another process with perhaps other data
        self.refused_bytes: list[bytes] = []  # what was no request at all
        self.stopping = False
        self._socks: set[socket.socket] = set()
        self._clients: set[socket.socket] = set()
        self._serial = 0
        self._listen(backlog)

    def _listen(self, backlog: int = 512) -> None:
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(backlog)
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    # for tests
    def seen(self, method: str | None = None, path: str | None = None) -> list[Request]:
        with self.lock:
            return [
                r
                for r in self.requests
                if (method is None or r.method == method) and (path is None or r.path == path)
            ]

    @property
    def last(self) -> Request:
        with self.lock:
            return self.requests[-1]

    def forget(self) -> None:
        with self.lock:
            self.requests.clear()
            self.own.clear()
            self.open_max = self.open_now

    @property
    def open_now(self) -> int:
        """Connections that have carried a client's request and that the peer has not closed, as the kernel knows it."""
        return sum(_established(s) for s in list(self._clients))

    def serial(self) -> int:
        with self.lock:
            self._serial += 1
            return self._serial

    def drop_connections(self) -> None:
        """Closes every connection, as a restarting server does."""
        with self.lock:
            socks = list(self._socks)
        for s in socks:
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop_listening(self) -> None:
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def listen_again(self) -> None:
        self._listen()

    def stop(self) -> None:
        self.stopping = True
        self.stop_listening()
        self.drop_connections()

    def __enter__(self) -> "FakeQdrant":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # the server
    def _accept(self, listener: socket.socket) -> None:
        while not self.stopping:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.accepted += 1
                self.sockets_now += 1
                number = self.accepted
                self._socks.add(sock)
            threading.Thread(target=self._serve, args=(sock, number), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        counted = False
        nth = 0
        try:
            while not self.stopping:
                head = self._read_head(sock, first=nth == 0)
                if head is None:
                    return
                request = Request(head, number, nth)
                nth += 1
                own = (request.get("user-agent") or "").startswith("quiver/")
                with self.lock:
                    (self.own if own else self.requests).append(request)
                    if not own and not counted:
                        counted = True
                        self._clients.add(sock)
                        self.open_max = max(self.open_max, self.open_now)
                exchange = Exchange(self, sock, request)
                if not (self.lazy and not own):
                    self._read_body(sock, request)
                self._answer(exchange, own)
                if not exchange.open or (request.get("connection") or "").lower() == "close":
                    return
                if not request.complete:
                    self._read_body(sock, request)
        except (Gone, OSError):
            pass
        finally:
            with self.lock:
                self._clients.discard(sock)
                self.sockets_now -= 1
                self._socks.discard(sock)
                self._leftover.pop(sock, None)
            try:
                sock.close()
            except OSError:
                pass

    def _answer(self, exchange: Exchange, own: bool) -> None:
        sent = []
        plain_send = exchange.send

        def send(data: bytes) -> None:
            sent.append(True)
            plain_send(data)

        exchange.send = send  # type: ignore[method-assign]
        if self.handler and not own:
            self.handler(exchange)
        if not sent and exchange.open:
            self.default(exchange)
        with self.lock:
            self.answers += 1

    def default(self, x: Exchange) -> None:
        """What a small Qdrant would say; each search has a serial number of its own, so that a hit shows."""
        r = x.request
        path = re.sub("/+", "/", r.path).rstrip("/") or "/"
        last = path.rsplit("/", 1)[-1]
        if r.method == "GET" and path == "/":
            x.reply(200, {"title": "qdrant - vector search engine", "version": self.version, "commit": "0" * 40})
        elif r.method == "GET" and path in ("/healthz", "/livez", "/readyz"):
            x.reply(
                200,
                "healthz check passed" if path != "/readyz" else "all shards are ready",
                content_type="text/plain; charset=utf-8",
            )
        elif r.method == "GET" and path == "/telemetry" and self.telemetry_status != 200:
            x.reply(self.telemetry_status, "Must provide an API key", content_type="text/plain")
        elif r.method == "GET" and path == "/telemetry":
            app = {"name": "qdrant", "version": self.version, "startup": self.startup}
            queue = {"length": self.queue_length, "op_num": self.op_num}
            shards = [{"id": 0, "local": {"update_queue": queue}, "remote": self.remote}]
            known = [{"id": name, "config": self.config, "shards": shards} for name in self.telemetry_of]
            told = {"collections": known} if "details_level" in r.query else {}
            x.ok({"id": "fake", "app": app, "collections": {"number_of_collections": len(known), **told}})
        elif r.method == "GET" and path == "/collections":
            x.ok({"collections": []})  # it has whatever is asked for, and lists nothing
        elif r.method == "GET" and path == "/aliases":
            x.ok({"aliases": [{"alias_name": a, "collection_name": c} for a, c in self.aliases.items()]})
        elif r.method == "POST" and path == "/collections/aliases":
            for action in r.json()["actions"]:
                if "create_alias" in action:
                    self.aliases[action["create_alias"]["alias_name"]] = action["create_alias"][
                        "collection_name"
                    ]
                elif "delete_alias" in action:
                    self.aliases.pop(action["delete_alias"]["alias_name"], None)
            x.ok(True)
        elif r.method == "GET" and re.fullmatch("/collections/[^/]+", path) and last in self.absent:
            x.error(404, f"Not found: Collection `{last}` doesn't exist!")
        elif r.method == "GET" and re.fullmatch("/collections/[^/]+", path):
            x.ok(
                {
                    "status": "green",
                    "optimizer_status": "ok",
                    "points_count": self.points,
                    "segments_count": 1,
                    "indexed_vectors_count": 0,
                    "config": {
                        "params": {
                            "vectors": {"size": self.vector_size, "distance": "Dot"},
                            "shard_number": 1,
                            "replication_factor": 1,
                            **self.params,
                        },
                        **self.config,
                    },
                    "payload_schema": {},
                    "update_queue": self.update_queue,
                }
            )
        elif r.method == "GET" and path.endswith("/memory") and path.split("/")[2] in self.memory:
            cache = self.memory[path.split("/")[2]]
            x.ok({"total": {"disk_bytes": cache, "ram_bytes": 0, "cached_bytes": 0, "expected_cache_bytes": cache}})
        elif r.method == "POST" and re.search(
            "/points(/(search|query|recommend|discover|scroll|count)(/batch|/groups)?)?$|/facet$", path
        ):
            x.ok(
                [{"id": self.serial(), "version": 1, "score": 0.5}]
                if last != "count"
                else {"count": self.serial()}
            )
        elif r.method == "GET" and re.search("/points/[^/]+$", path):
            x.ok({"id": self.serial(), "payload": {}})
        elif path.startswith(("/collections/", "/cluster/")) and r.method in ("PUT", "POST", "PATCH", "DELETE"):
            if "/points" in path or "/index" in path or "/vectors" in path:
                done = "wait=true" in r.query
                x.ok({"operation_id": self.serial(), "status": "completed" if done else "acknowledged"})
            else:
                x.ok(True)
        else:
            x.reply(404, b"", content_type="")

    _leftover: dict[socket.socket, bytes] = {}

    def _recv(self, sock: socket.socket) -> bytes:
        kept = self._leftover.pop(sock, b"")
        return kept if kept else sock.recv(262144)

    def _read_head(self, sock: socket.socket, first: bool) -> bytes | None:
        data = b""
        sock.settimeout(self.idle_close or None)
        while b"\r\n\r\n" not in data:
            try:
                more = self._recv(sock)
            except TimeoutError:
                if first and not data:  # Qdrant answers a silent new connection with an unsolicited 408
                    sock.sendall(
                        b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    )
                return None
            except OSError:
                more = b""
            if not more:
                if data:
                    with self.lock:
                        self.refused_bytes.append(data)
                return None
            data += more
        head, _, rest = data.partition(b"\r\n\r\n")
        if rest:
            self._leftover[sock] = rest
        sock.settimeout(None)
        return head + b"\r\n\r\n"

    def _read_body(self, sock: socket.socket, request: Request) -> None:
        if request.complete:
            return
        buffer = b""

        def need(n: int) -> bytes:
            nonlocal buffer
            parts, have = [buffer], len(buffer)
            while have < n:
                try:
                    data = self._recv(sock)
                except OSError:
                    data = b""
                if not data:
                    buffer = b"".join(parts)
                    request.raw_body += buffer
                    raise Gone
                parts.append(data)
                have += len(data)
            buffer = b"".join(parts)
            out, buffer = buffer[:n], buffer[n:]
            return out

        def line() -> bytes:
            out = b""
            while not out.endswith(b"\r\n"):
                out += need(1)
            return out

        if (request.get("expect") or "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if (request.get("transfer-encoding") or "").lower() == "chunked":
            parts = []
            while True:
                size = line()
                request.raw_body += size
                n = int(size.split(b";")[0], 16)
                if n == 0:
                    while True:
                        trailer = line()
                        request.raw_body += trailer
                        if trailer == b"\r\n":
                            break
                    break
                data = need(n + 2)
                parts.append(data[:n])
                request.raw_body += data
            request.body = b"".join(parts)
        else:
            n = int(request.get("content-length") or 0)
            request.body = request.raw_body = need(n)
        if buffer:
            self._leftover[sock] = buffer
        request.complete = True
