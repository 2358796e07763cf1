"""The oldest server, the same wherever it is asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailqueue import send_mail
from mailqueue.errors import ImproperlyConfigured
from mailqueue.monitor.health import health
from mailqueue.store import version
from mailqueue.store.version import OLDEST_REDIS, problem_of_version
from mailqueue.worker.signals import check_journal

DOCUMENTS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("server", "is_too_old"),
    [
        ({"redis_version": "6.2.14"}, True),
        ({"redis_version": "5.0"}, True),
        ({"redis_version": "7.0.0"}, False),
        ({"redis_version": "10.1.0"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "9.1.0"}, False),
        ({"redis_version": ""}, False),
        ({}, False),
    ],
)
def test_a_server_is_judged_by_what_it_says(server: dict[str, str], is_too_old: bool) -> None:
    """By numbers, not letters; what says nothing of itself may be new enough."""
    assert (problem_of_version(server) is not None) == is_too_old


def test_all_say_the_same_of_an_old_server(producer, run_cli, monkeypatch) -> None:
    """`check`, `health`, the worker's start and the first `send()`, which stored nothing."""
    monkeypatch.setattr(version, "OLDEST_REDIS", (99, 0))
    monkeypatch.setenv("MAILQUEUE_QUEUE", "first-of-its-name")  # the server is asked once for each
    with pytest.raises(ImproperlyConfigured) as caught:
        send_mail("Hello", "A letter", "from@example.com", ["to@example.com"])
    said = str(caught.value)
    assert "too old: install 99.0 or later" in said
    assert said in health()["problems"]
    for options in ([], ["--program"]):
        checks = json.loads(run_cli("check", "--json", *options).stdout)["checks"]
        assert said in next(one["problems"] for one in checks if one["name"] == "journal")
    with pytest.raises(SystemExit, match="too old"):
        check_journal()


def test_the_documents_name_it() -> None:
    """The version that the code refuses to go below."""
    oldest = ".".join(map(str, OLDEST_REDIS))
    assert f"A Redis {oldest} or later" in (DOCUMENTS / "operating.md").read_text("utf-8")
