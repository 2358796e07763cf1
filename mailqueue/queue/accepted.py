"""What `send()` returns on the queue backend: a number that knows the messages it counts."""

from __future__ import annotations

from collections.abc import Sequence


class Accepted(int):
    """How many messages a call has accepted: an int, as Django's API has it, with their ``ids``.

    Django's own functions hand on what a backend returns, so ``django.core.mail.send_mail()`` and
    ``send_mass_mail()`` return one too.
    """

    _texts: tuple[str, ...]

    def __new__(cls, count: int, texts: Sequence[str] = ()) -> Accepted:
        """Count messages; ``texts`` hold their ids with spaces between them, to save memory."""
        found = super().__new__(cls, count)
        found._texts = tuple(texts)
        return found

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, in the order of the messages: fewer where one was delivered without a record."""
        return tuple(id_ for text in self._texts for id_ in text.split())
