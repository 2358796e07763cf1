"""The oldest redis-py that may be installed, and the newest that there is, carry mail."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

from tests.support import ROOT

PROGRAM = """
import logging, sys
if sys.argv[2] == "without hiredis":
    sys.modules["hiredis"] = None  # as where it is not installed
import redis
from mailqueue.queue.journal import Entry, Journal, Result, Settlement
from mailqueue.state import State
from mailqueue.store.client import connect

logging.basicConfig(stream=sys.stdout, format="%(levelname)s %(message)s")
client = connect(sys.argv[1], 30.0)
journal = Journal(client, "q")
summary = {"subject": "Hello", "from": "a@x", "to": ["b@x"]}
journal.accept([Entry("one", "a payload", "its digest", summary)])
(claim,), _ = journal.claim([("one", "")])
assert journal.commit(claim)
results = {"b@x": Result(State.SENT, "250 ok")}
assert journal.settle(claim, Settlement(State.SENT, "250 ok", results))
assert journal.read(["one"])[0].state is State.SENT
print(redis.__file__)
print(redis.__version__, "direct" if client.connection_pool.direct.is_used else "by its own calls")
"""


def requirement(package: str, lines: list[str]) -> str:
    """What those requirements say of the versions of a package, without its extras."""
    (found,) = {m[1] for line in lines if (m := re.match(rf"{package}(?:\[\w+\])?([^;]*)", line))}
    return ",".join(sorted(part.strip() for part in found.split(",")))


def ours() -> list[str]:
    found: list[str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "dependencies"
    ]
    return found


def installed(version: str, directory: Path) -> Path:
    """Where that version of redis-py is installed, and nothing else; "" is the newest."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    done = subprocess.run(
        [*pip, "--target", directory, f"redis{version}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return directory


def run(redis_py: Path | None, url: str, how: str = "with all") -> list[str]:
    """What the program says that has a message accepted, claimed and settled with that redis-py."""
    paths = [str(path) for path in (redis_py, ROOT) if path]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, how],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_oldest(redis_url: str, tmp_path: Path) -> None:
    """Mail goes with the oldest redis-py that pyproject.toml allows, and directly."""
    oldest = re.search(r">=([\d.]+)", requirement("redis", ours()))[1]
    place, said = run(installed(f"~={oldest}.0", tmp_path / "redis"), redis_url)
    assert place.startswith(str(tmp_path))
    assert (said.startswith(f"{oldest}."), said.endswith(" direct")) == (True, True), said


def test_the_newest(redis_url: str, tmp_path: Path, record_property) -> None:
    """Mail goes with the newest redis-py, within the bounds of pyproject.toml or beyond them.

    Within them it goes directly; beyond them a warning says where it doesn't.
    """
    *warnings, place, said = run(installed("", tmp_path / "redis"), redis_url)
    assert place.startswith(str(tmp_path))
    record_property("redis-py", said)
    bound = int(re.search(r"<(\d+)", requirement("redis", ours()))[1])
    is_direct = said.endswith(" direct")
    assert is_direct or int(said.split(".")[0]) >= bound, said
    assert len(warnings) == (not is_direct)


def test_without_hiredis(redis_url: str) -> None:
    """Mail goes where hiredis is not installed; a warning says what that costs."""
    warning, _, said = run(None, redis_url, "without hiredis")
    assert said.endswith("by its own calls")
    assert "no hiredis" in warning


def test_the_bounds_are_those_of_kombu() -> None:
    """The versions of redis-py that may be installed are those that kombu allows."""
    assert requirement("redis", ours()) == "<9,>=6.4"
    theirs = requirement("redis", requires("kombu"))
    assert re.sub(r"(\.0)+(?=,|$)", "", theirs) == requirement("redis", ours())
