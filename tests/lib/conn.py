"""A raw HTTP client: sends bytes as given, reads exactly one response and parses it strictly."""

import itertools
import json
import re
import socket
import struct
from typing import Any, Iterable

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")


class ProtocolError(AssertionError):
    """The peer sent something that is not one clean HTTP/1.1 response."""


class ConnClosed(AssertionError):
    """The peer closed (or reset) before a whole response; `got` is what came."""

    def __init__(self, text: str, got: bytes = b"", reset: bool = False):
        super().__init__(f"{text}: {got[:300]!r}")
        self.got, self.reset = got, reset


class Response:
    def __init__(
        self, version: str, status: int, reason: str, headers: list[tuple[str, str]], raw_head: bytes
    ):
        self.version, self.status, self.reason, self.headers, self.raw_head = (
            version,
            status,
            reason,
            headers,
            raw_head,
        )
        self.body = b""
        self.framing = "none"  # none, length, chunked, close
        self.interim: list["Response"] = []

    def get(self, name: str, default: str | None = None) -> str | None:
        found = self.all(name)
        return found[0] if found else default

    def all(self, name: str) -> list[str]:
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def hit(self) -> bool:
        return "hit" in [
            part.strip().split("=")[0] for part in (self.get("cache-status") or "").split(";")[1:]
        ]

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.headers} {self.body[:200]!r}>"


def parse_head(raw: bytes) -> Response:
    """A whole response head, blank line included."""
    lines = raw[:-4].split(b"\r\n")
    match = re.fullmatch(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([\t -~\x80-\xff]*)", lines[0])
    if not match:
        raise ProtocolError(f"not a status line: {lines[0]!r}")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name) or re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise ProtocolError(f"not a header line: {line!r}")
        headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
    return Response(f"HTTP/1.{match[1].decode()}", int(match[2]), match[3].decode("latin-1"), headers, raw)


def head_of(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] | dict[str, str] = (),
    version: str = "HTTP/1.1",
) -> bytes:
    """A request head with Host where none is given."""
    items = list(headers.items() if isinstance(headers, dict) else headers)
    if version == "HTTP/1.1" and not any(n.lower() == "host" for n, _ in items):
        items.insert(0, ("Host", "quiver.test"))
    return (f"{method} {target} {version}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in items) + "\r\n").encode(
        "latin-1"
    )


_counter = itertools.count(1)


def unlike() -> bytes:
    """A search body that no other one equals: what is to count each request must not be answered together."""
    return b'{"vector":[%d.5],"limit":1}' % next(_counter)


def a_search(target: str, body: bytes | None = None) -> bytes:
    """A whole search request; without a body, unlike any other."""
    body = unlike() if body is None else body
    return (
        head_of("POST", target, {"Content-Type": "application/json", "Content-Length": str(len(body))}) + body
    )


