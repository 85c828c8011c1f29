"""The proxy under test as an object: start with a configuration, talk, look at metrics, reload, stop."""

import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

from .conn import Conn, Response, request
from .ports import free_port
from .wait import wait_until

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "quiver": "quiver.yaml",
    "optimizations": "model-optimizations.yaml",
    "indexing": "indexing-strategies.yaml",
    "caching": "caching-optimizations.yaml",
    "tuning": "performance-tuning.yaml",
}
SANITIZER = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|ERROR: .*Sanitizer")


def quiver_binary() -> str:
    return os.path.abspath(os.environ.get("QUIVER_BIN", str(ROOT / "build" / "dev" / "quiver")))


def yaml_of(value: Any, indent: int = 0) -> str:
    """Just enough YAML: nested maps and lists of scalars."""
    pad = " " * indent
    out = ""
    for key, item in value.items():
        if isinstance(item, dict):
            out += f"{pad}{key}:\n{yaml_of(item, indent + 2)}" if item else f"{pad}{key}: {{}}\n"
        elif isinstance(item, (list, tuple)):
            out += f"{pad}{key}: [{', '.join(scalar(i) for i in item)}]\n"
        else:
            out += f"{pad}{key}: {scalar(item)}\n"
    return out


def scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    if isinstance(value, (int, float)) or re.fullmatch(r"[A-Za-z0-9_/][A-Za-z0-9_./:@?=-]*", text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def clean_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("QUIVER_", "MODEL_"))}
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:exitcode=99:halt_on_error=1")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    env.update(extra or {})
    return env


