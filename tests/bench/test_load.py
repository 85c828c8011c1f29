"""The tools that measure tell right from wrong: a bench that cannot fail proves nothing."""

import json
import os
import random
import socket
import struct
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from lib import free_port, wait_until
from suite import paths
from suite.paths import Sample

ROOT = Path(__file__).resolve().parents[2]
TOOLS = Path(os.environ.get("QUIVER_BIN", ROOT / "build" / "dev" / "quiver")).resolve().parent / "bench"
PATH = "/collections/c/points/search"


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    return written(tmp_path / "bodies", 20)


def written(file: Path, limit: int) -> Path:
    rng = random.Random(1)
    lines = [json.dumps({"vector": [rng.gauss(0, 1) for _ in range(64)], "limit": limit}) for _ in range(8)]
    file.write_text("\n".join(lines) + "\n")
    return file


@contextmanager
def upstream(bodies: Path | None, *options: str) -> Iterator[int]:
    port = free_port()
    args = [str(TOOLS / "bench_upstream"), *options, f"{port}={bodies}" if bodies else str(port)]
    process = subprocess.Popen(args, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: counts(port))
        yield port
    finally:
        process.terminate()
        process.wait(10)


def counts(port: int) -> dict:
    """Empty while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/bench", timeout=5) as answer:
            return json.load(answer)
    except OSError:
        return {}


def load(port: int, bodies: Path, *options: str) -> dict:
    command = [str(TOOLS / "bench_load"), *options, str(port), f"{PATH}={bodies}"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


def test_right_answers_are_counted_on_both_sides(bodies: Path) -> None:
    with upstream(bodies, "-e", "1") as port:
        found = load(port, bodies, "-n", "40", "-c", "4")
        assert (found["requests"], found["wrong"], found["not_200"], found["broken"]) == (40, 0, 0, 0)
        seen = counts(port)
        assert (seen["requests"], seen["checked"], seen["wrong"], seen["unknown"], seen["open_most"]) == (40, 40, 0, 0, 4)


def test_the_answer_of_another_search_is_wrong(bodies: Path) -> None:
    with upstream(None) as port:  # the same answer to all
        found = load(port, bodies, "-n", "8")
        assert (found["requests"], found["wrong"]) == (0, 8)


def test_a_changed_body_is_noticed_at_the_upstream(bodies: Path, tmp_path: Path) -> None:
    with upstream(written(tmp_path / "others", 21), "-e", "1") as port:  # one byte differs, lengths are equal
        found = load(port, bodies, "-n", "8")
        assert (found["requests"], found["not_200"]) == (0, 8)
        assert counts(port)["wrong"] == 8


def test_a_body_of_another_length_is_noticed_though_it_is_not_compared(bodies: Path, tmp_path: Path) -> None:
    with upstream(written(tmp_path / "others", 200), "-e", "1000") as port:
        assert load(port, bodies, "-n", "8")["not_200"] == 8


def test_open_loop_latencies_count_from_the_time_a_request_was_due(bodies: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with upstream(bodies, "-s", "20000", "-n", "1") as port:  # does 50 a second; asked for 100
        found = load(port, bodies, "-c", "1", "-r", "100", "-d", "1", "-l", str(log))
    raw = log.read_bytes()
    msec = [n / 1e6 for (n,) in struct.iter_unpack("I", raw)]
    assert found["requests"] == len(msec) == 100
    assert msec[0] < 200
    assert msec[-1] > 800  # it had waited for all those before it


def test_a_ratio_is_the_median_of_the_ratios_within_the_rounds() -> None:
    def samples(*usec: float, hits: float = 1) -> dict:
        return {dim: [Sample(u, 1, hits) for u in usec] for dim in paths.PATHS["pass"].goal}

    # every round is noisy in its own way, but in each quiver costs half
    cell = paths.judge({"nginx": samples(10, 100, 40), "quiver": samples(5, 50, 20)}, "pass")[384]
    assert (cell.ratio, cell.low, cell.high, cell.met) == (0.5, 0.5, 0.5, True)
    # a peer that never hits is no cache
    found = {"nginx cache": samples(1, 1, 1, hits=0), "varnish cache": samples(90, 90, 90), "quiver memory": samples(30, 3, 9)}
    cell = paths.judge(found, "memory")[384]
    assert (cell.peer, cell.ratio, cell.met, cell.unsure) == ("varnish cache", 0.1, True, True)


def test_a_relay_passes_on_what_it_does_not_read(bodies: Path) -> None:
    with upstream(bodies) as behind:
        port = free_port()
        process = subprocess.Popen([str(TOOLS / "bench_relay"), str(port), f"127.0.0.1:{behind}", "2"])
        try:
            wait_until(lambda: counts(port))
            found = load(port, bodies, "-c", "8", "-n", "400")
            assert (found["requests"], found["wrong"], found["broken"]) == (400, 0, 0)
            assert counts(behind)["requests"] == 400
        finally:
            process.terminate()
            process.wait(10)


def test_a_relay_holds_what_its_receiver_does_not_take_yet() -> None:
    """Each side is slow for a while: nothing is lost, and an end on one side is one on the other."""
    sent = random.Random(2).randbytes(3_000_000)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = free_port()
        process = subprocess.Popen([str(TOOLS / "bench_relay"), str(port), f"127.0.0.1:{server.getsockname()[1]}"])
        try:
            wait_until(lambda: is_open(port))
            server.accept()[0].close()  # the one that asked
            client = socket.create_connection(("127.0.0.1", port), 20)
            behind, _ = server.accept()
            behind.settimeout(20)
            for a, b in ((client, behind), (behind, client)):
                writer = threading.Thread(target=a.sendall, args=(sent,))
                writer.start()
                assert received(b, len(sent)) == sent
                writer.join(20)
            client.close()
            assert behind.recv(1) == b""
            behind.close()
        finally:
            process.terminate()
            process.wait(10)


def is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def received(side: socket.socket, n: int) -> bytes:
    out = b""
    while len(out) < n:
        piece = side.recv(65536)
        assert piece, f"it ended after {len(out)} of {n} bytes"
        out += piece
    return out
