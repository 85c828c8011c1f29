"""The table of conf/README.md has all nine models, and each relation that it claims holds in it."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def rows() -> dict[str, list[str]]:
    text = (ROOT / "conf/README.md").read_text()
    between = text.split("<!-- baselines: begin -->")[1].split("<!-- baselines: end -->")[0]
    lines = [line.strip("| ").split(" | ") for line in between.strip().splitlines()[2:]]
    return {line[0].split(" ")[0]: line for line in lines}


def test_the_table_has_every_model_that_is_shipped() -> None:
    conf = (ROOT / "conf/model-optimizations.yaml").read_text()
    assert list(rows()) == re.findall(r"^  (\w+):", conf, re.M)


def test_the_relations_hold_in_the_table() -> None:
    for name, (_, first, base, cold, warm, hits, recall) in rows().items():
        ops, p50 = zip(*(re.findall(r"[\d.]+", cell) for cell in (first, base, cold, warm)), strict=True)
        assert float(p50[2]) <= 1.1 * float(p50[1]), name
        assert float(ops[3]) >= max(float(ops[0]), float(ops[1])), name
        assert float(hits) >= 0.85 and float(recall) >= 0.99, name
