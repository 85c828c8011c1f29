"""The table of ways back in conf/README.md: each command is run as it stands there, after what it is to undo was done."""

import json
import re
import subprocess
import threading
from typing import Any, Callable

import pytest
from lib import ROOT, Response, quiver_binary, wait_until
from tunelib import DIM, Engine, Tuned

SEARCH = {"vector": [0.5] * DIM, "limit": 3}
INDEXING = {
    "index_params": {"m": 24},
    "quantization": {"type": "scalar", "always_ram": True},
    "on_disk": True,
    "segment_number": 3,
    "optimizer_threads": 1,
}
CASES = [
    "optimisation failures",
    "performance regression",
    "memory",
    "cache",
    "queries",
    "resource conflicts",
]


def rows() -> list[tuple[str, str]]:
    """(case, command) in the order of the page."""
    text = (ROOT / "conf/README.md").read_text()
    (table,) = re.findall(r"<!-- rollback: begin -->\n(.*?)<!-- rollback: end -->", text, re.S)
    cells = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return [(row[0], row[2].strip("`")) for row in cells]


def run(q: Tuned, command: str) -> str:
    line = command.replace("localhost:8000", f"localhost:{q.api}")
    if line.startswith("quiver "):
        line = f"{quiver_binary()} {line[7:]} --api 127.0.0.1:{q.api}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=100, cwd=q.folder)
    assert done.returncode == 0, (done.stdout, done.stderr)
    if line.startswith("curl"):
        assert "error" not in json.loads(done.stdout).get("status", {}), done.stdout
    return done.stdout


# ---- each way: bring about what is wrong, run the command, look ----

Start = Callable[..., Tuned]


def settings(engine: Engine, name: str) -> dict[str, Any]:
    config = engine.config(name)
    return {
        "m": config["hnsw_config"]["m"],
        "quantization": config["quantization_config"],
        "on_disk": config["params"]["vectors"].get("on_disk") or False,
        "segments": config["optimizer_config"]["default_segment_number"],
        "threads": config["optimizer_config"].get("max_optimization_threads"),
    }


def what_was_applied_is_taken_back(engine: Engine, start: Start, command: str) -> None:
    names = ["mixtral"] if "mixtral" in command else ["mixtral", "hermes"]
    before = {name: settings(engine, name) for name in names}
    q = start(indexing={name: INDEXING for name in names})
    for name in names:
        q.apply(name)
        now = settings(engine, name)
        assert now == {"m": 24, "quantization": now["quantization"], "on_disk": True, "segments": 3, "threads": 1}
        assert now["quantization"]["scalar"]["always_ram"] is True
    run(q, command)
    assert {name: settings(engine, name) for name in names} == before
    assert all(q.status(name)["resting"] for name in names)


def nothing_is_repaired_any_more(engine: Engine, start: Start, command: str) -> None:
    q = start(indexing={"mixtral": {"index_params": {"m": 24}}}, tuning={"mixtral": {"enforce": "enforce"}})
    wait_until(lambda: settings(engine, "mixtral")["m"] == 24, 30, "the first repair")
    wait_until(lambda: q.drift("mixtral") == [], 30, "no drift")
    run(q, command)
    mode = q.status("mixtral")["mode"]
    assert mode in command
    patches = engine.patches("mixtral") + 1
    engine.call("PATCH", "/collections/mixtral", {"hnsw_config": {"m": 16}})
    wait_until(lambda: engine.patches("mixtral") == patches, 5, "the engine has logged it")
    if mode == "observe":
        wait_until(lambda: q.drift("mixtral") == ["hnsw_config.m"], 10, "the difference is shown")
    looks = q.metric("quiver_upstream_received_bytes_total")
    wait_until(lambda: q.metric("quiver_upstream_received_bytes_total") > looks, 15, "quiver goes on asking")
    assert engine.patches("mixtral") == patches and settings(engine, "mixtral")["m"] == 16


def searches_go_as_they_came(engine: Engine, start: Start, command: str) -> None:
    q = start(optimizations={"mixtral": {"vector_size": DIM, "search": {"default": {"hnsw_ef": 32}}}})

    def sent() -> Any:
        doc = q.call("POST", "/models/mixtral/search/optimized")
        return doc["optimization"]["params"]["after"]

    assert sent() == {"hnsw_ef": 32}
    run(q, command)
    assert sent() is None


def upsert(q: Tuned) -> Response:
    body = {"points": [{"id": 1, "vector": [0.5] * DIM, "payload": {"text": "x" * 600_000}}]}
    return q.ask("PUT", "/collections/mixtral/points?wait=true", json.dumps(body).encode())


