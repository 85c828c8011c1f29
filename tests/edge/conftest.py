"""A private docker/edge server per module: its own port, its own directory."""
import pathlib
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GREEN_WITHIN = 60


class Edge:
    """The server as a child process, and plain calls to it."""

    def __init__(self, data):
        self.data, self.child, self.port = data, None, free_port()
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60,
                                   headers={"accept-encoding": "identity"})

    def start(self):
        command = [sys.executable, str(ROOT / "docker/edge/serve.py"), "--port", str(self.port),
                   "--data", str(self.data), "--log", str(self.data) + ".log"]
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.child.stdout.readline()
        assert line.startswith("edge ready"), line
        return self

    def stop(self, number=signal.SIGTERM):
        """Ends the server; returns its exit code."""
        self.child.send_signal(number)
        code = self.child.wait(20)
        self.child.stdout.close()
        self.child = None
        return code

    def call(self, method, path, doc=None, **options):
        """Returns (status, body as JSON or text)."""
        answer = self.client.request(method, path, json=doc, **options) if doc is not None else \
            self.client.request(method, path, **options)
        kind = answer.headers.get("content-type", "")
        return answer.status_code, answer.json() if kind.startswith("application/json") else answer.text

    def result(self, method, path, doc=None):
        status, body = self.call(method, path, doc)
        assert status == 200, body
        return body["result"]

    def error(self, method, path, doc=None, **options):
        """Returns (status, error text)."""
        status, body = self.call(method, path, doc, **options)
        assert set(body) == {"status", "time"}, body
        return status, body["status"]["error"]

    def wait_green(self, name):
        end = time.monotonic() + GREEN_WITHIN
        while self.result("GET", f"/collections/{name}")["status"] != "green":
            assert time.monotonic() < end, "still not green"
            time.sleep(0.05)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def edge(tmp_path_factory):
    server = Edge(tmp_path_factory.mktemp("edge") / "data").start()
    yield server
    if server.child is not None:
        assert server.stop() == 0
