"""Which writes are done? What Qdrant's telemetry proves of those that were only acknowledged, and what keeps a collection held."""

import threading
import time

import pytest
from lib import FakeQdrant, Quiver, wait_until

SEARCH = "/collections/{}/points/search"
BODY = {"vector": [0.1, 0.2, 0.3], "limit": 3}
QUARANTINE = 0.6


def ask(q: Quiver, name: str = "mine"):
    r = q.post(SEARCH.format(name), BODY)
    assert r.status == 200, r
    return r


def cached(q: Quiver, name: str = "mine", within: float = 5) -> None:
    wait_until(lambda: ask(q, name).hit, within, f"{name} is answered from the cache")


def write(q: Quiver, name: str = "mine", wait: bool = False):
    return q.ask("PUT", f"/collections/{name}/points?wait={'true' if wait else 'false'}", b"{}")


def stays_held(q: Quiver, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not ask(q).hit, f"{end - time.monotonic():.2f} s too early"
        time.sleep(0.02)


@pytest.fixture
def q(fake: FakeQdrant, start) -> Quiver:
    fake.telemetry_of = ["mine"]
    fake.op_num = 0
    return start(fake.url, quiver={"coherence": {"quarantine": "600ms"}})


def patient(fake: FakeQdrant, start) -> Quiver:
    fake.op_num = 0
    return start(fake.url, quiver={"coherence": {"quarantine": "30s"}})


def test_a_number_that_every_shard_has_reached_ends_the_hold(fake: FakeQdrant, start) -> None:
    fake.telemetry_of = ["mine"]
    q = patient(fake, start)
    cached(q)
    assert write(q).status == 200
    stays_held(q, 0.3)
    fake.op_num = 1000
    cached(q)


@pytest.mark.parametrize("ids", [(100, 5), (5, 100)], ids=str)
def test_a_batch_is_applied_when_its_largest_number_is_reached(fake: FakeQdrant, start, ids) -> None:
    """Each shard numbers by itself, and the writes of a batch may go to several."""
    results = [{"operation_id": n, "status": "acknowledged"} for n in ids]
    fake.handler = lambda x: x.ok(results) if x.request.path.endswith("/points/batch") else None
    fake.telemetry_of = ["mine"]
    q = patient(fake, start)
    cached(q)
    fake.op_num = 99
    assert q.post("/collections/mine/points/batch", {"operations": []}).status == 200
    stays_held(q, 0.5)
    fake.op_num = 100
    cached(q)


def test_a_batch_with_a_result_that_has_no_number_is_not_proven_by_numbers(q: Quiver, fake: FakeQdrant) -> None:
    results = [{"operation_id": n, "status": "acknowledged"} for n in (5, None)]
    fake.handler = lambda x: x.ok(results) if x.request.path.endswith("/points/batch") else None
    cached(q)
    fake.op_num = 1000
    assert q.post("/collections/mine/points/batch", {"operations": []}).status == 200
    stays_held(q, QUARANTINE - 0.1)
    cached(q)


def test_it_is_found_among_thousands_of_collections(fake: FakeQdrant, start) -> None:
    """Telemetry tells of all, in some kilobytes each."""
    fake.config = {"hnsw_config": {"more": "x" * 2000}}
    fake.telemetry_of = [f"c{n}" for n in range(3000)] + ["mine"]
    q = patient(fake, start)
    cached(q)
    assert write(q).status == 200
    fake.op_num = 1000
    cached(q, within=10)


def test_a_client_that_takes_compressed_answers_is_proven_as_soon(fake: FakeQdrant, start) -> None:
    """As Python's does, and Qdrant prefers brotli, which quiver does not read."""

    def answer(x) -> None:
        if x.request.method == "PUT" and "br" in (x.request.get("accept-encoding") or ""):
            x.reply(200, b"\x0b\x2f\x80", [("content-encoding", "br")])

    fake.handler = answer
    fake.telemetry_of = ["mine"]
    q = patient(fake, start)
    cached(q)
    fake.op_num = 1000
    takes = {"Accept-Encoding": "gzip, deflate, br, zstd"}
    assert q.ask("PUT", "/collections/mine/points", b"{}", takes).status == 200
    cached(q)


def test_updates_that_wait_in_the_queue_keep_the_hold(q: Quiver, fake: FakeQdrant) -> None:
    cached(q)
    fake.queue_length = 3
    assert write(q).status == 200
    stays_held(q, 3 * QUARANTINE)
    fake.queue_length = 0
    cached(q)


@pytest.mark.parametrize("wait", [False, True])
def test_so_they_do_where_telemetry_tells_nothing(q: Quiver, fake: FakeQdrant, wait: bool) -> None:
    """The collection tells the same; what has failed holds as well."""
    fake.telemetry_status = 403
    fake.update_queue = {"length": 3}
    fake.handler = lambda x: x.error(500, "no") if wait and x.request.method == "PUT" else None
    cached(q)
    write(q, wait=wait)
    stays_held(q, 3 * QUARANTINE)
    fake.update_queue = {"length": 0}
    cached(q)


def test_so_they_do_for_three_hundred_collections(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"coherence": {"quarantine": "2s"}})  # telemetry of so many takes its time on a busy machine
    names = [f"c{n}" for n in range(300)]
    fake.telemetry_of, fake.queue_length, fake.op_num = names, 3, 0
    for name in names:
        cached(q, name)
    for name in names:
        assert write(q, name).status == 200
    time.sleep(5)
    assert [name for name in names for _ in range(2) if ask(q, name).hit] == []
    fake.queue_length, fake.op_num = 0, 1000
    for name in names:
        cached(q, name)


