"""The command line: exit codes, -t, -T, and what is refused before anything listens."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from lib import ROOT, FakeQdrant, Quiver, free_port, quiver_binary, wait_until
from lib.quiver import SANITIZER, clean_environment

UPSTREAM = ["--upstream", "http://127.0.0.1:6999"]


def run(*args: str, env: dict[str, str] | None = None, timeout: float = 20) -> subprocess.CompletedProcess:
    done = subprocess.run(
        [quiver_binary(), *args], capture_output=True, text=True, env=clean_environment(env), timeout=timeout
    )
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / (name.replace("_", "-") + ".yaml")).write_text(text)
    return folder


def test_version_and_help() -> None:
    v = run("--version")
    assert v.returncode == 0 and re.search(r"quiver \d+\.\d+", v.stdout)
    h = run("--help")
    assert h.returncode == 0 and len(h.stdout.splitlines()) <= 50
    for flag in (
        "-c",
        "--listen",
        "--api",
        "--upstream",
        "--redis",
        "--cache",
        "--rewrite",
        "--workers",
        "--pid",
        "-t",
        "-T",
        "--version",
    ):
        assert flag in h.stdout, flag


@pytest.mark.parametrize(
    "args",
    [
        ["--nope"],
        ["--workers", "many"],
        ["--workers", "-1"],
        ["--cache", "maybe"],
        ["--rewrite"],
        ["stray"],
        ["--listen"],
    ],
)
def test_usage_errors_exit_2_with_one_sentence(args: list[str]) -> None:
    done = run(*args)
    assert done.returncode == 2 and 1 <= len(done.stderr.strip().splitlines()) <= 3, done.stderr


def test_t_says_ok_and_the_models(tmp_path) -> None:
    write(
        tmp_path,
        model_optimizations='optimizations:\n  mixtral: {vector_size: 4096, index_type: "HNSW", '
        "index_params: {m: 16, ef_construct: 200}, "
        'cache_ttl: 300, batch_size: 50, memory_limit: "8GB"}\n',
    )
    done = run("-c", str(tmp_path), "-t", *UPSTREAM)
    assert done.returncode == 0 and "ok" in done.stdout.lower() and "mixtral" in done.stdout, done


def test_the_shipped_configuration_is_ok_and_compiled_in() -> None:
    for args in (["-c", str(ROOT / "conf")], []):
        done = run(*args, "-t", *UPSTREAM)
        assert done.returncode == 0, done.stderr
        for model in (
            "mixtral",
            "hermes",
            "openchat",
            "yi34b",
            "deepseek",
            "phi3",
            "imp",
            "deepcoder",
            "general",
        ):
            assert model in done.stdout


BAD = [
    (
        "an unknown key",
        {"model_optimizations": "optimizations:\n  m: {cache_tttl: 3}\n"},
        "model-optimizations.yaml:2: .*cache_tttl",
    ),
    ("an unknown key of the process", {"quiver": "limmits: {keep_alive: 3}\n"}, "quiver.yaml:1: .*limmits"),
    (
        "a duplicate key",
        {"model_optimizations": "optimizations:\n  m: {cache_ttl: 3}\n  m: {cache_ttl: 4}\n"},
        "model-optimizations.yaml:3: ",
    ),
    (
        "a wrong type",
        {"caching_optimizations": "caching:\n  m:\n    cache_ttl: yes\n"},
        "caching-optimizations.yaml:3: .*cache_ttl.*yes",
    ),
    (
        "an alias",
        {"model_optimizations": "optimizations:\n  m: &a {cache_ttl: 3}\n  n: *a\n"},
        "model-optimizations.yaml:[23]: ",
    ),
    (
        "a second document",
        {"model_optimizations": "optimizations: {}\n---\noptimizations: {}\n"},
        "model-optimizations.yaml:[23]: ",
    ),
    ("bad YAML", {"quiver": "listen: [\n"}, "quiver.yaml:[12]: "),
    (
        "a key in the wrong file",
        {"performance_tuning": "tuning:\n  m: {vector_size: 3}\n"},
        "performance-tuning.yaml:2: .*vector_size",
    ),
    (
        "an octal",
        {"performance_tuning": "tuning:\n  m: {connections: 010}\n"},
        "performance-tuning.yaml:2: .*connections",
    ),
    (
        "out of bounds",
        {"performance_tuning": "tuning:\n  m: {connections: 0}\n"},
        "performance-tuning.yaml:2: .*connections",
    ),
    (
        "a tie of globs",
        {"model_optimizations": 'optimizations:\n  a: {collections: ["x*"]}\n  b: {collections: ["x*"]}\n'},
        "model-optimizations.yaml:3: ",
    ),
    ("an unknown group", {"model_optimizations": "optimizations:\n  a: {upstream: nowhere}\n"}, "nowhere"),
]


@pytest.mark.parametrize("name, files, pattern", BAD, ids=[row[0] for row in BAD])
def test_a_bad_configuration_exits_1_and_names_file_line_and_key(
    tmp_path, name: str, files: dict, pattern: str
) -> None:
    write(tmp_path, **files)
    for more in (["-t"], []):
        done = run("-c", str(tmp_path), *UPSTREAM, "--listen", str(free_port()), "--api", "off", *more)
        assert done.returncode == 1, done
        assert re.search(pattern, done.stderr + done.stdout), done.stderr
        assert str(tmp_path) in done.stderr + done.stdout or "yaml" in done.stderr + done.stdout


def test_the_same_key_in_two_files_names_both_lines(tmp_path) -> None:
    write(
        tmp_path,
        model_optimizations="optimizations:\n  m: {cache_ttl: 3}\n",
        caching_optimizations="caching:\n\n  m: {cache_ttl: 3}\n",
    )
    done = run("-c", str(tmp_path), "-t", *UPSTREAM)
    assert done.returncode == 1
    assert (
        "model-optimizations.yaml:2" in done.stderr + done.stdout
        and "caching-optimizations.yaml:3" in done.stderr + done.stdout
    )


def test_a_file_over_a_megabyte_is_refused(tmp_path) -> None:
    write(tmp_path, quiver="# " + "x" * 1_100_000 + "\n")
    done = run("-c", str(tmp_path), "-t", *UPSTREAM)
    assert done.returncode == 1 and "quiver.yaml" in done.stderr + done.stdout


def test_no_upstream_shows_the_line_to_add(tmp_path) -> None:
    write(tmp_path, quiver="workers: 1\n")
    done = run("-c", str(tmp_path), "--listen", str(free_port()), "--api", "off")
    assert done.returncode == 1 and "upstream" in done.stderr and "http://" in done.stderr


def test_a_missing_path_exits_1() -> None:
    done = run("-c", "/no/such/place", "-t", *UPSTREAM)
    assert done.returncode == 1 and "/no/such/place" in done.stderr


def test_dump_can_be_read_again_and_is_the_same(tmp_path) -> None:
    first = run(
        "-c",
        str(ROOT / "conf"),
        "-T",
        "--upstream",
        "http://127.0.0.1:6999",
        "--workers",
        "3",
        "--listen",
        "127.0.0.1:7001",
    )
    assert first.returncode == 0, first.stderr
    (tmp_path / "all.yaml").write_text(first.stdout)
    second = run("-c", str(tmp_path / "all.yaml"), "-T")
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert "workers: 3" in first.stdout and "7001" in first.stdout


def test_dump_shows_no_secret(tmp_path) -> None:
    write(
        tmp_path, quiver='upstream: {api_key: hush-hush}\nredis: {url: "redis://u:whisper@127.0.0.1:7777"}\n'
    )
    done = run("-c", str(tmp_path), "-T", *UPSTREAM, env={"QUIVER_UPSTREAM_API_KEY": "from-environment"})
    assert done.returncode == 0, done.stderr
    for secret in ("hush-hush", "from-environment"):
        assert secret not in done.stdout + done.stderr


def test_flags_win_over_environment_over_files(tmp_path) -> None:
    write(tmp_path, quiver="workers: 2\nlog: {level: debug}\n")
    env = {"QUIVER_WORKERS": "4", "QUIVER_LOG_LEVEL": "warn"}
    assert "workers: 2" in run("-c", str(tmp_path), "-T", *UPSTREAM).stdout
    with_env = run("-c", str(tmp_path), "-T", *UPSTREAM, env=env)
    assert "workers: 4" in with_env.stdout and "warn" in with_env.stdout, with_env
    assert "workers: 5" in run("-c", str(tmp_path), "-T", *UPSTREAM, "--workers", "5", env=env).stdout


@pytest.mark.parametrize(
    "name, key, want",
    [
        ("MODEL_BATCH_SIZE_MIXTRAL", "batch_size", "51"),
        ("MODEL_CACHE_TTL_HERMES", "cache_ttl", "7s"),
        ("MODEL_INDEX_THRESHOLD_YI34B", "indexing_threshold", "12345"),
    ],
)
def test_model_variables_are_taken(name: str, key: str, want: str) -> None:
    done = run("-c", str(ROOT / "conf"), "-T", *UPSTREAM, env={name: want.rstrip("s")})
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{key}: {want}\b", done.stdout)


def test_a_model_variable_with_a_bad_value_is_an_error() -> None:
    done = run("-c", str(ROOT / "conf"), "-t", *UPSTREAM, env={"MODEL_BATCH_SIZE_MIXTRAL": "lots"})
    assert done.returncode == 1 and "MODEL_BATCH_SIZE_MIXTRAL" in done.stderr + done.stdout


@pytest.mark.parametrize("where", ["{port}", "127.0.0.1:{port}", "0.0.0.0:{port}", "localhost"])
def test_an_upstream_that_is_quiver_itself_is_refused(where: str) -> None:
    port = free_port()
    host = "localhost" if where == "localhost" else "127.0.0.1"
    listen = str(port) if where == "localhost" else where.format(port=port)
    done = run("--listen", listen, "--api", "off", "--upstream", f"http://{host}:{port}", "-t")
    assert done.returncode == 1 and str(port) in done.stderr + done.stdout


def test_a_second_quiver_on_a_port_exits_3(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    done = run("-c", str(q.folder), "--listen", f"127.0.0.1:{q.port}", "--api", "off", timeout=20)
    assert done.returncode == 3 and str(q.port) in done.stderr, done
    done = run(
        "-c", str(q.folder), "--listen", f"127.0.0.1:{free_port()}", "--api", f"127.0.0.1:{q.api}", timeout=20
    )
    assert done.returncode == 3 and str(q.api) in done.stderr, done
    assert q.ask("GET", "/collections/x").status == 200


def test_a_second_quiver_on_a_socket_path_exits_3(fake: FakeQdrant, start, tmp_path) -> None:
    q = start(fake.url, flags=["--listen", f"unix:{tmp_path}/q.sock"])
    done = run("-c", str(q.folder), "--listen", f"unix:{tmp_path}/q.sock", "--api", "off")
    assert done.returncode == 3
    assert (tmp_path / "q.sock").exists()


def test_a_left_over_socket_path_is_taken_over(fake: FakeQdrant, start, tmp_path) -> None:
    q = start(fake.url, flags=["--listen", f"unix:{tmp_path}/q.sock"])
    q.kill()
    again = start(fake.url, flags=["--listen", f"unix:{tmp_path}/q.sock"])
    assert again.alive()


def test_an_address_of_another_host_exits_3(tmp_path) -> None:
    write(tmp_path, quiver="workers: 1\n")
    done = run("-c", str(tmp_path), *UPSTREAM, "--listen", "192.0.2.1:9999", "--api", "off")
    assert done.returncode == 3 and "192.0.2.1:9999" in done.stderr


def test_a_bare_port_listens_on_both_loopbacks(fake: FakeQdrant) -> None:
    q = Quiver(fake.url, start=False)
    q.listen_flag = False
    q.flags = ["--listen", str(q.port), "--api", str(q.api)]
    try:
        q.start()
        assert q.ask("GET", "/collections/x").status == 200
        if Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text():
            with q.conn(host="::1") as c:
                assert c.ask("GET", "/collections/x").status == 200
    finally:
        q.stop()


def test_a_name_that_does_not_resolve_is_no_reason_not_to_start(start) -> None:
    q = start("http://no-such-host.invalid:6333", ready=False)
    assert q.control("GET", "/healthz").status == 200


def test_sighup_before_anything_else_is_survived(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    q.signal(signal.SIGHUP)
    wait_until(lambda: q.metric("quiver_reloads_total", result="ok") == 1, 5, "the reload")


def test_closed_standard_descriptors_are_nobodys_sockets(fake: FakeQdrant) -> None:
    q = Quiver(fake.url, start=False)
    with subprocess.Popen(["sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', *q.command()], env=clean_environment()) as p:
        try:
            wait_until(lambda: q._answers("/healthz"), 20, "quiver answers")
            assert {os.readlink(f"/proc/{p.pid}/fd/{n}") for n in range(3)} == {"/dev/null"}
        finally:
            p.terminate()
    assert p.returncode == 0
    shutil.rmtree(q.folder)


def test_health_and_ready_ask_the_one_that_runs(fake: FakeQdrant, start) -> None:
    q = start(fake.url)
    where = ["--api", f"127.0.0.1:{q.api}"]
    lives, ready = run("health", *where), run("ready", *where)
    assert (lives.returncode, lives.stdout) == (0, "ok\n") and (ready.returncode, ready.stdout) == (0, "ready\n")
    broken = write(Path(q.folder), quiver="limits: {connections: none}\n")
    assert run("health", "-c", str(broken), *where).returncode == 0  # the process is asked, not its files
    assert run("health", "some-model", *where).returncode == 2
    q.term()
    q.wait()
    gone = run("health", *where)
    assert gone.returncode == 3 and "no quiver answers" in gone.stderr


def test_a_command_shows_the_token_for_reading_where_there_is_no_other(fake: FakeQdrant, start) -> None:
    q = start(fake.url, quiver={"api": {"token": "for-all", "read_token": "for-reading"}})
    where = ("--api", f"127.0.0.1:{q.api}")
    assert run("plan", *where, env={"QUIVER_API_READ_TOKEN": "for-reading"}).returncode == 0
    assert run("plan", *where).returncode != 0, "without one"
    changes = run("rollback", *where, env={"QUIVER_API_READ_TOKEN": "for-reading"})
    assert changes.returncode != 0 and "token" in changes.stderr, changes


def test_ready_says_why_not(start) -> None:
    q = start("http://name.invalid:6333", ready=False)
    answer = run("ready", "--api", f"127.0.0.1:{q.api}")
    assert answer.returncode == 1 and not answer.stdout and len(answer.stderr.strip()) > 10, answer
    assert run("health", "--api", f"127.0.0.1:{q.api}").returncode == 0
