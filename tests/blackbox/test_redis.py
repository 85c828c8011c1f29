"""The second store: shared between quivers, and never in the way when it is slow, stopped or gone."""

import re
import threading
import time

import pytest
from lib import ROOT, FakeQdrant, Quiver, Redis, wait_until

SEARCH = "/collections/mine/points/search"
FAST = {"coherence": {"quarantine": "500ms"}}
PATIENT = {
    **FAST,
    "redis": {"budget": "500ms"},
}  # where a look that takes too long on a busy machine would spoil the test


def body(n: int = 0) -> dict:
    return {"vector": [0.5, n], "limit": 3}


def from_cache(q: Quiver, n: int = 0) -> bool:
    r = q.post(SEARCH, body(n))
    assert r.status == 200, r
    return r.hit


class Load:
    """Searches and writes from several clients until stopped; any status but 200 or broken connection is an error."""

    def __init__(self, q: Quiver, clients: int = 4, writes: bool = True):
        self.q, self.writes = q, writes
        self.over = threading.Event()
        self.errors: list[str] = []
        self.answers = self.hits = 0
        self.slowest = 0.0
        self.threads = [threading.Thread(target=self._client, args=(n,)) for n in range(clients)]

    def _client(self, me: int) -> None:
        n = 0
        try:
            with self.q.conn(timeout=30) as c:
                while not self.over.is_set():
                    n += 1
                    begin = time.monotonic()
                    if self.writes and n % 50 == 0 and me == 0:
                        r = c.ask("PUT", "/collections/mine/points?wait=true", b'{"points":[]}')
                    else:
                        r = c.post(SEARCH, body(n % 20))
                    self.slowest = max(self.slowest, time.monotonic() - begin)
                    self.answers += 1
                    self.hits += r.hit
                    if r.status != 200:
                        self.errors.append(repr(r))
        except (OSError, AssertionError) as e:
            self.errors.append(repr(e))

    def __enter__(self) -> "Load":
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for t in self.threads:
            t.join()


def settled(q: Quiver) -> None:
    wait_until(lambda: q.metric("quiver_redis_up") >= 1, 10, "Redis is connected")


@pytest.mark.parametrize("how", ["tcp", "unix", "password", "database"])
def test_a_second_quiver_answers_from_redis(fake: FakeQdrant, start, how: str) -> None:
    with Redis(password="pa:ss" if how == "password" else "") as redis:
        url = {
            "tcp": redis.url,
            "unix": redis.unix_url,
            "password": redis.url.replace("pa:ss", "pa%3Ass"),
            "database": redis.url + "/3",
        }[how]
        db = 3 if how == "database" else 0
        first = start(fake.url, flags=["--redis", url], quiver=PATIENT)
        settled(first)
        wait_until(lambda: from_cache(first), 10, "the first quiver caches")
        assert all(not from_cache(first, n) for n in range(1, 60))
        wait_until(lambda: len(redis.keys("*:e:*", db=db)) >= 60, 5, "the entries are in Redis")
        second = start(fake.url, flags=["--redis", url], quiver=PATIENT)
        settled(second)
        fresh = iter(range(1, 60))  # each is asked for once: what hits was found in Redis
        wait_until(lambda: from_cache(second, next(fresh)), 5, "the second quiver finds one", every=0.1)
        wait_until(lambda: second.metric("cache_hits_total", store="redis") >= 1, 5, "the hit is counted")
        assert "pa:ss" not in first.stderr and "pa%3Ass" not in first.stderr


