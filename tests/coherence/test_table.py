"""README.md's table of rules and tests says the truth."""

import ast
import re
from pathlib import Path

from checker import ROOT
from schedules import SCHEDULES
from test_broken import BROKEN

RULES = range(1, 12)
README = Path(__file__).with_name("README.md")


def rows() -> list[tuple[int, str, list[str]]]:
    """number, rule, tests as `file::name` or `file::name[parameter]`"""
    found = re.findall(r"^\| (\d+) \| (.*?) \| (.*?) \|$", README.read_text(), re.M)
    return [(int(n), rule, re.findall(r"`([^`]+::[^`]+)`", tests)) for n, rule, tests in found]


def functions(path: Path) -> set[str]:
    if path.suffix == ".c":
        return set(re.findall(r"(?:cmocka_unit_test\w*|IN_A_WORLD)\((\w+)", path.read_text()))
    tree = ast.parse(path.read_text())
    return {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")}


def test_every_rule_has_a_test() -> None:
    tests = {n: 0 for n in RULES}
    for n, _, named in rows():
        tests[n] += len(named)
    assert all(tests.values()), tests


def test_every_named_test_exists() -> None:
    wrong = []
    for n, _, named in rows():
        for one in named:
            file, _, name = one.partition("::")
            name, _, parameter = name.rstrip("]").partition("[")
            path = README.parent / file if "/" not in file else ROOT / file
            if not path.exists() or name not in functions(path):
                wrong.append(f"rule {n}: {one}")
            elif parameter and parameter not in {*SCHEDULES, *BROKEN, "on", "off", "True", "False"}:
                wrong.append(f"rule {n}: {one}: no such parameter")
    assert not wrong, "\n".join(wrong)


def test_every_trouble_is_in_the_table() -> None:
    text = README.read_text()
    missing = [n for n, s in SCHEDULES.items() if not s.endless and f"test_trouble[{n}]" not in text]
    assert not missing, missing
