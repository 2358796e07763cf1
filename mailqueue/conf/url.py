"""The URL of a server, read once for the two libraries that connect by it.

kombu (the broker) and redis-py (the journal) read URLs in different ways, and both pass over in
silence what they don't understand, or fail at the first connection. So nothing reaches either but
what this module has understood: redis-py gets a URL with the options, kombu one without, and the
options apart.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from .parse import Secret, parse_boolean, parse_positive, parse_secret
from .spelling import guess

# redis-py's names of what connects to a Redis or Valkey; kombu's for a socket is another.
SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "valkey+unix": "unix",
    "redis+socket": "unix",
}
_AMQP = {"amqp", "amqps", "pyamqp", "pyamqps"}
_AMQP_OPTIONS = ("heartbeat", "login_method", "ssl")
_SENTINEL = "sentinel"
_DATABASE = ("db", "virtual_host")  # redis-py's word, and kombu's
_LOGIN = ("username", "password")
_TIMEOUTS = {"socket_timeout", "socket_connect_timeout", "timeout", "connect_timeout"}
_BETWEEN_URLS = re.compile(r";(?=[A-Za-z+]+://)")
_HOW_TO_QUOTE = (
    "its host or port can't be read; in a password write / as %2F, ? as %3F, # as %23, : as %3A "
    "and @ as %40"
)


def _parse_seconds(value: str) -> int:
    if not (value.isascii() and value.isdecimal()):
        raise ValueError("must be a whole number of seconds")
    return int(value)


def _parse_verification(value: str) -> str:
    word = value.lower().removeprefix("cert_")  # kombu's documentation has CERT_REQUIRED
    if word not in ("required", "optional", "none"):
        raise ValueError("must be 'required', 'optional' or 'none'")
    return word


_Known = Mapping[str, Callable[[str], object]]
_OPTIONS: _Known = {
    "client_name": str,
    "health_check_interval": _parse_seconds,
    "max_connections": parse_positive,
}
_TCP_OPTIONS: _Known = {**_OPTIONS, "socket_keepalive": parse_boolean}
_TLS_OPTIONS: _Known = {
    **_TCP_OPTIONS,
    "ssl_ca_certs": str,
    "ssl_ca_path": str,
    "ssl_cert_reqs": _parse_verification,
    "ssl_certfile": str,
    "ssl_check_hostname": parse_boolean,
    "ssl_keyfile": str,
    "ssl_password": str,
}
_OPTIONS_OF: Mapping[str, _Known] = {
    "redis": _TCP_OPTIONS,
    "rediss": _TLS_OPTIONS,
    "unix": _OPTIONS,
    _SENTINEL: {**_TCP_OPTIONS, "master_name": str},
}


@dataclass(frozen=True)
class Address:
    """Where a Redis or Valkey is; ``place`` is its login, host and port, or its socket's path."""

    scheme: str
    place: str = field(repr=False)
    database: int
    options: Mapping[str, Any] = field(repr=False)

    @property
    def for_redis_py(self) -> str:
        """The URL as redis-py reads it, options and all."""
        options, place = dict(self.options), f"{self.place}/{self.database}"
        if self.scheme == "unix":
            options |= {"db": self.database} if self.database else {}
            place = self.place
        query = f"?{urlencode(options)}" if options else ""
        return Secret(f"{self.scheme}://{place}{query}")

    @property
    def for_kombu(self) -> str:
        """The URL as kombu reads it, without the options."""
        if self.scheme == "unix":
            return Secret(f"redis+socket://{self.place}?virtual_host={self.database}")
        return Secret(f"{self.scheme}://{self.place}/{self.database}")

    @property
    def celery_options(self) -> dict[str, Any]:
        """The options as an application of Celery has them, where there are any.

        A certificate is verified unless the URL says otherwise, as redis-py does; kombu wouldn't.
        """
        of_tls = {name: value for name, value in self.options.items() if name.startswith("ssl_")}
        others = {name: value for name, value in self.options.items() if name not in of_tls}
        found: dict[str, Any] = {"broker_transport_options": others} if others else {}
        if self.scheme == "rediss":
            verification = f"CERT_{of_tls.get('ssl_cert_reqs', 'required').upper()}"
            of_tls["ssl_cert_reqs"] = ssl.VerifyMode[verification]
            found["broker_use_ssl"] = of_tls
        return found


def split_urls(url: str) -> list[str]:
    """The URLs that stand for one broker, as kombu has them with ``;`` between."""
    return _BETWEEN_URLS.split(url)


