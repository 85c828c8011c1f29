"""What quiver must know of a collection before it repeats an answer about it: is it asked for, for every one, and what if it is not told?"""

import threading
import time

import pytest
from lib import FakeQdrant, Quiver, wait_until

BODY = {"vector": [0.1, 0.2, 0.3], "limit": 3}
OFTEN = {"coherence": {"alias_poll": "100ms"}}
LIMITED = {"strict_mode_config": {"enabled": True, "read_rate_limit": 100}}
HIDING = {"optimizer_config": {"prevent_unoptimized": True}}


def ask(q: Quiver, name: str = "mine", body: object = BODY):
    return q.post(f"/collections/{name}/points/search", body)


def why_not(q: Quiver, name: str = "mine") -> str:
    r = ask(q, name)
    assert not r.hit
    return (r.get("cache-status") or "").rpartition("detail=")[2]


def cached(q: Quiver, name: str = "mine") -> None:
    wait_until(lambda: ask(q, name).hit, 5, f"{name} is answered from the cache")


def questions(fake: FakeQdrant, name: str = "mine") -> int:
    return sum(r.path == f"/collections/{name}" for r in list(fake.own))


def answer(fake: FakeQdrant, act, name: str = "mine") -> None:
    """act(exchange) before the usual answer to quiver's own question about the collection; it may answer itself."""
    known = fake.default

    def default(x) -> None:
        if (x.request.method, x.request.path) == ("GET", f"/collections/{name}") and act(x):
            return
        known(x)

    fake.default = default  # type: ignore[method-assign]


def test_names_that_somebody_made_up_are_not_asked_for(fake: FakeQdrant, start) -> None:
    def handler(x) -> None:
        if "made_up" in x.request.path:
            x.error(404, "Not found: Collection doesn't exist!")

    fake.handler = handler
    fake.config = LIMITED
    q = start(fake.url)
    with q.conn() as c:
        for n in range(300):
            assert c.post(f"/collections/made_up_{n}/points/search", BODY).status == 404
    wait_until(lambda: why_not(q) == "rate-limit", 5, "there is room for those that are there")
    assert not [r.path for r in list(fake.own) if "made_up" in r.path]


def test_names_in_doubt_are_asked_for_once(fake: FakeQdrant, start) -> None:
    """Qdrant refuses a body before it looks for the collection."""
    fake.handler = lambda x: x.error(400, "Format error in JSON body") if "doubt" in x.request.path else None
    fake.absent.add("doubt")
    q = start(fake.url, quiver=OFTEN)
    assert ask(q, "doubt").status == 400
    wait_until(lambda: questions(fake, "doubt") == 1, 5, "it is asked for")
    rounds = sum(r.path == "/aliases" for r in list(fake.own))
    wait_until(lambda: sum(r.path == "/aliases" for r in list(fake.own)) > rounds + 5, 5, "rounds go by")
    assert questions(fake, "doubt") == 1


