"""A main thread that waits for one answer for too long is noticed, and freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from mailqueue.worker.stall import Stall, Wait

# A main thread that reads in vain from a socket that nobody closes, and what frees it.
WAITS = """
import socket, threading, time
from mailqueue.worker.stall import Stall, end_connection, wait_of_main_thread
ours, theirs = socket.socketpair()
def free():
    stall = Stall(wait_of_main_thread)
    while (wait := stall.found(0.2)) is None:
        time.sleep(0.02)
    print(wait.socket == ours.fileno())
    end_connection(wait.socket)
threading.Thread(target=free).start()
print(ours.recv(1))
"""

# One that gets an answer every tenth of a second.
READS = """
import socket, threading, time
from mailqueue.worker.stall import Stall, wait_of_main_thread
ours, theirs = socket.socketpair()
seen = set()
def answer():
    for _ in range(10):
        time.sleep(0.1)
        seen.add(wait_of_main_thread())
        theirs.send(b"x")
threading.Thread(target=answer).start()
for _ in range(10):
    ours.recv(1)
print(len(seen) > 2)
"""


class Looks:
    """What is seen, one look after the other, and when."""

    def __init__(self, *seen: Wait | None) -> None:
        self.seen = [*seen]
        self.now = 0.0

    def __call__(self) -> Wait | None:
        self.now += 1.0
        return self.seen.pop(0)


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        ([Wait(7, 1)] * 4, [None, None, None, Wait(7, 1)]),
        ([Wait(7, 1), Wait(7, 2), Wait(7, 3), Wait(7, 4)], [None] * 4),
        ([Wait(7, 1), Wait(8, 1), Wait(8, 1), Wait(8, 1)], [None] * 4),
        ([None] * 5, [None] * 5),
    ],
    ids=["the same all the time", "another call each time", "another socket", "nothing"],
)
def test_only_one_call_that_lasts_is_a_stall(seen, found):
    """Whoever reads again and again gets answers."""
    looks = Looks(*seen)
    stall = Stall(looks, clock=lambda: looks.now)
    assert [stall.found(3.0) for _ in seen] == found


@pytest.mark.needs("Linux", missing="" if sys.platform == "linux" else "nothing tells of threads")
def test_a_thread_that_waits_in_vain_is_freed():
    """It reads the end of the connection, as if its peer had closed it."""
    done = subprocess.run([sys.executable, "-c", WAITS], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["True", "b''"], "")


@pytest.mark.needs("Linux", missing="" if sys.platform == "linux" else "nothing tells of threads")
def test_a_thread_that_gets_answers_waits_anew_each_time():
    """Each of its waits is another one, though it is for the same socket."""
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, timeout=60)
    assert (done.stdout.split(), done.stderr) == (["True"], "")
