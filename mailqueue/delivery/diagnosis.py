"""What an exception of somebody's backend says: of the server, the settings, or the message.

Libraries are known by the names of their exceptions, so that none of them has to be installed.
"""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, NamedTuple

from mailqueue.errors import TokenUnavailable

from .envelope import bare_address
from .outcome import Answer, Reply, Verdict
from .refusal import advice
from .trouble import LOGIN_WANTED, Misconfigured, ServerTrouble, as_text, describe, trouble_of
from .witness import Transcript

# What smtplib raises before any message is under way.
_IN_OPENING = (
    smtplib.SMTPConnectError,
    smtplib.SMTPHeloError,
    smtplib.SMTPAuthenticationError,
    smtplib.SMTPNotSupportedError,
    TokenUnavailable,
)
_SERVICE_NOT_AVAILABLE = 421  # RFC 5321 3.8: about the server, whatever the command was
# smtplib's own words, as a 500, for a reply that it doesn't read; a server's are bytes.
_UNREAD = "Line too long."
# A backend that raises this may have served those whom it doesn't name.
_NOT_NAMED = Answer(Verdict.IN_DOUBT, "others were refused, and nothing was said of this one")
_UNFIT = (ValueError, TypeError, LookupError)  # what building a message raises
_LONGEST_CHAIN = 10  # of exceptions that led to one another

# The message's own fault, which no retry would mend: ours, Django's, Anymail's.
_FOR_GOOD = {
    "BadHeaderError", "AnymailUnsupportedFeature", "AnymailInvalidAddress",
    "AnymailSerializationError", "AnymailRecipientsRefused",
}  # fmt: skip
# By these a library says that the mail wasn't taken, for whatever reason.
_OF_MAIL = {"SMTPException", "AnymailError", "RequestException", "BotoCoreError", "ClientError"}
# Our own mistakes: settings, certificates, packages, credentials (the latter are botocore's).
_OURS = {
    "ImproperlyConfigured", "ImportError", "NotImplementedError", "SSLCertVerificationError",
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError",
    "TokenRetrievalError", "UnauthorizedSSOTokenError", "NoRegionError", "ProfileNotFound",
}  # fmt: skip
# Nothing was sent: Python's, then requests' and urllib3's, httpx's, botocore's.
_NOT_REACHED = {
    "ConnectionRefusedError", "gaierror",
    "ConnectTimeout", "ConnectTimeoutError", "NewConnectionError", "ProxyError",
    "ConnectError", "PoolTimeout",
    "EndpointConnectionError", "ProxyConnectionError",
}  # fmt: skip
# It may have been sent before the connection was lost, or the wait for the answer ended.
_LOST = {
    "TimeoutError", "ConnectionResetError", "BrokenPipeError", "ConnectionAbortedError",
    "SMTPServerDisconnected", "IncompleteRead", "SSLEOFError",
    "Timeout", "ReadTimeoutError", "ProtocolError", "ChunkedEncodingError",
    "TimeoutException", "NetworkError", "RemoteProtocolError",
    "ConnectionClosedError",
}  # fmt: skip
# What ssl says where server and settings don't agree whether, or how, to encrypt.
_NO_TLS = {
    "WRONG_VERSION_NUMBER", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE",
    "TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_HANDSHAKE_FAILURE",
}  # fmt: skip

