"""Equal reads that run at the same time: sent to Qdrant once a worker, answered each in its own right."""

import select
import threading

import pytest

from lib import FakeQdrant, Quiver, Redis, a_search, head_of, unlike, wait_until

SEARCH = "/collections/x/points/search"
BODY = b'{"vector":[0.1,0.2],"limit":3}'
OFF = ["--cache", "off"]


def ask(c, body: bytes = BODY, headers: dict[str, str] | None = None) -> None:
    c.send(head_of("POST", SEARCH, {"Content-Length": str(len(body)), **(headers or {})}) + body)


def follow(q, n: int) -> None:
    wait_until(lambda: q.metric("quiver_tx_state", state="request") >= n, what=f"{n} follow")


@pytest.fixture
def q(fake: FakeQdrant, start) -> Quiver:
    return start(fake.url, workers=1)


def held(fake: FakeQdrant) -> threading.Event:
    """Searches wait until the event is set."""
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None if x.request.method == "POST" else None
    return go


def test_a_thousand_equal_searches_go_upstream_once_a_worker(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=2, flags=OFF)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    conns = [q.conn() for _ in range(1000)]
    for c in conns:
        ask(c)
    follow(q, 998)
    go.set()
    answers = [c.read() for c in conns]
    assert {r.status for r in answers} == {200} and len({r.body for r in answers}) <= 2
    assert len(fake.seen(path=SEARCH)) <= 2


@pytest.mark.parametrize("flags", [OFF, []], ids=["off", "on"])
def test_searches_that_differ_in_one_digit_anywhere_are_not_equal(fake: FakeQdrant, start, flags: list[str]) -> None:
    q = start(fake.url, workers=1, flags=flags, tuning={"default": {"connections": 64}})
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    digits = ["0.5000"] * 200
    bodies = []
    for at in range(0, 200, 5):
        mine = [*digits[:at], "0.5001", *digits[at + 1 :]]
        bodies.append(b'{"vector":[' + ",".join(mine).encode() + b'],"limit":3}')
    conns = [q.conn() for _ in bodies for _ in range(2)]
    for i, c in enumerate(conns):
        ask(c, bodies[i // 2])
    follow(q, len(bodies))
    wait_until(lambda: len(fake.seen(path=SEARCH)) == len(bodies), what="each is upstream once")
    go.set()
    answers = [c.read() for c in conns]
    assert {r.status for r in answers} == {200}
    assert sorted(r.body for r in fake.seen(path=SEARCH)) == sorted(bodies)
    results = [r.json()["result"] for r in answers]
    assert all(results[2 * i] == results[2 * i + 1] for i in range(len(bodies)))


def test_what_was_collapsed_says_so(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    conns = [q.conn() for _ in range(3)]
    for c in conns:
        ask(c)
    follow(q, 2)
    go.set()
    words = sorted(c.read().get("cache-status") or "" for c in conns)
    assert words == ["quiver; fwd=uri-miss; collapsed"] * 2 + ["quiver; fwd=uri-miss; stored"]


def test_a_lost_leader_hands_its_place_to_a_follower(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, flags=OFF)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    leader, *others = [q.conn() for _ in range(4)]
    ask(leader)
    wait_until(lambda: fake.seen(path=SEARCH), what="the leader is upstream")
    for c in others:
        ask(c)
    follow(q, 3)
    leader.reset()
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 2, what="a follower leads")
    go.set()
    assert [c.read().status for c in others] == [200] * 3
    assert len(fake.seen(path=SEARCH)) == 2


def test_a_follower_that_leaves_disturbs_nobody(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, flags=OFF)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    leader, gone, other = [q.conn() for _ in range(3)]
    for c in (leader, gone, other):
        ask(c)
    follow(q, 2)
    gone.reset()
    wait_until(lambda: q.metric("quiver_tx_state", state="request") == 1, what="one follows")
    go.set()
    assert leader.read().status == other.read().status == 200
    assert len(fake.seen(path=SEARCH)) == 1


def test_a_write_between_parts_those_before_from_those_after(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, flags=OFF)
    go = threading.Event()
    fake.handler = lambda x: x.request.path == SEARCH and x.wait(go) and None
    before, after = q.conn(), q.conn()
    ask(before)
    wait_until(lambda: fake.seen(path=SEARCH), what="the first is upstream")
    assert q.ask("PUT", "/collections/x/points?wait=true", b"{}").status == 200
    ask(after)
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 2, what="the second asks for itself")
    go.set()
    assert before.read().status == after.read().status == 200


def test_a_write_through_another_quiver_parts_those_before_from_those_after(fake: FakeQdrant, start, redis: Redis) -> None:
    patient = {"redis": {"budget": "500ms"}}
    one, two = (start(fake.url, workers=1, flags=[*OFF, "--redis", redis.url], quiver=patient) for _ in range(2))
    for each in (one, two):
        wait_until(lambda: each.metric("quiver_redis_up") >= 1, 10, "Redis is connected")
    go = threading.Event()
    fake.handler = lambda x: x.request.path == SEARCH and x.wait(go) and None
    before, beside, after = [one.conn() for _ in range(3)]
    ask(before)
    wait_until(lambda: fake.seen(path=SEARCH), what="the first is upstream")
    ask(beside)
    follow(one, 1)
    assert two.ask("PUT", "/collections/x/points?wait=true", b"{}").status == 200
    ask(after)
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 2, what="the last asks for itself")
    go.set()
    first, second, third = [c.read().json()["result"] for c in (before, beside, after)]
    assert first == second != third


