"""memory_limit against a real engine: a load ends at the limit, room makes it go on."""

import json
from typing import Callable

from lib import Response, wait_until
from tunelib import DIM, Engine, Tuned

MB = 1_000_000


def load(q: Tuned, first: int, n: int = 100) -> Response:
    points = [{"id": first + i, "vector": [((first + i) * k % 97) / 97 for k in range(DIM)]} for i in range(n)]
    return q.ask("PUT", "/collections/full/points?wait=true", json.dumps({"points": points}).encode())


def used(engine: Engine) -> int:
    total = engine.call("GET", "/collections/full/memory")["total"]
    return total["ram_bytes"] + total["expected_cache_bytes"]


def test_a_load_ends_at_the_limit_and_goes_on_when_there_is_room(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("full", points=100)
    q = start(tuning={"full": {"memory_limit": "3MB", "memory_policy": "refuse"}})
    status, first = 200, 100
    while status == 200 and first < 10_000:
        status = load(q, first).status
        first += 100
    assert status == 507
    assert MB < used(engine) <= 3 * MB, "not long before the limit, and not behind it"
    usage = q.call("GET", "/optimizations/memory/usage?model=full")["models"][0]["collections"][0]
    assert usage["within_limit"] is True and usage["measured"]["good"] == used(engine)
    removal = {"points": list(range(first))}
    answer = q.post("/collections/full/points/delete?wait=true", removal)
    assert answer.status == 200, answer.body
    wait_until(lambda: load(q, 0).status == 200, 10, "there is room")


def test_by_default_it_is_only_warned_of(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("warned", points=1000)
    q = start(tuning={"warned": {"memory_limit": "1MB"}})
    points = [{"id": i, "vector": [0.25] * DIM} for i in range(500)]
    body = json.dumps({"points": points}).encode()

    def warned() -> bool:
        answer = q.ask("PUT", "/collections/warned/points?wait=true", body)
        assert answer.status == 200
        return (answer.get("x-quiver-memory") or "").startswith("warned; limit=1000000")

    wait_until(warned, 10, "the warning")
    assert q.log_has("memory_limit", "model=warned", "outcome=warned")
