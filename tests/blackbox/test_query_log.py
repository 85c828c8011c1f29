"""The query log: a line of JSON for each search that was slow, rewritten or drawn by lot."""

import json
import os
import re
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from lib import FakeQdrant, Quiver, Redis, a_search, quiver_binary, wait_until

SEARCH = "/collections/mine/points/search"
MODEL = {"m": {"collections": ["mine"], "search": {"default": {"hnsw_ef": 32}, "force": {"quantization": {"rescore": True}}}}}
QUIET = {"slow": "1h", "rewritten": False, "sample": 0}


class Log:
    def __init__(self, path: Path):
        self.path = path

    def text(self) -> str:
        return self.path.read_text() if self.path.exists() else ""

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.text().splitlines()]

    def wait(self, n: int) -> list[dict]:
        wait_until(lambda: self.text().count("\n") >= n, 5, f"{n} lines")
        return self.lines()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "queries.log")


@pytest.fixture
def logged(start: Callable[..., Quiver], fake: FakeQdrant, log: Log) -> Callable[..., Quiver]:
    """A quiver whose query log is `log`; its own settings are given as keywords."""

    def run(options: dict, **parts: Any) -> Quiver:
        quiver = {"log": {"queries": str(log.path), **options}, **parts.pop("quiver", {})}
        # one worker: lines of several may stand in another order than their searches
        return start(fake.url, **{"quiver": quiver, "optimizations": MODEL, "workers": 1, **parts})

    return run


def test_a_rewritten_search_has_a_line(logged: Callable[..., Quiver], log: Log) -> None:
    q = logged({**QUIET, "rewritten": True})
    body = {"vector": [0.5], "limit": 3, "params": {"exact": False}, "filter": {"must": [{"key": "city", "match": {"value": "x"}}]}}
    for _ in range(2):
        assert q.post(SEARCH, body).status == 200
    miss, hit = log.wait(2)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", miss["time"])
    assert (miss["model"], miss["collection"], miss["operation"], miss["status"]) == ("m", "mine", "search", 200)
    assert miss["why"] == ["rewritten"] and miss["filter"] == "must[key=city match.value]"
    assert miss["parameters_before"] == {"exact": False} and miss["changed"] == 2
    assert miss["parameters_after"] == {"hnsw_ef": 32, "quantization.rescore": True, "exact": False}
    assert (miss["cache"], miss["answered"]) == ("miss", "upstream")
    assert (hit["cache"], hit["answered"]) == ("hit", "memory")
    assert miss["total_us"] >= miss["upstream_us"] > 0 and hit["upstream_us"] == 0
    assert miss["suppressed"] == hit["suppressed"] == 0


def test_a_slow_search_has_a_line_and_a_fast_one_has_none(logged: Callable[..., Quiver], fake: FakeQdrant, log: Log) -> None:
    q = logged({**QUIET, "slow": "300ms"})
    go = threading.Event()
    q.post(SEARCH, {"vector": [1], "limit": 1})
    fake.handler = lambda x: go.wait(0.5) and None
    q.post(SEARCH, {"vector": [2], "limit": 2})
    fake.handler = None
    q.post("/collections/mine/points/scroll", {"limit": 1})
    lines = log.wait(1)  # a busy machine may have made others slow as well
    assert all(line["why"] == ["slow"] and line["total_us"] >= 300_000 for line in lines)
    assert any(line["upstream_us"] >= 300_000 for line in lines)


def test_a_lot_draws_the_part_that_is_asked_for(logged: Callable[..., Quiver], log: Log) -> None:
    q = logged({**QUIET, "sample": 0.25})
    with q.conn() as c:
        for n in range(800):
            c.post(SEARCH, {"vector": [n % 50], "limit": 1})
    wait_until(lambda: len(log.lines()) == q.metric("optimization_query_log_lines_total"), 5, "all is written")
    lines = log.lines()
    assert 120 < len(lines) < 280 and all(line["why"] == ["sampled"] for line in lines)


def test_writes_and_other_reads_have_none(logged: Callable[..., Quiver], log: Log) -> None:
    q = logged({"slow": "0s"})
    q.ask("GET", "/collections/mine")
    q.ask("PUT", "/collections/mine/points?wait=true", b'{"points":[]}')
    q.ask("GET", "/collections")
    q.post("/collections/mine/points/count", {})
    (line,) = log.wait(1)
    assert line["operation"] == "count" and line["why"] == ["slow"]


