"""Objects of the control API's tests: a quiver to ask, a scripted answer to stand behind it."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

from lib import Quiver, Response, request

HERE = Path(__file__).resolve().parent
MODELS = {
    "hermes": {"vector_size": 16, "batch_size": 75},
    "notes": {"collections": ["n*", "notebook"]},
    "unsized": {},
}


class Api(Quiver):
    """A quiver and plain calls to its control API."""

    def ask(
        self,
        method: str,
        path: str,
        doc: Any = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Response:
        body = doc if doc is None or isinstance(doc, bytes) else json.dumps(doc).encode()
        head = {"Host": "localhost", "Content-Type": "application/json", **(headers or {})}
        return request(self.api, method, path, body, head, timeout=timeout)

    def graphql(self, query: str, headers: dict[str, str] | None = None, **members: Any) -> Response:
        return self.ask("POST", "/graphql", {"query": query, **members}, headers)


def error_of(answer: Response) -> str:
    """The sentence of an error in Qdrant's shape."""
    doc = answer.json()
    assert set(doc) >= {"status", "time"} and list(doc["status"]) == ["error"], doc
    return doc["status"]["error"]


def found(x: Any) -> None:
    """Qdrant's answer to a search: always the same result, never the same time."""
    body = {
        "result": [{"id": 2**64 - 1, "version": 3, "score": 0.5123456789012345, "payload": {"a_b": 1}}],
        "status": "ok",
    }
    text = json.dumps(body)[:-1].replace(", ", ",").replace(": ", ":")
    x.reply(200, f'{text},"time":{0.001 + x.fake.serial() / 1e6}}}'.encode())


def ab(api: Api, model: str, requests: int, clients: int) -> None:
    """Plain `ab` on the model's search: as many answers as requests, none failed."""
    command = ["ab", "-q", "-n", str(requests), "-c", str(clients), f"http://127.0.0.1:{api.api}/api/v1/models/{model}/search"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert re.search(rf"Complete requests:\s+{requests}\b", done.stdout), done
    assert re.search(r"Failed requests:\s+0\b", done.stdout) and "Non-2xx" not in done.stdout, done.stdout
