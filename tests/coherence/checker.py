"""The checker of coherence: readers and writers through two quivers and one Redis in front of a model of Qdrant that
knows which states each answer may show.

usage: checker.py [--reads N] [--seconds S] [--seed N] [--schedule NAME] [--quarantine D] [--until-stale]
Exit 0 when nothing was stale, no client saw an error and the quiet collection was answered from the cache; else 1.
"""

import argparse
import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Awaitable, Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clients import BODIES, Pen, Question, Reader  # noqa: E402
from history import History, Stale  # noqa: E402
from lib import ROOT, Quiver, Redis, free_port  # noqa: E402
from relay import Relay  # noqa: E402

try:
    import uvloop
except ImportError:
    uvloop = None

now = time.monotonic_ns
SEC = 10**9
LOST = ("lost_before", "lost_after", "lost_never")
QUESTIONS = 24  # per collection and operation mix


def run(main: Awaitable, timeout: float = 110.0) -> Any:
    """In a loop of its own; ends with a TimeoutError instead of hanging."""

    async def limited() -> Any:
        return await asyncio.wait_for(main, timeout)

    return (uvloop or asyncio).run(limited())


class Model:
    """The process of model.py and its control port."""

    async def start(self, seed: int) -> "Model":
        self.port, control = free_port(), free_port()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(Path(__file__).with_name("model.py")),
            *(str(n) for n in (self.port, control, seed)),
            stdout=asyncio.subprocess.PIPE,
        )
        assert await self.process.stdout.readline() == b"ready\n"  # type: ignore[union-attr]
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", control, limit=1 << 28)
        self.ids, self.asked = itertools.count(), {}  # type: ignore[var-annotated]
        self.seen: dict[tuple[str, str], asyncio.Event] = {}
        self.listener = asyncio.ensure_future(self.listen())
        return self

    async def listen(self) -> None:
        async for line in self.reader:
            message = json.loads(line)
            if "event" in message:
                self.event(message["event"], message["tag"]).set()
            else:
                future = self.asked.pop(message["id"])
                if not future.done():  # who asked may have been cancelled
                    future.set_result(message)

    def event(self, what: str, tag: str) -> asyncio.Event:
        """Of a watched write: received, answered."""
        return self.seen.setdefault((what, tag), asyncio.Event())

    async def ask(self, do: str, **how: Any) -> dict:
        n = next(self.ids)
        self.asked[n] = asyncio.get_running_loop().create_future()
        self.writer.write(json.dumps({"id": n, "do": do, **how}).encode() + b"\n")
        return await self.asked[n]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self.listener.cancel()
        self.writer.close()
        await self.process.wait()


@dataclass
class Write:
    tag: str
    what: str
    fate: str
    status: int
    which: int
    begun: int
    ended: int


@dataclass(repr=False)
class Report:
    reads: int = 0
    hits: int = 0
    joined: int = 0
    missing: int = 0
    writes: int = 0
    n_stale: int = 0
    seconds: float = 0.0
    stale: list[Stale] = field(default_factory=list)  # the first few
    errors: list[str] = field(default_factory=list)
    by_group: Counter = field(default_factory=Counter)
    hits_by_group: Counter = field(default_factory=Counter)
    slowest_write: float = 0.0  # seconds that quiver added
    slowest: str = ""
    foreign: list[str] = field(default_factory=list)  # alarms that somebody writes past quiver

    def rate(self, group: str) -> float:
        return self.hits_by_group[group] / max(self.by_group[group], 1)

    def __str__(self) -> str:
        groups = ", ".join(f"{g} {self.rate(g):.0%} of {n}" for g, n in sorted(self.by_group.items()))
        lines = [
            f"{self.reads} reads in {self.seconds:.1f} s ({self.reads / max(self.seconds, 1e-9):.0f}/s), {self.hits} hits, "
            f"{self.joined} joined, {self.missing} found nothing; {self.writes} writes, the slowest {self.slowest_write:.3f} s in "
            f"quiver {self.slowest}",
            f"hits: {groups}",
            f"stale reads: {self.n_stale}",
            *(f"  {s}" for s in self.stale),
            f"errors: {len(self.errors)}",
            *(f"  {e}" for e in self.errors[:5]),
        ]
        return "\n".join(lines)

    __repr__ = __str__


