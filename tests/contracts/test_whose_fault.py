"""Whose fault an exception is: the machine's, the message's, or nobody knows whose."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from mailqueue.backends.smtp import EmailBackend
from mailqueue.delivery.backend import BackendTransport
from mailqueue.delivery.batch import Item
from mailqueue.delivery.connection import Connection, Limits
from mailqueue.delivery.executor import Delivery
from mailqueue.delivery.gate.breaker import LocalBreaker, View
from mailqueue.delivery.housekeeper import housekeeper
from mailqueue.delivery.retry import RetryPolicy
from mailqueue.delivery.smtp import session
from mailqueue.delivery.smtp.transport import SmtpTransport
from mailqueue.delivery.trouble import Misconfigured, trouble_of
from mailqueue.errors import JournalUnavailable
from mailqueue.queue.journal import Journal, Record
from mailqueue.state import State
from mailqueue.store.client import connect
from mailqueue.store.sealing import Sealer
from tests.contracts.carried import Scripted, entry, letter
from tests.contracts.journals import POLICY
from tests.scripted import ScriptedServer
from tests.support import wait_until


def of_system(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


THE_MACHINES = [
    *map(of_system, [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC]),
    *map(of_system, [errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS]),
    MemoryError(),
    RuntimeError("can't start new thread"),
    ImportError("libpq.so.5: cannot open shared object file: Too many open files"),
    caused(RuntimeError("can't send"), of_system(errno.EMFILE)),
    caused(ValueError("no such codec"), MemoryError()),
]


class Fails:
    """Raises that error as long as there is one."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def __call__(self) -> None:
        if self.error is not None:
            raise self.error


class Sealed(Sealer):
    """Opens no payload while it fails."""

    def __init__(self, fails: Fails) -> None:
        super().__init__()
        self._fails = fails

    def open(self, text: str) -> str:
        if '"v"' in text:
            self._fails()
        return super().open(text)


class Asked(LocalBreaker):
    """Gives no answer while it fails."""

    def __init__(self, fails: Fails) -> None:
        super().__init__()
        self._fails = fails

    def ask(self) -> View:
        self._fails()
        return super().ask()


@dataclass
class Bench:
    """A journal, and a connection to what delivers, of which something fails at some place."""

    journal: Journal
    connection: Connection
    breaker: LocalBreaker
    policy: RetryPolicy

    def accept(self, *ids: str, to: str = "to@example.com") -> None:
        self.journal.accept([entry(id_, letter(to)) for id_ in ids])

    def run(self, *ids: str) -> dict[str, int]:
        delivery = Delivery(self.journal, self.connection, self.policy, worker="here")
        return dict(delivery.run(map(Item, ids)))

    def record(self, id_: str) -> Record:
        return self.journal.read([id_])[0]

    def wake(self) -> None:
        """Let the worker's rest be over, and all that waits be due."""
        self.connection._rests_until = 0.0
        for id_ in self.journal.ids_at_once(list(State)):
            self.journal._client.hset(f"mailqueue:{{q}}:message:{id_}", "due", 1)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as found:
        yield found


@pytest.fixture
def bench(redis_url: str, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch):
    """Makes one where that fails at that place."""
    opened: list[Connection] = []

    def make(place: str, fails: Fails, backend: Any = None) -> Bench:
        nothing = Fails(ValueError())
        nothing.error = None
        here = {place: fails}.get
        smtp = EmailBackend(host="127.0.0.1", port=server.port)

        def open_transport() -> Any:
            if place == "send":
                return BackendTransport(backend or Scripted(*[fails] * 20))
            if place == "open":
                return BackendTransport(Scripted(opens=fails))
            if place == "connect" and isinstance(fails.error, OSError):
                raise trouble_of(fails.error) from fails.error
            return SmtpTransport(smtp)

        def render(*arguments: Any, **options: Any) -> Any:
            here("render", nothing)()
            return original(*arguments, **options)

        original = session.render
        monkeypatch.setattr(session, "render", render)
        sealer = Sealed(here("rebuild", nothing))
        breaker = Asked(here("ask", nothing))
        journal = Journal(connect(redis_url, 30.0), "q", POLICY, sealer)
        connection = Connection(open_transport, Limits(1000, 1000, 1000), breaker=breaker)
        opened.append(connection)
        return Bench(journal, connection, breaker, RetryPolicy([0.0, 0.0], 1000, 30))

    yield make
    for connection in opened:
        connection.close()


