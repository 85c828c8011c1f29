"""Processor time per request on the three paths: passed on, answered from memory, answered from Redis. A target is a server's
name, or NAME@1 for it at one connection."""

import time
from pathlib import Path as FilePath
from statistics import median
from typing import NamedTuple

from . import bodies
from .load import Failed, load
from .peers import Peers
from .rows import Say


class Path(NamedTuple):
    title: str
    ours: str
    peers: tuple[str, ...]  # compared with the best of these
    others: tuple[str, ...]  # only shown
    cached: bool
    goal: dict[int, float]  # dimensions: quiver's processor time is at most so much of the best peer's


PATHS = {
    "pass": Path(
        "passed on, rewritten, cache off: against nginx's plain pass",
        "quiver", ("nginx",), ("haproxy", "varnish", "direct"), False,
        {384: 0.90, 1024: 0.90, 2048: 0.75, 4096: 0.70},
    ),
    "one": Path(
        "passed on, rewritten, cache off, at one connection: against nginx's plain pass",
        "quiver@1", ("nginx@1",), (), False,
        {384: 1.0, 1024: 1.0, 2048: 1.0, 4096: 1.0},
    ),
    "memory": Path(
        "answered from memory: against the better of nginx's proxy_cache and Varnish",
        "quiver memory", ("nginx cache", "varnish cache"), (), True,
        {384: 1 / 5, 1024: 1 / 9, 2048: 1 / 13, 4096: 1 / 15},
    ),
    "redis": Path(
        "answered from Redis: processor time of quiver against the same",
        "quiver redis", ("nginx cache", "varnish cache"), (), True,
        {384: 1 / 3, 1024: 1 / 6, 2048: 1 / 8, 4096: 1 / 10},
    ),
}  # fmt: skip


class Sample(NamedTuple):
    cpu_us: float  # a request
    rate: float  # requests a second
    hits: float  # part of the answers that the upstream did not give


def targets_of(names: list[str]) -> list[str]:
    """Each server once: peers of two paths are measured once a round."""
    out: dict[str, None] = {}
    for path in (PATHS[n] for n in names):
        out.update(dict.fromkeys((*path.others, *path.peers, path.ours)))
    return list(out)


def server_of(target: str) -> str:
    return target.partition("@")[0]


def _paths(dim: int) -> dict[str, FilePath]:
    return {bodies.path_of(bodies.SIZES[dim]): bodies.file_of(dim)}


def warm(peers: Peers, target: str, dim: int) -> None:
    """Asks for each body until none goes to the upstream: a cache may need a moment, and some never keep it."""
    if " " not in target:
        return  # no cache
    behind = peers.behind(target)
    for _ in range(12 if target.startswith("quiver") else 2):
        behind.check()
        load(peers.servers[server_of(target)].port, _paths(dim), connections=4, requests=bodies.BODIES, seconds=30)
        if behind.check()["requests"] == 0:
            return
        time.sleep(0.2)


def _measure(peers: Peers, target: str, dim: int, connections: int, seconds: float) -> Sample:
    server, behind = peers.servers[server_of(target)], peers.behind(target)
    cached = " " in target
    connections = int(target.partition("@")[2] or connections)
    warm(peers, target, dim)
    behind.check()
    before = server.cpu()
    run = load(server.port, _paths(dim), connections, seconds, mark="detail=redis" if target == "quiver redis" else "")
    used = server.cpu() - before
    seen = behind.check()
    if not cached and not seen["checked"]:
        raise Failed(f"{target}, {dim} dimensions: no request was compared at the upstream")
    hits = max(0.0, 1 - seen["requests"] / run.requests)
    if target == "quiver redis":
        hits = run.marked / run.requests
    if target.startswith("quiver ") and hits < 0.5:
        raise Failed(f"{target}, {dim} dimensions: {hits:.1%} of the answers came from the cache, expected all")
    return Sample(used / run.requests * 1e6, run.rate, hits)


def rounds(peers: Peers, names: list[str], n: int, seconds: float, connections: int, say: Say) -> dict:
    """target -> dimensions -> a Sample for each round. With more than one, another goes before that is forgotten."""
    found: dict[str, dict[int, list[Sample]]] = {}
    for at in range(0 if n > 1 else 1, n + 1):
        for dim in bodies.SIZES:
            for target in targets_of(names):
                say(f"round {at} of {n}, {dim} dimensions, {target}")
                sample = _measure(peers, target, dim, connections, seconds if at else min(seconds, 0.4))
                if at:
                    found.setdefault(target, {}).setdefault(dim, []).append(sample)
    return found


class Cell(NamedTuple):
    ratio: float  # median over the rounds
    low: float
    high: float
    hits: float  # of quiver's answers, the least of all rounds
    goal: float
    peer: str  # the one compared with

    @property
    def met(self) -> bool:
        return self.ratio <= self.goal

    @property
    def unsure(self) -> bool:
        """Rounds on both sides of the goal: another run may tell otherwise."""
        return self.low <= self.goal < self.high


def judge(found: dict, name: str) -> dict[int, Cell]:
    path, cells = PATHS[name], {}
    for dim, goal in path.goal.items():
        peers = [p for p in path.peers if not path.cached or median(s.hits for s in found[p][dim]) > 0.95]
        if not peers:
            continue
        best = min(peers, key=lambda p: median(s.cpu_us for s in found[p][dim]))
        ratios = sorted(
            ours.cpu_us / min(found[p][dim][at].cpu_us for p in peers) for at, ours in enumerate(found[path.ours][dim])
        )
        hits = min(s.hits for s in found[path.ours][dim]) if path.cached else 1.0
        cells[dim] = Cell(median(ratios), ratios[0], ratios[-1], hits, goal, best)
    return cells
