"""Signals, the end of the process, the access log."""

import os
import re
import shutil
import signal
import subprocess
import threading

import pytest
from lib import Conn, ConnClosed, FakeQdrant, Quiver, a_search, wait_until
from lib.quiver import clean_environment

SEARCH = "/collections/x/points/search"


@pytest.mark.parametrize("what", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_finishes_what_runs_and_exits_0(fake: FakeQdrant, start, what: signal.Signals) -> None:
    q = start(fake.url)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    with q.conn() as busy, q.conn() as idle:
        assert idle.sock
        busy.send(a_search(SEARCH))
        wait_until(lambda: fake.seen(path=SEARCH), what="a request runs")
        q.signal(what)
        wait_until(lambda: _refused(q), 5, "new connections are refused")
        assert q.alive()
        go.set()
        r = busy.read()
        assert r.status == 200 and (r.get("connection") or "").lower() == "close"
        assert busy.is_closed()
    assert q.wait(10) == 0


def _refused(q: Quiver) -> bool:
    try:
        with q.conn(timeout=2):
            return False
    except OSError:
        return True


def test_idle_connections_do_not_delay_the_end(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    conns = [q.conn() for _ in range(10)]
    for c in conns:
        assert c.ask("GET", "/collections/x").status == 200
    q.term()
    assert q.wait(5) == 0
    for c in conns:
        c.close()


def test_a_request_under_way_is_cut_after_the_drain_time(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"limits": {"drain_timeout": "500ms"}})
    fake.handler = lambda x: x.wait_for_hang_up()
    with q.conn() as c:
        c.send(a_search(SEARCH))
        wait_until(lambda: fake.seen(path=SEARCH), what="a request runs")
        q.term()
        assert q.wait(10) == 0
        try:
            assert c.read().status == 503
        except ConnClosed:
            pass


def test_a_pid_file_is_written_and_removed(fake: FakeQdrant, start, tmp_path) -> None:
    q = start(fake.url, flags=["--pid", str(tmp_path / "q.pid")])
    assert (tmp_path / "q.pid").read_text().strip() == str(q.pid)
    q.term()
    assert q.wait() == 0
    assert not (tmp_path / "q.pid").exists()


def test_the_pid_file_moves_with_a_reload(fake: FakeQdrant, start, tmp_path) -> None:
    """And what quiver has not written it does not remove."""
    first, second, linked = tmp_path / "q.pid", tmp_path / "r.pid", tmp_path / "link" / "r.pid"
    linked.parent.symlink_to(tmp_path)
    q = start(fake.url, quiver={"pid": str(first)})
    pid = str(q.pid)
    q.reload(quiver={"pid": str(second)})
    assert second.read_text().strip() == pid and not first.exists()
    first.write_text("another program's")
    q.reload(quiver={"pid": str(tmp_path / "none" / "q.pid")})
    wait_until(lambda: q.log_has("event=reload_failed", "cannot write the pid file"), 5, "the failure is logged")
    assert second.read_text().strip() == pid
    q.reload(quiver={"pid": str(linked)})
    assert second.read_text().strip() == pid, "the same file by another name"
    q.reload(quiver={})
    assert not second.exists()
    q.term()
    assert q.wait() == 0
    assert first.read_text() == "another program's"


def test_sigpipe_and_unused_signals_do_no_harm(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    q.signal(signal.SIGPIPE)
    assert q.ask("GET", "/collections/x").status == 200


def test_one_that_drains_leaves_its_successors_socket_and_pid_file(fake: FakeQdrant, start, tmp_path) -> None:
    path, pid = tmp_path / "q.sock", tmp_path / "pid"
    flags = ["--listen", f"unix:{path}", "--pid", str(pid)]
    old = start(fake.url, flags=flags)
    go = threading.Event()
    fake.handler = lambda x: x.wait(go) and None
    with old.conn() as busy:
        busy.send(a_search(SEARCH))
        wait_until(lambda: fake.seen(path=SEARCH), what="a request runs")
        old.term()
        wait_until(lambda: _refused(old) and not path.exists(), 5, "it lets nobody in any more")
        fake.handler = None
        new = start(fake.url, flags=flags)
        go.set()
        assert busy.read().status == 200
    assert old.wait(10) == 0
    assert pid.read_text() == f"{new.pid}\n"
    with Conn(str(path)) as c:
        assert c.ask("GET", "/collections/x").status == 200
    new.stop()
    assert not path.exists() and not pid.exists()


def fields_of(line: str) -> dict[str, str]:
    return {k: v.strip('"') for k, v in re.findall(r'([a-z_0-9]+)=("(?:[^"\\]|\\.)*"|\S*)', line)}


def test_the_access_log_tells_each_request(fake: FakeQdrant, start, tmp_path) -> None:
    log = tmp_path / "access.log"
    q = start(fake.url, quiver={"log": {"access": str(log)}}, optimizations={"m": {"collections": ["mine"]}})
    key = {"api-key": "secret-of-client"}
    target, lines = "/collections/mine/points/search", []

    def told(n: int) -> bool:
        lines[:] = log.read_text().splitlines() if log.exists() else []
        return len(lines) >= n

    q.post(target + "?timeout=3", {"vector": [1], "limit": 1}, key)
    wait_until(lambda: told(1), 5, "the first line")
    wait_until(lambda: q.post(target + "?timeout=3", {"vector": [1], "limit": 1}, key).hit, 5, "a hit")
    wait_until(lambda: told(2) and "cache=hit" in lines[-1], 5, "the hit's line")
    first, second = fields_of(lines[0]), fields_of(lines[-1])
    n = len(lines)
    q.ask("GET", "/strange%20path")
    wait_until(lambda: told(n + 1), 5, "the last line")
    third = fields_of(lines[-1])
    assert {"time", "client", "method", "path", "model", "operation", "status", "bytes", "cache"} <= set(
        first
    )
    assert (first["method"], first["model"], first["operation"], first["status"]) == (
        "POST",
        "m",
        "search",
        "200",
    )
    assert first["client"].startswith("127.0.0.1") and first["path"].startswith(
        "/collections/mine/points/search"
    )
    assert "hit" in second["cache"] and "hit" not in first["cache"]
    assert third["status"] == "404" and third["path"] == "/strange%20path"
    times = [k for k in first if re.search("queue|connect|first|total", k)]
    assert len(times) >= 4 and all(re.fullmatch(r"\d+", first[k]) for k in times), lines[0]
    assert "secret-of-client" not in log.read_text()


def test_the_access_log_tells_who_sent_what_was_refused_and_why(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"log": {"access": "stderr"}, "limits": {"head_timeout": "100ms"}})
    for sent, status, why in (
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400", "blank before the ':'"),
        (b"GET / HTTP/1.1\r\nHost:", "408", "did not arrive in time"),
    ):
        with q.conn() as c:
            assert str(c.send(sent).read().status) == status
        line = wait_until(
            lambda why=why: next((l for l in list(q.lines) if why in l), None), 5, "a line that says why"
        )
        assert fields_of(line)["client"] == "127.0.0.1" and fields_of(line)["status"] == status


def test_usr1_reopens_the_access_log(fake: FakeQdrant, start, tmp_path) -> None:
    log = tmp_path / "access.log"
    q = start(fake.url, quiver={"log": {"access": str(log)}})
    q.ask("GET", "/one")
    wait_until(lambda: log.exists() and "/one" in log.read_text(), 5, "the first line")
    os.rename(log, tmp_path / "old.log")
    q.signal(signal.SIGUSR1)
    wait_until(log.exists, 5, "a new file")
    # the writer changes over when it has written what was logged before: a line may still go to the old file
    wait_until(lambda: q.ask("GET", "/two") and "/two" in log.read_text(), 5, "later lines in the new file")
    q.ask("GET", "/three")
    wait_until(lambda: "/three" in log.read_text(), 5, "all lines in the new file")
    assert "/three" not in (tmp_path / "old.log").read_text()


def test_a_reload_that_cannot_open_its_access_log_changes_nothing(fake: FakeQdrant, start, tmp_path) -> None:
    log = tmp_path / "access.log"
    q = start(fake.url, quiver={"log": {"access": str(log)}})
    q.reload(quiver={"log": {"access": str(tmp_path / "none" / "x.log")}, "limits": {"keep_alive": "3s"}})
    assert q.metric("quiver_reloads_total", result="failed") == 1
    wait_until(lambda: q.log_has("reload_failed", "none/x.log", "No such file"), 5, "a line that says why")
    assert "75s" in q.control("GET", "/api/v1/config").body.decode()
    q.ask("GET", "/still")
    wait_until(lambda: "/still" in log.read_text(), 5, "a line in the log that was there")


def test_an_access_log_that_would_block_is_refused(fake: FakeQdrant, start, tmp_path) -> None:
    """Opening a FIFO that nobody reads would stop the thread that signals come to."""
    os.mkfifo(tmp_path / "fifo")
    q = start(fake.url)
    q.reload(quiver={"log": {"access": str(tmp_path / "fifo")}})
    wait_until(lambda: q.log_has("reload_failed", "fifo"), 5, "a line that names it")
    assert q.ask("GET", "/telemetry").status == 200


def test_a_reader_of_stderr_that_stands_still_stops_neither_reloads_nor_the_end(fake: FakeQdrant) -> None:
    q = Quiver(fake.url, start=False, quiver={"log": {"access": "stderr"}})
    unread, stderr = os.pipe()
    try:
        q.process = subprocess.Popen(
            q.command(),
            stderr=stderr,
            stdout=subprocess.DEVNULL,
            env=clean_environment({"QUIVER_STATE_DIR": str(q.folder / "state")}),
        )
        os.close(stderr)
        wait_until(lambda: q._answers("/readyz"), 20, "quiver is ready")
        with q.conn() as c:
            for _ in range(1500):  # some 350 KB of lines; a pipe takes 64
                assert c.ask("GET", "/healthz").status == 200
        wait_until(lambda: q.metric("quiver_log_dropped_total") > 0, 10, "lines are given up and counted")
        q.hup()
        wait_until(lambda: q.reloads() > 0, 10, "the reload is counted")
        os.set_blocking(unread, False)
        text = b""

        def read_on() -> bytes:
            nonlocal text
            try:
                while got := os.read(unread, 1 << 16):
                    text += got
            except BlockingIOError:
                pass
            return text

        wait_until(read_on, 10, "what the pipe held")
        wait_until(lambda: q.ask("GET", "/back") and b"path=/back" in read_on(), 10, "lines again")
        assert all(line.startswith(b"time=") for line in text.splitlines()), "what is left of a cut line is no other's"
        q.term()
        assert q.process.wait(15) == 0
    finally:
        os.close(unread)
        if q.process and q.process.poll() is None:
            q.process.kill()
            q.process.wait()
        shutil.rmtree(q.folder, ignore_errors=True)


def test_the_access_log_is_off_by_default_and_goes_to_stderr_on_demand(fake: FakeQdrant, start) -> None:
    quiet = start(fake.url)
    quiet.ask("GET", "/telemetry")
    loud = start(fake.url, quiver={"log": {"access": "stderr"}})
    loud.ask("GET", "/telemetry")
    wait_until(lambda: loud.log_has("/telemetry", "status="), 5, "a line on stderr")
    assert not quiet.log_has("/telemetry")


def test_a_client_cannot_break_a_log_line(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"log": {"access": "stderr", "level": "debug"}})
    q.ask("GET", '/x"y=z%0a\\level=error', headers={"User-Agent": 'a"b level=error'})
    line = wait_until(
        lambda: next((l for l in list(q.lines) if "%0a" in l and "status=" in l), None), 5, "the line"
    )
    assert fields_of(line)["status"] == "404" and fields_of(line).get("level") != "error"


def test_log_lines_are_logfmt(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    q.hup()
    wait_until(lambda: q.log_has("event=reload"), 5, "a line about the reload")
    for line in q.lines:
        assert re.match(r"time=\S+ level=(error|warn|info|debug) event=\w+", line), line