@pytest.mark.parametrize(
    ("place", "error"),
    [
        pytest.param(place, error, id=f"{place}: {error!r}")
        for place in ("ask", "open", "connect", "rebuild", "render", "send")
        for error in THE_MACHINES
        if place != "connect" or isinstance(error, OSError)  # as smtplib raises it
    ],
)
def test_what_the_machine_lacks_costs_no_message_an_attempt(error, place, bench):
    """Wherever it shows: the worker rests, health tells why, and no server is left alone for it."""
    fails = Fails(error)
    found = bench(place, fails)
    found.accept("m0", "m1")
    assert found.run("m0", "m1") == {}
    assert [found.record(id_).attempts for id_ in ("m0", "m1")] == [0, 0]
    assert [found.record(id_).results for id_ in ("m0", "m1")] == [{}, {}]
    assert (found.breaker.look().closed, found.breaker.look().wait) == (True, 0)
    assert found.connection.is_paused()
    (alarm,) = found.journal.alarms()
    assert alarm.source == "here"
    fails.error = None
    found.wake()
    assert not found.connection.is_paused()
    assert found.run("m0", "m1") == {"sent": 2}
    assert [found.record(id_).attempts for id_ in ("m0", "m1")] == [1, 1]
    assert found.journal.alarms() == []


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), MemoryError()], ids=repr)
@pytest.mark.parametrize("place", ["thread", "claim"])
def test_what_the_machine_lacks_before_a_message_is_in_hand_is_told(
    place, error, bench, monkeypatch
):
    """The worker rests too, instead of ending one task after the other in silence."""
    fails = Fails(error)
    found = bench("", fails)
    found.accept("m0")
    others = set(housekeeper._duties)
    places = {"thread": (housekeeper, "add"), "claim": (found.journal, "begin_claim")}
    with monkeypatch.context() as patch:
        patch.setattr(*places[place], lambda *_: fails())
        assert found.run("m0") == {}
    assert found.connection.is_paused()
    (alarm,) = found.journal.alarms()
    assert alarm.reason.startswith(f"the worker lacks {type(error).__name__}")
    assert set(housekeeper._duties) == others
    found.wake()
    assert found.run("m0") == {"sent": 1}
    assert found.journal.alarms() == []


def test_an_alarm_ends_by_itself(client, clock):
    """What nobody takes back, since the worker is gone, is told for as long as it was to be."""
    journal = clock.on(Journal(client, "q", POLICY))
    journal.alarm("here", "the worker lacks room", 120)
    clock.advance(119)
    assert [(found.source, found.reason) for found in journal.alarms()] == [
        ("here", "the worker lacks room")
    ]
    clock.advance(2)
    assert journal.alarms() == []


def test_each_rest_is_longer_than_the_one_before(bench):
    """From a second to half a minute, as long as nothing is sent in between."""
    found = bench("open", Fails(MemoryError()))
    found.accept("m0")
    rests = []
    for _ in range(7):
        found.wake()
        found.run("m0")
        rests.append(round(found.connection.pause))
    assert rests == [1, 2, 4, 8, 16, 30, 30]


@contextmanager
def no_more_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_without_a_file_descriptor_no_certificate_is_taken_for_invalid(bench):
    """Libraries have words of their own for it: a certificate that can't be read isn't known."""
    found = bench("open", Fails(ValueError()))
    found.journal.server()  # over a connection that stays open
    with no_more_files(), pytest.raises(Exception, match="no file can be opened"):
        found.connection._note_error(Misconfigured("unable to get local issuer certificate"))
    assert found.breaker.look().closed


@pytest.mark.parametrize("place", ["rebuild", "render"])
def test_what_a_message_raises_while_it_is_built_is_its_own_fault(place, bench):
    """It fails at once, and costs the next one nothing."""
    fails = Fails(ValueError("no such part"))
    found = bench(place, fails)
    found.accept("m0")
    assert found.run("m0") == {"failed": 1}
    assert found.record("m0").reply == "ValueError: no such part"
    assert found.journal.alarms() == []


@pytest.mark.parametrize("place", ["rebuild", "render"])
def test_a_file_that_a_message_can_not_have_is_no_fault_of_its(place, bench):
    """It may be there a moment later, so nothing fails, and no mail server is in trouble for it."""
    found = bench(place, Fails(FileNotFoundError(2, "No such file or directory", "logo.png")))
    found.accept("m0")
    assert found.run("m0") == {}
    assert (found.record("m0").state, found.record("m0").attempts) == (State.RETRYING, 0)
    assert found.breaker.look().closed


