"""The checker is tested too: a quiver that breaks one rule is caught within a minute, one that is right is not.

QUIVER_BREAK builds a binary that leaves one part of coherence out; each is put under the load that this part is for.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checker import ROOT
from lib import quiver_binary
from schedules import SCHEDULES

pytestmark = pytest.mark.timeout(600)

# what is left out -> the schedule it shows under; "": the mixed load alone
BROKEN = {
    "no_open": "",  # a write is not announced before it goes upstream
    "no_close": "",  # a hold ends with the answer, whatever that proves
    "ignore_hold": "",  # what is held is served and stored
    "counter_tokens": "flushed_for_long",  # tokens that count come again when Redis forgets them
    "ignore_alive": "cut_off_for_long",  # an instance answers though another may have lost its way to Redis
    "alias_blind": "switched_for_long",  # a map of aliases is good for ever
}


def build(what: str) -> Path:
    """build/break-<what>; a build with that option."""
    folder = ROOT / "build" / f"break-{what}"
    configure = [
        "cmake",
        "-S",
        str(ROOT),
        "-B",
        str(folder),
        "-G",
        "Ninja",
        "-DCMAKE_BUILD_TYPE=Debug",
        f"-DQUIVER_BREAK={what}",
    ]
    done = subprocess.run(configure, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    if "QUIVER_BREAK" not in (ROOT / "CMakeLists.txt").read_text():
        pytest.fail("this tree has no QUIVER_BREAK: the broken build would be a right one")
    done = subprocess.run(["ninja", "-C", str(folder), "-j2", "quiver"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
    return folder / "quiver"


def stale_reads(binary: str | Path, schedule: str, seconds: int) -> tuple[int, str]:
    """What the command finds within that time, and what it said."""
    command = [sys.executable, str(Path(__file__).with_name("checker.py"))]
    command += ["--until-stale", "--seconds", str(seconds), "--seed", "3"]
    if schedule:
        assert schedule in SCHEDULES
        command += ["--schedule", schedule]
    env = {**os.environ, "QUIVER_BIN": str(binary)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=seconds + 90)
    print(done.stdout, done.stderr)
    found = re.search(r"stale reads: (\d+)", done.stdout)
    assert found, "the checker came to an end"
    return int(found[1]), done.stdout


@pytest.mark.long
@pytest.mark.parametrize("what", list(BROKEN))
def test_a_broken_quiver_is_caught_within_a_minute(what: str) -> None:
    n, said = stale_reads(build(what), BROKEN[what], 60)
    assert n > 0, f"{what} was not caught\n{said}"


@pytest.mark.usefixtures("binary")
@pytest.mark.parametrize("schedule", sorted({s for s in BROKEN.values() if s}))
def test_a_right_quiver_is_not(schedule: str, long: bool) -> None:
    """The same loads: what they catch is no fault of theirs. They wait for hits, round by round."""
    n, said = stale_reads(quiver_binary(), schedule, 60 if long else 20)
    hits = re.search(r"(\d+) hits", said)
    assert n == 0 and hits and int(hits[1]) > 500 and "errors: 0" in said, said