def upserts_pass(engine: Engine, start: Start, command: str) -> None:
    q = start(tuning={"mixtral": {"memory_limit": "1MB", "memory_policy": "refuse"}})
    assert upsert(q).status == 507
    run(q, command)
    answer = upsert(q)
    assert answer.status == 200 and (answer.get("x-quiver-memory") or "").startswith("warned")


def hit(q: Tuned, name: str) -> bool:
    return "hit" in (q.post(f"/collections/{name}/points/search", SEARCH).get("cache-status") or "")


def old_answers_are_given_up(engine: Engine, start: Start, command: str) -> None:
    names = ["mixtral"] if "mixtral" in command else ["mixtral", "hermes"]
    q = start(optimizations={"mixtral": {}, "hermes": {}})
    for name in names:
        wait_until(lambda: hit(q, name), 10, "a hit")
    run(q, command)
    for name in names:
        assert not hit(q, name)
        wait_until(lambda: hit(q, name), 10, "new answers are kept")


def nothing_is_cached(engine: Engine, start: Start, command: str) -> None:
    q = start(optimizations={"mixtral": {}, "hermes": {}})
    wait_until(lambda: hit(q, "mixtral"), 10, "a hit")
    run(q, command)
    wait_until(lambda: not hit(q, "mixtral"), 5, "all workers know")
    assert not any(hit(q, "mixtral") for _ in range(10))
    wait_until(lambda: hit(q, "hermes"), 10, "others still are")


def each_goes_by_itself(engine: Engine, start: Start, command: str) -> None:
    q = start(optimizations={"mixtral": {}}, flags=["--cache", "off"], workers=1)

    def together() -> float:
        before = q.metric("model_coalesced_requests_total")
        many = {"searches": [{**SEARCH, "params": {"exact": True}}] * 50}
        asks = [
            threading.Thread(target=q.post, args=("/collections/mixtral/points/search/batch", many)) for _ in range(8)
        ]
        for ask in asks:
            ask.start()
        for ask in asks:
            ask.join()
        return q.metric("model_coalesced_requests_total") - before

    wait_until(lambda: together() > 0, 20, "equal searches go together")
    run(q, command)
    assert together() == 0


WAYS: dict[tuple[str, str], Callable[[Engine, Start, str], None]] = {
    ("optimisation failures", "quiver rollback mixtral"): what_was_applied_is_taken_back,
    ("optimisation failures", '{"enforce":"off"}'): nothing_is_repaired_any_more,
    ("performance regression", "rollback?model=mixtral&wait=true"): what_was_applied_is_taken_back,
    ("performance regression", '{"rewrite":false}'): searches_go_as_they_came,
    ("memory", "quiver rollback mixtral"): what_was_applied_is_taken_back,
    ("memory", '{"memory_policy":"warn"}'): upserts_pass,
    ("cache", "models/mixtral/cache/purge"): old_answers_are_given_up,
    ("cache", '{"cache":false}'): nothing_is_cached,
    ("cache", "v1/cache/purge"): old_answers_are_given_up,
    ("queries", '{"rewrite":false}'): searches_go_as_they_came,
    ("queries", '{"coalesce":false}'): each_goes_by_itself,
    ("resource conflicts", "quiver rollback mixtral"): what_was_applied_is_taken_back,
    ("resource conflicts", '{"enforce":"observe"}'): nothing_is_repaired_any_more,
    ("resource conflicts", "quiver rollback"): what_was_applied_is_taken_back,
}


def test_the_six_cases_are_there_and_each_row_is_run() -> None:
    assert list(dict.fromkeys(case for case, _ in rows())) == CASES
    assert len(rows()) == len(WAYS)
    for (case, command), (of, part) in zip(rows(), WAYS):
        assert case == of and part in command, (case, command)


@pytest.fixture(scope="module", autouse=True)
def collections(engine: Engine) -> None:
    for name in ("mixtral", "hermes"):
        engine.create(name)


@pytest.mark.parametrize(("case", "command"), rows(), ids=lambda text: re.sub(r"[^a-z0-9]+", "-", text)[:60])
def test_a_command_undoes_what_it_says(engine: Engine, start: Start, case: str, command: str) -> None:
    before = settings(engine, "mixtral")
    way = list(WAYS.values())[rows().index((case, command))]
    way(engine, start, command)
    if settings(engine, "mixtral")["m"] != before["m"]:
        engine.call("PATCH", "/collections/mixtral", {"hnsw_config": {"m": before["m"]}})
