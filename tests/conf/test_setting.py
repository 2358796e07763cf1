"""One setting: how long what was found holds."""

from __future__ import annotations

import os
from types import MappingProxyType

import pytest

from mailqueue import configure, settings
from mailqueue.errors import ImproperlyConfigured
from tests.interruption import Interruption
from tests.support import in_django


def test_settings_are_steady_in_a_block(monkeypatch):
    """One `send()` sees one configuration; what changes meanwhile holds for the next."""
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "7")
    with settings.MAILQUEUE.steady():
        assert settings.MAILQUEUE.BATCH_SIZE == 7
        monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "8")
        assert settings.MAILQUEUE.BATCH_SIZE == 7
    assert settings.MAILQUEUE.BATCH_SIZE == 8


def test_a_later_block_sees_what_has_changed(monkeypatch):
    """What a block looked up serves the next ones, until any of the sources is another."""

    def seen():
        with settings.MAILQUEUE.steady():
            return settings.MAILQUEUE.BATCH_SIZE, settings.MAILQUEUE.SECRET_KEYS

    keys = ["one"]
    configure(MAILQUEUE={"SECRET_KEYS": keys})
    assert seen() == seen() == (250, ["one"])
    keys.append("two")
    assert seen() == (250, ["one", "two"])
    monkeypatch.setenv("MAILQUEUE_BATCH_SIZE", "7")
    assert seen() == (7, ["one", "two"])
    with settings.overridden(MAILQUEUE={"BATCH_SIZE": 8}):
        assert seen() == (8, ["one", "two"])
    assert seen() == (7, ["one", "two"])


def test_a_later_block_sees_mail_settings_that_have_changed(monkeypatch):
    """Those too last from block to block, until any of the sources is another."""

    def seen():
        with settings.MAILQUEUE.steady():
            return settings.EMAIL_HOST, settings.DEFAULT_CHARSET, settings.ADMINS

    admins = ["a@example.com"]
    configure(EMAIL_HOST="one", ADMINS=admins)
    assert seen() == seen() == ("one", "utf-8", ["a@example.com"])
    admins.append("b@example.com")
    monkeypatch.setenv("DEFAULT_CHARSET", "latin-1")
    assert seen() == ("one", "latin-1", ["a@example.com", "b@example.com"])
    with settings.overridden(EMAIL_HOST="two"):
        assert seen()[0] == "two"
    assert seen()[0] == "one"


def test_what_changes_for_a_part_of_a_block_is_kept_by_nobody(monkeypatch):
    """The block sees none of it, and so it can't be taken for what holds afterwards."""
    configure(EMAIL_HOST="one")
    with (
        settings.MAILQUEUE.steady(),
        settings.overridden(EMAIL_HOST="two"),
        monkeypatch.context() as patched,
    ):
        patched.setenv("EMAIL_USE_LOCALTIME", "yes")
        assert (settings.EMAIL_HOST, settings.EMAIL_USE_LOCALTIME) == ("one", False)
    with settings.MAILQUEUE.steady():
        assert (settings.EMAIL_HOST, settings.EMAIL_USE_LOCALTIME) == ("one", False)


def test_who_makes_the_messages_of_a_block_sees_the_settings_as_they_are():
    """A generator may override them for each message."""

    def hosts():
        for host in ("two", "three"):
            with settings.overridden(EMAIL_HOST=host):
                yield settings.EMAIL_HOST

    configure(EMAIL_HOST="one")
    with settings.MAILQUEUE.steady():
        seen = [(host, settings.EMAIL_HOST) for host in settings.MAILQUEUE.loosely(hosts())]
    assert seen == [("two", "one"), ("three", "one")]


def test_of_djangos_mail_settings_nothing_lasts():
    """Nobody could tell whether they have changed, and Django has them at hand."""
    code = (
        "def seen():\n"
        "    with settings.MAILQUEUE.steady():\n"
        "        return [settings.EMAIL_HOST, settings.MAILQUEUE.QUEUE]\n"
        "result = [seen()]\n"
        "django.EMAIL_HOST = 'two'\n"
        "result.append(seen())\n"
        "django.MAILQUEUE['QUEUE'] = 'other'\n"
        "result.append(seen())\n"
    )
    result = in_django({"EMAIL_HOST": "one", "MAILQUEUE": {"QUEUE": "queue"}}, code)
    assert result == [["one", "queue"], ["two", "queue"], ["two", "other"]]


class _Changing(str):
    """A text that is another each time, as a lazy one may be; it compares as equal to any."""

    readings = 0

    def __str__(self):
        type(self).readings += 1
        return f"queue-{self.readings}"

    def __eq__(self, other):
        return True

    __hash__ = str.__hash__

    def __deepcopy__(self, memo):
        raise TypeError("can't be copied")


def test_a_value_that_is_computed_is_looked_up_in_each_block():
    """Nobody can tell whether it is the same as before."""
    configure(MAILQUEUE=MappingProxyType({"QUEUE": _Changing("queue")}))
    seen = []
    for _ in range(2):
        with settings.MAILQUEUE.steady():
            seen.append(settings.MAILQUEUE.BATCH_SIZE)
            seen.append(settings.MAILQUEUE.QUEUE)
    assert seen[::2] == [250, 250]
    assert seen[1] != seen[3]


def test_values_that_compare_as_equal_are_told_apart(monkeypatch):
    """A size of 1 is right, and True isn't one."""
    configure(MAILQUEUE={"BATCH_SIZE": 1})
    with settings.MAILQUEUE.steady():
        assert settings.MAILQUEUE.BATCH_SIZE == 1
    # As Django's `override_settings` may; `configure` itself would refuse it.
    monkeypatch.setitem(settings._configured["MAILQUEUE"], "BATCH_SIZE", True)
    with settings.MAILQUEUE.steady(), pytest.raises(ImproperlyConfigured, match="BATCH_SIZE"):
        settings.MAILQUEUE.BATCH_SIZE  # noqa: B018


def test_an_environment_in_the_place_of_the_other(monkeypatch):
    """As `mock.patch("os.environ", {...})` puts it there."""
    monkeypatch.setattr(os, "environ", {"MAILQUEUE_QUEUE": "other", "EMAIL_HOST": "mail.example"})
    for _ in range(2):
        with settings.MAILQUEUE.steady():
            assert (settings.MAILQUEUE.QUEUE, settings.EMAIL_HOST) == ("other", "mail.example")
    assert settings.MAILQUEUE.QUEUE == "other"


def test_a_list_from_the_environment_is_ones_own(monkeypatch):
    """Whoever changes the list that they got changes nobody else's."""
    monkeypatch.setenv("ADMINS", "a@example.com,b@example.com")
    settings.ADMINS.append("c@example.com")
    assert settings.ADMINS == ["a@example.com", "b@example.com"]


def test_a_block_that_an_exception_cuts_short_holds_nothing(monkeypatch):
    """A signal's handler may raise before the block has been left, or before it has begun."""

    def ask():
        with settings.MAILQUEUE.steady():
            assert settings.MAILQUEUE.QUEUE

    counting = Interruption()
    counting.during(ask)
    for at in range(counting.passed):
        Interruption(at).during(ask)
        monkeypatch.setenv("MAILQUEUE_QUEUE", f"queue-{at}")
        assert f"queue-{at}" == settings.MAILQUEUE.QUEUE
    assert counting.passed > 5