class Quiver:
    """quiver: what quiver.yaml says beyond upstream and ports, a nested dict; optimizations, indexing, caching,
    tuning: model -> keys. The configuration lives in `folder`: configure() writes it anew,
    hup() makes the process read it."""

    def __init__(
        self,
        upstream: str | list[str] | None = None,
        quiver: dict | None = None,
        optimizations: dict | None = None,
        indexing: dict | None = None,
        caching: dict | None = None,
        tuning: dict | None = None,
        flags: list[str] | None = None,
        env: dict[str, str] | None = None,
        workers: int = 2,
        ready: bool = True,
        start: bool = True,
        nofile: int = 0,
        listen_flag: bool = True,
    ):
        self.port, self.api = free_port(), free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="quiver-test-"))
        self.upstream, self.flags, self.env, self.workers, self.nofile = (
            upstream,
            flags or [],
            env,
            workers,
            nofile,
        )
        self.listen_flag = listen_flag
        self.process: subprocess.Popen | None = None
        self.lines: list[str] = []
        self.configure(
            quiver=quiver or {},
            optimizations=optimizations or {},
            indexing=indexing or {},
            caching=caching or {},
            tuning=tuning or {},
        )
        if start:
            self.start(ready)

    # configuration
    def configure(self, **parts: dict) -> "Quiver":
        """Writes the files named; others stay."""
        for part, value in parts.items():
            if part == "quiver":
                value = dict(value)
                value["log"] = {"queries": "off", **value.get("log", {})}  # never the default, in /var/log
                value["redis"] = {"budget": "500ms", **value.get("redis", {})}  # patience: 1 ms is no promise on a busy machine
                if self.upstream is not None and "upstreams" not in value:
                    value["upstreams"] = {"default": self.upstream}
            text = yaml_of(value if part == "quiver" else {part: value}) if value else ""
            self.write(FILES[part], text or ("# all defaults\n" if part == "quiver" else ""))
        return self

    def write(self, name: str, text: str) -> None:
        """Exactly this text; renamed into place: a reload never sees half of it. Empty removes the file."""
        path = self.folder / name
        if not text:
            path.unlink(missing_ok=True)
            return
        aside = path.with_suffix(".new")
        aside.write_text(text)
        aside.rename(path)

    def command(self) -> list[str]:
        out = [quiver_binary(), "-c", str(self.folder), "--workers", str(self.workers)]
        if self.listen_flag:
            out += ["--listen", f"127.0.0.1:{self.port}", "--api", f"127.0.0.1:{self.api}"]
        return out + self.flags

    # life
    def start(self, ready: bool = True) -> "Quiver":
        def limit() -> None:
            if self.nofile:
                resource.setrlimit(resource.RLIMIT_NOFILE, (self.nofile, self.nofile))

        self.process = subprocess.Popen(
            self.command(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=clean_environment({"QUIVER_STATE_DIR": str(self.folder / "state"), **(self.env or {})}),
            preexec_fn=limit,
            cwd=self.folder,
        )
        self.reader = threading.Thread(target=self._collect, args=(self.process.stderr,), daemon=True)
        self.reader.start()
        wait_until(
            lambda: self.process.poll() is not None or self._answers("/healthz"),
            20,
            "quiver answers /healthz",
        )
        if self.process.poll() is not None:
            self.reader.join(5)
            raise AssertionError(f"quiver ended with {self.process.returncode}:\n{self.stderr}")
        if ready:
            wait_until(lambda: self._answers("/readyz"), 20, "quiver is ready")
        if self.listen_flag:
            wait_until(self.listens, 10, "the data port accepts")
        return self

    def _collect(self, pipe: Any) -> None:
        for line in iter(pipe.readline, b""):
            self.lines.append(line.decode("utf-8", "replace").rstrip("\n"))

    def _answers(self, path: str) -> bool:
        try:
            return request(self.api, "GET", path, timeout=5).status == 200
        except (OSError, AssertionError):
            return False

    def listens(self) -> bool:
        """Whether the data port takes connections."""
        try:
            Conn(self.port, timeout=5).close()
            return True
        except OSError:
            return False

    @property
    def stderr(self) -> str:
        return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        assert self.process
        return self.process.pid

    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def signal(self, what: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(what)

    def hup(self) -> None:
        self.signal(signal.SIGHUP)

    def reloads(self) -> float:
        return self.metric("quiver_reloads_total")

    def reload(self, **parts: dict) -> None:
        """Writes the files named and returns when the process has taken them, or refused them."""
        before = self.reloads()
        self.configure(**parts)
        self.hup()
        wait_until(lambda: self.reloads() > before, 10, "the reload is counted")

    def term(self) -> None:
        self.signal(signal.SIGTERM)

    def wait(self, timeout: float = 40.0) -> int:
        assert self.process
        code = self.process.wait(timeout)
        self.reader.join(5)
        return code

    def stop(self, code: int = 0) -> None:
        """SIGTERM, a clean end, and nothing from a sanitizer. Idempotent."""
        if self.process is not None:
            if self.alive():
                self.term()
                try:
                    self.wait()
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.wait()
                    raise AssertionError(
                        f"quiver did not end within 40 s of SIGTERM:\n{self.stderr[-3000:]}"
                    ) from None
            ended, self.process = self.process, None
            self.reader.join(5)
            assert not SANITIZER.search(self.stderr), self.stderr[-8000:]
            assert ended.returncode in (code, -signal.SIGKILL), (
                f"exit code {ended.returncode}:\n{self.stderr[-3000:]}"
            )
        shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.wait()

    # talk
    def conn(self, **how: Any) -> Conn:
        return Conn(self.port, **how)

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Response:
        with self.conn() as c:
            return c.ask(method, target, body, headers)

    def post(self, target: str, body: Any, headers: dict[str, str] | None = None) -> Response:
        with self.conn() as c:
            return c.post(target, body, headers)

    def control(self, method: str, path: str, body: bytes | None = None) -> Response:
        return request(self.api, method, path, body, {"Host": f"127.0.0.1:{self.api}"})

    # look
    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        text = self.control("GET", "/metrics").body.decode()
        out = []
        for line in text.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            match = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", line)
            assert match, f"not a metric: {line!r}"
            labels = dict(re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            out.append((match[1], labels, float(match[3])))
        return out

    def metric(self, name: str, **labels: str) -> float:
        """The sum of all series of that name with those labels; 0 if there is none."""
        return sum(
            v for n, l, v in self.metrics() if n == name and all(l.get(k) == w for k, w in labels.items())
        )

    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024  # type: ignore[index]

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def log_has(self, *words: str) -> bool:
        return any(all(w in line for w in words) for line in list(self.lines))
