"""A real engine with the request log on, so that PATCHes can be counted, and quivers in front of it."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

import lib  # noqa: E402
from lib import Quiver, quiver_binary, request, wait_until  # noqa: E402

DIM, POINTS = 256, 600


class Engine(lib.Engine):
    """docker/edge with collections to tune; what it was asked stands in its log."""

    def create(self, name: str, points: int = POINTS, **more: Any) -> None:
        rng = random.Random(7)
        doc = {
            "vectors": {"size": DIM, "distance": "Cosine"},
            "optimizers_config": {"indexing_threshold": 100},
            **more,
        }
        self.call("PUT", f"/collections/{name}", doc)
        for first in range(0, points, 200):
            batch = [
                {"id": i, "vector": [round(rng.random(), 4) for _ in range(DIM)]}
                for i in range(first, min(first + 200, points))
            ]
            self.call("PUT", f"/collections/{name}/points?wait=true", {"points": batch})
        self.green(name)

    def green(self, name: str) -> None:
        wait_until(lambda: self.call("GET", f"/collections/{name}")["status"] == "green", 60, "green")

    def config(self, name: str) -> dict:
        return self.call("GET", f"/collections/{name}")["config"]

    def patches(self, name: str) -> int:
        """How many PATCHes came for this collection."""
        return sum(f"PATCH /collections/{name} " in line for line in self.log.read_text().splitlines())


class Tuned(Quiver):
    """A quiver with a state_dir of its own, and plain calls to its control API and commands."""

    def call(self, method: str, path: str, status: int = 200) -> Any:
        body = b"" if method == "POST" else None
        answer = request(self.api, method, "/api/v1" + path, body, {"Host": "localhost"}, timeout=110)
        assert answer.status == status, (answer.status, answer.body)
        return json.loads(answer.body)

    def plan(self, model: str, **query: Any) -> dict:
        more = "".join(f"&{k}={v}" for k, v in query.items())
        (found,) = self.call("GET", f"/optimizations/plan?model={model}{more}")["models"]
        (collection,) = found["collections"]
        return collection

    def apply(self, model: str) -> dict:
        return self.call("POST", f"/optimizations/apply?model={model}&wait=true")

    def rollback(self, model: str) -> dict:
        return self.call("POST", f"/optimizations/rollback?model={model}&wait=true")

    def status(self, model: str) -> dict:
        """Of the model; its collections are in it."""
        return next(m for m in self.call("GET", "/optimizations/status")["models"] if m["model"] == model)

    def drift(self, model: str) -> list[str]:
        return [d["path"] for c in self.status(model)["collections"] for d in c["drift"]]

    def command_line(self, *words: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [quiver_binary(), words[0], "--api", f"127.0.0.1:{self.api}", *words[1:]],
            capture_output=True,
            text=True,
            timeout=110,
            cwd=self.folder,
        )
