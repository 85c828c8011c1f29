"""A real engine and the ways to it: straight, through quiver uncached, through quiver with memory and Redis.

QDRANT_URL names a server to use instead of the embedded engine, QDRANT_API_KEY its key: the tests work in
collections quiver_test_<random>_... and remove only those.
"""

import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Iterator

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from lib import ROOT, Quiver, Redis, free_port, quiver_binary  # noqa: E402
from scenario import STEPS  # noqa: E402
from side import Side  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def binary() -> str:
    path = quiver_binary()
    if not os.access(path, os.X_OK):
        pytest.skip(f"no binary at {path}: build it, or name one in QUIVER_BIN")
    return path


@pytest.fixture(scope="session")
def foreign() -> bool:
    """The server is not ours: nothing of it but the tests' own collections may change."""
    return bool(os.environ.get("QDRANT_URL"))


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if os.environ.get("QDRANT_URL"):
        yield os.environ["QDRANT_URL"].rstrip("/")
        return
    port, folder = free_port(), tmp_path_factory.mktemp("engine")
    command = [sys.executable, str(ROOT / "docker/edge/serve.py"), "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--data", str(folder / "data"), "--log", str(folder / "log")],
        stdout=subprocess.PIPE,
        text=True,
    )
    line = process.stdout.readline() if process.stdout else ""
    assert line.startswith("edge ready"), f"the engine did not start: {line!r}"
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    assert process.wait(30) == 0


@pytest.fixture(scope="session")
def redis() -> Iterator[Redis]:
    with Redis() as r:
        yield r


@pytest.fixture(scope="session")
def uncached(engine: str) -> Iterator[Quiver]:
    q = Quiver(engine, flags=["--cache", "off", "--rewrite", "off"])
    yield q
    q.stop()


@pytest.fixture(scope="session")
def caching(engine: str, redis: Redis) -> Iterator[Quiver]:
    # budget: a busy machine takes more than 1 ms now and then; what is tested here is what comes back.
    # quarantine: what the embedded engine answers with 501 (snapshots, shards) proves nothing and holds for that long.
    conf = {"redis": {"url": redis.url, "budget": "200ms"}, "coherence": {"quarantine": "1s"}}
    q = Quiver(engine, quiver=conf)
    yield q
    q.stop()


@pytest.fixture(scope="session")
def run_name() -> str:
    return f"quiver_test_{secrets.token_hex(4)}"


def url_of(q: Quiver) -> str:
    return f"http://127.0.0.1:{q.port}"


@pytest.fixture(scope="session")
def ways(engine: str, uncached: Quiver, caching: Quiver) -> dict[str, str]:
    """Name -> address; only the last has a cache."""
    return {"direct": engine, "off": url_of(uncached), "cache": url_of(caching)}


@pytest.fixture(scope="session")
def sides(ways: dict[str, str], run_name: str, foreign: bool) -> Iterator[dict[str, Side]]:
    """The whole scenario, run once on each side."""
    key = os.environ.get("QDRANT_API_KEY")
    done = {}
    for name, url in ways.items():
        # names of one length: an answer's length may not depend on the side
        side = Side(name, url, f"{run_name}_{name[:3]}", key, cached=name == "cache")
        try:
            for step in STEPS:
                if not (foreign and step.whole_server):
                    side.run(step)
        finally:
            side.clean()
        done[name] = side
    yield done
    for side in done.values():
        side.close()
