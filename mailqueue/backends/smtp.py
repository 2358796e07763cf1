"""The backend that hands messages to an SMTP server."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
import threading
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from mailqueue.conf import settings
from mailqueue.conf.keys import QueueSettings
from mailqueue.errors import InvalidMailer
from mailqueue.mail.address import envelope_address, needs_smtputf8
from mailqueue.mail.rendering.flatten import flatten
from mailqueue.oauth2.cache import tokens
from mailqueue.oauth2.identity import identify
from mailqueue.oauth2.sasl import TokenRefused, log_in_by_token
from mailqueue.oauth2.source import Source, find_source
from mailqueue.oauth2.token import Token

from .base import BaseEmailBackend
from .handshake import SMTP, EncryptingSMTP, log_in, own_name, say_hello
from .reach import ReachingTLS, endure_loss

_OPTIONS = ("ehlo_name", "in_flight", "chunking")  # which Django's backend doesn't have
_PORTS = {"ssl": 465, "tls": 587, "none": 25}
_PATIENCE = 30.0  # seconds for a token; half of what a worker has to try a mailer in trouble


class EmailBackend(BaseEmailBackend):
    """Sends messages over one SMTP connection, which may be kept open between calls.

    An argument that is None is taken from the matching setting; as a mailer of ``MAILERS``, from
    nowhere: then ``host`` is required, and the port follows from the kind of encryption. With
    ``oauth2``, the path of a token function, it logs in by OAuth2 instead of the password;
    ``oauth2_options`` are that function's arguments. Three options more are keys of ``MAILQUEUE``,
    unless they are given: ``ehlo_name``, ``in_flight``, ``chunking``; the last two are for workers.
    Safe to use from several threads, one at a time.
    """

    more_options = _OPTIONS

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
        *,
        oauth2: str | None = None,
        oauth2_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        given = {name: kwargs.pop(name, None) for name in _OPTIONS}
        super().__init__(fail_silently, **kwargs)
        self._given = {name: self._parse(name, v) for name, v in given.items() if v is not None}
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
        self.oauth2 = self._find_oauth2(oauth2, oauth2_options, password)
        self._token: Token | None = None  # by which it has logged in
        self.connection: Any = None  # an smtplib.SMTP while it is open, else None
        self._lock = threading.RLock()

    @property
    def connection_class(self) -> type[smtplib.SMTP]:
        """The class of the connection, which speaks TLS from the start or doesn't."""
        if self.use_ssl:
            return ReachingTLS
        return EncryptingSMTP if self.use_tls or self.port == _PORTS["ssl"] else SMTP

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
            try:
                with contextlib.suppress(OSError):
                    connection.quit()
            finally:
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
        try:
            self.connection.sendmail(sender, recipients, data, mail_options=options)
        except OSError:
            raise  # the server's, after its reply
        except BaseException:
            self._drop()  # in the middle of a command: its reply must answer no other
            raise

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
        # Closed by smtplib (after a 421, say), or in the middle of a command.
        self._drop()

    def _drop(self) -> None:
        """Close the connection without a word, so that open() makes another."""
        connection, self.connection = self.connection, None
        connection.close()

    def login(self) -> str:
        """Who is logged in, and how, for people; empty for nobody."""
        if self.oauth2 is not None and self._token is not None:
            return f"logged in as {self.username} by OAuth2, {identify(self.oauth2, self._token)}"
        return f"logged in as {self.username}" if self.username and self.password else ""

    def _connect(self) -> smtplib.SMTP:
        """Connect and log in; once more, by a new token, where the one at hand was refused."""
        if self.oauth2 is None:
            return self._connect_once()
        token = self._get_token(self.oauth2)
        try:
            return self._connect_once(token)
        except TokenRefused:
            tokens.drop(self.oauth2, token)
        # Over a new connection: a server may close the old one after a refusal.
        return self._connect_once(self._get_token(self.oauth2))

    def _get_token(self, source: Source) -> Token:
        limit = _PATIENCE if self.timeout is None else min(self.timeout, _PATIENCE)
        return tokens.get(source, limit)

    def _connect_once(self, token: Token | None = None) -> smtplib.SMTP:
        # A name of its own would be looked up, which may be slow; ours may need the connection.
        options: dict[str, Any] = {"local_hostname": self.option("ehlo_name") or "localhost"}
        if self.timeout is not None:
            options["timeout"] = self.timeout
        if self.use_ssl:
            options["context"] = self.ssl_context
        connection = self.connection_class(self.host, self.port, **options)
        try:
            self._prepare(connection, token)
            endure_loss(connection.sock)  # smtplib's wait for the final reply isn't to be cut short
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: smtplib.SMTP, token: Token | None) -> None:
        connection.local_hostname = self.option("ehlo_name") or own_name(connection)
        say_hello(connection)
        if self.use_tls:
            connection.starttls(context=self.ssl_context)
            say_hello(connection)
        if token is not None:
            log_in_by_token(connection, (self.host, self.port), self.username, token)
            self._token = token
        elif self.username and self.password:
            log_in(connection, self.username, self.password)

    def option(self, name: str) -> Any:
        """What was given for ``ehlo_name``, ``in_flight`` or ``chunking``, else what is set."""
        found = self._given.get(name)
        return getattr(settings.MAILQUEUE, name.upper()) if found is None else found

    def _parse(self, name: str, value: object) -> Any:
        try:
            return getattr(QueueSettings, name.upper()).parse(value)
        except (TypeError, ValueError) as error:
            text = f"The option {name} = {value!r}: {error}"
            raise InvalidMailer(text, alias=self.alias) from None

    def _value(self, setting: str, given: Any) -> Any:
        return getattr(settings, setting) if given is None and self.alias is None else given

    def _find_oauth2(
        self, path: str | None, options: Mapping[str, Any] | None, password: str | None
    ) -> Source | None:
        if path is None and password and self.alias is None:
            return None  # who names a password wants that one used
        path = self._value("EMAIL_OAUTH2", path)
        options = self._value("EMAIL_OAUTH2_OPTIONS", options) or {}
        if path:
            return find_source(path, options, alias=self.alias, username=self.username)
        if options and self.alias is not None:
            raise InvalidMailer(
                "The 'oauth2_options' OPTIONS are without 'oauth2'.", alias=self.alias
            )
        return None

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
