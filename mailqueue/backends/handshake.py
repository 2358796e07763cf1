"""How an SMTP session begins: the greeting, our name, a login; errors name what to set."""

from __future__ import annotations

import ipaddress
import math
import re
import smtplib
import socket
import ssl

from mailqueue.mail.msgid import DNS_NAME
from mailqueue.oauth2.sasl import quiet
from mailqueue.store.spin import is_readable

from .reach import Reaching

_UNKNOWN_COMMAND = (500, 502)  # to EHLO: the server knows HELO only (RFC 5321 3.2)
# What smtplib's login() knows.
_MECHANISMS = ("CRAM-MD5", "PLAIN", "LOGIN")
# What it raises where the server has none of them, and where it has no logins at all.
_NO_WAY = (smtplib.SMTPException, smtplib.SMTPNotSupportedError)
_SILENCE = 10.0  # seconds; servers that greet late do so to see who doesn't wait for them
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_QUALIFIED = re.compile(rf"(?!localhost\.)(?:{_LABEL}\.)+(?![0-9]+$){_LABEL}")


class SMTP(Reaching):
    """A connection that isn't encrypted, or not yet.

    A server that speaks TLS from the start waits for us to begin, and so says nothing. After ten
    seconds of that it is asked over another connection.
    """

    _share = 1.0  # of the time-out, after which it is asked at the latest; 1 for not at all
    _is_greeted = False

    def getreply(self) -> tuple[int, bytes]:
        """Read a reply. Raises SMTPNotSupportedError instead of waiting for a greeting in vain."""
        if not self._is_greeted and self.sock is not None:
            self._is_greeted = True
            if self._is_waited_for(self.sock):
                self.close()
                raise smtplib.SMTPNotSupportedError(
                    "the server speaks TLS from the start: set EMAIL_USE_SSL (a mailer's option "
                    "use_ssl) instead of EMAIL_USE_TLS, or name its port for STARTTLS, mostly 587"
                )
        return super().getreply()

    def _is_waited_for(self, connected: socket.socket) -> bool:
        """Whether the server is silent since it wants TLS from us."""
        timeout = connected.gettimeout() or math.inf
        quiet = min(_SILENCE, timeout * self._share)
        if quiet == timeout or is_readable(connected, quiet):
            return False
        return _speaks_tls(connected.getpeername(), quiet)


class EncryptingSMTP(SMTP):
    """One that is to be encrypted, which makes it likely that its server speaks TLS already."""

    _share = 0.5


def _speaks_tls(address: tuple[str, int], within: float) -> bool:
    """Whether the server there answers to TLS in so many seconds; nothing is said or believed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(address[:2], within) as plain, context.wrap_socket(plain):
            return True
    except ssl.SSLError as error:
        return "ALERT" in (error.reason or "")  # it doesn't like us, but that is TLS
    except OSError:
        return False


def say_hello(connection: smtplib.SMTP) -> None:
    """Say EHLO, or HELO to a server that knows no other. Raises SMTPHeloError for a refusal."""
    code, text = connection.ehlo()
    if code in _UNKNOWN_COMMAND:
        code, text = connection.helo()
    if not 200 <= code <= 299:
        raise smtplib.SMTPHeloError(code, text)


def own_name(connection: smtplib.SMTP) -> str:
    """By what name to greet a server: this host's, or where it has none in the DNS its address.

    A name alone, such as a container's, is refused by many (RFC 5321 4.1.4, 4.1.3).
    """
    name = str(DNS_NAME)
    if _QUALIFIED.fullmatch(name):
        return name
    if connection.sock is None:
        return name
    return address_literal(connection.sock.getsockname()[0])


def address_literal(written: str) -> str:
    """An IP address as mail writes it: ``[192.0.2.1]``, ``[IPv6:2001:db8::1]``."""
    address = ipaddress.ip_address(written.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        return f"[{address.ipv4_mapped}]" if address.ipv4_mapped else f"[IPv6:{address}]"
    return f"[{address}]"


def log_in(connection: smtplib.SMTP, user: str, password: str) -> None:
    """Log in. Raises SMTPNotSupportedError where the server offers no way that we have."""
    try:
        with quiet(connection):
            connection.login(user, password)
    except smtplib.SMTPException as error:
        if type(error) not in _NO_WAY:
            raise
        raise smtplib.SMTPNotSupportedError(f"{error} {_way_to_log_in(connection)}") from None


def _way_to_log_in(connection: smtplib.SMTP) -> str:
    """What to set where smtplib knew no way."""
    offered = connection.esmtp_features.get("auth", "").upper().split()
    if offered:
        return (
            f"The server offers {', '.join(offered)}, and mailqueue has {', '.join(_MECHANISMS)}; "
            "with EMAIL_OAUTH2 (a mailer's option oauth2) OAUTHBEARER and XOAUTH2"
        )
    are_set = (
        "But EMAIL_HOST_USER and EMAIL_HOST_PASSWORD (a mailer's options username, password) are "
        "set: "
    )
    if connection.has_extn("starttls"):
        return are_set + "it may after STARTTLS, so set EMAIL_USE_TLS (use_tls)"
    return are_set + (
        "set EMAIL_PORT to its port for logins, mostly 587 with EMAIL_USE_TLS or 465 with "
        "EMAIL_USE_SSL, or take the user away if it wants no login"
    )
