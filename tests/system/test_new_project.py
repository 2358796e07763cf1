"""The README's first lines in a project as Django's ``startproject`` makes it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import django

from mailqueue.conf import settings
from mailqueue.monitor import report
from tests.support import ROOT, STRICT

HAS_MAILERS = django.VERSION >= (6, 1)


def lines_of_readme() -> str:
    """What the README tells users of this Django to write."""
    text = (ROOT / "README.md").read_text("utf-8")
    blocks = re.findall(r"```py\n(.*?)```", text, re.S)
    (found,) = (block for block in blocks if block.startswith("MAILERS") == HAS_MAILERS)
    return str(found)


def run(*command: str, project: Path) -> str:
    """What Django's command prints; a warning or an error fails."""
    done = subprocess.run(
        [sys.executable, *STRICT, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=project,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_project_queues_its_mail_by_the_lines_of_the_readme(redis_url, tmp_path) -> None:
    """They stop no command of a new project of this Django, and its mail is in the journal."""
    run("-m", "django", "startproject", "site_of_a_test", ".", project=tmp_path)
    with (tmp_path / "site_of_a_test" / "settings.py").open("a") as file:
        file.write(lines_of_readme().replace("redis://localhost:6379/0", redis_url))
        file.write('INSTALLED_APPS += ["mailqueue.contrib.django"]\n')
    assert "no issues" in run("manage.py", "check", project=tmp_path)
    run("manage.py", "sendtestemail", "bob@example.com", project=tmp_path)
    settings.configure(MAILQUEUE={"BROKER_URL": redis_url})
    (message,) = report.find(report.Filter())
    assert message["state"] == "queued"
    assert "Test email" in message["subject"]
