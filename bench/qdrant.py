"""Searches of the nine models on a server with vectors: direct and through quiver, cold and warm. See README.md.

    bench/qdrant.py [--models a,b] [--seconds S] [--fresh] [--drop]
    bench/qdrant.py --sweep MODEL           which search parameters and which pool are best for it
QDRANT_URL=http://ADDRESS:PORT names a real Qdrant; without, docker/edge is started, whose times say nothing about Qdrant.
It makes collections of its own (quiver-bench-*), with a seed. bench/run.sh prepares all it needs but docker/edge/requirements.txt.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from suite import bodies, latency, machine, vectors
from suite.engine import LIMIT, QUERIES, Engine, Model, environment, models, quickstart_lib
from suite.load import Failed, load
from suite.peers import RELEASE, Server, quiver

CONNECTIONS = 10
ROUNDS = 16  # in turn, so many of direct and of through quiver, short ones: what is compared ran side by side
SWEEPS = 5  # rounds over all that a sweep tries
LEAST = 0.93  # of direct, through quiver, on misses
FOR_RECALL = 200  # queries
ALL = tuple(machine.CORES)


class Way(NamedTuple):
    """To whom a model's searches go, and what the client writes into them."""

    to: str  # ADDRESS:PORT
    params: dict | None = None


class Measured(NamedTuple):
    ops: float  # a second, closed loop
    p50_busy: float  # ms, of the same
    p50: float  # ms, open loop at half of that rate
    p99: float
    recall: float

    def __str__(self) -> str:
        return f"{self.ops:>8.0f} {self.p50_busy:>8.2f} {self.p50:>8.2f} {self.p99:>8.2f} {self.recall:>8.4f}"


HEAD = f"{'':<52} {'ops/s':>8} {'p50 ms':>8} {'p50 half':>8} {'p99 half':>8} {'recall':>8}"


def body(vector: np.ndarray, params: dict | None) -> bytes:
    """As a client that holds doubles sends it."""
    doc = {"vector": vector.astype(float).tolist(), "limit": LIMIT}
    return json.dumps(doc | ({"params": params} if params else {})).encode()


