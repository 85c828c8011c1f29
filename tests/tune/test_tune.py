"""Settings become fact, against a real engine: plan, apply, verify, rollback, drift, the commands.

The PATCHes are counted in the engine's own log: one for each repaired drift, none while nothing differs.
"""

import json
import time
from pathlib import Path
from typing import Any, Callable

from lib import wait_until
from tunelib import DIM, Engine, Tuned

WISH = {"index_params": {"m": 24, "ef_construct": 64}, "quantization": {"type": "scalar", "always_ram": True}}
QUIET_S = 5  # --long: 60


def result(job: dict) -> dict:
    (model,) = job["result"]["models"]
    (collection,) = model["collections"]
    return collection


def wished(config: dict) -> bool:
    scalar = (config["quantization_config"] or {}).get("scalar") or {}
    return (
        config["hnsw_config"]["m"] == 24
        and config["hnsw_config"]["ef_construct"] == 64
        and scalar.get("always_ram") is True
    )


def test_plan_apply_verify_rollback(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("plain")
    before = engine.config("plain")
    q = start(indexing={"plain": WISH}, optimizations={"plain": {"vector_size": DIM}})
    plan = q.plan("plain")
    assert [c["path"] for c in plan["changes"]] == [
        "hnsw_config.m",
        "hnsw_config.ef_construct",
        "quantization_config",
    ]
    assert plan["reindex"] is True and engine.patches("plain") == 0
    done = q.apply("plain")
    assert done["state"] == "done", done
    assert result(done)["verified"] is True and result(done)["green"] is True
    assert wished(engine.config("plain")) and engine.patches("plain") == 1
    assert q.plan("plain")["changes"] == []
    assert result(q.apply("plain"))["changed"] is False and engine.patches("plain") == 1
    done = q.rollback("plain")
    assert done["state"] == "done", done
    assert engine.config("plain") == before
    assert engine.patches("plain") == 2


def test_rollback_after_a_restart(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("again")
    before = engine.config("again")
    q = start(indexing={"again": WISH})
    q.apply("again")
    q.term()
    q.wait()
    q.start()
    q.rollback("again")
    assert engine.config("again") == before


def test_what_was_unset_is_written_at_its_default_and_said(
    engine: Engine, start: Callable[..., Tuned]
) -> None:
    engine.create("unset")
    q = start(
        indexing={"unset": {"max_segment_size": 50000, "on_disk": True, "strict_mode": {"enabled": True}}}
    )
    q.apply("unset")
    done = q.rollback("unset")
    notes = " ".join(result(done)["warnings"])
    assert "max_segment_size had been unset" in notes and "on_disk had been unset" in notes
    config = engine.config("unset")
    assert config["params"]["vectors"]["on_disk"] is False
    assert config["strict_mode_config"]["enabled"] is False


def test_another_vector_size_is_told_and_never_changed(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("size", points=10)
    q = start(optimizations={"size": {"vector_size": 4096}})
    plan = q.plan("size")
    assert plan["patch"] is None and any("4096" in w and str(DIM) in w for w in plan["warnings"])


def test_named_vectors(engine: Engine, start: Callable[..., Tuned]) -> None:
    vectors = {"a": {"size": 4, "distance": "Dot"}, "b": {"size": 8, "distance": "Dot"}}
    engine.call("PUT", "/collections/named", {"vectors": vectors})
    q = start(optimizations={"named": {"vector": "b", "vector_size": 8}}, indexing={"named": WISH})
    assert result(q.apply("named"))["verified"] is True
    config = engine.config("named")
    assert config["params"]["vectors"]["b"]["hnsw_config"]["m"] == 24
    assert "hnsw_config" not in config["params"]["vectors"]["a"] and config["hnsw_config"]["m"] == 16


def test_what_the_estimate_of_memory_leaves_out_is_said(engine: Engine, start: Callable[..., Tuned]) -> None:
    many = {"size": 4, "distance": "Dot", "multivector_config": {"comparator": "max_sim"}}
    engine.call("PUT", "/collections/thin", {"sparse_vectors": {"s": {}}})
    engine.call("PUT", "/collections/many", {"vectors": many})
    engine.create("dense", points=10)
    names = ("thin", "many", "dense")
    q = start(optimizations={n: {"memory_limit": "1GiB"} for n in names})
    for name, words in zip(names, ("sparse vectors", "one vector a point", None)):
        (usage,) = q.call("GET", f"/optimizations/memory/usage?model={name}")["models"][0]["collections"]
        for doc in (usage, q.plan(name, points=10**6)):
            said = [w for w in doc["warnings"] if "estimate of memory" in w]
            assert len(said) == (words is not None) and all(words in w for w in said), doc


EVERY = {
    "index_params": {"m": 8, "ef_construct": 50, "max_indexing_threads": 1},
    "full_scan_threshold": 20,
    "indexing_threshold": 200,
    "on_disk": True,
    "segment_number": 3,
    "max_segment_size": 50000,
    "optimizer_threads": 1,
    "strict_mode": {
        "enabled": True,
        "max_query_limit": 100,
        "max_timeout": 50,
        "search_max_hnsw_ef": 300,
        "search_allow_exact": False,
        "search_max_oversampling": 3.5,
        "search_max_batchsize": 20,
        "upsert_max_batchsize": 500,
        "filter_max_conditions": 9,
        "read_rate_limit": 100000,
        "write_rate_limit": 100000,
        "max_points_count": 5000000000,
        "unindexed_filtering_retrieve": False,
        "unindexed_filtering_update": False,
        "condition_max_size": 50,
        "max_collection_vector_size_bytes": 9000000000,
        "max_collection_payload_size_bytes": 9000000000,
        "max_payload_index_count": 7,
        "max_resident_memory_percent": 90,
    },
}
QUANTIZATIONS = [
    ({"type": "scalar", "quantile": 0.9, "always_ram": True}, {"scalar": {"type": "int8", "quantile": 0.9, "always_ram": True}}),
    ({"type": "product", "compression": "x8"}, {"product": {"compression": "x8"}}),
    ({"type": "binary", "encoding": "two_bits", "query_encoding": "scalar8bits"},
     {"binary": {"encoding": "two_bits", "query_encoding": "scalar8bits"}}),
    ({"type": "turbo", "bits": "bits2", "always_ram": True}, {"turbo": {"bits": "bits2", "always_ram": True}}),
    ({"type": "none"}, None),
]  # fmt: skip


def test_every_setting_sticks_and_one_patch_writes_all(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("every")
    q = start(indexing={"every": EVERY})
    assert result(q.apply("every"))["not_stuck"] == [] and engine.patches("every") == 1
    config = engine.config("every")
    assert config["hnsw_config"]["max_indexing_threads"] == 1 and config["params"]["vectors"]["on_disk"] is True
    assert config["strict_mode_config"] == EVERY["strict_mode"]
    assert q.plan("every")["patch"] is None
    done = result(q.rollback("every"))
    assert done["verified"] is True and engine.patches("every") == 2
    assert engine.config("every")["hnsw_config"]["m"] == 16
    assert not engine.config("every")["strict_mode_config"]["enabled"]


def test_every_quantization_comes_and_goes(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("quantized")
    q = start(indexing={"quantized": {}})
    for n, (wish, expected) in enumerate(QUANTIZATIONS, 1):
        q.reload(indexing={"quantized": {"quantization": wish}})
        done = result(q.apply("quantized"))
        assert done["verified"] is True and done["not_stuck"] == [], (wish, done)
        found = engine.config("quantized")["quantization_config"]
        for kind, inner in (expected or {}).items():
            assert {k: found[kind].get(k) for k in inner} == inner
        assert expected is not None or found is None
        assert engine.patches("quantized") == n
        assert q.plan("quantized")["changes"] == []


def test_flat_has_no_graph(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("flat")
    q = start(indexing={"flat": {"index_type": "flat"}})
    assert result(q.apply("flat"))["verified"] is True
    assert engine.config("flat")["hnsw_config"]["m"] == 0
    q.reload(indexing={"flat": {"index_type": "HNSW"}})
    assert result(q.apply("flat"))["verified"] is True
    assert engine.config("flat")["hnsw_config"]["m"] == 16


def test_forecast_of_memory(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("forecast", points=10)
    q = start(indexing={"forecast": WISH}, tuning={"forecast": {"memory_limit": "8GB"}})
    memory = q.plan("forecast")["memory"]
    assert memory["points"] == 10 and memory["within_limit"] is True
    points = 100_000_000
    memory = q.plan("forecast", points=points)["memory"]
    assert memory["points"] == points and memory["within_limit"] is False
    assert points * DIM * 4 < memory["good"] < points * DIM * 4 * 1.5


DRIFTS: list[dict[str, Any]] = [
    {"hnsw_config": {"m": 8}},
    {"quantization_config": "Disabled"},
    {"quantization_config": {"binary": {"always_ram": True}}},
    {
        "hnsw_config": {"ef_construct": 128},
        "quantization_config": {"scalar": {"type": "int8", "always_ram": False}},
    },
    {"optimizers_config": {"indexing_threshold": 20000}},
]


def test_drift_is_repaired_by_one_patch_each(
    engine: Engine, start: Callable[..., Tuned], request: Any
) -> None:
    engine.create("kept")
    q = start(indexing={"kept": {**WISH, "indexing_threshold": 100}}, tuning={"kept": {"enforce": "enforce"}})
    wait_until(lambda: wished(engine.config("kept")), 30, "the first repair")
    wait_until(lambda: q.drift("kept") == [], 30, "no drift")
    ours = engine.patches("kept")
    assert ours == 1
    for foreign, drift in enumerate(DRIFTS, 1):
        engine.call("PATCH", "/collections/kept", drift)
        engine.green("kept")
        wait_until(lambda: engine.patches("kept") == ours + 2 * foreign, 30, f"the repair of {drift}")
        wait_until(lambda: wished(engine.config("kept")) and q.drift("kept") == [], 30, "no drift")
    time.sleep(60 if request.config.getoption("--long") else QUIET_S)
    assert engine.patches("kept") == ours + 2 * len(DRIFTS)


def test_observing_only_shows(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("watched", points=10)
    q = start(indexing={"watched": WISH})
    wait_until(lambda: len(q.drift("watched")) == 3, 10, "drift is known")
    assert q.status("watched")["mode"] == "observe"
    assert engine.patches("watched") == 0


def test_without_a_place_for_the_history_nothing_is_applied(
    engine: Engine, start: Callable[..., Tuned]
) -> None:
    engine.create("unkept", points=10)
    before = engine.config("unkept")
    q = start(indexing={"unkept": WISH}, state="/proc/nowhere")
    assert "state_dir" in json.dumps(q.call("POST", "/optimizations/apply?model=unkept", 503))
    assert engine.config("unkept") == before and engine.patches("unkept") == 0


def test_one_deed_at_a_time(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("busy")
    q = start(indexing={"busy": WISH})
    job = q.call("POST", "/optimizations/apply?model=busy", 202)
    q.call("POST", "/optimizations/rollback?model=busy", 409)
    wait_until(lambda: q.call("GET", f"/jobs/{job['id']}")["state"] == "done", 30, "the job is done")
    assert q.call("GET", f"/jobs/{job['id']}")["progress"] == 1


def test_requests_go_on_and_cached_answers_end(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("live")
    q = start(indexing={"live": {"index_params": {"m": 0}}})
    search = {"vector": [0.5] * DIM, "limit": 5}
    assert q.post("/collections/live/points/search", search).status == 200
    again = q.post("/collections/live/points/search", search)
    assert "hit" in (again.get("cache-status") or ""), again.headers
    q.apply("live")
    again = q.post("/collections/live/points/search", search)
    assert again.status == 200 and "hit" not in (
        again.get("cache-status") or ""
    )  # the PATCH gave up what was cached


def test_the_commands(engine: Engine, start: Callable[..., Tuned], tmp_path: Path) -> None:
    engine.create("words")
    q = start(indexing={"words": WISH})
    plan = q.command_line("plan", "words", "--points", "100000000")
    assert plan.returncode == 0, plan.stderr
    assert "hnsw_config.m" in plan.stdout and "16 -> 24" in plan.stdout and "100000000 points" in plan.stdout
    done = q.command_line("apply", "words")
    assert done.returncode == 0 and "1 of 1 collections changed" in done.stdout, (done.stdout, done.stderr)
    assert "100 %" in done.stderr or "waits for" in done.stderr
    assert "as it should be" in q.command_line("plan", "words").stdout
    back = q.command_line("rollback", "words")
    assert back.returncode == 0 and "24 -> 16" in back.stdout, (back.stdout, back.stderr)
    unknown = q.command_line("plan", "wrods")
    assert unknown.returncode == 1 and "words" in unknown.stderr
    doc = json.loads(q.command_line("plan", "words", "--json").stdout)
    assert doc["models"][0]["model"] == "words"
    lines = [json.loads(line) for line in (tmp_path / "state" / "history.jsonl").read_text().splitlines()]
    assert [r["why"] for r in lines if r["event"] == "change"] == ["apply", "rollback"]


def test_commands_without_a_quiver(start: Callable[..., Tuned]) -> None:
    q = start()
    q.term()
    q.wait()
    answer = q.command_line("plan")
    assert answer.returncode == 3 and "no quiver answers" in answer.stderr
    assert q.command_line("plan", "--nonsense").returncode == 2
    assert q.command_line("rollback", "a", "b").returncode == 2