@pytest.mark.parametrize("fate", ["cut", 202, 408, 500])
def test_so_they_do_where_nobody_knows_what_became_of_the_write(q: Quiver, fake: FakeQdrant, fate) -> None:
    """It may come when the queue comes to it: nothing from before is kept until then."""
    cached(q)
    fake.queue_length = 3
    fake.handler = lambda x: (
        None if x.request.method != "PUT" else x.reset() if fate == "cut" else x.reply(fate, {"status": "?"})
    )
    write(q)
    stays_held(q, 3 * QUARANTINE)
    fake.queue_length = 0
    cached(q)


def test_so_they_do_after_a_write_that_took_too_long(fake: FakeQdrant, start) -> None:
    fake.telemetry_of, fake.queue_length = ["mine"], 3
    late = threading.Event()
    fake.handler = lambda x: late.wait(20) and x.close() if x.request.method == "PUT" else None
    q = start(
        fake.url,
        quiver={"coherence": {"quarantine": "600ms"}},
        tuning={"default": {"write_timeout": "300ms"}},
    )
    cached(q)
    assert write(q).status == 504
    stays_held(q, 3 * QUARANTINE)
    fake.queue_length = 0
    cached(q)
    late.set()


def test_replicas_elsewhere_may_lag_behind(q: Quiver, fake: FakeQdrant) -> None:
    fake.remote, fake.op_num = [{"peer_id": 2, "searches": {}}], 1000
    cached(q)
    begin = time.monotonic()
    assert write(q).status == 200
    stays_held(q, QUARANTINE - 0.1)
    cached(q)
    assert time.monotonic() - begin > QUARANTINE - 0.1


def test_hidden_points_keep_the_hold_after_the_number_is_reached(fake: FakeQdrant, start) -> None:
    fake.config = {"optimizer_config": {"prevent_unoptimized": True}}
    fake.update_queue = {"length": 0, "deferred_points": 0}
    fake.telemetry_of, fake.op_num = ["mine"], 1000
    q = start(fake.url, quiver={"coherence": {"quarantine": "600ms"}})
    cached(q)
    fake.update_queue = {"length": 0, "deferred_points": 5}
    assert write(q).status == 200
    stays_held(q, 3 * QUARANTINE)
    fake.update_queue = {"length": 0, "deferred_points": 0}
    cached(q)


