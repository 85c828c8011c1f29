"""memory_limit: upserts that would break it are warned of, refused, or left alone."""

import json
import threading
import time

from lib import FakeQdrant, Quiver, Response, wait_until

MB = 1_000_000
POINTS = "/collections/mixtral/points"


def tuning(policy: str | None = "refuse", limit: str = "100MB", model: str = "mixtral") -> dict:
    return {model: {"memory_limit": limit, **({"memory_policy": policy} if policy else {})}}


def upsert(n_bytes: int = 200) -> dict:
    point = {"id": 1, "vector": [0.1, 0.2, 0.3, 0.4], "payload": {"text": "x" * n_bytes}}
    return {"points": [point]}


def put(q: Quiver, path: str, body: dict) -> Response:
    return q.ask("PUT", path, json.dumps(body).encode(), {"content-type": "application/json"})


def known(q: Quiver, collection: str, value: int) -> None:
    def shows() -> bool:
        return q.metric("model_collection_memory_bytes", collection=collection) == value

    wait_until(shows, 10, f"{collection} takes {value}")


def refused(r: Response) -> bool:
    return r.status == 507 and "memory_limit" in r.json()["status"]["error"]


def test_an_upsert_over_the_limit_is_warned_of_by_default(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning(policy=None))
    r = put(q, POINTS, upsert())
    assert r.status == 200 and (r.get("x-quiver-memory") or "").startswith("warned; limit=100000000; is=150000000")
    assert put(q, POINTS, upsert()).status == 200
    assert q.metric("model_memory_guard_total", model="mixtral", outcome="warned") == 2
    wait_until(lambda: q.log_has("memory_limit", "model=mixtral"), 5, "a line in the log")
    assert sum("memory_limit" in line for line in q.lines) == 1


def test_it_is_refused_in_the_shape_of_qdrants_errors(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning())
    r = put(q, POINTS, upsert())
    assert refused(r) and set(r.json()) == {"status", "time"}
    assert "150000000 bytes of memory (measured)" in r.json()["status"]["error"]
    assert not fake.seen("PUT"), "it reached Qdrant"
    assert q.metric("model_memory_guard_total", model="mixtral", outcome="refused") == 1
    assert q.post(POINTS + "/search", {"vector": [1, 2, 3, 4], "limit": 1}).status == 200