class Bench:
    def __init__(self, engine: Engine, port: int, seconds: float):
        self.engine, self.port, self.seconds = engine, port, seconds
        parts = urlsplit(engine.url)
        self.address = f"{socket.gethostbyname(parts.hostname or '')}:{parts.port or 6333}"
        self.servers: list[Server] = []

    def quiver(self, name: str, *flags: str, env: dict[str, str] | None = None, api: str = "off") -> Server:
        self.port += 1
        flags = ("--redis", "off", *flags)
        server = quiver(name, self.port, self.engine.url, *flags, workers=0, cores=ALL, env=env, rules=environment(), api=api)
        self.servers.append(server)
        return server

    def relay(self) -> Server:
        """Passes on what it does not read, with as many threads as quiver has."""
        self.port += 1
        command = [str(RELEASE / "bench" / "bench_relay"), str(self.port), self.address, str(len(ALL))]
        self.servers.append(Server("relay", self.port, command, cores=ALL))
        return self.servers[-1]

    def stop(self) -> None:
        for server in reversed(self.servers):
            server.stop()
        self.servers.clear()

    def file(self, model: Model, params: dict | None = None) -> Path:
        out = bodies.OUT / f"qdrant-{model.name}{'-params' if params else ''}.jsonl"
        out.write_bytes(b"".join(body(q, params) + b"\n" for q in self.engine.queries(model)))
        return out

    def recall(self, url: str, model: Model, true: np.ndarray, params: dict | None) -> float:
        http, found = quickstart_lib.engine(url), []
        for query in self.engine.queries(model)[: len(true)]:
            doc = {"vector": query, "limit": LIMIT} | ({"params": params} if params else {})
            found.append([point["id"] for point in http.ok("POST", model.path, doc).json()["result"]])
        return vectors.recall(found, true)

    def true(self, model: Model) -> np.ndarray:
        return vectors.nearest(self.engine.population(model), self.engine.queries(model)[:FOR_RECALL], LIMIT)

    def closed(self, way: Way, model: Model, seconds: float, clients: int = CONNECTIONS) -> tuple[float, float]:
        """Searches a second, and their p50 in milliseconds."""
        paths, log = {model.path: self.file(model, way.params)}, bodies.OUT / "qdrant.log"
        run = load(way.to, paths, clients, seconds, any_answer=True, cores=ALL, log=log)
        return run.rate, latency.usec(latency.histogram(log), 50) / 1000

    def open(self, way: Way, model: Model, rate: float) -> tuple[float, float]:
        """p50 and p99 in milliseconds."""
        paths, log = {model.path: self.file(model, way.params)}, bodies.OUT / "qdrant.log"
        load(way.to, paths, CONNECTIONS * 4, self.seconds, rate=rate, any_answer=True, cores=ALL, log=log)
        h = latency.histogram(log)
        return latency.usec(h, 50) / 1000, latency.usec(h, 99) / 1000

    def side_by_side(
        self, ways: dict[str, Way], model: Model, true: np.ndarray
    ) -> tuple[dict[str, Measured], dict[str, list[float]]]:
        """Medians of rounds in turn, in one order as often as in the other; and of each round each way's rate against the first's."""
        rounds: dict[str, list[tuple[float, float]]] = {title: [] for title in ways}
        for way in ways.values():
            self.closed(way, model, min(self.seconds, 1))
        for at in range(ROUNDS):
            for title in list(ways)[:: -1 if at % 2 else 1]:
                rounds[title].append(self.closed(ways[title], model, self.seconds / 2))
        first = next(iter(rounds.values()))
        ratios = {title: [b / a for (a, _), (b, _) in zip(first, found)] for title, found in rounds.items()}
        found = {}
        for title, way in ways.items():
            rate, busy = (median(column) for column in zip(*rounds[title]))
            p50, p99 = self.open(way, model, rate / 2)
            found[title] = Measured(rate, busy, p50, p99, self.recall(f"http://{way.to}", model, true, way.params))
        return found, ratios

    def measure(self, to: str, model: Model, true: np.ndarray, params: dict | None = None) -> Measured:
        """to: ADDRESS:PORT."""
        way = Way(to, params)
        self.closed(way, model, min(self.seconds, 1))
        rate, busy = self.closed(way, model, self.seconds)
        p50, p99 = self.open(way, model, rate / 2)
        return Measured(rate, busy, p50, p99, self.recall(f"http://{to}", model, true, params))

    def fill(self, to: str, chosen: list[Model]) -> None:
        """Each query is asked once."""
        paths = {m.path: self.file(m) for m in chosen}
        load(to, paths, 4, requests=QUERIES * len(paths), seconds=300, any_answer=True, cores=ALL)


def show(title: str, m: Measured, verdict: str = "") -> None:
    print(f"  {title:<50} {m} {verdict}", flush=True)


def apply(bench: Bench, chosen: list[Model]) -> None:
    """The settings of conf/ become the collections', by quiver's own command."""
    api = f"127.0.0.1:{bench.port + 100}"
    bench.quiver("quiver-apply", api=api)
    command = [str(RELEASE / "quiver"), "apply", "--api", api, *(m.name for m in chosen)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=3600)
    if done.returncode:
        raise Failed(f"quiver apply ended with {done.returncode}: {done.stdout}{done.stderr}")
    for model in chosen:
        bench.engine.wait_green(model)
    bench.stop()


def share(ratios: list[float]) -> str:
    return f"{median(ratios):.3f} (half of the rounds {quarter(ratios, 1):.2f} to {quarter(ratios, 3):.2f})"


def quarter(values: list[float], n: int) -> float:
    return quantiles(values, n=4)[n - 1]


def milliseconds(text: str | float) -> float:
    """Of a duration as quiver -T prints it."""
    for unit, factor in (("us", 0.001), ("ms", 1), ("s", 1000)):
        if str(text).endswith(unit):
            return float(str(text).removesuffix(unit)) * factor
    return float(text) * 1000


PLAIN, DIRECT = "direct, tuned, no parameters", "direct, tuned, quiver's parameters"
RELAY = "through a relay that reads nothing"
COLD, WARM = "through quiver, cold", "through quiver, warm"


def verdict(model: Model, m: Measured, of_direct: float, is_edge: bool) -> str:
    want = model.target
    if is_edge or not want:
        return ""
    missed = [
        text
        for text, bad in {
            f"ops/s < {want['ops']}": m.ops < want["ops"],
            f"p50 > {want['p50']}": m.p50_busy > milliseconds(want["p50"]),
            f"recall < {want['recall']}": m.recall < want["recall"],
            f"of direct < {LEAST}": of_direct < LEAST,
        }.items()
        if bad
    ]
    return "MISSED " + ", ".join(missed) if missed else "target met"


