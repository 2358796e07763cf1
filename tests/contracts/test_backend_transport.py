"""Any Django-style backend as the carrier: what it returns or raises decides, and nothing else."""

from __future__ import annotations

import smtplib
from dataclasses import replace

import pytest
from anymail.exceptions import AnymailAPIError, AnymailRequestsAPIError
from requests import Response

from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Journal, Result
from mailqueue.state import State
from mailqueue.store.client import connect
from tests.contracts.carried import Rig, Scripted, letter, refused
from tests.contracts.journals import POLICY, hasty
from tests.contracts.journals import state as state_of

ANN, BOB, CY = "Ann <ann@example.com>", "bob@example.com", "cy@example.com"


@pytest.fixture
def journal(redis_url: str) -> Journal:
    return Journal(connect(redis_url, 2.0), "q", POLICY)


# -- what it returns


@pytest.mark.parametrize("returned", [1, 2, True])
def test_a_backend_that_reports_a_message_as_sent_has_sent_it(returned, journal):
    """A number of messages that isn't 0 puts each recipient on record as sent."""
    backend = Scripted(returned)
    rig = Rig.over(backend, journal)
    rig.accept(letter(ANN, BOB))
    assert rig.run() == {"sent": 1}
    record = rig.record()
    states = {address: result.state for address, result in record.results.items()}
    assert states == {ANN: State.SENT, BOB: State.SENT}
    assert record.reply == "sent by tests.contracts.carried.Scripted"


def test_a_backend_that_returns_nothing_and_raises_nothing_has_sent_the_message(journal):
    """Who counts nothing is not asked again: each recipient would get it once for each attempt."""
    backend = Scripted(lambda: None)
    rig = Rig.over(backend, journal)
    rig.accept(letter(ANN, BOB))
    assert rig.run() == {"sent": 1}
    assert (rig.again(), len(backend.calls)) == ({}, 1)


@pytest.mark.parametrize("returned", [0, False])
def test_a_backend_that_reports_nothing_as_sent_is_asked_again(returned, journal):
    """Nobody is on record as served, the next attempt is for all, and the last one fails."""
    backend = Scripted(returned, returned, returned)
    rig = Rig.over(backend, journal)
    rig.accept(letter(ANN, BOB))
    assert rig.run() == {"retrying": 1}
    record = rig.record()
    assert (record.results, record.attempts) == ({}, 1)
    assert record.reply == "tests.contracts.carried.Scripted reported nothing as sent"
    assert (rig.again(), rig.again()) == ({"retrying": 1}, {"failed": 1})
    assert backend.served == [[ANN, BOB]] * 3


# -- what it raises


def api_error(code: int) -> AnymailRequestsAPIError:
    response = Response()
    response.status_code = code
    return AnymailRequestsAPIError("no", response=response)


REFUSALS_FOR_GOOD = [
    smtplib.SMTPResponseException(554, b"5.7.1 no"),
    smtplib.SMTPSenderRefused(550, b"5.7.1 no", "from@example.com"),
    smtplib.SMTPDataError(552, "5.3.4 too long"),
    smtplib.SMTPRecipientsRefused({"to@example.com": (550, b"5.1.1 no\nsuch user")}),
]
REFUSALS_FOR_NOW = [
    smtplib.SMTPResponseException(451, b"4.3.0 later"),
    smtplib.SMTPSenderRefused(450, b"4.7.1 later", "from@example.com"),
    smtplib.SMTPDataError(452, b"4.3.1 later"),
    smtplib.SMTPRecipientsRefused({"to@example.com": (450, b"4.2.1 later")}),
    smtplib.SMTPRecipientsRefused({}),
    smtplib.SMTPRecipientsRefused(["to@example.com"]),
    smtplib.SMTPResponseException("no code", b""),
    smtplib.SMTPDataError(250, b"2.0.0 an error all the same"),
    smtplib.SMTPDataError(-1, b"no reply"),
    AnymailAPIError("the service is away"),
    api_error(503),
]


