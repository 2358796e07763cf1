"""A message for those of its recipients who are still to get it."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from mailqueue import EmailMessage, EmailMultiAlternatives
from mailqueue.delivery.rest import for_the_rest
from mailqueue.queue import payload
from mailqueue.queue.payload.rendered import as_rendered

ANN, BOB, CY = "Ann <ann@example.com>", "bob@example.com", "cy@example.com"
CONTENT = b"To: ann@example.com, bob@example.com\nSubject: Hello\n\nA letter\n"


class OwnMessage(EmailMessage):
    """A project's own, which builds in a way of its own."""

    def message(self, *args: Any, **options: Any) -> Any:
        built = super().message(*args, **options)
        built["X-Own"] = ", ".join([*self.to, *self.bcc])
        return built


def letter(kind: Any) -> Any:
    message = kind("Hello", "A letter", "from@example.com", [ANN, BOB], bcc=[CY], cc=["dan@x"])
    message.extra_headers = {
        "Message-ID": "<1@example.com>",
        "Date": "Sat, 21 Nov 2026 11:20:55 +0000",
    }
    message.tags = ["news"]
    return message


def test_a_message_for_all_is_itself():
    """Nothing is put on it, and nothing is copied."""
    message = letter(EmailMessage)
    before = dict(vars(message))
    assert for_the_rest(message, tuple(message.recipients())) is message
    assert vars(message) == before


@pytest.mark.parametrize("kind", [EmailMessage, EmailMultiAlternatives, OwnMessage])
@pytest.mark.parametrize("left", [[BOB], [CY], [ANN, "dan@x"]])
def test_the_rest_are_all_that_a_backend_finds(left, kind):
    """Whichever way it asks for recipients; and it builds the same content as for all of them."""
    message = letter(kind)
    rest = for_the_rest(message, left)
    assert rest.recipients() == left
    assert {*rest.to, *rest.cc, *rest.bcc} == {*left}
    assert rest.message().as_bytes() == message.message().as_bytes()
    assert isinstance(rest, kind)
    assert message.recipients() == [ANN, BOB, "dan@x", CY]


@pytest.mark.parametrize(
    ("left", "fields"),
    [
        (["dan@x"], (["dan@x"], [], [])),
        (["dan@x", CY], (["dan@x"], [], [CY])),
        ([CY], ([CY], [], [])),
        ([CY, "eve@x"], ([], [], [CY, "eve@x"])),
        ([BOB, CY], ([BOB], [], [CY])),
    ],
)
def test_somebody_stands_in_to_and_nobody_learns_of_hidden_ones(left, fields):
    """Most services refuse a message without; several in bcc would see each other there."""
    message = letter(EmailMessage)
    message.bcc.append("eve@x")
    rest = for_the_rest(message, left)
    assert (rest.to, rest.cc, rest.bcc) == fields
    assert "eve@x" not in rest.message().as_string()


def test_a_message_to_nobody_stays_one():
    """Whoever left To empty wants it so."""
    message = letter(EmailMessage)
    message.to = []
    rest = for_the_rest(message, [CY])
    assert (rest.to, rest.cc, rest.bcc) == ([], [], [CY])


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
@pytest.mark.parametrize("kind", [EmailMessage, OwnMessage])
def test_what_is_copied_of_it_is_an_ordinary_message(kind, copied):
    """It can be kept, pickled and queued, and is for the rest."""
    found = copied(for_the_rest(letter(kind), [BOB]))
    assert type(found) is kind
    assert found.recipients() == [BOB]
    assert not any(callable(value) for value in vars(found).values())
    assert payload.loads(payload.dumps(found, "id")).recipients() == [BOB]


def test_a_message_that_travelled_as_mime_is_for_the_rest_too():
    """Its recipients are its envelope's, and its content stays what it was."""
    message = as_rendered(letter(EmailMessage), CONTENT, [ANN, BOB])
    rest = for_the_rest(message, [BOB])
    assert rest.recipients() == [BOB]
    assert rest.message().as_bytes() == CONTENT
