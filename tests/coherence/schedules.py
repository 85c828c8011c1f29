"""Named troubles, each played while the load of the checker runs. A schedule is a coroutine over a bench; it waits for
what happened, not for time, except where time is what it is about."""

import asyncio
import signal
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable

from checker import Bench, churning, reading_load, still_load
from clients import Pen
from cost import AWAY, UNNOTICED


@dataclass
class Schedule:
    run: Callable[[Bench], Awaitable]
    what: str
    how: dict[str, Any] = field(default_factory=dict)  # for the bench
    back: float = 3.0  # seconds until the quiet collection is hit again after the last trouble; 0: not asked
    endless: bool = False  # until the bench is over
    brings: tuple[str, ...] = ()  # kinds of reads in numbers: what they cost is judged (cost.py)


SCHEDULES: dict[str, Schedule] = {}
RELAYED = {"relays": True}
DOWN = 0.2  # seconds until a supervisor has started a server again
BOTH = (UNNOTICED, AWAY)
# What readers go through in each: a Redis that dies is found away at once, one that hangs after five time-outs in a row,
# and what makes misses only is never found away.
BRINGS: dict[str, tuple[str, ...]] = {
    "stopped_short": BOTH,
    "stopped": BOTH,
    "stopped_long": (AWAY,),  # what goes before is the same as in "stopped", at five times the price
    "slow": BOTH,
    "killed": (AWAY,),
    "oom": BOTH,
    "readonly": (AWAY,),
    "flushall": BOTH,
    "script_flush": (UNNOTICED,),
    "loading": (AWAY,),
    "garbage": BOTH,
    "auth": (AWAY,),
    "older_rdb": BOTH,
    "empty_restart": BOTH,
    "promoted": BOTH,
    "switched_apart": BOTH,
    "cut_off": BOTH,  # one quiver each
    "silent": BOTH,
    "deaf": BOTH,
    "resets": (AWAY,),
    "dies_before_forward": (UNNOTICED,),
    "dies_after_forward": (UNNOTICED,),
    "dies_before_close": (UNNOTICED,),
    "clean_restart": (UNNOTICED,),
    "crash": (UNNOTICED,),
}


def schedule(name: str, what: str, **of: Any) -> Callable:
    def add(f: Callable[[Bench], Awaitable]) -> Callable:
        back, endless, brings = of.pop("back", 3.0), of.pop("endless", False), BRINGS.get(name, ())

        async def whole(bench: Bench) -> None:
            await (bench.hits_come(100) if back else bench.reads_go_on(500))
            bench.troubled = True
            await f(bench)
            bench.troubled = False
            if back and not bench.cost:  # a budget of 1 ms is no promise on a busy machine
                bench.back = await bench.hits_come(100, back, why=f"hits again within {back} s after {name}")

        SCHEDULES[name] = Schedule(whole, what, of, back, endless, brings)
        return f

    return add


async def restarted(bench: Bench, down: float) -> None:
    """Redis is killed, and started again `down` seconds later."""
    assert bench.redis
    bench.redis.kill()
    await asyncio.sleep(down)
    await asyncio.to_thread(bench.redis.start)


def noticed(bench: Bench, word: str) -> None:
    """Each quiver that has a Redis has said that it is away or unfit, and why."""
    for i in {*range(len(bench.quivers))} - bench.without_redis:
        lines = bench.quivers[i].lines
        away = [line for line in lines if "redis_away" in line or "redis_not_used" in line]
        assert any(word in line for line in away), (word, away, lines[-8:])


# ---- Redis stands still ----


async def stopped(bench: Bench, seconds: float) -> None:
    assert bench.redis
    bench.redis.stop()
    try:
        await asyncio.sleep(seconds)
    finally:
        bench.redis.cont()


@schedule("stopped_short", "Redis stopped for 0.2 s")
async def stopped_short(bench: Bench) -> None:
    for _ in range(3):
        await stopped(bench, 0.2)
        await bench.reads_go_on(500)


@schedule("stopped", "Redis stopped for 1 s")
async def stopped_one(bench: Bench) -> None:
    await stopped(bench, 1.0)


@schedule("stopped_long", "Redis stopped for 5 s")
async def stopped_long(bench: Bench) -> None:
    await stopped(bench, 5.0)