class Bench:
    """Model, Redis, quivers, relays, load; and what has been seen. Everything in one loop."""

    def __init__(
        self,
        seed: int = 1,
        quivers: int = 2,
        relays: bool = False,
        redis: bool = True,
        quarantine: str = "2s",
        budget: str = "50ms",
        forget: str = "30s",
        workers: int = 2,
        settings: dict | None = None,
        flags: list[str] | None = None,
        flags_of: dict[int, list[str]] | None = None,
        without_redis: set[int] | None = None,  # quivers that have none: no writes go through them
        shipped: bool = False,
        now_is: str = "left",  # what the alias "now" stands for at first
        **parts: dict,
    ):
        self.random = random.Random(seed)
        self.seed, self.n_quivers, self.with_relays, self.with_redis, self.workers = (
            seed,
            quivers,
            relays,
            redis,
            workers,
        )
        self.settings = {
            "coherence": {"quarantine": quarantine, "forget": forget},
            "redis": {"budget": budget},
            **(settings or {}),
        }
        self.flags = flags if flags is not None else ["--rewrite", "off"]
        self.now_is = now_is
        self.flags_of, self.shipped, self.parts = flags_of or {}, shipped, parts
        self.quivers: list[Quiver] = []
        self.relays: list[Relay] = []
        self.redis: Redis | None = None
        self.history, self.report = History(), Report()
        self.pending: list[tuple] = []
        self.written: list[Write] = []
        self.n_writes = 0
        self.over = False
        self.forgiven: set[int] = set()  # quivers that may fail their clients now
        self.back = 0.0  # seconds until hits came back after a schedule
        self.readers: list[Reader] = []
        self.tasks: list[asyncio.Task] = []
        self.without_redis = without_redis or set()
        self.troubled = False  # a schedule is at it
        self.cost: Any = None  # cost.Cost, where somebody asks what reads take

    # set up
    async def start(self) -> "Bench":
        self.model = await Model().start(self.seed)
        # before any quiver looks: what changes past quiver is found by a poll only
        await self.model.ask("create", collections=COLLECTIONS, aliases=[alias("create", "now", self.now_is)])
        if self.with_redis:
            self.redis = await asyncio.to_thread(Redis)
        for i in range(self.n_quivers):
            url = "off"
            if self.redis and i not in self.without_redis:
                url = self.redis.url
                if self.with_relays:
                    self.relays.append(await Relay(free_port(), self.redis.port).start())
                    url = self.relays[i].url
            q = Quiver(
                self.model.url, quiver=self.settings, flags=self.flags_of.get(i, self.flags) + ["--redis", url], workers=self.workers,
                start=False, **self.parts,
            )  # fmt: skip
            for path in sorted((ROOT / "conf").glob("*.yaml")) if self.shipped else []:
                if path.name != "quiver.yaml":
                    q.write(path.name, path.read_text())
            self.quivers.append(q)
        await asyncio.gather(*(asyncio.to_thread(q.start) for q in self.quivers))
        self.begun = now()
        self.judge = asyncio.ensure_future(self.judging())
        return self

    async def stop(self) -> Report:
        """Ends the load, judges the rest, stops everything."""
        self.over = True
        for t in self.tasks:
            t.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        end = now() + 5 * SEC
        while any(r.begun for r in self.readers) and now() < end:
            await asyncio.sleep(0.01)
        for r in self.readers:
            if r.begun:
                self.report.errors.append(
                    f"no answer for {(now() - r.begun) / SEC:.1f} s to a read of {r.question.names}"
                )
        await self.judge  # it ends by itself: cancelled, it would lose a part of the log
        await self.look_up()
        for r in self.readers:
            if r.transport:
                r.transport.abort()
        for what in (self.model, *self.relays):
            await what.stop()
        problems = await asyncio.gather(
            *(asyncio.to_thread(q.stop) for q in self.quivers), return_exceptions=True
        )
        self.report.errors += [f"quiver's end: {p}" for p in problems if p]
        self.report.foreign = [line for q in self.quivers for line in q.lines if "external_writes" in line]
        if self.redis:
            await asyncio.to_thread(self.redis.close)
        return self.report

    async def __aenter__(self) -> "Bench":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        if not self.over:
            await self.stop()

    # what clients report
    def failed(self, which: int, text: str, always: bool = False) -> None:
        if always or which not in self.forgiven and not self.over:
            if len(self.report.errors) < 1000:
                self.report.errors.append(f"{(now() - self.begun) / SEC:.3f} s, quiver {which}: {text}")

    def took(
        self, which: int, q: Question, seen: bytes, begun: int, ended: int, hit: bool, joined: bool
    ) -> None:
        r = self.report
        r.reads += 1
        r.by_group[q.group] += 1
        if hit:
            r.hits += 1
            r.hits_by_group[q.group] += 1
        r.joined += joined
        if self.cost:
            self.cost.took(which, (ended - begun) / SEC)
        self.pending.append((q, seen, begun, ended, hit, which))

    def wrote(self, which: int, tag: str, what: str, fate: str, status: int, begun: int, ended: int) -> None:
        self.report.writes += 1
        good = {202: (202,), 0: (502, 503, 504)}.get(expected(fate), (expected(fate),))
        name = what.split("/")[2].partition("?")[0]
        gone = status == 404 and name in GONE_AT_TIMES or status == 409 and what == "PUT /collections/reborn"
        if not (status in good or gone and fate in ("", "late", "202")):
            self.failed(which, f"{status} to a write, fate '{fate}': {what}")
        if which not in self.forgiven:
            self.written.append(Write(tag, what, fate, status, which, begun, ended))

    # judging
    async def judging(self) -> None:
        while not self.over:
            await asyncio.sleep(0.1)
            await self.look_up()

    async def look_up(self) -> None:
        answer = await self.model.ask("log")
        self.report.seconds = (now() - self.begun) / SEC
        self.history.learn(answer["log"], answer["now"])
        rest = []
        for row in self.pending:
            q, seen, begun, ended, hit, which = row
            if ended > self.history.until:
                rest.append(row)
                continue
            if seen:
                bad = self.history.judge(seen, begun, ended)
            else:
                self.report.missing += 1
                bad = self.history.judge_missing(q.names, begun, ended)
            if bad:
                self.report.n_stale += 1
                if len(self.report.stale) < 8:
                    bad.why += f"; {'a hit' if hit else 'no hit'} of {q.expect.decode()}through quiver {which} at {(begun - self.begun) / SEC:.3f} s"
                    self.report.stale.append(bad)
        self.pending = rest
        late = []
        for w in self.written:
            if w.ended > self.history.until:
                late.append(w)
                continue
            received, _, answered = self.history.writes.get(w.tag, (0, 0, 0))
            if received:
                extra = received - w.begun + (w.ended - answered if answered and answered < w.ended else 0)
                if extra / SEC > self.report.slowest_write:
                    self.report.slowest_write = extra / SEC
                    self.report.slowest = (
                        f"(received {(received - w.begun) / SEC:.3f} s after the question, {w.what} through quiver {w.which} "
                        f"at {(w.begun - self.begun) / SEC:.3f} s)"
                    )
        self.written = late

    # load
    def read(self, questions: list[Question], weights: list[float] | None = None, n: int = 8, pause: float = 0,
             which: int = -1) -> None:  # fmt: skip
        """n more readers, over all quivers in turn or through one."""
        cumulative = list(itertools.accumulate(weights or [1.0] * len(questions)))
        for i in range(n):
            reader = Reader(
                self, which if which >= 0 else i % len(self.quivers), questions, cumulative, pause
            )
            self.readers.append(reader)
            reader.open()

    def task(self, what: Awaitable) -> asyncio.Task:
        async def guarded() -> None:
            try:
                await what
            except asyncio.CancelledError:
                raise
            except Exception as e:  # a broken writer must not pass for a quiet one
                self.report.errors.append(f"the load itself: {e!r}")

        task = asyncio.ensure_future(guarded())
        self.tasks.append(task)
        return task

    async def until(self, condition: Callable[[], Any], timeout: float, what: str) -> float:
        """Waits; returns the seconds it took; says what did not happen in time."""
        begin = now()
        while not condition():
            if now() - begin > timeout * SEC:
                said = "\n".join(line for q in self.quivers for line in q.lines[-4:])
                raise AssertionError(f"not within {timeout} s: {what}\n{self.report}\n{said}")
            await asyncio.sleep(0.005)
        return (now() - begin) / SEC

    async def reads_go_on(self, n: int) -> None:
        target = self.report.reads + n
        await self.until(lambda: self.report.reads >= target, 60, f"{n} more reads")

    async def hits_come(
        self, n: int = 50, timeout: float = 15.0, group: str = "quiet", why: str = ""
    ) -> float:
        """At least n of the next 2n answers of that group are hits; the seconds that took."""
        r = self.report
        recent: list[tuple[int, int]] = [(r.by_group[group], r.hits_by_group[group])]

        def enough() -> bool:
            seen, hits = r.by_group[group], r.hits_by_group[group]
            recent.append((seen, hits))
            while len(recent) > 1 and seen - recent[1][0] >= 2 * n:
                recent.pop(0)
            return seen - recent[0][0] >= n and hits - recent[0][1] >= n

        return await self.until(enough, timeout, why or f"{n} hits on '{group}'")

    async def redis_says(self, *words: str) -> object:
        assert self.redis
        return await asyncio.to_thread(self.redis.command, *words)

    async def hit_rate_of(self, seconds: float, group: str = "quiet") -> float:
        """Over the next seconds."""
        hits, all_ = self.report.hits_by_group[group], self.report.by_group[group]
        await asyncio.sleep(seconds)
        return (self.report.hits_by_group[group] - hits) / max(self.report.by_group[group] - all_, 1)

    async def kill(self, i: int) -> None:
        """kill -9; its clients' troubles do not count until revive()."""
        self.forgiven.add(i)
        await asyncio.to_thread(self.quivers[i].kill)

    async def revive(self, i: int) -> None:
        await asyncio.to_thread(self.quivers[i].start)
        links = [r for r in self.readers if r.which == i]
        await self.until(lambda: all(r.transport for r in links), 10, "readers are connected again")
        self.forgiven.discard(i)


