"""Signals to stop that come at a bad moment: twice, early, or while their handler may not wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from mailqueue.local.embedded import is_running
from tests.support import wait_until


def printed_by(program: str, *arguments: str) -> str:
    """What a program prints that ends by itself, and with status 0."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_one_may_come_at_any_moment_of_the_wait_for_it():
    """An Event's wait holds a lock, for which the handler would wait for ever."""
    printed = printed_by("""
import signal, sys
from mailqueue.local.stop import until_stopped
with until_stopped() as stop:
    sys.setprofile(lambda *_: signal.raise_signal(signal.SIGTERM))  # at each call
    waited = stop.wait(0.01)
    sys.setprofile(None)
    print(waited, stop.wait(0))
""")
    assert printed == "True True\n"


def test_one_that_interrupts_nobody_ends_the_wait():
    """As one that comes just before the wait begins, or that the system gives another thread."""
    printed = printed_by("""
import os, signal, threading
from pathlib import Path
from mailqueue.local.stop import until_stopped

def hear():
    # The third field is the state; S is asleep.
    while Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

with until_stopped() as stop:
    threading.Thread(target=hear).start()
    print(stop.wait(5))
""")
    assert printed == "True\n"


def test_one_that_is_ignored_stays_so():
    """As SIGHUP under nohup."""
    printed = printed_by("""
import signal
from mailqueue.local.stop import until_stopped
signal.signal(signal.SIGHUP, signal.SIG_IGN)
with until_stopped() as stop:
    signal.raise_signal(signal.SIGHUP)
    print(stop.wait(0))
    signal.raise_signal(signal.SIGTERM)
    print(stop.wait(0))
""")
    assert printed == "False\nTrue\n"


def test_a_worker_may_hear_the_second_while_it_handles_the_first():
    """Celery tells mailqueue of it within its handler, under a lock."""
    printed = printed_by("""
import signal
import mailqueue.worker.signals
from celery import signals
import mailqueue.tasks
from mailqueue.worker.flag import stopping
shutting_down = signals.worker_shutting_down
signal.signal(signal.SIGTERM, lambda *_: shutting_down.send(sender="worker"))
with shutting_down.lock:  # as in the first one's handler
    signal.raise_signal(signal.SIGTERM)
print(stopping.is_set())
""")
    assert printed == "True\n"


def test_a_handler_may_stop_an_inbox_at_any_moment_of_serve_forever(tmp_path):
    """Its own thread is the one that waits."""
    printed = printed_by(
        """
import signal, sys
from pathlib import Path
from mailqueue.local.inbox import Inbox

def at_call(number):
    def look(*_):
        nonlocal number
        number -= 1
        if not number:
            signal.raise_signal(signal.SIGTERM)
    return look

for number in range(1, 21):
    inbox = Inbox(Path(sys.argv[1]))
    inbox.start()
    signal.signal(signal.SIGTERM, lambda *_: inbox.stop())
    signal.signal(signal.SIGALRM, lambda *_: inbox.stop())  # where there are fewer calls
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    sys.setprofile(at_call(number))
    inbox.serve_forever()
    sys.setprofile(None)
    signal.setitimer(signal.ITIMER_REAL, 0)
print("all ended")
""",
        str(tmp_path),
    )
    assert printed == "all ended\n"


def started(home: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mailqueue", *arguments],
        env={**os.environ, "MAILQUEUE_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_those_after_the_first_change_nothing(tmp_path):
    """However many there are until it has ended."""
    with started(tmp_path / "home", "inbox", "--port", "0") as inbox:
        assert "inbox at" in inbox.stdout.readline()
        while inbox.poll() is None:
            inbox.send_signal(signal.SIGTERM)
            os.sched_yield()
        assert (inbox.returncode, inbox.stdout.read()) == (0, "")


def test_one_while_a_worker_starts_leaves_no_server_behind(tmp_path):
    """`mailqueue worker` with the embedded server, told to stop as soon as that is there."""
    home = tmp_path / "home"
    with started(home, "worker", "-c", "1") as worker:
        wait_until((home / "valkey.sock").exists, 20)
        worker.terminate()
        output, _ = worker.communicate()
        assert worker.returncode == 0, output
    assert not is_running(home)
