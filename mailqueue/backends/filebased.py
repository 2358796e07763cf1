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
# What is wrong with a directory: as the setting names it, and as a mailer's option does.
_NO_DIRECTORY = (
    "Path for saving email messages exists, but is not a directory",
    "'file_path' is not a directory",
)
_NOT_MADE = (
    "Could not create directory for saving email messages",
    "Could not create 'file_path'",
)
_NOT_WRITABLE = "Could not write to directory", "'file_path' is not writable"


class EmailBackend(console.EmailBackend):
    """Writes to a new file in ``file_path`` for each session that is opened.

    Without ``file_path`` the setting ``EMAIL_FILE_PATH`` names the directory; it is made if need
    be. Raises ImproperlyConfigured where that can't be, InvalidMailer as a mailer of ``MAILERS``.
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
    if not given and alias is not None:
        raise InvalidMailer("OPTIONS must define 'file_path'.", alias=alias)
    path = given or settings.EMAIL_FILE_PATH
    if not path:
        raise ImproperlyConfigured(
            "The EMAIL_FILE_PATH setting must be set to use the file EmailBackend."
        )
    path = os.path.abspath(path)  # noqa: PTH100 - a string, as Django's is
    try:
        os.makedirs(path, exist_ok=True)  # noqa: PTH103
    except FileExistsError:
        raise _unusable(alias, *_NO_DIRECTORY, path) from None
    except OSError as error:
        raise _unusable(alias, *_NOT_MADE, f"{path} ({error})") from error
    if not os.access(path, os.W_OK):
        raise _unusable(alias, *_NOT_WRITABLE, path)
    return path


def _unusable(alias: str | None, by_setting: str, by_option: str, why: str) -> ImproperlyConfigured:
    if alias is None:
        return ImproperlyConfigured(f"{by_setting}: {why}")
    return InvalidMailer(f"{by_option}: {why}", alias=alias)
