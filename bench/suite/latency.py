"""What a proxy adds to the latency at one connection, by open loop: requests have their times, and a latency counts from there."""

from pathlib import Path
from statistics import median

import numpy as np
from hdrh.histogram import HdrHistogram

from . import bodies
from .load import Upstream, load
from .peers import Server, haproxy, quiver, upstream
from .rows import Row, Say

SIZES = (384, 4096)
TIMES = 3  # more rounds than the others, and shorter ones
LONGEST = 60_000_000_000  # nanoseconds


def histogram(log: Path) -> HdrHistogram:
    """Of a log that bench_load wrote."""
    out = HdrHistogram(1, LONGEST, 3)
    for value, count in zip(*np.unique(np.fromfile(log, dtype=np.uint32), return_counts=True)):
        out.record_value(max(int(value), 1), int(count))
    return out


def usec(h: HdrHistogram, percentile: float) -> float:
    return h.get_value_at_percentile(percentile) / 1000


class _Stage:
    """direct, HAProxy, quiver, and quiver with busy_poll."""

    def __init__(self, first: int) -> None:
        sent, rewritten = bodies.make()
        off = ("--redis", "off", "--cache", "off")
        self.servers: dict[str, Server] = {}
        try:
            self.servers["direct"] = upstream({first: sent, first + 1: rewritten})
            self.servers["haproxy"] = haproxy(first + 2, first)
            self.servers["quiver"] = quiver("quiver-latency", first + 3, first + 1, *off)
            env = {"QUIVER_BUSY_POLL": "50us"}
            self.servers["quiver busy_poll"] = quiver("quiver-busy", first + 4, first + 1, *off, env=env)
        except BaseException:
            self.stop()
            raise
        self.upstreams = Upstream(first), Upstream(first + 1)

    def run(self, name: str, dim: int, seconds: float, rate: float) -> HdrHistogram:
        log = bodies.OUT / "latency.log"
        paths = {bodies.path_of(bodies.SIZES[dim]): bodies.file_of(dim)}
        load(self.servers[name].port, paths, connections=1, seconds=seconds, rate=rate, log=log)
        return histogram(log)

    def stop(self) -> None:
        for server in reversed(self.servers.values()):
            server.stop()


def measure(first: int, rounds: int, seconds: float, say: Say) -> tuple[list[Row], dict]:
    stage = _Stage(first)
    rows, kept = [], {}
    try:
        for dim in SIZES:
            # A third of what HAProxy can do, so that hardly a request waits for the one before.
            rate = 0.33e6 / usec(stage.run("haproxy", dim, min(seconds, 0.5), 0), 50)
            runs: dict[str, list[HdrHistogram]] = {name: [] for name in stage.servers}
            for at in range(TIMES * rounds):
                for name in stage.servers:
                    say(f"latency, {dim} dimensions, round {at + 1} of {TIMES * rounds}, {name}")
                    runs[name].append(stage.run(name, dim, seconds / 2, rate))
            rows += _rows(dim, rate, runs)
            kept[dim] = {"rate": rate, "runs": {n: [_kept(h) for h in hs] for n, hs in runs.items()}}
        for seen in stage.upstreams:
            seen.check()
    finally:
        stage.stop()
    return rows, kept


def _kept(h: HdrHistogram) -> dict:
    return {**{f"p{p:g}": usec(h, p) for p in (50, 90, 99, 99.9, 100)}, "n": h.get_total_count(), "hdr": h.encode().decode()}


def _rows(dim: int, rate: float, runs: dict[str, list[HdrHistogram]]) -> list[Row]:
    out = []
    for p in (50, 99):
        at = {name: [usec(h, p) for h in hs] for name, hs in runs.items()}
        added = {n: [v - d for v, d in zip(values, at["direct"])] for n, values in at.items() if n != "direct"}
        for name, goal in (("quiver", 1.0), ("quiver busy_poll", 0.6)):
            medians = [median(v) for v in (added[name], at["direct"], added["haproxy"])]
            ratio = medians[0] / max(medians[2], 0.1)  # of medians: a p99 of one round is anything
            detail = "{:.0f} us over direct's {:.0f}, HAProxy {:.0f}; {:.0f} req/s".format(*medians, rate)
            out.append(Row(f"added latency, {dim}-D, p{p}, {name}", ratio, "of HAProxy's", goal, detail=detail))
    return out
