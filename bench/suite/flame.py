"""Flame graphs: stacks folded from what `perf script` prints, and drawn as one SVG that needs no program but a browser."""

from collections import Counter
from html import escape
from pathlib import Path

WIDTH, ROW, SMALLEST = 1200, 17, 0.4  # pixels; narrower boxes are left out


def fold(script: str) -> Counter:
    """ "outer;inner" -> samples. Blocks of lines "address function (object)", the innermost first."""
    out: Counter = Counter()
    for block in script.split("\n\n"):
        names = []
        for line in filter(str.strip, block.splitlines()):
            _, _, rest = line.strip().partition(" ")
            name, _, where = rest.rpartition(" (")
            where = where.rstrip(")").rpartition("/")[2]
            names.append(name if name and name != "[unknown]" else f"[{where or 'unknown'}]")
        if names:
            out[";".join(reversed(names))] += 1
    return out


def _tree(stacks: Counter) -> dict:
    root: dict = {"n": 0, "inner": {}}
    for stack, n in stacks.items():
        at = root
        at["n"] += n
        for name in stack.split(";"):
            at = at["inner"].setdefault(name, {"n": 0, "inner": {}})
            at["n"] += n
    return root


def _depth(node: dict) -> int:
    return 1 + max((_depth(i) for i in node["inner"].values()), default=0)


def _boxes(node: dict, x: float, level: int, height: int, scale: float, total: int, out: list[str]) -> None:
    for name, inner in sorted(node["inner"].items()):
        width = inner["n"] * scale
        if width >= SMALLEST:
            y = height - (level + 2) * ROW
            hue = 15 + hash_of(name) % 40
            label = escape(name[: int(width / 6.6)]) if width > 24 else ""
            out.append(
                f'<g><title>{escape(name)} {inner["n"] / total:.1%}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}" '
                f'fill="hsl({hue},80%,65%)"/><text x="{x + 2:.1f}" y="{y + 12}">{label}</text></g>'
            )
            _boxes(inner, x, level + 1, height, scale, total, out)
        x += width


def hash_of(name: str) -> int:
    """The same in each run, so that colours stay."""
    return sum(i * ord(c) for i, c in enumerate(name, 1))


def draw(stacks: Counter, title: str, path: Path) -> None:
    root = _tree(stacks)
    height = (_depth(root) + 2) * ROW
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="monospace" font-size="11">',
        f'<text x="4" y="13">{escape(title)}: {root["n"]} samples</text>',
    ]
    _boxes(root, 0, 0, height, WIDTH / max(root["n"], 1), max(root["n"], 1), out)
    path.write_text("\n".join([*out, "</svg>"]) + "\n")