def compare(bench: Bench, chosen: list[Model], fresh: bool) -> dict:
    """Model by model: as Qdrant makes it, with the settings, through quiver without and with what it remembers."""
    found: dict[str, dict[str, Measured]] = {m.name: {} for m in chosen}
    true, of_direct = {}, {}
    print(HEAD)
    for model in chosen:
        made = bench.engine.make(model, fresh)
        true[model.name] = bench.true(model)
        if made:
            found[model.name]["direct, as made"] = m = bench.measure(bench.address, model, true[model.name])
            show(f"{model.name} {model.dim}-D direct, as made", m)
    print("  applying conf/ ...", flush=True)
    apply(bench, chosen)
    relay, cold, warm = bench.relay(), bench.quiver("quiver-cold", "--cache", "off"), bench.quiver("quiver-warm")
    for model in chosen:
        name, nearest = f"{model.name} {model.dim}-D", true[model.name]
        rows = found[model.name]
        rows[PLAIN] = bench.measure(bench.address, model, nearest)
        show(f"{name} {PLAIN}", rows[PLAIN])
        beside = {
            DIRECT: Way(bench.address, model.search),
            RELAY: Way(f"127.0.0.1:{relay.port}", model.search),
            COLD: Way(f"127.0.0.1:{cold.port}"),
        }
        two, ratios = bench.side_by_side(beside, model, nearest)
        rows.update(two)
        show(f"{name} {DIRECT}", rows[DIRECT])
        show(f"{name} {RELAY}", rows[RELAY])
        show(f"{name} {COLD}", rows[COLD], verdict(model, rows[COLD], median(ratios[COLD]), bench.engine.is_edge))
        print(f"    of direct: {share(ratios[COLD])}; the relay: {share(ratios[RELAY])}", flush=True)
        bench.fill(f"127.0.0.1:{warm.port}", [model])
        rows[WARM] = bench.measure(f"127.0.0.1:{warm.port}", model, nearest)
        show(f"{name} {WARM}", rows[WARM])
        of_direct[model.name] = {title: ratios[title] for title in (RELAY, COLD)}
    bench.fill(f"127.0.0.1:{warm.port}", chosen)
    paths = {m.path: bench.file(m) for m in chosen}
    together = load(warm.port, paths, 32, bench.seconds, any_answer=True, cores=ALL)
    print(f"  {len(chosen)} models together, warm, 32 connections: {together.rate:.0f} ops/s")
    return {
        name: {"of direct, by rounds": of_direct[name]} | {title: m._asdict() for title, m in rows.items()}
        for name, rows in found.items()
    }


def sweep(bench: Bench, model: Model, least: float) -> dict:
    """hnsw_ef and oversampling direct, then the pool's limit through quiver with the best of them at 64 clients: all of them in
    turn, medians of the rounds."""
    bench.engine.make(model, False)
    apply(bench, [model])
    true = bench.true(model)
    ways = {
        (ef, oversampling): Way(bench.address, {"hnsw_ef": ef, "quantization": {"rescore": True, "oversampling": oversampling}})
        for ef in (16, 24, 32, 48, 64)
        for oversampling in (1.0, 1.5, 2.0, 3.0)
    }
    recalls = {k: bench.recall(f"http://{bench.address}", model, true, way.params) for k, way in ways.items()}
    figures = in_turn(bench, model, {k: (way, CONNECTIONS) for k, way in ways.items()})
    for (ef, oversampling), (rate, p50) in figures.items():
        print(f"  hnsw_ef {ef:>2}, oversampling {oversampling:g}: {rate:>6.0f} ops/s, p50 {p50:.2f} ms, recall {recalls[ef, oversampling]:.4f}")
    good = [k for k in ways if recalls[k] >= least]
    if not good:
        print(f"nothing reaches recall {least}; the best: {max(recalls, key=lambda k: recalls[k])}")
        return {"parameters": {str(k): (*figures[k], recalls[k]) for k in ways}}
    ef, oversampling = best = max(good, key=lambda k: figures[k][0])
    print(f"best with recall >= {least}: hnsw_ef {ef}, oversampling {oversampling:g}: {figures[best][0]:.0f} ops/s")
    pools = sweep_pools(bench, model, ef, oversampling)
    limit = max(pools, key=lambda k: pools[k][0])
    print(f"best pool: {limit} connections: {pools[limit][0]:.0f} ops/s")
    return {"parameters": {str(k): (*figures[k], recalls[k]) for k in ways}, "best": best, "pools": pools, "pool": limit}


