"""The image as far as it can be had without Docker: built in a fresh Debian 12, run there as its user. Needs root and minutes."""

import signal
import subprocess
from pathlib import Path
from typing import Iterator

import pytest
from chroot import Image, build, fresh_debian
from deploylib import DOCKER, compose
from lib import ROOT, FakeQdrant, Redis, free_port, wait_until
from lib import request as ask

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def image(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    if not request.config.getoption("--long", default=False):
        pytest.skip("only with --long")
    folder = tmp_path_factory.mktemp("image")
    yield build(ROOT, DOCKER / "Dockerfile", fresh_debian(ROOT / "build" / "debian"), folder)
    subprocess.run(["rm", "-rf", folder], check=True)  # much faster than shutil's


def test_it_serves_as_its_user_with_the_environment_of_the_compose_file(image: Image) -> None:
    data, api = free_port(), free_port()
    service = compose()["services"]["quiver"]
    (image.root / "run/secrets").mkdir(parents=True, exist_ok=True)
    for secret in service["secrets"]:
        (image.root / "run/secrets" / secret).write_text(f"the-{secret}\n")
    user = image.said["USER"][0]
    with FakeQdrant() as fake, Redis() as redis:
        env = {
            **image.env,
            **service["environment"],
            "QUIVER_LISTEN": f"127.0.0.1:{data}",
            "QUIVER_API": f"0.0.0.0:{api}",
            "QUIVER_UPSTREAM": fake.url,
            "QUIVER_REDIS": redis.url,
        }
        command = image.command(*image.said["ENTRYPOINT"], user=user)
        process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)

        def says_healthy() -> bool:
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            check = image.command(*image.said["HEALTHCHECK"][1:], user=user)
            return subprocess.run(check, env=env, capture_output=True).returncode == 0

        wait_until(says_healthy, 20, "HEALTHCHECK says yes")
        wait_until(lambda: ask(api, "GET", "/readyz").status == 200, 20, "ready")
        assert ask(data, "POST", "/collections/hermes/points/search", b'{"vector":[1],"limit":1}').status == 200
        read = {"Authorization": "Bearer the-quiver_read_token"}
        assert ask(api, "GET", "/metrics").status == 401
        assert ask(api, "GET", "/metrics", None, read).status == 200
        models = ask(api, "GET", "/api/v1/models", None, read).json()["models"]
        assert {"mixtral", "hermes", "general"} <= {m["model"] for m in models}
        assert Path(f"/proc/{process.pid}/status").read_text().split("Uid:\t")[1].startswith(user.split(":")[0])
        process.send_signal(getattr(signal, image.said["STOPSIGNAL"][0]))
        assert process.wait(40) == 0
        assert not [r for r in fake.own if r.get("api-key") != "the-qdrant_api_key"]


def test_the_folders_that_it_writes_to_are_its_own(image: Image) -> None:
    number, group = (int(n) for n in image.said["USER"][0].split(":"))
    for folder in ("var/lib/quiver", "var/log/quiver", "var/log/citadel"):
        at = (image.root / folder).stat()
        assert (at.st_uid, at.st_gid, at.st_mode & 0o777) == (number, group, 0o750), folder
    program = (image.root / "usr/local/bin/quiver").stat()
    assert program.st_uid == 0 and not program.st_mode & 0o022


def test_no_compiler_is_left_in_it(image: Image) -> None:
    for name in ("gcc", "cc", "cmake", "ninja", "redis-server", "python3"):
        assert not list(image.root.glob(f"usr/bin/{name}*")), name
    size = subprocess.check_output(["du", "-sm", image.root], text=True).split()[0]
    base = subprocess.check_output(["du", "-sm", ROOT / "build" / "debian" / "root"], text=True).split()[0]
    assert int(size) - int(base) < 60  # MB
