"""What the docs say exists, exists; what exists is named."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def committed(*patterns: str) -> list[Path]:
    out = subprocess.run(["git", "-C", str(ROOT), "ls-files", *patterns], capture_output=True, text=True)
    if out.returncode:
        pytest.skip("not a git clone")
    return [ROOT / line for line in out.stdout.splitlines() if (ROOT / line).exists()]


def test_no_python_test_is_named_twice_in_its_folder() -> None:
    by_folder: dict[Path, Counter] = {}
    for path in (ROOT / "tests").rglob("test_*.py"):
        names = [
            n.name
            for n in ast.walk(ast.parse(path.read_text()))
            if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")
        ]
        twice = [n for n, count in Counter(names).items() if count > 1]
        assert not twice, f"{path}: {twice}"
        by_folder.setdefault(path.parent, Counter()).update(names)
    for folder, names in by_folder.items():
        twice = [n for n, count in names.items() if count > 1]
        assert not twice, f"{folder}: {twice}"


def test_every_c_test_that_is_written_is_run() -> None:
    for path in (ROOT / "tests" / "unit").rglob("test_*.c"):
        text = path.read_text()
        written = re.findall(r"^static void (\w+)\(void \*\*\w+\)", text, re.M)
        for name in written:
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{path}: {name} is never run"


def test_every_metric_is_counted_somewhere() -> None:
    rows = re.findall(r"^(MODEL_)?(COUNTER|GAUGE|HIST)\((\w+),", (ROOT / "proxy/base/metrics.def").read_text(), re.M)
    code = "".join(path.read_text() for path in committed("proxy/*.c", "plugins/*.c"))
    ids = ["M" * bool(model) + {"COUNTER": "M_", "GAUGE": "G_", "HIST": "H_"}[kind] + name for model, kind, name in rows]
    assert len(ids) > 80
    assert not [i for i in ids if not re.search(rf"\b{i}\b", code)], "a metric that is always 0"


def test_files_that_readmes_name_exist() -> None:
    missing = []
    for readme in committed("*.md"):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", readme.read_text()):
            if not re.match(r"[a-z]+:", link) and not (readme.parent / link).exists():
                missing.append(f"{readme.relative_to(ROOT)}: {link}")
    assert not missing, "\n".join(missing)


def test_commands_that_readmes_name_exist() -> None:
    missing = []
    for readme in committed("*.md"):
        for block in re.findall(r"^```(?:sh|bash|console)?\n(.*?)^```", readme.read_text(), re.M | re.S):
            for script in re.findall(
                r"(?<![\w./-])((?:docker|tests|bench|\.ci)/[\w./-]*\.?(?:sh|py|run))\b", block
            ):
                if not (ROOT / script).exists() and not (readme.parent / script).exists():
                    missing.append(f"{readme.relative_to(ROOT)}: {script}")
            for preset in re.findall(r"cmake --preset (\w+)", block):
                if f'"name": "{preset}"' not in (ROOT / "CMakePresets.json").read_text():
                    missing.append(f"{readme.relative_to(ROOT)}: preset {preset}")
    assert not missing, "\n".join(missing)


def test_the_top_level_is_as_agreed() -> None:
    allowed = {
        "CMakeLists.txt",
        "CMakePresets.json",
        "proxy",
        "plugins",
        "conf",
        "tests",
        "docker",
        "bench",
        "README.md",
    }
    top = {p.relative_to(ROOT).parts[0] for p in committed()}
    assert {n for n in top if not n.startswith(".")} <= allowed


def test_no_local_path_is_committed() -> None:
    hits = []
    for path in committed():
        if path.suffix in (".png", ".ico") or not path.is_file():
            continue
        text = path.read_bytes()
        for word in (b"/" + b"work/", b"/home" + b"/"):
            if word in text and path.name != "test_docs.py":
                hits.append(f"{path.relative_to(ROOT)}: {word.decode()}")
    assert not hits, "\n".join(hits)


def test_every_metric_name_fits() -> None:
    defs = (ROOT / "proxy" / "base" / "metrics.def").read_text()
    for name in re.findall(r'^(?:COUNTER|GAUGE|MODEL_\w+|SCRAPED)\(\w+, "([^"]+)"', defs, re.M):
        assert re.match("(model|optimization|cache|quiver)_[a-z0-9_]+$", name), name
    for kind, name in re.findall(r'^(COUNTER|MODEL_COUNTER)\(\w+, "([^"]+)"', defs, re.M):
        assert name.endswith("_total"), f"{name} is a {kind} and does not end in _total"


def test_every_plugin_says_what_it_is() -> None:
    folders = [p for p in (ROOT / "plugins").iterdir() if p.is_dir() and list(p.glob("*.c"))]
    for folder in folders:
        readme = folder / "README.md"
        text = (
            (ROOT / "plugins" / "README.md").read_text() if (ROOT / "plugins" / "README.md").exists() else ""
        )
        assert readme.exists() or f"`{folder.name}" in text or f"{folder.name}/" in text, (
            f"plugins/{folder.name} is described nowhere"
        )


def test_every_operation_of_the_table_is_tested_against_the_engine() -> None:
    rows = re.findall(r'^OP\((\w+), "(\w+)"', (ROOT / "proxy" / "qdrant" / "ops.def").read_text(), re.M)
    assert (
        len(rows) > 60 and len({i for i, _ in rows}) == len(rows) and len({n for _, n in rows}) == len(rows)
    )
