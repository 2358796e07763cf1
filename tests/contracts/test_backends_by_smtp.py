"""Backends that send by `smtplib`: a subclass of ours, and Django's, beside what the server says.

`sendmail()` tells them who was refused, and they tell nobody. The server's own replies decide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import pytest

import mailqueue
from mailqueue.backends import smtp
from tests.contracts.carried import fate_through_settings
from tests.scripted import CLOSE, ScriptedServer
from tests.support import in_django

ANN, BOB = "Änn <ann@example.com>", "bob@example.com"
DJANGOS = "django.core.mail.backends.smtp.EmailBackend"


class OwnSMTP(smtp.EmailBackend):
    """A project's own, which isn't driven as mailqueue's is."""


class Case(NamedTuple):
    """What a server answers, once each, and what is on record then."""

    replies: Mapping[str, bytes | str]
    state: str
    results: Mapping[str, str]
    attempts: int = 1
    to: tuple[str, ...] = (ANN, BOB)
    copies: tuple[tuple[str, ...], ...] = ()  # of whom the server accepted each copy


BOTH = ("ann@example.com", "bob@example.com")
SENT = {ANN: "sent", BOB: "sent"}
CASES = {
    "nobody refused": Case({}, "sent", SENT, copies=(BOTH,)),
    "one refused for good": Case(
        {"RCPT bob": "550 5.1.1 unknown"},
        *("partial", {ANN: "sent", BOB: "failed"}),
        copies=(BOTH[:1],),
    ),
    "one refused for now": Case(
        {"RCPT ann": "451 4.2.1 later"}, "retrying", {BOB: "sent"}, copies=(BOTH[1:],)
    ),
    "both refused, each in its own way": Case(
        {"RCPT ann": "550 5.1.1 unknown", "RCPT bob": "450 4.2.2 full"},
        *("retrying", {ANN: "failed"}),
    ),
    "one to be tried by the server": Case(
        {"RCPT bob": "252 2.1.5 will try"}, "sent", SENT, copies=(BOTH,)
    ),
    "the only one to be tried by the server": Case(
        {"RCPT bob": "252 2.1.5 will try"},
        *("sent", {BOB: "sent"}, 1, (BOB,), (BOTH[1:],)),
    ),
    "one refused, and then the content": Case(
        {"RCPT bob": "450 4.2.2 full", "dot": "554 5.7.1 spam"}, "retrying", {ANN: "failed"}
    ),
    "DATA refused": Case({"DATA": "554 5.5.1 no"}, "failed", {ANN: "failed", BOB: "failed"}),
    "the content refused for now": Case({"dot": "451 4.3.0 later"}, "retrying", {}),
    "one refused, and no reply to the end": Case(
        {"RCPT bob": "550 5.1.1 unknown", "dot": CLOSE},
        *("uncertain", {BOB: "failed"}),
        copies=(BOTH[:1],),
    ),
    "nonsense at the end": Case({"dot": "hello"}, "uncertain", {}),
    "lost at MAIL": Case({"MAIL": CLOSE}, "retrying", {}, attempts=0),
    "lost at RCPT": Case({"RCPT bob": CLOSE}, "retrying", {}, attempts=0),
    "lost at DATA": Case({"DATA": CLOSE}, "retrying", {}, attempts=0),
    "421 at RCPT": Case(
        {"RCPT ann": "550 5.1.1 unknown", "RCPT bob": "421 4.3.2 closing"},
        *("retrying", {}, 0),
    ),
    "421 at the end": Case({"dot": "421 4.3.2 closing"}, "retrying", {}, attempts=0),
}


def script(replies: Mapping[str, bytes | str]) -> Callable[..., bytes | str | None]:
    """Answer so, once each; a key is a phase, and perhaps what stands in the command."""
    left = dict(replies)

    def answer(_session: object, phase: str, command: str) -> bytes | str | None:
        for key in left:
            verb, _, part = key.partition(" ")
            if verb == phase and part in command:
                return left.pop(key)
        return None

    return answer


Fates = Callable[[str, Sequence[tuple[int, tuple[str, ...]]], int], list[dict[str, Any]]]


def by_a_subclass(
    redis_url: str, wanted: Sequence[tuple[int, tuple[str, ...]]], rounds: int
) -> list[dict[str, Any]]:
    """Deliver a message to each port by a subclass of our SMTP backend."""
    mailqueue.configure(MAILQUEUE={"BACKEND": f"{__name__}.OwnSMTP"}, EMAIL_HOST="127.0.0.1")
    found = []
    for port, to in wanted:
        with mailqueue.settings.overridden(EMAIL_PORT=port):
            found.append(fate_through_settings(redis_url, *to, rounds=rounds, queue=f"q{port}"))
    return found


def by_django(
    redis_url: str, wanted: Sequence[tuple[int, tuple[str, ...]]], rounds: int
) -> list[dict[str, Any]]:
    """The same by Django's, in a process of its own."""
    code = (
        "from tests.contracts.carried import fate_through_settings\n"
        "result = []\n"
        f"for django.EMAIL_PORT, to in {wanted!r}:\n"
        f"    found = fate_through_settings({redis_url!r}, *to, rounds={rounds},\n"
        "        queue=f'q{django.EMAIL_PORT}')\n"
        "    result.append(found)"
    )
    return in_django({"MAILQUEUE": {"BACKEND": DJANGOS}, "EMAIL_HOST": "127.0.0.1"}, code)


@pytest.fixture(params=[by_a_subclass, by_django])
def fates(request: pytest.FixtureRequest) -> Fates:
    return request.param


def test_the_servers_replies_are_on_record(fates, redis_url):
    """Each recipient has its own reply, and what may be with the server is in doubt."""
    with ExitStack() as stack:
        servers = [stack.enter_context(ScriptedServer(script(c.replies))) for c in CASES.values()]
        ports = [server.port for server in servers]
        found = fates(redis_url, list(zip(ports, [c.to for c in CASES.values()], strict=True)), 1)
        copies = [tuple(tuple(m.recipients) for m in server.accepted) for server in servers]
    read = [(one["state"], one["results"], one["attempts"]) for one in found]
    assert dict(zip(CASES, zip(read, copies, strict=True), strict=True)) == {
        name: ((case.state, case.results, case.attempts), case.copies)
        for name, case in CASES.items()
    }


def test_who_was_refused_for_now_is_tried_again_alone(fates, redis_url):
    """Those served by the first attempt get no second copy; the header names all of them."""
    with ScriptedServer(script({"RCPT ann": "451 4.2.1 later"})) as server:
        (found,) = fates(redis_url, [(server.port, (ANN, BOB))], 2)
    assert (found["state"], found["results"]) == ("sent", SENT)
    assert [mail.recipients for mail in server.accepted] == [[BOTH[1]], [BOTH[0]]]
    headers = [mail.content.partition(b"\r\n\r\n")[0] for mail in server.accepted]
    assert all(b"<ann@example.com>, bob@example.com" in header for header in headers)


def test_the_reply_that_is_shown_is_the_servers_own(fates, redis_url):
    """It often has the id under which the server knows the message."""
    with ScriptedServer(script({"dot": "250 2.0.0 queued as 4F2A"})) as server:
        (found,) = fates(redis_url, [(server.port, (ANN, BOB))], 1)
    assert found["reply"] == "250 2.0.0 queued as 4F2A"