def test_below_the_limit_nothing_is_said(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 50 * MB
    q = start(fake.url, tuning=tuning())
    r = put(q, POINTS, upsert())
    assert r.status == 200 and r.get("x-quiver-memory") is None


def test_one_that_is_too_large_for_what_is_left_is_refused(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 99 * MB
    q = start(fake.url, tuning=tuning())
    assert put(q, POINTS, upsert()).status == 200
    r = put(q, POINTS, upsert(2 * MB))
    assert refused(r), r
    assert put(q, POINTS, upsert()).status == 200, "smaller ones still fit"


def test_a_length_of_any_size_is_no_more_than_over_the_limit(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 50 * MB
    q = start(fake.url, tuning=tuning(policy="warn"))
    known(q, "mixtral", 50 * MB)
    head = f"PUT {POINTS} HTTP/1.1\r\nhost: q\r\ncontent-length: {2**63 - 1}\r\n\r\n".encode()
    claims = [q.conn().send(head + b"x") for _ in range(4)]  # the sum of two would not fit into 64 bits
    wait_until(lambda: q.metric("model_memory_guard_total", model="mixtral", outcome="warned") == 4, 5, "four warnings")
    r = put(q, POINTS, upsert())
    comes_to = int((r.get("x-quiver-memory") or "").split("comes-to=")[1])
    assert 450 * MB <= comes_to <= 5000 * MB, comes_to
    for conn in claims:
        conn.reset()


def test_upserts_pass_again_soon_after_room_was_made(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning())
    assert refused(put(q, POINTS, upsert()))
    fake.memory["mixtral"] = 50 * MB
    wait_until(lambda: put(q, POINTS, upsert()).status == 200, 3, "an upsert passes")
    known(q, "mixtral", 50 * MB)


def test_a_batch_that_comes_slowly_is_judged_by_figures_of_when_it_is_there(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning())
    known(q, "mixtral", 150 * MB)
    body = json.dumps({"operations": [{"upsert": upsert()}]}).encode()
    with q.conn() as c:
        c.send(f"POST {POINTS}/batch HTTP/1.1\r\nhost: q\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body[:9])
        time.sleep(1.2)  # the figures of before the request are old by now; longer than new ones are waited for
        fake.memory["mixtral"] = 50 * MB
        c.send(body[9:])
        assert c.read("POST").status == 200


def test_what_is_under_way_counts_until_it_has_ended(fake: FakeQdrant, start) -> None:
    go = threading.Event()
    fake.memory["mixtral"], fake.vector_size = 85 * MB, 1024
    fake.handler = lambda x: x.wait(go) and None
    q = start(fake.url, tuning=tuning())
    under_way = [threading.Thread(target=put, args=(q, POINTS, upsert(MB))) for _ in range(9)]
    for t in under_way:
        t.start()
    wait_until(lambda: len(fake.seen("PUT")) == 9, 10, "nine are at Qdrant")
    assert refused(put(q, POINTS, upsert(6 * MB)))
    go.set()
    for t in under_way:
        t.join()
    assert put(q, POINTS, upsert(6 * MB)).status == 200, "the others took nothing, Qdrant says"


def test_every_way_to_add_points_is_guarded_and_every_way_to_delete_is_open(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning())
    points, vectors = upsert(), {"points": [{"id": 1, "vector": [1, 2, 3, 4]}]}
    assert refused(put(q, POINTS, points))
    assert refused(put(q, POINTS + "/vectors?wait=true", vectors))
    for operations in ([{"upsert": points}], [{"delete": {"points": [1]}}, {"update_vectors": vectors}]):
        assert refused(q.post(POINTS + "/batch", {"operations": operations})), operations
    assert refused(q.ask("POST", POINTS + "/batch", rb'{"operations":[{"ups\u0065rt":{"points":[]}}]}'))
    with q.conn() as c:
        c.send(f"PUT {POINTS} HTTP/1.1\r\nhost: q\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n".encode())
        assert refused(c.read("PUT"))
    for path, body in (
        ("/delete", {"points": [1]}),
        ("/payload/delete", {"keys": ["a"], "points": [1]}),
        ("/vectors/delete", {"points": [1], "vector": ["a"]}),
        ("/batch", {"operations": [{"delete": {"points": [1]}}, {"clear_payload": {"points": [2]}}]}),
    ):
        r = q.post(POINTS + path, body)
        assert r.status == 200 and r.get("x-quiver-memory") is None, (path, r)


def test_a_long_batch_is_passed_on_in_pieces_and_counts_whole(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 99 * MB
    q = start(fake.url, tuning=tuning())
    long = {"operations": [{"delete": {"points": list(range(400_000))}}]}
    assert refused(q.post(POINTS + "/batch", long))
    fake.memory["mixtral"] = 10 * MB
    wait_until(lambda: q.post(POINTS + "/batch", long).status == 200, 10, "room for it")
    assert fake.last.json() == long


def test_names_that_are_aliases_are_guarded_as_what_they_stand_for(fake: FakeQdrant, start) -> None:
    fake.aliases["now"] = "mixtral"
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning())
    assert refused(put(q, "/collections/now/points", upsert()))


def test_a_model_may_be_named_after_an_alias(fake: FakeQdrant, start) -> None:
    fake.aliases["mixtral"] = "mixtral_v2"
    fake.memory["mixtral_v2"] = 150 * MB
    q = start(fake.url, tuning=tuning())
    assert refused(put(q, POINTS, upsert()))
    assert refused(put(q, "/collections/mixtral_v2/points", upsert())) is False, "that name is no model's"


def test_collections_of_a_pattern_are_waited_for(fake: FakeQdrant, start) -> None:
    fake.memory["m_1"] = 150 * MB
    q = start(fake.url, optimizations={"m": {"collections": "m_*"}}, tuning=tuning(model="m"))
    assert refused(put(q, "/collections/m_1/points", upsert()))


def test_without_a_report_the_estimate_counts(fake: FakeQdrant, start) -> None:
    fake.points, fake.vector_size = 10_000, 4096
    q = start(fake.url, tuning=tuning())
    r = put(q, POINTS, upsert())
    assert refused(r) and "(estimated)" in r.json()["status"]["error"]


def test_off_and_no_limit_leave_upserts_alone(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning={**tuning("off"), "hermes": {"memory_policy": "refuse"}})
    for name in ("mixtral", "hermes", "unknown"):
        r = put(q, f"/collections/{name}/points", upsert())
        assert r.status == 200 and r.get("x-quiver-memory") is None, name


def test_the_policy_is_taken_by_a_reload_and_from_the_environment(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url, tuning=tuning("off"))
    assert put(q, POINTS, upsert()).status == 200
    q.reload(tuning=tuning("refuse"))
    wait_until(lambda: refused(put(q, POINTS, upsert())), 10, "the new policy")
    q = start(fake.url, tuning=tuning(None), env={"MODEL_MEMORY_POLICY_MIXTRAL": "refuse"})
    assert refused(put(q, POINTS, upsert()))


def test_a_limit_that_a_reload_brings_counts_for_what_is_known_already(fake: FakeQdrant, start) -> None:
    fake.memory["mixtral"] = 150 * MB
    q = start(fake.url)
    assert put(q, POINTS, upsert()).status == 200
    wait_until(lambda: q.metric("model_collection_points", collection="mixtral"), 5, "it is known")
    q.reload(tuning=tuning("refuse"))
    wait_until(lambda: refused(put(q, POINTS, upsert())), 10, "the limit")


def test_a_collection_that_is_not_there_is_hardly_asked_for(fake: FakeQdrant, start) -> None:
    fake.absent.add("mixtral")
    start(fake.url, quiver={"coherence": {"alias_poll": "100ms"}}, tuning=tuning())

    def asked(path: str) -> int:
        return sum(r.path == path for r in list(fake.own))

    wait_until(lambda: asked("/aliases") > 5, 10, "rounds go by")
    assert asked("/collections/mixtral") <= 2
    fake.absent.clear()


def test_one_that_comes_into_being_is_guarded_at_its_first_upsert(fake: FakeQdrant, start) -> None:
    fake.absent.add("mixtral")
    q = start(fake.url, tuning=tuning())
    fake.absent.clear()  # made past quiver
    fake.memory["mixtral"] = 150 * MB
    assert refused(put(q, POINTS, upsert()))


def test_the_sizes_of_collections_are_known(fake: FakeQdrant, start) -> None:
    fake.points = 12345
    fake.memory["mixtral"] = 7 * MB
    q = start(fake.url, tuning=tuning())
    known(q, "mixtral", 7 * MB)
    assert q.metric("model_collection_points", collection="mixtral") == 12345
