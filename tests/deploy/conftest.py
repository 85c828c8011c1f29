"""Fixtures of the container set-up's tests. Docker itself is not needed and not used."""

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from lib import quiver_binary  # noqa: E402


@pytest.fixture(scope="session")
def binary() -> str:
    path = quiver_binary()
    if not os.access(path, os.X_OK):
        pytest.skip(f"no binary at {path}: build it, or name one in QUIVER_BIN")
    return path
