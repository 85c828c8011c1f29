"""Debian's Prometheus in front of a live quiver: every query of the dashboard is right and has an answer."""

import math
import random
import re
import subprocess
import threading
from pathlib import Path
from typing import Any, Iterator

import pytest
from deploylib import RANGE, Prometheus, alerts, compose, dashboard, metrics_of, queries
from lib import Engine, Quiver, Redis, request, wait_until

TOKEN = "read-token-of-this-test"
MODELS = {"hermes": 16, "general": 8}  # and the size of their vectors
CHOSEN = ["default", *MODELS]  # in the dashboard's variable


def vector(size: int, seed: int) -> list[float]:
    rng = random.Random(seed)
    return [round(rng.uniform(-1, 1), 3) for _ in range(size)]


class Traffic(threading.Thread):
    """A little of everything until told to stop: hits, misses, writes, errors."""

    def __init__(self, q: Quiver):
        super().__init__(daemon=True)
        self.q, self.enough, self.failed = q, threading.Event(), ""

    def round(self, n: int) -> None:
        with self.q.conn() as c:
            for model, size in MODELS.items():
                for seed in (1, 1, n + 2, n + 2):
                    search = {"vector": vector(size, seed), "limit": 3}
                    assert c.post(f"/collections/{model}/points/search", search).status == 200
            c.post("/collections/nobody/points/search", {"vector": [1.0], "limit": 1})
        if n % 8 == 0:
            point = {"id": n + 1000, "vector": vector(8, n)}
            self.q.ask("PUT", "/collections/general/points?wait=true", b'{"points":[%s]}' % str(point).replace("'", '"').encode())

    def run(self) -> None:
        n = 0
        try:
            while not self.enough.wait(0.05) and n < 2000:
                self.round(n)
                n += 1
        except Exception as e:  # noqa: BLE001 - told by the fixture
            self.failed = repr(e)


class Live:
    def __init__(self, engine: Engine, redis: Redis, folder: Path):
        (folder / "token").write_text(TOKEN + "\n")
        self.engine = engine
        for model, size in MODELS.items():
            engine.call("PUT", f"/collections/{model}", {"vectors": {"size": size, "distance": "Cosine"}})
            points = [{"id": i, "vector": vector(size, i)} for i in range(100)]
            engine.call("PUT", f"/collections/{model}/points?wait=true", {"points": points})
        self.quiver = Quiver(
            engine.url,
            quiver={
                "api": {"read_token_file": str(folder / "token")},
                "redis": {"url": redis.url, "budget": "500ms"},
                "tune": {"interval": "500ms"},
            },
            optimizations={m: {"vector_size": s, "search": {"default": {"hnsw_ef": 32}}} for m, s in MODELS.items()},
            indexing={"hermes": {"index_params": {"m": 24}}},
            tuning={m: {"target": {"p50": "10ms", "ops": 800, "hit_rate": 0.85}} for m in MODELS},
        )
        self.traffic = Traffic(self.quiver)
        self.traffic.start()
        self.prometheus = Prometheus(folder, f"127.0.0.1:{self.quiver.api}", folder / "token")

    def has_seen_traffic(self) -> bool:
        rates = self.prometheus.query(f"rate(model_requests_total{{status='404'}}[{RANGE}]) > 0")
        return bool(rates and self.prometheus.query("optimization_drift > 0"))

    def page(self, token: str = TOKEN) -> Any:
        return request(self.quiver.api, "GET", "/metrics", None, {"Authorization": f"Bearer {token}"})

    def stop(self) -> None:
        self.traffic.enough.set()
        self.traffic.join(20)
        self.prometheus.stop()
        self.quiver.stop()
        assert not self.traffic.failed


