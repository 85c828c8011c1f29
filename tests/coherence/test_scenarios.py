"""What two quivers believe differently: an alias that the other has moved, a collection that the other has made anew, a purge that
the other has not heard of. Each is a sequence of few steps; where names are changed the judge of the checker says whether an answer was old."""

import asyncio

import pytest
from checker import Bench, alias, run
from clients import Pen, Question
from lib import Conn, Quiver, Redis, Response, wait_until

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


def search_calm(q: Quiver) -> Response:
    return q.post("/collections/calm/points/search", {"vector": [0.5, 0.25], "limit": 3, "n": 1})


async def follows(replica: Redis, primary: Redis) -> None:
    """Replicates until all is there."""
    await asyncio.to_thread(replica.command, "REPLICAOF", "127.0.0.1", str(primary.port))
    up = lambda: b"master_link_status:up" in bytes(replica.command("INFO", "replication"))  # noqa: E731
    await asyncio.to_thread(wait_until, up, 10, "it replicates")


async def takes_over(bench: Bench, replica: Redis, primary: Redis) -> None:
    """A planned change of roles: nothing is lost, and who was the primary lives on."""
    await follows(replica, primary)
    await asyncio.to_thread(replica.command, "REPLICAOF", "NO", "ONE")
    await asyncio.to_thread(primary.command, "REPLICAOF", "127.0.0.1", str(replica.port))
    lines = [len(q.lines) for q in bench.quivers]
    for r in bench.relays:
        r.target = ("127.0.0.1", replica.port)
        r.reset_all()
    there = lambda: all("redis_joined" in "".join(q.lines[n:]) for q, n in zip(bench.quivers, lines))  # noqa: E731
    await bench.until(there, 5, "both use the new primary")


def test_a_primary_that_becomes_one_again_has_not_heard_of_what_was_written_meanwhile() -> None:
    """It is the same process, and what it had of its own when it was the primary is there again."""

    async def main() -> None:
        async with Bench(relays=True, settings=NO_POLL) as bench:
            first, other = bench.redis, await asyncio.to_thread(Redis)
            try:
                _, two = bench.quivers
                await asyncio.to_thread(wait_until, lambda: search_calm(two).hit, 10, "an answer is kept")
                old = await asyncio.to_thread(search_calm, two)
                for replica, primary in ((other, first), (first, other)):
                    await takes_over(bench, replica, primary)
                    await asyncio.to_thread(wait_until, lambda: search_quiet(two).hit, 20, "hits again")
                    if replica is other:
                        assert await write(Pen(bench, 0), "calm") == 200
                new = await asyncio.to_thread(search_calm, two)
                assert new.json()["result"] != old.json()["result"], new
            finally:
                other.close()

    run(main())


@pytest.mark.parametrize("first_moved", ["the writer", "the reader"])
@pytest.mark.parametrize("demoted", [True, False])
def test_primaries_of_which_each_quiver_reaches_another(demoted: bool, first_moved: str) -> None:
    """For a second. What quiver 0 writes it tells to one, quiver 1 reads what the other says."""

    async def main() -> None:
        async with Bench(relays=True, settings=NO_POLL) as bench:
            first, other = bench.redis, await asyncio.to_thread(Redis)
            try:
                read(bench, "calm", 1)
                await bench.hits_come(50, group="calm")
                await follows(other, first)
                await asyncio.to_thread(other.command, "REPLICAOF", "NO", "ONE")
                if demoted:
                    await asyncio.to_thread(first.command, "REPLICAOF", "127.0.0.1", str(other.port))
                relays = bench.relays if first_moved == "the writer" else bench.relays[::-1]
                relays[0].target = ("127.0.0.1", other.port)
                relays[0].reset_all()
                pen, end = Pen(bench, 0), asyncio.get_running_loop().time() + 1
                while asyncio.get_running_loop().time() < end:
                    assert await write(pen, "calm") == 200
                    await asyncio.sleep(0.02)
                relays[1].target = ("127.0.0.1", other.port)
                relays[1].reset_all()
                await bench.hits_come(20, group="calm")
                await nothing_was_stale(bench)
                assert bench.report.slowest_write < 1.2, bench.report
            finally:
                other.close()

    run(main())
