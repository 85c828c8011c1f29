"""The server behind quiver in bench/qdrant.py: a real Qdrant, or docker/edge; and the collections made there."""

import os
import sys
import time
from typing import Any, NamedTuple

import numpy as np

from . import bodies, machine, vectors
from .peers import Server as Process

sys.path.insert(0, str(bodies.ROOT / "docker"))
import quickstart_lib  # a small HTTP client, and the models as quiver reads them

LIMIT = 10  # of each search: recall@10
PREFIX = "quiver-bench-"  # collections of its own: nobody else's are touched
POINTS = {4096: 8000, 2048: 12000, 1024: 20000, 384: 50000}
POINTS_EDGE = {4096: 1000, 2048: 1200, 1024: 1600, 384: 3000}
QUERIES = 500
BATCH_BYTES = 8 << 20


class Model(NamedTuple):
    name: str
    dim: int
    search: dict  # what quiver writes into a search
    target: dict  # of the tuning file: p50 ("10ms"), ops, recall

    @property
    def collection(self) -> str:
        return PREFIX + self.name

    @property
    def path(self) -> str:
        return f"/collections/{self.collection}/points/search"


def environment() -> dict[str, str]:
    """Makes the models claim the collections of the bench."""
    return {f"MODEL_COLLECTIONS_{name.upper()}": PREFIX + name for name in bodies.MODELS}


def models(wanted: list[str], conf: dict) -> list[Model]:
    return [
        Model(name, dim, conf["optimizations"][name]["search"]["default"], conf["tuning"][name].get("target", {}))
        for name, dim in bodies.MODELS.items()
        if name in wanted
    ]


class Engine:
    def __init__(self, port: int):
        self.process: Process | None = None
        self.url = os.environ.get("QDRANT_URL", "").rstrip("/")
        self.is_edge = not self.url
        if self.is_edge:
            self.url = f"http://127.0.0.1:{port}"
            serve, data = bodies.ROOT / "docker" / "edge" / "serve.py", bodies.OUT / "edge"
            command = [sys.executable, str(serve), "--port", str(port), "--data", str(data)]
            self.process = Process("edge", port, command, cores=tuple(machine.CORES))
        self.http = quickstart_lib.engine(self.url)
        self.points = POINTS_EDGE if self.is_edge else POINTS

    def name(self) -> str:
        root = self.http.ok("GET", "/").json()
        return f"{root.get('title')} {root.get('version')} at {self.url}"

    def population(self, model: Model) -> np.ndarray:
        n = self.points[model.dim]
        return vectors.clustered(model.dim, n, list(bodies.MODELS).index(model.name), n)

    def queries(self, model: Model) -> np.ndarray:
        return vectors.clustered(model.dim, QUERIES, 1000 + list(bodies.MODELS).index(model.name), self.points[model.dim])

    def make(self, model: Model, fresh: bool) -> bool:
        """As Qdrant makes collections by itself. False: it was there, with that many points."""
        path = f"/collections/{model.collection}"
        there = self.http.ask("GET", path)
        if there.status == 200:
            if not fresh and there.json()["result"].get("points_count") == self.points[model.dim]:
                return False
            self.http.ok("DELETE", path)
        doc: dict[str, Any] = {"vectors": {"size": model.dim, "distance": "Cosine"}}
        if self.is_edge:  # so few points would get no graph
            doc |= {"hnsw_config": {"full_scan_threshold": 10}, "optimizers_config": {"indexing_threshold": 500}}
        self.http.ok("PUT", path, doc)
        points = self.population(model)
        step = max(20, BATCH_BYTES // (model.dim * 12))
        for first in range(0, len(points), step):
            batch = [{"id": first + i, "vector": v} for i, v in enumerate(points[first : first + step])]
            self.http.ok("PUT", f"{path}/points?wait=true", {"points": batch})
        self.wait_green(model)
        return True

    def wait_green(self, model: Model, seconds: float = 900) -> None:
        """Twice in a row: an optimisation may be about to begin."""
        end, seen = time.monotonic() + seconds, 0
        while seen < 2:
            green = self.http.ok("GET", f"/collections/{model.collection}").json()["result"]["status"] == "green"
            seen = seen + 1 if green else 0
            if time.monotonic() > end:
                raise quickstart_lib.Failed(f"{model.collection} is not green after {seconds:g} s")
            time.sleep(0.3)

    def drop(self, model: Model) -> None:
        self.http.ok("DELETE", f"/collections/{model.collection}")

    def stop(self) -> None:
        if self.process:
            self.process.stop()
