"""Fixtures of the black-box tests. What a test starts through them is stopped, and checked for a clean end,
when it is over."""

import os
import sys
from pathlib import Path
from typing import Callable, Iterator

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from lib import FakeQdrant, Quiver, Redis, quiver_binary  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption(
            "--long", action="store_true", help="full sizes and counts where the default run takes smaller ones"
        )
    except ValueError:
        pass  # another folder's conftest was first


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "big: moves many megabytes or runs for many seconds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(120))


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def sanitized() -> bool:
    """True when the binary was built with a sanitizer: slower, and larger in memory."""
    return (
        b"__asan_init" in Path(quiver_binary()).read_bytes()
        or b"__tsan_init" in Path(quiver_binary()).read_bytes()
    )


@pytest.fixture(scope="session", autouse=True)
def binary() -> str:
    path = quiver_binary()
    if not os.access(path, os.X_OK):
        pytest.skip(f"no binary at {path}: build it, or name one in QUIVER_BIN")
    return path


@pytest.fixture
def fake() -> Iterator[FakeQdrant]:
    with FakeQdrant() as f:
        yield f


@pytest.fixture
def start() -> Iterator[Callable[..., Quiver]]:
    """start(upstream_url, ...) -> a running Quiver."""
    running: list[Quiver] = []

    def run(*args: object, **kwargs: object) -> Quiver:
        ready = bool(kwargs.pop("ready", True))
        q = Quiver(*args, start=False, **kwargs)  # type: ignore[arg-type]
        running.append(q)
        q.start(ready)
        return q

    yield run
    problems = []
    for q in running:
        try:
            q.stop()
        except AssertionError as e:
            problems.append(str(e))
    assert not problems, "\n".join(problems)


@pytest.fixture
def quiver(fake: FakeQdrant, start: Callable[..., Quiver]) -> Quiver:
    """A plain proxy in front of `fake`: nothing cached, nothing rewritten."""
    return start(fake.url, flags=["--cache", "off", "--rewrite", "off"])


@pytest.fixture
def redis() -> Iterator[Redis]:
    with Redis() as r:
        yield r