def test_values_are_never_in_it(logged: Callable[..., Quiver], log: Log) -> None:
    q = logged({"slow": "0s"})
    odd = [
        {"filter": {"must": [{"key": "city", "match": {"value": "SECRET"}}, {"has_id": ["SECRET"]}, "SECRET"]}},
        {"filter": "SECRET", "params": {"SECRET": "SECRET", "quantization": {"SECRET": ["SECRET"]}}},
        {"filter": {"SECRET": 1}, "params": {"hnsw_ef": "SECRET"}},
        {"filter": {"must": {"key": "SECRET way 1"}}, "params": "SECRET", "using": "SECRET", "with_payload": ["SECRET"]},
    ]
    for more in odd:
        q.post(SEARCH, {"vector": [98765.25], "limit": 987654321, **more}, {"api-key": "SECRET"})
    assert len(log.wait(4)) == 4
    assert "SECRET" not in log.text() and "98765" not in log.text()


def test_a_line_stays_a_line(logged: Callable[..., Quiver], log: Log) -> None:
    """Whatever names a client makes up, and however it sets its JSON."""
    q = logged({"slow": "0s"})
    q.post("/collections/%22%0A%5Cx/points/search", {"vector": [1], "limit": 1})
    q.post(SEARCH, b'{"vector":[1],\n"params":{\n"hnsw_ef":\t7\n}}')
    first, second = log.wait(2)
    assert first["collection"] == '"\n\\x' and second["parameters_before"] == {"hnsw_ef": 7}


def test_a_key_that_looks_like_the_path_of_a_knob_is_none(logged: Callable[..., Quiver], log: Log) -> None:
    """Nor does its number count: a line has its knobs once, and room for them."""
    q = logged({"slow": "0s"})
    odd = ",".join(['"quantization.rescore":true'] * 1000)
    q.post(SEARCH, b'{"vector":[1],"params":{%s,"hnsw_ef":7,"quantization":{"rescore":false}},"limit":1}' % odd.encode())
    q.post(SEARCH, b'{"vector":[1],"params":{%s},"limit":1}' % ",".join(['"hnsw_ef":7'] * 1000).encode())
    first, second = log.wait(2)
    assert first["parameters_before"] == {"hnsw_ef": 7, "quantization.rescore": False}
    assert second["parameters_before"] in ({}, {"hnsw_ef": 7})


def test_what_answers_is_told(logged: Callable[..., Quiver], fake: FakeQdrant, redis: Redis, log: Log) -> None:
    redis_conf = {"redis": {"url": redis.url, "budget": "500ms"}}
    q = logged({"slow": "0s"}, quiver=redis_conf)
    other = logged({"queries": "off"}, quiver=redis_conf)
    body = {"vector": [0.25], "limit": 1}
    wait_until(lambda: other.post(SEARCH, body) and other.post(SEARCH, body).hit, 10, "the other caches")
    wait_until(lambda: q.post(SEARCH, body) and "redis" in [line["answered"] for line in log.lines()], 10, "a hit of Redis")
    go = threading.Event()
    fake.handler = lambda x: go.wait(10) and None
    pair = [threading.Thread(target=q.post, args=(SEARCH, {"vector": [0.75], "limit": 1})) for _ in range(2)]
    for t in pair:
        t.start()
    wait_until(lambda: q.metric("quiver_tx_state", state="request") == 1, 10, "one waits for the other")
    go.set()
    for t in pair:
        t.join()
    wait_until(lambda: {"another", "upstream"} <= {line["answered"] for line in log.lines()}, 5, "both lines")
    fake.stop()
    q.post(SEARCH, {"vector": [0.9], "limit": 1})
    wait_until(lambda: log.lines()[-1]["answered"] == "quiver", 5, "quiver's own error")
    assert log.lines()[-1]["status"] in (502, 503)


def test_a_client_that_leaves_has_a_line_too(logged: Callable[..., Quiver], fake: FakeQdrant, log: Log) -> None:
    q = logged({"slow": "0s"})
    go = threading.Event()
    fake.handler = lambda x: x.wait(go)
    with q.conn() as c:
        c.send(a_search(SEARCH, b'{"vector":[1],"limit":1,"params":{"hnsw_ef":9},"filter":{"must":[{"has_id":[1]}]}}'))
        wait_until(lambda: fake.seen(path=SEARCH), what="the search is under way")
    (line,) = log.wait(1)
    go.set()
    assert line["status"] == 499 and line["answered"] == "nobody" and line["filter"] == "must[has_id]"
    assert line["parameters_before"] == {} and line["parameters_after"]["hnsw_ef"] == 9


