"""quiver beside its peers, measured in one run; bench/run.sh prepares and calls this. See README.md."""

import argparse
import json
import sys
import time

from suite import bodies, machine, paths, report
from suite.load import Failed
from suite.peers import Peers

MET, MISSED, FAILED, NOISY = 0, 1, 2, 3


def arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="bench/run.sh", description=__doc__)
    p.add_argument("--quick", action="store_true", help="two minutes, times are not judged")
    p.add_argument("--rounds", type=int, help="rounds that count (5; quick: 1)")
    p.add_argument("--seconds", type=float, help="of each measurement (3; quick: 0.7)")
    p.add_argument("--connections", type=int, default=32)
    p.add_argument("--only", action="append", choices=[*paths.PATHS], help="that part; again for more")
    p.add_argument("--compare", metavar="OLD.json", help="an earlier result, shown beside this one")
    p.add_argument("--port", type=int, default=26000, help="the first of 100 ports on 127.0.0.1")
    a = p.parse_args()
    a.rounds = a.rounds or (1 if a.quick else 5)
    a.seconds = a.seconds or (0.7 if a.quick else 3)
    a.only = a.only or [*paths.PATHS]
    return a


def say(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def run(a: argparse.Namespace) -> int:
    begin, neighbours = time.monotonic(), machine.Neighbours()
    host = machine.describe()
    print(f"{host['cpu']}, {host['cores']} cores, Linux {host['kernel']}; server on core {machine.SERVER_CORE}, ", end="")
    print(f"load and upstream on core {machine.LOAD_CORE}; {a.rounds} rounds of {a.seconds:g} s, {a.connections} connections\n")
    peers = Peers(a.port, paths.targets_of(a.only))
    try:
        found = paths.rounds(peers, a.only, a.rounds, a.seconds, a.connections, say)
    finally:
        peers.stop()
    say("")
    cells = {name: paths.judge(found, name) for name in a.only}
    shares = neighbours.shares()
    noise = noise_of(shares, cells)
    print(report.cpu_table(found), report.goal_table(cells), sep="\n\n")
    result = {
        "machine": host, "shares": shares, "noise": noise, "rounds": a.rounds, "seconds": a.seconds,
        "samples": {t: {d: [s._asdict() for s in v] for d, v in by.items()} for t, by in found.items()},
        "cells": {n: {str(d): c._asdict() for d, c in row.items()} for n, row in cells.items()},
    }  # fmt: skip
    report.save(result, bodies.OUT / "result.json")
    report.plot(found, cells, f"{host['cpu']}, Linux {host['kernel']}", bodies.OUT / "result.png")
    if a.compare:
        with open(a.compare) as f:
            print("", report.compare(json.load(f), json.loads(json.dumps(result))), sep="\n")
    print(f"\n{time.monotonic() - begin:.0f} s; others used {shares['others']:.1%} of the cores, the host took {shares['stolen']:.1%}")
    print(f"details: {bodies.OUT}/result.json, result.png")
    if a.quick:
        print("quick: every answer and what arrived at the upstream was right; times are not judged")
        return MET
    missed = sum(not c.met for row in cells.values() for c in row.values())
    if noise:
        print(f"TOO NOISY to tell: {noise}")
        return NOISY
    print("all goals met" if not missed else f"{missed} goals missed")
    return MISSED if missed else MET


def noise_of(shares: dict[str, float], cells: dict) -> str:
    """Why this run proves nothing, or nothing."""
    spread = max((c.high / c.low for row in cells.values() for c in row.values() if c.low > 0), default=1)
    hits = min((c.hits for row in cells.values() for c in row.values()), default=1)
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
