"""ab and wrk find no failed request."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from lib import FakeQdrant, Quiver, wait_until

SEARCH = "/collections/mine/points/search"
SMALL = {"vector": [0.5] * 384, "limit": 10}
LARGE = {"vector": [n / 4096 + 1e-9 for n in range(4096)], "limit": 10}


def ab(q: Quiver, body: Path, *options: str) -> str:
    if not shutil.which("ab"):
        pytest.skip("ab is not installed")
    where = f"http://127.0.0.1:{q.port}{SEARCH}"
    command = ["ab", *options, "-p", str(body), "-T", "application/json", where]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Failed requests:\s+0$", done.stdout, re.M), done.stdout
    assert "Non-2xx" not in done.stdout, done.stdout
    return done.stdout


@pytest.fixture
def body(tmp_path: Path) -> Path:
    path = tmp_path / "body.json"
    path.write_text(json.dumps(SMALL))
    return path


@pytest.mark.parametrize("keep", [[], ["-k"]], ids=["a connection each", "keep-alive"])
def test_ab_with_answers_of_any_length(fake: FakeQdrant, start, body: Path, keep: list[str]) -> None:
    q = start(fake.url, caching={"default": {"coalesce": False}}, flags=["--cache", "off"])
    fake.handler = lambda x: x.ok([{"id": fake.serial()}])
    out = ab(q, body, "-l", "-n", "1000", "-c", "10", *keep)
    assert re.search(r"^Complete requests:\s+1000$", out, re.M)
    assert len(fake.seen(path=SEARCH)) == 1000


@pytest.mark.parametrize("keep", [[], ["-k"]], ids=["a connection each", "keep-alive"])
def test_plain_ab_on_a_cached_search_sees_one_length(
    fake: FakeQdrant, start, body: Path, keep: list[str]
) -> None:
    q = start(fake.url)
    wait_until(lambda: q.post(SEARCH, body.read_bytes()).hit, 5, "cached")
    ab(q, body, "-n", "2000", "-c", "10", *keep)


def test_plain_ab_on_a_cold_cache_sees_one_length(fake: FakeQdrant, start, body: Path) -> None:
    q = start(fake.url)
    ab(q, body, "-n", "500", "-c", "1", "-k")
    assert q.metric("cache_hits_total") >= 498


@pytest.mark.parametrize("cache", ["on", "off"])
def test_wrk_with_4096_dimensions(fake: FakeQdrant, start, tmp_path: Path, cache: str, long: bool) -> None:
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed")
    script = tmp_path / "post.lua"
    script.write_text(
        f"""wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = '{json.dumps(LARGE)}'
"""
    )
    q = start(
        fake.url,
        optimizations={"m": {"collections": ["mine"], "search": {"force": {"hnsw_ef": 64}}}},
        flags=["--cache", cache],
    )
    command = [
        "wrk",
        "-t2",
        "-c64",
        f"-d{10 if long else 3}s",
        "-s",
        str(script),
        f"http://127.0.0.1:{q.port}{SEARCH}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "Socket errors" not in done.stdout and "Non-2xx" not in done.stdout, done.stdout
    assert int(re.search(r"(\d+) requests in", done.stdout)[1]) > 100  # type: ignore[index]
    assert all(b'"hnsw_ef":64' in r.body for r in fake.requests)
