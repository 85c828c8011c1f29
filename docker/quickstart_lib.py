"""Shared by the quickstart's scripts: a small HTTP client, the models as quiver sees them, sample vectors."""

import json
import os
import socket
import subprocess
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import orjson

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "build" / "quickstart"
MADE = HOME / "made.json"
QUIVER = ROOT / "build" / "release" / "quiver"
POINTS = 2600  # of 4096 dimensions: 42 MB, more than the largest indexing_threshold of conf/ (40000 KB)


class Failed(Exception):
    """Something is not as promised; the text says what."""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float

    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def cache(self) -> str:
        return self.headers.get("cache-status", "")

    @property
    def hit(self) -> bool:
        return "hit" in [part.strip() for part in self.cache.split(";")[1:]]


class UnixConnection(HTTPConnection):
    def __init__(self, path: str, timeout: float):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Server:
    """One HTTP server, named by http://HOST:PORT or unix:/path. Keeps a connection while the server does."""

    def __init__(self, url: str, key: str = ""):
        self.url, self.key, self.conn = url, key, None
        if not url.startswith(("http://", "unix:")):
            raise Failed(f"'{url}' is not an address, expected http://HOST:PORT")

    def _connect(self) -> HTTPConnection:
        if self.url.startswith("unix:"):
            return UnixConnection(self.url[5:], 120)
        parts = urlsplit(self.url)
        return HTTPConnection(parts.hostname or "", parts.port or 6333, timeout=120)

    def ask(self, method: str, path: str, doc: Any = None, headers: dict[str, str] | None = None) -> Answer:
        """One exchange; a kept connection that the server closed meanwhile is replaced once."""
        body = None if doc is None else orjson.dumps(doc, option=orjson.OPT_SERIALIZE_NUMPY)
        fields = {"content-type": "application/json", **(headers or {})}
        if self.key:
            fields["api-key"] = self.key
        for fresh in (self.conn is None, True):
            if self.conn is None:
                self.conn = self._connect()
            begin = time.perf_counter()
            try:
                self.conn.request(method, path, body, fields)
                got = self.conn.getresponse()
                data = got.read()
            except (HTTPException, OSError) as e:
                self.conn.close()
                self.conn = None
                if fresh:
                    raise Failed(f"{method} {self.url}{path}: {e or type(e).__name__}") from e
                continue
            took = time.perf_counter() - begin
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, data, took)
        raise AssertionError("unreachable")

    def ok(self, method: str, path: str, doc: Any = None, headers: dict[str, str] | None = None) -> Answer:
        answer = self.ask(method, path, doc, headers)
        if answer.status != 200:
            text = answer.body[:300].decode("utf-8", "replace")
            raise Failed(f"{method} {self.url}{path}: {answer.status} {text}")
        return answer

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the series of that name that carry those labels; -1 if there is none of that name."""
        wanted, found, total = [f'{k}="{v}"' for k, v in labels.items()], False, 0.0
        for line in self.ok("GET", "/metrics").body.decode().splitlines():
            if line.startswith((name + "{", name + " ")):
                found = True
                if all(w in line for w in wanted):
                    total += float(line.rsplit(" ", 1)[1])
        return total if found else -1.0


class Model(NamedTuple):
    name: str
    collection: str
    size: int
    search: dict  # search.default: what quiver writes into a search that does not say it
    indexing: dict


def scalar(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def yaml_maps(text: str) -> dict:
    """The nested maps that `quiver -T` prints: two spaces a level, scalars and flow lists."""
    root: dict = {}
    path = [root]
    for line in text.splitlines():
        key, _, value = line.strip().removesuffix(":").partition(": ")
        depth = (len(line) - len(line.lstrip())) // 2
        del path[depth + 1 :]
        key = scalar(key)
        if value:
            path[depth][key] = scalar(value)
        else:
            path[depth][key] = {}
            path.append(path[depth][key])
    return root


def models(upstream: str) -> list[Model]:
    """The models of conf/ with the environment's changes, as quiver itself reads them."""
    command = [str(QUIVER), "-c", str(ROOT / "conf"), "--upstream", upstream, "-T"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    if run.returncode:
        raise Failed(f"conf/ is not right: {run.stderr.strip()}")
    conf = yaml_maps(run.stdout)
    out = []
    for name, keys in conf["optimizations"].items():
        collection = keys.get("collections", "")
        collection = collection[0] if isinstance(collection, list) else collection
        if name == "default" or not collection or set("*?") & set(collection):
            continue
        search = keys.get("search", {}).get("default", {})
        out.append(
            Model(name, collection, keys.get("vector_size", 0), search, conf["indexing"].get(name, {}))
        )
    return out


def sample(size: int, n: int, seed: int) -> np.ndarray:
    """n vectors of one population per size: 48 random directions in `size` dimensions, and noise. Hard on
    purpose: in tight clusters any hnsw_ef finds all; here 32 finds 94 to 98 neighbours of 100, unset all."""
    basis = np.random.default_rng(size).standard_normal((48, size), dtype=np.float32)
    rng = np.random.default_rng([size, seed])
    inner = rng.standard_normal((n, 48), dtype=np.float32)
    return inner @ basis / np.float32(7) + np.float32(0.3) * rng.standard_normal((n, size), dtype=np.float32)


def engine(url: str) -> Server:
    return Server(url, os.environ.get("QDRANT_API_KEY", ""))


def made_here(url: str) -> list[str]:
    """The collections that a quickstart made on that server."""
    return json.loads(MADE.read_text()).get(url, []) if MADE.exists() else []


def note_made(url: str, name: str) -> None:
    all_made = json.loads(MADE.read_text()) if MADE.exists() else {}
    all_made[url] = sorted({*all_made.get(url, []), name})
    MADE.write_text(json.dumps(all_made, indent=1) + "\n")


class Target(NamedTuple):
    """A model's collection as it is on the server, and how to ask it."""

    model: Model
    ours: bool  # made and filled by the quickstart
    using: str | None
    size: int

    def body(self, vector: np.ndarray, params: dict | None = None) -> dict:
        doc = {"query": vector, "limit": 10}
        if self.using:
            doc["using"] = self.using
        if params:
            doc["params"] = params
        return doc

    @property
    def path(self) -> str:
        return f"/collections/{self.model.collection}/points/query"

    def queries(self, n: int, seed: int = 0) -> np.ndarray:
        """Like the collection's points, but none of them; other ones each time unless a seed is given."""
        return sample(self.size, n, seed or time.time_ns())


def target(server: Server, model: Model, ours: bool) -> Target:
    params = server.ok("GET", f"/collections/{model.collection}").json()["result"]["config"]["params"]
    vectors = params.get("vectors") or {}
    if "size" in vectors:
        return Target(model, ours, None, vectors["size"])
    for name, config in vectors.items():
        if not config.get("multivector_config"):
            return Target(model, ours, name, config["size"])
    raise Failed(f"collection {model.collection} has no dense vector to search with")