def test_the_rights_that_the_readme_names_are_enough(fake: FakeQdrant, start, redis: Redis) -> None:
    text = (ROOT / "plugins" / "cache" / "README.md").read_text()
    rule = re.search(r"`ACL (SETUSER quiver on [^`]+)`", text)[1].replace("PASSWORD", "few").split()  # type: ignore[index]
    redis.command("ACL", *rule)
    url = f"redis://quiver:few@127.0.0.1:{redis.port}/0"
    one = start(fake.url, flags=["--redis", url], quiver=PATIENT)
    settled(one)
    wait_until(lambda: from_cache(one), 10, "cached")
    two = start(fake.url, flags=["--redis", url], quiver=PATIENT)
    settled(two)
    wait_until(lambda: from_cache(two), 10, "found in Redis")
    assert two.ask("PUT", "/collections/mine/points?wait=false", b"{}").status == 200
    assert not from_cache(one)
    wait_until(lambda: from_cache(one), 10, "the hold ends")
    one.stop(), two.stop()
    assert not any("redis_away" in line or "redis_not_used" in line for q in (one, two) for line in q.lines)
    denied = [e for e in redis.command("ACL", "LOG") if b"quiver" in str(e).encode()]
    assert not denied, denied


def test_what_is_too_large_for_redis_is_kept_in_memory_alone(fake: FakeQdrant, start, redis: Redis) -> None:
    fake.handler = lambda x: x.ok("x" * (2000 if x.request.json()["vector"][1] else 10))
    q = start(fake.url, flags=["--redis", redis.url], quiver={**FAST, "redis": {"budget": "500ms", "max_entry": "1KiB"}})
    settled(q)
    wait_until(lambda: from_cache(q, 1), 10, "the large one is kept")
    wait_until(lambda: from_cache(q, 0), 10, "and the small one")
    wait_until(lambda: redis.keys("*:e:*"), 5, "which is in Redis too")
    assert len(redis.keys("*:e:*")) == 1
    wait_until(lambda: q.metric("cache_stores_total", store="memory") == 2, 5, "both are counted")
    assert q.metric("cache_stores_total", store="redis") == 1


def test_an_answer_found_in_redis_costs_no_search(fake: FakeQdrant, start, redis: Redis) -> None:
    first = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
    settled(first)
    for n in range(10):
        wait_until(lambda: from_cache(first, n), 10, "cached")
    wait_until(lambda: len(redis.keys("*:e:*")) >= 10, 5, "the entries are in Redis")
    second = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
    settled(second)
    wait_until(lambda: from_cache(second, 0), 10, "the second quiver answers from Redis")
    fake.forget()
    assert all(from_cache(second, n) for n in range(1, 10))
    assert fake.seen(path=SEARCH) == []
    assert all(from_cache(second, n) for n in range(1, 10))
    assert second.metric("cache_hits_total", store="memory") >= 9


@pytest.mark.parametrize("how", ["garbage", "cut", "another kind", "another version's"])
def test_what_is_no_entry_is_a_miss(fake: FakeQdrant, start, redis: Redis, how: str) -> None:
    """Somebody else wrote there, or a quiver that keeps answers in another form."""
    first = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
    settled(first)
    wait_until(lambda: from_cache(first), 10, "cached")
    (key,) = wait_until(lambda: redis.keys("*:e:*"), 5, "the entry is in Redis")
    entry = redis.command("GET", key)
    assert isinstance(entry, bytes)
    redis.command("DEL", key)
    if how == "another kind":
        redis.command("LPUSH", key, "x")
    else:
        redis.command("SET", key, {"garbage": b"x" * 500, "cut": entry[:-1]}.get(how, bytes([entry[0] ^ 1]) + entry[1:]))
    second = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
    settled(second)
    assert not from_cache(second)
    wait_until(lambda: from_cache(second), 10, "kept anew")
    assert second.metric("quiver_redis_up") >= 1