@schedule("slow", "each answer of Redis takes longer than a look may, and much shorter than a lease", **RELAYED)
async def slow(bench: Bench) -> None:
    for r in bench.relays:
        r.delay = 0.010 if bench.cost else 0.080  # budgets of 1 ms and of 50 ms
    await asyncio.sleep(0.8)
    for r in bench.relays:
        r.delay = 0.0


@schedule("killed", "Redis killed, started again 1 s later")
async def killed(bench: Bench) -> None:
    await restarted(bench, 1.0)


# ---- Redis answers, but not as it should; one that was found unfit is tried again every 5 s ----


@schedule("oom", "Redis at its memory limit: it answers reads and refuses writes")
async def oom(bench: Bench) -> None:
    await bench.redis_says("CONFIG", "SET", "maxmemory", "1")
    await asyncio.sleep(0.8)
    noticed(bench, "OOM")
    await bench.redis_says("CONFIG", "SET", "maxmemory", "64mb")


@schedule("readonly", "Redis a replica of nobody for a while: READONLY", back=8.0)
async def readonly(bench: Bench) -> None:
    await bench.redis_says("CONFIG", "SET", "replica-serve-stale-data", "yes")
    await bench.redis_says("REPLICAOF", "127.0.0.1", "1")
    await asyncio.sleep(0.8)
    await bench.redis_says("REPLICAOF", "NO", "ONE")


@schedule("flushall", "FLUSHALL, again and again")
async def flushall(bench: Bench) -> None:
    for _ in range(6):
        await bench.redis_says("FLUSHALL")
        await bench.reads_go_on(1000)


@schedule("script_flush", "SCRIPT FLUSH, again and again")
async def script_flush(bench: Bench) -> None:
    for _ in range(6):
        await bench.redis_says("SCRIPT", "FLUSH")
        await bench.reads_go_on(500)


@schedule("loading", "Redis says LOADING to everything", **RELAYED)
async def loading(bench: Bench) -> None:
    for r in bench.relays:
        r.answers_itself = b"-LOADING Redis is loading the dataset in memory\r\n"
    await asyncio.sleep(0.8)
    noticed(bench, "it cannot be used as it is")
    for r in bench.relays:
        r.answers_itself = b""
        r.reset_all()


@schedule("garbage", "what comes from Redis is no RESP", **RELAYED)
async def garbage(bench: Bench) -> None:
    for _ in range(4):
        for r in bench.relays:
            r.say(b"?what\r\n\0\xff")
        await bench.reads_go_on(500)
    noticed(bench, "Protocol error")


@schedule("auth", "Redis wants a password that quiver does not have", back=8.0, **RELAYED)
async def auth(bench: Bench) -> None:
    await bench.redis_says("CONFIG", "SET", "requirepass", "secret")
    for r in bench.relays:
        r.reset_all()
    await asyncio.sleep(0.5)
    noticed(bench, "NOAUTH")
    assert bench.redis
    bench.redis.password = "secret"
    await bench.redis_says("CONFIG", "SET", "requirepass", "")
    bench.redis.password = ""


# ---- Redis goes back in time ----


@schedule("older_rdb", "Redis killed and restarted from an RDB that is a second old")
async def older_rdb(bench: Bench) -> None:
    assert bench.redis
    saved = set(await asyncio.to_thread(bench.redis.keys))
    await bench.redis_says("SAVE")
    await asyncio.sleep(1.0)
    await restarted(bench, DOWN)
    again = saved & set(await asyncio.to_thread(bench.redis.keys))
    assert any(":t:" in key for key in again), "tokens that were saved are there again"


@schedule("promoted", "the primary dies, a replica that lacks the last second takes over", **RELAYED)
async def promoted(bench: Bench) -> None:
    from lib import Redis

    assert bench.redis
    await bench.redis_says("CONFIG", "SET", "repl-diskless-sync-delay", "0")
    replica = await asyncio.to_thread(Redis)
    try:
        replica.command("REPLICAOF", "127.0.0.1", str(bench.redis.port))
        await bench.until(
            lambda: b"master_link_status:up" in bytes(replica.command("INFO", "replication")),
            10,
            "it replicates",
        )
        await asyncio.to_thread(replica.command, "REPLICAOF", "NO", "ONE")
        await asyncio.sleep(1.0)
        bench.redis.kill()
        await asyncio.sleep(DOWN)  # somebody finds that out and decides
        for r in bench.relays:
            r.target = ("127.0.0.1", replica.port)
            r.reset_all()
    finally:
        bench.redis.close()
        bench.redis = replica


