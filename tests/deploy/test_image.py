"""docker/Dockerfile: read by BuildKit's parser and by hadolint; what it installs is what the program needs."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import dockerfile
import pytest
from lib import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"


@pytest.fixture(scope="module")
def stages() -> dict[str, list[dockerfile.Command]]:
    """The instructions after each FROM, by the stage's name; the last is `final`."""
    out: dict[str, list[dockerfile.Command]] = {}
    for c in dockerfile.parse_file(str(DOCKERFILE)):
        if c.cmd.upper() == "FROM":
            assert c.value[0] == "debian:12-slim", c.original
            out[c.value[2] if len(c.value) == 3 else "final"] = instructions = []
        else:
            instructions.append(c)
    return out


def all_of(stage: list[dockerfile.Command], cmd: str) -> list[dockerfile.Command]:
    return [c for c in stage if c.cmd.upper() == cmd]


def text_of(stage: list[dockerfile.Command], cmd: str) -> str:
    return "\n".join(" ".join(c.value) for c in all_of(stage, cmd))


def installed(stage: list[dockerfile.Command]) -> set[str]:
    run = re.search(r"apt-get install([^&]*)&&", text_of(stage, "RUN"))
    assert run, "no apt-get install"
    return {word for word in run[1].split() if not word.startswith("-") and word != "\\"}


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout + done.stderr


def test_there_are_two_stages_and_the_second_takes_the_program_only(stages) -> None:
    assert list(stages) == ["build", "final"]
    assert "docker/packages.sh build" in text_of(stages["build"], "RUN")
    assert "cmake --preset release" in text_of(stages["build"], "RUN")
    assert [c.value for c in all_of(stages["final"], "COPY") if c.flags] == [("/out/quiver", "/usr/local/bin/")]


def test_the_packages_are_those_that_the_program_is_linked_to(stages, binary: str) -> None:
    """The base image has libc; what libraries need themselves comes along by their dependencies."""
    dynamic = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
    needed = {n for n in needed if not re.match(r"lib(asan|ubsan|tsan)\.", n)}
    presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
    release = next(p for p in presets if p["name"] == "release")
    if release["cacheVariables"]["QUIVER_JEMALLOC"] == "ON":
        needed.add("libjemalloc.so.2")
    multiarch = subprocess.check_output(["gcc", "-print-multiarch"], text=True).strip()
    packages = set()
    for name in needed:
        owner = subprocess.check_output(["dpkg", "-S", f"*/lib/{multiarch}/{name}"], text=True)
        packages.add(owner.split(":")[0])
    assert installed(stages["final"]) == packages - {"libc6"}


def test_whoever_runs_it_owns_where_it_writes_and_nothing_else(stages) -> None:
    final = stages["final"]
    user = text_of(final, "USER")
    assert re.fullmatch(r"(\d+):\1", user) and int(user.split(":")[0]) >= 10000
    run = text_of(final, "RUN")
    number = user.split(":")[0]
    assert f"groupadd --gid {number} quiver" in run and f"useradd --uid {number} --gid {number} " in run
    made = re.search(r"install -d -o quiver -g quiver -m 0750 (.*)", run)
    assert made and made[1].split() == ["/var/lib/quiver", "/var/log/quiver", "/var/log/citadel"]
    after_user = final[[c.cmd.upper() for c in final].index("USER") :]
    assert not all_of(after_user, "RUN") and not all_of(after_user, "COPY")


def test_it_listens_where_it_says_and_stops_as_quiver_stops(stages, binary: str) -> None:
    final = stages["final"]
    words = all_of(final, "ENV")[0].value
    variables = dict(zip(words[::2], words[1::2], strict=True))
    ports = {variables["QUIVER_LISTEN"].split(":")[1], variables["QUIVER_API"].split(":")[1]}
    assert set(all_of(final, "EXPOSE")[0].value) == ports
    assert text_of(final, "STOPSIGNAL") == "SIGTERM" and all_of(final, "ENTRYPOINT")[0].value == ("quiver",)
    shown = subprocess.run([binary, "-T", "--upstream", "http://127.0.0.1:9"], env=variables, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    for value in variables.values():
        assert value in shown.stdout


def test_only_what_is_copied_goes_to_the_builder(stages) -> None:
    lines = [l for l in (ROOT / ".dockerignore").read_text().splitlines() if l and not l.startswith("#")]
    assert lines[0] == "*" and all(l.startswith("!") for l in lines[1:])
    sent = [l[1:] for l in lines[1:]]
    for path in sent:
        assert list(ROOT.glob(path)), f"{path} is not there"
    copied = [p for s in stages.values() for c in all_of(s, "COPY") if not c.flags for p in c.value[:-1]]
    for path in copied:
        assert any(fnmatch(path, p) or p.startswith(f"{path}/") for p in sent), f"{path} is not sent to the builder"
    for path in sent:
        assert any(fnmatch(path, c) or path.startswith(f"{c}/") for c in copied), f"{path} is sent for nothing"
