"""What tests leave behind, and what becomes of it: seen from outside, over a pytest of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, wait_until

IS_LINUX = Path("/proc/self/fd").is_dir()
pytestmark = pytest.mark.needs("Linux", missing="" if IS_LINUX else "no /proc/self/fd")
HEAD = """
import socket, subprocess, sys, time
from pathlib import Path

def start():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path("pids").write_text(f"{process.pid}")
    return process

def test_before():
    pass
"""


def started(directory: Path, tests: str) -> subprocess.Popen[str]:
    """Run these tests as those of this repository are run."""
    (directory / "test_it.py").write_text(HEAD + tests)
    options = ["-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", directory]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, "-c", ROOT / "pyproject.toml", "test_it.py"],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def output(directory: Path, tests: str) -> str:
    return started(directory, tests).communicate()[0]


def is_alive(directory: Path) -> bool:
    status = Path("/proc", (directory / "pids").read_text(), "status")
    return status.exists() and "State:\tZ" not in status.read_text()


LEAVING = """
kept = []

def test_process():
    kept.append(start())

def test_between():
    pass

def test_socket():
    kept.append(socket.create_server(("127.0.0.1", 0)))

def test_file():
    kept.append(open("pids", "w"))

def test_cycle():
    found = [socket.socket()]
    found.append(found)

def test_after():
    pass
"""


def test_what_a_test_leaves_open_fails_that_test(tmp_path):
    """Those before it and after it pass."""
    printed = output(tmp_path, LEAVING)
    for name, error in {
        "process": r"the test left processes running: \d+ \(.*time.sleep\(600\)",
        "socket": r"the test left open: socket:",
        "file": r"the test left open: .*/pids",
        "cycle": r"the test left open: unclosed <socket.socket",
    }.items():
        (own,) = re.findall(rf"^_+ ERROR at teardown of test_{name} _+$(.*?)^(?:__|==)", printed,
                            re.MULTILINE | re.DOTALL)  # fmt: skip
        assert re.search(error, own), own
    assert "7 passed, 4 errors" in printed
    assert not is_alive(tmp_path)


def test_what_several_tests_share_may_stay(tmp_path):
    """A server of a module is no leak of the test that needed it first."""
    tests = """
import pytest

@pytest.fixture(scope="module")
def server():
    process = start()
    yield
    process.kill()
    process.wait()

def test_first(server):
    pass

def test_second(server):
    pass
"""
    assert "3 passed" in output(tmp_path, tests)


def test_nothing_outlives_a_pytest_that_is_killed(tmp_path):
    """As by a machine that is short of memory, or by an impatient developer."""
    with started(tmp_path, "def test_that_waits():\n    start().wait()\n") as run:
        wait_until((tmp_path / "pids").exists, 30)
        wait_until((tmp_path / "pids").read_text, 30)
        assert is_alive(tmp_path)
        run.kill()
        wait_until(lambda: not is_alive(tmp_path), 30)
