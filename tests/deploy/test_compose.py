"""docker/compose.yaml: right by the Compose specification's schema, and as closed as it says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lib import ROOT
from lib.quiver import clean_environment

FILE = ROOT / "docker" / "compose.yaml"
NO_WAY_IN = {"qdrant", "redis", "prometheus"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def seconds(text: str) -> int:
    return int(re.fullmatch(r"(\d+)s", text)[1])


def test_it_is_right_by_the_specification() -> None:
    tool = Path(sys.executable).with_name("check-jsonschema")
    command = [tool, "--builtin-schema", "vendor.compose-spec", FILE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_is_pinned_and_qdrant_is_the_version_that_was_measured(compose) -> None:
    for name, service in compose["services"].items():
        if "build" not in service:
            assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)?$", service["image"]), f"{name}: {service['image']}"
    assert compose["services"]["qdrant"]["image"].startswith("qdrant/qdrant:v1.18.3")
    build = compose["services"]["quiver"]["build"]
    context = (FILE.parent / build["context"]).resolve()
    assert context == ROOT and (context / build["dockerfile"]).is_file()


def test_what_is_published_is_published_to_this_host(compose) -> None:
    published = {n: s["ports"] for n, s in compose["services"].items() if "ports" in s}
    assert set(published) == set(compose["services"]) - NO_WAY_IN
    for ports in published.values():
        assert all(re.match(r"(\$\{QUIVER_PUBLISH:-127\.0\.0\.1\}|127\.0\.0\.1):", p) for p in ports), ports


def test_qdrant_and_redis_are_reached_through_quiver_only(compose) -> None:
    networks = {name: set(s["networks"]) for name, s in compose["services"].items()}
    assert networks["qdrant"] == networks["redis"] == {"data"} and compose["networks"]["data"]["internal"]
    assert {n for n, of in networks.items() if "data" in of} == {"qdrant", "redis", "quiver"}
    for name, service in compose["services"].items():
        assert ("front" in networks[name]) == ("ports" in service), name


def test_all_that_is_named_is_declared_and_all_that_is_declared_is_used(compose) -> None:
    services = compose["services"].values()
    assert {n for s in services for n in s["networks"]} == set(compose["networks"])
    assert {n for s in services for n in s.get("secrets", [])} == set(compose["secrets"])
    sources = [v.split(":")[0] for s in services for v in s.get("volumes", [])]
    assert {v for v in sources if not v.startswith(".")} == set(compose["volumes"])
    for path in (v for v in sources if v.startswith(".")):
        assert (FILE.parent / path).is_dir(), path
    for s in services:
        assert set(s.get("depends_on", {})) <= set(compose["services"])


def test_every_service_comes_back_is_watched_and_may_do_little(compose) -> None:
    for name, s in compose["services"].items():
        assert s["restart"] == "unless-stopped" and s["cap_drop"] == ["ALL"], name
        assert s["security_opt"] == ["no-new-privileges:true"], name
        assert s["logging"]["options"] == {"max-size": "10m", "max-file": "3"}, name
        check = s["healthcheck"]
        assert check["test"][0] == "CMD" and seconds(check["timeout"]) <= seconds(check["interval"]), name
    for s in compose["services"].values():
        assert all(c == {"condition": "service_healthy"} for c in s.get("depends_on", {}).values())


def test_no_secret_is_written_down(compose) -> None:
    for name, secret in compose["secrets"].items():
        assert secret == {"file": f"./secrets/{name}"}
    assert "/docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    for name, s in compose["services"].items():
        used = set(re.findall(r"/run/secrets/(\w+)", yaml.safe_dump(s)))
        given = set(s.get("secrets", []))
        in_files = {"quiver_read_token"} if name == "prometheus" else set()
        assert used | in_files == given, name


def test_quiver_takes_its_environment(compose, binary: str, tmp_path: Path) -> None:
    """Every variable is one of quiver's, with the secrets as files elsewhere: an unknown or a bad one is refused."""
    variables = dict(compose["services"]["quiver"]["environment"])
    for secret in compose["services"]["quiver"]["secrets"]:
        (tmp_path / secret).write_text(f"{secret}-0123456789\n")
    env = {k: v.replace("/run/secrets", str(tmp_path)) for k, v in variables.items()}
    command = [binary, "-T", "-c", str(ROOT / "conf")]
    done = subprocess.run(command, env=clean_environment(env), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert variables["QUIVER_UPSTREAM"] in done.stdout and "redis://redis:6379" in done.stdout
    reference = (ROOT / "conf" / "README.md").read_text()
    assert all(name in reference for name in variables)


def test_it_has_time_to_drain(compose, binary: str) -> None:
    shown = subprocess.run(
        [binary, "-T", "-c", str(ROOT / "conf"), "--upstream", "http://127.0.0.1:9"], capture_output=True, text=True
    ).stdout
    drain = re.search(r"drain_timeout: (\d+)s", shown)
    assert drain and seconds(compose["services"]["quiver"]["stop_grace_period"]) > int(drain[1])


def test_descriptors_suffice_for_the_connections_that_quiver_takes(compose, binary: str) -> None:
    shown = subprocess.run(
        [binary, "-T", "-c", str(ROOT / "conf"), "--upstream", "http://127.0.0.1:9"], capture_output=True, text=True
    ).stdout
    clients = int(re.search(r"connections: (\d+)", shown.split("limits:")[1])[1])
    for name in ("quiver", "redis", "qdrant"):
        assert compose["services"][name]["ulimits"]["nofile"]["soft"] > 2 * clients


def test_commands_in_it_are_shell_that_parses(compose) -> None:
    for s in compose["services"].values():
        for words in (s.get("entrypoint"), s["healthcheck"]["test"][1:]):
            if words and words[:2] == ["bash", "-c"]:
                script = words[2].replace("$$", "$")
                assert "$" not in words[2].replace("$$", ""), "Compose would fill it in"
                subprocess.run(["bash", "-n", "-c", script], check=True)
                assert shlex.split(script)