def expected(fate: str) -> int:
    from model import FATES

    return FATES[fate][0]


# The mixed load: what the issue calls "all write forms, wait true and false, aliases switched, collections recreated".

COLLECTIONS = {
    "quiet": 1,
    "calm": 1,
    "seldom": 1,
    "busy": 1,
    "wide": 2,
    "left": 1,
    "right": 1,
    "reborn": 1,
    "looker": 1,
}


GONE_AT_TIMES = ("reborn", "now", "spare")  # what the load deletes


def mixed_questions() -> tuple[list[Question], list[float]]:
    out: list[tuple[Question, float]] = []
    operations = [*BODIES, "get"]
    shares = {
        "quiet": 35,
        "calm": 8,
        "seldom": 8,
        "busy": 7,
        "wide": 5,
        "left": 3,
        "right": 3,
        "reborn": 5,
        "now": 12,
        "spare": 2,
    }
    for name, share in shares.items():
        for n in range(QUESTIONS):
            out.append((Question(name, name, operations[n % len(operations)], n), share / QUESTIONS))
    looks = [("looker", "query", "calm"), ("looker", "recommend", "busy"), ("looker", "query", "now"), ("now", "query/groups", "calm"),
             ("looker", "query/groups", "reborn"), ("looker", "recommend", "seldom")]  # fmt: skip
    for n, (name, operation, other) in enumerate(looks):
        out.append((Question("looks", name, operation, 100 + n, (other,)), 2.0))
    return [q for q, _ in out], [w for _, w in out]