def test_a_write_by_an_alias_is_proven_by_the_servers_that_it_went_to(fake: FakeQdrant, start) -> None:
    with FakeQdrant() as second:
        second.aliases = {"nick": "mine"}
        for server, reached in ((fake, 1000), (second, 0)):
            server.telemetry_of, server.op_num = ["mine"], reached
        groups = {"upstreams": {"default": fake.url, "second": second.url}, "coherence": {"quarantine": "30s"}}
        q = start(None, quiver=groups, optimizations={"m": {"collections": ["nick"], "upstream": "second"}})
        cached(q, "nick")
        assert write(q, "nick").status == 200
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            assert not ask(q, "nick").hit
        second.op_num = 1000
        cached(q, "nick")


def test_a_finished_write_ends_the_holds_of_those_before_it(fake: FakeQdrant, start) -> None:
    """One shard, one replica: Qdrant takes them in turn. Telemetry tells nothing here."""
    q = patient(fake, start)
    cached(q)
    assert write(q).status == 200
    stays_held(q, 0.2)
    assert write(q, wait=True).status == 200
    cached(q, within=3)


@pytest.mark.parametrize(
    "method, target, result",
    [
        ("POST", "points/batch", []),  # of no operations
        ("POST", "shards/0/cleanup", {"operation_id": None, "status": "completed"}),
        ("POST", "debug", {"operation_id": 7, "status": "acknowledged"}),
        ("POST", "points/something-new", {"operation_id": None, "status": "completed"}),
    ],
    ids=["an empty batch", "a cleanup", "one that did not wait", "something new"],
)
def test_what_did_not_stand_in_the_queue_ends_none(fake: FakeQdrant, start, method: str, target: str, result) -> None:
    """It is done, and the one before it may not be."""
    fake.handler = lambda x: x.ok(result) if x.request.path.endswith(target) else None
    q = patient(fake, start)
    cached(q)
    assert write(q).status == 200
    assert q.ask(method, f"/collections/mine/{target}?wait=true", b"{}").status == 200
    stays_held(q, 1)


def test_with_two_replicas_it_ends_none(fake: FakeQdrant, start) -> None:
    fake.params = {"replication_factor": 2}
    q = patient(fake, start)
    cached(q)
    assert write(q).status == 200
    assert write(q, wait=True).status == 200
    stays_held(q, 3)


def test_each_streamed_collection_is_said_once(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"coherence": {"quarantine": "60s"}})

    def said(name: str) -> int:
        return sum("not_cached" in line and f"collection={name} " in line for line in list(q.lines))

    def stream() -> bool:
        assert write(q, "one").status == write(q, "two").status == 200
        return said("one") > 0 and said("two") > 0

    wait_until(stream, 10, "both are named")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        stream()
    assert (said("one"), said("two")) == (1, 1)


@pytest.mark.parametrize("wait", [False, True])
def test_hidden_points_keep_it_out_of_the_cache_where_nothing_is_proven(fake: FakeQdrant, start, wait: bool) -> None:
    """Telemetry tells nothing; when the quarantine is over the points are hidden still, and will appear without a write."""
    fake.config = {"optimizer_config": {"prevent_unoptimized": True}}
    fake.update_queue = {"length": 0, "deferred_points": 0}
    fake.telemetry_status = 403
    q = start(fake.url, quiver={"coherence": {"quarantine": "600ms"}})
    cached(q)
    fake.update_queue = {"length": 0, "deferred_points": 5}
    assert write(q, wait=wait).status == 200
    stays_held(q, 3 * QUARANTINE)
    fake.update_queue = {"length": 0, "deferred_points": 0}
    cached(q, within=10)
