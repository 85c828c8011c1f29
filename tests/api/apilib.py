"""Objects of the control API's tests: a quiver to ask, an engine to stand behind it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from lib import ROOT, Quiver, Response, free_port, request

HERE = Path(__file__).resolve().parent
MODELS = {
    "hermes": {"vector_size": 16},
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


class Engine:
    """docker/edge as a child."""

    def __init__(self, folder: Path):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [
            sys.executable,
            str(ROOT / "docker/edge/serve.py"),
            "--port",
            str(self.port),
            "--data",
            str(folder),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline() if self.process.stdout else ""
        assert line.startswith("edge ready"), f"the engine did not start: {line!r}"

    def call(self, method: str, path: str, doc: Any = None) -> Any:
        body = json.dumps(doc).encode() if doc is not None else None
        answer = request(self.port, method, path, body, timeout=60)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["result"]

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(30) == 0