@schedule("switched_apart", "the primary changes, and back, and one quiver comes to the new one half a second after the other", **RELAYED)
async def switched_apart(bench: Bench) -> None:
    from lib import Redis

    first = bench.redis
    assert first
    other = await asyncio.to_thread(Redis)
    try:
        for old, new, relays in ((first, other, bench.relays), (other, first, bench.relays[::-1])):
            await asyncio.to_thread(new.command, "REPLICAOF", "127.0.0.1", str(old.port))
            await bench.until(
                lambda new=new: b"master_link_status:up" in bytes(new.command("INFO", "replication")), 10, "it replicates"
            )
            await asyncio.to_thread(new.command, "REPLICAOF", "NO", "ONE")
            for r in relays:
                r.target = ("127.0.0.1", new.port)
                r.reset_all()
                await asyncio.sleep(0.5)
            await bench.hits_come(50)
    finally:
        await asyncio.to_thread(other.close)


# ---- the way to Redis ----


@schedule("cut_off", "one of two quivers cannot reach Redis: connections refused", **RELAYED)
async def cut_off(bench: Bench) -> None:
    await bench.relays[1].refuse()
    await asyncio.sleep(1.5)
    await bench.relays[1].start()


@schedule("silent", "one of two quivers cannot reach Redis: packets are lost, and come late", **RELAYED)
async def silent(bench: Bench) -> None:
    bench.relays[1].freeze()
    await asyncio.sleep(1.5)
    bench.relays[1].thaw()


@schedule("deaf", "what Redis says reaches one of two quivers late", **RELAYED)
async def deaf(bench: Bench) -> None:
    bench.relays[1].freeze(up=False)
    await asyncio.sleep(1.5)
    bench.relays[1].thaw()


@schedule("resets", "a reset on every Redis connection every 50 ms", **RELAYED)
async def resets(bench: Bench) -> None:
    for _ in range(30):
        for r in bench.relays:
            r.reset_all()
        await asyncio.sleep(0.05)


# ---- a quiver dies in the middle of a write ----


def is_open(data: bytes) -> bool:
    """A script that Redis is asked to run and that speaks of a name's token: a write's open or close."""
    return b"EVAL" in data and (b":t:" in data or b":w:" in data or b":h:" in data)


async def victim_writes(bench: Bench, pen: Pen, fate: str = "") -> tuple[str, asyncio.Task]:
    """A write through quiver 1; its tag and the task that waits for its answer."""
    before = bench.n_writes
    task = asyncio.ensure_future(
        pen.write("PUT", "/collections/calm/points?wait=true", {"points": []}, fate, watch=True)
    )
    await asyncio.sleep(0)
    await bench.until(lambda: bench.n_writes > before, 5, "the write is sent")
    return f"w{bench.n_writes}", task


async def dies(bench: Bench, task: asyncio.Task) -> None:
    await bench.kill(1)
    bench.relays[1].thaw()
    bench.relays[1].reset_all()
    await task
    await bench.reads_go_on(1500)
    await bench.revive(1)


# Who died holds a lease: the others answer from the cache again once it is forgotten.
KILLED = {**RELAYED, "quarantine": "1s", "forget": "2s", "load": reading_load, "now_is": "calm", "back": 5.0}


@schedule("dies_before_forward", "kill -9 of a quiver between open and forward", **KILLED)
async def dies_before_forward(bench: Bench) -> None:
    pen = Pen(bench, 1)
    for _ in range(2):
        await bench.hits_come(50)
        bench.relays[1].freeze(up=False)  # its opens reach Redis, Redis' word does not reach it
        opened = asyncio.ensure_future(bench.relays[1].until_sent(is_open, 5))
        await asyncio.sleep(0)
        tag, task = await victim_writes(bench, pen)
        assert await opened, "its open went to Redis"
        await bench.redis_says("PING")
        assert not bench.model.event("received", tag).is_set(), "it was not forwarded"
        await dies(bench, task)