def named(value: object) -> str | None:
    return type(value).__name__ if isinstance(value, Exception) else None


@pytest.mark.parametrize("error", REFUSALS_FOR_GOOD, ids=named)
def test_a_permanent_reply_in_an_exception_is_never_tried_again(error, journal):
    """The recipient failed by the reply, in one line, and nothing is left to be done."""
    backend = Scripted(error)
    rig = Rig.over(backend, journal)
    rig.accept(letter())
    assert rig.run() == {"failed": 1}
    (result,) = rig.record().results.values()
    assert result.state is State.FAILED
    assert result.reply.startswith("55")
    assert result.reply.isprintable()
    assert rig.again() == {}
    assert len(backend.calls) == 1


@pytest.mark.parametrize("error", REFUSALS_FOR_NOW, ids=named)
def test_an_exception_of_mail_is_a_refusal_for_now(error, journal):
    """The attempt counts, its reason is on record, and the next one sends the message."""
    backend = Scripted(error)
    rig = Rig.over(backend, journal)
    rig.accept(letter())
    assert rig.run() == {"retrying": 1}
    record = rig.record()
    assert (record.results, record.attempts) == ({}, 1)
    text = getattr(error, "smtp_error", b"")
    assert text.decode() in record.reply
    assert text or type(error).__name__ in record.reply or "later" in record.reply
    assert rig.again() == {"sent": 1}
    assert len(backend.calls) == 2


def test_a_refusal_at_the_schedules_end_fails_the_message(journal):
    """Without a retry left nobody waits."""
    refusals = refused(ann=(451, b"later"), bob=(450, b"later"))
    rig = Rig.over(Scripted(refusals), journal, retries=0)
    rig.accept(letter(ANN, BOB))
    assert rig.run() == {"failed": 1}
    results = rig.record().results
    assert results[BOB] == Result(State.FAILED, "450 later")
    assert results[ANN].state is State.FAILED


def test_each_recipient_gets_what_the_exception_says_of_it(journal):
    """Who was refused for good isn't tried again; the others are, and only they."""
    replies = {"ann": (550, b"5.1.1 unknown"), "bob": (450, b"4.2.2 full"), "cy": (451, b"busy")}
    backend = Scripted(refused(**replies))
    rig = Rig.over(backend, journal)
    rig.accept(letter(ANN, BOB, CY))
    assert rig.run() == {"retrying": 1}
    assert rig.record().results == {ANN: Result(State.FAILED, "550 5.1.1 unknown")}
    assert rig.again() == {"partial": 1}
    assert backend.calls[1] == [([BOB, CY], f"{ANN}, {BOB}, {CY}")]  # whom the header names
    states = {address: result.state for address, result in rig.record().results.items()}
    assert states == {ANN: State.FAILED, BOB: State.SENT, CY: State.SENT}


def test_a_retry_by_hand_spares_those_who_have_the_message(journal):
    """Who failed is tried once more when a person asks for it, and nobody else."""
    backend = Scripted(refused(ann=(550, b"unknown"), bob=(450, b"later")))
    rig = Rig.over(backend, journal)
    rig.accept(letter(ANN, BOB))
    assert (rig.run(), rig.again()) == ({"retrying": 1}, {"partial": 1})
    assert journal.retry(["m0"]) == ["m0"]
    assert rig.run() == {"sent": 1}
    assert backend.served == [[ANN, BOB], [BOB], [ANN]]


# -- trouble that isn't the message's


TROUBLE = [
    (smtplib.SMTPConnectError(554, b"5.3.2 no service"), 1),
    (smtplib.SMTPHeloError(501, b"5.5.4 who are you"), 1),
    (smtplib.SMTPDataError(421, b"4.3.2 closing"), 1),
    (smtplib.SMTPSenderRefused(421, b"4.3.2 closing", "from@example.com"), 1),
    (smtplib.SMTPRecipientsRefused({"to@example.com": (421, b"4.3.2 closing")}), 1),
    (smtplib.SMTPSenderRefused(530, b"5.7.0 log in", "from@example.com"), 60),
    (smtplib.SMTPAuthenticationError(535, b"5.7.8 no"), 60),
]


