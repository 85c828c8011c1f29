"""docker/edge, Qdrant's engine in process, as a child."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from .conn import request
from .ports import free_port
from .quiver import ROOT


class Engine:
    """Its data lies in folder; what it is asked is written to folder/log."""

    def __init__(self, folder: Path):
        self.port, self.log = free_port(), folder / "log"
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, str(ROOT / "docker/edge/serve.py"), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, "--data", str(folder / "data"), "--log", str(self.log)],
            stdout=subprocess.PIPE,
            text=True,
        )
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