def fails_for(recipient: str) -> Callable[[Any], Any]:
    """A backend that has a bug with that recipient, and sends everything else."""

    class Buggy(Scripted):
        def send_messages(self, email_messages: Any) -> int:
            messages = list(email_messages)
            if recipient in messages[0].recipients():
                raise ZeroDivisionError("a bug")
            return len(messages)

    return Buggy()


def test_an_error_that_comes_again_while_others_are_sent_is_the_messages(bench, caplog):
    """Five times without an attempt; then it failed by the error's last line, with an alarm."""
    found = bench("send", Fails(ValueError()), fails_for("bad@example.com"))
    found.accept("bad", to="bad@example.com")
    ends = []
    for n in range(6):
        found.accept(f"good{n}")
        found.wake()
        ends.append(found.run("bad", f"good{n}"))
        assert found.record("bad").attempts == (1 if n == 5 else 0)
    assert ends == [{"retrying": 1, "sent": 1}] * 5 + [{"failed": 1, "sent": 1}]
    assert found.record("bad").reply == "ZeroDivisionError: a bug"
    (alarm,) = found.journal.alarms()
    assert "message bad fails" in alarm.reason
    assert "message bad fails" in caplog.text


@pytest.mark.parametrize("place", ["ask", "send"])
def test_an_error_of_all_messages_is_no_messages_fault(place, bench):
    """As long as no other is sent, nothing fails; whoever looks at health learns of it."""
    fails = Fails(ZeroDivisionError("a bug"))
    found = bench(place, fails)
    found.accept("m0", "m1")
    for _ in range(8):
        found.wake()
        assert found.run("m0", "m1") == {"retrying": 2}
    assert [found.record(id_).attempts for id_ in ("m0", "m1")] == [0, 0]
    assert "ZeroDivisionError: a bug" in found.journal.alarms()[0].reason
    fails.error = None
    found.wake()
    assert found.run("m0", "m1") == {"sent": 2}


def test_an_operators_retry_counts_errors_anew(bench):
    """A message that failed for one that nobody can explain has five again."""
    found = bench("send", Fails(ValueError()), fails_for("bad@example.com"))
    found.accept("bad", to="bad@example.com")
    for n in range(6):
        found.accept(f"good{n}")
        found.wake()
        found.run("bad", f"good{n}")
    assert found.journal.retry(["bad"]) == ["bad"]
    found.wake()
    assert found.run("bad") == {"retrying": 1}


def test_what_was_handed_over_is_not_handed_over_for_ever(bench):
    """A backend may have sent what it raised about: copies end where attempts would have."""
    found = bench("send", Fails(of_system(errno.ENOSPC)))
    found.policy = RetryPolicy([0.0, 0.0], -1, 30)
    found.accept("m0")
    found.run("m0")
    assert found.record("m0").state is State.FAILED


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("place", ["rebuild", "render", "send"])
def test_a_process_that_ends_in_the_middle_counts_however_it_ends(place, error, bench):
    """As one that is killed: after so many the message has failed, and takes down no more."""
    found = bench(place, Fails(error))
    found.accept("m0", "m1")
    for _ in range(POLICY.max_lost):
        found.wake()
        found.journal.release()
        with pytest.raises(type(error)):
            found.run("m0")
    assert found.record("m0").state is State.FAILED
    assert "the worker was stopped" in found.record("m0").reply
    assert (found.record("m1").state, found.record("m1").attempts) == (State.QUEUED, 0)


class Away(Journal):
    """Can't be reached the first two times that something is given back."""

    times = 2

    def give_back(self, *arguments: Any, **options: Any) -> bool:
        if self.times:
            self.times -= 1
            raise JournalUnavailable("no file for a connection")
        return super().give_back(*arguments, **options)


def test_what_can_not_be_given_back_at_once_is_given_back_before_its_lease_ends(bench):
    """A worker that can't reach the journal for a moment isn't taken for one that vanished."""
    found = bench("open", Fails(of_system(errno.EMFILE)))
    found.accept("m0", "m1")
    found.journal = Away(found.journal._client, "q", POLICY)
    with pytest.raises(JournalUnavailable):
        found.run("m0", "m1")
    wait_until(lambda: found.record("m0").state is found.record("m1").state is State.QUEUED, 10)
    assert [found.record(id_).attempts for id_ in ("m0", "m1")] == [0, 0]
