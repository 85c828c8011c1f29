"""The servers of a run: what each is told, and which processes count as it."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from . import bodies, machine
from .load import Failed, Upstream

OUT = bodies.OUT
RELEASE = bodies.ROOT / "build" / "release"
CACHE = Path("/dev/shm") if Path("/dev/shm").is_dir() else OUT  # nginx keeps its answers in files: give it memory


class Server:
    """A process that listens. `counted` finds the processes that do its work, given the one that was started."""

    def __init__(
        self,
        name: str,
        port: int,
        command: list[str],
        cores: tuple[int, ...] = (machine.SERVER_CORE,),
        counted: Callable[[int], list[int]] = lambda pid: [pid],
        env: dict[str, str] | None = None,
    ):
        self.name, self.port = name, port
        self.log = OUT / f"{name}.log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([*machine.pinned(*cores), *command], stdout=log, stderr=log, env=env)
        self._await()
        self.pids = counted(self.process.pid)

    def _await(self) -> None:
        end = time.monotonic() + 20
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        tail = self.log.read_text()[-400:].strip()
        self.stop()
        raise Failed(f"{self.name}: nothing listens on port {self.port}: {tail}")

    def cpu(self) -> float:
        return machine.cpu_of(self.pids)

    def memory(self, also_files: bool = False) -> int:
        return sum(machine.memory_of(pid, also_files) for pid in self.pids)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def upstream(ports: dict[int, Path], *options: str, name: str = "upstream") -> Server:
    """ports: each with the bodies that must arrive there."""
    args = [f"{port}={file}" for port, file in ports.items()]
    command = [str(RELEASE / "bench" / "bench_upstream"), *options, *args]
    return Server(name, next(iter(ports)), command, cores=(machine.LOAD_CORE,))


NGINX = """
{user}
worker_processes 1;
pid {out}/{name}.pid;
error_log {out}/{name}.error.log error;
worker_rlimit_nofile 16000;
events {{ worker_connections 8000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {out}/{name}-body;
    proxy_temp_path {out}/{name}-proxy;
    fastcgi_temp_path {out}/{name}-fastcgi;
    uwsgi_temp_path {out}/{name}-uwsgi;
    scgi_temp_path {out}/{name}-scgi;
    client_body_buffer_size 1m;
    client_body_in_single_buffer on;
    client_max_body_size 64m;
    upstream engine {{ server 127.0.0.1:{behind}; keepalive 256; keepalive_requests 1000000000; }}
    {http}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            {location}
        }}
    }}
}}
"""
# The key is the body. It must be in memory, in one piece, and fit the buffer that the answer's head is read into, or nginx
# takes another key or none; the files are in memory and stay open.
NGINX_CACHE_HTTP = """
    proxy_cache_path {cache} levels=1:2 keys_zone=answers:64m max_size=4g inactive=1h use_temp_path=off;
    open_file_cache max=4096 inactive=1h;
    open_file_cache_valid 1h;
"""
NGINX_CACHE_LOCATION = """
            proxy_cache answers;
            proxy_cache_methods POST;
            proxy_cache_key $request_uri$request_body;
            proxy_cache_valid 200 1h;
            proxy_buffer_size 256k;
            proxy_buffers 8 256k;
            proxy_busy_buffers_size 512k;
"""


def nginx(name: str, port: int, behind: int, cached: bool) -> Server:
    cache = CACHE / f"quiver-bench-nginx-{port}"
    shutil.rmtree(cache, ignore_errors=True)
    text = NGINX.format(
        user="user root;" if os.getuid() == 0 else "",
        out=OUT,
        name=name,
        port=port,
        behind=behind,
        http=NGINX_CACHE_HTTP.format(cache=cache) if cached else "",
        location=NGINX_CACHE_LOCATION if cached else "",
    )
    conf = OUT / f"{name}.conf"
    conf.write_text(text)
    command = ["nginx", "-c", str(conf), "-g", "daemon off;"]
    return Server(name, port, command, counted=lambda pid: _worker(pid, "nginx: worker"))


def _worker(master: int, title: str = "") -> list[int]:
    """Its child that does the work: the one whose command line begins like this."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        for pid in machine.children_of(master):
            if Path(f"/proc/{pid}/cmdline").read_text().startswith(title):
                return [pid]
        time.sleep(0.05)
    raise Failed(f"process {master} has started no worker")


HAPROXY = """
global
    nbthread 1
    maxconn 4000
    tune.bufsize 131072
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
frontend clients
    bind 127.0.0.1:{port}
    default_backend engine
backend engine
    server engine 127.0.0.1:{behind}
"""


def haproxy(port: int, behind: int) -> Server:
    conf = OUT / "haproxy.conf"
    conf.write_text(HAPROXY.format(port=port, behind=behind))
    return Server("haproxy", port, ["haproxy", "-db", "-f", str(conf)])


VARNISH = """
vcl 4.1;
import bodyaccess;
import std;
backend engine {{ .host = "127.0.0.1"; .port = "{behind}"; }}
sub vcl_recv {{ {recv} }}
sub vcl_hash {{ bodyaccess.hash_req_body(); }}
sub vcl_backend_fetch {{ set bereq.method = "POST"; }}
sub vcl_backend_response {{ set beresp.ttl = 1h; }}
"""


