"""Exceptions of a Django-style backend that say less, or more, than smtplib's own do."""

from __future__ import annotations

import smtplib
from email.header import Header

import pytest

from mailqueue.queue.journal import Journal, Result
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.carried import Rig, Scripted, letter, refused
from tests.contracts.journals import POLICY

ANN, BOB = "Ann <ann@example.com>", "bob@example.com"


@pytest.fixture
def journal(redis_url: str) -> Journal:
    return Journal(connect(redis_url, 30.0), "q", POLICY)


def test_who_is_not_named_among_the_refused_is_in_doubt(journal):
    """A backend that raises what sendmail() returned has served those whom that leaves out."""
    rig = Rig.over(Scripted(refused(ann=(550, b"unknown"))), journal)
    rig.accept(letter(ANN, BOB))
    assert rig.run() == {"uncertain": 1}
    assert rig.record().results == {ANN: Result(State.FAILED, "550 unknown")}


@pytest.mark.parametrize(
    "name",
    ["Ann", "Анна Владимировна Константинопольская-Преображенская", "Ann " * 30],
    ids=["short", "long in another script", "long"],
)
def test_a_refusal_is_found_by_whatever_name(name, journal):
    """Also by one that Django folds, and that has line ends in the exception."""
    written = f"{Header(name, 'utf-8').encode()} <ann@example.com>"
    error = smtplib.SMTPRecipientsRefused({written: (550, b"unknown")})
    rig = Rig.over(Scripted(error), journal)
    rig.accept(letter(f"{name} <ann@example.com>", BOB))
    rig.run()
    assert [result.reply for result in rig.record().results.values()] == ["550 unknown"]


def test_trouble_of_one_of_several_servers_costs_an_attempt(journal):
    """Some recipients may have been served by another, again and again if nothing was charged."""
    rig = Rig.over(Scripted(smtplib.SMTPConnectError(421, b"busy")), journal)
    rig.accept(letter(ANN, BOB))
    assert rig.run() == {"retrying": 1}
    assert rig.record().attempts == 1


class Unspeakable(smtplib.SMTPResponseException):
    """An exception whose text can't be had, as of Anymail's without a response."""

    def __init__(self) -> None:
        self.smtp_code = 550

    def __str__(self) -> str:
        raise AttributeError("response")


@pytest.mark.parametrize("opening", [False, True], ids=["while sending", "while opening"])
@pytest.mark.parametrize(
    "error",
    [Unspeakable(), smtplib.SMTPAuthenticationError(535, None), smtplib.SMTPConnectError(421, 5)],
    ids=["no text", "no reply", "a number"],
)
def test_an_exception_that_can_not_be_shown_is_read_all_the_same(opening, error, journal):
    """It has no part in what becomes of the message."""
    rig = Rig.over(Scripted(opens=error) if opening else Scripted(error), journal)
    rig.accept(letter(ANN))
    rig.run()
    assert rig.record().state is State.RETRYING
