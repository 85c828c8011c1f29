"""Fixtures: an engine for each file, quivers in front of it; see tunelib.py."""

import os
import sys
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from lib import quiver_binary  # noqa: E402
from tunelib import Engine, Tuned  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption("--long", action="store_true", help="looks for as long as an operator would")
    except ValueError:
        pass  # another folder's conftest was first


@pytest.fixture(scope="session", autouse=True)
def binary() -> str:
    path = quiver_binary()
    if not os.access(path, os.X_OK):
        pytest.skip(f"no binary at {path}: build it, or name one in QUIVER_BIN")
    return path


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    e = Engine(tmp_path_factory.mktemp("engine"))
    yield e
    e.stop()


@pytest.fixture
def start(engine: Engine, tmp_path: Path) -> Iterator[Callable[..., Tuned]]:
    running: list[Tuned] = []

    def run(**parts: Any) -> Tuned:
        state = parts.pop("state", str(tmp_path / "state"))
        q = Tuned(
            parts.pop("upstream", engine.url), quiver={"tune": {"interval": "300ms"}}, env={"QUIVER_STATE_DIR": state}, **parts
        )
        running.append(q)
        return q

    yield run
    for q in running:
        q.stop()
