"""The first ``send()`` of a process leaves the process as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, STRICT

SNAPSHOT = """
import gc, locale, logging, os, signal, socket, sys, threading, warnings

def snapshot():
    celery = sys.modules.get("celery._state")
    root = logging.getLogger()
    umask = os.umask(0)
    os.umask(umask)
    return {
        "sys.path": [*sys.path],
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "umask": umask,
        "signal handlers": {n: repr(signal.getsignal(n)) for n in signal.valid_signals()},
        "hooks": [sys.excepthook, sys.unraisablehook, sys.displayhook, sys.breakpointhook],
        "hook of threads": threading.excepthook,
        "filters of warnings": [*warnings.filters],
        "showing of warnings": warnings.showwarning,
        "root logger": [root.level, [*root.handlers], root.disabled, root.manager.disable],
        "class of loggers": logging.getLoggerClass(),
        "levels of logging": logging.getLevelNamesMapping(),
        "standard streams": [sys.stdin, sys.stdout, sys.stderr],
        "default time-out": socket.getdefaulttimeout(),
        "recursion limit": sys.getrecursionlimit(),
        "garbage collector": [gc.isenabled(), gc.get_threshold(), [*gc.callbacks]],
        "locale": locale.setlocale(locale.LC_ALL),
        "threads": threading.enumerate(),
        "tracing": [sys.gettrace(), sys.getprofile()],
        "Celery's default app": celery and celery.default_app,
        "Celery's current app": celery and celery._tls.current_app,
    }
"""
# The imports of the program have been made: they are not the first message's doing.
PLAIN = """
import mailqueue, mailqueue.backends.smtp
mailqueue.configure(EMAIL_BACKEND="mailqueue.backends.queue.EmailBackend")
send_mail = mailqueue.send_mail
"""
DJANGO = """
import django
django.setup()
from django.core.mail import send_mail
"""
COMPARE = """
before = snapshot()
assert send_mail("Hello", "", "ann@example.com", ["bob@example.com"]) == 1
after = snapshot()
print(*(name for name in before if before[name] != after[name]), sep="\\n")
"""
SETTINGS = """
EMAIL_BACKEND = "mailqueue.backends.queue.EmailBackend"
SECRET_KEY = "of a test"
USE_TZ = True
"""


@pytest.mark.parametrize("program", [PLAIN, DJANGO], ids=["plain", "django"])
def test_the_first_send_leaves_the_process_as_it_was(
    program: str, redis_url: str, tmp_path: Path
) -> None:
    """Import path, signals, logging, Celery's default app and the like are the program's own."""
    (tmp_path / "first_settings.py").write_text(SETTINGS)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)]),
        "MAILQUEUE_BROKER_URL": redis_url,
    }
    if program is DJANGO:
        environment["DJANGO_SETTINGS_MODULE"] = "first_settings"
    done = subprocess.run(
        [sys.executable, *STRICT, "-c", SNAPSHOT + program + COMPARE],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split("\n") == ["", ""]
