"""What a trouble costs readers: through quivers with a cache, and at the same time, of the same questions, through one
that has neither cache nor Redis. Side by side, because on a busy machine nothing else is worth comparing."""

import asyncio
import math
from typing import TYPE_CHECKING

from clients import Pen, Question

if TYPE_CHECKING:
    from checker import Bench

PLAIN = 2  # which quiver that is: the last of three
MAY_ADD = 0.002  # seconds to the p99 of a quiver without a cache, until Redis is found away
UNNOTICED, AWAY = "not found away", "away"  # kinds of reads: before their quiver has found that Redis is away, and after
FEW = 100  # samples below so many say nothing about one in a hundred: the slowest one is the 99th percentile
ENOUGH = 130, 300  # a trouble is played until there are so many of each kind that it brings about (and with --long), or
PLAYS = 30, 40  # so often
READERS, PAUSE = 16, 0.024  # of each quiver: so many are under way when a trouble begins
HOW = {
    "quivers": 3,
    "workers": 1,
    "budget": "1ms",  # as it is shipped
    "flags_of": {PLAIN: ["--rewrite", "off", "--cache", "off"]},
    "without_redis": {PLAIN},
}


def p99(samples: list[float], sigmas: float) -> float:
    """The 99th percentile, at the edge of what chance does to it: that many standard deviations further on in the
    order of the samples (fewer than none: further back)."""
    n = len(samples)
    at = 0.99 * n + sigmas * math.sqrt(n * 0.99 * 0.01)
    return sorted(samples)[min(max(math.floor(at), 0), n - 1)]


def unrest(plain: list[float]) -> float:
    """How far the same quiver, asked the same, is from itself: its p99 in the best and in the worst quarter of the time. On
    a quiet machine next to nothing."""
    n = len(plain) // 4
    quarters = [p99(plain[i * n : (i + 1) * n], 0) for i in range(4)]
    return max(quarters) - min(quarters)


def too_dear(cached: list[float], plain: list[float], kind: str) -> str:
    """What is wrong with these seconds, beyond doubt; "" if nothing is, or if there are too few to tell (Cost.problems minds
    those). In the order in which they were taken."""
    if min(len(cached), len(plain)) < FEW:
        return ""
    mine, theirs, noise = p99(cached, -2), p99(plain, +2), unrest(plain)
    limit = (1.2 * theirs if kind == AWAY else theirs + MAY_ADD) + noise
    if mine <= limit:
        return ""
    return (
        f"p99 {mine * 1e3:.2f} ms of {len(cached)}, without a cache {theirs * 1e3:.2f} ms of {len(plain)}, "
        f"which differ among themselves by {noise * 1e3:.2f} ms"
    )


class Cost:
    """Samples of the quivers with a cache while a trouble lasts, by whether the quiver has found Redis away by then (its
    log says so); and those of the plain one at such times."""

    def __init__(self, bench: "Bench"):
        self.bench = bench
        self.kind: dict[int, str] = dict.fromkeys(range(PLAIN), UNNOTICED)  # of what each quiver answers now
        self.lines: dict[int, int] = dict.fromkeys(range(PLAIN), 0)
        self.cached: dict[str, list[float]] = {UNNOTICED: [], AWAY: []}
        self.plain: dict[str, list[float]] = {UNNOTICED: [], AWAY: []}

    def took(self, which: int, seconds: float) -> None:
        if not self.bench.troubled:
            return
        if which != PLAIN:
            self.cached[self.kind[which]].append(seconds)
            return
        for kind in set(self.kind.values()):
            self.plain[kind].append(seconds)

    async def follow(self) -> None:
        while not self.bench.over:
            for i in self.kind:
                lines = self.bench.quivers[i].lines
                for line in lines[self.lines[i] :]:
                    if "redis_away" in line or "redis_not_used" in line:
                        self.kind[i] = AWAY
                    elif "redis_ready connection=quiver " in line:
                        self.kind[i] = UNNOTICED
                self.lines[i] = len(lines)
            await asyncio.sleep(0.002)

    def samples(self, kind: str) -> int:
        return min(len(self.cached[kind]), len(self.plain[kind]))

    def enough(self, brings: tuple[str, ...], long: bool) -> bool:
        return all(self.samples(kind) >= ENOUGH[long] for kind in brings)

    def problems(self, brings: tuple[str, ...]) -> list[str]:
        """What was too dear, and what could not be judged though the trouble is said to bring it about."""
        found = [
            (kind, too_dear(self.cached[kind], self.plain[kind], kind)) for kind in (UNNOTICED, AWAY)
        ] + [(kind, f"{self.samples(kind)} samples say nothing") for kind in brings if self.samples(kind) < FEW]
        return [f"Redis {kind}: {bad}" for kind, bad in found if bad]

    def __str__(self) -> str:
        return "\n".join(
            f"p99 with Redis {kind}: {p99(c, 0) * 1e3:.2f} ms of {len(c)} beside {p99(p, 0) * 1e3:.2f} ms of {len(p)}"
            for kind in (UNNOTICED, AWAY)
            if (c := self.cached[kind]) and (p := self.plain[kind])
        )


async def paced_load(bench: "Bench") -> None:
    """Readers that leave the machine time to breathe, and writes through both quivers that have a cache."""
    from checker import every

    await bench.model.ask("set", values={"read_share": 0.0})
    questions = [Question("quiet", "quiet", "search", n) for n in range(40)]
    for which in range(len(bench.quivers)):
        bench.read(questions, n=READERS, pause=PAUSE, which=which)
    bench.cost = Cost(bench)
    bench.task(bench.cost.follow())
    for which, name in ((0, "calm"), (1, "seldom")):
        pen = Pen(bench, which)
        bench.task(every(bench, 0.05, lambda p=pen, c=name: p.points(c)))
