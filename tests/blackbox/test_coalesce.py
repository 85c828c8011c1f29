"""Equal reads at the same time go upstream once; nobody gets anything that a read of its own could not have got."""

import threading

import pytest

from lib import FakeQdrant, Quiver, a_search, head_of, unlike, wait_until

SEARCH = "/collections/mine/points/search"
BODY = b'{"vector":[0.25],"limit":3}'


def held(fake: FakeQdrant) -> threading.Event:
    """Searches wait until the event is set."""
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None if x.request.method == "POST" else None
    return go


def known(q: Quiver, n: int) -> None:
    wait_until(lambda: q.metric("quiver_tx_state") >= n, 5, f"{n} requests are under way")


@pytest.fixture
def q(fake: FakeQdrant, start) -> Quiver:
    return start(fake.url, workers=1)


def test_equal_searches_go_upstream_once(q: Quiver, fake: FakeQdrant) -> None:
    go = held(fake)
    conns = [q.conn() for _ in range(20)]
    for c in conns:
        c.send(a_search(SEARCH, BODY))
    known(q, 20)
    go.set()
    answers = [c.read() for c in conns]
    assert all(r.status == 200 for r in answers)
    assert len({str(r.json()["result"]) for r in answers}) == 1
    assert len(fake.seen(path=SEARCH)) == 1


def test_different_searches_do_not_wait_for_each_other(q: Quiver, fake: FakeQdrant) -> None:
    go = held(fake)
    conns = [q.conn() for _ in range(5)]
    for c in conns:
        c.send(a_search(SEARCH))
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 5, 5, "all five are upstream")
    go.set()
    assert all(c.read().status == 200 for c in conns)


def test_credentials_are_never_mixed(q: Quiver, fake: FakeQdrant) -> None:
    go = held(fake)
    conns = [q.conn() for _ in range(3)]
    for n, c in enumerate(conns):
        head = {"Content-Length": str(len(BODY)), "api-key": f"key-{n}"}
        c.send(head_of("POST", SEARCH, head) + BODY)
    wait_until(lambda: len(fake.seen(path=SEARCH)) == 3, 5, "all three are upstream")
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
        c.send(head_of("PUT", "/collections/mine/points?wait=true", {"Content-Length": "2"}) + b"{}")
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
    known(q, 6)
    leader.close() if how == "fin" else leader.reset()
    known(q, 5)
    go.set()
    assert all(c.read().status == 200 for c in followers)
    assert len(fake.seen(path=SEARCH)) <= 2


def test_a_follower_that_hangs_up_disturbs_nobody(q: Quiver, fake: FakeQdrant) -> None:
    go = held(fake)
    conns = [q.conn() for _ in range(6)]
    for c in conns:
        c.send(a_search(SEARCH, BODY))
    known(q, 6)
    conns[3].close()
    conns[5].reset()
    go.set()
    assert all(conns[n].read().status == 200 for n in (0, 1, 2, 4))


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
    known(q, 5)
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
        assert q.ask("PUT", "/collections/mine/points?wait=true", b"{}").status == 200
        r = late.post(SEARCH, BODY)
        assert r.json()["result"] == {"state": 1}, "an answer older than a finished write"
        go.set()
        assert early.read().json()["result"] == {"state": 0}


def test_answers_too_large_to_share_are_asked_for_each(fake: FakeQdrant, start) -> None:
    q = start(fake.url, workers=1, caching={"default": {"coalesce_max_answer": "1KiB"}})
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.ok("x" * 100_000)
    conns = [q.conn() for _ in range(5)]
    for c in conns:
        c.send(a_search(SEARCH, BODY))
    known(q, 5)
    go.set()
    answers = [c.read() for c in conns]
    assert all(r.status == 200 and len(r.json()["result"]) == 100_000 for r in answers)


def test_random_samples_are_never_shared(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.ok({"n": fake.serial()})
    conns = [q.conn() for _ in range(4)]
    for c in conns:
        c.send(a_search("/collections/mine/points/query", b'{"query":{"sample":"random"}}'))
    wait_until(lambda: len(fake.requests) == 4, 5, "all four are upstream")
    go.set()
    assert len({str(c.read().json()["result"]) for c in conns}) == 4
    assert unlike() != unlike()


def test_errors_of_qdrant_are_shared_but_not_kept(q: Quiver, fake: FakeQdrant) -> None:
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and x.error(404, "no such collection")
    conns = [q.conn() for _ in range(4)]
    for c in conns:
        c.send(a_search(SEARCH, BODY))
    known(q, 4)
    go.set()
    assert [c.read().status for c in conns] == [404] * 4
    fake.handler = None
    r = q.post(SEARCH, BODY)
    assert r.status == 200 and not r.hit