def in_turn(bench: Bench, model: Model, ways: dict[Any, tuple[Way, int]]) -> dict[Any, tuple[float, float]]:
    """Medians of searches a second and of their p50 in milliseconds, of each way with so many clients."""
    rounds: dict[Any, list[tuple[float, float]]] = {k: [] for k in ways}
    for _ in range(SWEEPS):
        for k, (way, clients) in ways.items():
            rounds[k].append(bench.closed(way, model, bench.seconds / 2, clients))
    return {k: (median(r for r, _ in found), median(p for _, p in found)) for k, found in rounds.items()}


def sweep_pools(bench: Bench, model: Model, ef: int, oversampling: float) -> dict[int, tuple[float, float]]:
    name, ways = model.name.upper(), {}
    for limit in (2, 4, 8, 16, 32, 64):
        env = {
            f"MODEL_CONNECTIONS_{name}": str(limit),
            f"MODEL_SEARCH_DEFAULT_HNSW_EF_{name}": str(ef),
            f"MODEL_SEARCH_DEFAULT_QUANTIZATION_OVERSAMPLING_{name}": str(oversampling),
        }
        server = bench.quiver(f"quiver-pool-{limit}", "--cache", "off", env=env)
        ways[limit] = Way(f"127.0.0.1:{server.port}"), 64
    out = in_turn(bench, model, ways)
    bench.stop()
    for limit, (rate, p50) in out.items():
        print(f"  pool of {limit:>2}, 64 clients: {rate:>6.0f} ops/s, p50 {p50:.2f} ms", flush=True)
    return out


def configuration() -> dict:
    command = [str(RELEASE / "quiver"), "-T", "--upstream", "http://127.0.0.1:1"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env={**os.environ, **environment()})
    if done.returncode:
        raise Failed(f"quiver -T: {done.stderr.strip()}")
    return quickstart_lib.yaml_maps(done.stdout)


def main() -> int:
    p = argparse.ArgumentParser(
        prog="bench/qdrant.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--models", default=",".join(bodies.MODELS), help="of those, separated by commas")
    p.add_argument("--seconds", type=float, default=4, help="of each measurement")
    p.add_argument(
        "--fresh", action="store_true", help="make the collections anew: only then are they seen as Qdrant makes them"
    )
    p.add_argument("--drop", action="store_true", help="remove them in the end")
    p.add_argument("--sweep", metavar="MODEL", choices=[*bodies.MODELS])
    p.add_argument("--recall", type=float, default=0.99, help="the least that a sweep's best must reach")
    p.add_argument("--port", type=int, default=26050, help="the first of its ports on 127.0.0.1")
    a = p.parse_args()
    bodies.OUT.mkdir(parents=True, exist_ok=True)
    chosen = models([a.sweep] if a.sweep else a.models.split(","), configuration())
    if not chosen:
        p.error(f"--models: expected some of {','.join(bodies.MODELS)}")
    engine = Engine(a.port)
    bench = Bench(engine, a.port, a.seconds)
    try:
        print(
            f"{engine.name()}; {machine.describe()}\n{CONNECTIONS} connections, {a.seconds:g} s each, all on the same {len(ALL)} cores"
        )
        found = sweep(bench, chosen[0], a.recall) if a.sweep else compare(bench, chosen, a.fresh)
        out = bodies.OUT / ("sweep-" + a.sweep + ".json" if a.sweep else "qdrant.json")
        out.write_text(json.dumps({"server": engine.name(), "machine": machine.describe(), "found": found}, indent=1) + "\n")
        print(f"details: {out}")
        for model in chosen if a.drop else ():
            engine.drop(model)
    finally:
        bench.stop()
        engine.stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, quickstart_lib.Failed) as e:
        print(f"FAILED: {e}", file=sys.stderr)
        sys.exit(2)
