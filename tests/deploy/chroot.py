"""Carries a Dockerfile out without Docker: each stage is a copy of a fresh Debian 12, its instructions run there by chroot.
Knows what docker/Dockerfile uses and refuses the rest. Layers and isolation are not imitated."""

import os
import shutil
import subprocess
from pathlib import Path

import dockerfile

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def fresh_debian(folder: Path) -> Path:
    """A minimal system, made once."""
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with (folder / "log").open("w") as log:
            command = ["debootstrap", "--variant=minbase", "bookworm", folder / "root"]
            subprocess.run(command, check=True, stdout=log, stderr=log)
        (folder / "made").touch()
    return folder / "root"


def sent_context(tree: Path, folder: Path) -> Path:
    """A copy of what .dockerignore lets through; here that file is one `*` and lines that begin with `!`."""
    for line in (tree / ".dockerignore").read_text().splitlines():
        for path in tree.glob(line[1:]) if line[:1] == "!" else []:
            to = folder / path.relative_to(tree)
            to.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, to)
    return folder


class Image:
    """A stage: a folder, and what its instructions said."""

    def __init__(self, root: Path, base: Path):
        self.root, self.workdir = root, "/"
        self.env = {"PATH": PATH, "HOME": "/root"}
        self.said: dict[str, tuple[str, ...]] = {}  # by instruction, the last one
        subprocess.run(["cp", "-a", base, root], check=True)
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")

    def inside(self, path: str) -> Path:
        return self.root / os.path.join(self.workdir, path).lstrip("/")

    def command(self, *words: str, user: str = "0:0") -> list[str]:
        return ["chroot", f"--userspec={user}", str(self.root), *words]

    def run(self, script: str) -> None:
        command = self.command("/bin/sh", "-c", f"cd {self.workdir} && {script}")
        done = subprocess.run(
            command, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}"

    def copy(self, sources: list[Path], to: str) -> None:
        into = self.inside(to)
        into.mkdir(parents=True, exist_ok=True)
        for source in sources:
            assert source.is_dir() or to.endswith("/"), f"{source.name}: copying to another name is not imitated"
            if source.is_dir():
                shutil.copytree(source, into, dirs_exist_ok=True)
            else:
                shutil.copy2(source, into)


def build(tree: Path, file: Path, base: Path, folder: Path) -> Image:
    """The last stage; stages and context lie in folder."""
    stages: dict[str, Image] = {}
    context = sent_context(tree, folder / "context")
    for c in dockerfile.parse_file(str(file)):
        kind = c.cmd.upper()
        if kind == "FROM":
            name = c.value[2] if len(c.value) == 3 else "final"
            image = stages[name] = Image(folder / name, base)
        elif kind == "RUN":
            image.run(c.value[0])
        elif kind == "WORKDIR":
            image.workdir = c.value[0]
            image.inside("").mkdir(parents=True, exist_ok=True)
        elif kind == "COPY":
            origin = stages[c.flags[0].removeprefix("--from=")].root if c.flags else context
            found = [path for source in c.value[:-1] for path in origin.glob(source.lstrip("/"))]
            assert len(found) >= len(c.value) - 1, f"{c.original}: not all of it is there"
            image.copy(found, c.value[-1])
        elif kind == "ENV":
            image.env.update(zip(c.value[::2], c.value[1::2], strict=True))
        else:
            assert kind in ("USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"), f"{kind} is not imitated"
            image.said[kind] = c.value
    return stages["final"]
