"""The Redis of compose.yaml, when it is full."""

import re

from deploylib import compose
from lib import Exchange, FakeQdrant, Quiver, Redis, wait_until

ANSWER = 20_000  # bytes


def options() -> list[str]:
    """As compose.yaml gives them, with less memory: full after 200 answers or so."""
    words = compose()["services"]["redis"]["command"]
    assert words[0] == "redis-server"
    words[words.index("--maxmemory") + 1] = "6mb"
    return words[1:]


def evicted(redis: Redis) -> int:
    stats = redis.command("INFO", "stats")
    assert isinstance(stats, bytes)
    return int(re.search(rb"evicted_keys:(\d+)", stats)[1])  # type: ignore[index]


def test_a_full_redis_drops_answers_and_the_shared_cache_goes_on(binary: str) -> None:
    def large(x: Exchange) -> None:
        x.ok([{"id": x.fake.serial(), "payload": {"text": "y" * ANSWER}}])

    with FakeQdrant(large) as fake, Redis(*options()) as redis:
        q = Quiver(fake.url, quiver={"redis": {"url": redis.url, "budget": "1s"}, "cache": {"memory": "1MiB"}})
        q.ask("PUT", "/collections/b/points?wait=true", b'{"points":[]}')
        lasting = [k for k in redis.keys() if redis.command("TTL", k) == -1]
        assert lasting, "a write leaves marks that nothing may evict"
        with q.conn() as c:
            for n in range(500):
                c.post("/collections/a/points/search", {"vector": [n / 1000, 1.0], "limit": 1})
        wait_until(lambda: evicted(redis) > 100, 10, "answers make room")
        assert set(lasting) <= set(redis.keys())
        assert q.metric("quiver_redis_errors_total") == 0 and not q.log_has("redis_away")
        assert q.metric("quiver_coherence_attached") == 1
        q.stop()


def test_it_keeps_nothing_on_disk(binary: str) -> None:
    with Redis(*options()) as redis:
        assert redis.command("CONFIG", "GET", "save") == [b"save", b""]
        assert redis.command("CONFIG", "GET", "appendonly") == [b"appendonly", b"no"]
