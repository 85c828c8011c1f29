"""What two quivers believe differently: an alias that the other has moved, a collection that the other has made anew, a purge that
the other has not heard of. Each is a sequence of few steps; where names are changed the judge of the checker says whether an answer was old."""

import asyncio

import pytest
from checker import Bench, alias, run
from clients import Pen, Question
from lib import Conn, Quiver, Response, wait_until

pytestmark = pytest.mark.usefixtures("binary")
NO_POLL = {"coherence": {"alias_poll": "60s", "quarantine": "3s"}, "redis": {"budget": "50ms"}}


def read(bench: Bench, name: str, which: int = 0) -> None:
    bench.read([Question(name, name, "search", n) for n in range(5)], n=2, pause=0.002, which=which)


async def nothing_was_stale(bench: Bench) -> None:
    report = await bench.stop()
    assert report.n_stale == 0 and report.errors == [], report


def write(pen: Pen, name: str, wait: bool = True) -> asyncio.Task:
    path = f"/collections/{name}/points?wait={'true' if wait else 'false'}"
    return asyncio.ensure_future(pen.write("PUT", path, {"points": [1]}))


def test_a_write_through_an_alias_that_the_other_quiver_has_moved() -> None:
    """Quiver 1 takes "now" for "left" still; what its write changes is "right"."""

    async def main() -> None:
        async with Bench(settings=NO_POLL) as bench:
            read(bench, "right")
            for target in ("right", "left") * 3:
                await bench.hits_come(20, group="right")
                assert await Pen(bench, 0).aliases(alias("create", "now", target)) == 200
                await bench.hits_come(20, group="right")
                assert await write(Pen(bench, 1), "now") == 200
                await bench.hits_come(20, group="right")
            await nothing_was_stale(bench)

    run(main())


def test_an_acknowledged_write_through_a_moved_alias_is_not_proven_by_the_wrong_collection() -> None:
    """Its number is one of "right"; "left", for which quiver 1 takes the alias, has reached a larger one long ago."""

    async def main() -> None:
        async with Bench(settings=NO_POLL) as bench:
            other = Pen(bench, 1)
            for _ in range(9):
                assert await write(other, "left") == 200
            read(bench, "right")
            await bench.hits_come(20, group="right")
            assert await Pen(bench, 0).aliases(alias("create", "now", "right")) == 200
            await bench.model.ask("set", values={"apply_within": 0.6})
            for _ in range(4):
                assert await write(other, "now", wait=False) == 200
            await bench.reads_go_on(500)
            await bench.hits_come(20, group="right")
            await nothing_was_stale(bench)

    run(main())


def test_a_write_through_a_moved_alias_proves_nothing_about_where_it_was() -> None:
    """A completed write to "right" says nothing of what was acknowledged for "left"."""

    async def main() -> None:
        async with Bench(settings=NO_POLL) as bench:
            other = Pen(bench, 1)
            read(bench, "left")
            await bench.hits_come(20, group="left")
            assert await write(other, "left") == 200
            await bench.hits_come(20, group="left")
            assert await Pen(bench, 0).aliases(alias("create", "now", "right")) == 200
            await bench.model.ask("set", values={"apply_within": 0.6})
            for _ in range(4):
                assert await write(other, "left", wait=False) == 200
                assert await write(other, "now") == 200
            await bench.reads_go_on(500)
            await bench.hits_come(20, group="left")
            await nothing_was_stale(bench)

    run(main())


def test_a_collection_that_the_other_quiver_made_anew_with_more_shards() -> None:
    """One shard is what quiver 1 knows of it: a completed write would prove those before it."""

    async def main() -> None:
        async with Bench(settings=NO_POLL) as bench:
            first, other = Pen(bench, 0), Pen(bench, 1)
            read(bench, "calm")
            assert await write(other, "calm") == 200
            await bench.hits_come(20, group="calm")
            assert await first.write("DELETE", "/collections/calm") == 200
            assert await first.write("PUT", "/collections/calm", {"shard_number": 8}) == 200
            await bench.model.ask("set", values={"apply_within": 0.6})
            for _ in range(4):
                assert await write(other, "calm", wait=False) == 200
                assert await write(other, "calm") == 200
            await bench.reads_go_on(500)
            await nothing_was_stale(bench)

    run(main())