def test_the_thousandth_collection_is_as_well_known_as_the_first(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    with q.conn() as c:
        for n in range(1000):
            assert c.post(f"/collections/many_{n}/points/search", BODY).status == 200
    wait_until(lambda: q.metric("model_collection_points", collection="many_999"), 20, "all are known")
    fake.config = LIMITED
    wait_until(lambda: why_not(q, "late") == "rate-limit", 5, "its limit counts")
    fake.config, fake.update_queue = HIDING, {"length": 0, "deferred_points": 5}
    wait_until(lambda: why_not(q, "later") == "unindexed", 5, "its points are hidden")
    assert q.metric("model_collection_points") == 1002


@pytest.mark.big
def test_what_there_is_no_room_for_is_not_repeated(fake: FakeQdrant, start) -> None:
    room = 4096  # FACTS_COLLECTIONS_MAX
    q = start(fake.url)
    with q.conn() as c:
        for n in range(room):
            assert c.post(f"/collections/many_{n}/points/search", BODY).status == 200
    wait_until(lambda: q.log_has("facts_full"), 30, "it is said")
    wait_until(lambda: why_not(q, "late") == "facts", 5, "nothing is known of one more")
    begin = time.monotonic()
    for _ in range(5):
        assert why_not(q, "late") == "facts"
    assert time.monotonic() - begin < 2, "nobody waits for it"
    cached(q, "many_0")
    fake.absent.add("many_7")
    assert q.ask("DELETE", "/collections/many_7").status == 200
    cached(q, "late")  # in the place of the one that is gone


def test_an_answer_that_is_there_waits_for_what_must_be_known(fake: FakeQdrant, start) -> None:
    slow = threading.Event()
    answer(fake, lambda x: slow.wait(10) and False)
    q = start(fake.url)
    assert not ask(q).hit
    threading.Timer(0.1, slow.set).start()
    assert ask(q).hit
    assert len(fake.seen("POST")) == 1


@pytest.mark.parametrize("config, why", [(LIMITED, "rate-limit"), (HIDING, "unindexed")])
def test_nothing_is_repeated_before_that(fake: FakeQdrant, start, config: dict, why: str) -> None:
    slow = threading.Event()
    answer(fake, lambda x: slow.wait(10) and False)
    fake.config, fake.update_queue = config, {"length": 0, "deferred_points": 5}
    q = start(fake.url)
    assert not ask(q).hit
    assert why_not(q) == "facts", "it takes too long"
    slow.set()
    wait_until(lambda: why_not(q) == why, 5, "it is known")


def test_lookups_must_be_known_too(fake: FakeQdrant, start) -> None:
    fake.config, fake.update_queue = HIDING, {"length": 0, "deferred_points": 0}
    answer(fake, lambda x: x.error(500, "cannot tell") or True, name="far")
    q = start(fake.url)
    body = {"query": 1, "lookup_from": {"collection": "far"}}

    def detail() -> str:
        r = q.post("/collections/mine/points/query", body)
        assert not r.hit
        return (r.get("cache-status") or "").rpartition("detail=")[2]

    wait_until(lambda: detail() == "facts", 5, "far is not known")
    cached(q)


def test_while_qdrant_fails_to_tell_nothing_is_repeated(fake: FakeQdrant, start) -> None:
    failing = [True]
    answer(fake, lambda x: failing[0] and (x.error(500, "shard is dead") or True))
    q = start(fake.url, quiver=OFTEN)
    ask(q)
    wait_until(lambda: why_not(q) == "facts", 5, "it is not known")
    begin = time.monotonic()
    for _ in range(10):
        assert why_not(q) == "facts"
    assert time.monotonic() - begin < 1, "nobody waits for it"
    failing[0] = False
    cached(q)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 501])
def test_where_qdrant_does_not_tell_it_is_cached_all_the_same(fake: FakeQdrant, start, status: int) -> None:
    answer(fake, lambda x: x.error(status, "no") or True)
    q = start(fake.url)
    cached(q)
    assert q.metric("model_collection_points") == 0, "nothing is known of it"


def test_a_collection_made_anew_is_not_taken_for_the_one_that_was_not_there(fake: FakeQdrant, start) -> None:
    fake.absent.add("mine")
    q = start(fake.url)
    cached(q)  # whatever answers for it
    fake.absent.clear()
    fake.config = LIMITED
    assert q.ask("PUT", "/collections/mine", b"{}").status == 200
    assert not ask(q).hit
    wait_until(lambda: why_not(q) == "rate-limit", 5, "its limit counts")


def test_a_change_is_asked_for_until_qdrant_tells(fake: FakeQdrant, start) -> None:
    failures: list[int] = []
    answer(fake, lambda x: failures and (x.error(failures.pop(), "busy") or True))
    q = start(fake.url, quiver=OFTEN)
    cached(q)
    fake.config = LIMITED
    failures.append(500)
    assert q.ask("PUT", "/collections/mine/index?wait=true", b"{}").status == 200  # it changes no names
    wait_until(lambda: not failures, 5, "it is asked in vain")
    wait_until(lambda: "rate-limit" in (ask(q).get("cache-status") or ""), 5, "its limit counts")