def test_what_waits_for_a_connection_is_joined_also_across_a_write(fake: FakeQdrant, start) -> None:
    """What is sent later sees at least what was there now."""
    q = start(fake.url, workers=1, flags=OFF, optimizations={"x": {"collections": ["x"]}}, tuning={"x": {"connections": 1}})
    go, looks = threading.Event(), b'{"vector":[0.1],"limit":3,"lookup_from":{"collection":"y"}}'
    fake.handler = lambda x: x.request.path == SEARCH and x.wait(go) and None
    busy, leader, follower = [q.conn() for _ in range(3)]
    ask(busy, unlike())
    wait_until(lambda: fake.seen(path=SEARCH), what="the only connection is busy")
    ask(leader, looks)
    wait_until(lambda: q.metric("model_queue_length", model="x") == 1, what="the leader waits")
    assert q.ask("PUT", "/collections/y/points?wait=true", b"{}").status == 200
    ask(follower, looks)
    follow(q, 1)
    go.set()
    busy.read()
    assert leader.read().json()["result"] == follower.read().json()["result"]
    assert [r.body for r in fake.seen(path=SEARCH)].count(looks) == 1


def test_where_others_write_past_quiver_what_is_sent_is_not_joined(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, caching={"default": {"external_writes": True}})
    go = held(fake)
    conns = [q.conn() for _ in range(2)]
    for n, c in enumerate(conns, 1):
        ask(c)
        wait_until(lambda: len(fake.seen(path=SEARCH)) == n, what="each asks for itself")
    go.set()
    assert [c.read().status for c in conns] == [200] * 2


def test_a_follower_has_a_deadline_of_its_own(fake: FakeQdrant, start) -> None:
    """Its leader fails; another follower leads then and has more time than is left to it."""
    limits = {"first_byte_timeout": "1s", "queue_timeout": "300ms"}
    q = start(fake.url, workers=1, flags=OFF, tuning={"default": limits})
    go = held(fake)
    leader, *followers = [q.conn() for _ in range(3)]
    ask(leader)
    wait_until(lambda: fake.seen(path=SEARCH), what="the leader is upstream")
    for c in followers:
        ask(c)
    assert leader.read().status == 504
    (first,), _, _ = select.select([c.sock for c in followers], [], [], 5)
    late, leads = followers if first is followers[0].sock else followers[::-1]
    go.set()
    r = late.read()
    assert r.status == 504 and "an equal request was followed" in r.json()["status"]["error"]
    assert leads.read().status == 200
    assert len(fake.seen(path=SEARCH)) == 2


def test_credentials_are_never_shared(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, flags=OFF)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    conns = [q.conn() for _ in range(2)]
    for n, c in enumerate(conns):
        ask(c, headers={"api-key": f"key-{n}"})
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 2, what="each asks with its own key")
    go.set()
    assert [c.read().status for c in conns] == [200] * 2


def test_an_answer_too_large_to_hold_is_asked_for_by_each(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, flags=OFF, caching={"default": {"coalesce_max_answer": "1KiB"}})
    go, big = threading.Event(), b'{"result":"' + b"x" * 4000 + b'","status":"ok","time":0.1}'

    def answer(x) -> None:
        x.wait(go)
        x.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(big) + big)

    fake.handler = answer
    conns = [q.conn() for _ in range(3)]
    for c in conns:
        ask(c)
    follow(q, 2)
    go.set()
    assert [c.read().body for c in conns] == [big] * 3
    assert len(fake.seen(path=SEARCH)) == 3


@pytest.mark.parametrize("cache", ["on", "off"])
@pytest.mark.parametrize(
    "line",
    [("set-cookie", "session=1"), ("cache-control", "max-age=3, private"), ("Cache-Control", "no-store"), ("content-encoding", "br"),
     ("vary", "Origin, X-Tenant"), ("Vary", "*")],
    ids=" ".join,
)  # fmt: skip
def test_an_answer_for_one_client_alone_is_asked_for_by_each(fake: FakeQdrant, start, line, cache: str) -> None:
    """Not Qdrant's: a box between says so."""
    q = start(fake.url, workers=1, flags=["--cache", cache])
    go = threading.Event()

    def answer(x) -> None:
        if x.request.path == SEARCH:
            x.wait(go)
            x.reply(200, {"result": fake.serial(), "status": "ok", "time": 0.0}, [line])

    fake.handler = answer
    conns = [q.conn() for _ in range(3)]
    for c in conns:
        ask(c)
    follow(q, 2)
    go.set()
    assert len({c.read().body for c in conns}) == 3
    assert len(fake.seen(path=SEARCH)) == 3


