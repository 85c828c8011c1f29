"""How often the cache answers: Zipf's law over searches, from cold, with writes to another collection going on.

The workloads, in one place (a full run; CI takes the part that is said beside it):
- room for all, and room for 1,000 entries: s = 1 over 10,000 searches, 100,000 requests (CI: 20,000).
- each of the nine shipped models: s = 1 over 1,000 searches, 10,000 requests (CI: over 300, 3,000), shipped settings.
"""

import asyncio
import itertools
from collections import OrderedDict

import pytest
from checker import Bench, Report, every, run
from clients import Pen, Question

pytestmark = [pytest.mark.usefixtures("binary"), pytest.mark.timeout(400)]
MODELS = ["mixtral", "hermes", "openchat", "yi34b", "deepseek", "phi3", "imp", "deepcoder", "general"]
DIMENSIONS = dict(zip(MODELS, [4096] * 5 + [2048] * 2 + [1024, 384]))


class Zipf:
    """Questions with weight 1/rank, and what was asked in which order."""

    def __init__(self, questions: list[Question]):
        self.questions = questions
        self.weights = [1.0 / rank for rank in range(1, len(questions) + 1)]
        self.asked: list[int] = []

    async def play(self, bench: Bench, n: int, readers: int = 6) -> tuple[int, int]:
        """hits and joined among the first n"""
        group, rank = self.questions[0].group, {id(q): i for i, q in enumerate(self.questions)}
        took = bench.took

        def noting(
            which: int, q: Question, seen: bytes, begun: int, ended: int, hit: bool, joined: bool
        ) -> None:
            if q.group == group:
                if len(self.asked) >= n:
                    return
                self.asked.append(rank[id(q)])
            took(which, q, seen, begun, ended, hit, joined)

        bench.took = noting  # type: ignore[method-assign]
        first = len(bench.readers)
        bench.read(self.questions, self.weights, n=readers)
        await bench.until(lambda: len(self.asked) >= n, 300, f"{n} answers")
        for r in bench.readers[first:]:
            r.pause = 3600
        bench.took = took  # type: ignore[method-assign]
        return bench.report.hits_by_group[group], bench.report.joined

    def lru(self, room: int) -> int:
        """What a plain LRU with room for that many would have hit."""
        there: OrderedDict[int, None] = OrderedDict()
        hits = 0
        for n in self.asked:
            if n in there:
                hits += 1
                there.move_to_end(n)
            else:
                there[n] = None
                if len(there) > room:
                    there.popitem(last=False)
        return hits


def is_right(report: Report) -> None:
    assert report.n_stale == 0 and report.errors == [], report
    assert report.writes >= 5, "writes went on meanwhile"


def with_writes(bench: Bench) -> None:
    pen = Pen(bench)
    bench.task(every(bench, 0.005, lambda: pen.points("left")))


def test_zipf_with_room_for_all(long: bool) -> None:
    n = 100_000 if long else 20_000

    async def main() -> None:
        async with Bench(quivers=1, redis=False, settings={"cache": {"memory": "256MiB"}}) as bench:
            with_writes(bench)
            zipf = Zipf([Question("zipf", "quiet", "search", k) for k in range(10_000)])
            hits, joined = await zipf.play(bench, n)
            is_right(await bench.stop())
            first_times = len(set(zipf.asked))
            print(f"{hits} hits, {joined} joined of {n}; {first_times} different: at best {n - first_times}")
            assert hits + joined >= 0.995 * (n - first_times)
            if long:
                assert hits >= 0.91 * n, hits / n

    run(main(), 390)


def test_zipf_with_room_for_a_thousand(long: bool) -> None:
    """Plain LRU gives 67.6 % of 100,000; in the shorter run quiver must beat it by a point on the very same requests."""
    n = 100_000 if long else 20_000

    async def main() -> None:
        # 16 MiB over answers of 16.9 KB with what surrounds them: 1,000 at most
        async with Bench(quivers=1, redis=False, settings={"cache": {"memory": "16MiB"}}) as bench:
            with_writes(bench)
            zipf = Zipf([Question("zipf", "quiet", "search", k, pad=16_500) for k in range(10_000)])
            hits, joined = await zipf.play(bench, n)
            entries = await asyncio.to_thread(bench.quivers[0].metric, "cache_memory_entries")
            is_right(await bench.stop())
            lru = zipf.lru(1000)
            print(f"{hits} hits, {joined} joined of {n}, LRU {lru}; {entries} entries")
            assert 800 <= entries <= 1000, "the room is what is said"
            assert hits >= lru + 0.01 * n, (hits, lru)
            if long:
                assert hits >= 0.70 * n, hits / n

    run(main(), 390)


@pytest.mark.parametrize("model", MODELS)
def test_each_model_answers_85_percent_from_the_cache(model: str, long: bool) -> None:
    n, over = (10_000, 1_000) if long else (3_000, 300)
    vectors = itertools.count(1)

    async def main() -> None:
        async with Bench(quivers=1, redis=False, shipped=True, flags=[]) as bench:
            await bench.model.ask("create", collections={model: 1})
            with_writes(bench)
            size = DIMENSIONS[model] if long else 4
            questions = [
                Question(model, model, "search", k, vector=str([next(vectors) % 9 / 8] * size))
                for k in range(over)
            ]
            zipf = Zipf(questions)
            hits, joined = await zipf.play(bench, n)
            is_right(await bench.stop())
            print(f"{model}: {hits} hits, {joined} joined of {n}; {len(set(zipf.asked))} different")
            assert hits >= 0.85 * n, hits / n

    run(main(), 390)
