"""Fixtures of the control API's tests: quivers in front of a scripted Qdrant or of a real engine."""

import os
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from apilib import MODELS, Api, found  # noqa: E402
from lib import Engine, FakeQdrant, quiver_binary  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def binary() -> str:
    path = quiver_binary()
    if not os.access(path, os.X_OK):
        pytest.skip(f"no binary at {path}: build it, or name one in QUIVER_BIN")
    return path


@pytest.fixture
def fake() -> Iterator[FakeQdrant]:
    with FakeQdrant() as f:
        f.handler = found
        yield f


@pytest.fixture
def start(fake: FakeQdrant, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    running: list[Api] = []

    def run(upstream: str | None = None, ready: bool = True, **parts: Any) -> Api:
        quiver = {"state_dir": str(tmp_path / "state"), **parts.pop("quiver", {})}
        q = Api(upstream or fake.url, quiver=quiver, start=False, **{"optimizations": MODELS, **parts})
        running.append(q)
        q.start(ready)
        return q

    yield run
    for q in running:
        q.stop()


@pytest.fixture
def api(start: Callable[..., Api]) -> Api:
    return start()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    e = Engine(tmp_path_factory.mktemp("engine"))
    yield e
    e.stop()