@pytest.mark.parametrize("fate", ["500", "408", "lost_before"])
def test_a_change_of_names_that_ended_in_doubt_and_comes_later(fate: str) -> None:
    async def main() -> None:
        async with Bench(settings={**NO_POLL, "coherence": {"alias_poll": "60s", "quarantine": "1s"}}) as bench:
            read(bench, "now")
            read(bench, "now", 1)
            await bench.model.ask("set", values={"apply_within": 0.8})
            for target in ("right", "left") * 2:
                await bench.hits_come(20, group="now")
                await Pen(bench, 0).aliases(alias("create", "now", target), fate=fate)
                await asyncio.sleep(0.85)
            await bench.hits_come(20, group="now")
            await nothing_was_stale(bench)

    run(main())


def test_a_list_of_aliases_that_comes_and_goes() -> None:
    """Without it "now" is all that a reader knows, with it a writer names "left" alone."""
    settings = {**NO_POLL, "coherence": {"alias_poll": "100ms", "quarantine": "3s"}}

    async def listed(bench: Bench, are: bool) -> None:
        await bench.model.ask("set", values={"hides_aliases": not are})
        await bench.model.ask("requests")
        asked = 0
        while asked < 10:  # by either quiver, several times
            await asyncio.sleep(0.02)
            asked += (await bench.model.ask("requests"))["requests"].get("GET /aliases", 0)

    async def main() -> None:
        async with Bench(settings=settings) as bench:
            read(bench, "now")
            for n in range(4):
                await listed(bench, False)
                await bench.hits_come(20, group="now")
                await listed(bench, True)
                assert await write(Pen(bench, n % 2), "left") == 200
                await bench.hits_come(20, group="now")
            await listed(bench, False)
            await bench.hits_come(20, group="now")
            await nothing_was_stale(bench)

    run(main())


def search_quiet(q: Quiver) -> Response:
    return q.post("/collections/quiet/points/search", {"vector": [0.5, 0.25], "limit": 3, "n": 1})


async def other_has_an_answer(bench: Bench) -> tuple[Quiver, Quiver]:
    """The first quiver, and the second, which has one."""
    one, other = bench.quivers
    await asyncio.to_thread(wait_until, lambda: search_quiet(other).hit, 10, "the other quiver has an answer")
    return one, other


@pytest.mark.parametrize("what", [b"{}", b'{"collection":"quiet"}'])
def test_a_purge_is_answered_when_the_other_quiver_can_have_heard_of_it(what: bytes) -> None:
    """Quiver 0 cannot reach Redis just then: its answer waits until it has, or until nobody answers from a cache."""

    async def main() -> None:
        async with Bench(relays=True, settings=NO_POLL) as bench:
            one, other = await other_has_an_answer(bench)
            bench.relays[0].freeze()
            try:
                purged = await asyncio.to_thread(one.control, "POST", "/api/v1/cache/purge", what)
                after = await asyncio.to_thread(search_quiet, other)
            finally:
                bench.relays[0].thaw()
            assert purged.status == after.status == 200 and not after.hit, (purged, after)

    run(main())


def test_who_leaves_a_purge_before_its_answer_leaves_no_hold() -> None:
    """As a write it would be one of unknown outcome; but nothing is written."""
    settings = {**NO_POLL, "coherence": {"alias_poll": "60s", "quarantine": "60s"}}

    async def main() -> None:
        async with Bench(relays=True, settings=settings) as bench:
            one, other = await other_has_an_answer(bench)
            bench.relays[0].freeze()
            try:
                with Conn(one.api) as c:
                    c.send(f"POST /api/v1/cache/purge HTTP/1.1\r\nHost: 127.0.0.1:{one.api}\r\nContent-Length: 2\r\n\r\n{{}}".encode())
                    await bench.relays[0].until_sent(lambda data: b"EVALSHA" in data, 0.5)
            finally:
                bench.relays[0].thaw()
            await asyncio.to_thread(wait_until, lambda: search_quiet(other).hit, 10, "answers come from the cache again")

    run(main())
