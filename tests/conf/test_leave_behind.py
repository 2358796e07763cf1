"""The setting LEAVE_BEHIND: a dictionary in code, JSON in the environment."""

import pytest

from mailqueue import configure, settings
from mailqueue.errors import ImproperlyConfigured


def test_it_is_empty_unless_it_is_set() -> None:
    """Nothing stays behind by itself."""
    assert settings.MAILQUEUE.LEAVE_BEHIND == {}


def test_it_is_read_from_code_and_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list or a tuple of names for each class, or for any."""
    monkeypatch.setenv("MAILQUEUE_LEAVE_BEHIND", '{"shop.mail.Invoice": ["user"]}')
    assert settings.MAILQUEUE.LEAVE_BEHIND == {"shop.mail.Invoice": ["user"]}
    monkeypatch.setenv("MAILQUEUE_LEAVE_BEHIND", "")
    assert settings.MAILQUEUE.LEAVE_BEHIND == {}
    configure(MAILQUEUE={"LEAVE_BEHIND": {"*": ("user", "request")}})
    assert settings.MAILQUEUE.LEAVE_BEHIND == {"*": ["user", "request"]}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("{", "is not JSON"),
        ('["user"]', "must be a dictionary of attributes' names by their class"),
        ({"Invoice": ["user"]}, r"'Invoice' must be a class's path such as 'shop.mail.Invoice'"),
        ({1: ["user"]}, "1 must be a class's path"),
        ({"shop.Invoice": "user"}, "'shop.Invoice' must have a list of attributes' names"),
        ({"shop.Invoice": [1]}, "'shop.Invoice' must have a list of attributes' names"),
    ],
)
def test_what_is_wrong_is_said(value: object, problem: str) -> None:
    """A name alone would be taken for a list of letters."""
    with pytest.raises(ImproperlyConfigured, match=r"MAILQUEUE\['LEAVE_BEHIND'\].*" + problem):
        configure(MAILQUEUE={"LEAVE_BEHIND": value})
