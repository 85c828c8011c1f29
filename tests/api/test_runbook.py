"""The operators' runbook in conf/README.md: each command is run as it stands there, but for ports and paths."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest
from lib import ROOT, Engine, Quiver, Redis, request, wait_until

SIZE, SEARCHES = 4096, 8


def commands() -> list[str]:
    """In the order of the page."""
    text = (ROOT / "conf/README.md").read_text()
    (block,) = re.findall(r"^## Runbook\n.*?```sh\n(.*?)```", text, re.S | re.M)
    return [line for line in block.splitlines() if line and not line.startswith("#")]


# ---- what comes ----


def the_dimension_error(out: str) -> None:
    doc = json.loads(out)
    assert doc["status"]["error"] == f"Wrong input: Vector dimension error: expected dim: {SIZE}, got 3" and "result" not in doc


def the_collection(out: str) -> None:
    doc = json.loads(out)
    assert doc["status"] == "ok" and doc["result"]["config"]["params"]["vectors"]["size"] == SIZE


def the_cluster(out: str) -> None:
    doc = json.loads(out)
    assert doc["status"] == "ok" and doc["result"]["local_shards"]


def answers_in_redis(out: str) -> None:
    assert out.splitlines() and all("mixtral" in line for line in out.splitlines())


def metrics(out: str) -> None:
    values = [line for line in out.splitlines() if not line.startswith("#")]
    named = {line.split("{")[0].split(" ")[0] for line in values}
    assert {"cache_hit_rate", "model_requests_total", "optimization_rewrites_total", "optimization_drift"} <= named
    assert float(next(v for v in values if v.startswith('optimization_rewrites_total{model="mixtral"}')).split()[-1]) > 0


def no_failure(out: str) -> None:
    assert re.search(r"Complete requests:\s+1000\n", out) and re.search(r"Failed requests:\s+0\n", out), out
    assert "Non-2xx" not in out


def a_search_taken_apart(out: str) -> None:
    doc = json.loads(out)
    done = doc["optimization"]
    assert doc["answer"]["status"] == "ok" and len(doc["answer"]["result"]) == 10
    assert done["params"]["before"] is None and done["params"]["after"]["hnsw_ef"] == 32
    assert done["cache"] in ("hit", "miss") and done["steps_us"]["total"] > 0


def a_graphql_answer(out: str) -> None:
    doc = json.loads(out)
    assert "errors" not in doc and doc["data"]["optimizedSearch"]["model"] == "hermes"


def all_models(out: str) -> None:
    found = {m["model"]: m for m in json.loads(out)["models"]}
    assert len(found) >= 9 and found["mixtral"]["collections"][0]["exists"]


def figures(out: str) -> None:
    doc = json.loads(out)
    assert doc["model"] == "mixtral" and doc["requests"]["total"] >= SEARCHES and doc["cache"]["hit_rate"] > 0.5


def queries(out: str) -> None:
    rows = json.loads(out)["queries"]
    assert rows and [r["p99_us"] for r in rows] == sorted((r["p99_us"] for r in rows), reverse=True)
    row = next(r for r in rows if r["collection"] == "mixtral" and r["count"] >= SEARCHES)
    assert row["operation"] == "search" and row["parameters"][0] == "hnsw_ef" and row["filter"] == ""


def log_lines(out: str) -> None:
    lines = [json.loads(line) for line in out.splitlines()]
    assert len(lines) == 5 and all("rewritten" in line["why"] for line in lines)


def a_job(out: str) -> None:
    doc = json.loads(out)
    assert doc["kind"] and doc["state"] in ("running", "done") and doc["id"] > 0


# What each command is to bring; a command without a row, or a row without a command, is a fault of the page.
OUTCOMES: list[tuple[str, Callable[[str], None]]] = [
    ("curl -X POST localhost:6333/collections/mixtral/points/search -d", the_dimension_error),
    ("curl localhost:6333/collections/mixtral", the_collection),
    ("curl localhost:6333/collections/mixtral/cluster", the_cluster),
    ('redis-cli keys "*" | grep mixtral', answers_in_redis),
    ('curl -s localhost:8000/metrics | grep -E "(optimization_|model_|cache_hit_rate)"', metrics),
    ("ab -n 1000 -c 10 localhost:8000/api/v1/models/mixtral/search", no_failure),
    ("curl -X POST localhost:8000/api/v1/models/mixtral/search/optimized", a_search_taken_apart),
    ("curl localhost:8000/graphql -d", a_graphql_answer),
    ("curl localhost:8000/api/v1/optimizations/status", all_models),
    ("curl localhost:8000/api/v1/optimizations/memory/usage", all_models),
    ("curl localhost:8000/api/v1/models/mixtral/metrics", figures),
    ("curl 'localhost:8000/api/v1/optimizations/queries/stats?sort=p99&limit=5'", queries),
    ("tail -n 5 /var/log/citadel/query-optimization.log", log_lines),
    ("curl -X POST localhost:8000/api/v1/optimizations/test/all-models", a_job),
]


def test_each_command_has_an_outcome() -> None:
    assert len(commands()) == len(OUTCOMES)
    for command, (begins, _) in zip(commands(), OUTCOMES):
        assert command == begins or (begins.endswith(" -d") and command.startswith(begins)), command


# ---- what they are run against ----


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with Redis() as r:
        yield r


@pytest.fixture(scope="module")
def running(engine: Engine, redis: Redis) -> Iterator[Quiver]:
    """quiver with the shipped models, in front of collections of their size."""
    for name in ("mixtral", "hermes"):
        engine.call("PUT", f"/collections/{name}", {"vectors": {"size": SIZE, "distance": "Cosine"}})
        points = [{"id": i, "vector": [((i * 37 + k * 11) % 97) / 97 for k in range(SIZE)]} for i in range(12)]
        engine.call("PUT", f"/collections/{name}/points?wait=true", {"points": points})
    q = Quiver(engine.url, start=False, listen_flag=False)
    for path in (ROOT / "conf").glob("*.yaml"):
        shutil.copy(path, q.folder / path.name)
    q.configure(
        quiver={
            "listen": q.port,  # as operators have it: 127.0.0.1 and ::1
            "api": q.api,
            "redis": {"url": redis.url, "budget": "200ms"},
            "log": {"queries": str(q.folder / "queries.log")},
        }
    )
    q.start()
    wait_until(lambda: request(q.port, "GET", "/collections/mixtral").status == 200, 10, "the data port answers")
    for _ in range(SEARCHES):
        answer: Any = request(q.api, "GET", "/api/v1/models/mixtral/search")
        assert answer.status == 200, answer.body
    wait_until(lambda: any("mixtral" in key for key in redis.keys()), 10, "the first answer is in Redis")
    yield q
    q.stop()


@pytest.mark.parametrize("command", commands(), ids=lambda c: re.sub(r"[^a-z0-9]+", "-", c)[:60])
def test_a_command_brings_what_the_page_says(running: Quiver, redis: Redis, command: str) -> None:
    outcome = OUTCOMES[commands().index(command)][1]
    line = command.replace("localhost:6333", f"localhost:{running.port}").replace("localhost:8000", f"localhost:{running.api}")
    line = line.replace("redis-cli ", f"redis-cli -p {redis.port} ")
    line = line.replace("/var/log/citadel/query-optimization.log", str(running.folder / "queries.log"))
    if command.startswith("tail"):
        wait_until(lambda: (running.folder / "queries.log").read_text().count("\n") > 4, 5, "lines are written")
    run = subprocess.run(["bash", "-o", "pipefail", "-c", line], capture_output=True, text=True, timeout=100)
    assert run.returncode == 0, run.stderr
    outcome(run.stdout)
