"""Attributes that a single message has, and that its class has too."""

import json

from mailqueue import EmailMessage
from mailqueue.mail.rendering.render import rendered_bytes
from mailqueue.queue.payload import dumps, loads


class Newsletter(EmailMessage):
    """All of them have these tags, as Anymail reads them."""

    tags = ("news",)


def test_what_one_message_says_counts_more_than_what_its_class_says():
    """A tag that is set on a message replaces those of its class, in the worker too."""
    message = Newsletter(to=["ann@example.com"])
    assert loads(dumps(message, "an-id")).tags == ("news",)
    message.tags = ("news", "monthly")
    assert loads(dumps(message, "an-id")).tags == ("news", "monthly")


class UNSET:
    """As Anymail's class marks what nobody has set."""


def test_what_is_unset_on_a_message_hides_what_its_class_says():
    """Anymail's class does so with what a subclass of it says, which no service is told of."""
    message = Newsletter(to=["ann@example.com"])
    vars(message)["tags"] = UNSET
    assert json.loads(dumps(message, "an-id"))["attributes"] == {}


def test_a_message_that_was_given_a_method_of_its_own_is_built_by_that():
    """Whoever replaces message() on the object, to sign it perhaps, decides what is sent."""
    headers = {"Message-ID": "<an-id@example.com>", "Date": "Mon, 30 Nov 2026 12:00:00 +0000"}
    message = EmailMessage(
        "Subject", "Body", "me@example.com", ["ann@example.com"], headers=headers
    )
    usual = message.message

    def signed() -> object:
        built = usual()
        built["X-Signature"] = "of mine"
        return built

    message.message = signed  # type: ignore[method-assign]
    assert b"X-Signature: of mine\r\n" in rendered_bytes(message, "an-id")
