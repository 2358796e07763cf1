"""Message classes of other packages, which keep what a template was rendered with."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support import ROOT


def through_the_queue(redis_url: str, leave_behind: dict[str, list[str]]) -> Any:
    """What became of a message of each package, in a Django project of its own."""
    arguments = ["-m", "tests.queue.packages", redis_url, json.dumps(leave_behind)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("sender", "class_", "names"),
    [
        ("by_djoser", "djoser.email.ActivationEmail", ["context"]),
        ("by_mail_templated", "mail_templated.message.EmailMessage", ["context", "template"]),
    ],
)
def test_the_error_has_the_line_that_mends_it(
    sender: str, class_: str, names: list[str], redis_url: str
) -> None:
    """A user has no form in JSON: the error says so, and that line in the settings is enough."""
    error = through_the_queue(redis_url, {})[sender]
    assert "the attribute 'context' can't be queued: a value of type User has no form" in error
    line = f"MAILQUEUE['LEAVE_BEHIND'] = {{'{class_}': {names}}}"
    assert error.endswith(line)
    found = through_the_queue(redis_url, {class_: names})[sender]
    assert (found["recipients"], found["is_same"]) == (["ann@example.com"], True)
    assert found["parts"] == ["multipart/alternative", "text/plain", "text/html"]
    assert set(names).isdisjoint(found["attributes"])


@pytest.mark.parametrize(
    "named",
    [
        {
            "djoser.email.BaseEmailMessage": ["context"],
            "mail_templated.EmailMessage": ["context", "template"],
        },
        {"*": ["context", "template"]},
    ],
    ids=["a base, and where it is imported from", "any"],
)
def test_a_class_may_be_named_in_other_ways(named: dict[str, list[str]], redis_url: str) -> None:
    """By a class that it derives from, by the path that users import it from, or with all."""
    found = through_the_queue(redis_url, named)
    assert [message["is_same"] for message in found.values()] == [True, True]
