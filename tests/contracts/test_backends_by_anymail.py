"""Anymail's backends as the carrier: what the service says of each recipient is on record."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest
import trustme

from tests.contracts.standin import Answer, stand_in
from tests.support import in_django

ANN, BOB = "Änn <ann@example.com>", "Bob@example.com"
ALARM = 30  # seconds of a pause; a server in trouble is left alone for less at first
INACTIVE = (
    "Message OK, but will not deliver to these inactive addresses: bob@example.com. Inactive "
    "recipients are ones that have generated a hard bounce or a spam complaint."
)


def taken(to: str = f"{ANN}, {BOB}", message: str = "OK") -> Answer:
    """As Postmark says that it takes a message."""
    return 200, {"ErrorCode": 0, "Message": message, "MessageID": "4f2a", "To": to}


def refusal(status: int, code: int, message: str = "no") -> Answer:
    """As Postmark refuses a message."""
    return status, {"ErrorCode": code, "Message": message}


class Case(NamedTuple):
    """What the service answers, and what is on record then."""

    answer: Answer
    state: str
    results: Mapping[str, str]
    attempts: int = 1
    alarm: bool = False
    attributes: Mapping[str, Any] = {}


CASES = {
    "taken": Case(taken(), "sent", {ANN: "sent", BOB: "sent"}),
    "one is inactive": Case(taken(ANN, INACTIVE), "partial", {ANN: "sent", BOB: "failed"}),
    "both are": Case(
        refusal(422, 406, "Found inactive addresses: ann@example.com, bob@example.com. Inactive "
                "recipients are ones that have generated a hard bounce"),
        *("failed", {ANN: "failed", BOB: "failed"}),
    ),
    "one is invalid, and so nobody gets it": Case(
        refusal(422, 300, "Invalid 'To' address: 'bob@example.com'."),
        *("retrying", {BOB: "failed"}),
    ),
    "the content is refused": Case(refusal(422, 402), "failed", {ANN: "failed", BOB: "failed"}),
    "a bad request": Case((400, "no"), "failed", {ANN: "failed", BOB: "failed"}),
    "no such token": Case((401, {"ErrorCode": 10}), "retrying", {}, 0, alarm=True),
    "out of credits": Case((402, ""), "retrying", {}, 0, alarm=True),
    "forbidden": Case((403, ""), "retrying", {}, 0, alarm=True),
    "too many requests": Case((429, ""), "retrying", {}),
    "an error of the service": Case((500, "oh"), "retrying", {}),
    "a service that is away": Case((503, ""), "retrying", {}),
    "an answer that nobody can read": Case((200, "<html>"), "uncertain", {}),
    "an answer that lacks what it should have": Case((200, {}), "uncertain", {}),
    "no answer": Case(None, "uncertain", {}),
    "what the service can't do": Case(
        taken(), "failed", {ANN: "failed", BOB: "failed"}, attributes={"tags": ["one", "two"]}
    ),
}  # fmt: skip


class Wanted(NamedTuple):
    """A message to be delivered by the service at that address."""

    url: str
    attributes: Mapping[str, Any] = {}
    rounds: int = 1


def fates(
    redis_url: str, service: str, wanted: Sequence[Wanted], receivers: str = ""
) -> list[dict[str, Any]]:
    """Deliver messages by Anymail in a process with Django; what is on record of each.

    ``receivers`` are lines of Python that connect some to Anymail's signals.
    """
    code = (
        f"{receivers}\n"
        "from tests.contracts.carried import fate_through_settings\n"
        "result = []\n"
        f"for url, attributes, rounds in {[tuple(one) for one in wanted]!r}:\n"
        f"    django.ANYMAIL = {{{service.upper() + '_API_URL'!r}: url,\n"
        f"        {service.upper() + '_SERVER_TOKEN'!r}: 't', 'SENDGRID_API_KEY': 'k'}}\n"
        f"    result.append(fate_through_settings({redis_url!r}, {ANN!r}, {BOB!r},\n"
        "        rounds=rounds, queue=f'q{len(result)}', **attributes))"
    )
    backend = f"anymail.backends.{service}.EmailBackend"
    return in_django({"MAILQUEUE": {"BACKEND": backend}, "USE_TZ": True}, code)


def test_what_the_service_says_is_on_record(redis_url):
    """Refusals for good are not tried again, and our own mistakes cost no attempt."""
    with ExitStack() as stack:
        services = [stack.enter_context(stand_in(case.answer)) for case in CASES.values()]
        wanted = [
            Wanted(f"http://127.0.0.1:{service.port}/", case.attributes)
            for service, case in zip(services, CASES.values(), strict=True)
        ]
        found = fates(redis_url, "postmark", wanted)
    read = [(f["state"], f["results"], f["attempts"], f["pause"] > ALARM) for f in found]
    assert dict(zip(CASES, read, strict=True)) == {
        name: (case.state, case.results, case.attempts, case.alarm) for name, case in CASES.items()
    }


def test_who_is_left_is_tried_again_alone(redis_url):
    """Nobody else is named to the service, neither as an addressee nor as a copy's."""
    invalid = refusal(422, 300, "Invalid 'To' address: 'bob@example.com'.")
    with stand_in(invalid, taken(ANN)) as service:
        url = f"http://127.0.0.1:{service.port}/"
        (found,) = fates(redis_url, "postmark", [Wanted(url, rounds=2)])
    assert (found["state"], found["results"]) == ("partial", {ANN: "sent", BOB: "failed"})
    assert [BOB in str(asked) for asked in service.asked] == [True, False]


