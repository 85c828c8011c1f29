"""Single steps of a request, by bench_micro."""

import subprocess

from . import machine
from .load import Failed
from .peers import RELEASE
from .rows import Row, Say


def measure(quick: bool, say: Say) -> list[Row]:
    say("single steps")
    command = [*machine.pinned(machine.SERVER_CORE), str(RELEASE / "bench" / "bench_micro"), *(["-q"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"bench_micro ended with {done.returncode}: {done.stderr.strip()}")
    rows = []
    for line in done.stdout.splitlines():
        name, nsec, size = line.split()
        rows.append(_row(name, float(nsec), int(size)))
    return rows


def _row(name: str, nsec: float, size: int) -> Row:
    speed = f"{size / nsec:.1f} GB/s over {size / 1000:.0f} KB" if size else ""
    if name == "scan":
        return Row("step scan: a vector's text", size / nsec, "GB/s", 8, least=True, detail=f"{nsec / 1000:.2f} us")
    if name == "key":
        return Row("step key: of a 92 KB search", nsec / 1000, "us", 6, detail=speed)
    return Row(f"step {name}", nsec / 1000, "us", None, detail=speed)