@schedule(
    "dies_after_forward", "kill -9 of a quiver after the write was forwarded; it is applied later", **KILLED
)
async def dies_after_forward(bench: Bench) -> None:
    pen = Pen(bench, 1)
    for _ in range(2):
        await bench.hits_come(50)
        tag, task = await victim_writes(bench, pen, "held")
        await asyncio.wait_for(bench.model.event("received", tag).wait(), 5)
        await bench.kill(1)
        await bench.reads_go_on(500)
        await bench.model.ask("release")
        await dies(bench, task)


@schedule("dies_before_close", "kill -9 of a quiver that knows the answer and could not tell Redis", **KILLED)
async def dies_before_close(bench: Bench) -> None:
    pen = Pen(bench, 1)
    for _ in range(2):
        await bench.hits_come(50)
        tag, task = await victim_writes(bench, pen, "held")
        await asyncio.wait_for(bench.model.event("received", tag).wait(), 5)
        bench.relays[1].freeze()
        closed = asyncio.ensure_future(bench.relays[1].until_sent(is_open, 5))
        await asyncio.sleep(0)
        await bench.model.ask("release")
        await asyncio.wait_for(bench.model.event("answered", tag).wait(), 5)
        assert await closed, "its close was sent, and lost"
        await dies(bench, task)


# ---- a quiver ends and comes back ----


async def comes_back(bench: Bench, clean: bool) -> None:
    """All quivers end at the same time and start again."""
    bench.forgiven |= set(range(len(bench.quivers)))
    if clean:
        for q in bench.quivers:
            q.signal(signal.SIGTERM)
        await asyncio.gather(*(asyncio.to_thread(q.wait) for q in bench.quivers))
    else:
        for q in bench.quivers:
            await asyncio.to_thread(q.kill)
    await bench.model.ask("requests")
    await asyncio.gather(*(asyncio.to_thread(q.start) for q in bench.quivers))
    await bench.until(lambda: all(r.transport for r in bench.readers), 10, "readers are connected again")
    bench.forgiven.clear()
    await bench.reads_go_on(500)


@schedule("clean_restart", "both quivers stopped and started under load")
async def clean_restart(bench: Bench) -> None:
    await comes_back(bench, True)


@schedule("crash", "both quivers killed and started under load", forget="2s", back=5.0)
async def crash(bench: Bench) -> None:
    await comes_back(bench, False)


# ---- Qdrant ----


@schedule("upstream_restart", "Qdrant restarts with other data than before")
async def upstream_restart(bench: Bench) -> None:
    for _ in range(2):
        bench.forgiven |= {0, 1}
        await bench.model.ask("restart", down=0.3, changed=True)
        await asyncio.sleep(0.3)
        bench.forgiven.clear()
        await bench.hits_come(50)


@schedule(
    "names",
    "aliases and collections change all the time, some of it unknown to have ended",
    load=churning,
    back=0,
)
async def names(bench: Bench) -> None:
    await bench.reads_go_on(8000)


@schedule("empty_restart", "Redis restarts empty while quivers remember")
async def empty_restart(bench: Bench) -> None:
    assert bench.redis
    for down in (0.0, DOWN):
        await restarted(bench, down)
        await bench.reads_go_on(1000)


# ---- for as long as they are let: what a broken quiver is put under ----


@schedule(
    "flushed_for_long",
    "FLUSHALL, then as many writes as before it, again and again",
    endless=True,
    load=still_load,
)
async def flushed_for_long(bench: Bench) -> None:
    """All through one quiver: what the other remembers must not come back with a number that comes back."""
    pen = Pen(bench, 1)
    while not bench.over:
        await pen.points("calm")
        await bench.hits_come(50, group="calm")
        await bench.redis_says("FLUSHALL")


@schedule(
    "switched_for_long",
    "an alias moves, its new target is written, again and again",
    endless=True,
    load=still_load,
)
async def switched_for_long(bench: Bench) -> None:
    pens = [Pen(bench, i) for i in (0, 1)]
    while not bench.over:
        pen, target = bench.random.choice(pens), bench.random.choice(("left", "right"))
        await pen.aliases({"create_alias": {"alias_name": "now", "collection_name": target}})
        await pen.points(target)
        await bench.hits_come(30, group="now")


@schedule(
    "cut_off_for_long", "one of two quivers is cut off, for a while, again and again", endless=True, **RELAYED
)
async def cut_off_for_long(bench: Bench) -> None:
    while not bench.over:
        await cut_off(bench)
        await bench.hits_come(200, 30)
