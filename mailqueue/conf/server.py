"""Where broker and journal are, in the spelling of the library that connects to them."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from mailqueue.errors import ImproperlyConfigured

from . import settings
from .lookup import home
from .parse import Secret
from .url import SCHEMES, parse_address, scheme_of, split_urls

_SOCKET_PATH_LIMIT = 100  # bytes; sockaddr_un holds 104 (macOS) to 108 (Linux), see unix(7)
_JOURNAL_DATABASE = 0
_BROKER_DATABASE = 1  # apart from the journal, so that flushing the broker costs no record
_PASSWORD = re.compile("(?<=password=)[^&]*")  # of the options in a URL


def uses_embedded_server() -> bool:
    """Whether nothing else is set, so that everything uses the embedded server."""
    return not (settings.MAILQUEUE.BROKER_URL or settings.MAILQUEUE.CELERY_APP)


def broker_url() -> str:
    """The broker as Celery and kombu spell it, without the options of a Redis or Valkey."""
    url = settings.MAILQUEUE.BROKER_URL
    if not url:
        return f"redis+socket://{socket_path()}?virtual_host={_BROKER_DATABASE}"
    if not _is_for_redis(url):
        return url
    return Secret(";".join(parse_address(one).for_kombu for one in split_urls(url)))


def broker_options() -> dict[str, Any]:
    """The options in the broker's URL, as those of a Celery application."""
    url = settings.MAILQUEUE.BROKER_URL
    if not url or not _is_for_redis(url):
        return {}
    found: dict[str, Any] = {}
    for one in split_urls(url):
        for name, options in parse_address(one).celery_options.items():
            found[name] = found.get(name, {}) | options
    return found


def _is_for_redis(url: str) -> bool:
    return scheme_of(url) in {*SCHEMES, "sentinel"}


def journal_url() -> str:
    """The journal as redis-py spells it.

    Raises ImproperlyConfigured where the broker is no Redis and ``JOURNAL_URL`` isn't set.
    """
    url = settings.MAILQUEUE.JOURNAL_URL or settings.MAILQUEUE.BROKER_URL
    if not url and settings.MAILQUEUE.CELERY_APP:
        raise ImproperlyConfigured(
            "MAILQUEUE['CELERY_APP'] brings a broker of its own, so say where the journal is: set "
            "MAILQUEUE['JOURNAL_URL'] to a redis://, rediss:// or unix:// URL"
        )
    if not url:
        return journal_socket_url(home())
    if len(split_urls(url)) > 1 or scheme_of(url) == "sentinel":
        raise ImproperlyConfigured(
            f"the journal is one Redis or Valkey, and {redact_all(url)} doesn't say which: set "
            "MAILQUEUE['JOURNAL_URL'] to the redis://, rediss:// or unix:// URL of one"
        )
    if scheme_of(url) not in SCHEMES:
        raise ImproperlyConfigured(
            f"the journal needs Redis or Valkey, and {redact(url)} is neither: set "
            "MAILQUEUE['JOURNAL_URL'] to a redis://, rediss:// or unix:// URL"
        )
    return parse_address(url).for_redis_py


def redact_all(urls: str) -> str:
    """The URLs that stand for one broker, each without its password."""
    return ";".join(redact(one) for one in split_urls(urls))


def journal_socket_url(directory: Path) -> str:
    """The journal on the embedded server of that home."""
    return f"unix://{socket_path(directory)}?db={_JOURNAL_DATABASE}"


def redact(url: str) -> str:
    """The URL without its password, for errors and logs.

    What stands before the last ``@`` is taken for the login, also where the rest of the URL is
    wrong: a password with a ``/`` or ``#`` in it, as it is, has parsers see none.
    """
    scheme, mark, rest = url.partition("://") if "://" in url else ("", "", url)
    login, at, place = rest.rpartition("@")
    user, colon, _ = login.partition(":")
    shown = f"{user}:***" if colon else user
    return f"{scheme}{mark}{shown}{at}" + _PASSWORD.sub("***", place)


def socket_path(directory: Path | None = None) -> Path:
    """The embedded server's Unix socket under its home, or in a short private directory.

    A path in a deep directory doesn't fit into a socket address; then the socket lies in the
    temporary directory, under a name that derives from the home, so that all processes agree.
    """
    directory = directory or home()
    path = _socket_within(directory)
    if path is not None:
        return path
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    return _private_directory() / f"{digest}.sock"


@lru_cache(maxsize=16)
def _socket_within(directory: Path) -> Path | None:
    """The socket's path in that directory, if it fits into an address."""
    path = directory / "valkey.sock"
    return path if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT else None


def _private_directory() -> Path:
    directory = Path(tempfile.gettempdir()) / f"mailqueue-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    # Somebody else's directory of that name would let them stand in for the server.
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise ImproperlyConfigured(
            f"{directory} is not a private directory of this user: remove it, "
            "or set MAILQUEUE_HOME to a shorter path"
        )
    return directory
