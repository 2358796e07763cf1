"""Exceptions of a Django-style backend that say less, or more, than smtplib's own do."""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
import urllib.error
from email.header import Header
from http.client import RemoteDisconnected
from typing import Any

import pytest
import requests
import urllib3
from anymail.exceptions import (
    AnymailAPIError,
    AnymailConfigurationError,
    AnymailInvalidAddress,
    AnymailRecipientsRefused,
    AnymailRequestsAPIError,
    AnymailSerializationError,
    AnymailUnsupportedFeature,
)
from django.core.exceptions import ImproperlyConfigured as DjangosImproperlyConfigured

from mailqueue.errors import BadHeaderError, ImproperlyConfigured
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


# -- by kind: what the exceptions of libraries say


class ClientError(Exception):
    """As botocore raises it, with the answer of Amazon's in it."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(f"An error occurred ({code})")
        self.response = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}


class NoCredentialsError(Exception):
    """botocore's, which found none."""


class EndpointConnectionError(Exception):
    """botocore's, for a service that can't be reached."""


class ReadTimeoutError(Exception):
    """botocore's, for an answer that didn't come in time."""


class SendGridError(Exception):
    """As a service's own library has it, with the status on the exception."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status_code = status


def answered(status: int) -> requests.HTTPError:
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"HTTP {status}", response=response)


def by_anymail(status: int) -> AnymailRequestsAPIError:
    response = requests.Response()
    response.status_code = status
    return AnymailRequestsAPIError("no", response=response)


def said(status: int, body: object) -> AnymailRequestsAPIError:
    """A service that says what is wrong in the body of its answer."""
    error = by_anymail(status)
    error.response._content = json.dumps(body).encode()
    return error


def by_postal(code: str) -> AnymailRequestsAPIError:
    return said(200, {"status": "error", "data": {"code": code, "message": "no"}})


def by_mandrill(name: str) -> AnymailRequestsAPIError:
    return said(500, {"status": "error", "code": -1, "name": name, "message": "no"})


def by_bulk(*statuses: str) -> AnymailAPIError:
    """Amazon's bulk mail, with the status of each of its entries."""
    entries = [{"Status": status, "Error": "no"} for status in statuses]
    answer = {"BulkEmailEntryResults": entries, "ResponseMetadata": {"HTTPStatusCode": 200}}
    return AnymailAPIError("no", response=answer)


