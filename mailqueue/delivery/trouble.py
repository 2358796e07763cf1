"""What keeps a message from being sent without any fault of its own."""

from __future__ import annotations

import re
import smtplib
import ssl

from mailqueue.errors import MailqueueError, TokenUnavailable

from .outcome import printable
from .refusal import SET_NAME, advice, is_name_refused

# What is said to HELO or EHLO of its name, besides what names them.
_BAD_NAME = re.compile(r"504\b|501\b.*\b(?:domain|name|hostname)\b", re.I)
_LOST = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
# What OpenSSL says of a server that greets instead of beginning with TLS.
_NO_TLS = ("WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
_SET_NO_SSL = (
    "the server doesn't speak TLS from the start: set EMAIL_USE_TLS instead of EMAIL_USE_SSL (a "
    "mailer's options use_tls, use_ssl), or name its port for TLS, mostly 465"
)
_SET_NO_TLS = (
    "name its port for STARTTLS, mostly 587, or take EMAIL_USE_TLS away, a mailer's option use_tls"
)

# RFC 4954 6. The last three belong to AUTH; of a login that has ended, servers say them to MAIL.
LOGIN_WANTED = frozenset({530, 534, 535, 538})


class ServerTrouble(MailqueueError):
    """The server can't be used now: connect, TLS, banner, EHLO, AUTH, a 421, a lost connection.

    It is nobody's fault that the message at hand could have mended, so it costs it no attempt. The
    message was surely not accepted. ``reply`` says what happened.
    """

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class Misconfigured(ServerTrouble):
    """Trouble that is our own mistake, so that only a person can mend it.

    A login refused, a certificate that isn't valid, a name that the server doesn't take, TLS where
    there is none, a backend that doesn't exist.
    """


class ChunkingRefused(ServerTrouble):
    """The server refused BDAT, which it had offered: another connection does without."""


class Paused(ServerTrouble):
    """The server was not even tried: it is left alone for a while. ``reply`` says since what."""


class Withheld(MailqueueError):
    """The message was refused, and that is, or may be, our own mistake: it costs no attempt.

    ``reply`` says what happened, ``wait`` in how many seconds to try again.
    """

    def __init__(self, reply: str, wait: float) -> None:
        super().__init__(reply)
        self.reply = reply
        self.wait = wait


class MachineTrouble(MailqueueError):
    """This process or its machine lacks what it needs: files, memory, threads, room on a disk.

    No message and no server can help it. It costs no attempt, and doesn't open the breaker, which
    would keep other machines from sending. The message was surely not accepted, unless a foreign
    backend raised it amid a message. ``reply`` says what happened.
    """

    def __init__(self, reply: str) -> None:
        super().__init__(reply)
        self.reply = reply


class Unfit(MailqueueError):
    """The message can't be rebuilt or rendered, which no further try would mend."""


class Unexplained(MailqueueError):
    """An error of a foreign backend that says nothing of the server, nor of the message."""


class StaleClaim(MailqueueError):
    """The message was taken over by another worker: the final dot must not be sent."""


def trouble_of(error: OSError) -> ServerTrouble:
    """What it means that a connection could not be opened, encrypted or logged in."""
    if isinstance(error, TokenUnavailable):
        return Misconfigured(describe(error))
    reply = f"can't connect: {describe(error)}"
    text = getattr(error, "smtp_error", None)
    if isinstance(error, smtplib.SMTPResponseException) and isinstance(text, bytes | str):
        reply = f"{error.smtp_code} {as_text(text)}"
    if _is_name_refused(error, reply):
        return Misconfigured(f"{reply} ({SET_NAME})")
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS:
        reply += f" ({_SET_NO_SSL})"
    if str(error).startswith("STARTTLS extension not supported"):
        reply += f" ({_SET_NO_TLS})"
    return Misconfigured(advice(reply)) if _is_ours(error) else ServerTrouble(reply)


def _is_ours(error: OSError) -> bool:
    """Whether settings have to be mended: ours, or the server's where it doesn't do as agreed."""
    refused = (smtplib.SMTPAuthenticationError, smtplib.SMTPNotSupportedError)
    # What smtplib raises where server and client have no AUTH mechanism in common.
    no_mechanism = type(error) is smtplib.SMTPException
    return no_mechanism or isinstance(error, refused) or _is_no_tls(error)


def _is_no_tls(error: OSError) -> bool:
    """Whether server and client don't agree about TLS, which no further try would mend."""
    if isinstance(error, ssl.SSLError):
        # What ends the connection says nothing of settings, nor does a fault at the server's end.
        return not isinstance(error, _LOST) and "INTERNAL_ERROR" not in (error.reason or "")
    # What smtplib raises for a refused STARTTLS.
    return type(error) is smtplib.SMTPResponseException and error.smtp_code >= 500


def _is_name_refused(error: OSError, reply: str) -> bool:
    if not isinstance(error, smtplib.SMTPHeloError):
        return False
    return bool(_BAD_NAME.match(reply)) or is_name_refused(reply)


def describe(error: BaseException) -> str:
    """Its text in one line, or nothing where even that can't be had, as of some of Anymail's."""
    try:
        return printable(str(error))
    except Exception:  # noqa: BLE001 - see above
        return ""


def as_text(text: bytes | str) -> str:
    """A server's words as one line of printable text."""
    return printable(text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text))
