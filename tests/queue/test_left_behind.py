"""Attributes that stay behind, and the error for those that can neither travel nor stay."""

from __future__ import annotations

from typing import Any

import pytest

from mailqueue import EmailMessage, configure
from mailqueue.errors import PayloadError
from mailqueue.queue.payload import dumps, loads, parse

HERE = __name__


class User:
    """Something of the application's that has no form in JSON."""


class Letter(EmailMessage):
    """A class of a package: all of its messages have something."""

    kind = "letter"


class Invoice(Letter):
    """A class that derives from it."""


class Built(Letter):
    """A class that builds its messages itself."""

    def message(self, **options: Any) -> Any:
        built = super().message(**options)
        built["X-For"] = type(self.user).__name__
        return built


class Encrypted(EmailMessage):
    """A class whose body nobody may read on the way."""

    def message(self, **options: Any) -> Any:
        return EmailMessage(self.subject, "sealed", self.from_email, self.to).message(**options)


def letter(class_: Any = Letter, **attributes: Any) -> Any:
    message = class_("Subject", "Body", "me@example.com", ["ann@example.com"])
    vars(message).update(attributes)
    return message


def leave_behind(**named: list[str]) -> None:
    paths = {"any": "*"} | {class_.__name__: f"{HERE}.{class_.__name__}" for class_ in CLASSES}
    configure(MAILQUEUE={"LEAVE_BEHIND": {paths[name]: names for name, names in named.items()}})


CLASSES = [EmailMessage, Letter, Invoice, Built, Encrypted]


@pytest.mark.parametrize("class_", [EmailMessage, Letter, Built])
def test_what_can_neither_travel_nor_stay_is_an_error(class_: Any) -> None:
    """Each attribute is named, and the line to write, also for a class that builds itself."""
    path = f"{class_.__module__}.{class_.__qualname__}"
    with pytest.raises(PayloadError) as caught:
        dumps(letter(class_, user=User(), request={1, 2}, order=17), "an-id")
    assert "the attribute 'user' can't be queued: a value of type User" in str(caught.value)
    assert "the attribute 'request' can't be queued: a value of type set" in str(caught.value)
    assert "'order'" not in str(caught.value)
    assert f"MAILQUEUE['LEAVE_BEHIND'] = {{'{path}': ['request', 'user']}}" in str(caught.value)


@pytest.mark.parametrize("named", ["any", "Letter", "Built"])
@pytest.mark.parametrize("class_", [Built, Letter, Invoice])
def test_what_a_class_leaves_behind_its_subclasses_leave_behind_too(
    class_: Any, named: str
) -> None:
    """A class is named by itself, by one that it derives from, or with all others."""
    leave_behind(**{named: ["user", "kind"]})
    message = letter(class_, user=User(), order=17)
    if named == "Built" and class_ is not Built:
        with pytest.raises(PayloadError, match="user"):
            dumps(message, "an-id")
        return
    assert parse(dumps(message, "an-id"))["attributes"] == {"order": 17}


def test_the_line_has_what_is_left_behind_already() -> None:
    """Who copies it loses nothing that the class's entry had."""
    leave_behind(Letter=["request"])
    with pytest.raises(PayloadError) as caught:
        dumps(letter(user=User()), "an-id")
    assert str(caught.value).endswith(f"{{'{HERE}.Letter': ['request', 'user']}}")


def test_what_its_class_builds_it_from_need_not_travel() -> None:
    """Of a class that encrypts what it sends, the clear text can stay behind."""
    message = letter(Encrypted)
    assert loads(dumps(message, "an-id")).body == "Body"
    leave_behind(Encrypted=["body"])
    text = dumps(message, "an-id")
    assert "Body" not in text
    assert loads(text).body == "sealed"


def test_a_method_that_was_replaced_on_a_message_builds_it() -> None:
    """Such as a message() that signs: it is no attribute that would have to travel."""
    message = letter(EmailMessage)
    usual = message.message

    def signed() -> Any:
        built = usual()
        built["X-Signature"] = "of mine"
        return built

    message.message = signed
    message.recipients = lambda: ["chosen@example.com"]
    again = loads(dumps(message, "an-id"))
    assert again.message()["X-Signature"] == "of mine"
    assert again.recipients() == ["chosen@example.com"]