async def churning(bench: Bench) -> None:
    await mixed_load(bench, churn=True)


async def reading_load(bench: Bench) -> None:
    """Readers of all, and writers through the first quiver only: what goes through the other is the schedule's."""
    bench.read(*mixed_questions(), n=12)
    pens = [Pen(bench, 0) for _ in range(3)]
    for pen, name, wait in ((pens[0], "seldom", True), (pens[1], "busy", False), (pens[2], "right", True)):
        bench.task(every(bench, 0.05, lambda p=pen, c=name, w=wait: p.points(c, w)))


async def still_load(bench: Bench) -> None:
    """Readers only; every write is the schedule's."""
    bench.read(*mixed_questions(), n=12)


async def every(bench: Bench, seconds: float, step: Callable[[], Awaitable]) -> None:
    """Until cancelled, with pauses of that length on average."""
    while not bench.over:
        await step()
        await asyncio.sleep(seconds * (0.3 + 1.4 * bench.random.random()))


async def mixed_load(
    bench: Bench, readers: int = 16, pace: float = 1.0, pause: float = 0, churn: bool = False
) -> None:
    """pace: more is slower writing. churn: names change all the time and nobody knows how it ended; every answer depends on
    what its names stand for, so little is answered from the cache then."""
    pick = bench.random.choice
    bench.read(*mixed_questions(), n=readers, pause=pause)
    pens = [Pen(bench) for _ in range(8)]

    def calm() -> Awaitable:
        return pens[0].points("calm", True, pick(("", "", "late", "400_part", "400_never", "401")))

    def seldom() -> Awaitable:
        return pens[1].points("seldom", pick((True, True, True, False)), pick(("", "late")))

    def busy() -> Awaitable:
        wait = pick((True, True, False))
        fates = (
            "",
            "",
            "late",
            "timeout",
            "408",
            "500",
            "500_never",
            "lost_before",
            "lost_after",
            "lost_never",
        )
        return pens[2].points("busy", wait, pick(fates) if wait else "")

    def wide() -> Awaitable:
        return pens[3].points("wide", pick((True, False)), pick(("", "late")))

    def targets() -> Awaitable:
        """The alias is written to as well: what it stands for is not what every quiver takes it for."""
        name = pick(("left", "right", "now"))
        return pens[4].points(name, name != "now" or pick((True, True, False)), pick(("", "late")))

    async def switch() -> None:
        fate = pick(("", "", "late", "500", "lost_before", "lost_after") if churn else ("", "late"))
        form = pick(("repoint", "repoint", "repoint", "rename", "swap"))
        if form == "repoint":
            await pens[5].aliases(alias("create", "now", pick(("left", "right"))), fate=fate)
        elif form == "swap":
            await pens[5].aliases(
                alias("delete", "now"), alias("create", "now", pick(("left", "right"))), fate=fate
            )
        else:
            await pens[5].aliases({"rename_alias": {"old_alias_name": "now", "new_alias_name": "spare"}})
            await pens[5].aliases({"rename_alias": {"old_alias_name": "spare", "new_alias_name": "now"}})

    async def rebirth() -> None:
        await pens[6].write(
            "DELETE", "/collections/reborn", fate=pick(("", "late", "500") if churn else ("", "late"))
        )
        if pick((True, False)):
            await asyncio.sleep(0.02)
        await pens[6].write(
            "PUT", "/collections/reborn", {"vectors": {"size": 2, "distance": "Dot"}}, pick(("", "late"))
        )
        for _ in range(3):
            await pens[6].points("reborn", pick((True, False)))
            await asyncio.sleep(0.02)
        await pens[6].recover("reborn", not churn or pick((True, False)))
        await pens[6].write("PATCH", "/collections/reborn", {"optimizers_config": {}})

    names = 0.1 if churn else 1.0
    for seconds, step in ((0.06, calm), (0.5, seldom), (0.04, busy), (0.05, wide), (0.1, targets), (names, switch), (2 * names, rebirth),
                          (1.5, lambda: pens[7].points("looker"))):  # fmt: skip
        bench.task(every(bench, seconds * pace, step))


