"""A Redis server of the test's own: no persistence, its own port, a unix socket beside it."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile

from .ports import free_port
from .wait import wait_until


class Redis:
    def __init__(self, *options: str, password: str = "", port: int = 0):
        self.port = port or free_port()
        self.password, self.options = password, options
        self.folder = tempfile.mkdtemp(prefix="quiver-redis-")
        self.unix_path = os.path.join(self.folder, "r.sock")
        self.process: subprocess.Popen | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://{':' + self.password + '@' if self.password else ''}127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix:{self.unix_path}"

    def start(self) -> "Redis":
        command = [
            "redis-server",
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            self.folder,
            "--unixsocket",
            self.unix_path,
            "--unixsocketperm",
            "700",
            "--maxmemory",
            "64mb",
            "--maxmemory-policy",
            "noeviction",
        ]
        if self.password:
            command += ["--requirepass", self.password]
        self.process = subprocess.Popen(
            command + list(self.options), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        wait_until(self.alive, 10, "redis-server answers")
        return self

    def alive(self) -> bool:
        try:
            return self.command("PING") == b"PONG"
        except OSError:
            return False

    def command(self, *words: str | bytes, db: int = 0) -> object:
        """One command on a connection of its own; errors raise."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as s:
            f = s.makefile("rwb")

            def ask(parts: tuple[str | bytes, ...]) -> object:
                f.write(b"*%d\r\n" % len(parts))
                for w in parts:
                    data = w.encode() if isinstance(w, str) else w
                    f.write(b"$%d\r\n%s\r\n" % (len(data), data))
                f.flush()
                return read()

            def read() -> object:
                line = f.readline()
                if not line.endswith(b"\r\n"):
                    raise ConnectionError("redis closed")
                kind, rest = line[:1], line[1:-2]
                if kind == b"+":
                    return rest
                if kind == b"-":
                    raise RuntimeError(rest.decode())
                if kind == b":":
                    return int(rest)
                if kind == b"$":
                    return None if rest == b"-1" else f.read(int(rest) + 2)[:-2]
                return [read() for _ in range(int(rest))]

            if self.password:
                ask(("AUTH", self.password))
            if db:
                ask(("SELECT", str(db)))
            return ask(words)

    def keys(self, pattern: str = "*", db: int = 0) -> list[str]:
        return sorted(k.decode() for k in self.command("KEYS", pattern, db=db))  # type: ignore[union-attr]

    def stop(self) -> None:
        """SIGSTOP: alive and deaf."""
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        assert self.process
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        self.kill()
        self.start()

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.cont()
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> "Redis":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
