"""One way to Qdrant, straight or through quiver: runs steps, keeps what they gave and what was sent."""

import json
import time
from typing import Any, Callable, NamedTuple

import httpx
from lib.ops import op_of
from pydantic_core import to_jsonable_python
from qdrant_client import QdrantClient
from qdrant_client.http.exceptions import UnexpectedResponse

HIT_WITHIN = (
    10.0  # until a second answer comes from the cache: facts about a new collection are fetched meanwhile
)


class Call(NamedTuple):
    method: str
    path: str
    status: int
    hit: bool


class Outcome(NamedTuple):
    value: Any  # JSON, with the collections' names made equal on all sides
    calls: list[Call]


class Step(NamedTuple):
    name: str
    run: Callable[["Side"], Any]
    reads: bool = False  # changes nothing: asked twice where there is a cache
    cached: bool = True  # the second answer is a hit, if all its rows are cacheable and said 200
    shape: bool = False  # values differ from run to run: compare keys and types
    whole_server: bool = (
        False  # changes more than the tests' collections: not on a server that QDRANT_URL names
    )


class Side:
    """prefix: of this side's collections; no other side uses them, so that every side starts from nothing."""

    def __init__(self, name: str, url: str, prefix: str, key: str | None, cached: bool):
        self.name, self.url, self.prefix, self.has_cache = name, url, prefix, cached
        self.c, self.named = prefix, prefix + "_named"
        self.calls: list[Call] = []
        hooks = {"response": [self._note]}
        headers = {"api-key": key} if key else {}
        self.http = httpx.Client(base_url=url, event_hooks=hooks, headers=headers, timeout=60)
        self.client = QdrantClient(
            url=url, api_key=key, timeout=60, check_compatibility=False, event_hooks=hooks
        )
        self.cold: dict[str, Outcome] = {}
        self.warm: dict[str, Outcome] = {}

    def _note(self, response: httpx.Response) -> None:
        words = [w.strip() for w in response.headers.get("cache-status", "").split(";")]
        path = response.request.url.raw_path.decode("latin-1")
        self.calls.append(Call(response.request.method, path, response.status_code, "hit" in words[1:]))

    def raw(
        self, method: str, path: str, doc: Any = None, content: bytes | None = None, **headers: str
    ) -> Any:
        """Status and body of one plain exchange; `time` left out."""
        fields = {"content-type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        body = json.dumps(doc).encode() if doc is not None else content
        r = self.http.request(method, path, content=body, headers=fields)
        return {"status": r.status_code, "body": body_of(r.content)}

    def post(self, tail: str, doc: Any) -> Any:
        return self.raw("POST", f"/collections/{self.c}{tail}", doc)

    def once(self, step: Step) -> Outcome:
        self.calls = []
        try:
            value = step.run(self)
        except UnexpectedResponse as e:
            value = {"raised": e.status_code, "body": body_of(e.content)}
        value = self.anonymous(to_jsonable_python(value))
        return Outcome(shape_of(value) if step.shape else value, self.calls)

    def anonymous(self, value: Any) -> Any:
        return json.loads(json.dumps(value).replace(self.prefix, "PREFIX"))

    def run(self, step: Step) -> None:
        self.cold[step.name] = outcome = self.once(step)
        if not step.reads or not self.has_cache:
            return
        until = time.monotonic() + HIT_WITHIN
        while True:
            again = self.once(step)
            self.warm[step.name] = again
            if again.value != outcome.value or not should_hit(step, again) or all(c.hit for c in again.calls):
                return
            if time.monotonic() > until:
                return
            time.sleep(0.05)

    def clean(self) -> None:
        self.calls = []
        for name in self.http.get("/collections").json()["result"]["collections"]:
            if name["name"].startswith(self.prefix):
                self.http.delete(f"/collections/{name['name']}")

    def close(self) -> None:
        self.http.close()
        self.client.close()


def should_hit(step: Step, outcome: Outcome) -> bool:
    ops = [op_of(c.method, c.path) for c in outcome.calls]
    return step.cached and all(
        op and op.kind == "CLASS_READ_CACHEABLE" and c.status == 200 for op, c in zip(ops, outcome.calls)
    )


def body_of(content: bytes) -> Any:
    """JSON without the envelope's `time`, or text."""
    try:
        doc = json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")
    if isinstance(doc, dict):
        doc.pop("time", None)
    return doc


def shape_of(value: Any) -> Any:
    """Keys and kinds of values; a list is what its members are."""
    if isinstance(value, dict):
        return {k: shape_of(v) for k, v in value.items()}
    if isinstance(value, list):
        kinds = {json.dumps(shape_of(v), sort_keys=True) for v in value}
        return [json.loads(k) for k in sorted(kinds)]
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, (int, float)) else "text"
