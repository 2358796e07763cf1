"""What a worker hands a backend: as it was set for mail services, as it is written for others."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mailqueue.queue.handover import for_backend
from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.carried import Rig, Scripted, letter
from tests.contracts.journals import POLICY
from tests.support import in_django

PAST = datetime(2020, 11, 21, 9, 30, tzinfo=UTC)


class Noting(Scripted):
    """Keeps what it is handed."""

    def __init__(self, *script: Any) -> None:
        super().__init__(*script)
        self.handed: list[Any] = []

    def send_messages(self, email_messages: Any) -> int:
        messages = list(email_messages)
        self.handed += messages
        return super().send_messages(messages)


class Service(Noting):
    """As Anymail's backends say which service they are for."""

    esp_name = "Some Service"


@pytest.fixture
def journal(redis_url: str) -> Journal:
    return Journal(connect(redis_url, 2.0), "q", POLICY)


def handed_over(backend: Noting, journal: Journal, **attributes: Any) -> list[Any]:
    message = letter()
    vars(message).update(attributes)
    rig = Rig.over(backend, journal)
    rig.accept(message)
    assert (rig.run(), rig.again()) == ({"retrying": 1}, {"sent": 1})
    return backend.handed


def test_each_attempt_hands_over_the_same_message_id_and_date(journal):
    """Whatever a backend builds by message() has them."""
    first, second = handed_over(Noting(RuntimeError("not now"), 1), journal)
    for name in ("Message-ID", "Date"):
        assert first.message()[name] == second.message()[name] == first.extra_headers[name]


def test_a_mail_service_is_handed_what_the_application_set(journal):
    """No header more, and None for what its template says."""
    unset = {"from_email": None, "subject": None, "extra_headers": {"X-Order": "17"}}
    for message in handed_over(Service(RuntimeError("not now"), 1), journal, **unset):
        assert {name: getattr(message, name) for name in unset} == unset


def test_other_backends_are_handed_a_sender_and_a_subject(journal):
    """Django would write the word None."""
    backend = Noting(RuntimeError("not now"), 1)
    for message in handed_over(backend, journal, from_email=None, subject=None):
        assert (message.from_email, message.subject) == ("webmaster@localhost", "")


def test_other_backends_are_handed_one_sender_of_several(journal):
    """Django's SMTP backend takes no more; all of them are in From."""
    both = "a@example.com, b@example.com"
    for message in handed_over(Noting(RuntimeError("not now"), 1), journal, from_email=both):
        assert message.from_email == "a@example.com"
        built = message.message()
        assert (built["From"], built["Sender"]) == (both, "a@example.com")


def test_a_time_that_the_queue_has_waited_for_is_told_to_nobody(journal):
    """Some services refuse a time that is over, others any."""
    for message in handed_over(Service(RuntimeError("not now"), 1), journal, send_at=PAST):
        assert not hasattr(message, "send_at")


def test_a_time_to_come_is_told():
    """Where an operator has it sent before its time, say, the service may wait."""
    message = letter()
    message.send_at = datetime.now(UTC) + timedelta(days=1)
    assert for_backend(message, Service()).send_at == message.send_at


TEMPLATE = """
from mailqueue.queue.journal import Journal
from mailqueue.store.client import connect
from tests.contracts.carried import Rig
from tests.contracts.journals import POLICY
from tests.contracts.services import Service, service, template

with service() as url:
    django.ANYMAIL = {"SPARKPOST_API_KEY": "key", "SPARKPOST_API_URL": url}
    rig = Rig(Journal(connect(URL, 2.0), "q", POLICY))
    rig.accept(template("sparkpost"))
    done = rig.run()
    rig.connection.close()
    result = [done, Service.requests]
"""


def test_template_mail_is_delivered_by_anymails_own_backend(redis_url):
    """From the journal to the service's API, which gets the template and nothing beside it."""
    values = {"MAILQUEUE": {"BACKEND": "anymail.backends.sparkpost.EmailBackend"}}
    done, requests = in_django(values, f"URL = {redis_url!r}\n{TEMPLATE}")
    assert done == {"sent": 1}
    ((path, _, said),) = requests
    assert path == "/transmissions/"
    assert said["content"] == {"template_id": "1234567"}
    (recipient,) = said["recipients"]
    assert recipient["address"]["email"] == "ann@example.com"