class Conn:
    def __init__(self, port: int | str, host: str = "127.0.0.1", timeout: float = 20.0, rcvbuf: int = 0):
        if isinstance(port, str):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            self.sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.sock.settimeout(timeout)
        self.sock.connect(port if isinstance(port, str) else (host, port))
        if not isinstance(port, str):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.closed = False

    def __enter__(self) -> "Conn":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def local_port(self) -> int:
        return self.sock.getsockname()[1]

    def send(self, data: bytes) -> "Conn":
        self.sock.sendall(data)
        return self

    def send_quietly(self, data: bytes) -> "Conn":
        """For what the peer may refuse half way: an error in sending is no news, the answer is."""
        try:
            self.sock.sendall(data)
        except OSError:
            pass
        return self

    def _more(self) -> bool:
        """False at the end of the stream."""
        try:
            data = self.sock.recv(262144)
        except ConnectionResetError as e:
            raise ConnClosed("reset by the peer", self.buffer, reset=True) from e
        self.buffer += data
        return bool(data)

    def _need(self, n: int) -> bytes:
        if len(self.buffer) < n:
            parts, have = [self.buffer], len(self.buffer)
            while have < n:
                try:
                    data = self.sock.recv(262144)
                except ConnectionResetError as e:
                    raise ConnClosed(f"reset before {n} bytes", b"".join(parts), reset=True) from e
                if not data:
                    raise ConnClosed(f"closed before {n} bytes, after {have}", b"".join(parts))
                parts.append(data)
                have += len(data)
            self.buffer = b"".join(parts)
        out, self.buffer = self.buffer[:n], self.buffer[n:]
        return out

    def _line(self) -> bytes:
        while b"\r\n" not in self.buffer:
            if not self._more():
                raise ConnClosed("closed within a line", self.buffer)
        line, _, self.buffer = self.buffer.partition(b"\r\n")
        if b"\n" in line or b"\r" in line:
            raise ProtocolError(f"a bare CR or LF: {line!r}")
        return line

    def read_head(self) -> Response:
        """The next head; interim ones are kept in .interim of the final one."""
        interim: list[Response] = []
        while True:
            while b"\r\n\r\n" not in self.buffer:
                if not self._more():
                    raise ConnClosed("closed without a whole head", self.buffer)
            raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
            response = parse_head(raw + b"\r\n\r\n")
            if response.status >= 200:
                response.interim = interim
                return response
            interim.append(response)

    def read_interim(self) -> Response:
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                raise ConnClosed("closed without a whole head", self.buffer)
        raw, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return parse_head(raw + b"\r\n\r\n")

    def read(self, method: str = "GET") -> Response:
        """Exactly one response; anything unclean raises."""
        r = self.read_head()
        lengths, codings = r.all("content-length"), r.all("transfer-encoding")
        if len(lengths) > 1 or (lengths and codings) or (lengths and not re.fullmatch("[0-9]+", lengths[0])):
            raise ProtocolError(f"ambiguous framing: {r.headers}")
        if codings and (codings != ["chunked"] or r.version == "HTTP/1.0"):
            raise ProtocolError(f"bad transfer coding: {r.headers}")
        if method == "HEAD" or r.status in (204, 304):
            return r
        if codings:
            r.framing, r.body = "chunked", self._chunked()
        elif lengths:
            r.framing, r.body = "length", self._need(int(lengths[0]))
        else:
            r.framing = "close"
            while self._more():
                pass
            r.body, self.buffer, self.closed = self.buffer, b"", True
        return r

    def _chunked(self) -> bytes:
        parts = []
        while True:
            line = self._line()
            if not re.fullmatch(rb"[0-9a-fA-F]{1,16}", line):
                raise ProtocolError(f"not a chunk size: {line!r}")
            n = int(line, 16)
            if n == 0:
                while self._line():
                    pass
                return b"".join(parts)
            parts.append(self._need(n))
            if self._need(2) != b"\r\n":
                raise ProtocolError("no CRLF behind a chunk")

    def ask(
        self,
        method: str,
        target: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        version: str = "HTTP/1.1",
    ) -> Response:
        items = list((headers or {}).items())
        if body is not None:
            items.append(("Content-Length", str(len(body))))
        self.send(head_of(method, target, items, version) + (body or b""))
        return self.read(method)

    def post(self, target: str, body: Any, headers: dict[str, str] | None = None) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", target, data, {"Content-Type": "application/json", **(headers or {})})

    def is_closed(self, timeout: float = 5.0) -> bool:
        """True once the peer has closed with nothing more sent; False if it stays open; further bytes raise."""
        if self.buffer:
            raise ProtocolError(f"unexpected bytes: {self.buffer[:300]!r}")
        if self.closed:
            return True
        old = self.sock.gettimeout()
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            return False
        except ConnectionResetError:
            data = b""
        finally:
            self.sock.settimeout(old)
        if data:
            raise ProtocolError(f"unexpected bytes: {data[:300]!r}")
        self.closed = True
        return True

    def read_all(self) -> bytes:
        """Everything until the peer closes or resets."""
        try:
            while self._more():
                pass
        except ConnClosed:
            pass
        out, self.buffer, self.closed = self.buffer, b"", True
        return out

    def shutdown(self) -> "Conn":
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.closed = True
        self.sock.close()


def request(
    port: int | str,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    host: str = "127.0.0.1",
    timeout: float = 20.0,
) -> Response:
    """One request on a connection of its own."""
    with Conn(port, host=host, timeout=timeout) as c:
        return c.ask(method, target, body, headers)
