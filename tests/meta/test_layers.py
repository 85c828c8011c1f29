"""Arrows point down: what may include what, and which library ends where."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Each layer and those whose headers it may include besides its own.
BELOW = {
    "base": set(),
    "conf": {"base"},
    "http": {"base"},
    "qdrant": {"base", "http"},
    "io": {"base", "conf", "http", "qdrant"},
    "upstream": {"base", "conf", "http", "qdrant", "io"},
    "coherence": {"base", "conf", "http", "qdrant", "io"},
    "engine": {"base", "conf", "http", "qdrant", "io", "upstream", "coherence"},
    "api": {"base", "conf", "http", "qdrant", "io", "upstream", "coherence", "engine"},
    "tune": {"base", "conf", "http", "qdrant", "io", "upstream", "coherence", "engine"},
    "server": {
        "base",
        "conf",
        "http",
        "qdrant",
        "io",
        "upstream",
        "coherence",
        "engine",
        "api",
        "tune",
        "plugins",
    },
}
# A plugin sees the engine's contract and the pure layers, and never another plugin or a library's bridge.
PLUGIN_MAY = {"base", "conf", "http", "qdrant", "upstream", "coherence", "engine"}
# Foreign headers that are at home in exactly one file.
ONE_FILE = {"evhtp": r"evhtp(/.*)?\.h$", "hiredis": r"hiredis/.*\.h$", "libyaml": r"yaml\.h$"}


def sources() -> list[Path]:
    return sorted(p for top in ("proxy", "plugins") for p in (ROOT / top).rglob("*.[ch]"))


def includes(path: Path) -> list[tuple[str, str]]:
    return re.findall(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', path.read_text(), re.M)


def test_includes_point_down() -> None:
    wrong = []
    for path in sources():
        parts = path.relative_to(ROOT).parts
        for kind, name in includes(path):
            if kind != '"' or name.endswith(".def") and "/" not in name:
                continue
            layer = name.split("/")[0]
            if parts[0] == "proxy" and len(parts) > 2:
                assert parts[1] in BELOW, f"{path}: a folder that the map does not know"
                if layer != parts[1] and layer not in BELOW[parts[1]]:
                    wrong.append(f"{'/'.join(parts)} includes {name}")
            elif parts[0] == "plugins" and len(parts) > 2:
                if layer == "plugins" and name.split("/")[1] == parts[1] or "/" not in name:
                    continue
                if layer not in PLUGIN_MAY:
                    wrong.append(f"{'/'.join(parts)} includes {name}")
    assert not wrong, "\n".join(wrong)


def test_foreign_headers_are_included_in_one_file_each() -> None:
    for library, pattern in ONE_FILE.items():
        users = [
            str(p.relative_to(ROOT))
            for p in sources()
            if any(k == "<" and re.fullmatch(pattern, n) for k, n in includes(p))
        ]
        assert len(users) == 1 and users[0].endswith(".c"), f"{library}: {users}"


def test_every_header_begins_with_its_purpose_and_a_guard() -> None:
    for path in sources():
        text = path.read_text()
        if path.suffix == ".h":
            assert "#pragma once" in text, path
            assert text.startswith(("/* ", "// ")), f"{path} does not begin with what it is for"


def test_files_stay_readable() -> None:
    for path in sources():
        lines = path.read_text().splitlines()
        assert len(lines) < 800, f"{path}: {len(lines)} lines"


def test_nothing_is_left_undone() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    for path in sources():
        found = words.search(path.read_text())
        assert not found, f"{path}: {found.group()}"