@pytest.fixture(scope="module")
def live(binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    engine = Engine(tmp_path_factory.mktemp("engine"))
    with Redis() as redis:
        running = Live(engine, redis, tmp_path_factory.mktemp("prometheus"))
        wait_until(running.has_seen_traffic, 20, "Prometheus has scraped traffic and drift")
        yield running
        running.stop()
    if engine.process.poll() is None:
        engine.stop()


def test_the_target_is_up_and_only_with_its_token(live: Live) -> None:
    wait_until(lambda: [v for _, v in live.prometheus.query('up{job="quiver"}')] == [1], 10, "it is scraped")
    assert live.page().status == 200
    assert live.page("another").status == 401
    assert request(live.quiver.api, "GET", "/metrics").status == 401


def test_the_page_is_clean(live: Live) -> None:
    lint = subprocess.run(["promtool", "check", "metrics"], input=live.page().body, capture_output=True)
    assert lint.returncode == 0 and not lint.stdout + lint.stderr, (lint.stdout + lint.stderr).decode()


@pytest.mark.parametrize("name", queries())
def test_a_query_of_the_dashboard_has_an_answer(live: Live, name: str) -> None:
    promql = queries("|".join(CHOSEN))[name]

    def answered() -> bool:
        return any(math.isfinite(value) for _, value in live.prometheus.query(promql))

    wait_until(answered, 15, f"{promql} has an answer: {live.prometheus.query(promql)}")


def test_the_variable_lists_the_models(live: Live) -> None:
    """But not (control), whose requests are quiver's own."""
    (variable,) = dashboard()["templating"]["list"]
    series, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()
    found = live.prometheus.get(f"/label/{label}/values?match[]={series}")
    wanted = variable["regex"].strip("/")
    assert {m for m in found if re.match(wanted, m)} == set(CHOSEN) and "(control)" in found


def test_every_metric_that_is_asked_for_is_on_the_page(live: Live) -> None:
    page = {line.split("{")[0].split(" ")[0] for line in live.page().body.decode().splitlines() if line[:1] != "#"}
    for name, promql in {**queries(), **alerts()}.items():
        assert metrics_of(promql) <= page, name


def test_answers_are_what_happened(live: Live) -> None:
    asked = queries("|".join(CHOSEN))
    (hit_rate,) = live.prometheus.query(asked["Hit rate / Hit rate"])
    assert 0.3 < hit_rate[1] < 0.9  # half of the searches and more are repeated
    by_model = live.prometheus.query(asked["Requests by model / {{model}}"])
    assert {m["model"] for m, v in by_model if v > 0} == set(CHOSEN)
    assert {m["status"] for m, _ in live.prometheus.query(asked["Answers by status / {{status}}"])} == {"404"}
    assert live.prometheus.query(asked["Drift / Drift"])[0][1] == 1  # m is 16 there
    assert live.prometheus.query(asked["Ready / Ready"])[0][1] == 1
    assert live.prometheus.query("model_pool_limit")[0][1] == 32


def test_rules_are_evaluated_without_errors(live: Live) -> None:
    def evaluated() -> bool:
        (group,) = live.prometheus.get("/rules")["groups"]
        return all(r["health"] == "ok" for r in group["rules"])

    wait_until(evaluated, 10, "all rules are evaluated")
    (group,) = live.prometheus.get("/rules")["groups"]
    assert {r["name"] for r in group["rules"]} == set(alerts())
    critical = [r["name"] for r in group["rules"] if r["state"] != "inactive" and r["labels"]["severity"] == "critical"]
    assert not critical


def test_the_healthchecks_of_the_compose_file_say_yes(live: Live, binary: str) -> None:
    checks = {n: s["healthcheck"]["test"] for n, s in compose()["services"].items()}
    for name, its, port in (("qdrant", 6333, live.engine.port), ("quiver", 8000, live.quiver.api)):
        words = [re.sub(rf"127\.0\.0\.1([:/]){its}", rf"127.0.0.1\g<1>{port}", w).replace("$$", "$") for w in checks[name]]
        words[1] = binary if words[1] == "quiver" else words[1]
        done = subprocess.run(words[1:], capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    path = checks["prometheus"][-1].removeprefix("http://127.0.0.1:9090")
    assert request(live.prometheus.port, "GET", path).status == 200


def test_an_engine_that_is_away_shows(live: Live) -> None:
    """The last test: the engine does not come back."""
    live.traffic.enough.set()
    live.traffic.join(20)
    live.engine.stop()
    away = queries()["Qdrant servers away / Qdrant servers away"]
    wait_until(lambda: live.prometheus.query(away)[0][1] == 1, 15, "it is away")
    firing = alerts()["QuiverUpstreamAway"]
    wait_until(lambda: live.prometheus.query(firing), 10, "the alert's condition holds")
    assert live.prometheus.query(firing)[0][0]["upstream"] == live.engine.url
    wait_until(lambda: live.prometheus.query("quiver_ready")[0][1] == 0, 15, "not ready")