@pytest.mark.parametrize("cache", ["on", "off"])
def test_names_that_somebody_made_up_leave_nothing_in_redis(fake: FakeQdrant, start, redis: Redis, cache: str) -> None:
    def handler(x) -> None:
        if "made_up" in x.request.path:
            x.error(401 if "secret" in x.request.path else 404, "Not found: Collection doesn't exist!")

    q = start(fake.url, flags=["--redis", redis.url, "--cache", cache], quiver=PATIENT)
    settled(q)
    wait_until(lambda: from_cache(q) or cache == "off", 10, "Redis is in use")
    before = set(redis.keys())
    fake.handler = handler
    with q.conn() as c:
        for n in range(100):
            for name in (f"made_up_{n}", f"made_up_secret_{n}"):
                assert c.post(f"/collections/{name}/points/search", body()).status // 100 == 4
                assert c.ask("PUT", f"/collections/{name}/points?wait=true", b'{"points":[]}').status // 100 == 4
                assert c.post(f"/collections/{name}/points/search", body()).status // 100 == 4
    wait_until(lambda: not set(redis.keys()) - before, 15, "nothing is left behind")


def test_the_entries_names_contain_the_model(fake: FakeQdrant, start, redis: Redis) -> None:
    q = start(fake.url, flags=["--redis", redis.url], optimizations={"hermes": {"collections": ["mine"]}})
    settled(q)
    wait_until(lambda: from_cache(q), 10, "cached")
    names = wait_until(lambda: redis.keys("quiver:*:e:*"), 5, "the entry is in Redis")
    assert all(":e:hermes:" in n for n in names)
    assert all(redis.command("TTL", n) > 0 for n in names)  # type: ignore[operator]


def test_a_write_through_one_quiver_ends_the_others_answers(fake: FakeQdrant, start, redis: Redis) -> None:
    one = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
    two = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
    settled(one), settled(two)
    for n in range(10):
        for q in (one, two):
            wait_until(lambda: from_cache(q, n), 10, "cached in both")
        old = two.post(SEARCH, body(n)).json()["result"]
        assert one.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
        fresh = two.post(SEARCH, body(n))
        assert not fresh.hit and fresh.json()["result"] != old


def test_one_that_may_not_list_aliases_hears_of_writes_through_one_that_may(fake: FakeQdrant, start, redis: Redis) -> None:
    """The writer names the collection, the reader knows the alias alone."""
    known = fake.default
    fake.aliases = {"nick": "mine"}
    fake.default = lambda x: (  # type: ignore
        x.error(401, "no") if x.request.path == "/aliases" and x.request.get("api-key") != "k" else known(x)
    )
    may = start(fake.url, flags=["--redis", redis.url], quiver={**PATIENT, "upstream": {"api_key": "k"}})
    blind = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
    settled(may), settled(blind)
    nick = "/collections/nick/points/search"
    for n in range(5):
        wait_until(lambda: blind.post(nick, body(n)).hit, 10, "cached")
        old = blind.post(nick, body(n)).json()["result"]
        assert may.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
        fresh = blind.post(nick, body(n))
        assert not fresh.hit and fresh.json()["result"] != old


@pytest.mark.parametrize("off", ["process", "model"])
def test_a_write_through_a_quiver_without_a_cache_ends_the_others_answers(
    fake: FakeQdrant, start, redis: Redis, off: str
) -> None:
    one = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
    two = start(
        fake.url,
        flags=["--redis", redis.url, *(["--cache", "off"] if off == "process" else [])],
        quiver=PATIENT,
        optimizations={"mine": {"collections": ["mine"], "cache": off == "process"}},
    )
    settled(one), settled(two)
    for _ in range(3):
        wait_until(lambda: from_cache(one), 10, "cached in the first")
        old = one.post(SEARCH, body()).json()["result"]
        assert not from_cache(two) and not from_cache(two)
        assert two.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
        fresh = one.post(SEARCH, body())
        assert not fresh.hit and fresh.json()["result"] != old


