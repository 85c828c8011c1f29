"""Many clients: what idle connections cost, memory under load and after it, 5,000 clients in front of a small server."""

import resource
import socket
import threading
import time

from . import bodies
from .load import Failed, Upstream, load
from .peers import Server, quiver, upstream
from .rows import Row, Say

SERVICE_USEC, SERVICE_SLOTS = 2000, 8  # a server that does at most 4,000 searches a second
CONCURRENCIES = (8, 32, 128)
POOL = 32  # connections of the model
MODEL = bodies.SIZES[384].upper()
ROOM = {
    "QUIVER_LIMITS_CONNECTIONS": "20000",
    f"MODEL_CONNECTIONS_{MODEL}": str(POOL),
    f"MODEL_QUEUE_{MODEL}": "10000",  # all of them may wait
    f"MODEL_COALESCE_{MODEL}": "false",  # thousands ask for few bodies here: each is to be a request of its own
}
OFF = ("--redis", "off", "--cache", "off")


def measure(first: int, quick: bool, say: Say) -> list[Row]:
    sent, rewritten = bodies.make()
    rows: list[Row] = []
    servers: list[Server] = []
    try:
        servers.append(upstream({first: sent, first + 1: rewritten}))
        say("idle connections")
        servers.append(proxy := quiver("quiver-idle", first + 2, first + 1, *OFF, env=ROOM))
        rows.append(_idle(proxy, 2000 if quick else 10000))
        say("memory")
        servers.append(proxy := quiver("quiver-peak", first + 3, first + 1, *OFF, env=ROOM))
        rows += _memory(proxy, 1 if quick else 5, 10 if quick else 30)
        options = ("-s", str(SERVICE_USEC), "-n", str(SERVICE_SLOTS))
        say("5,000 clients")
        servers.append(upstream({first + 4: sent, first + 5: rewritten}, *options, name="upstream-slow"))
        servers.append(proxy := quiver("quiver-crowd", first + 6, first + 5, *OFF, env=ROOM))
        rows += _clients(proxy, first + 4, first + 5, 1 if quick else 4)
        for port in (first, first + 1, first + 4, first + 5):
            Upstream(port).check()
    finally:
        for server in reversed(servers):
            server.stop()
    return rows


def _idle(proxy: Server, n: int) -> Row:
    """Each has been used for one search, then stays."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    n = min(n, hard - 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    body = bodies.file_of(384).read_bytes().partition(b"\n")[0]
    head = f"POST {bodies.path_of(bodies.SIZES[384])} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    conns: list[socket.socket] = []
    try:
        for _ in range(200):  # what a first few cost once belongs to none of them
            conns.append(_used(proxy.port, request))
        before = proxy.memory()
        for _ in range(n):
            conns.append(_used(proxy.port, request))
        each = (proxy.memory() - before) / n
    finally:
        for conn in conns:
            conn.close()
    return Row(f"memory of an idle connection, {n} of them", each / 1024, "KB", 8)


def _used(port: int, request: bytes) -> socket.socket:
    conn = socket.create_connection(("127.0.0.1", port), 10)
    conn.sendall(request)
    if not conn.recv(65536).startswith(b"HTTP/1.1 200"):
        raise Failed(f"port {port}: a search was not answered with 200")
    return conn


def _memory(proxy: Server, seconds: float, patience: float, connections: int = 256) -> list[Row]:
    """Large bodies in flight, then none."""
    paths = {bodies.path_of(bodies.SIZES[4096]): bodies.file_of(4096)}
    load(proxy.port, paths, connections=1, seconds=0.3)
    start, peak, done = proxy.memory(), 0, threading.Event()
    files = proxy.memory(also_files=True) - start

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.02):
            peak = max(peak, proxy.memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        load(proxy.port, paths, connections=connections, seconds=seconds)
    finally:
        done.set()
        watcher.join()
    begin = time.monotonic()
    while (after := proxy.memory()) > start + 0.1 * (start + files) and time.monotonic() < begin + patience:
        time.sleep(0.25)
    in_flight = connections * bodies.file_of(4096).stat().st_size / bodies.BODIES
    waited = time.monotonic() - begin
    detail = (
        f"{start / 1e6:.1f} MB and {files / 1e6:.1f} MB of code, peak {peak / 1e6:.1f} MB, then {after / 1e6:.1f} MB {waited:.0f} s after the load"
    )
    return [
        Row(
            f"memory at peak, {connections} x 92 KB, above the start",
            (peak - start) / in_flight,
            "of bodies",
            1.5,
            detail=detail,
        ),
        Row("memory after the load", (after + files) / (start + files), "of the start", 1.1),
    ]


def _clients(proxy: Server, plain: int, edited: int, seconds: float) -> list[Row]:
    paths = {bodies.path_of(bodies.SIZES[384]): bodies.file_of(384)}
    best, at = max((_steady(plain, plain, paths, c, seconds), c) for c in CONCURRENCIES)
    load(proxy.port, paths, 64, min(seconds, 1))
    Upstream(edited).check()
    rate = _steady(proxy.port, edited, paths, 5000, seconds)
    most = Upstream(edited).check()["open_most"]
    detail = (
        f"{rate:.0f} against {best:.0f} req/s at {at} connections; the server: {SERVICE_SLOTS} at once, {SERVICE_USEC} us each"
    )
    return [
        # 2 %: what two runs of the same differ by
        Row("5,000 clients: throughput", rate / best, "of direct", 0.98, least=True, detail=detail),
        Row("5,000 clients: connections to the server", most, f"of {POOL}", POOL),
    ]


def _steady(port: int, behind: int, paths: dict, connections: int, seconds: float) -> float:
    """Requests a second as the upstream counts them, once all connections are at work: thousands take a while to begin."""
    failed: list[Failed] = []

    def send() -> None:
        try:
            load(port, paths, connections, seconds + 1.5)
        except Failed as e:
            failed.append(e)

    sender = threading.Thread(target=send)
    sender.start()
    time.sleep(1.2)
    begin, before = time.monotonic(), Upstream(behind).counts()["requests"]
    time.sleep(seconds)
    rate = (Upstream(behind).counts()["requests"] - before) / (time.monotonic() - begin)
    sender.join()
    if failed:
        raise failed[0]
    return rate
