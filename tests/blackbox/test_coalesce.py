"""Equal reads that run at the same time: sent to Qdrant once a worker, answered each in its own right."""

import threading

from lib import FakeQdrant, head_of, wait_until

SEARCH = "/collections/x/points/search"
BODY = b'{"vector":[0.1,0.2],"limit":3}'
OFF = ["--cache", "off"]


def ask(c, body: bytes = BODY, headers: dict[str, str] | None = None) -> None:
    c.send(head_of("POST", SEARCH, {"Content-Length": str(len(body)), **(headers or {})}) + body)


def follow(q, n: int) -> None:
    wait_until(lambda: q.metric("quiver_tx_state", state="request") >= n, what=f"{n} follow")


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
