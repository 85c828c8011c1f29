"""The same requests straight to the engine and through quiver, cache off, cold and warm, agree."""

import os
import subprocess
import time

import pytest
from lib import ROOT, Quiver
from lib.ops import OPS, op_of
from scenario import NOT_SERVED, STEPS
from side import Side, body_of, should_hit

pytestmark = pytest.mark.timeout(300)
JS = ROOT / "build" / "js"
NAMES = [step.name for step in STEPS]


def test_every_operation_has_a_call(sides: dict[str, Side], foreign: bool) -> None:
    asked = {
        op.name for o in sides["direct"].cold.values() for c in o.calls if (op := op_of(c.method, c.path))
    }
    left_out = {s.name for s in STEPS if s.whole_server} if foreign else set()
    missing = [
        op.name
        for op in OPS
        if op.name not in asked and f"row_{op.name}" not in left_out | {"row_clear_issues"}
    ]
    assert not missing, f"rows of ops.def that no step asks for: {missing}"
    assert not set(NOT_SERVED) - {op.name for op in OPS}, "NOT_SERVED names rows that are not there"


def test_what_is_called_not_served_is_not(sides: dict[str, Side], foreign: bool) -> None:
    """Otherwise the row deserves a real call."""
    if foreign:
        pytest.skip("said of the embedded engine")
    served = {
        name: c.status
        for name in NOT_SERVED
        for c in sides["direct"].cold[f"row_{name}"].calls
        if c.status < 400 and name != "list_full_snapshots"
    }
    assert not served


@pytest.mark.parametrize("name", NAMES)
def test_agrees(name: str, sides: dict[str, Side]) -> None:
    direct = sides["direct"].cold.get(name)
    if direct is None:
        pytest.skip("would change a server that is not ours")
    for side, outcomes, how in (
        ("off", sides["off"].cold, "cache off"),
        ("cache", sides["cache"].cold, "cache cold"),
        ("cache", sides["cache"].warm, "cache warm"),
    ):
        if name in outcomes:
            assert outcomes[name].value == direct.value, f"through quiver, {how}"
            statuses = [c.status for c in outcomes[name].calls[-len(direct.calls) :]]
            assert statuses == [c.status for c in direct.calls], f"{side}, {how}"


@pytest.mark.parametrize("step", [s for s in STEPS if s.reads and s.cached], ids=lambda s: s.name)
def test_the_second_answer_is_a_hit(step, sides: dict[str, Side]) -> None:
    warm = sides["cache"].warm[step.name]
    if not should_hit(step, warm):
        assert not any(c.hit for c in warm.calls if c.status != 200), f"an error from the cache: {warm.calls}"
        pytest.skip("nothing in it is cacheable alone")
    assert all(c.hit for c in warm.calls), warm.calls


def test_nothing_uncacheable_was_a_hit(sides: dict[str, Side]) -> None:
    for outcomes in (sides["cache"].cold, sides["cache"].warm):
        for name, outcome in outcomes.items():
            for c in outcome.calls:
                op = op_of(c.method, c.path)
                if c.hit:
                    assert c.status == 200 and op and op.kind == "CLASS_READ_CACHEABLE", (name, c)
    assert not any(c.hit for c in sides["cache"].warm["query_at_random"].calls)


def test_a_write_that_a_real_client_waited_for_holds_nothing(engine: str, run_name: str) -> None:
    """Clients send Accept-Encoding with all they ask; the quarantine here is the default, a minute."""
    q = Quiver(engine)
    side = Side(
        "waits", f"http://127.0.0.1:{q.port}", f"{run_name}_waits", os.environ.get("QDRANT_API_KEY"), True
    )
    try:
        side.raw("PUT", f"/collections/{side.c}", {"vectors": {"size": 2, "distance": "Dot"}})
        points = {"points": [{"id": 1, "vector": [0.5, 0.25]}]}
        assert side.raw("PUT", f"/collections/{side.c}/points?wait=true", points)["status"] == 200
        side.calls = []
        until = time.monotonic() + 3
        while time.monotonic() < until and not any(c.hit for c in side.calls):
            side.post("/points/count", {"exact": True})
            time.sleep(0.05)
        assert any(c.hit for c in side.calls)
    finally:
        side.clean()
        side.close()
        q.stop()


def test_nothing_of_the_tests_is_left(sides: dict[str, Side], run_name: str) -> None:
    names = [c["name"] for c in sides["direct"].http.get("/collections").json()["result"]["collections"]]
    assert not [n for n in names if n.startswith(run_name)]


@pytest.fixture(scope="session")
def js_client() -> str:
    if not (JS / "node_modules" / "@qdrant").is_dir():
        pytest.fail("the JavaScript client is not installed; tests/run.sh --only qdrant does that")
    return str(ROOT / "tests" / "qdrant" / "js" / "scenario.mjs")


@pytest.fixture(scope="session")
def js_answers(js_client: str, ways: dict[str, str], run_name: str) -> dict[str, list]:
    """Steps of the JavaScript client on each way: [name, answer, second answer]."""
    out = {}
    for way, url in ways.items():
        prefix = f"{run_name}_js_{way[:3]}"
        env = {**os.environ, "JS_MODULES": str(JS)}
        run = subprocess.run(["node", js_client, url, prefix], capture_output=True, timeout=120, env=env)
        assert run.returncode == 0, run.stderr.decode()[-3000:]
        out[way] = body_of(run.stdout.replace(prefix.encode(), b"PREFIX"))
    return out


def test_the_javascript_client_sees_no_difference(js_answers: dict[str, list]) -> None:
    assert len(js_answers["direct"]) > 25
    for way in ("off", "cache"):
        for (name, first, second), (_, right, _) in zip(js_answers[way], js_answers["direct"], strict=True):
            assert first == right, f"{name}, {way}"
            assert second is None or second == right, f"{name}, {way}, asked again"
