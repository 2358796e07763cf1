"""Whose fault an exception is: the message's, this machine's, or nobody knows whose."""

from __future__ import annotations

import errno
import os
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mailqueue.errors import MailqueueError
from mailqueue.store.sealing import KeyMissing

from .trouble import MachineTrouble, Unfit, describe

# What a process or its machine can lack, whatever was being done: descriptors, memory, room on a
# disk, a disk that works. No mail server causes one of these.
_LACKING = {
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.ENOSPC, errno.EDQUOT,
    errno.EFBIG, errno.EIO, errno.EROFS,
}  # fmt: skip
# How the loader of extension modules says so, who gives no number.
_LACKING_IN_WORDS = tuple(os.strerror(number) for number in (errno.EMFILE, errno.ENOMEM))
_WITH_OTHER_NUMBERS = (
    MailqueueError, smtplib.SMTPException, ssl.SSLError, socket.gaierror, socket.herror
)  # fmt: skip
_NO_THREAD = ("can't start new thread", "can't allocate lock")
_LONGEST_CHAIN = 10  # of exceptions that led to one another
_ENOUGH_FILES = 4  # descriptors that a look into a file, a name or a certificate takes at most


def machine_trouble(error: BaseException) -> MachineTrouble | None:
    """What the machine lacks, if the exception, or one that led to it, is about that.

    Also where no file can be opened any more: libraries tell that in words of their own, such as a
    certificate that isn't known, or a host that has no address.
    """
    for link in _chain(error):
        if isinstance(link, MachineTrouble):
            return link
        if _is_about_machine(link):
            return MachineTrouble(f"{type(link).__name__}: {describe(link)}")
    text = f"{type(error).__name__}: {describe(error)}"
    return None if _may_open_files() else MachineTrouble(f"no file can be opened: {text}")


def is_of_system(error: BaseException) -> bool:
    """Whether it speaks of a file or a disk, or of anything else that no server has a part in.

    Where a connection may have raised it, only the name of a file tells.
    """
    return isinstance(error, OSError) and isinstance(error.filename, str | bytes | os.PathLike)


@contextmanager
def building() -> Iterator[None]:
    """While a message is rebuilt or rendered: whatever is raised is its own fault, and Unfit.

    But for what the system raises, which is MachineTrouble. Errors that tell more of the journal,
    or of a key that is missing, are let through.
    """
    try:
        yield
    except (KeyMissing, MachineTrouble, Unfit):
        raise
    except Exception as error:
        if isinstance(error, MailqueueError) and isinstance(error, OSError):
            raise  # the journal's
        found = machine_trouble(error)
        if found is None and isinstance(error, OSError):
            found = MachineTrouble(reason_of(error))
        raise (found or Unfit(reason_of(error))) from error


def reason_of(error: BaseException) -> str:
    """Its text, for people."""
    text = describe(error)
    return text if isinstance(error, MailqueueError) else f"{type(error).__name__}: {text}"


def last_line(error: BaseException) -> str:
    """The last line of its traceback, in one line."""
    return f"{type(error).__name__}: {describe(error)}"


def _is_about_machine(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, _WITH_OTHER_NUMBERS):
        return False  # OSErrors too, whose numbers, if any, are others'
    if isinstance(error, OSError):
        return error.errno in _LACKING
    if isinstance(error, ImportError):
        return any(words in str(error) for words in _LACKING_IN_WORDS)
    return isinstance(error, RuntimeError) and str(error).startswith(_NO_THREAD)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that led to it, the newest first."""
    link: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _may_open_files() -> bool:
    opened: list[int] = []
    try:
        for _ in range(_ENOUGH_FILES):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno not in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            with suppress(OSError):
                os.close(descriptor)
    return True