CANCELS = """
from anymail.exceptions import AnymailCancelSend
from anymail.signals import pre_send
def cancel(**_):
    raise AnymailCancelSend
pre_send.connect(cancel)
"""
RAISES = """
from anymail.signals import post_send
def fail(**_):
    raise ValueError("a mistake")
post_send.connect(fail)
"""


def test_what_a_receiver_of_pre_send_cancels_is_not_tried_again(redis_url):
    """It would be sent days later, when that receiver says something else."""
    with stand_in(taken()) as service:
        url = f"http://127.0.0.1:{service.port}/"
        (found,) = fates(redis_url, "postmark", [Wanted(url)], CANCELS)
    assert (found["state"], found["results"]) == ("failed", {ANN: "failed", BOB: "failed"})
    assert found["reply"] == "cancelled by a receiver of Anymail's pre_send"
    assert service.asked == []


def test_a_mistake_in_a_receiver_of_post_send_changes_nothing(redis_url):
    """The service has said by then what became of the message."""
    with stand_in(taken(ANN, INACTIVE)) as service:
        url = f"http://127.0.0.1:{service.port}/"
        (found,) = fates(redis_url, "postmark", [Wanted(url)], RAISES)
    assert (found["state"], found["results"]) == ("partial", {ANN: "sent", BOB: "failed"})


def test_a_service_that_says_nothing_of_recipients_has_taken_the_message(redis_url):
    """Anymail says "queued" of each, with the id under which the service knows the message."""
    with stand_in((202, "")) as service:
        url = f"http://127.0.0.1:{service.port}/"
        (found,) = fates(redis_url, "sendgrid", [Wanted(url)])
    assert (found["state"], found["results"]) == ("sent", {ANN: "sent", BOB: "sent"})
    assert found["reply"].startswith("queued, message id ")


def test_a_service_that_can_not_be_reached_costs_no_attempt(redis_url, unused_port):
    """Nothing was sent: the mailer is left alone for a moment, and the message waits."""
    (found,) = fates(redis_url, "postmark", [Wanted(f"http://127.0.0.1:{unused_port}/")])
    assert (found["state"], found["attempts"]) == ("retrying", 0)
    assert 0 < found["pause"] < ALARM


@pytest.mark.parametrize("is_known", [False, True], ids=["unknown authority", "another name"])
def test_a_certificate_that_is_not_valid_costs_no_attempt(
    is_known, redis_url, tmp_path, monkeypatch
):
    """It is our own mistake, or somebody in between: an alarm is raised, and the message waits."""
    authority = trustme.CA()
    if is_known:
        authority.cert_pem.write_to_path(tmp_path / "ca.pem")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("mail.example.com").configure_cert(tls)
    with stand_in(taken(), tls=tls) as service:
        (found,) = fates(redis_url, "postmark", [Wanted(f"https://127.0.0.1:{service.port}/")])
    assert (found["state"], found["attempts"]) == ("retrying", 0)
    assert found["pause"] > ALARM
    assert "certificate verify failed" in found["reply"]
    assert service.asked == []