def test_different_searches_do_not_wait_for_each_other(q: Quiver, fake: FakeQdrant) -> None:
    go = held(fake)
    conns = [q.conn() for _ in range(5)]
    for c in conns:
        c.send(a_search(SEARCH))
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 5, 5, "all five are upstream")
    go.set()
    assert all(c.read().status == 200 for c in conns)


def test_it_can_be_off(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, caching={"default": {"coalesce": False}})
    go = held(fake)
    conns = [q.conn() for _ in range(4)]
    for c in conns:
        c.send(a_search(SEARCH, BODY))
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 4, 5, "all four are upstream")
    go.set()
    assert all(c.read().status == 200 for c in conns)


def test_writes_are_never_joined(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    conns = [q.conn() for _ in range(4)]
    for c in conns:
        c.send(head_of("PUT", "/collections/x/points?wait=true", {"Content-Length": "2"}) + b"{}")
    wait_until(lambda: len(fake.seen("PUT")) == 4, 5, "all four are upstream")
    go.set()
    assert all(c.read().status == 200 for c in conns)


@pytest.mark.parametrize("how", ["fin", "reset"])
def test_a_leader_that_hangs_up_takes_nobody_along(q: Quiver, fake: FakeQdrant, how: str) -> None:
    go = held(fake)
    leader = q.conn()
    leader.send(a_search(SEARCH, BODY))
    wait_until(lambda: fake.seen(path=SEARCH), what="the leader is upstream")
    followers = [q.conn() for _ in range(5)]
    for c in followers:
        c.send(a_search(SEARCH, BODY))
    follow(q, 5)
    leader.close() if how == "fin" else leader.reset()
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 2, what="a follower leads")
    go.set()
    assert all(c.read().status == 200 for c in followers)
    assert len(fake.seen(path=SEARCH)) <= 2


def test_a_leaders_bad_answer_is_its_own(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()

    def answer(x) -> None:
        if len(fake.seen(path=SEARCH)) == 1:
            x.wait(go)
            x.close()

    fake.handler = answer
    leader = q.conn()
    leader.send(a_search(SEARCH, BODY))
    wait_until(lambda: fake.seen(path=SEARCH), what="the leader is upstream")
    followers = [q.conn() for _ in range(4)]
    for c in followers:
        c.send(a_search(SEARCH, BODY))
    follow(q, 4)
    go.set()
    assert leader.read().status == 502
    assert [c.read().status for c in followers] == [200] * 4


def test_who_comes_after_a_write_does_not_get_what_was_read_before_it(q: Quiver, fake: FakeQdrant) -> None:
    state, go = [0], threading.Event()

    def answer(x) -> None:
        if x.request.method == "PUT":
            state[0] += 1
            return
        seen = state[0]
        if seen == 0:
            x.wait(go)
        x.ok({"state": seen})

    fake.handler = answer
    with q.conn() as early, q.conn() as late:
        early.send(a_search(SEARCH, BODY))
        wait_until(lambda: fake.seen(path=SEARCH), what="the first read is upstream")
        assert q.ask("PUT", "/collections/x/points?wait=true", b"{}").status == 200
        r = late.post(SEARCH, BODY)
        assert r.json()["result"] == {"state": 1}, "an answer older than a finished write"
        go.set()
        assert early.read().json()["result"] == {"state": 0}


@pytest.mark.parametrize("cache", ["on", "off"])
def test_who_comes_after_an_alias_has_moved_does_not_follow_who_came_before(fake: FakeQdrant, start, cache: str) -> None:
    q = start(fake.url, workers=1, flags=["--cache", cache])
    go, target = threading.Event(), "/collections/now/points/search"

    def answer(x) -> None:
        if x.request.path == target:
            seen = fake.aliases["now"]
            if seen == "blue":
                x.wait(go)
            x.ok(seen)

    def move(to: str) -> None:
        actions = {"actions": [{"create_alias": {"alias_name": "now", "collection_name": to}}]}
        assert q.post("/collections/aliases", actions).status == 200

    move("blue")
    fake.handler = answer
    with q.conn() as early, q.conn() as late:
        early.send(a_search(target, BODY))
        wait_until(lambda: fake.seen(path=target), what="the first read is upstream")
        move("green")
        assert late.post(target, BODY).json()["result"] == "green"
        go.set()
        assert early.read().json()["result"] == "blue"
    assert q.post(target, BODY).json()["result"] == "green", "what came late was not kept"


def test_random_samples_are_never_shared(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.ok({"n": fake.serial()})
    conns = [q.conn() for _ in range(4)]
    for c in conns:
        c.send(a_search("/collections/x/points/query", b'{"query":{"sample":"random"}}'))
    wait_until(lambda: len(fake.requests) == 4, 5, "all four are upstream")
    go.set()
    assert len({str(c.read().json()["result"]) for c in conns}) == 4


def test_errors_of_qdrant_are_shared_but_not_kept(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.error(404, "no such collection")
    conns = [q.conn() for _ in range(4)]
    for c in conns:
        c.send(a_search(SEARCH, BODY))
    follow(q, 3)
    go.set()
    assert [c.read().status for c in conns] == [404] * 4
    fake.handler = None
    r = q.post(SEARCH, BODY)
    assert r.status == 200 and not r.hit
