"""The contract of every backend."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, ClassVar, Self

from mailqueue.conf.spelling import guess
from mailqueue.errors import InvalidMailer
from mailqueue.mail.routing import parameters


class BaseEmailBackend:
    """What takes messages and sees to them.

    A subclass overrides ``send_messages()``, and ``open()`` and ``close()`` if it has something to
    keep open between calls. ``alias`` is that of the mailer in ``MAILERS``, or None; with an alias,
    a keyword argument that reaches this class is an option that nobody knows: InvalidMailer.
    """

    more_options: ClassVar[tuple[str, ...]] = ()  # that a class takes by **kwargs

    def __init__(
        self,
        fail_silently: bool = False,
        *,
        alias: str | None = None,
        _ignore_unknown_kwargs: Iterable[str] | None = None,
        **kwargs: Any,
    ) -> None:
        # The arguments of get_connection(), Django's or ours, which need not fit.
        unfit = set(_ignore_unknown_kwargs or ())
        unknown = [name for name in kwargs if name not in unfit]
        if alias is not None and unknown:
            listed = ", ".join(repr(name) for name in unknown)
            question = guess(unknown[0], parameters(type(self))[0].union(self.more_options))
            raise InvalidMailer(f"Unknown options {listed}.{question}", alias=alias)
        self.alias = alias
        self.fail_silently = fail_silently

    def open(self) -> bool | None:
        """Open what is needed to send; True if this call opened it, so that its caller closes."""
        return None

    def close(self) -> None:
        """Close what ``open()`` opened; nothing happens if it isn't open."""

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def send_messages(self, email_messages: Iterable[Any]) -> int:
        """Send the messages; return how many were sent."""
        raise NotImplementedError(
            "subclasses of BaseEmailBackend must override send_messages() method"
        )
