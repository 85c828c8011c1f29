"""What was found: a table to read, JSON to keep, a plot."""

import json
from pathlib import Path
from statistics import median

from . import bodies
from .paths import PATHS, Cell


def _size(dim: int) -> str:
    n = bodies.file_of(dim).stat().st_size / bodies.BODIES
    return f"{dim}-D ({n / 1000:.0f} KB)"


def never_hits(found: dict, target: str, dim: int) -> bool:
    """A peer's cache that did not keep these answers."""
    return " cache" in target and median(s.hits for s in found[target][dim]) < 0.95


def as_part(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio > 0.35 else f"1/{1 / ratio:.1f}" if ratio > 0 else "0"


def cpu_table(found: dict) -> str:
    """Microseconds of processor time a request, medians; and requests a second."""
    lines = [f"{'CPU us a request (1000 req/s)':<30}" + "".join(f"{_size(d):>20}" for d in bodies.SIZES)]
    for target, by_dim in found.items():
        row = f"{target:<30}"
        for dim in bodies.SIZES:
            samples = by_dim[dim]
            text = f"{median(s.cpu_us for s in samples):.1f} ({median(s.rate for s in samples) / 1000:.1f})"
            if never_hits(found, target, dim):
                text = f"{text} no hit"
            row += f"{text:>20}"
        lines.append(row)
    return "\n".join(lines)


def goal_table(cells: dict[str, dict[int, Cell]]) -> str:
    lines = []
    for name, row in cells.items():
        lines.append(PATHS[name].title)
        for dim, cell in row.items():
            verdict = "met" if cell.met else "MISSED"
            verdict += " (rounds disagree)" if cell.unsure else ""
            lines.append(
                f"  {_size(dim):<16} {as_part(cell.ratio):>7} of {cell.peer:<14} "
                f"({as_part(cell.low)} to {as_part(cell.high)})  goal {as_part(cell.goal):>6}  {verdict}"
            )
    return "\n".join(lines)


def result(host: dict, shares: dict, noise: str, found: dict, cells: dict, rows: list, latencies: dict) -> dict:
    """All that was found, as it is kept."""
    return {
        "machine": host,
        "shares": shares,
        "noise": noise,
        "cells": {n: {str(d): {**c._asdict(), "met": c.met} for d, c in row.items()} for n, row in cells.items()},
        "rows": [{**r._asdict(), "met": r.met} for r in rows],
        "latencies": latencies,
        "samples": {t: {d: [s._asdict() for s in v] for d, v in by.items()} for t, by in found.items()},
    }


def save(result: dict, path: Path) -> None:
    path.write_text(json.dumps(result, indent=1) + "\n")


def compare(old: dict, new: dict) -> str:
    """Ratios of two results: absolute figures of two runs say nothing about each other."""
    lines = [f"{'ratio, then and now':<30}" + "".join(f"{_size(d):>20}" for d in bodies.SIZES)]
    for name, row in new["cells"].items():
        text = f"{name:<30}"
        for dim in map(str, bodies.SIZES):
            was, now = (r["cells"].get(name, {}).get(dim) for r in (old, new))
            text += f"{as_part(was['ratio']) + ' ' + as_part(now['ratio']) if was and now else '-':>20}"
        lines.append(text)
    was_row = {r["what"]: r["value"] for r in old.get("rows", [])}
    for row in new["rows"]:
        if row["what"] in was_row:
            lines.append(f"{row['what']:<60} {was_row[row['what']]:>10.2f} {row['value']:>10.2f} {row['unit']}")
    return "\n".join(lines)


def plot(found: dict, cells: dict[str, dict[int, Cell]], title: str, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(cells), figsize=(5.2 * len(cells), 4.2), squeeze=False)
    for axis, name in zip(axes[0], cells):
        what = PATHS[name]
        for target in (*what.others, *what.peers, what.ours):
            points = [(d, median(s.cpu_us for s in found[target][d])) for d in bodies.SIZES if not never_hits(found, target, d)]
            axis.plot(*zip(*points), marker="o", linewidth=3 if target == what.ours else 1.2, label=target)
        axis.set(xscale="log", yscale="log", title=name, xlabel="dimensions", ylabel="CPU, µs a request")
        axis.set_xticks(list(bodies.SIZES), [str(d) for d in bodies.SIZES])
        ticks = [t for t in (5, 10, 20, 50, 100, 200, 500, 1000) if axis.get_ylim()[0] <= t <= axis.get_ylim()[1]]
        axis.set_yticks(ticks, [str(t) for t in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
