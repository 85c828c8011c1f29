"""quiver beside its peers, measured in one run; bench/run.sh prepares and calls this. See README.md."""

import argparse
import json
import sys
import time

from suite import bodies, cores, crowd, latency, machine, micro, paths, report
from suite.load import Failed
from suite.peers import Peers
from suite.rows import Row

MET, MISSED, FAILED, NOISY = 0, 1, 2, 3
PARTS = [*paths.PATHS, "latency", "crowd", "cores", "micro"]


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    p.add_argument("--quick", action="store_true", help="two minutes, times are not judged")
    p.add_argument("--rounds", type=int, help="rounds that count (5; quick: 1)")
    p.add_argument("--seconds", type=float, help="of each measurement (3; quick: 0.5)")
    p.add_argument("--connections", type=int, default=32)
    p.add_argument("--only", action="append", choices=PARTS, metavar="PART", help=f"of {', '.join(PARTS)}; again for more")
    p.add_argument("--compare", metavar="OLD.json", help="an earlier result, shown beside this one")
    p.add_argument("--port", type=int, default=26000, help="the first of 100 ports on 127.0.0.1")
    a = p.parse_args()
    a.rounds = a.rounds or (1 if a.quick else 5)
    a.seconds = a.seconds or (0.5 if a.quick else 3)
    a.only = a.only or PARTS
    return a


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def measure_paths(a: argparse.Namespace) -> tuple[dict, dict]:
    names = [n for n in paths.PATHS if n in a.only]
    if not names:
        return {}, {}
    peers = Peers(a.port, paths.targets_of(names))
    try:
        found = paths.rounds(peers, names, a.rounds, a.seconds, a.connections, say)
    finally:
        peers.stop()
    return found, {name: paths.judge(found, name) for name in names}


def measure_rows(a: argparse.Namespace) -> tuple[list[Row], dict]:
    rows, latencies = [], {}
    if "latency" in a.only:
        rows, latencies = latency.measure(a.port + 20, a.rounds, a.seconds, say)
    if "crowd" in a.only:
        rows += crowd.measure(a.port + 30, a.quick, say)
    if "cores" in a.only:
        rows += cores.measure(a.port + 40, a.rounds, a.seconds, say)
    if "micro" in a.only:
        rows += micro.measure(a.quick, say)
    return rows, latencies


def run(a: argparse.Namespace) -> int:
    begin, neighbours, host = time.monotonic(), machine.Neighbours(), machine.describe()
    print(
        f"{host['cpu']}, {host['cores']} cores, Linux {host['kernel']}; server on core {machine.SERVER_CORE}, load and upstream on "
        f"core {machine.LOAD_CORE}; {a.rounds} rounds of {a.seconds:g} s, {a.connections} connections\n"
    )
    found, cells = measure_paths(a)
    rows, latencies = measure_rows(a)
    say("")
    shares = neighbours.shares()
    noise = noise_of(shares, cells)
    if cells:
        print(report.cpu_table(found), report.goal_table(cells), sep="\n\n")
        report.plot(found, cells, f"{host['cpu']}, Linux {host['kernel']}", bodies.OUT / "result.png")
    print(*rows, sep="\n")
    result = report.result(host, shares, noise, found, cells, rows, latencies)
    report.save(result, bodies.OUT / "result.json")
    if a.compare:
        with open(a.compare) as f:
            print("", report.compare(json.load(f), result), sep="\n")
    print(
        f"\n{time.monotonic() - begin:.0f} s; others used {shares['others']:.1%} of the cores, the host took {shares['stolen']:.1%}"
    )
    print(f"details: {bodies.OUT}/result.json, result.png")
    return verdict(a, noise, [*rows, *(c for row in cells.values() for c in row.values())])


def verdict(a: argparse.Namespace, noise: str, judged: list) -> int:
    if a.quick:
        print("quick: every answer and what arrived at the upstream was right; times are not judged")
        return MET
    missed = sum(not j.met for j in judged)
    if noise:
        print(f"TOO NOISY to tell: {noise}")
        return NOISY
    print(f"{missed} of {len(judged)} goals missed" if missed else f"all {len(judged)} goals met")
    return MISSED if missed else MET


def noise_of(shares: dict[str, float], cells: dict) -> str:
    """Why this run proves nothing; empty if it does."""
    all_cells = [c for row in cells.values() for c in row.values()]
    spread = max((c.high / c.low for c in all_cells if c.low > 0), default=1)
    hits = min((c.hits for c in all_cells), default=1)
    reasons = {
        f"other processes used {shares['others']:.1%} of the cores": shares["others"] > 0.05,
        f"the host took {shares['stolen']:.1%} of the cores": shares["stolen"] > 0.03,
        f"ratios of the rounds differ by a factor of {spread:.2f}": spread > 1.4,
        f"only {hits:.1%} of quiver's answers came from the cache": hits < 0.99,
    }
    return "; ".join(text for text, true in reasons.items() if true)


if __name__ == "__main__":
    try:
        sys.exit(run(arguments()))
    except Failed as e:
        say("")
        print(f"FAILED: {e}", file=sys.stderr)
        sys.exit(FAILED)