# HTTP statuses (RFC 9110 15; 402 is used where an account is out of credits) that say: not you.
_HTTP_OURS = {401, 402, 403, 407}
_HTTP_FOR_NOW = {408, 420, 423, 425, 429}  # 420 is SparkPost's, beyond what may be sent an hour
# Codes in an answer's body, which tell more than the status that they come with: Amazon's, those of
# its bulk mail, then Mandrill's, which come with 500, and Postal's, which come with 200.
_CODES_OURS = (
    "AccessDenied", "AccountSendingPaused", "AccountSuspended", "AuthFailure", "ExpiredToken",
    "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId", "InvalidSignature",
    "MissingAuthenticationToken", "NotAuthorized", "OptInRequired", "SendingPaused",
    "SignatureDoesNotMatch", "UnrecognizedClient",
    "ACCOUNT_SENDING_PAUSED", "ACCOUNT_SUSPENDED", "CONFIGURATION_SET_SENDING_PAUSED",
    "Invalid_Key", "PaymentRequired",
    "InvalidServerAPIKey", "ServerSuspended",
)  # fmt: skip
_CODES_FOR_NOW = (
    "InternalFailure", "InternalService", "LimitExceeded", "RequestExpired", "RequestLimitExceeded",
    "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttl", "TooManyRequests",
    "ACCOUNT_DAILY_QUOTA_EXCEEDED", "ACCOUNT_THROTTLED", "FAILED", "TRANSIENT_FAILURE",
    "GeneralError",
)  # fmt: skip
_CODES_FOR_GOOD = ("ValidationError", "Unknown_")  # Mandrill's


class Diagnosis(NamedTuple):
    """What an exception says.

    ``answers`` are those to the recipients that it names, by bare address, and ``others`` the one
    to the rest. If there is ``trouble``, it speaks of the server or of our own mistake.
    """

    others: Answer
    answers: Mapping[str, Answer] = MappingProxyType({})
    trouble: ServerTrouble | None = None
    is_lost: bool = False  # the connection was, or the wait for an answer had an end
    is_unexplained: bool = False  # neither the message nor the server is known to be at fault


def diagnose(
    error: Exception, transcript: Transcript | None = None, *, answered: bool = False
) -> Diagnosis:
    """Read what a backend raised while it sent a message.

    ``transcript`` is what the server said by SMTP; ``answered`` is whether a service has answered
    by HTTP. What isn't known means "refused for now" where a library of mail says it, and is
    unexplained else.
    """
    text = _type_and_text(error)
    if not _FOR_GOOD.isdisjoint(_names(error)):
        return Diagnosis(Answer(Verdict.REFUSED, text))
    found = _read(error, text)
    if found is not None:
        knows_better = found.is_lost and transcript is not None and transcript.has_begun
        return _of_trouble(ServerTrouble(f"connection lost: {text}")) if knows_better else found
    if answered:
        return Diagnosis(Answer(Verdict.IN_DOUBT, f"the service has answered, and then: {text}"))
    if transcript is not None and not transcript.has_begun and isinstance(error, _UNFIT):
        return Diagnosis(Answer(Verdict.REFUSED, text))
    is_told = any(not _OF_MAIL.isdisjoint(_names(link)) for link in _chain(error))
    return Diagnosis(Answer(Verdict.DEFERRED, text), is_unexplained=not is_told)


def _read(error: Exception, text: str) -> Diagnosis | None:
    for read in (_read_smtp, _read_mistake, _read_http, _read_connection):
        for link in _chain(error):
            found = read(link, text)
            if found is not None:
                return found
    return None


