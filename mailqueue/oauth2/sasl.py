"""The SASL mechanisms that take a token: OAUTHBEARER (RFC 7628) and XOAUTH2 (Google, Microsoft).

XOAUTH2: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol, and Microsoft's
https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
"""

from __future__ import annotations

import binascii
import smtplib
from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address

from .secrecy import hide
from .token import Token

_CONTINUE = 334  # RFC 4954 4
_LOGGED_IN = (235, 503)  # done; or done before
_REFUSED = 535
_LONGEST_COMMAND = 512  # bytes with its line's end (RFC 5321 4.5.3.1.4)
# How a client ends the exchange after an error: RFC 7628 3.2.3; Google's and Microsoft's pages.
_ENDS = {"OAUTHBEARER": b64encode(b"\x01").decode(), "XOAUTH2": ""}


class TokenRefused(smtplib.SMTPAuthenticationError):
    """The server didn't take the token: a newer one may be taken."""


def log_in_by_token(
    smtp: smtplib.SMTP, server: tuple[str, int], username: str, token: Token
) -> None:
    """Log in to that host and port by the first of OAUTHBEARER and XOAUTH2 that it offers.

    Raises TokenRefused after a 535 or an error in a 334, SMTPAuthenticationError after any other
    refusal, SMTPNotSupportedError where that can't be tried. None of them shows the token, nor do
    the variables of a frame in their tracebacks.
    """
    smtp.ehlo_or_helo_if_needed()
    mechanism = _choose(smtp)
    _refuse_clear_text(smtp)
    try:
        with quiet(smtp):
            code, text, said = _exchange(smtp, mechanism, server, username, token)
    except OSError as error:
        raise error.with_traceback(None) from None
    if code in _LOGGED_IN:
        return
    kind = TokenRefused if said or code == _REFUSED else smtplib.SMTPAuthenticationError
    raise kind(code, f"{text} ({said})".encode() if said else text.encode())


@contextmanager
def quiet(smtp: smtplib.SMTP) -> Iterator[None]:
    """Have smtplib's debug output leave out what a login consists of."""
    level, smtp.debuglevel = smtp.debuglevel, 0
    try:
        yield
    finally:
        smtp.debuglevel = level


def _choose(smtp: smtplib.SMTP) -> str:
    offered = smtp.esmtp_features.get("auth", "").upper().split()
    found = next((mechanism for mechanism in _ENDS if mechanism in offered), None)
    if found is not None:
        return found
    says = f"offers {' '.join(offered)}" if offered else "offers no login"
    hint = "" if _is_encrypted(smtp) else "; over TLS it may offer more: EMAIL_USE_TLS"
    raise smtplib.SMTPNotSupportedError(
        f"OAuth2 needs a server with OAUTHBEARER or XOAUTH2, and this one {says}{hint}"
    )


def _refuse_clear_text(smtp: smtplib.SMTP) -> None:
    """Whoever reads a token may use it: it is sent encrypted (RFC 7628 4), or to this machine."""
    assert smtp.sock is not None  # noqa: S101 - it has said EHLO
    peer = smtp.sock.getpeername()
    is_here = not isinstance(peer, tuple) or _is_loopback(peer[0])
    if not (_is_encrypted(smtp) or is_here):
        raise smtplib.SMTPNotSupportedError(
            "OAuth2 sends its token only over TLS: set EMAIL_USE_TLS (port 587) or EMAIL_USE_SSL "
            "(port 465), as a mailer's options use_tls or use_ssl"
        )


def _is_loopback(address: str) -> bool:
    found = ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return (mapped or found).is_loopback


def _is_encrypted(smtp: smtplib.SMTP) -> bool:
    return hasattr(smtp.sock, "cipher")


def _response(mechanism: str, server: tuple[str, int], username: str, token: str) -> str:
    """The client's only response, its fields ended by ^A."""
    if mechanism == "XOAUTH2":
        return f"user={username}\x01auth=Bearer {token}\x01\x01"
    name = username.replace("=", "=3D").replace(",", "=2C")  # RFC 5801 4
    host, port = server
    return f"n,a={name},\x01host={host}\x01port={port}\x01auth=Bearer {token}\x01\x01"


def _exchange(
    smtp: smtplib.SMTP, mechanism: str, server: tuple[str, int], username: str, token: Token
) -> tuple[int, str, str]:
    """Say who we are; return the last reply, and the error of a 334 before it."""
    response = b64encode(_response(mechanism, server, username, token.text).encode()).decode()
    command = f"AUTH {mechanism}"
    is_short = len(command) + len(response) + 3 <= _LONGEST_COMMAND
    code, text = smtp.docmd(f"{command} {response}" if is_short else command)
    if code == _CONTINUE and not text.strip():  # what was too long, or not read, it asks for
        code, text = smtp.docmd(response)
    said = ""
    if code == _CONTINUE:
        said = _decode(text)
        code, text = _end(smtp, mechanism)
    secrets = {"token": [token.text, response]}
    return code, hide(text.decode("utf-8", "replace"), secrets), hide(said, secrets)


def _end(smtp: smtplib.SMTP, mechanism: str) -> tuple[int, bytes]:
    """End an exchange that has failed; some servers close, instead of a last reply."""
    try:
        return smtp.docmd(_ENDS[mechanism])
    except smtplib.SMTPServerDisconnected:
        return _REFUSED, b"the server closed after its error"


def _decode(challenge: bytes) -> str:
    """The JSON that says what is wrong with the token, or what else there is."""
    try:
        return b64decode(challenge, validate=True).decode("utf-8", "replace")
    except binascii.Error:
        return challenge.decode("utf-8", "replace")