def test_a_quiver_cut_off_for_too_long_refuses_writes_where_that_is_set(fake: FakeQdrant, start, redis: Redis) -> None:
    strict = {"coherence": {"forget": "1s", "on_bump_failure": "fail"}, "redis": {"budget": "500ms"}}
    q = start(fake.url, flags=["--redis", redis.url], quiver=strict)
    settled(q)

    def write():
        return q.ask("PUT", "/collections/mine/points?wait=true", b'{"points":[]}')

    assert write().status == 200
    redis.kill()
    wait_until(lambda: write().status == 503, 10, "writes are refused", every=0.1)
    fake.forget()
    r = write()
    assert r.status == 503 and "on_bump_failure" in r.json()["status"]["error"] and r.json()["time"] >= 0
    assert r.get("content-type") == "application/json"
    assert fake.seen("PUT") == []
    assert q.post(SEARCH, body()).status == q.ask("GET", "/collections/mine").status == 200
    redis.start()
    wait_until(lambda: write().status == 200, 10, "writes are taken again", every=0.1)
    assert fake.seen("PUT")


def test_another_model_with_another_configuration_does_not_mix(fake: FakeQdrant, start, redis: Redis) -> None:
    """Two quivers that rewrite differently share a Redis: the body after rewriting is in the key."""
    one = start(
        fake.url,
        flags=["--redis", redis.url],
        optimizations={"m": {"collections": ["mine"], "search": {"force": {"hnsw_ef": 11}}}},
    )
    two = start(
        fake.url,
        flags=["--redis", redis.url],
        optimizations={"m": {"collections": ["mine"], "search": {"force": {"hnsw_ef": 22}}}},
    )
    settled(one), settled(two)
    wait_until(lambda: from_cache(one), 10, "cached")
    assert not from_cache(two)


@pytest.mark.parametrize("telemetry", [True, False])
def test_quivers_in_front_of_different_servers_do_not_mix(
    fake: FakeQdrant, start, redis: Redis, telemetry: bool
) -> None:
    """They may share a Redis by mistake; also where the servers tell quiver no more than their version."""

    def mute(server: FakeQdrant) -> None:
        known = server.default
        server.default = lambda x: x.error(401, "no") if x.request.path == "/telemetry" else known(x)  # type: ignore

    with FakeQdrant() as other:
        other.startup, other._serial = "2026-02-02T00:00:00Z", 1000
        if not telemetry:
            mute(fake), mute(other)
        one = start(fake.url, flags=["--redis", redis.url], quiver=PATIENT)
        two = start(other.url, flags=["--redis", redis.url], quiver=PATIENT)
        settled(one), settled(two)
        for n in range(5):
            wait_until(lambda: from_cache(one, n), 10, "cached")
            r = two.post(SEARCH, body(n))
            assert not r.hit and r.json()["result"][0]["id"] > 1000


def test_down_from_the_start_costs_nothing_but_hits_across(fake: FakeQdrant, start, redis: Redis) -> None:
    redis.kill()
    q = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
    with Load(q, writes=False) as load:
        wait_until(lambda: load.answers > 200, 30, "answers without Redis")
        assert q.metric("cache_unstored_total", reason="away") > 0
        redis.start()
        wait_until(lambda: from_cache(q), 10, "hits once Redis is there")
    assert load.errors == []


@pytest.mark.parametrize("what", ["stop", "kill", "restart"])
def test_trouble_under_load_is_no_error_and_hits_come_back(
    fake: FakeQdrant, start, redis: Redis, what: str, sanitized: bool
) -> None:
    q = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
    settled(q)
    with Load(q) as load:
        wait_until(lambda: load.hits > 50, 20, "hits before the trouble")
        for _ in range(3):
            if what == "stop":
                redis.stop()
            elif what == "kill":
                redis.kill()
            else:
                redis.restart()
            before = load.answers
            wait_until(lambda: load.answers > before + 100, 30, "answers during the trouble")
            if what == "stop":
                redis.cont()
            elif what == "kill":
                redis.start()
            back = time.monotonic()
            hits = load.hits
            wait_until(lambda: load.hits > hits + 20, 10, "hits after the trouble")
            assert time.monotonic() - back < (3 if not sanitized else 6), "hits again within 3 s"
    assert load.errors == []


