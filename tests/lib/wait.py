"""Waiting for a condition, never for an amount of time."""

import time
from typing import Callable, TypeVar

T = TypeVar("T")


def wait_until(condition: Callable[[], T], timeout: float = 10.0, what: str = "", every: float = 0.01) -> T:
    """Returns the first true value of condition(); an AssertionError that names it after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout} s: {what or 'a condition'} (last: {value!r})")
        time.sleep(every)