def test_a_second_has_so_many_lines_and_what_is_left_out_is_counted(logged: Callable[..., Quiver], log: Log) -> None:
    q = logged({**QUIET, "sample": 1, "rate": 5})
    with q.conn() as c:
        for n in range(400):
            c.post(SEARCH, {"vector": [n % 5], "limit": 1})
    n_lines = q.metric("optimization_query_log_lines_total")
    assert q.metric("optimization_query_log_suppressed_total") == 400 - n_lines > 0
    wait_until(lambda: q.post(SEARCH, {"vector": [1], "limit": 1}) and any(l["suppressed"] for l in log.lines()), 5, "the next second")
    seconds: dict[str, int] = {}
    for line in log.lines():
        seconds[line["time"][:19]] = seconds.get(line["time"][:19], 0) + 1
    assert max(seconds.values()) <= 10  # the log's seconds begin with the process's


def test_slow_searches_have_room_of_their_own(logged: Callable[..., Quiver], fake: FakeQdrant, log: Log) -> None:
    q = logged({"slow": "300ms", "rewritten": True, "sample": 0, "rate": 1})
    go = threading.Event()
    slow = threading.Thread(target=q.post, args=(SEARCH, {"vector": [7], "limit": 7}))
    q.post(SEARCH, {"vector": [1], "limit": 1})
    fake.handler = lambda x: go.wait(0.6) and None
    slow.start()
    with q.conn() as c:
        while slow.is_alive():
            c.post(SEARCH, {"vector": [1], "limit": 1})
    slow.join()
    wait_until(lambda: any("slow" in line["why"] for line in log.lines()), 5, "the slow one's line")


def test_a_folder_that_is_not_there_is_said_once_and_nothing_else_happens(start: Callable[..., Quiver], fake: FakeQdrant, tmp_path: Path) -> None:
    path = tmp_path / "not" / "there.log"
    conf = {"log": {"queries": str(path), "slow": "0s"}}
    q = start(fake.url, quiver=conf)
    wait_until(lambda: q.log_has("event=query_log_off", str(path), "No such file"), 5, "it is said")
    assert q.post(SEARCH, {"vector": [1], "limit": 1}).status == 200
    q.reload(quiver=conf)
    assert q.post(SEARCH, {"vector": [1], "limit": 1}).status == 200
    assert sum("query_log" in line for line in q.lines) == 1
    assert q.metric("optimization_query_log_lines_total") == 0
    path.parent.mkdir()
    q.reload(quiver=conf)  # now there is room for it
    wait_until(lambda: q.post(SEARCH, {"vector": [1], "limit": 1}) and path.exists() and path.read_text(), 5, "lines")


@pytest.mark.parametrize("what", [signal.SIGUSR1, signal.SIGHUP])
def test_signals_reopen_it(logged: Callable[..., Quiver], log: Log, tmp_path: Path, what: signal.Signals) -> None:
    q = logged({"slow": "0s"})
    q.post(SEARCH, {"vector": [1], "limit": 1})
    log.wait(1)
    os.rename(log.path, tmp_path / "old.log")
    q.signal(what)
    wait_until(log.path.exists, 5, "a new file")
    wait_until(lambda: q.post(SEARCH, {"vector": [1], "limit": 1}) and log.lines(), 5, "later lines in the new file")


def test_its_default_is_where_operators_look(tmp_path: Path) -> None:
    shown = subprocess.run([quiver_binary(), "-T", "--upstream", "http://127.0.0.1:1"], capture_output=True, text=True, cwd=tmp_path)
    assert 'queries: "/var/log/citadel/query-optimization.log"' in shown.stdout


@pytest.mark.parametrize(
    "options, says",
    [
        ({"queries": "here.log"}, "expected off, stderr or a path"),
        ({"slow": "2h"}, "1h"),
        ({"sample": 1.5}, "1"),
        ({"rate": 0}, "1"),
        ({"rewritten": "often"}, "true or false"),
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, options: dict, says: str) -> None:
    (key, value), = options.items()
    (tmp_path / "quiver.yaml").write_text(f"log: {{{key}: {str(value).lower()}}}\n")
    run = subprocess.run([quiver_binary(), "-t", "-c", str(tmp_path)], capture_output=True, text=True)
    assert run.returncode != 0 and f"log.{key}" in run.stderr and says in run.stderr
