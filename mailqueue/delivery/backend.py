"""Any Django-style backend as the carrier."""

from __future__ import annotations

import logging
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mailqueue.queue.handover import for_backend

from .diagnosis import Diagnosis, diagnose
from .envelope import Outgoing, bare_address
from .fault import building, is_of_system, last_line, machine_trouble
from .outcome import Answer, Outcome, Verdict, printable
from .rest import for_the_rest
from .transport import Turn
from .trouble import (
    MachineTrouble,
    Misconfigured,
    ServerTrouble,
    StaleClaim,
    Unexplained,
    describe,
    trouble_of,
)
from .witness import Transcript, witness

_log = logging.getLogger(__name__)
# What Anymail says of a recipient. With "unknown" the service has taken the message, and Anymail
# can't tell more; what failed for another reason than the address may go better the next time.
_ANYMAIL = {
    "sent": Verdict.ACCEPTED,
    "queued": Verdict.ACCEPTED,
    "unknown": Verdict.ACCEPTED,
    "failed": Verdict.DEFERRED,
    "invalid": Verdict.REFUSED,
    "rejected": Verdict.REFUSED,
}
_MAYBE_SERVED = {Verdict.ACCEPTED, Verdict.IN_DOUBT}
_BY_ENVELOPE = (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused)


class BackendTransport:
    """Any Django-style backend as the carrier, with the guarantees that it allows.

    A backend says of a message how many were sent, or raises. More is known where it sends over
    ``smtplib``, whose server is listened to, and where it leaves ``anymail_status`` behind. What an
    exception doesn't say is read as a refusal for now.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._failed = False
        self._name = f"{type(backend).__module__}.{type(backend).__qualname__}"
        self._have_it_raise()
        try:
            backend.open()
        except BaseException as error:
            self.close()  # it may be open by half, as where the login was refused
            if isinstance(error, OSError):  # smtplib.SMTPException is one
                raise trouble_of(error) from error
            raise

    def _have_it_raise(self) -> None:
        """Without an error nobody would learn why a message wasn't sent, or that it wasn't."""
        if getattr(self._backend, "fail_silently", False):
            with suppress(AttributeError):
                self._backend.fail_silently = False
            if self._backend.fail_silently:
                _log.warning("%s fails silently: what it swallows counts as sent", self._name)

    def deliver(self, turn: Turn, *, room: int = 1) -> Outcome:  # noqa: ARG002
        """Send one message to those of its recipients who are still to get it.

        Raises ServerTrouble where what the backend raises speaks of the settings, or of the server
        and nobody can have got the message. A backend with several servers may have served some
        recipients before one is in trouble: an attempt is charged, so that copies come to an end.
        """
        outgoing = turn.outgoing
        recipients = outgoing.recipients
        with building():
            message = for_backend(outgoing.message, self._backend)
            message = for_the_rest(message, recipients)
        if not turn.commit()[0]:
            raise StaleClaim("another worker has taken the message over")
        transcript = witness(getattr(self._backend, "connection", None))
        try:
            sent = self._backend.send_messages([message])
        except Exception as error:
            self._failed = True
            found = diagnose(error, transcript, answered=_is_answered(message))
            known = _known(message, transcript)
            one_call = transcript is not None or self._serves_by_one_call(recipients)
            _raise_if_not_told(error, found, known)
            if found.trouble is not None and _is_clear(found.trouble, known, one_call):
                raise found.trouble from error
            outcome = _outcome(recipients, {**found.answers, **known}, found.others)
            turned_away = isinstance(error, _BY_ENVELOPE)
            return replace(outcome, turned_away=turned_away, is_whole=one_call)
        return _outcome(recipients, _known(message, transcript), self._answer(sent))

    def _answer(self, sent: Any) -> Answer:
        """What it means for a recipient of whom nothing else is known.

        Nothing at all is returned by backends that send or raise and count nothing. Anymail counts
        none where a receiver of its signal has raised AnymailCancelSend.
        """
        if sent or sent is None:
            return Answer(Verdict.ACCEPTED, f"sent by {self._name}")
        if hasattr(self._backend, "esp_name"):
            return Answer(Verdict.REFUSED, "cancelled by a receiver of Anymail's pre_send")
        return Answer(Verdict.DEFERRED, f"{self._name} reported nothing as sent")

    def has_begun(self, outgoing: Outgoing) -> bool:  # noqa: ARG002
        """Never: a backend sends whole messages."""
        return False

    def is_ready(self, outgoing: Outgoing) -> bool:  # noqa: ARG002
        """Never: nothing is known of how long a backend takes to begin."""
        return False

    def is_busy(self) -> bool:
        """Never: each message is answered before its turn ends."""
        return False

    def is_usable(self) -> bool:
        """Whether it has raised nothing; what its connection is worth after that, nobody knows."""
        return not self._failed

    @property
    def is_encrypted(self) -> bool:
        """Whether it is known to be."""
        connection = getattr(self._backend, "connection", None)
        return isinstance(getattr(connection, "sock", None), ssl.SSLSocket)

    def forgo_chunks(self) -> None:
        """Nothing to do: no backend sends by BDAT."""

    def _serves_by_one_call(self, recipients: Sequence[str]) -> bool:
        """Whether all recipients are served or none: there is one, or Anymail asks its service."""
        return len(recipients) == 1 or hasattr(self._backend, "esp_name")

    def close(self) -> None:
        """Close the backend's connection; what it raises then concerns no message."""
        try:
            self._backend.close()
        except Exception as error:  # noqa: BLE001 - a stranger's backend raises what it likes
            text = f"{type(error).__name__}: {describe(error)}"
            _log.warning("%s can't be closed: %s", self._name, text)

    def drop(self) -> None:
        """Close the backend's connection; there is no other way than politely."""
        self.close()


