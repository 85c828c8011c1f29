"""A goal that is one figure, and how it is told."""

from collections.abc import Callable
from typing import NamedTuple

Say = Callable[[str], None]  # shows what is being done


class Row(NamedTuple):
    what: str
    value: float
    unit: str
    goal: float | None  # None: only shown
    least: bool = False  # the goal is the least that is good enough, else the most
    detail: str = ""

    @property
    def met(self) -> bool:
        if self.goal is None:
            return True
        return self.value >= self.goal if self.least else self.value <= self.goal

    def __str__(self) -> str:
        goal = "" if self.goal is None else f"goal {'>=' if self.least else '<='} {self.goal:g}"
        verdict = "" if self.goal is None else "met" if self.met else "MISSED"
        return f"  {self.what:<58} {self.value:>9.2f} {self.unit:<12} {goal:<14} {verdict:<7} {self.detail}"
