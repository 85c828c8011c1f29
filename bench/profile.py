"""Where the time of a path goes: samples of quiver's stacks while it is under load.

    bench/profile.py [pass|memory|redis]... [--dim N] [--seconds S]
Prints what share each kind of work has and which functions are at the top, and the system calls of a request; draws
build/bench/flame-PATH.svg. Uses perf's cpu-clock, which works without hardware counters; a redis path starts its Redis.
"""

import argparse
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

from suite import bodies, flame, paths
from suite.load import Failed, Run, load
from suite.peers import Peers, Server

# The first that matches any function of a stack, from the innermost out.
KINDS = {
    "copying to and from sockets": r"_copy_(to|from)_iter|copyin|copyout|simple_copy|skb_copy_datagram",
    "sending (TCP, loopback, waking the other side)": r"^(__sys_sendto|__sys_sendmsg|ksys_write|do_writev|__x64_sys_(sendmsg|sendto|writev|write)|sock_sendmsg|tcp_sendmsg)$",
    "receiving (TCP)": r"^(__sys_recvfrom|__sys_recvmsg|__x64_sys_(recvfrom|recvmsg|read)|sock_recvmsg|tcp_recvmsg)$",
    "waiting for events": r"epoll|^schedule|do_idle",
    "other system calls": r"^(do_syscall_64|entry_SYSCALL_64)",
    "hashing (libxxhash)": r"XXH|xxhash",
    "libevent": r"^event_|epoll_dispatch",
}


def share_of(stacks: Counter) -> Counter:
    out: Counter = Counter()
    for stack, n in stacks.items():
        names = stack.split(";")
        kind = next(
            (k for k, pattern in KINDS.items() if any(re.search(pattern, f) for f in names)), "quiver's own code and libc"
        )
        out[kind] += n
    return out


def innermost(stacks: Counter) -> Counter:
    out: Counter = Counter()
    for stack, n in stacks.items():
        out[stack.rpartition(";")[2]] += n
    return out


def record(server: Server, seconds: float) -> Counter:
    """Folded stacks, the outermost function first."""
    data = bodies.OUT / "perf.data"
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "--call-graph", "dwarf,4096"]
    command += ["-p", str(server.process.pid), "-o", str(data), "--", "sleep", str(seconds)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"perf: {done.stderr.strip()[-300:]}")
    script = ["perf", "script", "-i", str(data), "-F", "ip,sym,dso", "--no-inline"]
    return flame.fold(subprocess.run(script, check=True, capture_output=True, text=True).stdout)


def system_calls(server: Server, seconds: float) -> dict[str, int]:
    """How many there were of each."""
    log = bodies.OUT / "strace.log"
    tracer = subprocess.Popen(["strace", "-f", "-c", "-qq", "-o", str(log), "-p", str(server.process.pid)])
    time.sleep(seconds)
    tracer.send_signal(signal.SIGINT)
    tracer.wait(30)
    rows = [line.split() for line in log.read_text().splitlines()]
    return {r[-1]: int(r[3]) for r in rows if len(r) >= 5 and r[3].isdigit() and r[-1] != "total"}


class Load(threading.Thread):
    """Searches of one size for as long as something is looked at."""

    def __init__(self, server: Server, dim: int, seconds: float):
        super().__init__()
        self.server, self.dim, self.seconds = server, dim, seconds
        self.found: Run | None = None
        self.failed: Failed | None = None
        self.start()

    def run(self) -> None:
        where = {bodies.path_of(bodies.SIZES[self.dim]): bodies.file_of(self.dim)}
        try:
            self.found = load(self.server.port, where, seconds=self.seconds)
        except Failed as e:
            self.failed = e

    def end(self) -> Run:
        self.join()
        if self.failed or not self.found:
            raise self.failed or Failed("no load")
        return self.found


def profile(peers: Peers, name: str, dim: int, seconds: float) -> None:
    path = paths.PATHS[name]
    server = peers.servers[path.ours]
    paths.warm(peers, path.ours, dim)
    under = Load(server, dim, seconds + 1.5)
    time.sleep(0.5)
    stacks = record(server, seconds)
    rate = under.end().rate
    under = Load(server, dim, 2)
    time.sleep(0.5)
    calls = system_calls(server, 1)
    under.end()
    total = sum(stacks.values())
    print(f"\n{name}, {dim} dimensions: {rate:.0f} req/s, {total} samples")
    for kind, n in share_of(stacks).most_common():
        print(f"  {n / total:>6.1%}  {kind}")
    print("  at the top: " + ", ".join(f"{f} {n / total:.1%}" for f, n in innermost(stacks).most_common(12)))
    most = max(calls.values(), default=1)
    print(
        "  system calls, in proportion: "
        + ", ".join(f"{c} {n / most:.2f}" for c, n in sorted(calls.items(), key=lambda i: -i[1])[:6])
    )
    flame.draw(stacks, f"quiver, {name}, {dim} dimensions", bodies.OUT / f"flame-{name}.svg")
    print(f"  {bodies.OUT}/flame-{name}.svg")


def main() -> int:
    p = argparse.ArgumentParser(
        prog="bench/profile.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("path", nargs="*", metavar="PATH", help="pass, memory, redis; all by default")
    p.add_argument("--dim", type=int, default=4096, choices=bodies.SIZES)
    p.add_argument("--seconds", type=float, default=3)
    p.add_argument("--port", type=int, default=26060)
    a = p.parse_args()
    names = a.path or ["pass", "memory", "redis"]
    if not set(names) <= {"pass", "memory", "redis"}:
        p.error(f"{' '.join(names)}: expected pass, memory or redis")
    peers = Peers(a.port, [paths.PATHS[n].ours for n in names])
    try:
        for name in names:
            profile(peers, name, a.dim, a.seconds)
    finally:
        peers.stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        print(f"FAILED: {e}", file=sys.stderr)
        sys.exit(2)
