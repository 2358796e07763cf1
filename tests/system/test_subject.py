"""Reports say first which journal and which settings they speak of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailqueue import configure
from mailqueue.monitor.subject import subject
from tests.support import in_django

COMMANDS = ["status", "health", "check"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_forgotten_settings_module_shows(command, run_cli, tmp_path: Path):
    """By the embedded server, its home, and the variable that isn't set."""
    lines = run_cli(command).stdout.splitlines()
    assert lines[0] == f"journal:  the embedded server in {tmp_path / 'home'}"
    assert lines[1] == "settings: the environment; DJANGO_SETTINGS_MODULE isn't set"
    found = json.loads(run_cli(command, "--json").stdout)["subject"]
    assert found["home"] == str(tmp_path / "home")
    assert found["queue"] == "mailqueue"


@pytest.mark.parametrize("command", COMMANDS)
def test_no_password_is_shown(command, producer, run_cli, redis_url):
    """Neither in a URL's login nor among its options."""
    url = redis_url.replace("redis://", "redis://:s3cret@")
    broker = redis_url + "?password=s3cret"
    for options in ([], ["--json"]):
        result = run_cli(command, *options, MAILQUEUE_JOURNAL_URL=url, MAILQUEUE_BROKER_URL=broker)
        assert "s3cret" not in result.stdout + result.stderr
        assert "redis" in result.stdout + result.stderr


def test_the_settings_of_a_django_project_are_named(tmp_path: Path):
    """By their module, or by what configured them."""
    code = "from mailqueue.monitor.subject import subject\nresult = subject()"
    found = in_django({"MAILQUEUE": {"JOURNAL_URL": "redis://h/0"}}, code)
    assert found["settings"] == "Django's, by settings.configure()"
    (tmp_path / "shop.py").write_text("MAILQUEUE = {'BROKER_URL': 'redis://h/0'}")
    environment = {"DJANGO_SETTINGS_MODULE": "shop", "PYTHONPATH": str(tmp_path)}
    found = in_django({}, code, **environment)
    assert found["settings"] == "Django's, by DJANGO_SETTINGS_MODULE=shop"


def test_what_the_settings_can_not_say_is_none(monkeypatch):
    """The report goes on, and says elsewhere what is wrong."""
    monkeypatch.setenv("MAILQUEUE_CELERY_APP", "shop.celery:app")
    found = subject()
    assert found["journal"] is None
    assert found["broker"] == "that of the Celery application shop.celery:app"
    assert found["home"] is None


def test_what_code_has_configured_is_named(run_cli):
    """A program may ask as well."""
    configure(MAILQUEUE={"JOURNAL_URL": "redis://h/0", "BROKER_URL": "redis://h/1"})
    assert subject()["journal"] == "redis://h/0"
    assert "configure()" in subject()["settings"]
