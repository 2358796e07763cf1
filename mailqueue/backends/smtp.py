"""The backend that hands messages to an SMTP server."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import threading
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from mailqueue.conf import settings
from mailqueue.errors import InvalidMailer
from mailqueue.mail.address import envelope_address, needs_smtputf8
from mailqueue.mail.msgid import DNS_NAME
from mailqueue.mail.rendering.flatten import flatten

from .base import BaseEmailBackend

_PORTS = {"ssl": 465, "tls": 587, "none": 25}


class EmailBackend(BaseEmailBackend):
    """Sends messages over one SMTP connection, which may be kept open between calls.

    An argument that is None is taken from the matching setting; as a mailer of ``MAILERS``, from
    nowhere: then ``host`` is required, and the port follows from the kind of encryption. Safe to
    use from several threads, one at a time.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        use_tls: bool | None = None,
        fail_silently: bool = False,
        use_ssl: bool | None = None,
        timeout: float | None = None,
        ssl_keyfile: str | None = None,
        ssl_certfile: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(fail_silently, **kwargs)
        self.use_tls = bool(self._value("EMAIL_USE_TLS", use_tls))
        self.use_ssl = bool(self._value("EMAIL_USE_SSL", use_ssl))
        self._check(host)
        self.host = host or settings.EMAIL_HOST
        self.port = port or self._default_port()
        self.username = self._value("EMAIL_HOST_USER", username)
        self.password = self._value("EMAIL_HOST_PASSWORD", password)
        self.timeout = self._value("EMAIL_TIMEOUT", timeout)
        self.ssl_keyfile = self._value("EMAIL_SSL_KEYFILE", ssl_keyfile)
        self.ssl_certfile = self._value("EMAIL_SSL_CERTFILE", ssl_certfile)
        self.connection: Any = None  # an smtplib.SMTP while it is open, else None
        self._lock = threading.RLock()

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """The class of the connection, which speaks TLS from the start or doesn't."""
        return smtplib.SMTP_SSL if self.use_ssl else smtplib.SMTP

    @cached_property
    def ssl_context(self) -> ssl.SSLContext:
        """Checks certificates and names against the system's authorities; TLS 1.2 or later."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.ssl_certfile or self.ssl_keyfile:
            context.load_cert_chain(self.ssl_certfile or "", self.ssl_keyfile)
        return context

    def open(self) -> bool | None:
        """Connect, encrypt and log in, unless that is done; True if this call did it.

        Raises OSError (``smtplib.SMTPException`` is one) unless ``fail_silently``, then None.
        """
        with self._lock:
            if self.connection is not None:
                return False
            try:
                self.connection = self._connect()
            except OSError:
                if not self.fail_silently:
                    raise
                return None
            return True

    def close(self) -> None:
        # Waits for a message that another thread is sending: QUIT would end up in its middle.
        with self._lock:
            connection, self.connection = self.connection, None
            if connection is None:
                return
            # What was sent has been answered: a server that is gone before it hears QUIT is no
            # error, and raising it here would make the caller send the same messages again.
            with contextlib.suppress(OSError):
                connection.quit()
            connection.close()

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        """Send the messages over one connection; return how many were sent.

        Raises OSError unless ``fail_silently``; always ValueError, for a bad header or address.
        """
        messages = list(email_messages or ())
        if not messages:
            return 0
        with self._lock:
            opened = self.open()
            if self.connection is None:
                return 0
            try:
                return sum(self._send(message) for message in messages)
            finally:
                if opened:
                    self.close()

    def _send(self, message: Any) -> bool:
        recipients = [envelope_address(address) for address in message.recipients()]
        if not recipients:
            return False
        from_email = message.from_email
        sender = envelope_address(settings.DEFAULT_FROM_EMAIL if from_email is None else from_email)
        try:
            self._transmit(message, sender, list(dict.fromkeys(recipients)))
        except OSError as error:
            self._forget_if_lost(error)
            if not self.fail_silently:
                raise
            return False
        return True

    def _transmit(self, message: Any, sender: str, recipients: list[str]) -> None:
        if self.connection is None:
            raise smtplib.SMTPServerDisconnected(f"The connection to {self.host} is closed")
        options = []
        utf8 = needs_smtputf8([sender, *recipients])
        if utf8:
            self._require_smtputf8([sender, *recipients])
            options.append("SMTPUTF8")
        takes_8bit = self.connection.has_extn("8bitmime")
        data = flatten(message, linesep="\r\n", seven_bit=not (takes_8bit or utf8), utf8=utf8)
        if takes_8bit and not data.isascii():
            options.append("BODY=8BITMIME")
        self.connection.sendmail(sender, recipients, data, mail_options=options)

    def _require_smtputf8(self, addresses: list[str]) -> None:
        if not self.connection.has_extn("smtputf8"):
            address = next(address for address in addresses if not address.isascii())
            raise ValueError(
                f"Invalid address {address!r}: local-part contains non-ASCII characters, and the "
                f"server {self.host} does not offer SMTPUTF8"
            )

    def _forget_if_lost(self, error: OSError) -> None:
        connection = self.connection
        answered = isinstance(error, smtplib.SMTPException)
        if connection is None or (answered and connection.sock is not None):
            return
        # Closed by smtplib (after a 421, say), or in the middle of a command: it can't be used
        # again, and open() must make another.
        connection.close()
        self.connection = None

    def _connect(self) -> smtplib.SMTP:
        options: dict[str, Any] = {"local_hostname": str(DNS_NAME)}
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.use_ssl:
            options["context"] = self.ssl_context
        connection = self.connection_class(self.host, self.port, **options)
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: smtplib.SMTP) -> None:
        if self.use_tls:
            connection.starttls(context=self.ssl_context)
        if self.username and self.password:
            connection.login(self.username, self.password)
        connection.ehlo_or_helo_if_needed()

    def _value(self, setting: str, given: Any) -> Any:
        return getattr(settings, setting) if given is None and self.alias is None else given

    def _default_port(self) -> int:
        if self.alias is None:
            return settings.EMAIL_PORT
        return _PORTS["ssl" if self.use_ssl else "tls" if self.use_tls else "none"]

    def _check(self, host: str | None) -> None:
        if self.alias is not None and not host:
            raise InvalidMailer("OPTIONS must define 'host'.", alias=self.alias)
        if not (self.use_tls and self.use_ssl):
            return
        if self.alias is not None:
            raise InvalidMailer(
                "The 'use_ssl' and 'use_tls' OPTIONS are incompatible. "
                "Set at most one of them to True.",
                alias=self.alias,
            )
        raise ValueError(
            "EMAIL_USE_TLS/EMAIL_USE_SSL are mutually exclusive, so only set one of those "
            "settings to True."
        )