@pytest.mark.parametrize(("error", "pause"), TROUBLE, ids=named)
@pytest.mark.parametrize("opening", [False, True], ids=["while sending", "while opening"])
def test_trouble_of_the_server_or_the_settings_costs_no_attempt(opening, error, pause, journal):
    """The mailer is left alone, longer where the mistake is ours, and the message waits."""
    backend = Scripted(opens=error) if opening else Scripted(error)
    rig = Rig.over(backend, journal)
    rig.accept(letter(), letter())
    if opening and type(error) is smtplib.SMTPSenderRefused:
        pause = 1  # there is no MAIL in opening
    assert rig.run("m0", "m1") == {}
    assert pause * 0.5 < rig.connection.pause < pause * 1.2
    record = rig.record()
    assert (record.state, record.attempts, record.results) == (State.RETRYING, 0, {})
    assert record.reply
    assert (len(backend.calls), backend.opened, backend.closed) == (not opening, 1, 1)
    assert rig.record("m1").attempts == 0


def test_a_kept_connection_that_the_server_closed_is_opened_anew_at_once(journal):
    """A 421 on a connection that was open already costs the message nothing."""
    backend = Scripted(1, smtplib.SMTPDataError(421, b"idle for too long"))
    rig = Rig.over(backend, journal)
    rig.accept(letter(), letter())
    assert rig.run("m0", "m1") == {"sent": 2}
    assert (len(backend.calls), backend.opened) == (3, 2)
    assert rig.record("m1").attempts == 1


@pytest.mark.parametrize(
    ("error", "reply", "pause"),
    [
        (ConnectionRefusedError(111, "Connection refused"), "can't connect: ", 1),
        (smtplib.SMTPServerDisconnected("gone"), "can't connect: gone", 1),
        (api_error(503), "can't connect: no", 1),
        (RuntimeError("no key"), "can't open: RuntimeError: no key", 60),
        (AnymailAPIError("no key"), "can't open: AnymailAPIError: no key", 60),
    ],
    ids=named,
)
def test_a_backend_that_can_not_be_opened_sends_nothing_and_fails_nothing(
    error, reply, pause, journal
):
    """What isn't the network's fault is our own mistake, for which the mailer rests longer."""
    backend = Scripted(opens=error)
    rig = Rig.over(backend, journal)
    rig.accept(letter())
    assert rig.run() == {}
    record = rig.record()
    assert (record.state, record.attempts) == (State.RETRYING, 0)
    assert record.reply.startswith(reply)
    assert pause * 0.5 < rig.connection.pause < pause * 1.2
    assert (backend.calls, backend.closed) == ([], 1)


# -- the fence


def test_a_message_that_another_worker_took_over_is_never_handed_to_the_backend(journal):
    """Its token is stale by the time that the backend is open."""
    others = []

    def taken_over() -> None:
        journal.release()
        others.extend(journal.claim([("m0", "")])[0])

    backend = Scripted(opens=taken_over)
    rig = Rig.over(backend, hasty(journal))
    rig.accept(letter())
    assert rig.run() == {"stale": 1}
    assert backend.calls == []
    assert journal.commit(others[0])  # the other one's claim holds


def test_a_journal_that_is_away_keeps_the_message_from_the_backend(journal, monkeypatch):
    """Without the commit on record nothing is sent."""
    backend = Scripted(opens=lambda: monkeypatch.setattr(journal._script, "call", _away))
    rig = Rig.over(backend, journal)
    rig.accept(letter())
    with pytest.raises(JournalUnavailable):
        rig.run()
    monkeypatch.undo()
    assert backend.calls == []
    assert state_of(journal, "m0") is State.SENDING