def alias(kind: str, name: str, collection: str = "") -> dict:
    what = {"alias_name": name}
    if collection:
        what["collection_name"] = collection
    return {f"{kind}_alias": what}


async def check(
    reads: int = 20_000,
    seconds: float = 0,
    seed: int = 1,
    schedule: Callable[[Bench], Awaitable] | None = None,
    until_stale: bool = False,
    load: Callable[[Bench], Awaitable] | None = None,
    **how: Any,
) -> Report:
    """The load runs while the schedule does, and at least until that many reads and seconds have passed."""
    async with Bench(seed, **how) as bench:
        await (load or mixed_load)(bench)
        begin = now()
        reads_seen = (0, begin)
        task = asyncio.ensure_future(schedule(bench)) if schedule else None
        while True:
            await asyncio.sleep(0.05)
            if bench.report.reads > reads_seen[0]:
                reads_seen = (bench.report.reads, now())
            elif now() - reads_seen[1] > 15 * SEC:
                bench.report.errors.append("no read has ended for 15 s")
                break
            enough = bench.report.reads >= reads and now() - begin >= seconds * SEC
            if until_stale and (bench.report.n_stale or (seconds and now() - begin >= seconds * SEC)):
                if task:
                    task.cancel()
                break
            if task and task.done():
                task.result()
            if enough and (task is None or task.done()):
                break
            if now() - begin > max(600, 2 * seconds) * SEC:
                bench.report.errors.append("the reads took more than 600 s")
                break
        return await bench.stop()


def main() -> int:
    from schedules import SCHEDULES

    p = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    p.add_argument("--reads", type=int, default=100_000)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--seed", type=int, default=int(time.time()))
    p.add_argument("--schedule", choices=sorted(SCHEDULES))
    p.add_argument("--quarantine", default="2s")
    p.add_argument(
        "--until-stale", action="store_true", help="end at the first stale read, or after --seconds"
    )
    a = p.parse_args()
    print(f"seed {a.seed}", flush=True)
    s = SCHEDULES.get(a.schedule)
    how = s.how if s else {}
    report = run(
        check(
            a.reads,
            a.seconds,
            a.seed,
            s.run if s else None,
            a.until_stale,
            **{"quarantine": a.quarantine, **how},
        ),
        3600,
    )
    print(report)
    good = not report.n_stale and not report.errors and report.rate("quiet") >= (0.8 if not s else 0)
    return 0 if good else 1


if __name__ == "__main__":
    import checker  # the module that schedules know

    sys.exit(checker.main())
