"""Mail tests that others wrote, run against mailqueue; their sources are fetched, never stored."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = [pytest.mark.long, pytest.mark.xdist_group("suites")]
WAYS = {"plain": 0, "queue": 300}  # at least so many messages come from their payloads
ENOUGH = 200  # tests of Django's that have to run: an empty suite would pass as well


def left_out(series: str, way: str) -> list[str]:
    """The tests that docs/mail-api.md says don't hold here, for that Django and way."""
    text = (ROOT / "docs" / "mail-api.md").read_text("utf-8")
    _, _, section = text.partition("\n## Django's own tests\n")
    rows = re.findall(r"^\| (`.+`) \| ([^|`]+) \| [^|]+ \|$", section.partition("\n## ")[0], re.M)
    assert rows
    return [
        pattern
        for patterns, where in rows
        for pattern in re.findall(r"`([^`]+)`", patterns)
        if series in where
        and ("queue" not in where or way == "queue")
        and ("root" not in where or os.geteuid() == 0)
    ]


def source_of(requirement: str, directory: Path) -> Path:
    """The unpacked source of a package, from the index that pip knows."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download"]
    command = [*pip, "--no-deps", "--no-binary=:all:", f"--dest={directory}", requirement]
    subprocess.run(command, check=True, timeout=600)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(directory, filter="data")
    (unpacked,) = (path for path in directory.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module", params=["6.0", "6.1"])
def series(request: pytest.FixtureRequest) -> str:
    """The first two numbers of a Django's version."""
    return str(request.param)


@pytest.fixture(scope="module")
def django_source(tmp_path_factory: pytest.TempPathFactory, series: str) -> Path:
    """The source of the newest Django of that series."""
    return source_of(f"django=={series}.*", tmp_path_factory.mktemp("source"))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Django 6 needs Python 3.12")
@pytest.mark.parametrize("way", WAYS)
def test_djangos_own_mail_tests_pass(django_source, series, way, tmp_path) -> None:
    """All of them but those in the table of docs/mail-api.md, which names none in vain."""
    results = tmp_path / "results.json"
    program = [sys.executable, "-m", "tests.suites.django_mail"]
    done = subprocess.run(
        [*program, django_source, results, way, *left_out(series, way)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text("utf-8"))
    assert found["failed"] == {}
    assert found["idle"] == []
    assert found["ran"] >= ENOUGH
    assert found["rebuilt"] >= WAYS[way]


def test_django_celery_emails_own_tests_pass(redis_url, tmp_path) -> None:
    """What is sent by another queue's interface arrives through payload, journal and delivery."""
    source = source_of("django-celery-email==3.0.0", tmp_path)
    results = tmp_path / "results.json"
    program = [sys.executable, ROOT / "tests" / "suites" / "celery_email.py"]
    done = subprocess.run(
        [*program, source, results, redis_url], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(results.read_text("utf-8"))
    assert found["failed"] == {}
    assert found["ran"] >= 17
