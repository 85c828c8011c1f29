"""Tests of a model against a real engine: baseline, optimised cold and warm, what can go wrong, what is kept."""

import contextlib
import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Callable

import numpy as np
import pytest

from lib import quiver_binary, wait_until
from tunelib import DIM, POINTS, Engine, Tuned

RUNS = ("baseline", "cold", "warm")
TARGETS = {"target": {"p50": "1h", "ops": 1, "hit_rate": 0.85, "recall": 0.5}}


def measure(q: Tuned, model: str, **query: Any) -> dict:
    more = "".join(f"&{k}={v}" for k, v in query.items())
    return q.call("POST", f"/optimizations/test/{model}?wait=true&seconds=2{more}")


def runs(found: dict) -> dict[str, dict]:
    return {"baseline": found["baseline"], **found["optimised"]}


def only(job: dict) -> dict:
    (model,) = job["result"]["models"]
    return model


def test_a_model_is_measured(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("measured")
    q = start(
        optimizations={"measured": {"vector_size": DIM, "search": {"default": {"hnsw_ef": 32}}}},
        tuning={"measured": TARGETS},
    )
    job = measure(q, "measured")
    assert job["state"] == "done" and job["progress"] == 1, job
    found = only(job)
    assert found["collection"] == "measured" and found["points"] == POINTS and found["from"] == "stored"
    for name, run in runs(found).items():
        assert run["requests"] > 0 and run["ops"] > 0, (name, run)
        assert 0 < run["p50_us"] <= run["p95_us"] <= run["p99_us"], (name, run)
        assert 0.5 < run["recall"] <= 1, (name, run)
    assert runs(found)["baseline"]["hit_rate"] == 0 and runs(found)["cold"]["hit_rate"] == 0
    assert runs(found)["warm"]["hit_rate"] > 0.9
    assert found["met"] is True and all(t["met"] for t in found["targets"].values()), found["targets"]
    assert found["before_apply"] is True and found["first_baseline"]["baseline"] == found["baseline"]


def test_how_requests_go_out(engine: Engine, start: Callable[..., Tuned]) -> None:
    """As many rewritten as there were optimised ones, whatever the configuration forces on others."""
    engine.create("rewritten")
    q = start(optimizations={"rewritten": {"search": {"force": {"hnsw_ef": 16}}}})
    found = runs(only(measure(q, "rewritten")))
    counted = q.metric("optimization_rewrites_total", model="rewritten")
    assert counted == found["cold"]["requests"] + found["warm"]["requests"]


def test_the_first_baseline_is_kept(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("first")
    q = start(indexing={"first": {"index_params": {"m": 24, "ef_construct": 64}}})
    first = only(measure(q, "first"))
    q.apply("first")
    q.term()
    q.wait()
    q.start()
    second = only(measure(q, "first"))
    assert second["before_apply"] is False
    assert second["first_baseline"] == {k: first[k] for k in ("time", "before_apply", "baseline")}
    status = q.status("first")
    assert status["first_baseline"]["before_apply"] is True
    assert status["last_test"]["time"] == second["time"] and status["met"] == second["met"]
    metrics = q.call("GET", "/models/first/metrics")
    assert metrics["recall"] == second["optimised"]["cold"]["recall"]


def test_missed_targets_are_told_one_by_one(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("slow", points=50)
    q = start(tuning={"slow": {"target": {"p50": "1us", "ops": 1, "hit_rate": 0.5}}})
    job = measure(q, "slow")
    found = only(job)
    assert job["state"] == "done" and found["met"] is False and "slow" in job["text"]
    assert found["targets"]["p50_us"]["met"] is False and found["targets"]["ops"]["met"] is True
    assert found["targets"]["recall"] is None


def test_a_collection_that_is_not_there_is_said(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("there", points=20)
    q = start(optimizations={"there": {}, "absent": {}})
    job = q.call("POST", "/optimizations/test/absent?wait=true&seconds=1", 502)
    assert "does not exist" in only(job)["error"] and "does not exist" in job["status"]["error"]
    job = q.call("POST", "/optimizations/test/all-models?wait=true&seconds=1")
    by_name = {m["model"]: m for m in job["result"]["models"]}
    assert job["state"] == "done" and "1 of 2 models" in job["text"] and "absent" in job["text"]
    assert "does not exist" in by_name["absent"]["error"] and "baseline" in by_name["there"]


def test_an_empty_collection_is_asked_with_fixed_vectors(
    engine: Engine, start: Callable[..., Tuned]
) -> None:
    engine.create("empty", points=0)
    q = start(optimizations={"empty": {}})
    found = only(measure(q, "empty"))
    assert found["from"] == "fixed" and found["points"] == 0 and "nothing is stored" in found["warnings"][0]
    assert found["baseline"]["recall"] is None and found["baseline"]["requests"] > 0
    assert found["first_baseline"] is None, "nothing to compare with"


def test_the_named_vector_is_asked(engine: Engine, start: Callable[..., Tuned]) -> None:
    vectors = {n: {"size": size, "distance": "Dot"} for n, size in (("a", 4), ("b", 8))}
    engine.call("PUT", "/collections/two", {"vectors": vectors})
    rng = np.random.default_rng(3)
    points = [
        {"id": i, "vector": {"a": rng.random(4).tolist(), "b": rng.random(8).tolist()}} for i in range(40)
    ]
    engine.call("PUT", "/collections/two/points?wait=true", {"points": points})
    q = start(
        optimizations={
            "one": {"collections": "two", "vector": "b"},
            "other": {"collections": "tw*", "vector": "c"},
        }
    )
    found = only(measure(q, "one"))
    assert found["vector"] == "b" and found["baseline"]["recall"] == 1, found
    job = q.call("POST", "/optimizations/test/other?wait=true&seconds=1", 502)
    assert "claims" in only(job)["error"]  # an exact name beats the pattern
    q.term()
    q.wait()
    q = start(optimizations={"two": {"vector": "c"}})
    job = q.call("POST", "/optimizations/test/two?wait=true&seconds=1", 502)
    assert "'c'" in only(job)["error"] and "a, b" in only(job)["error"]


def test_limits_of_strict_mode_are_reported(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("strict", points=30)
    engine.call(
        "PATCH", "/collections/strict", {"strict_mode_config": {"enabled": True, "search_allow_exact": False}}
    )
    q = start(optimizations={"strict": {}})
    found = only(measure(q, "strict"))
    assert any("exact" in w for w in found["warnings"]) and found["optimised"]["cold"]["recall"] is None
    engine.call("PATCH", "/collections/strict", {"strict_mode_config": {"enabled": True, "max_query_limit": 5}})
    job = q.call("POST", "/optimizations/test/strict?wait=true&seconds=1", 502)
    assert "answered" in only(job)["error"] and "limit" in only(job)["error"].lower()


def test_one_test_at_a_time(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("busy", points=30)
    q = start(optimizations={"busy": {}, "idle": {}})
    job = q.call("POST", "/optimizations/test/busy?seconds=2", 202)
    assert job["kind"] == "test" and job["model"] == "busy" and job["state"] == "running"
    refused = q.call("POST", "/optimizations/test/idle", 409)
    assert f"job {job['id']} " in refused["status"]["error"]
    seen = set()

    def ended() -> bool:
        now = q.call("GET", f"/jobs/{job['id']}")
        seen.add(now["progress"])
        return now["state"] == "done"

    wait_until(ended, 30, "the test is done")
    assert len(seen) > 3 and max(seen) == 1 and all(0 <= p <= 1 for p in seen)


def test_quiver_ends_in_the_middle_of_a_test(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("cut", points=30)
    q = start(optimizations={"cut": {}})
    q.call("POST", "/optimizations/test/cut?seconds=30", 202)
    wait_until(lambda: q.metric("model_requests_total", model="cut") > 40, 10, "it runs")
    q.term()
    assert q.wait(10) == 0


def test_qdrant_goes_away_in_the_middle(tmp_path: Path, start: Callable[..., Tuned]) -> None:
    doomed = Engine(tmp_path)
    try:
        for name in ("gone", "next"):
            doomed.create(name, points=30)
        q = start(optimizations={"gone": {}, "next": {}}, upstream=doomed.url)
        job = q.call("POST", "/optimizations/test/all-models?seconds=20", 202)
        wait_until(lambda: q.metric("model_requests_total", model="gone") > 60, 10, "it runs")
    finally:
        doomed.stop()
    wait_until(lambda: q.call("GET", f"/jobs/{job['id']}")["state"] == "failed", 30, "the test ends")
    ended = q.call("GET", f"/jobs/{job['id']}")
    assert "stopped answering" in ended["text"], ended
    assert [m["model"] for m in ended["result"]["models"]] == ["gone", "next"]
    assert all(m["error"] for m in ended["result"]["models"])


def test_recall_is_what_numpy_says(engine: Engine, start: Callable[..., Tuned]) -> None:
    """Binary quantization without rescoring misses many; how many, numpy knows from the same answers."""
    engine.create("coarse", quantization_config={"binary": {"always_ram": True}})
    params = {"quantization": {"rescore": False}}
    q = start(optimizations={"coarse": {"search": {"default": params}}})
    found = only(measure(q, "coarse"))
    points = engine.call("POST", "/collections/coarse/points/scroll", {"limit": 32, "with_vector": True})
    stored = np.array([p["vector"] for p in points["points"]])
    recalls = []
    for vector in stored:
        ids = {}
        for exact in (True, False):
            body = {"query": vector.tolist(), "limit": 10, "params": {"exact": True} if exact else params}
            answer = engine.call("POST", "/collections/coarse/points/query", body)
            ids[exact] = [p["id"] for p in answer["points"]]
        recalls.append(np.isin(ids[True], ids[False]).mean())
    assert found["optimised"]["cold"]["recall"] == pytest.approx(np.mean(recalls), abs=0.1)
    assert found["optimised"]["cold"]["recall"] < 0.95 < found["baseline"]["recall"]


def test_the_command(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("words", points=30)
    q = start(
        optimizations={"words": {}, "absent": {}}, tuning={"words": {"target": {"p50": "1us", "ops": 1}}}
    )
    done = q.command_line("test", "words", "--seconds", "1")
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert all(w in done.stdout for w in ("baseline", "cold", "warm", "p50", "MISSED", "1 of 1 models"))
    assert "%" in done.stderr and "\r" not in done.stderr
    missed = q.command_line("test", "words", "--seconds", "1", "--strict")
    assert missed.returncode == 4
    absent = q.command_line("test", "--seconds", "1")
    assert absent.returncode == 1 and "does not exist" in absent.stdout
    doc = json.loads(q.command_line("test", "words", "--seconds", "1", "--json").stdout)
    assert doc["result"]["models"][0]["model"] == "words"
    for wrong in (("--seconds", "0"), ("--seconds", "61"), ("--points", "5"), ("a", "b")):
        assert q.command_line("test", *wrong).returncode == 2, wrong


def test_on_a_terminal_the_command_draws_a_bar(engine: Engine, start: Callable[..., Tuned]) -> None:
    engine.create("drawn", points=30)
    q = start(optimizations={"drawn": {}})
    ours, theirs = os.openpty()
    command = [quiver_binary(), "test", "--api", f"127.0.0.1:{q.api}", "--seconds", "1", "drawn"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        table = process.stdout.read() if process.stdout else b""
        assert process.wait(30) == 0
    drawn = b""
    with contextlib.suppress(OSError):  # Linux says EIO once nobody holds the other end
        while piece := os.read(ours, 65536):
            drawn += piece
    os.close(ours)
    assert re.search(rb"\r\x1b\[K\[#*\.*\] +\d+ % drawn: ", drawn), drawn
    assert drawn.endswith(b"\r\x1b[K") and b"baseline" in table and b"\r" not in table