def scheme_of(url: str) -> str:
    """The scheme, in small letters."""
    return url.partition("://")[0].lower()


def parse_url(value: object) -> str:
    """Return the URL of a server, or several as kombu has them, if either library can take it.

    Raises ValueError without a part of the login in it. What no such library reads is an error, and
    not passed over: a database that is no number would be database 0, with others' data in it.
    """
    url = parse_secret(value)
    if url:
        for one in split_urls(url):
            _check(one)
        if len({_kind(one) for one in split_urls(url)}) > 1:
            raise ValueError("names servers of different kinds")
    return url


def _kind(url: str) -> str:
    scheme = scheme_of(url)
    return SCHEMES.get(scheme, scheme)


def _check(url: str) -> None:
    if "://" not in url:
        raise ValueError("is no URL: write it as in redis://host:6379/0")
    scheme = scheme_of(url)
    if scheme in SCHEMES or scheme == _SENTINEL:
        parse_address(url)
    elif scheme in _AMQP:
        _check_amqp(_split(url))


@lru_cache(maxsize=64)
def parse_address(url: str) -> Address:
    """Read the URL of one Redis or Valkey, or of a Sentinel. Raises ValueError, as above."""
    scheme = _kind(url)
    parts = _split(url, is_socket=scheme == "unix")
    options = _query(parts)
    login = [options.pop(name, None) for name in _LOGIN]
    database = _database(parts.path if scheme != "unix" else "", options)
    known = _OPTIONS_OF[scheme]
    read = {name: _read_option(name, text, known) for name, text in options.items()}
    return Address(scheme, _place(parts, login, scheme), database, read)


def _split(url: str, *, is_socket: bool = False) -> SplitResult:
    rest = url.partition("://")[2]
    try:
        # As HTTP's, whose syntax both libraries take for that of every scheme.
        parts = urlsplit(f"http://{rest}")
        port = parts.port
    except ValueError:
        raise ValueError(_HOW_TO_QUOTE) from None
    beyond = parts.query if is_socket else f"{parts.path}?{parts.query}"
    if "@" in beyond or parts.fragment or "#" in rest:  # a part of a password, as likely as not
        raise ValueError(_HOW_TO_QUOTE)
    if port == 0:
        raise ValueError("port 0 is none")
    return parts


def _query(parts: SplitResult) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an option is there twice")
    empty = [name for name, text in pairs if not text]
    if empty:
        raise ValueError(f"its option {empty[0]!r} has no value")
    return found


def _database(path: str, options: dict[str, str]) -> int:
    """The number of the database, by the path or by an option; both libraries have 0 for none."""
    named = [options.pop(name) for name in _DATABASE if name in options]
    in_path = path.removeprefix("/").removesuffix("/")
    found = [*named, *([in_path] if in_path else [])]
    for one in found:
        if not (one.isascii() and one.isdecimal()):
            raise ValueError(
                f"its database must be a number, as in redis://host:6379/0, and {one!r} is none"
            )
    if len({int(one) for one in found}) > 1:
        raise ValueError("it names two databases")
    return int(found[0]) if found else 0


def _read_option(name: str, text: str, known: _Known) -> object:
    if name in known:
        try:
            return known[name](text)
        except ValueError as error:
            raise ValueError(f"its option {name!r} {error}") from None
    hint = " ENQUEUE_TIMEOUT says how long to wait." if name in _TIMEOUTS else guess(name, known)
    listed = ", ".join(sorted({*known, *_DATABASE, *_LOGIN}))
    raise ValueError(f"its option {name!r} can't be used.{hint} The options are {listed}")


def _place(parts: SplitResult, login: list[str | None], scheme: str) -> str:
    """Login, host and port as they are written, with a login from the options put in front."""
    place = Secret(parts.netloc)
    if any(login):
        if "@" in parts.netloc:
            raise ValueError("it has a login, and options for one")
        user, password = (quote(one or "", safe="") for one in login)
        place = Secret(f"{user}:{password}@{place}")
    if scheme != "unix":
        return place
    if parts.hostname or not parts.path.strip("/"):
        raise ValueError("a socket's path is absolute, as in unix:///run/valkey.sock")
    return Secret(f"{place}{parts.path}")


def _check_amqp(parts: SplitResult) -> None:
    for name in _query(parts):
        if name not in _AMQP_OPTIONS:
            hint = guess(name, _AMQP_OPTIONS)
            raise ValueError(
                f"its option {name!r} can't be used.{hint} The options are "
                f"{', '.join(_AMQP_OPTIONS)}"
            )