def _raise_if_not_told(error: Exception, found: Diagnosis, known: Mapping[str, Answer]) -> None:
    """Raise what the error is where it says nothing of the message, and nobody may have that."""
    if not _MAYBE_SERVED.isdisjoint(answer.verdict for answer in known.values()):
        return
    trouble = machine_trouble(error)
    if trouble is None and found.is_unexplained and is_of_system(error):
        trouble = MachineTrouble(last_line(error))
    if trouble is not None:
        raise trouble from error
    if found.is_unexplained:
        raise Unexplained(last_line(error)) from error


def _is_clear(trouble: ServerTrouble, known: Mapping[str, Answer], one_call: bool) -> bool:
    """Whether it is the settings' fault, or nobody can have got the message."""
    if not _MAYBE_SERVED.isdisjoint(answer.verdict for answer in known.values()):
        return False
    return one_call or isinstance(trouble, Misconfigured)


def _known(message: Any, transcript: Transcript | None) -> dict[str, Answer]:
    """What is known of recipients, by bare address: what SMTP's server or Anymail says of each."""
    known = dict(transcript.answers) if transcript is not None else {}
    status = getattr(message, "anymail_status", None)
    recipients = getattr(status, "recipients", None)
    if isinstance(recipients, Mapping):
        http = getattr(getattr(status, "esp_response", None), "status_code", None)
        was_refused = isinstance(http, int) and http >= 400
        for address, found in recipients.items():
            answer = _anymail_answer(found, was_refused)
            if answer is not None:
                known[bare_address(address)] = answer
    return known


def _anymail_answer(found: Any, was_refused: bool) -> Answer | None:
    """What Anymail says of one recipient; ``was_refused`` is whether the service took nothing."""
    status, id_ = getattr(found, "status", None), getattr(found, "message_id", None)
    if status == "unknown" and was_refused:
        return Answer(Verdict.DEFERRED, "refused by the service, which names others")
    if status not in _ANYMAIL:
        return None
    return Answer(_ANYMAIL[status], printable(f"{status}, message id {id_}" if id_ else status))


def _is_answered(message: Any) -> bool:
    """Whether a service has answered Anymail, so that it may have taken the message."""
    status = getattr(message, "anymail_status", None)
    return getattr(status, "esp_response", None) is not None


def _outcome(recipients: Sequence[str], known: Mapping[str, Answer], others: Answer) -> Outcome:
    """The answer to each recipient, however it is spelled; ``others`` to those not known."""
    if len(recipients) == len(known) == 1:
        (others,) = known.values()  # about whom else
    in_lower_case = {address.lower(): answer for address, answer in known.items()}
    answers = {}
    for recipient in recipients:
        address = bare_address(recipient)
        answers[recipient] = known.get(address) or in_lower_case.get(address.lower(), others)
    return Outcome(answers)