def by_urllib(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://localhost/", status, "no", None, None)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


BY_STATUS = [answered, by_anymail, by_urllib, SendGridError]
OURS = [
    *(of(status) for of in BY_STATUS for status in (401, 402, 403, 407)),
    *(
        ClientError(code, status)
        for code, status in [
            ("AccessDeniedException", 403),
            ("InvalidClientTokenId", 403),
            ("SignatureDoesNotMatch", 403),
            ("ExpiredTokenException", 400),
            ("UnrecognizedClientException", 400),
            ("AccountSendingPausedException", 400),
            ("SendingPausedException", 400),
            ("AccountSuspendedException", 400),
        ]
    ),
    *map(by_postal, ["InvalidServerAPIKey", "AccessDenied", "ServerSuspended"]),
    *map(by_mandrill, ["Invalid_Key", "PaymentRequired"]),
    by_bulk("ACCOUNT_SUSPENDED", "ACCOUNT_SUSPENDED"),
    by_bulk("ACCOUNT_SENDING_PAUSED"),
    ImproperlyConfigured("no key"),
    DjangosImproperlyConfigured("no key"),
    AnymailConfigurationError("no key"),
    ModuleNotFoundError("no module named boto3"),
    ssl.SSLCertVerificationError(1, "certificate verify failed"),
    caused(RuntimeError("can't send"), ssl.SSLCertVerificationError(1, "verify failed")),
    caused(RuntimeError("can't send"), DjangosImproperlyConfigured("no key")),
    NoCredentialsError("Unable to locate credentials"),
    smtplib.SMTPNotSupportedError("STARTTLS extension not supported by server."),
]
FOR_GOOD = [
    *(of(status) for of in BY_STATUS for status in (400, 404, 413, 422)),
    ClientError("MessageRejected", 400),
    ClientError("InvalidParameterValue", 400),
    caused(AnymailAPIError("no"), ClientError("MessageRejected", 400)),
    *map(by_postal, ["UnauthenticatedFromAddress", "NoRecipients"]),
    said(200, {"status": "parameter-error", "data": {"message": "no"}}),
    *map(by_mandrill, ["ValidationError", "Unknown_Template", "Unknown_Subaccount"]),
    by_bulk("MESSAGE_REJECTED", "MESSAGE_REJECTED"),
    by_bulk("TEMPLATE_DOES_NOT_EXIST"),
    BadHeaderError("a newline"),
    AnymailUnsupportedFeature("several tags"),
    AnymailInvalidAddress("no domain"),
    AnymailSerializationError("a date"),
    AnymailRecipientsRefused(),
    smtplib.SMTPNotSupportedError("SMTPUTF8 not supported by server"),
    caused(RuntimeError("554 spam"), smtplib.SMTPDataError(554, b"554 spam")),
]
FOR_NOW = [
    *(of(status) for of in BY_STATUS for status in (408, 420, 425, 429, 500, 502, 503, 504)),
    ClientError("Throttling", 400),
    ClientError("ThrottlingException", 400),
    ClientError("TooManyRequestsException", 429),
    ClientError("LimitExceededException", 400),
    ClientError("ServiceUnavailable", 503),
    ClientError("InternalFailure", 500),
    caused(AnymailAPIError("no"), ClientError("Throttling", 400)),
    by_mandrill("GeneralError"),
    said(500, {"status": "error", "data": None}),
    by_bulk("TRANSIENT_FAILURE", "TRANSIENT_FAILURE"),
    by_bulk("ACCOUNT_THROTTLED"),
]
IN_DOUBT = [
    TimeoutError("timed out"),
    ConnectionResetError(104, "Connection reset by peer"),
    BrokenPipeError(32, "Broken pipe"),
    RemoteDisconnected("Remote end closed connection without response"),
    smtplib.SMTPServerDisconnected("Connection unexpectedly closed"),
    requests.ReadTimeout("timed out"),
    requests.Timeout("timed out"),
    caused(requests.ConnectionError("aborted"), urllib3.exceptions.ProtocolError("aborted")),
    requests.exceptions.ChunkedEncodingError("aborted"),
    urllib3.exceptions.ReadTimeoutError(None, "/", "timed out"),
    caused(RuntimeError("can't send"), TimeoutError("timed out")),
    ReadTimeoutError("timed out"),
    *(of(status) for of in (answered, by_anymail) for status in (200, 202)),
    said(200, {"status": "success", "data": {}}),
    said(200, ["error"]),
    by_bulk("SUCCESS", "SUCCESS"),
    by_bulk("SUCCESS", "MESSAGE_REJECTED"),
]
NOT_REACHED = [
    ConnectionRefusedError(111, "Connection refused"),
    socket.gaierror(-2, "Name or service not known"),
    requests.ConnectTimeout("timed out"),
    requests.exceptions.ProxyError("no"),
    caused(requests.ConnectionError("no"), urllib3.exceptions.NewConnectionError(None, "no")),
    caused(urllib.error.URLError("no"), ConnectionRefusedError(111, "Connection refused")),
    EndpointConnectionError("Could not connect to the endpoint URL"),
]


def name_of(error: object) -> str:
    """Its class and, where it has one, its status or code."""
    response = getattr(error, "response", None)
    found: Any = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    for holder in (error, response):
        found = found or getattr(holder, "status_code", None) or getattr(holder, "code", None)
    return f"{type(error).__name__} {found or ''}".strip()


def kinds(
    *tables: tuple[list[Exception], str, int, str],
) -> list[Any]:
    """Each error with the state that it leads to, the attempts charged, and the pause."""
    return [
        pytest.param(error, state, attempts, pause, id=name_of(error))
        for errors, state, attempts, pause in tables
        for error in errors
    ]


@pytest.mark.parametrize("to", [[ANN], [ANN, BOB]], ids=["one", "two"])
@pytest.mark.parametrize(
    ("error", "state", "attempts", "pause"),
    kinds(
        (OURS, "retrying", 0, "alarm"),
        (FOR_GOOD, "failed", 1, "none"),
        (FOR_NOW, "retrying", 1, "none"),
        (IN_DOUBT, "uncertain", 1, "none"),
        (NOT_REACHED, "retrying", 0, "short"),
    ),
)
def test_an_exception_is_read_by_its_kind(error, state, attempts, pause, to, journal):
    """Our own mistakes raise an alarm and cost nothing; what may have been sent is in doubt."""
    rig = Rig.over(Scripted(error), journal)
    rig.accept(letter(*to))
    rig.run()
    record = rig.record()
    if pause == "short" and len(to) > 1:  # one of several servers, perhaps
        attempts, pause = 1, "none"
    assert (str(record.state), record.attempts) == (state, attempts)
    assert type(error).__name__ in record.reply or str(error)[-9:] in record.reply
    seconds = rig.connection.pause
    assert pause == ("alarm" if seconds > 30 else "short" if seconds else "none")
