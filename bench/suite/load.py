"""bench_load as a function, and what counts as a failure of it."""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import NamedTuple

from .bodies import OUT, ROOT
from .machine import LOAD_CORE, pinned

LOAD = ROOT / "build" / "release" / "bench" / "bench_load"


class Failed(Exception):
    """A wrong byte, a failed request, something missing. Never a time."""


class Run(NamedTuple):
    requests: int
    seconds: float
    marked: int  # answers that had the mark in their head
    late: int  # open loop: sent more than 1 ms behind their time

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def load(
    to: int | str,
    paths: dict[str, Path],
    connections: int = 32,
    seconds: float = 4,
    requests: int = 0,
    rate: float = 0,
    log: Path | None = None,
    mark: str = "",
    any_answer: bool = False,
    cores: tuple[int, ...] = (LOAD_CORE,),
) -> Run:
    """to: a port, or address and port. paths: what to POST to -> its bodies. Every answer was right, or Failed says what was not."""
    command = [*pinned(*cores), str(LOAD), "-c", str(connections), "-d", str(seconds)]
    command += ["-n", str(requests)] if requests else []
    command += ["-r", str(rate)] if rate else []
    command += ["-l", str(log)] if log else []
    command += ["-m", mark] if mark else []
    command += ["-x"] if any_answer else []
    command += [str(to)] + [f"{path}={file}" for path, file in paths.items()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()}")
    out = json.loads(done.stdout)
    bad = {k: out[k] for k in ("wrong", "not_200", "broken", "unanswered", "unsent") if out[k]}
    if bad or not out["requests"]:
        raise Failed(f"{to}: of {out['requests']} answers {bad or 'none'}: {done.stderr.strip()[:400]}")
    return Run(out["requests"], out["seconds"], out["marked"], out["late"])


class Upstream:
    """What a port of bench_upstream has seen since it was last asked to forget."""

    def __init__(self, port: int):
        self.port = port

    def counts(self, reset: bool = False) -> dict[str, int]:
        url = f"http://127.0.0.1:{self.port}/bench{'/reset' if reset else ''}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)

    def check(self) -> dict[str, int]:
        """Forgets; Failed if anything arrived there that should not have."""
        seen = self.counts(reset=True)
        if seen["wrong"] or seen["unknown"]:
            raise Failed(f"upstream port {self.port}: {seen} (see {OUT}/upstream.log)")
        return seen
