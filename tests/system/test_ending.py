"""A program's first `send()` while its interpreter is ending."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mailqueue.monitor import report
from mailqueue.state import State
from tests.support import ROOT

BEGIN = """
import asyncio, atexit, threading, time, weakref
import mailqueue

mailqueue.configure(EMAIL_BACKEND="mailqueue.backends.queue.EmailBackend")

def send():
    mailqueue.send_mail("Hello", "A letter", "from@example.com", ["to@example.com"])

async def asend():
    await mailqueue.asend(mailqueue.EmailMessage("Hello", "A letter", None, ["to@example.com"]))

def send_late():
    threading.main_thread().join()
    send()
"""
ENDS = {
    "at exit": "atexit.register(send)",
    "at exit, by asend": "atexit.register(lambda: asyncio.run(asend()))",
    "asend of a thread that outlives the main one": """
def send_late():
    threading.main_thread().join()
    asyncio.run(asend())

threading.Thread(target=send_late).start()
""",
    "before threads are joined": "threading._register_atexit(send)",
    "a thread that outlives the main one": "threading.Thread(target=send_late).start()",
    "a daemon": """
done = threading.Event()
threading.Thread(target=lambda: [send_late(), done.set()], daemon=True).start()
atexit.register(done.wait, 60)
""",
    "a pool of threads": """
from concurrent.futures import ThreadPoolExecutor

ending = threading.Event()
ThreadPoolExecutor(1).submit(lambda: [ending.wait(60), send()])
threading._register_atexit(ending.set)
""",
    "a finalizer": """
class Thing:
    pass

thing = Thing()
weakref.finalize(thing, send)
""",
    "a __del__": """
class Thing:
    def __del__(self):
        send()

things = [Thing()]
atexit.register(things.clear)
""",
    "where concurrent.futures is there": "import concurrent.futures.thread\natexit.register(send)",
}


def check(ends: dict[str, str], tmp_path: Path) -> None:
    """Run the programs: journal and broker take their messages, and nothing is said of trouble."""
    running = {}
    for name, text in ends.items():
        program = tmp_path / f"{len(running)}.py"
        program.write_text(BEGIN + text)
        running[name] = subprocess.Popen(
            [sys.executable, str(program)],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT), "MAILQUEUE_BATCH_SIZE": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
    said = {name: process.communicate()[1] for name, process in running.items()}
    assert said == dict.fromkeys(ends, "")
    assert len(list(report.records(report.Filter(state=State.QUEUED)))) == len(ends)


def test_the_first_message_at_exit(producer, tmp_path) -> None:
    """It is sent: what libraries register at their import has nothing left to do."""
    check({name: ENDS[name] for name in ("at exit", "at exit, by asend")}, tmp_path)


@pytest.mark.long
def test_the_first_message_at_any_end(producer, tmp_path) -> None:
    """It is sent from each place where Python still runs a program's code at its end."""
    check(ENDS, tmp_path)
