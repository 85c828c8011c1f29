"""Free TCP ports, safe between test processes: a port is held by a file lock for the life of this process."""

import fcntl
import os
import random
import socket
import tempfile

_first, _last = (int(n) for n in os.environ.get("QUIVER_TEST_PORTS", "23000-25999").split("-"))
_held: dict[int, int] = {}  # port -> descriptor that holds its lock


def _bindable(port: int) -> bool:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as s:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                s.bind((address, port))
        except OSError:
            if family == socket.AF_INET or os.path.exists("/proc/net/if_inet6"):
                return False
    return True


def free_port() -> int:
    folder = os.path.join(tempfile.gettempdir(), f"quiver-test-ports-{os.getuid()}")
    os.makedirs(folder, exist_ok=True)
    ports = list(range(_first, _last + 1))
    random.SystemRandom().shuffle(ports)
    for port in ports:
        if port in _held:
            continue
        lock = os.open(os.path.join(folder, str(port)), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        if _bindable(port):
            _held[port] = lock
            return port
        os.close(lock)
    raise RuntimeError(f"no free port between {_first} and {_last}")