def _away(*_: object, **__: object) -> None:
    raise JournalUnavailable("the journal is away")


def test_commit_and_last_result_are_on_record_before_the_backend_is_called(journal):
    """Whoever looks while the backend sends finds that message committing, the last one sent."""
    seen = []

    def look() -> int:
        seen.append([state_of(journal, f"m{n}").value for n in range(3)])
        return 1

    rig = Rig.over(Scripted(look, look, look), journal)
    rig.accept(letter(), letter(), letter())
    assert rig.run("m0", "m1", "m2") == {"sent": 3}
    assert [states[: n + 1] for n, states in enumerate(seen)] == [
        ["committing"],
        ["sent", "committing"],
        ["sent", "sent", "committing"],
    ]


def test_a_worker_that_is_stopped_while_the_backend_sends_leaves_the_message_in_doubt(journal):
    """Nobody knows whether it went out: it isn't taken for sent, nor tried again at once."""
    rig = Rig.over(Scripted(SystemExit("a signal")), journal)
    rig.accept(letter(), letter())
    with pytest.raises(SystemExit):
        rig.run("m0", "m1")
    assert [state_of(journal, id_) for id_ in ("m0", "m1")] == [State.UNCERTAIN, State.QUEUED]
    assert rig.record().results == {}
    assert [due.id for due in journal.release()] == ["m1"]


def test_a_worker_that_dies_while_the_backend_sends_leaves_the_message_in_doubt(journal):
    """When the wait for its reply has ended the message is uncertain, until someone decides."""
    at_once = Journal(journal._client, "q", replace(POLICY, reply_wait=0))
    states = []

    def look() -> int:
        assert at_once.release() == []
        states.append(state_of(journal, "m0"))
        return 1

    rig = Rig.over(Scripted(look), at_once)
    rig.accept(letter())
    rig.run()
    assert states == [State.UNCERTAIN]


# -- its connection


@pytest.mark.parametrize("opened", [None, False, True])
def test_one_open_serves_many_messages_one_at_a_time(opened, journal):
    """Whatever `open()` returns, each call gets one message, and one `close()` is the end."""
    backend = Scripted(opens=lambda: opened)
    rig = Rig.over(backend, journal)
    rig.accept(*[letter(f"to{n}@example.com") for n in range(5)])
    assert rig.run(*[f"m{n}" for n in range(5)]) == {"sent": 5}
    assert backend.served == [[f"to{n}@example.com"] for n in range(5)]
    assert all(len(call) == 1 for call in backend.calls)
    assert (backend.opened, backend.closed) == (1, 0)
    rig.connection.close()
    assert (backend.opened, backend.closed) == (1, 1)


def test_a_backend_that_raised_is_opened_anew_for_the_next_message(journal):
    """What its connection is worth after that, nobody knows."""
    backend = Scripted(smtplib.SMTPDataError(554, b"no"))
    rig = Rig.over(backend, journal)
    rig.accept(letter(), letter())
    assert rig.run("m0", "m1") == {"failed": 1, "sent": 1}
    assert (backend.opened, backend.closed) == (2, 1)


def test_a_close_that_raises_costs_no_message(journal, caplog):
    """The next message opens anew and is sent, and so does the worker's end go on."""
    backend = Scripted(OSError("gone"), closes=RuntimeError("not open"))
    rig = Rig.over(backend, journal)
    rig.accept(letter(), letter())
    assert rig.run("m0", "m1") == {"retrying": 1, "sent": 1}
    rig.connection.close()
    assert backend.closed == 2
    assert caplog.text.count("Scripted can't be closed: RuntimeError: not open") == 2


def test_a_close_that_raises_does_not_hide_why_opening_failed(journal):
    """The error that is shown is the first one."""
    rig = Rig.over(Scripted(opens=OSError("no route"), closes=OSError("not open")), journal)
    rig.accept(letter())
    assert rig.run() == {}
    assert rig.record().reply == "can't connect: no route"