def test_a_stopped_redis_costs_a_reader_little(
    fake: FakeQdrant, start, redis: Redis, sanitized: bool
) -> None:
    q = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
    settled(q)
    wait_until(lambda: from_cache(q), 10, "cached")
    redis.stop()
    times = []
    for n in range(100, 160):
        begin = time.monotonic()
        assert q.post(SEARCH, body(n)).status == 200
        times.append(time.monotonic() - begin)
    redis.cont()
    assert sorted(times)[len(times) // 2] < (0.02 if not sanitized else 0.1), times


def test_a_full_redis_is_a_miss(fake: FakeQdrant, start) -> None:
    with Redis("--maxmemory", "1mb") as redis:
        fake.handler = lambda x: x.ok("x" * 20000)
        q = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
        for n in range(200):
            assert q.post(SEARCH, body(n)).status == 200


def test_an_evicting_redis_is_not_used_and_said_so(fake: FakeQdrant, start) -> None:
    with Redis("--maxmemory-policy", "allkeys-lru") as redis:
        q = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
        wait_until(lambda: q.log_has("evict") or q.log_has("allkeys"), 10, "a line about eviction")
        for n in range(5):
            assert q.post(SEARCH, body(n)).status == 200
        assert redis.keys("*:e:*") == []


def test_a_wrong_password_is_an_error_line_not_an_error_answer(fake: FakeQdrant, start) -> None:
    with Redis(password="right") as redis:
        q = start(fake.url, flags=["--redis", f"redis://:wrong-one@127.0.0.1:{redis.port}"], quiver=FAST)
        wait_until(lambda: q.log_has("redis"), 10, "a line about Redis")
        for n in range(5):
            assert q.post(SEARCH, body(n)).status == 200
        assert "wrong-one" not in q.stderr
        assert len([line for line in q.lines if "redis" in line]) < 20


@pytest.mark.parametrize("shared", [True, False])
def test_what_was_written_while_redis_was_switched_off_is_not_forgotten(
    fake: FakeQdrant, start, redis: Redis, shared: bool
) -> None:
    on = {**FAST, "redis": {"url": redis.url, "budget": "500ms", "shared": shared}}
    q = start(fake.url, quiver=on)
    settled(q)
    wait_until(lambda: from_cache(q), 10, "cached")
    wait_until(lambda: redis.keys("*:e:*"), 5, "the entry is in Redis")
    old = q.post(SEARCH, body()).json()["result"]
    q.reload(quiver=FAST)
    assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
    q.reload(quiver=on)
    settled(q)
    wait_until(lambda: from_cache(q), 10, "caches again")
    assert q.post(SEARCH, body()).json()["result"] != old


@pytest.mark.parametrize("how", ["off", "another"])
def test_who_leaves_a_redis_by_a_reload_waits_for_those_who_stay(fake: FakeQdrant, start, redis: Redis, how: str) -> None:
    """They rely on its lease there, which a reload does not end."""
    on = {**FAST, "redis": {"url": redis.url, "budget": "500ms"}}
    one, other = start(fake.url, quiver=on), start(fake.url, quiver=on)
    settled(one)
    settled(other)
    with Redis() as second:
        for _ in range(3):
            wait_until(lambda: from_cache(other), 10, "cached")
            old = other.post(SEARCH, body()).json()["result"]
            one.reload(quiver=FAST if how == "off" else {**on, "redis": {"url": second.url}})
            begin = time.monotonic()
            assert one.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
            assert time.monotonic() - begin < 1.5  # 0.9 s at most, and what a busy machine takes
            assert other.post(SEARCH, body()).json()["result"] != old
            one.reload(quiver=on)
            settled(one)


def test_flushall_makes_misses_not_old_answers(fake: FakeQdrant, start, redis: Redis) -> None:
    q = start(fake.url, flags=["--redis", redis.url], quiver=FAST)
    settled(q)
    wait_until(lambda: from_cache(q), 10, "cached")
    redis.command("FLUSHALL")
    assert q.post(SEARCH, body()).status == 200
    wait_until(lambda: from_cache(q), 10, "caches again")
