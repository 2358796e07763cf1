"""Each mail service that Anymail knows is told through the queue what it is told without."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

SERVICES = (
    "amazon_ses", "brevo", "mailersend", "mailgun", "mailjet", "mailtrap", "mandrill", "postal",
    "postmark", "resend", "scaleway", "sendgrid", "sparkpost", "unisender_go",
)  # fmt: skip
pytestmark = pytest.mark.xdist_group("anymail services")  # which all ask one process


@pytest.fixture(scope="module")
def told() -> Any:
    """By service and kind of message: what it is told without the queue, and through it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.contracts.services"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_told_the_same_through_the_queue(service: str, told: Any) -> None:
    """Field by field, whatever the message asks for; what it can't do is the same error."""
    without = {kind: requests[0] for kind, requests in told[service].items()}
    through = {kind: requests[1] for kind, requests in told[service].items()}
    assert through == without
    assert all(without.values())


def test_each_kind_of_message_is_one_that_some_service_takes(told: Any) -> None:
    """Errors that are the same would show nothing."""
    assert tuple(told) == SERVICES
    for kind in told["brevo"]:
        requests = [told[service][kind][0][0] for service in SERVICES]
        assert any(isinstance(request, list) for request in requests), kind


def test_a_template_is_given_nothing_that_it_has_itself(told: Any) -> None:
    """No headers, sender or subject, which SparkPost refuses beside a stored template."""
    (_, _, said), = told["sparkpost"]["template"][1]  # fmt: skip
    assert said["content"] == {"template_id": "1234567"}