def _http_status(error: BaseException) -> int | None:
    """The status of the answer by HTTP that the exception carries, if there is one."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):  # botocore's
        found = response.get("ResponseMetadata")
        candidates = [found.get("HTTPStatusCode")] if isinstance(found, Mapping) else []
    else:
        candidates = [getattr(one, "status_code", None) for one in (error, response)]
    if "HTTPError" in _names(error):  # urllib's
        candidates.append(getattr(error, "code", None))
    for status in candidates:
        if isinstance(status, int) and 100 <= status < 600:
            return status
    return None


def _read_smtp(error: BaseException, text: str) -> Diagnosis | None:
    if isinstance(error, smtplib.SMTPNotSupportedError) and "SMTPUTF8" in text:
        return Diagnosis(Answer(Verdict.REFUSED, text))  # an address that isn't ASCII, RFC 6531
    if isinstance(error, _IN_OPENING):
        return _of_trouble(trouble_of(error))
    replies = _replies_in(error)
    for reply in replies.values():
        if reply.code == _SERVICE_NOT_AVAILABLE:
            return _of_trouble(ServerTrouble(str(reply)))
        if reply.code in LOGIN_WANTED and isinstance(error, smtplib.SMTPSenderRefused):
            return _of_trouble(Misconfigured(advice(str(reply))))
    if not replies:
        return None
    answers = {address: _refusal(reply) for address, reply in replies.items()}
    return Diagnosis(answers.get("", _NOT_NAMED), answers)


def _replies_in(error: BaseException) -> Mapping[str, Reply]:
    """The replies that the exception names, by the address that each is about; '' is for all."""
    # Others than smtplib raise these too, and put anything into them.
    with suppress(AttributeError, TypeError, ValueError):
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            # As RCPT had them, without the names that stand in the message.
            refused = error.recipients.items()
            return {bare_address(a): Reply(int(code), as_text(t)) for a, (code, t) in refused}
        if isinstance(error, smtplib.SMTPResponseException) and error.smtp_error != _UNREAD:
            return {"": Reply(int(error.smtp_code), as_text(error.smtp_error))}
    return {}


def _refusal(reply: Reply) -> Answer:
    refused = reply.verdict is Verdict.REFUSED
    return Answer(Verdict.REFUSED if refused else Verdict.DEFERRED, str(reply))


def _read_mistake(error: BaseException, text: str) -> Diagnosis | None:
    no_tls = isinstance(error, ssl.SSLError) and getattr(error, "reason", "") in _NO_TLS
    if no_tls or not _OURS.isdisjoint(_names(error)):
        return _of_trouble(Misconfigured(text))
    return None


def _read_http(error: BaseException, text: str) -> Diagnosis | None:
    status, code = _http_status(error), _code(error)
    if status in _HTTP_OURS or code.startswith(_CODES_OURS):
        return _of_trouble(Misconfigured(text))
    if status is None and not code:
        return None
    if status in _HTTP_FOR_NOW or code.startswith(_CODES_FOR_NOW):
        return Diagnosis(Answer(Verdict.DEFERRED, text))
    hundreds = 0 if status is None else status // 100
    if hundreds == 2 and not code:
        return Diagnosis(Answer(Verdict.IN_DOUBT, f"accepted, and then: {text}"))
    for_good = hundreds in (2, 4) or code.startswith(_CODES_FOR_GOOD)
    return Diagnosis(Answer(Verdict.REFUSED if for_good else Verdict.DEFERRED, text))


def _code(error: BaseException) -> str:
    """The word for what is wrong in the body of a service's answer; '' if there is none."""
    response: Any = getattr(error, "response", None)
    with suppress(Exception):  # a service answers what it likes
        if isinstance(response, Mapping):
            return _code_of_amazon(response)
        found = response.json()
        if found["status"] in ("error", "parameter-error"):  # Mandrill's or Postal's
            return str(found.get("name") or found["data"].get("code") or found["status"])
    return ""


def _code_of_amazon(response: Mapping[str, Any]) -> str:
    """Botocore's code, or the one that all entries of bulk mail have in common."""
    if "BulkEmailEntryResults" in response:
        (status,) = {entry["Status"] for entry in response["BulkEmailEntryResults"]}
        return "" if status == "SUCCESS" else str(status)
    return str(response["Error"].get("Code") or "")


def _read_connection(error: BaseException, text: str) -> Diagnosis | None:
    names = _names(error)
    if not _NOT_REACHED.isdisjoint(names):
        return _of_trouble(ServerTrouble(f"can't connect: {text}"))
    if not _LOST.isdisjoint(names):
        return Diagnosis(Answer(Verdict.IN_DOUBT, f"no answer: {text}"), is_lost=True)
    return None


def _of_trouble(trouble: ServerTrouble) -> Diagnosis:
    """Where it costs an attempt all the same, it is a refusal for now."""
    return Diagnosis(Answer(Verdict.DEFERRED, trouble.reply), trouble=trouble)


def _names(error: BaseException) -> set[str]:
    return {kind.__name__ for kind in type(error).__mro__}


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that led to it, the newest first."""
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield link
        context = None if link.__suppress_context__ else link.__context__
        link = link.__cause__ or context


def _type_and_text(error: Exception) -> str:
    return f"{type(error).__name__}: {describe(error)}"
