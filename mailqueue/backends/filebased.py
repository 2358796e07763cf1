"""The backend that writes messages to files, one file for each session."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path
from typing import Any

from mailqueue.conf import settings
from mailqueue.errors import ImproperlyConfigured, InvalidMailer
from mailqueue.mail.rendering.flatten import flatten_for_reading

from . import console

_RULE = b"-" * 79


class EmailBackend(console.EmailBackend):
    """Writes to a new file in ``file_path`` for each session that is opened.

    Without ``file_path`` the setting ``EMAIL_FILE_PATH`` names the directory; it is made if need
    be. Raises ImproperlyConfigured where that can't be.
    """

    def __init__(self, fail_silently: bool = False, file_path: Any = None, **kwargs: Any) -> None:
        super().__init__(fail_silently, **kwargs)
        self.stream = None
        self.file_path = _directory(file_path, self.alias)

    def open(self) -> bool:
        if self.stream is not None:
            return False
        # "x" and a random part: two sessions of one second never share a file.
        self.stream = Path(self.file_path, _file_name()).open("xb")  # noqa: SIM115 - close() does
        return True

    def close(self) -> None:
        stream, self.stream = self.stream, None
        if stream is not None:
            stream.close()

    def write_message(self, message: Any) -> None:
        self.stream.write(flatten_for_reading(message) + b"\n" + _RULE + b"\n")


def _file_name() -> str:
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(6)}.log"


def _directory(given: Any, alias: str | None) -> str:
    if given is None and alias is not None:
        raise InvalidMailer(f"MAILERS[{alias!r}]: OPTIONS must define 'file_path'.")
    path = given or settings.EMAIL_FILE_PATH
    if not path:
        raise ImproperlyConfigured(
            "The EMAIL_FILE_PATH setting must be set to use the file EmailBackend."
        )
    return _writable(os.path.abspath(path))  # noqa: PTH100 - a string, as Django's is


def _writable(path: str) -> str:
    try:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    except FileExistsError:
        raise ImproperlyConfigured(
            f"Path for saving email messages exists, but is not a directory: {path}"
        ) from None
    except OSError as error:
        raise ImproperlyConfigured(
            f"Could not create directory for saving email messages: {path} ({error})"
        ) from error
    if not os.access(path, os.W_OK):
        raise ImproperlyConfigured(f"Could not write to directory: {path}")
    return path
