"""query_scan() against the reference: every operation x spelling of `params` x prefetch depth, and 2,000 drawn bodies, byte for byte.

Runs under pytest or by itself. REWRITE_DRIVER names the driver; else the newest one under build/ is taken.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import rewrite  # noqa: E402

Case = tuple[str, bytes, dict]


def driver() -> str:
    if given := os.environ.get("REWRITE_DRIVER"):
        return given
    built = sorted(Path(__file__).parents[2].glob("build/*/tests/reference/rewrite_driver"), key=lambda p: p.stat().st_mtime)
    if not built:
        try:
            import pytest
        except ImportError:
            sys.exit("no rewrite_driver under build/: build a preset first")
        pytest.skip("no rewrite_driver under build/: build a preset first")
    return str(built[-1])


def ask(cases: list[Case]) -> list[rewrite.Facts]:
    """What the C code makes of each case, in one run of the driver."""
    lines = []
    for op_name, body, rules in cases:
        wishes = [f"{knob} {which} {rewrite.text_of(v).decode()}\n" for knob, rule in rules.items() for which, v in rule.items()]
        lines += [f"{op_name} {len(wishes)} {len(body)}\n{''.join(wishes)}".encode(), body]
    done = subprocess.run([driver()], input=b"".join(lines), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-4000:]
    out, at, answers = done.stdout, 0, []
    for _ in cases:
        end = out.index(b"\n", at)
        known, uncacheable, nodes, edits, lookups, n = map(int, out[at:end].split())
        text = out[end + 1:end + 1 + n]
        at = end + 1 + n
        body, *names = text.rsplit(b"\0", lookups) if lookups else (text,)
        answers.append(rewrite.Facts(bool(known), body, bool(uncacheable), [x.decode("utf-8", "surrogatepass") for x in names], nodes, edits))
    assert at == len(out)
    return answers


def compare(cases: list[Case]) -> list[rewrite.Facts]:
    answers = ask(cases)
    for (op_name, body, rules), got in zip(cases, answers):
        want = rewrite.scan(op_name, body, rules)
        assert got == want, f"{op_name}\nrules {rules}\nbody  {body!r}\nwant  {want}\ngot   {got}"
    return answers


def test_every_operation_spelling_and_depth():
    rng = random.Random(20240607)
    rules = {"hnsw_ef": {"default": 64, "max": 256}, "quantization.rescore": {"default": True}, "exact": {"force": False}}
    cases = []
    for op_name in rewrite.OPS:
        for spelling in rewrite.SPELLINGS:
            for depth in range(4):
                cases.append((op_name, rewrite.generate(rng, op_name, spelling, depth, damaged=0)[3], rules))
    compare(cases)


def test_two_thousand_drawn_bodies():
    rng = random.Random(7)
    cases = []
    for _ in range(2000):
        op_name, _, _, body = rewrite.generate(rng)
        cases.append((op_name, body, rewrite.generate_rules(rng)))
    answers = compare(cases)
    # The draw must exercise both sides of each question.
    edited = sum(a.body != c[1] for a, c in zip(answers, cases))
    for part in (edited, sum(a.known for a in answers), sum(not a.known for a in answers), sum(bool(a.lookups) for a in answers),
                 sum(a.known and a.uncacheable for a in answers)):
        assert part > 100, (edited, part)


def test_without_rules_nothing_changes():
    rng = random.Random(11)
    cases = [(op, body, {}) for op, _, _, body in (rewrite.generate(rng) for _ in range(300))]
    assert all(a.body == c[1] and a.n_edits == 0 for a, c in zip(compare(cases), cases))


def test_an_edited_body_edited_again_stays():
    """Rewriting is idempotent: a client that sends what quiver would write is not touched."""
    rng = random.Random(13)
    rules = {"hnsw_ef": {"default": 64, "min": 32, "max": 256}, "quantization.oversampling": {"default": 1.5}, "indexed_only": {"force": True}}
    cases = [(op, body, rules) for op, _, _, body in (rewrite.generate(rng) for _ in range(300))]
    once = compare(cases)
    again = compare([(c[0], a.body, rules) for a, c in zip(once, cases)])
    assert all(a.n_edits == 0 for a in again)


if __name__ == "__main__":
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            test()
            print("ok", name)
