"""The machine: what it is, who else uses it, where our processes run."""

import os
import platform
import time
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE = CORES[0]  # the server that is measured
LOAD_CORE = CORES[1 % len(CORES)]  # the load, the upstream, Redis
TICK = os.sysconf("SC_CLK_TCK")


def pinned(*cores: int) -> list[str]:
    """What to put before a command."""
    return ["taskset", "-c", ",".join(map(str, cores))]


def describe() -> dict:
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "unknown")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) // 1024
    return {"cpu": model, "cores": len(CORES), "kernel": platform.release(), "memory_mb": memory}


def _stat_fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def cpu_of(pids: list[int]) -> float:
    """User and system seconds that these processes have used, all their threads included: what /proc/PID/stat counts in
    hundredths, to the nanosecond, by the clock that Linux has for each process (clock_getcpuclockid)."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def children_of(pid: int) -> list[int]:
    return [int(c) for t in Path(f"/proc/{pid}/task").iterdir() for c in (t / "children").read_text().split()]


def memory_of(pid: int, also_files: bool = False) -> int:
    """Bytes resident that are its own; or with those of files that it has mapped, its code and libraries. These come and go as
    the kernel pleases: it puts 2 MB of a library in place for a page that was needed."""
    wanted = ("RssAnon:", "RssShmem:", "RssFile:")[: 3 if also_files else 2]
    lines = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith(wanted))
    return sum(int(kb) * 1024 for _, kb, *_ in lines)


class Neighbours:
    """Over a stretch of time: how much of the cores was stolen by the host or used by others than this run."""

    def __init__(self) -> None:
        self.begin = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float, float]:
        fields = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        user, nice, system, idle, wait, irq, softirq, steal = (n / TICK for n in fields)
        busy = user + nice + system + irq + softirq
        return busy, steal, busy + idle + wait + steal, our_cpu()

    def shares(self) -> dict[str, float]:
        """Of all cores' time."""
        busy, steal, total, ours = (now - then for now, then in zip(self._now(), self.begin))
        return {"stolen": steal / total, "others": max(0.0, (busy - ours) / total)} if total else {"stolen": 0, "others": 0}


def our_cpu() -> float:
    """Seconds used by this process, all that it has started and all that those have."""
    used, todo = 0.0, [os.getpid()]
    while todo:
        pid = todo.pop()
        try:
            used += sum(int(n) for n in _stat_fields(pid)[11:15]) / TICK  # with children that have ended
            todo += children_of(pid)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return used
