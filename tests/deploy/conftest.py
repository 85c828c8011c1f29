"""Fixtures of the container set-up's tests. Docker itself is not needed and not used."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from lib import quiver_binary  # noqa: E402


def pytest_addoption(parser: pytest.Parser) -> None:
    try:
        parser.addoption("--long", action="store_true", help="also build the image in a fresh Debian, as root")
    except ValueError:
        pass  # another folder's conftest was first


@pytest.fixture(scope="session")
def binary() -> str:
    path = quiver_binary()
    if not os.access(path, os.X_OK):
        pytest.skip(f"no binary at {path}: build it, or name one in QUIVER_BIN")
    return path