def varnish(name: str, port: int, behind: int, cached: bool) -> Server:
    vcl, home = OUT / f"{name}.vcl", OUT / f"{name}-home"
    recv = "std.cache_req_body(256KB); return (hash);" if cached else "return (pass);"
    vcl.write_text(VARNISH.format(behind=behind, recv=recv))
    shutil.rmtree(home, ignore_errors=True)
    command = ["varnishd", "-F", "-j", "none", "-n", str(home), "-f", str(vcl), "-a", f"127.0.0.1:{port}", "-s", "malloc,1g"]
    return Server(name, port, command, counted=lambda pid: _worker(pid))


# A starved machine makes requests late, which is no failure here.
PATIENT = {
    "QUIVER_LIMITS_HEAD_TIMEOUT": "10m",
    "QUIVER_LIMITS_BODY_TIMEOUT": "10m",
    "QUIVER_LIMITS_WRITE_TIMEOUT": "10m",
    "QUIVER_LIMITS_KEEP_ALIVE": "10m",
    "QUIVER_UPSTREAM_CONNECT_TIMEOUT": "1m",
    "QUIVER_UPSTREAM_QUEUE_TIMEOUT": "10m",
}


def quiver(
    name: str,
    port: int,
    behind: int | str,
    *flags: str,
    workers: int = 1,
    cores: tuple[int, ...] = (machine.SERVER_CORE,),
    env: dict[str, str] | None = None,
    rules: dict[str, str] | None = None,
    api: str = "off",
) -> Server:
    """behind: a port of this host, or a URL. rules: environment that says how searches are rewritten; by default bodies.py's."""
    url = f"http://127.0.0.1:{behind}" if isinstance(behind, int) else behind
    command = [str(RELEASE / "quiver"), "--listen", f"127.0.0.1:{port}", "--upstream", url, "--api", api]
    command += ["--workers", str(workers), *flags]
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("QUIVER_", "MODEL_"))}
    settings = bodies.environment() if rules is None else rules
    state = {"QUIVER_STATE_DIR": str(OUT / f"{name}-state")}
    return Server(name, port, command, env={**clean, **PATIENT, **settings, **state, **(env or {})}, cores=cores)


def redis(port: int) -> Server:
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    return Server("redis", port, command, cores=(machine.LOAD_CORE,))


# Redis alone answers: of what memory may hold, a model gets a hundredth, a dozen answers. The look may take as long as it
# does: Redis shares its core with the load here.
FROM_REDIS = {
    "QUIVER_CACHE_MEMORY": "1MiB",
    "QUIVER_REDIS_BUDGET": "100ms",
    **{f"MODEL_CACHE_SHARE_{model.upper()}": "1" for model in bodies.MODELS},
}


class Peers:
    """All servers of the three paths, on ports from `first` on."""

    def __init__(self, first: int, targets: list[str]):
        wanted = list(dict.fromkeys(t.partition("@")[0] for t in targets))
        sent, rewritten = bodies.make()
        self.first = first
        self.plain, self.edited = Upstream(first), Upstream(first + 1)
        self.servers: dict[str, Server] = {}
        try:
            self.upstream = upstream({first: sent, first + 1: rewritten})
            self.servers["direct"] = self.upstream
            if "quiver redis" in wanted:
                self.redis = redis(first + 2)
            for at, name in enumerate(n for n in wanted if n != "direct"):
                self.servers[name] = self._start(name, first + 3 + at)
        except BaseException:
            self.stop()
            raise

    def _start(self, name: str, port: int) -> Server:
        plain, edited, redis_url = self.first, self.first + 1, f"redis://127.0.0.1:{self.first + 2}"
        start: dict[str, Callable[[], Server]] = {
            "nginx": lambda: nginx("nginx", port, plain, cached=False),
            "haproxy": lambda: haproxy(port, plain),
            "varnish": lambda: varnish("varnish", port, plain, cached=False),
            "nginx cache": lambda: nginx("nginx-cache", port, plain, cached=True),
            "varnish cache": lambda: varnish("varnish-cache", port, plain, cached=True),
            "quiver": lambda: quiver("quiver", port, edited, "--redis", "off", "--cache", "off"),
            "quiver memory": lambda: quiver("quiver-memory", port, edited, "--redis", "off"),
            "quiver redis": lambda: quiver("quiver-redis", port, edited, "--redis", redis_url, env=FROM_REDIS),
        }
        return start[name]()

    def behind(self, name: str) -> Upstream:
        """Where that server's requests arrive."""
        return self.edited if name.startswith("quiver") else self.plain

    def stop(self) -> None:
        for server in reversed(self.servers.values()):
            server.stop()
        if hasattr(self, "redis"):
            self.redis.stop()
        for cache in CACHE.glob(f"quiver-bench-nginx-{self.first // 100}*"):
            shutil.rmtree(cache, ignore_errors=True)
